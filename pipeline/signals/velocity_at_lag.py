"""Which velocity belongs to which neural bin: the sample `lag` later, read from the whole session.

Bin k of a trial is paired with bin ``start_bin + k + lag`` of the continuous recording. Nothing is padded
and nothing dropped at the end of the window: the samples after it were recorded too. Bins are paired or
masked, never filled in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class PairedVelocity:
    """Velocity that goes with each neural bin.

    Attributes
    ----------
    velocity
        Hand velocity in cm/s at the lag; NaN where not `valid`. Shape ``(trial, time, axis)``, float64.
    valid
        Whether the neural bin and the bin `lag` later were recorded whole and the velocity is finite on
        all axes. Shape ``(trial, time)``.
    """

    velocity: NDArray[np.float64]
    valid: NDArray[np.bool_]


def pair_velocity(
    velocity: ArrayLike, observed: ArrayLike, *, start_bin: ArrayLike, window_bins: int, lag_bins: int
) -> PairedVelocity:
    """Read the velocity `lag_bins` after every bin of every trial.

    Parameters
    ----------
    velocity
        Of the whole session, cm/s, NaN where not recorded. Shape ``(session bin, axis)``.
    observed
        Whether the whole bin was recorded. Shape ``(session bin,)``, bool.
    start_bin
        First bin of every trial. Shape ``(trial,)``.
    window_bins
        Bins of a trial.
    lag_bins
        Bins by which the velocity comes later; may be negative.

    Returns
    -------
    paired
        Bins that fall outside the session are not valid.

    References
    ----------
    Neural activity leads the hand by about 100 ms: Pei et al. 2021, "Neural Latents Benchmark '21".

    Examples
    --------
    >>> paired = pair_velocity([[0.0], [1.0], [2.0], [np.nan]], [True] * 4,
    ...                        start_bin=[0, 1], window_bins=2, lag_bins=1)
    >>> paired.velocity[..., 0].tolist(), paired.valid.tolist()
    ([[1.0, 2.0], [2.0, nan]], [[True, True], [True, False]])
    """
    whole, recorded = np.asarray(velocity, dtype=np.float64), np.asarray(observed, dtype=bool)
    neural = np.asarray(start_bin, dtype=np.int64)[:, None] + np.arange(window_bins)
    behaviour = neural + lag_bins
    inside = (neural >= 0) & (neural < len(recorded)) & (behaviour >= 0) & (behaviour < len(recorded))
    neural, behaviour = np.where(inside, neural, 0), np.where(inside, behaviour, 0)
    found = whole[behaviour]
    valid = inside & recorded[neural] & recorded[behaviour] & np.isfinite(found).all(axis=-1)
    return PairedVelocity(velocity=np.where(valid[..., None], found, np.nan), valid=valid)
