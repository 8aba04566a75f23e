"""From a binned session to trials: select → cut → split, or chop.

Smoothing happened on the continuous session, so that the edges of trials are not halved. A trial is a slice
of the continuous bins: time zero is the left edge of the bin that holds the event, or that of a bin beside it
where the recipe counts from the next edge (`pipeline.signals.window_starts`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.binned import IN_MEMORY, BinnedSession, bin_session
from nwb_latents.pipeline.signals.candidates import selection_reasons, to_arrays, touches, window_reasons
from nwb_latents.pipeline.signals.chop import bin_hints, chop
from nwb_latents.pipeline.signals.conditions import groups_of_nothing, labels_of_nothing
from nwb_latents.pipeline.signals.quality import measure_quality
from nwb_latents.pipeline.signals.remedies import remedies
from nwb_latents.pipeline.signals.rows import Windows, blocks, put
from nwb_latents.pipeline.signals.split import stratified_split
from nwb_latents.pipeline.signals.window_starts import drawn_bins, first_bins, moved
from nwb_latents.schemas.store import COLUMN, DropCounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, IntArray, Recording
    from nwb_latents.pipeline.signals.rows import Shelf
    from nwb_latents.schemas.quality import SessionQuality
    from nwb_latents.schemas.recipe import IngestRecipe

Arrays = dict[str, Any]
"""Name → plain array, or `signals.rows.Rows` where a shelf keeps them."""


@dataclass(frozen=True)
class Trials:
    """Arrays of a trial store, under the names and dimensions of `schemas.store`.

    Attributes
    ----------
    trials, continuous, events
        Arrays of the three groups.
    dropped
        Units and trials left out, by reason.
    quality
        What was measured of the session.
    notes
        What was odd, one sentence each.
    """

    trials: Arrays
    continuous: Arrays
    events: Arrays
    dropped: DropCounts
    quality: SessionQuality
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Cut:
    """Where trials begin, their coordinates, and why each candidate became none."""

    start: IntArray
    coordinates: Arrays
    reason: NDArray[np.object_]


def make_trials(recording: Recording, recipe: IngestRecipe, *, shelf: Shelf = IN_MEMORY) -> Trials:
    """Bin, smooth and filter one session, and cut it into trials.

    Parameters
    ----------
    recording
        The continuous session.
    recipe
        Bins, smoothing, thresholds, event, splits.
    shelf
        Where the large arrays go; default: memory. Not a bit of them depends on it.

    Returns
    -------
    trials
        Counts (uint8 or wider), rates in Hz (float32), kinematics at bin centres in cm and cm/s (float32).

    Raises
    ------
    DataError
        If no unit or no trial is left; the message counts the reasons.
    """
    return cut_trials(bin_session(recording, recipe, shelf=shelf), recipe, shelf=shelf)


def cut_trials(session: BinnedSession, recipe: IngestRecipe, *, shelf: Shelf = IN_MEMORY) -> Trials:
    """Cut trials out of a binned session, or windows of continuous time where the recipe chops.

    Parameters
    ----------
    session
        The binned session.
    recipe
        Event, window, trial selection, splits, chopping. Its bins have to be those of the session.
    shelf
        Where the large arrays go; default: memory.

    Returns
    -------
    trials
        As from `make_trials`.

    Raises
    ------
    DataError
        If no trial is left; the message counts the reasons.
    """
    cut = _chopped(session, recipe) if recipe.chop.enabled else _cut_at_events(session, recipe)
    _require_spikes(session, Windows(session.counts, cut.start, recipe.n_bins))
    shared: Arrays = {"unit": session.unit, "axis": session.axis}
    by_time: Arrays = {
        "counts": session.counts,
        "rates": session.rates,
        "position": session.position,
        "velocity": session.velocity,
    }
    cut_out = {name: Windows(values, cut.start, recipe.n_bins) for name, values in by_time.items()}
    trials: Arrays = {
        **{name: put(windows, f"trials/{name}", shelf) for name, windows in cut_out.items()},
        "time": (recipe.window_bins[0] + np.arange(recipe.n_bins)) * recipe.bin_ns / 1e9,
        "start_bin": cut.start,
        **cut.coordinates,
        **shared,
        "area": session.area,
        "mean_rate": session.mean_rate,
        "heldout": session.heldout,
    }
    continuous: Arrays = {
        **by_time,
        **{name: put(by_time[name], f"continuous/{name}", shelf) for name in ("position", "velocity")},
        **({} if session.psth_counts is None else {"psth_counts": session.psth_counts}),
        "observed": session.observed,
        "outlier": session.outlier,
        "time": session.grid.left_s,
        **shared,
    }
    reasons = Counter(str(r) for r in cut.reason if r) if not recipe.chop.enabled else {}
    dropped = DropCounts(units=session.dropped_units, trials=dict(reasons))
    return Trials(
        trials,
        continuous,
        to_arrays(session.candidates, cut.reason),
        dropped,
        measure_quality(session, trials, dropped, recipe=recipe),
        (
            *session.notes,
            *_missing(trials),
            *groups_of_nothing(session.candidates.condition[session.candidates.condition != ""]),
            *labels_of_nothing(session.candidates.condition, recipe.columns.labels),
        ),
    )


def _missing(trials: Arrays) -> list[str]:
    """Return what is said of hand data that are not known throughout the trials, series that are there."""
    said = []
    for name in ("position", "velocity"):
        is_missing: BoolArray = np.concatenate(
            [~np.isfinite(block).all(axis=-1) for block in blocks(trials[name])]
        )
        within = np.asarray(is_missing.any(axis=1))
        if within.any() and not is_missing.all():
            said.append(
                f"{name} is not known in {int(is_missing.sum())} of {is_missing.size} bins, in "
                f"{int(within.sum())} of {len(within)} trials; they are NaN in the store"
            )
    return said


def _cut_at_events(session: BinnedSession, recipe: IngestRecipe) -> _Cut:
    candidates, grid = session.candidates, session.grid
    reason = selection_reasons(candidates, recipe)
    event = candidates.events[recipe.align_to]
    known = np.isfinite(event)
    reason[~known & (reason == "")] = f"no_{recipe.align_to}"
    start = np.full(len(event), -1, dtype=np.int64) + recipe.window_bins[0]
    start[known] = first_bins(event[known], grid, recipe)
    event_bin = start - recipe.window_bins[0]
    shift = np.zeros(len(start), dtype=np.int64)
    if recipe.jitter.max_s > 0:
        start, shift = moved(start, drawn_bins(candidates, recipe.jitter, bin_size_s=grid.bin_size_s), reason)
    stop = start + recipe.n_bins
    if recipe.trials.drop_outliers:
        reason[touches(start, stop, session.outlier) & (reason == "")] = "kinematic_outlier"
    guard = int(np.ceil(recipe.trials.guard_s / recipe.bin_size_s - 1e-9))
    reason = window_reasons(
        start,
        stop,
        reason,
        observed=session.observed,
        guard_bins=None if recipe.trials.allow_overlap else guard,
    )
    _require_trials(session, recipe, reason)

    keep = np.flatnonzero(reason == "")
    events = {name: times[keep] for name, times in candidates.events.items()}
    condition = candidates.condition[keep]
    hint = candidates.split_hint[keep]
    splits = {"split": recipe.split, **{f"split_{s.name}": s for s in recipe.extra_splits}}
    more: Arrays = {f"{COLUMN}{name}": values[keep] for name, values in candidates.columns.items()}
    if recipe.jitter.max_s > 0:
        more["jitter_bins"] = shift[keep]
    if recipe.trials.only_split and (hint != "").all():
        more["split_file"] = hint
    return _Cut(
        start[keep],
        {
            "trial": candidates.row[keep].astype(np.int64),
            "event_time": event[keep],
            "event_offset": event[keep] - grid.left_of(event_bin[keep]),
            "go_cue": events["go_cue"],
            "target_on": events["target_on"],
            "move_onset": events["move_onset"],
            "peak_time": events["peak_speed"],
            "peak_speed": candidates.peak_speed[keep],
            "reaction_time": events["move_onset"] - events["go_cue"],
            "onset_quality": candidates.onset_quality[keep],
            "target_dir": candidates.target_dir[keep],
            "condition": condition,
            **{
                name: stratified_split(condition, settings, session=session.session, hint=hint)
                for name, settings in splits.items()
            },
            **more,
        },
        reason,
    )


def _require_spikes(session: BinnedSession, windows: Windows) -> None:
    """Refuse windows without any spike: a store without counts is of no use to anybody."""
    if any(block.any() for block in blocks(windows)):
        return
    fires = np.flatnonzero(np.concatenate([block.any(axis=1) for block in blocks(session.counts)]))
    left = session.grid.left_of
    when = "there are none in observed time"
    if len(fires):
        when = f"they run from {left(fires[:1])[0]:g} to {left(fires[-1:])[0]:g} s"
    first, last = left(np.array([windows.start.min(), windows.start.max() + windows.n - 1]))
    raise DataError(
        f"{session.session}: none of {len(windows)} windows (from {first:g} to {last:g} s) holds a spike of "
        f"the {len(session.unit)} units: {when}. Check the clock of the spikes against that of the trials, "
        "or leave the session out."
    )


def _chopped(session: BinnedSession, recipe: IngestRecipe) -> _Cut:
    candidates, left = session.candidates, session.grid.left_s
    usable = session.observed & ~session.outlier if recipe.trials.drop_outliers else session.observed
    hint = bin_hints(
        left, candidates.events["trial_start"], candidates.events["trial_stop"], candidates.split_hint
    )
    start, split = chop(usable, recipe, session=session.session, hint=hint)
    n = len(start)
    if not n:
        raise DataError(
            f"{session.session}: no stretch of observed time holds a window of chop.length_s = "
            f"{recipe.chop.length_s:g} s. Shorten it with --set chop.length_s=VALUE, or cut trials with "
            "--set chop.enabled=false."
        )
    missing = ("go_cue", "target_on", "move_onset", "peak_time", "peak_speed", "reaction_time", "target_dir")
    return _Cut(
        start,
        {
            "trial": np.arange(n),
            "event_time": left[start],
            "event_offset": np.zeros(n),
            **{name: np.full(n, np.nan) for name in missing},
            "onset_quality": np.full(n, "chop", dtype=object),
            "condition": np.full(n, "chop", dtype=object),
            "split": split,
        },
        np.full(len(candidates), "chopped", dtype=object),
    )


def _require_trials(session: BinnedSession, recipe: IngestRecipe, reason: NDArray[np.object_]) -> None:
    if (reason == "").any():
        return
    if not len(reason):
        raise DataError(
            f"{session.where or session.session}: no trial table, and no movement above "
            f"reaches.min_peak_cm_s = {recipe.reaches.min_peak_cm_s:g} cm/s was found. Lower it with --set "
            "reaches.min_peak_cm_s=VALUE, check the unit of the kinematics, or cut windows of continuous "
            "time with --set chop.enabled=true."
        )
    reasons = ", ".join(f"{why} {n}" for why, n in Counter(reason).most_common())
    raise DataError(
        f"{session.where or session.session}: none of {len(reason)} trials is valid ({reasons}). "
        f"{' '.join(remedies(session, recipe, reason))}"
    )
