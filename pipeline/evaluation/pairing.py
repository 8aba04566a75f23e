"""Which velocity belongs to which neural bin: the sample `lag` later, read from the whole session.

Bin k of a trial is paired with bin ``start_bin + k + lag`` of the continuous recording. Nothing is padded
and nothing dropped at the end of the window: the samples after it were recorded too. Bins are paired or
masked, never filled in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import SettingsError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray


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


def lag_in_bins(lag_ms: float, *, bin_size_s: float) -> int:
    """Return the lag as a number of bins; negative where behaviour comes before the activity.

    Raises
    ------
    SettingsError
        If it is not a whole number of bins; the message names the nearest that are.

    Examples
    --------
    >>> lag_in_bins(100.0, bin_size_s=0.02)
    5
    >>> lag_in_bins(90.0, bin_size_s=0.02)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: lag_ms 90 is not a whole number of 20 ms bins; the nearest
    lags that are: 80 and 100
    """
    bin_ms = bin_size_s * 1e3
    if not math.isfinite(lag_ms):
        msg = f"lag_ms {lag_ms} is no time; give a whole number of {bin_ms:g} ms bins, such as {5 * bin_ms:g}"
        raise SettingsError(msg)
    lag_ns, bin_ns = round(lag_ms * 1e6), round(bin_size_s * 1e9)
    bins, rest = divmod(lag_ns, bin_ns)
    if rest:
        below, above = (number * bin_ns / 1e6 for number in (bins, bins + 1))
        msg = (
            f"lag_ms {lag_ms:g} is not a whole number of {bin_ms:g} ms bins; the nearest lags that are: "
            f"{below:g} and {above:g}"
        )
        raise SettingsError(msg)
    return bins


def pair_velocity(trials: xr.Dataset, continuous: xr.Dataset, *, lag_bins: int) -> PairedVelocity:
    """Read the velocity `lag_bins` after every bin of every trial.

    Parameters
    ----------
    trials
        Group ``trials`` of a store; only ``start_bin`` and the length of ``time`` are used.
    continuous
        Group ``continuous`` of the same store.
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
    >>> import xarray as xr
    >>> session = xr.Dataset({"velocity": (("time", "axis"), [[0.0], [1.0], [2.0], [np.nan]]),
    ...                       "observed": ("time", [True] * 4)})
    >>> cut = xr.Dataset({"start_bin": ("trial", [0, 1])}, coords={"time": [0.0, 0.02]})
    >>> paired = pair_velocity(cut, session, lag_bins=1)
    >>> paired.velocity[..., 0].tolist(), paired.valid.tolist()
    ([[1.0, 2.0], [2.0, nan]], [[True, True], [True, False]])
    """
    velocity = np.asarray(continuous["velocity"].values, dtype=np.float64)
    observed = np.asarray(continuous["observed"].values, dtype=bool)
    neural = np.asarray(trials["start_bin"].values, dtype=np.int64)[:, None] + np.arange(trials.sizes["time"])
    behaviour = neural + lag_bins
    inside = (neural >= 0) & (neural < len(observed)) & (behaviour >= 0) & (behaviour < len(observed))
    neural, behaviour = np.where(inside, neural, 0), np.where(inside, behaviour, 0)
    found = velocity[behaviour]
    valid = inside & observed[neural] & observed[behaviour] & np.isfinite(found).all(axis=-1)
    return PairedVelocity(velocity=np.where(valid[..., None], found, np.nan), valid=valid)
