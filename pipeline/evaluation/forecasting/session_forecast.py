"""k-step forecasts of one session's test trials, scored beside forecasts that need no model.

Everything that is fitted (velocity decoder, condition means, linear regression) sees training trials alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.decoder import decoder_of
from nwb_latents.pipeline.evaluation.decoding.measured import RECORDED_RATES, facts_of
from nwb_latents.pipeline.evaluation.forecasting.curves import (
    BASELINES,
    CONDITION_MEAN,
    HOLD_LAST,
    LINEAR,
    MODEL,
    RECORDED,
    Curve,
)
from nwb_latents.pipeline.evaluation.forecasting.simple_forecasts import (
    ConditionMean,
    LinearForecast,
    fit_condition_mean,
    fit_linear_forecast,
    hold_last,
)
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_r2, kstep_sums
from nwb_latents.pipeline.evaluation.metrics.r2 import r2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import DecoderDescription, FittedDecoder
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.forecasting import ForecastQuantity, ForecastSettings
    from nwb_latents.schemas.measurement import Measurement

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class KStep:
    """R² by steps ahead.

    Attributes
    ----------
    per_step
        Shape ``(step,)``, NaN where not defined.
    pooled
        One ratio over all steps, NaN where not defined.
    """

    per_step: FloatArray
    pooled: float


@dataclass(frozen=True)
class _Fitted:
    """What was learnt from the training trials about one quantity."""

    condition_mean: ConditionMean
    linear: LinearForecast


@dataclass(frozen=True)
class ForecastTask:
    """Test trials of a session with everything their forecasts are scored and compared with.

    Attributes
    ----------
    session
        Session id.
    facts
        What measurements say of the session.
    settings
        Bins shown and forecast, lag.
    test
        Positions of the test trials in the ``trials`` group. Shape ``(n_test,)``, int64.
    rates
        Recorded rates of the test trials, Hz. Shape ``(n_test, time, unit)``.
    velocity
        Recorded velocity at the lag, cm/s, NaN where not known; None where there is none in the session.
        Shape ``(n_test, time, axis)``.
    condition
        Condition of each test trial.
    decoder, description
        Velocity decoder, fitted on recorded smoothed rates, and what there is to say of it; None without
        velocity.
    of_rates, of_velocity
        The fitted baselines.
    """

    session: str
    facts: Mapping[str, object]
    settings: ForecastSettings
    test: NDArray[np.int64]
    rates: FloatArray
    velocity: FloatArray | None
    condition: tuple[str, ...]
    decoder: FittedDecoder | None
    description: DecoderDescription | None
    of_rates: _Fitted
    of_velocity: _Fitted | None

    def guesses(self) -> dict[ForecastQuantity, dict[str, FloatArray]]:
        """Return the forecasts of everything that needs no model, velocity first.

        Returns
        -------
        guesses
            Quantity → baseline, or `curves.RECORDED` → cm/s or Hz. Shapes ``(n_test, bins, axis)`` and
            ``(n_test, bins, unit)``.
        """
        seen, n_bins = self.settings.seen_bins, self.settings.bins
        window = slice(seen, seen + n_bins)
        shown = self.rates[:, :seen]
        made: dict[ForecastQuantity, dict[str, FloatArray]] = {}
        if self.velocity is not None and self.decoder is not None and self.of_velocity is not None:
            found = _guesses(self.of_velocity, shown, self.velocity[:, :seen], self.condition, window)
            made["velocity"] = found | {RECORDED: self.decoder.predict(self.rates[:, window])}
        made["rates"] = _guesses(self.of_rates, shown, shown, self.condition, window)
        return made

    def baselines(self) -> list[Curve]:
        """Return the curves of everything that needs no model, velocity first."""
        curves = []
        for quantity, guesses in self.guesses().items():
            for source, guess in guesses.items():
                if quantity == "rates":
                    curves.append(self._rates_curve(source, guess))
                elif self.velocity is not None:
                    curves.append(self._velocity_curve(self.velocity, source, guess))
        return curves

    def model(self, rates: ArrayLike) -> list[Curve]:
        """Return the curves of a model, velocity first.

        Parameters
        ----------
        rates
            Forecast of the bins after those shown, Hz. Shape ``(n_test, bins, unit)``.

        Raises
        ------
        DataError
            If the shape does not fit, or a rate is not finite.
        """
        guess = np.asarray(rates, dtype=np.float64)
        expected = (len(self.test), self.settings.bins, self.rates.shape[2])
        if guess.shape != expected or not np.isfinite(guess).all():
            raise DataError(
                f"{self.session}: a forecast of shape {guess.shape} with {int((~np.isfinite(guess)).sum())} "
                f"values that are not finite; expected {expected}, all finite. A model that gives NaN has to "
                "be trained again."
            )
        curves = [self._rates_curve(MODEL, guess)]
        if self.velocity is not None and self.decoder is not None:
            curves.insert(0, self._velocity_curve(self.velocity, MODEL, self.decoder.predict(guess)))
        return curves

    def measurements(self, curves: Sequence[Curve], *, run: str | None = None) -> list[Measurement]:
        """Return every number of curves with its protocol.

        Parameters
        ----------
        curves
            From `model` or `baselines`.
        run
            Run the curves of `model` are of.
        """
        return [
            record
            for curve in curves
            for record in curve.measurements(
                run=run,
                **self.facts,
                split="test",
                n_trials=len(self.test),
                seen_bins=self.settings.seen_bins,
                bins=self.settings.bins,
                settings_digest=self.settings.digest()[:16],
                **self._fitted_for(curve),
            )
        ]

    def _fitted_for(self, curve: Curve) -> dict[str, object]:
        """Return what was fitted, and on what, for the numbers of a curve."""
        is_velocity = curve.quantity == "velocity"
        about: dict[str, object] = {"lag_ms": self.settings.lag_ms} if is_velocity else {}
        fitted = self.of_velocity if is_velocity else self.of_rates
        if curve.source == LINEAR and fitted is not None:
            about["details"] = {"alpha": fitted.linear.alpha}
        if is_velocity and curve.source not in BASELINES and self.description is not None:
            about["decoder"] = self.description.name
            about["decoder_settings"] = {**self.description.settings, **self.description.chosen}
            about["fitted_on"] = RECORDED_RATES
        return about

    def _velocity_curve(self, velocity: FloatArray, source: str, guess: FloatArray) -> Curve:
        seen = self.settings.seen_bins
        found = velocity_kstep_r2(velocity[:, seen : seen + guess.shape[1]], guess)
        return _curve("velocity", source, found)

    def _rates_curve(self, source: str, guess: FloatArray) -> Curve:
        return _curve("rates", source, rates_kstep_r2(self.rates, guess, first_bin=self.settings.seen_bins))


def rates_kstep_r2(true: ArrayLike, predicted: ArrayLike, *, first_bin: int) -> KStep:
    """Return the R² of forecast observations, each trial held against its own mean over time.

    Step by step as in `kstep_r2`; for ``pooled``, both sums run over the steps too (``r2_trialmean``).

    Parameters
    ----------
    true
        Whole trials. Shape ``(trial, time, unit)``, finite.
    predicted
        Bins ``first_bin`` and on. Shape ``(trial, step, unit)``, finite.
    first_bin
        Bin of `true` the forecast begins at.

    Raises
    ------
    DataError
        If the shapes do not fit.

    References
    ----------
    Vermani et al. 2025 (MDSSM), k-step forecast.

    Examples
    --------
    >>> found = rates_kstep_r2([[[0.0], [1.0], [2.0]]], [[[1.0], [1.0]]], first_bin=1)
    >>> found.per_step.tolist(), found.pooled
    ([nan, 0.0], 0.0)
    """
    y, guess = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if guess.ndim != 3 or y.ndim != 3:
        raise DataError(f"k-step R²: shapes {y.shape} and {guess.shape}; expected (trial, time, unit) twice")
    window = y[:, first_bin : first_bin + guess.shape[1]]
    if window.shape != guess.shape or first_bin < 0:
        raise DataError(
            f"k-step R²: a forecast of shape {guess.shape} from bin {first_bin} on does not fit into trials "
            f"of shape {y.shape}"
        )
    over_all = kstep_sums(y, guess, t0=first_bin).value(np.ones((1, len(y))))
    return KStep(kstep_r2(y, guess, t0=first_bin), float(over_all[0]))


def velocity_kstep_r2(true: ArrayLike, predicted: ArrayLike) -> KStep:
    """Return the R² of forecast velocity, step by step and over all: ``r2_uniform`` of the axes.

    Step by step, the deviation in the denominator is that of the trials at this step; over all steps, it is
    that of all trials and bins, as in decoding.

    Parameters
    ----------
    true
        Recorded velocity, cm/s; NaN on any axis leaves the bin out. Shape ``(trial, step, axis)``.
    predicted
        Shape of `true`, finite.

    Raises
    ------
    DataError
        If the shapes do not fit.

    Examples
    --------
    >>> true = [[[0.0, 0.0], [1.0, 1.0]], [[2.0, 4.0], [3.0, 7.0]]]
    >>> velocity_kstep_r2(true, true).per_step.tolist()
    [1.0, 1.0]
    """
    y, guess = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    known: NDArray[np.bool_] = np.all(np.isfinite(y), axis=-1)
    steps = [
        r2(y[:, k : k + 1], guess[:, k : k + 1], definition="r2_uniform", mask=known[:, k : k + 1])
        for k in range(y.shape[1])
    ]
    return KStep(np.array(steps), r2(y, guess, definition="r2_uniform", mask=known))


def prepare_forecast(
    session: Session, settings: ForecastSettings, *, decoder: FittedDecoder | None = None
) -> ForecastTask:
    """Fit decoder and baselines on the training trials, and lay the test trials ready.

    Parameters
    ----------
    session
        The session.
    settings
        Bins, lag, penalties, folds, seed.
    decoder
        Velocity decoder of these trials, settings and lag, where it is fitted already; None: it is fitted.

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
    seen, last = settings.seen_bins, settings.seen_bins + settings.bins
    if last > n_bins:
        raise SettingsError(
            f"{session.name}: {seen} bins seen and {settings.bins} forecast are more than the {n_bins} bins "
            f"of a trial; use seen_bins + bins of at most {n_bins}"
        )
    train, test = session.rows("train"), session.rows("test")
    if len(test) == 0 or len(train) < settings.folds:
        raise DataError(
            f"{session.name}: {len(train)} training and {len(test)} test trials; expected at least "
            f"{settings.folds} and 1. Ingest with other shares (recipe: split), use fewer folds, or leave "
            "the session out"
        )
    rates = np.asarray(trials["rates"].values, dtype=np.float64)
    condition = [str(name) for name in trials["condition"].values]
    of_train = [condition[row] for row in train]
    velocity = session.velocity(settings.lag_ms).velocity
    has_velocity = bool(np.isfinite(velocity[train, seen:last]).all(axis=(1, 2)).sum() >= settings.folds)
    of_velocity = None
    if has_velocity:
        decoder = decoder or decoder_of(settings).fit(rates[train], velocity[train])
        of_velocity = _fit(rates[train], velocity[train], of_train, settings)
    return ForecastTask(
        session=session.name,
        facts=facts_of(session),
        settings=settings,
        test=test,
        rates=rates[test],
        velocity=velocity[test] if has_velocity else None,
        condition=tuple(condition[row] for row in test),
        decoder=decoder if has_velocity else None,
        description=decoder_of(settings).describe(decoder) if has_velocity else None,
        of_rates=_fit(rates[train], rates[train], of_train, settings),
        of_velocity=of_velocity,
    )


