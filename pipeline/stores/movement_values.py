"""Whether the movement a store holds agrees with itself: position, velocity and peaks of the speed.

What ingest has spoken of is not told again: a velocity that a file holds may lag behind, have axes or a unit
of its own, or disagree. What ingest accepted without a word agrees, so that what disagrees in the store by
far more than what ingest speaks of was changed since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.signals.agreement import compare
from nwb_latents.pipeline.signals.contradictions import contradictions
from nwb_latents.pipeline.signals.recording import Series
from nwb_latents.pipeline.stores.group_checks import ArrayFault
from nwb_latents.schemas.store import TRANSFORM_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.value_checks import StoredArrays

_SLOPE_BINS = 200
"""Bins with position and velocity from which on their agreement says something."""

_SHIFTS = range(-25, 26)

_SPOKEN = ("beside /", "position's derivative", "contradict each other", "times as fast as it says")
"""What is in the warnings of ingest where it speaks of position and velocity together."""

_DISAGREES = 0.5
"""Ingest speaks of displacements that correlate less than 0.7 along an axis; this is far less."""

_SCALE = 2.0
"""A slope is not this many times as fast as the velocity that was made of it, or slower."""

_PEAKS = 2.5
"""Peaks are taken at the samples of the recording, smoothed: binned ones are lower or higher by less."""

_LEAST_PEAKS = 10
_WIDEST_BIN_S = 0.05
_MOST_SMOOTHED_S = 0.1
"""Bins that are wider, or speeds that are smoothed by more, say too little of a peak."""

_AROUND_S = 0.1
_FROZEN_SHARE = 0.2
"""A position that is one value for this share of the session, while the velocity says it moves fast."""

_CONTRADICTED_SHARE = 0.02


def movement_faults(stored: StoredArrays) -> Iterator[ArrayFault]:
    """Yield what in the movement of a store contradicts the rest of it.

    Parameters
    ----------
    stored
        All arrays, each as the schema says.
    """
    # Of arrays that were exchanged or turned everything else follows.
    for look in (_slopes, _compared, _peaks):
        found = list(look(stored))
        yield from found
        if found:
            return


def _slopes(stored: StoredArrays) -> Iterator[ArrayFault]:
    """Look whether the velocity is the slope of the position, where both are known for long enough."""
    position = stored.continuous["position"].astype(np.float64)
    velocity = stored.continuous["velocity"].astype(np.float64)
    if len(position) < 3:
        return
    slope = _slope(position)
    agreement = _correlation(slope, velocity)
    if not np.isfinite(agreement).all():
        return
    if agreement.max() < 0.5 and _correlation(_slope(velocity), position).min(initial=1.0) > 0.9:
        yield ArrayFault(
            "continuous/position", "continuous/position and velocity stand in each other's place"
        )
        return
    # A velocity the file holds may lag, or have axes of its own: ingest has spoken of that.
    if stored.attributes.provenance.velocity_series is not None:
        return
    if agreement.max() < -0.9:
        yield ArrayFault(
            "continuous/velocity", "continuous/velocity has the opposite sign of the position's slope"
        )
    elif agreement.min() < 0.8:
        yield from _shifts(slope, velocity)


def _compared(stored: StoredArrays) -> Iterator[ArrayFault]:
    """Compare displacements by the rules of ingest, where ingest compared and said nothing."""
    said = stored.attributes
    if said.provenance.position_series is None or said.transform_version != TRANSFORM_VERSION:
        return
    if any(words in warning for warning in said.provenance.warnings for words in _SPOKEN):
        return
    position, velocity = _series(stored, "position"), _series(stored, "velocity")
    yield from _frozen(position.values, velocity.values)
    found = compare(position, velocity)
    if found is None:
        return
    if found.least < _DISAGREES:
        what = found.relation or (
            "does not agree with the position's slope (displacements correlate at "
            f"{found.least:.2f} along the axis that agrees least)"
        )
        yield ArrayFault("continuous/velocity", f"continuous/velocity {what}, of which ingest said nothing")
        return
    known = found.factors[np.isfinite(found.factors)]
    # How fast a velocity is that a file holds is a matter of its unit.
    is_slope = said.provenance.velocity_series is None
    if is_slope and len(known) and (known.max() > _SCALE or known.min() < 1 / _SCALE):
        each = ", ".join(f"{factor:.3g}" for factor in found.factors)
        yield ArrayFault(
            "continuous/velocity",
            f"continuous/velocity: the position moves {each} times as fast as it says, axis by axis",
        )
    apart = contradictions(position, velocity)
    lasting = sum(each.stop_s - each.start_s for each in apart)
    n_known = np.isfinite(velocity.values).all(axis=1).sum()
    if lasting > _CONTRADICTED_SHARE * n_known * said.bin_size_s:
        yield ArrayFault(
            "continuous/position",
            f"continuous/position and velocity contradict each other for {lasting:.3g} s, from "
            f"{apart[0].start_s:.6g} s on, of which ingest said nothing",
        )


def _series(stored: StoredArrays, name: str) -> Series:
    return Series(stored.continuous["time"].astype(np.float64), stored.continuous[name].astype(np.float64))


def _frozen(position: NDArray[np.float64], velocity: NDArray[np.float64]) -> Iterator[ArrayFault]:
    """Look for one long stretch in which the position is one value and the velocity is that of movements."""
    same = (position[1:] == position[:-1]).all(axis=1)
    edges = np.flatnonzero(np.diff(same, prepend=False, append=False)).reshape(-1, 2)
    if not len(edges):
        return
    first, last = edges[np.argmax(edges[:, 1] - edges[:, 0])].tolist()
    n = last - first + 1
    speed = np.sqrt(np.square(velocity).sum(axis=1))
    known = np.isfinite(speed)
    outside = known.copy()
    outside[first : last + 1] = False
    if n < max(_SLOPE_BINS, _FROZEN_SHARE * known.sum()) or outside.sum() < _SLOPE_BINS:
        return
    within = speed[first : last + 1][known[first : last + 1]]
    fast = float(np.quantile(speed[outside], 0.9))
    # Noise of a hand at rest is no movement; a tenth of all bins outside are as fast as this.
    if fast > 0 and len(within) and (within >= fast).mean() > 0.02:
        yield ArrayFault(
            "continuous/position",
            f"continuous/position is one value for {n} bins, from bin {first} on, in which "
            "continuous/velocity moves as elsewhere",
        )


def _peaks(stored: StoredArrays) -> Iterator[ArrayFault]:
    """Hold the peaks of the speed against the velocity around them."""
    said = stored.attributes
    recipe = said.recipe
    if (
        said.transform_version != TRANSFORM_VERSION
        or stored.events is None
        or said.bin_size_s > _WIDEST_BIN_S
        or recipe.onset.smooth_s > _MOST_SMOOTHED_S
    ):
        return
    speed = np.sqrt(np.square(stored.continuous["velocity"].astype(np.float64)).sum(axis=1))
    time = stored.continuous["time"]
    for group, arrays in (("trials", stored.trials), ("events", stored.events)):
        peak, at = arrays["peak_speed"].astype(np.float64), arrays["peak_time"].astype(np.float64)
        known = np.isfinite(peak) & np.isfinite(at) & (peak > 0)
        width = max(1, round(_AROUND_S / said.bin_size_s))
        middle = np.searchsorted(time, at[known], side="right") - 1
        inside = (middle >= width) & (middle < len(speed) - width)
        around = speed[middle[inside][:, None] + np.arange(-width, width + 1)]
        whole = np.isfinite(around).all(axis=1)
        if whole.sum() < _LEAST_PEAKS:
            continue
        fastest = around[whole].max(axis=1)
        ratio = float(np.median(peak[known][inside][whole] / np.maximum(fastest, 1e-12)))
        if not 1 / _PEAKS <= ratio <= _PEAKS:
            yield ArrayFault(
                f"{group}/peak_speed",
                f"{group}/peak_speed is {ratio:.3g} times the speed of continuous/velocity around the peaks "
                f"(median of {int(whole.sum())})",
            )


def _shifts(slope: NDArray[np.float64], velocity: NDArray[np.float64]) -> Iterator[ArrayFault]:
    n_axes = slope.shape[1]
    for turned in range(1, n_axes):
        if _correlation(slope, np.roll(velocity, turned, axis=1)).min() > 0.9:
            yield ArrayFault(
                "continuous/velocity", "continuous/velocity has its axes in another order than position"
            )
            return
    found = {shift: float(_correlation(slope, np.roll(velocity, -shift, axis=0)).min()) for shift in _SHIFTS}
    best = max(found, key=lambda shift: found[shift])
    if best and found[best] > 0.9 and found[best] > found[0] + 0.1:
        yield ArrayFault(
            "continuous/velocity", f"continuous/velocity comes {best} bins after the position's slope"
        )


def _slope(values: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.full_like(values, np.nan)
    out[1:-1] = values[2:] - values[:-2]
    return out


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation of each axis over the bins known of both; NaN where these are few or still."""
    found = []
    for mine, theirs in zip(one.T, other.T, strict=True):
        known = np.isfinite(mine) & np.isfinite(theirs)
        a, b = mine[known], theirs[known]
        if known.sum() < _SLOPE_BINS or not a.std() or not b.std():
            found.append(np.nan)
        else:
            found.append(float(np.corrcoef(a, b)[0, 1]))
    return np.array(found)
