"""One session as every source of rates is measured on it: the same trials, units, bins and resamples.

What the answers hold (held-out spikes, forward spikes, velocity, truth) stays here; a source is given a
`SpikeTask` and returns rates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.oracle import oracle_rates
from nwb_latents.pipeline.evaluation.forecasting.session_forecast import prepare_forecast
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_sums
from nwb_latents.pipeline.evaluation.metrics.psth import PsthSums, condition_index, varying_units
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums
from nwb_latents.pipeline.evaluation.metrics.resampling import Interval, bootstrap
from nwb_latents.pipeline.evaluation.metrics.spike_scores import SpikeSums
from nwb_latents.pipeline.evaluation.metrics.state_r2 import affine_map, mapped_states
from nwb_latents.pipeline.evaluation.nlb.velocity import fit_nlb_decoder
from nwb_latents.pipeline.evaluation.spike_task import SPLITS, spike_task
from nwb_latents.pipeline.evaluation.truth_bins import Course
from nwb_latents.pipeline.stores.exporters.nlb import condition_psths
from nwb_latents.schemas.evaluation import OF_FORECASTS
from nwb_latents.schemas.forecasting import ForecastSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.pipeline.evaluation.metrics.resampling import Statistic
    from nwb_latents.pipeline.evaluation.spike_task import RatePrediction, SpikeAnswers, SpikeTask
    from nwb_latents.pipeline.sources.simulator.truth import Truth
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.evaluation import EvaluateSettings, MetricName
    from nwb_latents.schemas.forecasting import ForecastSource

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Metrics of one source on one session.

    Attributes
    ----------
    metrics
        Those it has.
    missing
        Those asked for that it cannot have, and why.
    """

    metrics: Mapping[MetricName, Interval]
    missing: Mapping[MetricName, str] = field(default_factory=dict)

    @classmethod
    def join(cls, parts: Sequence[Scored]) -> Scored:
        """Return what several parts have found; a metric one of them has is not missing."""
        metrics = {name: found for part in parts for name, found in part.metrics.items()}
        missing = {name: why for part in parts for name, why in part.missing.items() if name not in metrics}
        return cls(metrics, missing)


@dataclass(frozen=True)
class Psth:
    """What condition means of rates are scored against.

    Attributes
    ----------
    psth
        Smoothed spikes per bin. Shape ``(condition, time, unit)``.
    condition
        Row of `psth` of each scored trial, −1 where it has none. Shape ``(eval trial,)``.
    units
        Which units these are, of held-in then held-out ones: those that vary. Shape ``(unit,)``.
    """

    psth: FloatArray
    condition: NDArray[np.int64]
    units: NDArray[np.int64]


