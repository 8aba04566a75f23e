"""Whether trials and movements of a recording fit each other: their clocks, stored onsets, directions.

Nothing is changed here: what does not fit is said, or refused with what would fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.spike_clock import UNITS, extent_of

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.clock_resets import Parts
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, Series, TrialTable

FEWEST = 8
"""Of fewer trials nothing is concluded."""

MOST_LOOKED_AT = 200
"""So many trials, evenly chosen, are compared with the movement."""

FEW_INSIDE, MANY_OUTSIDE = 0.05, 0.1
"""Shares of trials within, and outside, the time of the kinematics: none of them, and worth a word."""

MARGIN_S = 1.0
SHORTER = 1.8
"""Kinematics that are shorter than the trials by more have a wrong rate, rather than another start."""

SHORTEST_S = 0.05
"""Shortest trials there are."""

AFTER_S = 0.5
"""A movement that begins rises within this."""

STILL, MOVED = 0.25, 0.7
"""Shares of a trial's highest speed: below, the hand stands still; above, it has made its movement."""

HALF_WAY = 0.5
"""The direction of a movement is that at which the speed first reaches this share of its peak; a movement
that is as fast at its onset began before."""

FITS_DEG, OPPOSES_DEG = 30.0, 90.0
"""Directions of targets and movements this close are the same; further apart, they oppose each other."""

ONE_WAY = 0.5
"""Length of the mean of unit vectors: of movements in one direction it is nearly 1, in all nearly 0."""

FEW_OPPOSE = 0.25
"""Of directions that have nothing to do with the movements half oppose them; of others only a few."""

FASTEST_REACH_CM_S = 200.0
"""Reaches peak below it; a unit that is wrong by a factor of ten does not."""

FASTEST_STEP_S = 0.004
"""Faster samples are thinned out before they are compared."""

BETTER = 1.25
"""By so much has the speed after events to be higher at another shift of the clock to be believed."""


def check_trials(file: NwbFile, parts: Parts, *, uses_onsets: bool, unit: str = "cm") -> None:
    """Check trials against the kinematics: their clock, stored onsets, directions of targets.

    Parameters
    ----------
    file
        The open file.
    parts
        What was read of it; without trials or kinematics nothing is checked.
    uses_onsets
        Whether stored onsets are used.
    unit
        Of the position; only cm are held against a hand.

    Raises
    ------
    DataError
        If the trials are on another clock.
    """
    if parts.trials is not None:
        require_one_clock(file, parts.trials, parts.position, parts.velocity)
        check_movements(
            file, parts.trials, parts.position, parts.velocity, uses_onsets=uses_onsets, unit=unit
        )


def require_one_clock(
    file: NwbFile, trials: TrialTable, position: Series | None, velocity: Series | None
) -> None:
    """Refuse trials whose times are not seconds on the clock of the kinematics.

    Parameters
    ----------
    file
        The open file.
    trials
        The trial table.
    position, velocity
        The kinematics.

    Raises
    ------
    DataError
        If no trial lies in the time of the kinematics, or trials run out of it and fit the movements far
        better at another time; the message names the factor or the shift that would fit.
    """
    series = velocity if velocity is not None else position
    extent = extent_of(*(each.time[[0, -1]] for each in (position, velocity) if each is not None))
    start, stop = trials.events["start"], trials.events["stop"]
    known = np.isfinite(start) & np.isfinite(stop)
    if extent is None or series is None or not known.any():
        return
    start, stop = start[known], stop[known]
    inside = _inside(start, stop, extent)
    n, n_outside = len(start), int((~inside).sum())
    where = (
        f"/{file.trials_path} run from {start.min():g} to {stop.max():g} s, the kinematics from "
        f"{extent[0]:g} to {extent[1]:g} s"
    )
    if inside.mean() <= FEW_INSIDE:
        raise DataError(f"{file.name}: {where}: {_what_fits(start, stop, extent)}")
    if n_outside <= MANY_OUTSIDE * n:
        return
    shift = _better_shift(series, position, trials) if n >= FEWEST else None
    span, recorded = float(stop.max() - start.min()), extent[1] - extent[0]
    if shift is not None and span > SHORTER * recorded:
        rate = 1.0 / series.interval_s
        raise DataError(
            f"{file.name}: {n_outside} of {n} trials lie outside the kinematics ({where}), and the movements "
            f"do not fit the trials. If the kinematics are of all trials, their rate or time stamps are "
            f"wrong: they are read at {rate:.4g} Hz, and would take as long as the trials at about "
            f"{rate * recorded / span:.3g} Hz. Write that rate, or find reaches from speed with --set "
            "trials.source=speed."
        )
    if shift is not None:
        when, how = ("later", "add") if shift > 0 else ("earlier", "subtract")
        seconds = f"{abs(shift):.0f} s {'to' if shift > 0 else 'from'}"
        raise DataError(
            f"{file.name}: {n_outside} of {n} trials lie outside the kinematics ({where}), and the movements "
            f"fit the trials best some {abs(shift):.0f} s {when}: their clocks differ. Write both on one "
            f"clock ({how} about {seconds} the times of the trials), or find reaches from speed with --set "
            "trials.source=speed."
        )
    file.say(f"{n_outside} of {n} trials lie outside the kinematics ({where})")


