"""Units that read the state of a planar system: log-linear rates, Poisson counts in bins.

A unit fires at ``r(t) = min(exp(c·z(t) + d), 150 Hz)``, constant within a bin. Weights ``c ~ N(0, 1/2)`` are
narrowed where states are larger than 1, so that log rates vary by about 1 whatever the system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.sources.simulator.neurons import (
    CLOCK_HZ,
    RATE_CAP_HZ,
    Neurons,
    areas_of,
    draw_mean_rates,
)
from nwb_latents.pipeline.sources.simulator.planar_systems import DIM
from nwb_latents.pipeline.sources.simulator.system_runs import BIN_S

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray
    from nwb_latents.pipeline.sources.simulator.system_runs import Runs
    from nwb_latents.schemas.simulation import SimulateSettings

HIGHEST_MEAN_HZ = 75.0
_TICKS_PER_BIN = round(BIN_S * CLOCK_HZ)


def rates_of_states(
    latents: FloatArray, read_out: FloatArray, log_rate: FloatArray, *, cap_hz: float = RATE_CAP_HZ
) -> FloatArray:
    """Return the rates at which units fire.

    Parameters
    ----------
    latents
        States. Shape ``(…, 2)``.
    read_out
        C, log rate per unit of the state. Shape ``(n_units, 2)``.
    log_rate
        d, log of the rate in Hz at the origin. Shape ``(n_units,)``.
    cap_hz
        Highest rate.

    Returns
    -------
    rates
        Hz. Shape ``(…, n_units)``, float64.

    Examples
    --------
    >>> states = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    >>> rates_of_states(states, np.array([[1.0, 0.0]]), np.log([10.0])).ravel().round(1).tolist()
    [10.0, 27.2, 150.0]
    """
    return np.asarray(np.exp(np.minimum(latents @ read_out.T + log_rate, np.log(cap_hz))))


def draw_readers(
    runs: Runs, settings: SimulateSettings, rng: np.random.Generator
) -> tuple[Neurons, FloatArray]:
    """Draw the units of one session.

    Parameters
    ----------
    runs
        States of the session.
    settings
        Number of units, mean rate, silent units.
    rng
        Source of all randomness.

    Returns
    -------
    neurons
        Its loadings are C. No unit's mean is above 75 Hz.
    log_rate
        d, so that each unit has its mean over the session. Shape ``(n_units,)``.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator.planar_systems import LimitCycle
    >>> from nwb_latents.pipeline.sources.simulator.system_runs import run_system
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings, rng = SimulateSettings(system="limit_cycle", n_trials=5), np.random.default_rng(0)
    >>> runs = run_system(LimitCycle(2.0), settings, rng)
    >>> units, log_rate = draw_readers(runs, settings, rng)
    >>> rates = rates_of_states(runs.latents, units.loadings, log_rate)
    >>> bool(np.allclose(rates.mean(axis=0), units.mean_hz, rtol=1e-3)), round(float(rates.mean()), 2)
    (True, 12.0)
    """
    low, high = settings.n_units
    n_units = int(rng.integers(low, high + 1))
    size = float(np.sqrt(np.square(runs.latents[runs.bins]).mean()))
    read_out = rng.standard_normal((n_units, DIM)) / np.sqrt(DIM) / max(size, 1.0)
    mean = np.minimum(draw_mean_rates(settings, n_units, rng), HIGHEST_MEAN_HZ)
    log_rate = np.log(mean)
    # The cap lowers the mean of bursty units; the offset that restores it has no closed form.
    for _ in range(30):
        rates = rates_of_states(runs.latents, read_out, log_rate)
        log_rate += np.log(mean / rates.mean(axis=0))
    return Neurons(read_out, mean, areas_of(n_units)), log_rate


def fire_in_bins(rates: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
    """Draw Poisson counts of each bin, and spikes at random times within it.

    Parameters
    ----------
    rates
        Hz, constant within bins of 20 ms from time 0. Shape ``(n_bins, n_units)``.
    rng
        Source of all randomness.

    Returns
    -------
    spike_times
        Seconds, grouped by unit, ascending within each; no unit fires twice in one tick of the clock. Shape
        ``(n_spikes,)``, float64.
    spike_index
        One past the last spike of each unit. Shape ``(n_units,)``.

    Examples
    --------
    >>> times, index = fire_in_bins(np.full((5000, 2), 40.0), np.random.default_rng(0))
    >>> bool(abs(len(times) / 200 - 40) < 2), int(index[-1]) == len(times)
    (True, True)
    """
    counts = rng.poisson(rates * BIN_S)
    units = [_place(unit_counts, rng) for unit_counts in counts.T]
    return np.concatenate(units) / CLOCK_HZ, np.cumsum(counts.sum(axis=0), dtype=np.int64)


def _place(counts: IntArray, rng: np.random.Generator) -> IntArray:
    """Ticks of the spikes of one unit, ascending, no two the same. Shape ``(n_spikes,)``."""
    left = np.repeat(np.arange(len(counts)) * _TICKS_PER_BIN, counts)
    ticks = np.sort(left + rng.integers(_TICKS_PER_BIN, size=len(left)))
    while True:
        again = np.flatnonzero(np.diff(ticks) == 0) + 1
        if not len(again):
            return np.asarray(ticks, dtype=np.int64)
        ticks[again] = left[again] + rng.integers(_TICKS_PER_BIN, size=len(again))
        ticks.sort()