@dataclass(frozen=True)
class Yardstick:
    """A session laid ready: what sources are given, and what they are scored against.

    Attributes
    ----------
    task, answers
        What a source of rates sees, and what it does not.
    settings
        Resamples, level, seed, folds.
    metrics
        Metrics asked for.
    velocity
        Hand velocity at the lag of the training and of the scored trials, cm/s, NaN where not known; None
        where there is none. Shapes ``(trial, time, axis)``.
    psth
        None with fewer than two conditions.
    forecast
        Decoder and baselines of the forecasts; None where they are not asked for or do not fit.
    oracle
        The rates the spikes were drawn from; None where not known.
    true_states
        True states of training and scored trials; None where not known. Shapes ``(trial, time, D)``.
    """

    task: SpikeTask
    answers: SpikeAnswers
    settings: EvaluateSettings
    metrics: tuple[MetricName, ...]
    velocity: tuple[FloatArray, FloatArray] | None
    psth: Psth | None
    forecast: ForecastTask | None
    oracle: RatePrediction | None
    true_states: tuple[FloatArray, FloatArray] | None

    @property
    def n_trials(self) -> int:
        """Trials scored."""
        return len(self.answers.eval_rows)

    @property
    def n_heldout(self) -> int:
        """Units held out."""
        return int(self.answers.heldout.sum())

    @property
    def wants_states(self) -> bool:
        """Whether latent states are scored."""
        return self.true_states is not None

    def score(self, prediction: RatePrediction, *, without: Mapping[MetricName, str] | None = None) -> Scored:
        """Score rates: bits per spike, velocity, PSTHs, and the true rates where they are known.

        Parameters
        ----------
        prediction
            Rates of training and scored trials.
        without
            Metrics the source cannot have, and why.

        Raises
        ------
        DataError
            If shapes do not fit, or a rate is not finite or not above 0.
        """
        found: dict[MetricName, Interval] = {}
        missing = {name: why for name, why in (without or {}).items() if name in self.metrics}
        for name in ("co_bps", "fp_bps", "velocity_r2", "psth_r2", "rate_r2"):
            if name not in self.metrics or name in missing:
                continue
            statistic = self._statistic(name, prediction)
            if isinstance(statistic, str):
                missing[name] = statistic
            else:
                found[name] = self._interval(statistic)
        return Scored(found, missing)

    def score_forecast(self, rates: ArrayLike) -> Scored:
        """Score a forecast of the scored trials.

        Parameters
        ----------
        rates
            Hz. Shape ``(eval trial, forecast bin, unit)``, units in the order of the store.
        """
        task = self._forecast()
        guess = np.asarray(rates, dtype=np.float64)
        velocity = None if task.decoder is None else task.decoder.predict(guess)
        return self._forecast_scores(velocity, guess)

    def score_forecast_baseline(self, source: ForecastSource) -> Scored:
        """Score a forecast that needs no model."""
        guesses = self._forecast().guesses()
        velocity = guesses.get("velocity", {}).get(source)
        return self._forecast_scores(velocity, guesses["rates"][source])

    def score_states(self, train: ArrayLike, scored: ArrayLike) -> Scored:
        """Score latent states: explained by the true ones, up to an affine map fitted on training trials.

        Parameters
        ----------
        train, scored
            Inferred states. Shapes ``(trial, time, D')`` and ``(eval trial, time, D')``.
        """
        if self.true_states is None:
            return Scored({}, {"state_r2": "the true states are not known"})
        of_train, of_scored = self.true_states
        mapped = mapped_states(of_scored, affine_map(of_train, train))
        sums = R2Sums.of(scored, mapped, definition="r2_uniform")
        return Scored({"state_r2": self._interval(sums)})

    def _statistic(self, name: MetricName, rates: RatePrediction) -> Statistic | str:
        """Return the metric as a statistic, or why there is none."""
        made = {
            "co_bps": self._co_smoothing,
            "fp_bps": self._forward_prediction,
            "velocity_r2": self._velocity,
            "psth_r2": self._psth,
            "rate_r2": self._true_rates,
        }
        return made[name](rates)

    def _co_smoothing(self, rates: RatePrediction) -> Statistic | str:
        if not self.n_heldout:
            return "no unit is held out"
        n_in = self.answers.eval_heldin.shape[2]
        return SpikeSums.of(rates.eval[..., n_in:], self.answers.eval_heldout)

    def _forward_prediction(self, rates: RatePrediction) -> Statistic | str:
        ahead = self.answers.eval_forward
        if ahead is None or rates.eval_forward is None:
            return "no bins after the window are predicted"
        if not np.nansum(ahead) > 0:
            return "nothing was recorded after the windows that belongs to no other trial"
        return SpikeSums.of(rates.eval_forward, ahead)

    def _psth(self, rates: RatePrediction) -> Statistic | str:
        if self.psth is None:
            return "fewer than two conditions"
        if not len(self.psth.units):
            return "no unit's PSTH varies"
        return PsthSums.of(rates.eval[..., self.psth.units], self.psth.condition, self.psth.psth)

    def _true_rates(self, rates: RatePrediction) -> Statistic | str:
        if self.oracle is None:
            return "the true rates are not known"
        return R2Sums.of(self.oracle.eval, rates.eval, definition="r2_uniform")

    def _velocity(self, rates: RatePrediction) -> Statistic | str:
        if self.velocity is None:
            return "no hand velocity was recorded"
        train, scored = self.velocity
        decoder = fit_nlb_decoder(rates.train, train, folds=self.settings.folds)
        return decoder.score(rates.eval, scored)

    def _forecast(self) -> ForecastTask:
        if self.forecast is None:
            raise DataError(f"{self.task.session}: forecasts are not scored here")
        return self.forecast

    def _forecast_scores(self, velocity: FloatArray | None, rates: FloatArray) -> Scored:
        task = self._forecast()
        window = slice(task.settings.seen_bins, task.settings.seen_bins + task.settings.bins)
        found: dict[MetricName, Interval] = {}
        missing: dict[MetricName, str] = {}
        if "forecast_velocity_r2" in self.metrics:
            if velocity is None or task.velocity is None:
                missing["forecast_velocity_r2"] = "no hand velocity was recorded"
            else:
                true = task.velocity[:, window]
                known = np.isfinite(true).all(axis=-1)
                sums = R2Sums.of(true, velocity, definition="r2_uniform", mask=known)
                found["forecast_velocity_r2"] = self._interval(sums)
        if "forecast_rates_r2" in self.metrics:
            sums = kstep_sums(task.rates, rates, t0=task.settings.seen_bins)
            found["forecast_rates_r2"] = self._interval(sums)
        return Scored(found, missing)

    def _interval(self, statistic: Statistic) -> Interval:
        chosen = self.settings
        return bootstrap(statistic, n_resamples=chosen.n_resamples, level=chosen.level, seed=chosen.seed)


