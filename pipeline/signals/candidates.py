"""What may become a trial, and the reasons for leaving it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from nwb_latents.schemas.store import COLUMN, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray
    from nwb_latents.schemas.recipe import IngestRecipe

_TIMES = {
    "trial_start": "trial_start",
    "trial_stop": "trial_stop",
    "target_on": "target_on",
    "go_cue": "go_cue",
    "move_onset": "move_onset",
    "peak_speed": "peak_time",
}
"""Event name → name of the array in a store's group ``events``."""

_PLAIN = (
    "row", "peak_speed", "target_dir", "onset_quality", "condition", "split_hint", "success", "valid",
    "is_reach",
)  # fmt: skip


@dataclass(frozen=True)
class Candidates:
    """What may become a trial: rows of the trial table, or reaches found from the speed.

    Nothing here depends on the selection or on the event trials are cut at: both can be changed later.

    Attributes
    ----------
    row
        Row in the trial table, or number of the reach. Shape ``(n,)``.
    events
        Event name → time in seconds, NaN where missing: ``trial_start``, ``trial_stop``, ``target_on``,
        ``go_cue``, ``move_onset``, ``peak_speed`` (the time of it). Each of shape ``(n,)``.
    peak_speed, target_dir
        cm/s and radians, NaN where unknown. Shape ``(n,)``.
    onset_quality, condition, split_hint
        Shape ``(n,)``, object.
    success, valid
        What the file says of the trial; True for reaches. Shape ``(n,)``.
    is_reach
        Whether it was found from the speed. Shape ``(n,)``.
    columns
        Columns of the trial table that are kept as they are; NaN where missing. Each of shape ``(n,)``.
    """

    row: IntArray
    events: dict[str, FloatArray]
    peak_speed: FloatArray
    target_dir: FloatArray
    onset_quality: NDArray[np.object_]
    condition: NDArray[np.object_]
    split_hint: NDArray[np.object_]
    success: BoolArray
    valid: BoolArray
    is_reach: BoolArray
    columns: dict[str, FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row)


def to_arrays(candidates: Candidates, reason: NDArray[np.object_]) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a store's group ``events``."""
    times: dict[str, NDArray[np.generic]] = {array: candidates.events[name] for name, array in _TIMES.items()}
    plain: dict[str, NDArray[np.generic]] = {name: getattr(candidates, name) for name in _PLAIN}
    kept = {f"{COLUMN}{name}": values for name, values in candidates.columns.items()}
    arrays = {**times, **plain, **kept, "row": candidates.row.astype(np.int64), "reason": reason}
    if len(candidates):
        return arrays
    # Of an object array without values nobody can tell that it would hold text.
    text = np.dtypes.StringDType()
    return {name: a.astype(text) if a.dtype.kind == "O" else a for name, a in arrays.items()}


def from_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> Candidates:
    """Return the candidates of a store's group ``events``; the inverse of `to_arrays`."""
    events = {name: np.asarray(arrays[array], dtype=np.float64) for name, array in _TIMES.items()}
    plain: dict[str, Any] = {name: np.asarray(arrays[name]) for name in _PLAIN}
    columns = {
        name.removeprefix(COLUMN): np.asarray(values, dtype=np.float64)
        for name, values in arrays.items()
        if name.startswith(COLUMN)
    }
    return Candidates(events=events, columns=columns, **plain)


def selection_reasons(candidates: Candidates, recipe: IngestRecipe) -> NDArray[np.object_]:
    """Say of each candidate why it is left out, as far as the table decides.

    Parameters
    ----------
    candidates
        Events and what the file says of each trial.
    recipe
        Event trials are cut at, trial selection, reaction times.

    Returns
    -------
    reason
        The first that applies, ``""`` for what is kept. Shape ``(n,)``, object.
    """
    reason = np.full(len(candidates), "", dtype=object)

    def drop(mask: NDArray[np.bool_], why: str) -> None:
        reason[mask & (reason == "")] = why

    selection, events = recipe.trials, candidates.events
    onset, is_row = events["move_onset"], ~candidates.is_reach
    if not selection.keep_flagged:
        drop(~candidates.valid, "flagged_by_file")
    if selection.only_split:
        has_split = np.isin(candidates.split_hint.astype(str), get_args(Split))
        if has_split.any():
            drop(~has_split, "in_no_split")
    if selection.success_only:
        drop(~candidates.success, "not_successful")
    duration = events["trial_stop"] - events["trial_start"]
    drop(is_row & ~np.isfinite(duration), "no_start_or_stop")
    drop(is_row & (duration < selection.min_duration_s), "too_short")
    drop(is_row & (duration > selection.max_duration_s), "too_long")
    needs_onset = candidates.is_reach | (recipe.align_to in {"move_onset", "peak_speed"})
    no_onset = needs_onset & ~np.isfinite(onset) & (reason == "")
    reason[no_onset] = [f"onset_{quality}" for quality in candidates.onset_quality[no_onset]]
    drop(candidates.is_reach & (events["peak_speed"] - onset > recipe.reaches.max_rise_s), "onset_slow_rise")
    # Onsets stored in the file are taken as they are: its makers have looked at the reaction times.
    stored = np.isin(candidates.onset_quality.astype(str), ["column", "no_column_value"]).any()
    if recipe.align_to in {"move_onset", "peak_speed"} and selection.check_reaction_time and not stored:
        reaction = onset - events["go_cue"]
        drop(reaction < recipe.onset.min_rt_s, "reaction_too_fast")
        drop(reaction > recipe.onset.max_rt_s, "reaction_too_slow")
    return reason


def window_reasons(
    start: IntArray,
    stop: IntArray,
    reason: NDArray[np.object_],
    *,
    observed: BoolArray,
    guard_bins: int | None,
) -> NDArray[np.object_]:
    """Add why a window cannot be cut out of the session.

    Parameters
    ----------
    start, stop
        First bin of each window and one past its last. Shape ``(n,)``.
    reason
        Why a candidate is left out already; those do not stand in the way of others. Shape ``(n,)``.
    observed
        Shape ``(n_bins,)``.
    guard_bins
        Least number of bins between two windows; None: they may share bins.

    Returns
    -------
    reason
        With ``outside_recording``, ``unobserved`` and ``overlaps_previous`` added. Shape ``(n,)``.
    """
    reason = reason.copy()
    n_bins = len(observed)
    reason[((start < 0) | (stop > n_bins)) & (reason == "")] = "outside_recording"
    reason[touches(start, stop, ~observed) & (reason == "")] = "unobserved"
    if guard_bins is None:
        return reason
    free_from = np.iinfo(np.int64).min
    for i in np.argsort(start, kind="stable"):
        if reason[i]:
            continue
        if start[i] < free_from:
            reason[i] = "overlaps_previous"
        else:
            free_from = int(stop[i]) + guard_bins
    return reason


def touches(start: IntArray, stop: IntArray, marked: BoolArray) -> BoolArray:
    """Return whether windows hold a marked bin; what lies outside the session is not marked.

    Examples
    --------
    >>> touches(np.array([0, 2]), np.array([2, 4]), np.array([False, False, True, False]))
    array([False,  True])
    """
    before = np.concatenate([[0], np.cumsum(marked)])
    lo, hi = np.clip(start, 0, len(marked)), np.clip(stop, 0, len(marked))
    return np.asarray(before[hi] > before[lo])