def _inside(start: FloatArray, stop: FloatArray, extent: tuple[float, float]) -> BoolArray:
    return np.asarray((start >= extent[0] - MARGIN_S) & (stop <= extent[1] + MARGIN_S))


def _what_fits(start: FloatArray, stop: FloatArray, extent: tuple[float, float]) -> str:
    span = float(stop.max() - start.min())
    recorded = max(extent[1] - extent[0], 1e-9)
    fitting = [
        (abs(np.log(span * factor / recorded)), factor, unit)
        for factor, unit in UNITS
        if span > 0
        and _inside(start * factor, stop * factor, extent).mean() > 0.9
        and float(np.median(stop - start)) * factor > SHORTEST_S
    ]
    if fitting:
        _, factor, unit = min(fitting)
        return (
            f"they are no seconds, but fit as {unit}. Write start_time, stop_time and the events in seconds: "
            f"times {factor:.9g}."
        )
    away = float(start.min() - extent[0])
    constant = ""
    if span <= extent[1] - extent[0] + MARGIN_S:
        constant = f" The trials take no longer: they may differ by a constant, of some {away:.6g} s."
    return (
        f"they share no time, and so no clock.{constant} Write both on one clock, or find reaches from speed "
        "with --set trials.source=speed."
    )


def _better_shift(series: Series, position: Series | None, trials: TrialTable) -> float | None:
    """Return by how much later the movements fit the trials far better; None where they fit as they are."""
    event = trials.events.get("move_onset", trials.events.get("go_cue"))
    if event is None or not np.isfinite(event).any():
        return None
    event = event[np.isfinite(event)]
    step = 0.02
    time = np.arange(series.time[0], series.time[-1], step)
    if len(time) < 2 or len(time) > 2_000_000:
        return None
    at = np.clip(np.searchsorted(series.time, time), 0, len(series.time) - 1)
    moved = np.linalg.norm(np.nan_to_num(series.values[at]), axis=1)
    if series is position:
        moved = np.linalg.norm(np.gradient(np.nan_to_num(series.values[at]), step, axis=0), axis=1)
    span = int((event.max() - event.min()) / step) + 1
    comb = np.zeros(span + 1)
    comb[np.round((event - event.min()) / step).astype(int)] = 1.0
    size = 1 << int(np.ceil(np.log2(len(moved) + len(comb))))
    fitted = np.fft.irfft(np.fft.rfft(moved, size) * np.conj(np.fft.rfft(comb, size)), size)
    # Only shifts at which most of the events lie in the recording.
    lags = np.arange(-len(comb), len(moved)) * step + time[0] - event.min()
    values = np.concatenate([fitted[size - len(comb) :], fitted[: len(moved)]]) / len(event)
    near = np.abs(lags) <= 2.0
    far = np.abs(lags) > max(10.0, 2 * float(np.median(np.diff(np.sort(event)))))
    if not near.any() or not far.any():
        return None
    best = int(np.argmax(np.where(far, values, -np.inf)))
    return float(lags[best]) if values[best] > BETTER * values[near].max() else None


