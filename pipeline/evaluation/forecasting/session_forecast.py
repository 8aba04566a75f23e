"""k-step forecasts of one session's test trials, scored beside forecasts that need no model.

Everything that is fitted (velocity decoder, condition means, linear regression) sees training trials alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.decoder import decoder_of
from nwb_latents.pipeline.evaluation.decoding.measured import RECORDED_RATES, facts_of
from nwb_latents.pipeline.evaluation.forecasting.curves import MODEL, RECORDED, Curve
from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import ForecastProblem
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_r2, kstep_sums
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.machine import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
    from nwb_latents.pipeline.evaluation.decoding.decoder import DecoderDescription, FittedDecoder
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.baselines import BaselineSettings
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
    problem
        Training trials, and the bins shown of the test trials: what forecasts that need no model see.
    rates
        Recorded rates of the test trials, Hz. Shape ``(n_test, time, unit)``.
    velocity
        Recorded velocity at the lag, cm/s, NaN where not known; None where there is none in the session.
        Shape ``(n_test, time, axis)``.
    decoder, description
        Velocity decoder, fitted on recorded smoothed rates, and what there is to say of it; None without
        velocity.
    """

    session: str
    facts: Mapping[str, object]
    settings: ForecastSettings
    test: NDArray[np.int64]
    problem: ForecastProblem
    rates: FloatArray
    velocity: FloatArray | None
    decoder: FittedDecoder | None
    description: DecoderDescription | None

    def baseline(self, baseline: Baseline, settings: BaselineSettings) -> list[Curve]:
        """Return the curves of a forecast that needs no model, velocity first.

        Parameters
        ----------
        baseline
            Of one that does not forecast there is no curve.
        settings
            What it chooses from.

        Raises
        ------
        DataError
            If a shape does not fit, a value is not finite, or there are too few training trials.
        """
        if baseline.forecast is None:
            return []
        with one_blas_thread():
            made = baseline.forecast(self.problem, settings)
        told = {"told": baseline.told} if baseline.told else {}
        rates = self._checked(made.rates, who=baseline.name)
        curve = self._rates_curve(baseline.name, rates)
        curves = [replace(curve, details={**made.details.get("rates", {}), **told})]
        if self.velocity is not None and made.velocity is not None:
            curve = self._velocity_curve(self.velocity, baseline.name, made.velocity)
            curves.insert(0, replace(curve, details={**made.details.get("velocity", {}), **told}))
        return curves

    def recorded(self) -> list[Curve]:
        """Return the curve of no forecast at all: the decoder on the rates recorded there."""
        if self.velocity is None or self.decoder is None:
            return []
        guess = self.decoder.predict(self.rates[:, self.settings.ahead])
        return [self._velocity_curve(self.velocity, RECORDED, guess)]

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
        guess = self._checked(rates, who="a model")
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
        if curve.details:
            about["details"] = dict(curve.details)
        if is_velocity and not curve.is_baseline and self.description is not None:
            about["decoder"] = self.description.name
            about["decoder_settings"] = {**self.description.settings, **self.description.chosen}
            about["fitted_on"] = RECORDED_RATES
        return about

    def _checked(self, rates: ArrayLike, *, who: str) -> FloatArray:
        guess = np.asarray(rates, dtype=np.float64)
        expected = (len(self.test), self.settings.bins, self.rates.shape[2])
        if guess.shape != expected or not np.isfinite(guess).all():
            raise DataError(
                f"{self.session}: a forecast of {who} of shape {guess.shape} with "
                f"{int((~np.isfinite(guess)).sum())} values that are not finite; expected {expected}, all "
                "finite. A model that gives NaN has to be trained again."
            )
        return guess

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
    rates, counts = (np.asarray(trials[name].values, dtype=np.float64) for name in ("rates", "counts"))
    condition = [str(name) for name in trials["condition"].values]
    velocity = session.velocity(settings.lag_ms).velocity
    has_velocity = bool(np.isfinite(velocity[train, seen:last]).all(axis=(1, 2)).sum() >= settings.folds)
    if has_velocity:
        decoder = decoder or decoder_of(settings).fit(rates[train], velocity[train])
    problem = ForecastProblem(
        session=session.name,
        settings=settings,
        bin_size_s=session.bin_size_s,
        sigma_s=session.recipe.smooth_sigma_s,
        train_counts=counts[train],
        train_rates=rates[train],
        train_velocity=velocity[train] if has_velocity else None,
        train_condition=tuple(condition[row] for row in train),
        counts=counts[test, :seen],
        velocity_seen=velocity[test, :seen] if has_velocity else None,
        condition=tuple(condition[row] for row in test),
    )
    return ForecastTask(
        session=session.name,
        facts=facts_of(session),
        settings=settings,
        test=test,
        problem=problem,
        rates=rates[test],
        velocity=velocity[test] if has_velocity else None,
        decoder=decoder if has_velocity else None,
        description=decoder_of(settings).describe(decoder) if has_velocity else None,
    )


def _curve(quantity: ForecastQuantity, source: str, found: KStep) -> Curve:
    return Curve(
        quantity, source, tuple(_defined(float(value)) for value in found.per_step), _defined(found.pooled)
    )


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
