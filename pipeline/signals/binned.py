"""From a recording to a binned session: bin → smooth → filter, and the list of what may become a trial.

Everything here needs the recording. What comes after, `pipeline.signals.trials`, needs only what is here, so
that trials can be cut anew from a store.
"""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.scratch import give_back
from nwb_latents.pipeline.signals.activity import binned_activity
from nwb_latents.pipeline.signals.binning import merge_intervals, observed_fractions, rates_of
from nwb_latents.pipeline.signals.millisecond_clock import (
    MS_NS,
    decimated,
    is_observed_ms,
    smoothed_at_1_ms,
)
from nwb_latents.pipeline.signals.movements import find_candidates, native_velocity
from nwb_latents.pipeline.signals.outliers import count_outliers, kinematic_outliers, thresholds_in
from nwb_latents.pipeline.signals.resample import resample_into
from nwb_latents.pipeline.signals.rows import MemoryShelf, put
from nwb_latents.pipeline.signals.spike_bins import spike_bins
from nwb_latents.pipeline.signals.timebase import Grid
from nwb_latents.pipeline.signals.units import unit_reasons

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.scratch import Scratch
    from nwb_latents.pipeline.signals.candidates import Candidates
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, Recording, Series
    from nwb_latents.pipeline.signals.rows import Rows, Shelf
    from nwb_latents.pipeline.signals.spike_bins import SpikeBins
    from nwb_latents.schemas.quality import KinematicOutliers, QualitySettings
    from nwb_latents.schemas.recipe import IngestRecipe

IN_MEMORY = MemoryShelf()


@dataclass(frozen=True)
class BinnedSession:
    """A whole session in bins, with its units chosen and its events found.

    Attributes
    ----------
    session
        Session id.
    grid
        The bins.
    counts, rates
        Spikes per bin, and Hz with NaN where not observed. Shape ``(n_bins, n_units)``.
    position, velocity
        cm and cm/s where the recipe reads them, float32, NaN where unknown. Shape ``(n_bins, n_axes)``.
    observed, outlier
        Bins that were recorded throughout, and bins at a kinematic outlier. Shape ``(n_bins,)``.
    unit, area, mean_rate, heldout
        Ids, areas, Hz and co-smoothing units. Shape ``(n_units,)``.
    axis
        Names of the kinematic axes. Shape ``(n_axes,)``, object.
    candidates
        What may become a trial.
    dropped_units
        Reason → number of units left out.
    outliers
        Record of the kinematic outliers.
    notes
        What was odd, one sentence each.
    where
        File and table the trials are from, for messages; empty: the session's name has to do.
    outcomes
        Column of outcomes and its values with their counts; empty: not known.
    psth_counts
        Spikes smoothed at 1 ms per bin, where the recipe asks for them. Shape ``(n_bins, n_units)``, float32.
    """

    session: str
    grid: Grid
    counts: Rows
    rates: Rows
    position: NDArray[np.float32]
    velocity: NDArray[np.float32]
    observed: BoolArray
    outlier: BoolArray
    unit: IntArray
    area: NDArray[np.object_]
    mean_rate: FloatArray
    heldout: BoolArray
    axis: NDArray[np.object_]
    candidates: Candidates
    dropped_units: dict[str, int]
    outliers: KinematicOutliers
    notes: tuple[str, ...] = ()
    where: str = ""
    outcomes: str = ""
    psth_counts: Rows | None = None


