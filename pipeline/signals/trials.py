"""From a recording to trials: bin → smooth → filter → align.

Smoothing happens on the continuous session, so that the edges of trials are not halved. A trial is a slice
of the continuous bins: time zero is the left edge of the bin that holds the event.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.signals.binning import bin_spikes, mean_rates, merge_intervals, observed_fraction
from pipeline.signals.movements import Candidates, find_candidates, native_velocity
from pipeline.signals.resample import resample
from pipeline.signals.smoothing import smooth_counts
from pipeline.signals.split import stratified_split
from pipeline.signals.timebase import Grid
from schemas.store import DropCounts

if TYPE_CHECKING:
    from pipeline.signals.recording import BoolArray, FloatArray, IntArray, Recording, Series
    from schemas.recipe import IngestRecipe

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Trials:
    """Arrays of a trial store, under the names and dimensions of `schemas.store`.

    Attributes
    ----------
    trials, continuous
        Arrays of the two groups.
    dropped
        Units and trials left out, by reason.
    notes
        What was odd, one sentence each.
    """

    trials: Arrays
    continuous: Arrays
    dropped: DropCounts
    notes: tuple[str, ...]


def make_trials(recording: Recording, recipe: IngestRecipe) -> Trials:
    """Bin, smooth, filter and align one session.

    Parameters
    ----------
    recording
        The continuous session.
    recipe
        Bins, smoothing, thresholds, alignment, splits.

    Returns
    -------
    trials
        Counts (uint8 or wider), rates in Hz (float32), kinematics at bin centres in cm and cm/s (float32).

    Raises
    ------
    DataError
        If no unit or no trial is left; the message counts the reasons.
    """
    grid = _session_grid(recording, recipe.bin_ns)
    counts = bin_spikes(recording.spike_times, recording.spike_index, grid)
    observed = observed_fraction(merge_intervals(recording.observed), grid) >= recipe.min_observed - 1e-12
    notes = _clear_unobserved(counts, observed)

    mean_rate = mean_rates(counts, observed, grid.bin_size_s)
    is_kept = mean_rate >= recipe.min_rate_hz
    _require_units(recording, recipe, mean_rate, is_kept)
    counts = counts[is_kept]
    rates = smooth_counts(
        counts,
        observed,
        bin_size_s=grid.bin_size_s,
        sigma_s=recipe.smooth_sigma_s,
        truncate=recipe.smooth_truncate,
    )
    n_axes = len(recording.axes)
    position = _on_grid(recording.position, grid, n_axes)
    velocity = _on_grid(native_velocity(recording), grid, n_axes)

    candidates = find_candidates(recording, recipe)
    event_bin, start = _place(candidates, recipe, grid, observed)
    keep = np.flatnonzero(candidates.reason == "")
    _require_trials(recording, recipe, candidates)
    start = start[keep]
    bins = start[:, None] + np.arange(recipe.n_bins)
    by_time = np.ascontiguousarray(counts.T), np.ascontiguousarray(rates.T)

    units: Arrays = {"unit": recording.units.ids[is_kept].astype(np.int64)}
    axis: Arrays = {"axis": np.array(recording.axes, dtype=object)}
    first_bin = recipe.window_bins[0]
    aligned: Arrays = {
        "counts": by_time[0][bins],
        "rates": by_time[1][bins],
        "position": position[bins],
        "velocity": velocity[bins],
        "time": (first_bin + np.arange(recipe.n_bins)) * recipe.bin_ns / 1e9,
        "start_bin": start,
        **_trial_coordinates(recording, candidates, keep, recipe),
        **units,
        **axis,
        "area": recording.units.area[is_kept],
        "mean_rate": mean_rate[is_kept],
        "heldout": recording.units.heldout[is_kept],
    }
    aligned["event_offset"] = (
        np.asarray(aligned["event_time"], dtype=np.float64) - grid.left_s[event_bin[keep]]
    )
    continuous: Arrays = {
        "counts": by_time[0],
        "rates": by_time[1],
        "position": position,
        "velocity": velocity,
        "observed": observed,
        "time": grid.left_s,
        **units,
        **axis,
    }
    dropped = DropCounts(
        units={"below_min_rate": int((~is_kept).sum())} if not is_kept.all() else {},
        trials=dict(Counter(str(r) for r in candidates.reason if r)),
    )
    return Trials(aligned, continuous, dropped, notes)


def _session_grid(recording: Recording, bin_ns: int) -> Grid:
    times = [recording.observed.ravel(), recording.spike_times[:0]]
    if len(recording.spike_times):
        times.append(np.array([recording.spike_times.min(), recording.spike_times.max()]))
    kinematics = (recording.position, recording.velocity)
    times += [series.time[[0, -1]] for series in kinematics if series is not None and len(series.time)]
    spanned = np.concatenate(times)
    if not len(spanned):
        raise DataError(
            f"{recording.session}: the recording holds neither spikes nor kinematics. Leave it out."
        )
    return Grid.covering(float(spanned.min()), float(spanned.max()), bin_ns)


def _clear_unobserved(counts: NDArray[np.unsignedinteger], observed: BoolArray) -> tuple[str, ...]:
    outside = counts[:, ~observed]
    n_outside = int(outside.sum(dtype=np.int64))
    counts[:, ~observed] = 0
    if not n_outside:
        return ()
    return (f"{n_outside} spikes lie in bins that were not observed throughout and were left out.",)


def _on_grid(series: Series | None, grid: Grid, n_axes: int) -> NDArray[np.float32]:
    if series is None:
        return np.full((grid.n_bins, n_axes), np.nan, np.float32)
    return resample(series, grid.centre_s, bin_size_s=grid.bin_size_s).astype(np.float32)


def _place(
    candidates: Candidates, recipe: IngestRecipe, grid: Grid, observed: BoolArray
) -> tuple[IntArray, IntArray]:
    """Find each candidate's first bin; note in `reason` why it cannot be cut out."""
    reason = candidates.reason
    event = candidates.events[recipe.align_to]
    reason[~np.isfinite(event) & (reason == "")] = f"no_{recipe.align_to}"
    event_bin = np.full(len(event), -1, dtype=np.int64)
    known = np.isfinite(event)
    event_bin[known] = grid.bin_of(event[known])
    start = event_bin + recipe.window_bins[0]
    stop = start + recipe.n_bins
    outside = (start < 0) | (stop > grid.n_bins)
    reason[outside & (reason == "")] = "outside_recording"
    unobserved_before = np.concatenate([[0], np.cumsum(~observed)])
    lo, hi = np.clip(start, 0, grid.n_bins), np.clip(stop, 0, grid.n_bins)
    reason[(unobserved_before[hi] > unobserved_before[lo]) & (reason == "")] = "unobserved"
    guard = int(np.ceil(recipe.trials.guard_s / recipe.bin_size_s - 1e-9))
    free_from = np.iinfo(np.int64).min
    for i in np.argsort(start, kind="stable"):
        if reason[i]:
            continue
        if start[i] < free_from:
            reason[i] = "overlaps_previous"
        else:
            free_from = int(stop[i]) + guard
    return event_bin, start


