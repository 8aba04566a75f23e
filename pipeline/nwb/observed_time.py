"""Observed time: where spikes were recorded, less what the file says is not to be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.observed_units import intersect_intervals
from nwb_latents.pipeline.nwb.series_times import read_times
from nwb_latents.pipeline.nwb.spike_clock import UNITS
from nwb_latents.pipeline.nwb.tables import Table
from nwb_latents.pipeline.signals.binning import merge_intervals

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray


INVALID = "intervals/invalid_times"


def apply_invalid(file: NwbFile, observed: FloatArray) -> FloatArray:
    """Leave the time out that the file calls invalid, and say how much.

    Parameters
    ----------
    file
        The open file.
    observed
        Intervals in seconds, ascending and disjoint. Shape ``(n_intervals, 2)``.

    Raises
    ------
    DataError
        If the table cannot be read, or nothing is left.
    """
    table = Table(file, INVALID)
    if not table.exists or not table.n_rows:
        return observed
    edges = [table.column(name).one_each() for name in ("start_time", "stop_time")]
    if any(each is None or each.dtype.kind != "f" for each in edges):
        raise DataError(
            f"{file.name}: /{INVALID} has no start and stop in seconds in each row. Mend the table."
        )
    start, stop = (np.asarray(each, dtype=np.float64) for each in edges)
    bad = int((~(stop > start)).sum())
    if bad:
        file.say(f"/{INVALID}: {bad} intervals do not begin before they end, or have a NaN, and are not used")
    invalid = merge_intervals(np.column_stack([start, stop]))
    if not len(invalid) or not len(observed):
        return observed
    bounds = np.concatenate([[-np.inf], invalid.ravel(), [np.inf]]).reshape(-1, 2)
    left = intersect_intervals(observed, bounds)
    lost = float(np.diff(observed, axis=1).sum() - np.diff(left, axis=1).sum())
    if not len(left):
        raise DataError(
            f"{file.name}: /{INVALID} covers everything that was observed ({_extent(invalid)}; observed: "
            f"{_extent(observed)}): nothing is left. Mend the table, or leave the session out."
        )
    outside = (invalid[:, 1] <= observed[0, 0]) | (invalid[:, 0] >= observed[-1, 1])
    if outside.any():
        _say_outside(file, invalid, outside, observed)
    if not outside.all():
        file.say(
            f"/{INVALID}: {len(invalid)} intervals, {lost:.1f} s of the recording, count as not observed"
        )
    return left


def _say_outside(file: NwbFile, invalid: FloatArray, outside: BoolArray, observed: FloatArray) -> None:
    """Say of intervals that lie outside of the recording, and so change nothing, what would fit."""
    low, high = float(observed[0, 0]), float(observed[-1, 1])
    there = invalid[outside]
    finite = there[np.isfinite(there)]
    said = (
        f"/{INVALID}: {len(there)} of {len(invalid)} intervals ({_extent(there)}) lie outside of what "
        f"was observed ({_extent(observed)}) and change nothing"
    )
    fits = [
        f"{name} (times {factor:.9g})"
        for factor, name in UNITS
        if len(finite) and (finite * factor >= low).all() and (finite * factor <= high).all()
    ]
    if len(finite) and low > 0 and (finite >= 0).all() and (finite <= high - low).all():
        fits.insert(0, f"seconds from the beginning of the recording (plus {low:g})")
    if fits:
        said += f"; they would fit as {fits[0]}: write them in seconds on the clock of the recording"
    file.say(said)


def _extent(intervals: FloatArray) -> str:
    return f"{intervals.min():g} to {intervals.max():g} s"


def clipped(file: NwbFile, observed: FloatArray, extent: tuple[float, float] | None) -> FloatArray:
    """Return observed intervals whose ends at infinity are those of the recording, and say so.

    Parameters
    ----------
    file
        The open file.
    observed
        Shape ``(n_intervals, 2)``; ends may be infinite.
    extent
        From when to when anything was recorded, s.
    """
    if extent is None or np.isfinite(observed).all():
        return observed
    file.say("observed intervals reach to infinity; they end with the recording")
    return merge_intervals(np.clip(observed, *extent))


def apply_mask(
    file: NwbFile, layout: Layout, *, observed: FloatArray | None
) -> tuple[FloatArray | None, tuple[str, ...]]:
    """Leave the time out in which the layout's mask series is false.

    True keeps: the FALCON benchmark evaluates where ``eval_mask`` is true, although the files of 000954
    describe it as "timesteps to ignore" (those of 000941 and 000953 as "timesteps to keep").

    Parameters
    ----------
    file
        The open file.
    layout
        Its layout.
    observed
        Intervals in seconds, or None where the file does not say. Shape ``(n_intervals, 2)``.

    Returns
    -------
    observed
        Intervals in which the mask is true too.
    warnings
        How much time was left out.

    Raises
    ------
    DataError
        If the mask is false throughout.
    """
    path, is_inverse = layout.mask, False
    if path is None or not file.has(f"{path}/data"):
        path, is_inverse = layout.inverse_mask, True
    if path is None or not file.has(f"{path}/data"):
        return observed, ()
    keep = (file.array(f"{path}/data").ravel().astype(np.float64) > 0) != is_inverse
    middle = read_times(file, path, n_samples=len(keep), layout=layout)
    word = "true" if is_inverse else "false"
    if not keep.any():
        raise DataError(
            f"{file.name}: {path} is {word} throughout: nothing is to be used. Leave the session out."
        )
    kept = true_intervals(middle, keep)
    left_out_s = float((~keep).sum() * np.median(np.diff(middle)))
    notes = (f"{path} is {word} in {left_out_s:.1f} s, which count as not observed",)
    return (kept if observed is None else intersect_intervals(observed, kept)), notes


def true_intervals(middle: FloatArray, keep: np.ndarray) -> FloatArray:
    """Return the time covered by the bins that are kept.

    Parameters
    ----------
    middle
        Middle of each bin in seconds, ascending. Shape ``(n_bins,)``.
    keep
        Shape ``(n_bins,)``, bool.

    Returns
    -------
    intervals
        Shape ``(n_intervals, 2)``; bins that follow one another are joined.

    Examples
    --------
    >>> true_intervals(np.array([0.5, 1.5, 2.5, 9.5]), np.array([True, True, False, True]))
    array([[ 0.,  2.],
           [ 9., 10.]])
    """
    half = float(np.median(np.diff(middle))) / 2 if len(middle) > 1 else 0.0
    start = middle - half
    following = np.append(start[1:], np.inf)
    # Adjacent bins share their edge exactly, whatever the rounding of the stamps.
    stop = np.where(following - start < 3 * half, following, middle + half)
    return merge_intervals(np.column_stack([start, stop])[keep])
