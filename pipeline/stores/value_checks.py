"""Whether the values of a store agree with each other: nothing here needs the recording.

A store says most things twice: trials are slices of the continuous session, rates are its smoothed counts,
the velocity is the slope of the position, times follow from bins. Arrays that were swapped, shifted or cut
break one of these, even where no manifest tells.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from nwb_latents.pipeline.signals.binning import mean_rates
from nwb_latents.pipeline.signals.candidates import from_arrays, selection_reasons
from nwb_latents.pipeline.signals.outliers import count_outliers
from nwb_latents.pipeline.signals.quality import percentiles
from nwb_latents.pipeline.signals.smoothing import smooth_counts
from nwb_latents.pipeline.signals.split import stratified_split
from nwb_latents.pipeline.stores.group_checks import ArrayFault
from nwb_latents.pipeline.stores.movement_values import movement_faults
from nwb_latents.schemas.store import NO_SPLIT, TRANSFORM_VERSION, Split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from nwb_latents.schemas.store import StoreAttributes

SPLITS = frozenset({*get_args(Split), NO_SPLIT})
_TIME_S = 1e-6
"""Times that differ by less are the same."""

_RATE_HZ = 1e-2
_UNITS_AT_ONCE = 32
"""Units that are smoothed anew together: all of a long session at once take several times its rates."""

_DIGITS = 1e-3
"""Share by which numbers that were rounded to five digits may differ."""

_OF_BOTH = ("go_cue", "target_on", "move_onset", "peak_time", "peak_speed", "target_dir", "condition")
_CUT_AT = {
    "go_cue": "go_cue", "target_on": "target_on", "move_onset": "move_onset", "peak_speed": "peak_time",
}  # fmt: skip
"""Event a recipe cuts at → the array of its times."""

_CUT = ("counts", "rates", "position", "velocity", "external", "true_rates", "imported_rates")


@dataclass(frozen=True)
class StoredArrays:
    """All values of a store.

    Attributes
    ----------
    trials, continuous, events
        Array → values, of each group; None: the store was written without.
    attributes
        What the store says of itself.
    """

    trials: Mapping[str, NDArray[Any]]
    continuous: Mapping[str, NDArray[Any]]
    events: Mapping[str, NDArray[Any]] | None
    attributes: StoreAttributes


def disagreements(stored: StoredArrays) -> Iterator[ArrayFault]:
    """Yield everything in which the values of a store contradict each other.

    Parameters
    ----------
    stored
        All arrays, each as the schema says.
    """
    yield from _bins(stored)
    if not _windows_fit(stored):
        last = len(stored.continuous["time"])
        yield ArrayFault("trials/start_bin", f"trials/start_bin leaves the {last} bins of the session")
        return
    yield from _event_times(stored)
    yield from _slices(stored)
    yield from _rates(stored)
    yield from _trial_table(stored)
    yield from _outliers(stored)
    yield from _quality(stored)
    yield from movement_faults(stored)


def _bins(stored: StoredArrays) -> Iterator[ArrayFault]:
    trials, continuous, said = stored.trials, stored.continuous, stored.attributes
    width, n_bins = said.bin_size_s, len(trials["time"])
    if abs(width - said.recipe.bin_size_s) > _TIME_S or n_bins != said.recipe.n_bins:
        yield ArrayFault(
            "trials",
            f"trials have {n_bins} bins of {width:g} s, the recipe makes {said.recipe.n_bins} of "
            f"{said.recipe.bin_size_s:g} s",
        )
    expected = (np.arange(n_bins) - said.n_event_bins) * width
    if np.abs(trials["time"] - expected).max(initial=0) > _TIME_S:
        yield ArrayFault("trials/time", "trials/time is not that of the bins around the event")
    steps = np.diff(continuous["time"])
    if len(steps) and np.abs(steps - width).max() > _TIME_S:
        yield ArrayFault("continuous/time", f"continuous/time does not ascend in steps of {width:g} s")
    for name in ("unit", "axis"):
        if not np.array_equal(trials[name], continuous[name]):
            yield ArrayFault(f"trials/{name}", f"trials/{name} is another one than continuous/{name}")
    for place, ids in (("trials/unit", trials["unit"]), ("trials/trial", trials["trial"])):
        if len(np.unique(ids)) != len(ids):
            yield ArrayFault(place, f"{place} holds an id twice")
    for name in trials:
        unknown = set(trials[name].astype(str)) - SPLITS if name.startswith("split") else ()
        if unknown:
            yield ArrayFault(f"trials/{name}", f"trials/{name} holds {', '.join(sorted(unknown)[:3])!r}")


def _windows_fit(stored: StoredArrays) -> bool:
    start, n_bins = stored.trials["start_bin"], len(stored.trials["time"])
    return bool(((start >= 0) & (start + n_bins <= len(stored.continuous["time"]))).all())


def _event_times(stored: StoredArrays) -> Iterator[ArrayFault]:
    trials, said = stored.trials, stored.attributes
    offset = trials["event_offset"]
    earliest = 0.0 if said.recipe.window_from == "event_bin" else -said.bin_size_s
    if ((offset < earliest - _TIME_S) | (offset > said.bin_size_s + _TIME_S)).any():
        yield ArrayFault("trials/event_offset", "trials/event_offset lies outside the bin of the event")
    event_bin = trials["start_bin"] + said.n_event_bins - trials.get("jitter_bins", 0)
    left = stored.continuous["time"][event_bin]
    wrong = np.abs(trials["event_time"] - offset - left) > _TIME_S
    if wrong.any():
        yield ArrayFault(
            "trials/event_time", f"trials/event_time is not where {int(wrong.sum())} of the trials were cut"
        )
    reaction = trials["move_onset"] - trials["go_cue"]
    # Trials that were cut elsewhere may come with reaction times and without the events.
    is_own = _is_cut_at_events(stored)
    known = (
        np.ones(len(reaction), bool)
        if is_own
        else np.isfinite(reaction) & np.isfinite(trials["reaction_time"])
    )
    if not _same_times(reaction[known], trials["reaction_time"][known]):
        yield ArrayFault("trials/reaction_time", "trials/reaction_time is not move_onset minus go_cue")
    if is_own and said.recipe.align_to in _CUT_AT:
        name = _CUT_AT[said.recipe.align_to]
        n_other = int((~_near(trials["event_time"], trials[name])).sum())
        if n_other:
            yield ArrayFault(
                "trials/event_time",
                f"trials/event_time is another time than trials/{name}, at which the recipe cuts, in "
                f"{n_other} of {len(reaction)} trials",
            )


def _is_cut_at_events(stored: StoredArrays) -> bool:
    """Whether trials were cut here at events: neither elsewhere, nor out of continuous time."""
    return stored.events is not None and not stored.attributes.recipe.chop.enabled


def _near(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(np.isclose(one, other, rtol=0.0, atol=_TIME_S, equal_nan=True))


def _same_times(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return bool(_near(one, other).all())


def _slices(stored: StoredArrays) -> Iterator[ArrayFault]:
    bins = stored.trials["start_bin"][:, None] + np.arange(len(stored.trials["time"]))
    for name in _CUT:
        if name not in stored.trials or name not in stored.continuous:
            continue
        mine, whole = stored.trials[name], stored.continuous[name][bins]
        same = (
            (mine == whole) | (np.isnan(mine) & np.isnan(whole)) if mine.dtype.kind == "f" else mine == whole
        )
        n_other = int((~same.all(axis=(1, 2))).sum())
        if n_other:
            yield ArrayFault(
                f"trials/{name}",
                f"trials/{name} is not the slice of continuous/{name} in {n_other} of {len(mine)} trials",
            )


def _rates(stored: StoredArrays) -> Iterator[ArrayFault]:
    continuous, said = stored.continuous, stored.attributes
    counts, observed, rates = continuous["counts"], continuous["observed"], continuous["rates"]
    if counts[~observed].any():
        yield ArrayFault("continuous/counts", "continuous/counts holds spikes in bins that were not observed")
    for place, values in (("continuous/rates", rates), ("trials/mean_rate", stored.trials["mean_rate"])):
        if np.nanmin(values, initial=0.0) < -_RATE_HZ:
            yield ArrayFault(place, f"{place} is negative")
    if said.transform_version != TRANSFORM_VERSION:
        return
    recipe = said.recipe
    agree, means = True, []
    for begin in range(0, counts.shape[1], _UNITS_AT_ONCE):
        these = slice(begin, begin + _UNITS_AT_ONCE)
        by_unit = np.ascontiguousarray(counts[:, these].T)
        smoothed = smooth_counts(
            by_unit,
            observed,
            bin_size_s=said.bin_size_s,
            sigma_s=recipe.smooth_sigma_s,
            truncate=recipe.smooth_truncate,
            kernel=recipe.smooth_kernel,
        )
        agree &= np.allclose(smoothed, rates[:, these], rtol=1e-3, atol=_RATE_HZ, equal_nan=True)
        means.append(mean_rates(by_unit, observed, said.bin_size_s))
    if not agree:
        yield ArrayFault("continuous/rates", "continuous/rates is not continuous/counts smoothed")
    mean = np.concatenate([*means, np.zeros(0)])
    # In trials of no split the spikes of held-out units may not be known.
    known = ~stored.trials["heldout"] | (stored.trials["split"].astype(str) != NO_SPLIT).all()
    if not np.allclose(mean[known], stored.trials["mean_rate"][known], rtol=1e-3, atol=_RATE_HZ):
        yield ArrayFault("trials/mean_rate", "trials/mean_rate is not the mean of continuous/counts")


def _trial_table(stored: StoredArrays) -> Iterator[ArrayFault]:
    """Compare trials with the rows of the table of events they were made of; chopped ones are of none."""
    if stored.events is None or stored.attributes.recipe.chop.enabled:
        return
    before = int((stored.events["trial_stop"] < stored.events["trial_start"]).sum())
    if before:
        yield ArrayFault("events/trial_stop", f"events/trial_stop: {before} trials stop before they start")
    kept = np.flatnonzero(stored.events["reason"].astype(str) == "")
    n_trials = len(stored.trials["trial"])
    if len(kept) != n_trials:
        yield ArrayFault("events/reason", f"events/reason keeps {len(kept)} trials, there are {n_trials}")
        return
    if not np.array_equal(stored.events["row"][kept], stored.trials["trial"]):
        yield ArrayFault("trials/trial", "trials/trial are not the rows of the events that were kept")
    for name in _OF_BOTH:
        mine, table = stored.trials[name], stored.events[name][kept]
        is_number = mine.dtype.kind == "f"
        same = np.allclose(mine, table, atol=_TIME_S, equal_nan=True) if is_number else (mine == table).all()
        if not same:
            yield ArrayFault(f"trials/{name}", f"trials/{name} is another one than events/{name}")
    yield from _selection(stored, stored.events, kept)
    yield from _splits(stored, kept)


def _selection(
    stored: StoredArrays, events: Mapping[str, NDArray[Any]], kept: NDArray[np.intp]
) -> Iterator[ArrayFault]:
    """Choose trials from the table of events again, and look whether they move within their trials."""
    is_reach = events["is_reach"]
    if is_reach.any() and not is_reach.all():
        yield ArrayFault("events/is_reach", "events/is_reach: reaches and rows of a table stand in one table")
    if stored.attributes.transform_version == TRANSFORM_VERSION:
        reason, said = (
            selection_reasons(from_arrays(events), stored.attributes.recipe),
            events["reason"].astype(str),
        )
        # Windows are looked at afterwards: what only they leave out has no reason yet.
        other = (reason != said) & ((said == "") | (reason != ""))
        if other.any():
            yield ArrayFault(
                "events/reason",
                f"events/reason is another one than the recipe finds in {int(other.sum())} of {len(said)} "
                "rows",
            )
    quality = events["onset_quality"][kept].astype(str)
    found = kept[~is_reach[kept] & ~np.isin(quality, ["column", "no_column_value"])]
    start, peak, stop = (events[name][found] for name in ("trial_start", "peak_time", "trial_stop"))
    outside = int(((peak < start) | (peak > stop)).sum())
    if outside > len(found) / 2:
        yield ArrayFault(
            "events/trial_start",
            f"events: {outside} of {len(found)} movements do not lie between the start and the stop of their "
            "trial, where they were looked for",
        )


def _outliers(stored: StoredArrays) -> Iterator[ArrayFault]:
    """Compare the share of outlying bins with what was measured when they were marked."""
    said, continuous = stored.attributes, stored.continuous
    if said.quality is None or said.transform_version != TRANSFORM_VERSION or "outlier" not in continuous:
        return
    share = count_outliers(continuous["outlier"], continuous["observed"], np.zeros(2)).share
    if share != said.quality.outliers.share:
        yield ArrayFault(
            "continuous/outlier",
            f"continuous/outlier marks {share:.2%} of the session, its record says "
            f"{said.quality.outliers.share:.2%}",
        )


def _quality(stored: StoredArrays) -> Iterator[ArrayFault]:
    """Measure again what the record of a session's quality says of its trials and of what was left out."""
    said, trials = stored.attributes, stored.trials
    if said.quality is None or stored.events is None or said.transform_version != TRANSFORM_VERSION:
        return
    quality = said.quality
    for name, record in (("peak_speed", quality.peak_speed_cm_s), ("reaction_time", quality.reaction_time_s)):
        found, expected = percentiles(trials[name].astype(np.float64)).model_dump(), record.model_dump()
        if any(not _same_number(found[key], expected[key]) for key in found):
            yield ArrayFault(
                f"trials/{name}",
                f"trials/{name} is distributed otherwise than the record of the session's quality says "
                f"(median {_shown(found['p50'])} of {found['n']}, expected {_shown(expected['p50'])} of "
                f"{expected['n']})",
            )
    onsets = dict(Counter(trials["onset_quality"].astype(str).tolist()))
    written = quality.model_fields_set
    if "onset_quality" in written and onsets != quality.onset_quality:
        yield ArrayFault(
            "trials/onset_quality",
            f"trials/onset_quality counts {onsets}, the record of the session's quality "
            f"{quality.onset_quality}",
        )
    reasons = stored.events["reason"].astype(str)
    dropped = dict(Counter(reasons[reasons != ""].tolist())) if _is_cut_at_events(stored) else {}
    records = {"dropped": said.dropped.trials}
    if "dropped_trials" in written:
        records["quality"] = quality.dropped_trials
    for what, counted in records.items():
        if counted != dropped:
            yield ArrayFault(
                "events/reason", f"events/reason leaves out {dropped}, its record ({what}) says {counted}"
            )


def _same_number(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _DIGITS * max(abs(one), abs(other))


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _splits(stored: StoredArrays, kept: NDArray[np.intp]) -> Iterator[ArrayFault]:
    """Compare the splits with those the recipe draws: others mix what is fitted with what is scored."""
    said, trials, events = stored.attributes, stored.trials, stored.events
    if events is None or said.transform_version != TRANSFORM_VERSION:
        return
    condition = trials["condition"].astype(str).astype(object)
    hint = events["split_hint"][kept].astype(str).astype(object)
    recipe = said.recipe
    for name, settings in {
        "split": recipe.split,
        **{f"split_{s.name}": s for s in recipe.extra_splits},
    }.items():
        if name not in trials:
            continue
        expected = stratified_split(condition, settings, session=said.session, hint=hint)
        n_other = int((expected != trials[name].astype(str)).sum())
        if n_other:
            yield ArrayFault(
                f"trials/{name}",
                f"trials/{name} is another one than the recipe draws in {n_other} of {len(kept)} trials",
            )
