"""Truth of a session whose state is a planar system, and the best forecast that can be made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.sources.simulator.planar_systems import (
    Duffing,
    HopfNormal,
    HopfVanDerPol,
    LimitCycle,
    System,
)
from nwb_latents.pipeline.sources.simulator.system_units import rates_of_states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray
    from nwb_latents.pipeline.sources.simulator.truth import Truth

_KINDS: Mapping[str, Callable[..., System]] = {
    "limit_cycle": LimitCycle,
    "hopf": HopfVanDerPol,
    "hopf_normal": HopfNormal,
    "duffing": Duffing,
}


@dataclass(frozen=True)
class SystemTruth:
    """What drives a session, and how units and hand read it.

    Attributes
    ----------
    name
        ``limit_cycle``, ``hopf``, ``hopf_normal`` or ``duffing``.
    parameters
        Parameters of the equations, by name.
    dt
        Step of the integration: one bin.
    noise_per_step
        Standard deviation of the noise of one step, in each coordinate.
    read_out
        C, log rate per unit of the state. Shape ``(n_units, 2)``.
    log_rate
        d, log of the rate in Hz at the origin. Shape ``(n_units,)``.
    rate_cap_hz
        Highest rate.
    velocity_weights
        cm/s per unit of the state 100 ms earlier. Shape ``(2, 2)``.
    start_bin
        First bin of each run. Shape ``(n_trials,)``.
    trial_bins
        Bins of a run.
    """

    name: str
    parameters: Mapping[str, float]
    dt: float
    noise_per_step: float
    read_out: FloatArray
    log_rate: FloatArray
    rate_cap_hz: float
    velocity_weights: FloatArray
    start_bin: IntArray
    trial_bins: int

    def equations(self) -> System:
        """Return the equations, to be stepped with ``advance``."""
        return _KINDS[self.name](**self.parameters, dt=self.dt)

    def rates(self, latents: FloatArray) -> FloatArray:
        """Return the rates in Hz at states of shape ``(…, 2)``. Shape ``(…, n_units)``."""
        return rates_of_states(latents, self.read_out, self.log_rate, cap_hz=self.rate_cap_hz)

    def to_arrays(self) -> dict[str, Any]:
        """Return what is stored of it."""
        arrays = {f"system_{name}": value for name, value in vars(self).items() if name != "parameters"}
        arrays["system_parameter_names"] = np.array(list(self.parameters))
        arrays["system_parameter_values"] = np.array(list(self.parameters.values()), dtype=np.float64)
        return arrays

    @staticmethod
    def from_arrays(stored: Mapping[str, Any]) -> SystemTruth:
        """Return what `to_arrays` stored; a KeyError names what is missing."""
        names, values = stored["system_parameter_names"], stored["system_parameter_values"]
        return SystemTruth(
            name=str(stored["system_name"]),
            parameters={str(n): float(v) for n, v in zip(names, values, strict=True)},
            dt=float(stored["system_dt"]),
            noise_per_step=float(stored["system_noise_per_step"]),
            read_out=stored["system_read_out"],
            log_rate=stored["system_log_rate"],
            rate_cap_hz=float(stored["system_rate_cap_hz"]),
            velocity_weights=stored["system_velocity_weights"],
            start_bin=stored["system_start_bin"],
            trial_bins=int(stored["system_trial_bins"]),
        )


def best_forecast(
    truth: Truth,
    t0: int,
    k: int,
    *,
    trials: ArrayLike | None = None,
    units: ArrayLike | None = None,
    reach_bins: int = 0,
    n_futures: int = 200,
    seed: int = 0,
) -> FloatArray:
    """Forecast the rates of bins ``t0 … t0 + k − 1`` of runs from the true state.

    Nothing that sees the spikes alone does better in the mean than the expected rate given the true state,
    which is the mean over many futures. Along the true map without noise (``n_futures=0``) the forecast stays
    as sure of the phase as it was, and a model that knows how unsure it is may be ahead.

    Smoothing carries spikes backwards: bins seen in smoothed rates hold spikes of the bins after them, so a
    fair ceiling knows those states too (`reach_bins`).

    Parameters
    ----------
    truth
        Truth of a session of a system.
    t0
        Bins of each run that are seen, from its start.
    k
        Bins forecast; they may go beyond the run.
    trials
        Rows of the trial table, such as ``trial`` of a trial store; default: all. Shape ``(n,)``.
    units
        Ids of units, such as ``unit`` of a trial store; default: all.
    reach_bins
        Bins after `t0` whose true state is known as well: 0 for counts, `IngestRecipe.filter_bins` (5 by
        default) for smoothed rates.
    n_futures
        Noisy futures of each run that are averaged; 0: the one without noise.
    seed
        Seed of the futures.

    Returns
    -------
    forecast
        Expected rates in Hz. Shape ``(n, k, unit)``.

    Raises
    ------
    DataError
        If the session is not one of a system, or has no such trial or unit.
    SettingsError
        If `t0` is not between 1 and the bins of a run, or `k`, `reach_bins` or `n_futures` is too small.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator import simulate_session
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> few = SimulateSettings(system="hopf", n_subjects=1, n_sessions=1, n_units=(4, 4), n_trials=3)
    >>> best_forecast(simulate_session(few).truth, 10, 5, trials=[0, 2]).shape
    (2, 5, 4)
    """
    system = truth.system
    if system is None:
        message = f"{truth.session}: simulated reaches have no best forecast; simulate a system instead."
        raise DataError(message)
    if not 1 <= t0 <= system.trial_bins or k < 1 or reach_bins < 0 or n_futures < 0:
        raise SettingsError(
            f"{truth.session}: a forecast of {k} bins after {t0} seen bins (reach {reach_bins}, {n_futures} "
            f"futures) of runs of {system.trial_bins} bins"
        )
    kept = np.arange(len(truth.unit_ids)) if units is None else _rows_of(truth, units)
    first = system.start_bin[_trials_of(truth, system, trials)] + t0
    n_known = min(reach_bins, k, system.trial_bins - t0)
    path = [system.rates(truth.latents[first + ahead]) for ahead in range(n_known)]
    # (future, trial, state); one future is enough where nothing differs between them
    z = np.repeat(truth.latents[None, first - 1 + n_known], max(n_futures, 1), axis=0)
    noise = system.noise_per_step if n_futures else 0.0
    equations, rng = system.equations(), np.random.default_rng(seed)
    for _ in range(k - n_known):
        z = equations.advance(z) + noise * rng.standard_normal(z.shape)
        path.append(system.rates(z).mean(axis=0))
    return np.stack(path, axis=1)[..., kept]


def _trials_of(truth: Truth, system: SystemTruth, trials: ArrayLike | None) -> IntArray:
    n_trials = len(system.start_bin)
    if trials is None:
        return np.arange(n_trials)
    rows = np.asarray(trials, dtype=np.int64)
    outside = rows[(rows < 0) | (rows >= n_trials)]
    if len(outside):
        raise DataError(
            f"{truth.session}: no trial {outside[0]}; there are {n_trials}, counted from 0. The windows of a "
            "chopped store are no runs."
        )
    return rows


def _rows_of(truth: Truth, units: ArrayLike) -> IntArray:
    row = {int(unit): number for number, unit in enumerate(truth.unit_ids)}
    wanted = [int(unit) for unit in np.asarray(units)]
    unknown = [unit for unit in wanted if unit not in row]
    if unknown:
        raise DataError(f"{truth.session}: no unit {unknown[0]} in its truth; there are {len(row)} units")
    return np.array([row[unit] for unit in wanted], dtype=np.int64)