def _fit(rates: FloatArray, values: FloatArray, conditions: list[str], settings: ForecastSettings) -> _Fitted:
    seen, last = settings.seen_bins, settings.seen_bins + settings.bins
    ahead = values[:, seen:last]
    whole = np.isfinite(ahead).all(axis=(1, 2))
    return _Fitted(
        condition_mean=fit_condition_mean(values, conditions),
        linear=fit_linear_forecast(
            rates[whole, :seen],
            ahead[whole],
            alphas=settings.linear_alphas,
            folds=settings.folds,
            seed=settings.seed,
        ),
    )


def _guesses(
    fitted: _Fitted,
    rates: FloatArray,
    shown: FloatArray,
    conditions: tuple[str, ...],
    window: slice,
) -> dict[str, FloatArray]:
    n_bins = window.stop - window.start
    overall = fitted.condition_mean.overall
    return {
        LINEAR: fitted.linear.predict(rates),
        CONDITION_MEAN: fitted.condition_mean.predict(conditions)[:, window],
        HOLD_LAST: hold_last(shown, n_bins=n_bins, otherwise=overall[: window.start].mean(axis=0)),
    }


def _curve(quantity: ForecastQuantity, source: str, found: KStep) -> Curve:
    return Curve(
        quantity, source, tuple(_defined(float(value)) for value in found.per_step), _defined(found.pooled)
    )


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
