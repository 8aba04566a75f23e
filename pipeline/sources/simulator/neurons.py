"""Neurons of a simulated session: how they read the latents, and the spikes they fire.

A unit fires at ``r(t) = g exp(c·x(t))``, softly capped, where the loadings ``c`` are cosine tuning to the
coming velocity and to the prepared direction plus a random mixture of the other latents. Spikes are a Poisson
process with a dead time; its hazard is raised by exactly what the dead time costs, so that ``r`` is the rate
at which spikes are found in the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.sources.simulator.reach_dynamics import LATENT_STEP_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray
    from nwb_latents.schemas.simulation import SimulateSettings

DEAD_TIME_S = 0.002
RATE_CAP_HZ = 150.0
CLOCK_HZ = 30_000
"""Sampling rate of the recording system: spike times are whole numbers of its ticks."""


@dataclass(frozen=True)
class Neurons:
    """Units of one session.

    Attributes
    ----------
    loadings
        Log-rate per unit of each latent. Shape ``(n_units, n_latents)``: 8, or 2 of a planar system.
    mean_hz
        Mean rate over the session. Shape ``(n_units,)``.
    area
        ``M1`` or ``PMd``. Shape ``(n_units,)``, object.
    """

    loadings: FloatArray
    mean_hz: FloatArray
    area: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.mean_hz)


def draw_neurons(settings: SimulateSettings, rng: np.random.Generator) -> Neurons:
    """Draw the units of one session.

    Parameters
    ----------
    settings
        Number of units, mean rate, silent units.
    rng
        Source of all randomness.

    Returns
    -------
    neurons
        M1 units first, then PMd; silent units are spread over both.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> units = draw_neurons(SimulateSettings(n_units=(60, 60)), np.random.default_rng(0))
    >>> len(units), round(float(units.mean_hz.mean()), 3), int((units.mean_hz < 0.1).sum())
    (60, 12.0, 2)
    """
    low, high = settings.n_units
    n_units = int(rng.integers(low, high + 1))
    is_m1 = areas_of(n_units) == "M1"
    tuned = rng.lognormal(np.where(is_m1, np.log(0.75), np.log(0.55)), 0.35)
    prepared = rng.lognormal(np.where(is_m1, np.log(0.25), np.log(0.40)), 0.35)
    preferred = rng.uniform(-np.pi, np.pi, n_units)
    # Preparatory and movement tuning are only loosely related (Churchland et al. 2010, Neuron 68:387).
    planned = preferred + rng.normal(0.0, 1.0, n_units)
    loadings = np.concatenate(
        [
            tuned[:, None] * np.stack([np.cos(preferred), np.sin(preferred)], axis=1),
            prepared[:, None] * np.stack([np.cos(planned), np.sin(planned)], axis=1),
            rng.normal(0.0, 0.30, (n_units, 2)),
            rng.normal(0.10, 0.30, (n_units, 2)),
        ],
        axis=1,
    )
    return Neurons(loadings, draw_mean_rates(settings, n_units, rng), areas_of(n_units))


def draw_mean_rates(settings: SimulateSettings, n_units: int, rng: np.random.Generator) -> FloatArray:
    """Draw the mean rate of every unit: a long tail, some silent, the mean over units as asked for.

    Parameters
    ----------
    settings
        Mean rate, silent units.
    n_units
        Number of units.
    rng
        Source of all randomness.

    Returns
    -------
    mean_hz
        Shape ``(n_units,)``.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> mean = draw_mean_rates(SimulateSettings(), 60, np.random.default_rng(0))
    >>> round(float(mean.mean()), 3), int((mean < 0.1).sum())
    (12.0, 2)
    """
    silent = np.zeros(n_units, dtype=bool)
    silent[rng.permutation(n_units)[: settings.silent_units]] = True
    mean = np.clip(rng.lognormal(0.0, 0.65, n_units), 0.1, 4.0)
    mean[silent] = rng.uniform(0.005, 0.03, int(silent.sum()))
    active = ~silent
    if active.any():
        mean[active] *= (settings.mean_rate_hz * n_units - mean[silent].sum()) / mean[active].sum()
    return np.asarray(mean)


def areas_of(n_units: int) -> NDArray[np.object_]:
    """Return the area of each unit: the first half M1, the others PMd. Shape ``(n_units,)``, object.

    Examples
    --------
    >>> areas_of(3).tolist()
    ['M1', 'M1', 'PMd']
    """
    return np.where(np.arange(n_units) < -(-n_units // 2), "M1", "PMd").astype(object)


def firing_rates(neurons: Neurons, latents: FloatArray) -> NDArray[np.float32]:
    """Return the rates at which the units fire.

    Parameters
    ----------
    neurons
        Units of the session.
    latents
        Shape ``(n_times, 8)``.

    Returns
    -------
    rates
        Hz, what is left after the dead time. Shape ``(n_times, n_units)``, float32, finite, positive.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> units = draw_neurons(SimulateSettings(n_units=(4, 4)), np.random.default_rng(0))
    >>> rates = firing_rates(units, np.random.default_rng(1).normal(size=(500, 8)))
    >>> bool(np.allclose(rates.mean(axis=0), units.mean_hz, rtol=1e-3))
    True
    """
    return scale_rates(np.exp((latents @ neurons.loadings.T).astype(np.float32)), neurons.mean_hz)[0]


def scale_rates(shape: NDArray[np.float32], mean_hz: FloatArray) -> tuple[NDArray[np.float32], FloatArray]:
    """Bring rates to their means, softly capped.

    Parameters
    ----------
    shape
        Rates but for a factor of each unit. Shape ``(n_times, n_units)``, positive.
    mean_hz
        Mean over time. Shape ``(n_units,)``.

    Returns
    -------
    rates
        Hz. Shape ``(n_times, n_units)``, float32.
    gain
        Factor of each unit before the cap: with ``x = shape * gain`` rates are ``x / (1 + x / 150 Hz)``.
        Shape ``(n_units,)``.

    Examples
    --------
    >>> rates, gain = scale_rates(np.array([[1.0], [3.0]], np.float32), np.array([20.0]))
    >>> [round(float(rate), 1) for rate in rates[:, 0]], round(float(gain[0]), 1)
    ([11.1, 28.9], 11.9)
    """
    gain = mean_hz / shape.mean(axis=0, dtype=np.float64)
    used = gain
    # The cap lowers the mean of bursty units; the gain that restores it has no closed form.
    for _ in range(6):
        used = gain
        rates = shape * gain.astype(np.float32)
        rates /= 1 + rates / RATE_CAP_HZ
        gain = gain * mean_hz / rates.mean(axis=0, dtype=np.float64)
    result: NDArray[np.float32] = rates
    return result, used


def fire_spikes(rates: NDArray[np.float32], rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Draw spikes from rates that are linear between samples 10 ms apart.

    The hazard ``r / (1 - r d)`` outside a dead time ``d`` gives a renewal process of rate ``r``, as far as
    the rate changes little within ``d`` (Deger et al. 2010, Phys Rev E 82:021129).

    Parameters
    ----------
    rates
        Hz, from time 0 every 10 ms, below 1 / dead time. Shape ``(n_times, n_units)``.
    rng
        Source of all randomness.

    Returns
    -------
    spike_times
        Seconds, grouped by unit, ascending within each. Shape ``(n_spikes,)``, float64.
    spike_index
        One past the last spike of each unit. Shape ``(n_units,)``.

    Examples
    --------
    >>> times, index = fire_spikes(np.full((10_001, 2), 40.0, np.float32), np.random.default_rng(0))
    >>> bool(abs(len(times) / 200 - 40) < 2), len(index), int(index[-1]) == len(times)
    (True, 2, True)
    """
    units = [_fire_unit(unit_rates.astype(np.float64), rng) for unit_rates in rates.T]
    return np.concatenate(units), np.cumsum([len(times) for times in units], dtype=np.int64)


def _fire_unit(rates: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Spike times of one unit by time rescaling: uniform draws on the integral of its hazard."""
    hazard = rates / (1 - rates * DEAD_TIME_S)
    expected = np.concatenate([[0.0], np.cumsum((hazard[1:] + hazard[:-1]) * (LATENT_STEP_S / 2))])
    draws = np.sort(rng.uniform(0.0, expected[-1], rng.poisson(expected[-1])))
    clock = np.arange(len(expected)) * LATENT_STEP_S
    return _outside_dead_time(np.round(np.interp(draws, expected, clock) * CLOCK_HZ) / CLOCK_HZ)


def _outside_dead_time(times: FloatArray) -> FloatArray:
    """Leave out the spikes that an earlier spike silences."""
    while True:
        close = np.diff(times) < DEAD_TIME_S
        if not close.any():
            return times
        # In a run of close spikes only the first follows a spike that surely stays.
        first = close.copy()
        first[1:] &= ~close[:-1]
        times = np.delete(times, np.flatnonzero(first) + 1)
