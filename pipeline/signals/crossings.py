"""When the speed of movements crosses shares of its peak, on the way up and on the way down.

All movements of a session lie one after the other in flat arrays; what each of them needs is looked for in
its own part of them, and all crossings are interpolated at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray

UP = np.array([0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
"""Shares of the peak whose crossings are timed on the way up."""

SURE = 2
"""The first of them that every movement has to cross; lower ones count where they stand out of the noise."""

OUT_OF_NOISE = 5.0
"""Shares below so many standard deviations of the hold are not timed."""

DOWN = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
"""Likewise on the way down."""

RISES_AGAIN = 0.05
"""The way down ends where the speed has risen again by this share of the peak, or out of the noise."""


def crossings_up(
    time: FloatArray, along: FloatArray, begin: IntArray, peak: IntArray
) -> tuple[FloatArray, IntArray, BoolArray]:
    """Return the last crossing of each share before the peak.

    Parameters
    ----------
    time, along
        Seconds, and the velocity towards the peak of each movement, NaN where missing. Shape
        ``(n_samples,)``.
    begin, peak
        From where on each movement may begin, and where its peak lies. Shape ``(n_movements,)``.

    Returns
    -------
    crossings
        s; NaN for shares that are not crossed. Shape ``(n_movements, n_shares)``.
    sure
        Sample before the crossing of the share `SURE`. Shape ``(n_movements,)``.
    is_crossed
        Whether that share is. Shape ``(n_movements,)``.

    Examples
    --------
    >>> along = np.array([0.0, 0.0, 1.0, 2.0, 1.0])
    >>> found, sure, _ = crossings_up(0.1 * np.arange(5), along, np.array([0]), np.array([3]))
    >>> found[0, [0, 2, -1]].round(2).tolist(), sure.tolist()
    ([0.11, 0.12, 0.28], [1])
    """
    levels = UP * along[peak][:, None]
    is_whole = not np.isnan(along).any()
    back = np.empty(levels.shape, dtype=np.int64)
    for row, (start, stop) in enumerate(zip(begin.tolist(), peak.tolist(), strict=True)):
        before = along[start:stop][::-1]
        before = before if is_whole else np.where(np.isnan(before), np.inf, before)
        back[row] = np.searchsorted(np.maximum.accumulate(-before), -levels[row], side="right")
    is_crossed = back < (peak - begin)[:, None]
    low = (peak - 1)[:, None] - np.where(is_crossed, back, 0)
    found = np.where(is_crossed, _between(time, along, levels, low), np.nan)
    return found, low[:, SURE], is_crossed[:, SURE]


def crossings_down(
    time: FloatArray, along: FloatArray, peak: IntArray, stop: IntArray, *, noise: FloatArray
) -> FloatArray:
    """Return the first crossing of each share after the peak, up to where the speed rises again.

    Parameters
    ----------
    time, along
        As for `crossings_up`.
    peak, stop
        Where the peak of each movement lies, and up to where it is followed: no sample before that is
        missing. Shape ``(n_movements,)``.
    noise
        Standard deviation of the hold as a share of the peak; NaN where it is not known. Shape
        ``(n_movements,)``.

    Returns
    -------
    crossings
        s; NaN for shares that are not crossed. Shape ``(n_movements, n_shares)``.

    Examples
    --------
    >>> along = np.array([0.0, 2.0, 1.0, 0.0, 1.0])
    >>> crossings_down(
    ...     0.1 * np.arange(5), along, np.array([1]), np.array([5]), noise=np.array([0.0])
    ... ).round(2)[0, [0, -1]].tolist()
    [0.12, 0.24]
    """
    levels = DOWN * along[peak][:, None]
    again = np.maximum(RISES_AGAIN, np.where(np.isfinite(noise), OUT_OF_NOISE * noise, 0.0)) * along[peak]
    after = np.empty(levels.shape, dtype=np.int64)
    falls_for = np.empty(len(peak), dtype=np.int64)
    for row, (first, last) in enumerate(zip(peak.tolist(), stop.tolist(), strict=True)):
        falling = along[first:last]
        # With its sign turned, the least so far ascends.
        lowest = np.maximum.accumulate(-falling)
        risen = falling + lowest > again[row]
        end = int(np.argmax(risen))
        if risen[end]:
            lowest = lowest[: int(np.argmin(falling[:end])) + 1]
        after[row] = np.searchsorted(lowest, -levels[row], side="right")
        falls_for[row] = len(lowest)
    is_crossed = (after < falls_for[:, None]) & (after > 0)
    low = peak[:, None] + np.where(is_crossed, after, 0)
    return np.where(is_crossed, _between(time, along, levels, low, falls=True), np.nan)


def _between(
    time: FloatArray, along: FloatArray, levels: FloatArray, low: IntArray, *, falls: bool = False
) -> FloatArray:
    """Return when levels lie between a sample below them and the neighbour above them."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if falls:
            high = along[low - 1]
            return np.asarray(
                time[low - 1] + (high - levels) / (high - along[low]) * (time[low] - time[low - 1])
            )
        under = along[low]
        return np.asarray(
            time[low] + (levels - under) / (along[low + 1] - under) * (time[low + 1] - time[low])
        )