def _trial_coordinates(
    recording: Recording, candidates: Candidates, keep: IntArray, recipe: IngestRecipe
) -> Arrays:
    events = {name: times[keep] for name, times in candidates.events.items()}
    condition = candidates.condition[keep]
    return {
        "trial": candidates.row[keep].astype(np.int64),
        "event_time": events[recipe.align_to],
        "go_cue": events["go_cue"],
        "target_on": events["target_on"],
        "move_onset": events["move_onset"],
        "peak_time": events["peak_speed"],
        "peak_speed": candidates.peak_speed[keep],
        "reaction_time": events["move_onset"] - events["go_cue"],
        "onset_quality": candidates.onset_quality[keep],
        "target_dir": candidates.target_dir[keep],
        "condition": condition,
        "split": stratified_split(
            condition, recipe.split, session=recording.session, hint=candidates.split_hint[keep]
        ),
    }


def _require_units(recording: Recording, recipe: IngestRecipe, rate: FloatArray, is_kept: BoolArray) -> None:
    if is_kept.any():
        return
    fastest = float(rate.max(initial=0.0))
    raise DataError(
        f"{recording.session}: all {len(rate)} units fire below min_rate_hz = {recipe.min_rate_hz:g} Hz "
        "(the fastest at "
        f"{fastest:.3g} Hz). Lower it with --set min_rate_hz=0, or leave the session out."
    )


def _require_trials(recording: Recording, recipe: IngestRecipe, candidates: Candidates) -> None:
    if (candidates.reason == "").any():
        return
    if not len(candidates.reason):
        raise DataError(
            f"{recording.session}: no trial table, and no movement above reaches.min_peak_cm_s = "
            f"{recipe.reaches.min_peak_cm_s:g} cm/s was found. Lower it with --set "
            "reaches.min_peak_cm_s=VALUE, or check "
            "the unit of the kinematics."
        )
    reasons = ", ".join(f"{why} {n}" for why, n in Counter(candidates.reason).most_common())
    raise DataError(
        f"{recording.session}: none of {len(candidates.reason)} trials is valid ({reasons}). Loosen the "
        "rule that drops "
        "most of them, e.g. --set trials.success_only=false or --set onset.max_rt_s=2; `pipeline schema "
        "recipe` lists all."
    )
