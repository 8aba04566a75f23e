"""In which unit, or from when on, times would fit their trials that do not as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.spike_clock import UNITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray

FEWEST = 3
"""Of fewer trials nothing is concluded from what all of them share."""

FITTING = 0.9
"""Share of the times that have to lie in their trials."""

LEAST_S = 0.05
"""Times since the start that are shorter throughout fit any unit."""


def what_would_fit(
    times: FloatArray, start: FloatArray, stop: FloatArray, go: FloatArray | None, name: str
) -> str:
    """Say what times are that lie outside their trials, and the setting or the factor that mends it.

    Parameters
    ----------
    times, start, stop
        Of the event and of trials, finite, s. Shape ``(n_trials,)`` each.
    go
        Go cues, s, where they are known; NaN where one is missing. Shape ``(n_trials,)``.
    name
        Name of the column.
    """

    def fits(candidate: FloatArray) -> bool:
        return bool(within(candidate, start, stop).mean() > FITTING)

    away = times - start
    if len(times) >= FEWEST and np.ptp(away) < 0.5 * np.ptp(start) and np.ptp(times) > 0.5 * np.ptp(start):
        return (
            f"They follow the starts of the trials at {float(np.median(away)):g} s in the median: the clocks "
            "are not the same. Write both on one clock, or name another column."
        )
    if (unit := _unit_of_trials(times, start, stop)) is not None:
        return (
            f"They fit if the trials are in {unit[1]}: write start and stop of the trials in seconds (times "
            f"{unit[0]:g})."
        )
    if fits(times + start):
        known = np.zeros(0, dtype=bool) if go is None else np.isfinite(go)
        if go is not None and known.any() and (times + start < go)[known].mean() > 0.5 and fits(times + go):
            return (
                "They count from the go cue: they are reaction times. Write the onset itself, go cue plus "
                "reaction time."
            )
        return (
            f"They count from the start of the trial: use --set columns.relative=[{name}]; if they count "
            "from another event, write them in seconds of the recording."
        )
    return _in_another_unit(times, start, fits, name)


def _in_another_unit(
    times: FloatArray, start: FloatArray, fits: Callable[[FloatArray], bool], name: str
) -> str:
    for factor, unit in (*UNITS, *_own_rate(times, start)):
        if fits(times * factor):
            return f"They fit in {unit}: write the column in seconds (times {factor:g})."
    for factor, unit in UNITS:
        if abs(float(np.median(times))) * factor > LEAST_S and fits(start + times * factor):
            return (
                f"They count from the start of the trial, in {unit}: write the column in seconds (times "
                f"{factor:g}) and use --set columns.relative=[{name}]."
            )
    return "Name another column, or mend the file."


def _unit_of_trials(times: FloatArray, start: FloatArray, stop: FloatArray) -> tuple[float, str] | None:
    """Return factor and unit by which trials fit times that lie outside them; None where none does."""
    if len(times) < FEWEST:
        return None
    small = ((f, unit) for f, unit in UNITS if f < 1)
    return next(
        (each for each in small if within(times, start * each[0], stop * each[0]).mean() > FITTING), None
    )


def correlation(one: FloatArray, other: FloatArray) -> float:
    """Return the correlation of times; NaN where all of one are the same, or too large to be multiplied.

    Examples
    --------
    >>> correlation(np.array([0.0, 1.0, 2.0]), np.array([5.0, 7.0, 9.0]))
    1.0
    >>> correlation(np.full(3, 1e300), np.arange(3.0))
    nan
    """
    with np.errstate(all="ignore"):
        return float(np.corrcoef(one, other)[0, 1])


def _own_rate(times: FloatArray, start: FloatArray) -> list[tuple[float, str]]:
    """Return the factor and unit of times that run with the starts of trials, faster by a round rate."""
    if len(times) < FEWEST or not correlation(times, start) >= 0.999:
        return []
    rate = float(f"{np.ptp(times) / np.ptp(start):.2g}")
    return [(1.0 / rate, f"samples of {rate:g} Hz")] if rate > 0 else []


def within(times: FloatArray, start: FloatArray, stop: FloatArray) -> BoolArray:
    """Return which times lie in their trials. Shape ``(n_trials,)``.

    Parameters
    ----------
    times, start, stop
        Of events and of trials, s. Shape ``(n_trials,)`` each.
    """
    # Events are rounded to the sampling of other streams than the edges of the trial.
    slack = 0.05 * np.maximum(stop - start, 0.0) + 0.02
    return np.asarray((times >= start - slack) & (times <= stop + slack))
