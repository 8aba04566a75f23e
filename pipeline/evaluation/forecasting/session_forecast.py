"""Forecasts of one session's test trials by runs and by baselines, made of the same bins shown.

Everything that is fitted (decoder, read-outs, condition means, regressions) sees training trials alone. The
weights of ensembles and the width of bands come from validation trials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.decoder import decoder_of
from nwb_latents.pipeline.evaluation.decoding.measured import RECORDED_RATES, facts_of
from nwb_latents.pipeline.evaluation.forecasting.ensemble import equal_weights, fit_ensemble
from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import ForecastProblem
from nwb_latents.pipeline.evaluation.forecasting.read_outs import OWN_FORECASTS, fit_read_out
from nwb_latents.pipeline.evaluation.forecasting.source_forecast import (
    DECODED,
    ENSEMBLE,
    LEAKY,
    MODEL,
    SHOWN,
    SHOWN_RECORDED,
    SourceForecast,
    VelocityMap,
)
from nwb_latents.pipeline.machine import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
    from nwb_latents.pipeline.evaluation.decoding.decoder import DecoderDescription, FittedDecoder
    from nwb_latents.pipeline.evaluation.forecasting.ensemble import Ensemble
    from nwb_latents.pipeline.evaluation.forecasting.foreseen import Foreseen
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.baselines import BaselineSettings
    from nwb_latents.schemas.forecasting import ForecastQuantity, ForecastSettings

    FloatArray = NDArray[np.float64]
    Rows = NDArray[np.int64]


EQUAL = "equal: a run that was given a few trials leaves none to choose weights on"
"""How weights came about that were not chosen on validation trials."""

_BOTH: tuple[ForecastQuantity, ...] = ("velocity", "rates")


@dataclass(frozen=True, eq=False)
class ForecastTask:
    """Test trials of a session with everything their forecasts are scored and compared with.

    Attributes
    ----------
    session
        Session id.
    facts
        What measurements say of the session.
    settings
        Bins shown and forecast, read-out, lag.
    train, val, test
        Positions of training, validation and test trials in the ``trials`` group. Shapes ``(n,)``, int64.
    everyone
        Training trials, and the bins shown of the validation trials and, after them, of the test trials.
    rates
        Recorded rates of the test trials, Hz. Shape ``(n_test, time, unit)``.
    velocity, val_velocity
        Recorded velocity of test and validation trials at the lag, cm/s, NaN where not known; None where
        there is none in the session. Shapes ``(n_test, time, axis)`` and ``(n_val, time, axis)``.
    decoder, description
        Velocity decoder, fitted on recorded smoothed rates, and what there is to say of it; None without
        velocity.
    given_few
        Whether the training trials are a few that a run was given, and there are no others.
    """

    session: str
    facts: Mapping[str, object]
    settings: ForecastSettings
    train: Rows
    val: Rows
    test: Rows
    everyone: ForecastProblem
    rates: FloatArray
    velocity: FloatArray | None
    val_velocity: FloatArray | None
    decoder: FittedDecoder | None
    description: DecoderDescription | None
    given_few: bool = False

    @property
    def problem(self) -> ForecastProblem:
        """Training trials, and the bins shown of the test trials: what forecasts that need no model see."""
        n_val, all_seen = len(self.val), self.everyone.velocity_seen
        return replace(
            self.everyone,
            counts=self.everyone.counts[n_val:],
            velocity_seen=None if all_seen is None else all_seen[n_val:],
            condition=self.everyone.condition[n_val:],
        )

    @property
    def true(self) -> FloatArray | None:
        """Recorded velocity of the bins ahead of the test trials. Shape ``(n_test, bin, axis)``."""
        return None if self.velocity is None else self.velocity[:, self.settings.ahead]

    @property
    def val_true(self) -> FloatArray | None:
        """The same of the validation trials. Shape ``(n_val, bin, axis)``."""
        return None if self.val_velocity is None else self.val_velocity[:, self.settings.ahead]

    def of_baseline(self, baseline: Baseline, settings: BaselineSettings) -> SourceForecast | None:
        """Return a forecast that needs no model; None of a baseline that does not forecast.

        Parameters
        ----------
        baseline
            Which.
        settings
            What it chooses from.

        Raises
        ------
        DataError
            If a shape does not fit, a value is not finite, or there are too few training trials.
        """
        if baseline.forecast is None:
            return None
        with one_blas_thread():
            made = baseline.forecast(self.everyone, settings)
        n_val = len(self.val)
        rates = self._checked(made.rates, n_val + len(self.test), who=baseline.name)
        velocity = made.velocity if self.velocity is not None else None
        told = {"told": baseline.told} if baseline.told else {}
        return SourceForecast(
            source=baseline.name,
            rates=rates[n_val:],
            velocity=None if velocity is None else velocity[n_val:],
            calibration=None if velocity is None or n_val == 0 else velocity[:n_val],
            details={
                "rates": {**made.details.get("rates", {}), **told},
                "velocity": {**made.details.get("velocity", {}), **told},
            },
        )

    def of_run(self, foresee: Callable[[Rows], Foreseen], *, run: str) -> SourceForecast:
        """Return the forecast of a run, velocity read out as the settings say.

        Parameters
        ----------
        foresee
            Takes positions of trials to what the run foresees of them from the bins seen alone.
        run
            Its name.

        Raises
        ------
        DataError
            If a shape does not fit or a value is not finite: the model has to be trained again.
        """
        ahead = foresee(self.test)
        rates = self._checked(ahead.rates, len(self.test), who=run)
        head = {"behaviour_head": True} if ahead.velocity is not None else {}
        about = {"shown": SHOWN, "read_from": "rates" if ahead.states is None else "states", **head}
        made = SourceForecast(MODEL, rates, run=run, details={"rates": {"shown": SHOWN}, "velocity": about})
        if self.everyone.train_velocity is None:
            return made
        chosen = self.settings
        with one_blas_thread():
            read_out = fit_read_out(
                chosen.read_out,
                foresee(self.train).features,
                self.everyone.train_velocity[:, chosen.ahead],
                alphas=chosen.alphas,
                folds=chosen.folds,
                seed=chosen.seed,
            )
            velocity = read_out.predict(ahead.features)
            calibration = read_out.predict(foresee(self.val).features) if len(self.val) else None
        read_by = VelocityMap(read_out.name, dict(read_out.chosen), OWN_FORECASTS)
        return replace(made, velocity=velocity, calibration=calibration, read_by=read_by)

    def decoded(
        self, foresee: Callable[[Rows], Foreseen], *, run: str, is_leaky: bool = False
    ) -> SourceForecast | None:
        """Return the forecast of a run, its rates given to the decoder of recorded rates; None without one.

        Parameters
        ----------
        foresee, run
            As in `of_run`.
        is_leaky
            Whether the run is shown more than the bins seen hold: the forecast has another name then.
        """
        if self.decoder is None or self.description is None:
            return None
        made = [np.asarray(foresee(rows).rates, np.float64) for rows in (self.test, self.val) if len(rows)]
        rates = self._checked(made[0], len(self.test), who=run)
        described = self.description
        return SourceForecast(
            source=LEAKY if is_leaky else DECODED,
            # Its rates are those of the forecast itself, unless it was shown more.
            rates=rates if is_leaky else None,
            velocity=self.decoder.predict(rates),
            calibration=self.decoder.predict(made[1]) if len(made) > 1 else None,
            read_by=VelocityMap(described.name, {**described.settings, **described.chosen}, RECORDED_RATES),
            run=run,
            details={each: {"shown": SHOWN_RECORDED if is_leaky else SHOWN} for each in _BOTH},
        )

    def ensemble(self, members: Sequence[SourceForecast]) -> SourceForecast:
        """Return the mean of forecasts of velocity, with weights chosen on validation trials.

        Of a few trials that a run was given none is left to choose weights on: they are equal.

        Parameters
        ----------
        members
            The first is that of the run it belongs to.

        Raises
        ------
        DataError
            If there are too few validation trials with a known velocity to choose weights on.
        SettingsError
            If there are fewer than two members, or too many.
        """
        said = [each.name for each in members]
        if self.given_few:
            fit = equal_weights([_there(each.velocity) for each in members])
            return self._mean(members, fit, chosen=EQUAL)
        if self.val_true is None or any(each.calibration is None for each in members):
            raise DataError(
                f"{self.session}: an ensemble of {', '.join(said)} has its weights from validation trials "
                "with a recorded hand velocity, and there are none. Ingest with a share of validation trials "
                "(recipe: split.val), or leave --ensemble out."
            )
        try:
            fit = fit_ensemble([_there(each.calibration) for each in members], self.val_true)
        except DataError as error:
            raise DataError(f"{self.session}: {error}") from error
        return self._mean(members, fit)

    def _mean(self, members: Sequence[SourceForecast], fit: Ensemble, *, chosen: str = "") -> SourceForecast:
        said = [each.name for each in members]
        told = dict.fromkeys(
            str(each.details["velocity"]["told"])
            for each in members
            if each.details.get("velocity", {}).get("told")
        )
        weights = {name: round(float(weight), 6) for name, weight in zip(said, fit.weights, strict=True)}
        about = {"shown": SHOWN, "weights": weights, **({"told": "; ".join(told)} if told else {})}
        about |= {"weights_chosen": chosen} if chosen else {}
        return SourceForecast(
            source=ENSEMBLE,
            velocity=fit.mean([_there(each.velocity) for each in members]),
            calibration=fit.calibration if len(fit.calibration) else None,
            run=members[0].run,
            details={"velocity": about},
        )

    def _checked(self, rates: ArrayLike, n_trials: int, *, who: str) -> FloatArray:
        guess = np.asarray(rates, dtype=np.float64)
        expected = (n_trials, self.settings.bins, self.rates.shape[2])
        if guess.shape != expected or not np.isfinite(guess).all():
            raise DataError(
                f"{self.session}: a forecast of {who} of shape {guess.shape} with "
                f"{int((~np.isfinite(guess)).sum())} values that are not finite; expected {expected}, all "
                "finite. A model that gives NaN has to be trained again."
            )
        return guess


def prepare_forecast(
    session: Session,
    settings: ForecastSettings,
    *,
    decoder: FittedDecoder | None = None,
    given_few: bool = False,
) -> ForecastTask:
    """Lay the trials of a session ready, and fit the decoder of recorded rates on the training trials.

    Parameters
    ----------
    session
        The session.
    settings
        Bins, lag, penalties, folds, seed.
    decoder
        Velocity decoder of these trials, settings and lag, where it is fitted already; None: it is fitted.
    given_few
        Whether the training trials are a few that a run was given, and there are no others.

    Returns
    -------
    task
        Without velocity and decoder where the training trials have no recorded velocity.

    Raises
    ------
    DataError
        If there are no test trials or too few training trials.
    SettingsError
        If the bins do not fit into the trials, or the lag is not a whole number of bins.
    """
    trials, n_bins = session.trials, session.n_bins
    seen, last = settings.seen_bins, settings.end
    if last > n_bins:
        raise SettingsError(
            f"{session.name}: {seen} bins seen and {settings.bins} forecast are more than the {n_bins} bins "
            f"of a trial; use seen_bins + bins of at most {n_bins}"
        )
    train, val, test = (session.rows(name) for name in ("train", "val", "test"))
    if len(test) == 0 or len(train) < settings.folds:
        raise DataError(
            f"{session.name}: {len(train)} training and {len(test)} test trials; expected at least "
            f"{settings.folds} and 1. Ingest with other shares (recipe: split), use fewer folds, or leave "
            "the session out"
        )
    rates, counts = (np.asarray(trials[name].values, dtype=np.float64) for name in ("rates", "counts"))
    condition = [str(name) for name in trials["condition"].values]
    velocity = session.velocity(settings.lag_ms).velocity
    has_velocity = bool(np.isfinite(velocity[train, seen:last]).all(axis=(1, 2)).sum() >= settings.folds)
    if has_velocity:
        decoder = decoder or decoder_of(settings).fit(rates[train], velocity[train])
    scored = np.concatenate([val, test])
    everyone = ForecastProblem(
        session=session.name,
        settings=settings,
        bin_size_s=session.bin_size_s,
        sigma_s=session.recipe.smooth_sigma_s,
        train_counts=counts[train],
        train_rates=rates[train],
        train_velocity=velocity[train] if has_velocity else None,
        train_condition=tuple(condition[row] for row in train),
        counts=counts[scored, :seen],
        velocity_seen=velocity[scored, :seen] if has_velocity else None,
        condition=tuple(condition[row] for row in scored),
        smooth_kernel=session.recipe.smooth_kernel,
    )
    return ForecastTask(
        session=session.name,
        facts=facts_of(session),
        settings=settings,
        train=train,
        val=val,
        test=test,
        everyone=everyone,
        rates=rates[test],
        velocity=velocity[test] if has_velocity else None,
        val_velocity=velocity[val] if has_velocity and len(val) else None,
        decoder=decoder if has_velocity else None,
        description=decoder_of(settings).describe(decoder) if has_velocity else None,
        given_few=given_few,
    )


def _there(values: FloatArray | None) -> FloatArray:
    if values is None:
        raise DataError("an ensemble of forecasts without velocity; leave --ensemble out")
    return values