def bin_session(recording: Recording, recipe: IngestRecipe, *, shelf: Shelf = IN_MEMORY) -> BinnedSession:
    """Bin, smooth and filter one session, and find its events.

    Parameters
    ----------
    recording
        The continuous session.
    recipe
        Bins, smoothing, unit selection, onsets.
    shelf
        Where the arrays go; not a bit of them depends on it.

    Returns
    -------
    session
        The event trials are cut at, trial selection and splits have no part in it.

    Raises
    ------
    DataError
        If no unit is left; the message counts the reasons.
    """
    grid = _session_grid(recording, recipe.bin_ns)
    with ThreadPoolExecutor(1) as other:
        # Neither needs the other, and both spend their time in loops that free the interpreter.
        quality, unit_notes = thresholds_in(recipe.quality, unit=recording.kinematics_unit)
        moving = other.submit(_movements, recording, recipe, grid, quality, shelf.scratch)
        spikes = spike_bins(recording, grid, scratch=shelf.scratch, by_ms=recipe.observed_by == "first_ms")
        observed = _observed(recording, recipe, grid)
        _require_observed(recording, observed)
        lost, notes = _unobserved(spikes, observed)

        n_spikes = np.diff(spikes.index, prepend=0) - lost
        mean_rate = rates_of(n_spikes, observed, grid.bin_size_s)
        reason = unit_reasons(recording, recipe, spikes=spikes, observed=observed, mean_rate=mean_rate)
        _require_units(recording, recipe, mean_rate, reason)
        kept = _kept_units(recording, recipe, reason)
        counts, rates = binned_activity(
            spikes, kept, observed, bin_size_s=grid.bin_size_s, recipe=recipe, shelf=shelf
        )
        movements = moving.result()
    return BinnedSession(
        session=recording.session,
        grid=grid,
        counts=counts,
        rates=rates,
        position=movements.position,
        velocity=movements.velocity,
        observed=observed,
        outlier=movements.outlier,
        unit=recording.units.ids[kept].astype(np.int64),
        area=recording.units.area[kept],
        mean_rate=mean_rate[kept],
        heldout=recording.units.heldout[kept],
        axis=np.array(recording.axes, dtype=object),
        candidates=movements.candidates,
        dropped_units=dict(Counter(str(r) for r in reason if r)),
        outliers=count_outliers(movements.outlier, observed, movements.n_outliers),
        notes=(*notes, *unit_notes),
        where=_where(recording),
        outcomes=next((choice.why for choice in recording.choices if choice.what == "success values"), ""),
        psth_counts=None
        if recipe.psth_sigma_s is None
        else put(
            smoothed_at_1_ms(recording, kept, grid, sigma_s=recipe.psth_sigma_s),
            "continuous/psth_counts",
            shelf,
        ),
    )


def _kept_units(recording: Recording, recipe: IngestRecipe, reason: NDArray[np.object_]) -> IntArray:
    """Return the units that are kept, in the order of the recipe."""
    kept = np.flatnonzero(reason == "")
    if recipe.units.order == "id":
        kept = kept[np.argsort(recording.units.ids[kept], kind="stable")]
    return kept


def _where(recording: Recording) -> str:
    """Return file and table the trials are from."""
    table = next((choice.value for choice in recording.choices if choice.what == "trials"), "")
    if not recording.source or not table.startswith("/"):
        return recording.source
    return f"{recording.source}: {table}"


class _Movements(NamedTuple):
    position: NDArray[np.float32]
    velocity: NDArray[np.float32]
    outlier: BoolArray
    n_outliers: FloatArray
    candidates: Candidates


def _movements(
    recording: Recording, recipe: IngestRecipe, grid: Grid, quality: QualitySettings, scratch: Scratch
) -> _Movements:
    """Do what needs the kinematics and no spikes."""
    velocity = native_velocity(recording)
    outlier, n_outliers = kinematic_outliers(recording.position, velocity, grid, quality)
    return _Movements(
        position=_on_grid(recording, recording.position, grid, at=recipe.kinematics_at, scratch=scratch),
        velocity=_on_grid(recording, velocity, grid, at=recipe.kinematics_at, scratch=scratch),
        outlier=outlier,
        n_outliers=n_outliers,
        candidates=find_candidates(recording, recipe, velocity=velocity),
    )


def _session_grid(recording: Recording, bin_ns: int) -> Grid:
    """Return the bins of what was observed and of the kinematics; spikes alone do not widen them."""
    kinematics = (recording.position, recording.velocity)
    times = [recording.observed.ravel()]
    times += [series.time[[0, -1]] for series in kinematics if series is not None and len(series.time)]
    spanned = np.concatenate(times)
    if not len(spanned) and len(recording.spike_times):
        spanned = np.array([recording.spike_times.min(), recording.spike_times.max()])
    if not len(spanned):
        raise DataError(
            f"{recording.session}: the recording holds neither spikes nor kinematics. Leave it out."
        )
    return Grid.covering(float(spanned.min()), float(spanned.max()), bin_ns)


