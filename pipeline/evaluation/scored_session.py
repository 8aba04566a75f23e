"""One session as every source of rates is measured on it: the same trials, units, bins and resamples.

What the answers hold (held-out spikes, forward spikes, velocity, truth) stays here; a source is given a
`SpikeTask` and returns rates. What a metric needs is prepared when the first one asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.oracle import oracle_rates
from nwb_latents.pipeline.evaluation.decoding.decoder import decoder_of
from nwb_latents.pipeline.evaluation.forecasting.session_forecast import prepare_forecast
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Found
from nwb_latents.pipeline.evaluation.metrics.psth import condition_index, varying_units
from nwb_latents.pipeline.evaluation.metrics.resampling import bootstrap
from nwb_latents.pipeline.evaluation.spike_task import SPLITS, spike_task
from nwb_latents.pipeline.evaluation.truth_bins import TrueSignal
from nwb_latents.pipeline.evaluation.unmet_needs import LACKS
from nwb_latents.pipeline.machine import one_blas_thread
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.registry import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import Decoder, DecoderDescription, FittedDecoder
    from nwb_latents.pipeline.evaluation.early_days import EarlyDays
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.pipeline.evaluation.metrics.metric import Metric, Need, Part
    from nwb_latents.pipeline.evaluation.metrics.resampling import Interval
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput
    from nwb_latents.pipeline.evaluation.spike_task import RatePrediction, SpikeAnswers, SpikeTask
    from nwb_latents.pipeline.sources.simulator.truth import Truth
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.evaluation import EvaluateSettings

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """A metric of one part of a source on a session, or the reason it is not to be had.

    Attributes
    ----------
    metric, part
        What was measured.
    interval
        Value and interval over trials; None where there is none, see `reason`.
    found
        What else is to be said about the number; None without one.
    reason
        Why there is none; empty where there is one.
    told
        What the source is told of the trials it predicts, beside the spikes it may see; empty: nothing.
    """

    metric: Metric
    part: Part
    interval: Interval | None = None
    found: Found | None = None
    reason: str = ""
    told: str = ""


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
class ScoredSession:
    """A session laid ready: what sources are given, and what they are scored against.

    Attributes
    ----------
    session
        Its trials and the recording they were cut from.
    settings
        Phase, lag, bins ahead, resamples, level, seed, folds.
    task, answers
        What a source of rates sees, and what it does not.
    truth
        What is known of a simulated session; None: nothing.
    early
        Earlier days of the subject; None: it is no day held out.
    given
        The few trials a run was given, on which alone what is fitted beside it is fitted; empty: it had the
        whole training split.
    """

    session: Session
    settings: EvaluateSettings
    task: SpikeTask
    answers: SpikeAnswers
    truth: Truth | None = None
    early: EarlyDays | None = None
    given: tuple[int, ...] = ()

    @property
    def n_trials(self) -> int:
        """Trials scored."""
        return len(self.answers.eval_rows)

    def as_given(self, few: Session, trials: tuple[int, ...]) -> ScoredSession:
        """Return the session as a run was given it.

        Parameters
        ----------
        few
            The session without other trials than those given and those scored
            (`pipeline.training.trial_record.given_alone`).
        trials
            Those given.

        Raises
        ------
        DataError
            If there are none.
        """
        folds = max(2, min(self.settings.folds, len(trials)))
        made = prepare_session(
            few,
            self.settings.model_copy(update={"folds": folds}),
            forward=bool(self.task.n_forward),
            truth=self.truth,
            early=self.early,
        )
        return replace(made, given=trials)

    @property
    def n_heldin(self) -> int:
        """Units that are shown; they come first in rates and spikes."""
        return int((~self.answers.heldout).sum())

    @property
    def n_heldout(self) -> int:
        """Units held out."""
        return int(self.answers.heldout.sum())

    @property
    def n_ahead(self) -> int:
        """Bins a forecast takes up, those it is shown included."""
        return self.settings.forecast.end

    @cached_property
    def _paired_velocity(self) -> FloatArray:
        return self.session.velocity(self.settings.lag_ms).velocity

    @cached_property
    def velocity(self) -> tuple[FloatArray, FloatArray] | None:
        """Hand velocity at the lag of the trials fitted on and of those scored, cm/s, NaN where not known.

        None where there is none in either. Shapes ``(trial, time, axis)`` and ``(eval trial, time, axis)``.
        """
        paired = self._paired_velocity
        both = paired[self.answers.train_rows], paired[self.answers.eval_rows]
        return both if all(np.isfinite(part).any() for part in both) else None

    @cached_property
    def velocity_decoder(self) -> FittedDecoder | None:
        """Decoder of `pipeline run decode`: fitted on the recorded rates of the trials of the split train.

        None where fewer trials than folds have a recorded velocity.
        """
        rows, decoder = self.session.rows("train"), self.chosen_decoder
        velocity = self._paired_velocity[rows]
        known = np.isfinite(velocity).all(axis=2)
        if np.count_nonzero(np.any(known, axis=1)) < decoder.folds:
            return None
        rates = np.asarray(self.session.trials["rates"].values[rows], dtype=np.float64)
        return decoder.fit(rates, velocity)

    @property
    def chosen_decoder(self) -> Decoder[Any]:
        """The decoder between activity and velocity, not fitted."""
        return decoder_of(_forecast_settings(self.settings))

    @cached_property
    def decoder_of_early_rates(self) -> tuple[FittedDecoder, NDArray[np.int64]]:
        """The same decoder, fitted on recorded rates of train trials of the earlier days, and of which units.

        Raises
        ------
        CannotBeHadError
            If there are no earlier days, too few of their trials have a velocity, or units are others.
        """
        if self.early is None:
            raise CannotBeHadError("no day is held out")
        return self.early.decoder_of_rates(self.chosen_decoder, self.session, lag_ms=self.settings.lag_ms)

    def describe_decoder(self, fitted: FittedDecoder) -> DecoderDescription:
        """Return what there is to say of `velocity_decoder`."""
        return self.chosen_decoder.describe(fitted)

    @cached_property
    def psth(self) -> Psth | None:
        """PSTHs to be met, of the units whose PSTH varies; None with fewer than two conditions."""
        rows = {"train": self.answers.train_rows, "eval": self.answers.eval_rows}
        made = self.session.condition_psths(
            rows, order=self.answers.order, sigma_ms=self.settings.psth_sigma_ms
        )
        if made is None:
            return None
        psth = np.asarray(made.psth, dtype=np.float64)
        condition = condition_index(made.members["eval"], n_trials=self.n_trials)
        units = varying_units(psth, condition)
        return Psth(psth[..., units], condition, units)

    @cached_property
    def forecast(self) -> ForecastTask | None:
        """Decoder and baselines of the forecasts; None where the bins do not fit into the trials.

        As in `pipeline run forecast`, they are fitted on the trials of the split train, whatever the phase;
        validation trials calibrate them, unless it is they that are scored.
        """
        if self.n_ahead > self.session.n_bins or len(self.given) == 1:
            return None
        split = self.session.split.astype(str)
        _, scored = SPLITS[self.settings.phase]
        calibrates = (split == "val") & ~np.isin(split, scored)
        named = np.select(
            [split == "train", np.isin(split, scored), calibrates], ["train", "test", "val"], "none"
        )
        renamed = self.session.with_trials(self.session.trials.assign_coords(split=("trial", named)))
        return prepare_forecast(
            renamed,
            _forecast_settings(self.settings),
            decoder=self.velocity_decoder,
            given_few=bool(self.given),
        )

    @cached_property
    def true_rates(self) -> RatePrediction | None:
        """The rates the spikes were drawn from; None where not known."""
        if self.truth is None:
            return None
        return oracle_rates(self.truth, self.session, self.answers)

    @cached_property
    def true_states(self) -> tuple[FloatArray, FloatArray] | None:
        """True states of the trials fitted on and of those scored; None where not known.

        Shapes ``(trial, time, D)`` and ``(eval trial, time, D)``.
        """
        if self.truth is None:
            return None
        known = TrueSignal.of(self.truth, self.truth.latents)
        states = known.means(
            self.session.start_s, bin_size_s=self.session.bin_size_s, n_bins=self.session.n_bins
        )
        return states[self.answers.train_rows], states[self.answers.eval_rows]

    def in_hz(self, rates: FloatArray) -> FloatArray:
        """Return rates as the store has them.

        Parameters
        ----------
        rates
            Expected spikes per bin, held-in units first. Shape ``(…, unit)``.

        Returns
        -------
        rates
            Hz, units in the order of the store. Shape of `rates`.
        """
        back = np.empty_like(self.answers.order)
        back[self.answers.order] = np.arange(len(back))
        return rates[..., back] / self.task.bin_size_s

    def measure(self, metric: Metric, part: Part, made: SourceOutput) -> Measured:
        """Measure one part of a source, or say why it cannot be.

        Parameters
        ----------
        metric
            What to measure.
        part
            Of what; one of its parts.
        made
            What the source delivered.

        Raises
        ------
        DataError
            If shapes do not fit, or values are not finite. A metric may raise anything else.
        """
        withheld = (made.withheld.get(need, "") for need in metric.needs)
        reason = next(filter(None, withheld), "") or made.lacks(part)
        for need in metric.needs:
            reason = reason or self.lacks(need, made)
        if reason:
            return Measured(metric, part, reason=reason)
        try:
            with one_blas_thread():
                told = metric.compute[part](self, made)
        except CannotBeHadError as why:
            return Measured(metric, part, reason=str(why))
        found = told if isinstance(told, Found) else Found(statistic=told)
        said = getattr(found.statistic, "n_trials", None)
        if said != self.n_trials:
            what = "no number of trials" if said is None else f"{said} trials"
            raise DataError(
                f"the metric {metric.name!r} of {METRICS.owner(metric.name)} returned a "
                f"{type(found.statistic).__name__} of {what}; expected a `Statistic` of the {self.n_trials} "
                f"trials there are, scored or not. {METRICS.remedy(metric.name)}"
            )
        chosen = self.settings
        interval = bootstrap(
            found.statistic,
            n_resamples=chosen.n_resamples,
            level=chosen.level,
            seed=chosen.seed,
            value=found.value,
        )
        return Measured(metric, part, interval=interval, found=found, told=made.told.get(part, ""))

    def lacks(self, need: Need, made: SourceOutput) -> str:
        """Say why a need of a metric is not met here; empty where it is."""
        return LACKS[need](self, made)


def prepare_session(
    session: Session,
    settings: EvaluateSettings,
    *,
    forward: bool = True,
    truth: Truth | None = None,
    early: EarlyDays | None = None,
) -> ScoredSession:
    """Lay a session ready to be measured on.

    Parameters
    ----------
    session
        The session.
    settings
        Phase, units held out, bins ahead, lag, resamples.
    forward
        Whether sources are to predict the bins after the window, too.
    truth
        Truth of a simulated session.
    early
        Earlier days of the subject, where the session is held out.

    Raises
    ------
    DataError
        If a split has no trials.
    SettingsError
        If the forward time is not a whole number of bins.
    """
    heldout = session.heldout(fraction=settings.heldout_fraction)
    n_forward = session.forward_bins(settings.forward_ms) if forward else 0
    task, answers = spike_task(session, heldout=heldout, phase=settings.phase, forward_bins=n_forward)
    return ScoredSession(session, settings, task, answers, truth, early)


def _forecast_settings(settings: EvaluateSettings) -> ForecastSettings:
    return ForecastSettings(
        **dict(settings.forecast),
        lag_ms=settings.lag_ms,
        folds=settings.folds,
        seed=settings.seed,
    )
