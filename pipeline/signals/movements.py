"""Movements of a session: one candidate per row of the trial table, or per reach found from speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.signals.candidates import Candidates
from nwb_latents.pipeline.signals.conditions import condition_names, directions, octants
from nwb_latents.pipeline.signals.onset import Onset, find_onset, profile_onsets, speed_of
from nwb_latents.pipeline.signals.resample import differentiate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import FloatArray, Recording, Series, TrialTable
    from nwb_latents.schemas.columns import ColumnSettings
    from nwb_latents.schemas.recipe import IngestRecipe
    from nwb_latents.schemas.recipe_parts import OnsetSettings


def find_candidates(recording: Recording, recipe: IngestRecipe, *, velocity: Series | None) -> Candidates:
    """List the candidates of a session with their events.

    Parameters
    ----------
    recording
        The session; its trial table, where it has one, says what to look at.
    recipe
        Onset and reach settings.
    velocity
        That of `native_velocity`; decides onsets.

    Returns
    -------
    candidates
        In order of time; nothing is removed, so that every trial left out can be counted.
    """
    if recording.trials is None:
        return _reaches(velocity, recipe)
    return _table_trials(recording.trials, velocity, recipe)


def _speed(velocity: Series | None, recipe: IngestRecipe) -> Series | None:
    return speed_of(velocity, recipe.onset.smooth_s) if velocity else None


def native_velocity(recording: Recording) -> Series | None:
    """Return the recorded velocity, or the derivative of the position, at its own sampling rate.

    Returns
    -------
    velocity
        cm/s; None where the session has no kinematics.
    """
    if recording.velocity is not None:
        return recording.velocity
    return differentiate(recording.position) if recording.position is not None else None


def _table_trials(table: TrialTable, velocity: Series | None, recipe: IngestRecipe) -> Candidates:
    n = len(table)
    missing = np.full(n, np.nan)
    start, stop = table.events["start"], table.events["stop"]
    go = table.events.get("go_cue", missing)
    given = table.events.get("move_onset", missing)
    has_column = "move_onset" in table.events and bool(np.isfinite(given).any())
    use_column = recipe.onset.method == "column" or (recipe.onset.method == "auto" and has_column)

    times = list(zip(start, stop, go, given, strict=True))
    if velocity is not None and not use_column and recipe.onset.method in {"auto", "profile"}:
        found = _fitted_onsets(velocity, times, recipe.onset)
    else:
        speed = _speed(velocity, recipe)
        found = [_table_onset(speed, each, recipe.onset, use_column=use_column) for each in times]
    peak = np.array([f.peak for f in found])
    direction = np.where(np.isfinite(table.target_dir), table.target_dir, _direction_at(velocity, peak))
    return Candidates(
        row=table.row,
        events={
            "trial_start": start,
            "trial_stop": stop,
            "target_on": table.events.get("target_on", missing),
            "go_cue": go,
            "move_onset": np.array([f.onset for f in found]),
            "peak_speed": peak,
        },
        peak_speed=np.array([f.peak_speed for f in found]),
        target_dir=direction,
        onset_quality=np.array([f.quality for f in found], dtype=object),
        condition=_conditions(table, direction, recipe.columns),
        split_hint=table.split,
        success=table.success.astype(bool),
        valid=table.valid.astype(bool),
        is_reach=np.zeros(n, bool),
        columns=table.columns,
    )


Times = tuple[float, float, float, float]
"""Start, stop, go cue and stored onset of a trial."""


def _fitted_onsets(velocity: Series, trials: list[Times], settings: OnsetSettings) -> list[Onset]:
    """Return the onset of each trial, by the profiles that fit the session's movements."""
    windows: dict[int, tuple[float, float, float]] = {}
    for number, (start, stop, go, _) in enumerate(trials):
        begin, earliest = (go, go + settings.min_rt_s) if np.isfinite(go) else (start, start)
        if np.isfinite(begin) and np.isfinite(stop):
            windows[number] = (begin, earliest, min(stop, begin + settings.max_search_s))
    made = dict(zip(windows, profile_onsets(velocity, list(windows.values()), settings), strict=True))
    nothing = Onset(np.nan, np.nan, np.nan, "unobserved")
    return [made.get(number, nothing) for number in range(len(trials))]