@dataclass(frozen=True)
class _Movements:
    """Speeds around the trials that were looked at.

    Attributes
    ----------
    row
        Rows of the trial table. Shape ``(n,)``.
    still, moved
        Whether the hand stands still after the onset, and is in full movement at or before it. Shapes
        ``(n,)``.
    direction
        Of the movement, radians, NaN where unknown. Shape ``(n,)``.
    peak
        Highest speed of each trial. Shape ``(n,)``.
    """

    row: np.ndarray
    still: BoolArray
    moved: BoolArray
    direction: FloatArray
    peak: FloatArray


def check_movements(
    file: NwbFile,
    trials: TrialTable,
    position: Series | None,
    velocity: Series | None,
    *,
    uses_onsets: bool,
    unit: str = "cm",
) -> None:
    """Say where stored onsets, or directions of targets, do not fit the movements of most trials.

    Parameters
    ----------
    file
        The open file.
    trials
        The trial table.
    position, velocity
        The kinematics, cm and cm/s. Of more than three axes nothing is concluded.
    uses_onsets
        Whether the stored onsets are used.
    unit
        Of the position; only cm are held against a hand.
    """
    series = velocity if velocity is not None else position
    if series is None or series.values.ndim != 2 or series.values.shape[1] > 3:
        return
    found = _movements(trials, series, is_position=series is position)
    if len(found.row) < FEWEST:
        return
    if unit == "cm":
        _say_of_speed(file, found)
    if uses_onsets and "move_onset" in trials.events:
        _say_of_onsets(file, trials, found)
    if series.values.shape[1] > 1:
        _say_of_directions(file, trials, found)