def _observed(recording: Recording, recipe: IngestRecipe, grid: Grid) -> BoolArray:
    """Return which bins count as observed."""
    if recipe.observed_by == "first_ms":
        first = (grid.first + np.arange(grid.n_bins)) * (grid.bin_ns // MS_NS)
        return is_observed_ms(recording, first)
    shares = observed_fractions(merge_intervals(recording.observed), grid)
    return np.concatenate([share >= recipe.min_observed - 1e-12 for share in shares])


def _unobserved(spikes: SpikeBins, observed: BoolArray) -> tuple[IntArray, tuple[str, ...]]:
    """Return how many spikes of each unit lie in time that was not observed, and what is to be said."""
    lost = spikes.n_in(~observed) if not observed.all() else np.zeros(len(spikes.index), dtype=np.int64)
    # A bin at the edge of what was observed is cut by it; spikes there are no sign of anything.
    beside = np.zeros_like(observed)
    beside[1:] |= observed[:-1]
    beside[:-1] |= observed[1:]
    n_outside = spikes.n_outside
    if lost.any():
        n_outside += int(spikes.n_in(~observed & ~beside).sum())
    if not n_outside:
        return lost, ()
    return lost, (f"{n_outside} spikes lie in time that counts as not observed and were left out.",)


def _on_grid(
    recording: Recording,
    series: Series | None,
    grid: Grid,
    *,
    at: Literal["centre", "left_edge"],
    scratch: Scratch,
) -> NDArray[np.float32]:
    n_axes = len(recording.axes) if series is None else series.values.shape[1]
    out: NDArray[np.float32] = scratch.empty((grid.n_bins, n_axes), np.float32)
    if series is None:
        out[:] = np.nan
    elif at == "left_edge":
        out[:] = decimated(recording, series, grid)
    else:
        resample_into(out, series, grid.centres_s, bin_size_s=grid.bin_size_s)
    give_back(out)
    return out


def _require_observed(recording: Recording, observed: BoolArray) -> None:
    """Refuse a session of which no bin counts as observed, with what the file says of its observed time."""
    if observed.any():
        return
    seconds = float(np.diff(recording.observed, axis=1).sum()) if len(recording.observed) else 0.0
    causes = [
        text for text in recording.warnings if re.search(r"invalid_times|obs_intervals|not observed", text)
    ]
    spans = [
        series.time[[0, -1]] for series in (recording.position, recording.velocity) if series is not None
    ]
    lasts = f" of {np.ptp(np.concatenate(spans)):.4g} s of kinematics" if spans else ""
    why = (
        f" {'. '.join(causes)}."
        if causes
        else " Its observed intervals (/units/obs_intervals) hold no whole bin."
    )
    raise DataError(
        f"{recording.source or recording.session}: {seconds:.4g} s{lasts} count as observed: no whole bin is "
        f"left.{why} Mend these intervals in the file, take them out of it, or leave the session out."
    )


def _require_units(
    recording: Recording, recipe: IngestRecipe, rate: FloatArray, reason: NDArray[np.object_]
) -> None:
    if (reason == "").any():
        return
    where = recording.source or recording.session
    if (reason == "below_min_rate").all():
        fastest = float(rate.max(initial=0.0))
        seconds = float(np.diff(recording.observed, axis=1).sum()) if len(recording.observed) else 0.0
        raise DataError(
            f"{where}: all {len(rate)} units fire below min_rate_hz = {recipe.min_rate_hz:g} Hz (/units; "
            f"the fastest at {fastest:.3g} Hz; {len(recording.spike_times)} spikes in {seconds:.4g} observed "
            "s). Lower it with --set min_rate_hz=0, or leave the session out."
        )
    counted = ", ".join(f"{why} {n}" for why, n in Counter(reason).most_common())
    raise DataError(
        f"{where}: none of {len(rate)} units of /units is kept ({counted}). Loosen the rule that drops "
        "most of them, e.g. --set units.min_presence=0, or leave the session out."
    )
