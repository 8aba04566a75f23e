"""Whether spike times are seconds on the clock of the rest, and which of them cannot be of the recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.spike_selection import only_spikes
from nwb_latents.pipeline.scratch import picked, pieces, trains

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, TrialTable

MARGIN_S = 60.0
"""Spikes recorded so long before and after the rest belong to the recording."""

MOST_STRAYS = 0.01
"""A larger share of spikes outside the recording is no accident."""

LONGEST_PAUSE_S = 3600.0
"""Where nothing else tells, spikes further than this from all others are strays if they are few."""

SHORTEST = 0.02
"""Spikes over a smaller share of the rest's time may be in a longer unit than seconds."""

UNITS: tuple[tuple[float, str], ...] = (
    (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1 / 30000, "samples of 30 kHz"),
    (1 / 24414.0625, "samples of 24.4 kHz"), (1 / 25000, "samples of 25 kHz"),
    (1 / 20000, "samples of 20 kHz"),
    (60.0, "minutes"), (3600.0, "hours"),
    (1 / 32000, "samples of 32 kHz"), (1 / 40000, "samples of 40 kHz"), (1000.0, "ks"),
)  # fmt: skip
"""What spike times may be stored in: seconds in one, and its name."""


def extent_of(*intervals: FloatArray | None) -> tuple[float, float] | None:
    """Return the first start and the last stop that are finite; None where there are none."""
    edges = [np.ravel(each) for each in intervals if each is not None]
    finite = np.concatenate(edges) if edges else np.zeros(0)
    finite = finite[np.isfinite(finite)]
    return (float(finite.min()), float(finite.max())) if len(finite) else None


def require_seconds(
    file: NwbFile, spikes: FloatArray, index: IntArray, extent: tuple[float, float] | None, *, what: str
) -> None:
    """Refuse spike times that are not seconds on the clock of everything else.

    Parameters
    ----------
    file
        The open file, for messages.
    spikes, index
        Spike times, ascending within each unit, and one past the last of each.
    extent
        From when to when there is something else, s; None: nothing tells.
    what
        What that is, for messages.

    Raises
    ------
    DataError
        If none lie in it, or most lie outside and would fit times a factor; the message names that.
    """
    own = first_and_last(spikes, index)
    if extent is None or own is None:
        return
    low, high = own
    span = extent[1] - extent[0]
    is_inside = lie_inside(own, extent) or share_inside(spikes, extent) >= 0.5
    if is_inside and not 0 < high - low < SHORTEST * span:
        return
    fitting = [
        (abs(np.log((high - low) * factor / span)), factor, unit)
        for factor, unit in UNITS
        if high > low
        and span > 0
        and share_inside(spikes, extent, factor=factor) > 0.9
        and (high - low) * factor > SHORTEST * span
    ]
    where = f"{file.name}: spike times (/units/spike_times) run from {low:g} to {high:g}"
    rest = f"{what} from {extent[0]:g} to {extent[1]:g} s"
    if fitting:
        _, factor, unit = min(fitting)
        raise DataError(
            f"{where}, {rest}: they are no seconds, but fit as {unit}. Write them in "
            f"seconds: times {factor:.9g}."
        )
    if is_inside:
        file.say(f"spikes end after {high - low:.3g} s of {span:.3g} s of the {what}")
        return
    if low > extent[1] or high < extent[0]:
        raise DataError(
            f"{where} s, {rest}: they share no time, and so no clock. Mend the time stamps or leave the "
            "session out."
        )
    file.say(f"{1 - share_inside(spikes, extent):.0%} of the spikes lie outside the time of {rest}")


def first_and_last(spikes: FloatArray, index: IntArray) -> tuple[float, float] | None:
    """Return the earliest and the latest spike of units whose spikes ascend; None where there are none.

    Parameters
    ----------
    spikes, index
        Times, s, and one past the last spike of each unit.

    Examples
    --------
    >>> first_and_last(np.array([2.0, 5.0, 1.0]), np.array([2, 2, 3]))
    (1.0, 5.0)
    """
    starts = np.concatenate([[0], index[:-1]])
    fires = index > starts
    if not fires.any():
        return None
    return float(picked(spikes, starts[fires]).min()), float(picked(spikes, index[fires] - 1).max())


def lie_inside(span: tuple[float, float] | None, extent: tuple[float, float]) -> bool:
    """Whether spikes that span so much lie in an extent, s, or at most `MARGIN_S` beside it."""
    return span is not None and extent[0] - MARGIN_S <= span[0] <= span[1] <= extent[1] + MARGIN_S


def share_inside(spikes: FloatArray, extent: tuple[float, float], *, factor: float = 1.0) -> float:
    """Return the share of spikes that lie, times a factor, in an extent, s, or `MARGIN_S` beside it at most.

    Examples
    --------
    >>> share_inside(np.array([1.0, 500.0]), (0.0, 100.0)), share_inside(np.zeros(1), (0.0, 1.0), factor=2.0)
    (0.5, 1.0)
    """
    low, high = extent[0] - MARGIN_S, extent[1] + MARGIN_S
    scaled = (piece if factor == 1.0 else piece * factor for piece in pieces(spikes))
    n_inside = sum(int(np.count_nonzero((piece >= low) & (piece <= high))) for piece in scaled)
    return n_inside / len(spikes)