def _table_onset(
    speed: Series | None,
    times: Times,
    settings: OnsetSettings,
    *,
    use_column: bool,
) -> Onset:
    start, stop, go, given = times
    nothing = Onset(np.nan, np.nan, np.nan, "unobserved")
    if use_column and not np.isfinite(given):
        return Onset(np.nan, np.nan, np.nan, "no_column_value")
    begin = given if use_column else go if np.isfinite(go) else start
    if speed is None or not (np.isfinite(begin) and np.isfinite(stop)):
        return Onset(given, np.nan, np.nan, "column") if use_column else nothing
    earliest = begin if use_column or not np.isfinite(go) else begin + settings.min_rt_s
    movement = find_onset(speed, earliest, min(stop, begin + settings.max_search_s), settings, from_s=begin)
    if use_column:
        return Onset(given, movement.peak, movement.peak_speed, "column")
    return movement


def _reaches(velocity: Series | None, recipe: IngestRecipe) -> Candidates:
    settings, speed = recipe.reaches, _speed(velocity, recipe)
    found: list[Onset] = []
    if speed is not None:
        from scipy.signal import find_peaks  # noqa: PLC0415 - half a second, which trial tables do not need

        rule = recipe.onset.model_copy(
            update={
                "method": "peak_fraction"
                if recipe.onset.method in {"auto", "column", "profile"}
                else recipe.onset.method,
                "fraction": settings.onset_fraction,
                "min_peak_cm_s": settings.min_peak_cm_s,
            }
        )
        filled = np.nan_to_num(speed.values[:, 0], nan=0.0)
        step = speed.interval_s if len(speed.time) > 1 else np.inf
        peaks, _ = find_peaks(
            filled, height=settings.min_peak_cm_s, distance=max(1, round(settings.min_separation_s / step))
        )
        for peak in peaks:
            time = speed.time[peak]
            earliest = time - 2 * settings.max_rise_s
            found.append(find_onset(speed, time - 1.6 * step, time + 1.6 * step, rule, from_s=earliest))
    n = len(found)
    peak_time = np.array([f.peak for f in found])
    direction = _direction_at(velocity, peak_time)
    missing = np.full(n, np.nan)
    onset = np.array([f.onset for f in found])
    return Candidates(
        row=np.arange(n),
        events={
            "trial_start": onset,
            "trial_stop": missing,
            "target_on": missing,
            "go_cue": missing,
            "move_onset": onset,
            "peak_speed": peak_time,
        },
        peak_speed=np.array([f.peak_speed for f in found]),
        target_dir=direction,
        onset_quality=np.array([f.quality for f in found], dtype=object),
        condition=condition_names(octants(direction)),
        split_hint=np.full(n, "", dtype=object),
        success=np.ones(n, bool),
        valid=np.ones(n, bool),
        is_reach=np.ones(n, bool),
    )


def _direction_at(velocity: Series | None, time: FloatArray) -> FloatArray:
    out = np.full(len(time), np.nan)
    if velocity is None or velocity.values.shape[1] < 2:
        return out
    known = np.isfinite(time)
    nearest = np.clip(np.searchsorted(velocity.time, time[known]), 0, len(velocity.time) - 1)
    out[known] = np.arctan2(velocity.values[nearest, 1], velocity.values[nearest, 0])
    return out


def _conditions(table: TrialTable, direction: FloatArray, settings: ColumnSettings) -> NDArray[np.object_]:
    """Name conditions as the table does, else by the direction of the target, else by octants."""
    degrees = directions(table.target_dir, tolerance_rad=np.deg2rad(settings.tolerance_deg))
    found = octants(direction) if degrees is None else np.where(degrees < 0, octants(direction), degrees)
    named = np.where(table.condition == "", condition_names(found), table.condition).astype(object)
    labels = settings.labels
    if table.block is None:
        return np.array([labels.get(name, name) for name in named], dtype=object)
    # A label is of a condition in any block, or of it in one.
    both = [(name, f"{name}-{block}") for name, block in zip(named, table.block, strict=True)]
    return np.array([labels.get(b, labels.get(n, n) + b.removeprefix(n)) for n, b in both], dtype=object)