def prepare_yardstick(
    session: Session,
    settings: EvaluateSettings,
    *,
    metrics: Sequence[MetricName] | None = None,
    truth: Truth | None = None,
) -> Yardstick:
    """Lay a session ready to be measured on.

    Parameters
    ----------
    session
        The session.
    settings
        Phase, units held out, bins ahead, lag, resamples.
    metrics
        Metrics wanted; default: those of the settings that the session can have.
    truth
        Truth of a simulated session.

    Raises
    ------
    DataError
        If a split has no trials, or `truth` is of another session.
    SettingsError
        If a time is not a whole number of bins.
    """
    wanted = tuple(metrics if metrics is not None else settings.metrics)
    heldout = session.heldout(fraction=settings.heldout_fraction)
    n_forward = session.forward_bins(settings.forward_ms) if "fp_bps" in wanted else 0
    task, answers = spike_task(session, heldout=heldout, phase=settings.phase, forward_bins=n_forward)
    velocity = None
    if "velocity_r2" in wanted:
        paired = session.velocity(settings.lag_ms).velocity
        both = paired[answers.train_rows], paired[answers.eval_rows]
        velocity = both if all(np.isfinite(part).any() for part in both) else None
    return Yardstick(
        task=task,
        answers=answers,
        settings=settings,
        metrics=wanted,
        velocity=velocity,
        psth=_psth(session, answers, settings) if "psth_r2" in wanted else None,
        forecast=_forecast_task(session, settings) if set(wanted) & set(OF_FORECASTS) else None,
        oracle=None if truth is None else oracle_rates(truth, session, answers),
        true_states=_true_states(truth, session, answers) if "state_r2" in wanted else None,
    )


def _true_states(
    truth: Truth | None, session: Session, answers: SpikeAnswers
) -> tuple[FloatArray, FloatArray] | None:
    if truth is None:
        return None
    course = Course.of(truth, truth.latents)
    states = course.means(session.start_s, bin_size_s=session.bin_size_s, n_bins=session.n_bins)
    return states[answers.train_rows], states[answers.eval_rows]


def _psth(session: Session, answers: SpikeAnswers, settings: EvaluateSettings) -> Psth | None:
    """Return the PSTHs to be met, of the units whose PSTH varies; None with fewer than two conditions."""
    rows = {"train": answers.train_rows, "eval": answers.eval_rows}
    made = condition_psths(
        session.trials, session.continuous, rows, order=answers.order, sigma_ms=settings.psth_sigma_ms
    )
    if not made:
        return None
    psth = np.asarray(made["psth"], dtype=np.float64)
    units = varying_units(psth)
    condition = condition_index(made["eval_cond_idx"], n_trials=len(answers.eval_rows))
    return Psth(psth[..., units], condition, units)


def _forecast_task(session: Session, settings: EvaluateSettings) -> ForecastTask | None:
    """Fit decoder and baselines on the trials of the phase; None where the bins do not fit the trials."""
    asked = ForecastSettings(
        seen_bins=settings.forecast_seen_bins,
        bins=settings.forecast_bins,
        lag_ms=settings.lag_ms,
        folds=settings.folds,
        seed=settings.seed,
    )
    if asked.seen_bins + asked.bins > session.n_bins:
        return None
    fitted, scored = SPLITS[settings.phase]
    split = session.split.astype(str)
    named = np.select([np.isin(split, fitted), np.isin(split, scored)], ["train", "test"], "none")
    trials = session.trials.assign_coords(split=("trial", named))
    return prepare_forecast(session.with_trials(trials), asked)