def require_observed_seconds(file: NwbFile, observed: FloatArray, extent: tuple[float, float] | None) -> None:
    """Refuse observed intervals that cannot be seconds beside everything else.

    Parameters
    ----------
    file
        The open file.
    observed
        Shape ``(n_intervals, 2)``; ends may be infinite.
    extent
        From when to when there are kinematics, trials and spikes, s; None: nothing tells.

    Raises
    ------
    DataError
        If they reach far beyond it and would fit times a factor, or beyond any recording.
    """
    edges = observed[np.isfinite(observed)]
    if extent is None or not len(edges):
        return
    low, high, span = float(edges.min()), float(edges.max()), extent[1] - extent[0]
    shares_time = bool((observed[:, 1] > extent[0]).any() and (observed[:, 0] < extent[1]).any())
    if shares_time and high - low <= max(10 * span, LONGEST_PAUSE_S):
        return
    fits = [
        f"{unit} (times {factor:.9g})"
        for factor, unit in UNITS
        if 0.5 < (high - low) * factor / max(span, 1e-9) < 2
        and extent[0] - MARGIN_S <= low * factor <= high * factor <= extent[1] + MARGIN_S
    ]
    if fits:
        what = f"they fit as {fits[0]}"
    elif shares_time:
        what = f"that is {(high - low) / max(span, 1e-9):.3g} times as long"
    else:
        shift = extent[0] - low
        what = "they share no time" + (
            f", and would fit moved by {shift:g} s" if high + shift <= extent[1] + MARGIN_S else ""
        )
    raise DataError(
        f"{file.name}: /units/obs_intervals run from {low:g} to {high:g} s, everything else from "
        f"{extent[0]:g} to {extent[1]:g} s: {what}. Write them in seconds on the clock of the spikes, or "
        "leave the column out of the file."
    )


def require_observed_trials(file: NwbFile, observed: FloatArray, trials: TrialTable | None) -> None:
    """Refuse observed intervals that count from the start of each trial.

    Parameters
    ----------
    file
        The open file.
    observed
        As the file states it, s. Shape ``(n_intervals, 2)``.
    trials
        On the same clock; None: nothing tells.

    Raises
    ------
    DataError
        If no trial begins or ends in observed time; the message says what was observed.
    """
    edges = observed[np.isfinite(observed)]
    if trials is None or not len(edges) or not len(trials):
        return
    start, stop = trials.events["start"], trials.events["stop"]
    extent = extent_of(start, stop)
    if extent is None:
        return
    # A trial shares time with the first interval that ends after its start, or with none.
    after = np.searchsorted(observed[:, 1], start, side="right")
    begins = np.append(observed[:, 0], np.inf)[after]
    if (begins < stop).any():
        return
    longest = float(np.nanmax(stop - start))
    relative = -longest <= edges.min() and edges.max() <= 1.5 * longest
    how = (
        f"they count from the start of each trial, which last up to {longest:g} s: add it"
        if relative
        else "write them on the clock of the trials"
    )
    raise DataError(
        f"{file.name}: no trial (from {extent[0]:g} to {extent[1]:g} s) lies in observed time "
        f"(/units/obs_intervals: {observed_text(observed)}): {how}, or leave the column out of the file."
    )


def observed_text(observed: FloatArray) -> str:
    """Return how many intervals there are, from when to when, and how long they are.

    Examples
    --------
    >>> observed_text(np.array([[0.0, 0.2], [3.0, 3.2]]))
    '2 intervals from 0 to 3.2 s, 0.2 s each in the median, 0.4 s in all'
    """
    lengths = np.diff(observed, axis=1)
    return (
        f"{len(observed)} intervals from {observed.min():g} to {observed.max():g} s, "
        f"{float(np.median(lengths)):.3g} s each in the median, {float(lengths.sum()):.4g} s in all"
    )


def without_strays(
    file: NwbFile, spikes: FloatArray, index: IntArray, extent: tuple[float, float] | None
) -> tuple[FloatArray, IntArray]:
    """Leave out the few spikes that lie far outside the recording, and say how many.

    Parameters
    ----------
    file
        The open file.
    spikes, index
        Times, s, and one past the last spike of each unit.
    extent
        From when to when something else was recorded, s; None: the spikes themselves tell.

    Returns
    -------
    spikes, index
        As given where there are none.
    """
    if not len(spikes):
        return spikes, index
    low, high = _longest_stretch(spikes, index) if extent is None else extent
    margin = LONGEST_PAUSE_S if extent is None else MARGIN_S
    span = first_and_last(spikes, index)
    if span is not None and low - margin <= span[0] and span[1] <= high + margin:
        return spikes, index
    low_end, high_end = low - margin, high + margin

    def is_near(train: FloatArray) -> BoolArray:
        return np.asarray((train >= low_end) & (train <= high_end))

    strays = np.concatenate([train[~is_near(train)] for train in trains(spikes, index)])
    if not len(strays) or len(strays) / len(spikes) > MOST_STRAYS:
        return spikes, index
    file.say(
        f"{len(strays)} spikes from {strays.min():g} to {strays.max():g} s lie far outside the recording "
        f"({low:g} to {high:g} s) and are left out"
    )
    return only_spikes(spikes, index, is_near)


def _longest_stretch(spikes: FloatArray, index: IntArray) -> tuple[float, float]:
    """Return from when to when most spikes lie without a pause of an hour."""
    runs = []
    for train in trains(spikes, index):
        cuts = np.flatnonzero(np.diff(train) > LONGEST_PAUSE_S) + 1
        runs += [(float(run[0]), float(run[-1]), len(run)) for run in np.split(train, cuts) if len(run)]
    parts: list[tuple[float, float, int]] = []
    for first, last, n in sorted(runs):
        if parts and first - parts[-1][1] <= LONGEST_PAUSE_S:
            begin, end, so_far = parts.pop()
            parts.append((begin, max(end, last), so_far + n))
        else:
            parts.append((first, last, n))
    kept = [part for part in parts if part[2] > MOST_STRAYS * len(spikes)] or parts
    return kept[0][0], kept[-1][1]