def _movements(trials: TrialTable, series: Series, *, is_position: bool) -> _Movements:
    start, stop = trials.events["start"], trials.events["stop"]
    go = trials.events.get("go_cue", np.full(len(trials), np.nan))
    onset = trials.events.get("move_onset", np.full(len(trials), np.nan))
    begin = np.where(np.isfinite(go), go, np.where(np.isfinite(onset), np.minimum(onset, start), start))
    rows = np.flatnonzero(np.isfinite(begin) & np.isfinite(stop) & trials.success & trials.valid)
    rows = rows[:: max(1, len(rows) // MOST_LOOKED_AT)]
    step = max(1, int(FASTEST_STEP_S / series.interval_s)) if len(series.time) > 1 else 1
    kept, still, moved, direction, peaks = [], [], [], [], []
    from_s = np.where(np.isfinite(onset), np.minimum(begin, onset), begin)
    ends = np.searchsorted(series.time, np.stack([from_s[rows], stop[rows]], axis=1)).tolist()
    for row, (first, last) in zip(rows, ends, strict=True):
        time, values = series.time[first:last:step], series.values[first:last:step, :2]
        if len(time) < 5 or not np.isfinite(values).all():
            continue
        speeds = np.gradient(values, time, axis=0) if is_position else values
        speed = np.linalg.norm(speeds, axis=1)
        peak = float(speed[time >= begin[row]].max(initial=0.0))
        if peak <= 0:
            continue
        kept.append(row)
        peaks.append(peak)
        rests, moves = _at_onset(time, speed, peak, go=go[row], onset=onset[row])
        still.append(rests)
        moved.append(moves)
        fast = int(np.argmax((speed >= HALF_WAY * peak) & (time >= begin[row])))
        direction.append(np.arctan2(speeds[fast, 1], speeds[fast, 0]) if speeds.shape[1] > 1 else np.nan)
    return _Movements(
        np.array(kept, dtype=np.int64), np.array(still, dtype=bool), np.array(moved, dtype=bool),
        np.array(direction, dtype=np.float64), np.array(peaks, dtype=np.float64),
    )  # fmt: skip


def _at_onset(
    time: FloatArray, speed: FloatArray, peak: float, *, go: float, onset: float
) -> tuple[bool, bool]:
    """Return whether the hand stands still after the onset, and whether it moves before or at it."""
    if not np.isfinite(onset):
        return True, False
    after = (time >= onset) & (time <= onset + AFTER_S)
    before = (time >= go) & (time < onset - 0.1)
    late = False
    # Of a movement without a rest before it, as of an oscillation, speed at the onset says nothing.
    if (speed[time < onset] < STILL * peak).any():
        late = float(np.interp(onset, time, speed)) > HALF_WAY * peak
    return (
        bool(speed[after].max(initial=0.0) < STILL * peak),
        bool(speed[before].max(initial=0.0) > MOVED * peak) or late,
    )


def _say_of_speed(file: NwbFile, found: _Movements) -> None:
    median = float(np.median(found.peak))
    if median > FASTEST_REACH_CM_S:
        file.say(
            f"the speed peaks at {median:.3g} cm/s in the median of {len(found.peak)} trials, faster than "
            f"hands reach (10 to {FASTEST_REACH_CM_S:g} cm/s): if the values are mm, or the conversion is "
            "another, mend the unit of position and velocity in the file; thresholds in cm do not fit it"
        )


def _say_of_onsets(file: NwbFile, trials: TrialTable, found: _Movements) -> None:
    onset = trials.events["move_onset"][found.row]
    known = np.isfinite(onset)
    n = int(known.sum())
    if n < FEWEST:
        return
    path = next((choice.value for choice in file.choices if choice.what == "move_onset"), "the stored onsets")
    remedy = "use --set onset.method=profile, or name another column with --set columns.move_onset=NAME"
    go = trials.events.get("go_cue")
    if go is not None and ((early := go[found.row] - onset)[known] > 0).sum() > n / 2:
        median = float(np.nanmedian(early[known]))
        file.say(
            f"{path}: {int((early[known] > 0).sum())} of {n} stored onsets lie before the go cue (by "
            f"{median:.3g} s in the median); {remedy}"
        )
    n_still, n_moved = int((found.still & known).sum()), int((found.moved & ~found.still & known).sum())
    if n_still + n_moved > n / 2:
        what = [f"the hand stands still for {AFTER_S:g} s after {n_still}"] if n_still else []
        what += [f"it is in full movement at or before {n_moved}"] if n_moved else []
        file.say(f"{path}: most stored onsets do not fit the speed: of {n}, {' and '.join(what)}; {remedy}")


def _say_of_directions(file: NwbFile, trials: TrialTable, found: _Movements) -> None:
    target = trials.target_dir[found.row]
    known = np.isfinite(target) & np.isfinite(found.direction)
    n = int(known.sum())
    if n < FEWEST:
        return
    target, movement = target[known], found.direction[known]

    def apart(angle: FloatArray) -> FloatArray:
        turned: FloatArray = np.angle(np.exp(1j * (angle - movement)))
        return np.abs(np.rad2deg(turned))

    if np.median(apart(target)) <= FITS_DEG:
        return
    path = next((choice.value for choice in file.choices if choice.what == "target_dir"), "target directions")
    if len(np.unique(target.round(2))) < 2:
        if np.abs(np.exp(1j * movement).mean()) < ONE_WAY:
            file.say(
                f"{path}: all {n} trials have a target in the same direction, and their movements go in all: "
                "conditions do not tell these apart. Name another column with --set columns.target_dir=NAME"
            )
        return
    fits = [
        words
        for words, angle in (
            ("with the y axis flipped, as that of a screen", -target),
            ("counted clockwise from north", np.pi / 2 - target),
            ("with the x axis flipped", np.pi - target),
            ("turned by half a turn", target + np.pi),
            ("counted counterclockwise from north", target + np.pi / 2),
            ("turned by a quarter turn", target - np.pi / 2),
        )
        if np.median(apart(angle)) <= FITS_DEG and (apart(angle) <= FITS_DEG).mean() > 0.7
    ]
    opposing = int((apart(target) > OPPOSES_DEG).sum())
    if not fits and opposing <= FEW_OPPOSE * n:
        return
    what = f"they fit {fits[0]}" if fits else f"in {opposing} of {n} they lie more than 90° apart"
    file.say(
        f"{path}: directions of targets and of movements do not agree (by {np.median(apart(target)):.0f}° in "
        f"the median of {n} trials): {what}. Conditions are named by the targets as they are; columns.labels "
        "renames them"
    )
