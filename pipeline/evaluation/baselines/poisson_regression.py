"""Poisson regression with a log link and an L2 penalty, all outputs at once.

Minimises for every output ``mean(exp(η) − y·η) + α/2·‖w‖²`` with ``η = x·w + b``, the objective of
scikit-learn's ``PoissonRegressor``: the mean is over the samples the output is known in, the intercept b is
not penalised. The steps of Newton's method are found for all outputs together by conjugate gradients, so that
no Hessian is formed; features are turned to their principal axes, where the Hessian is close to diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

_BLOCK = 1 << 22
"""Samples × outputs that are worked on together."""
_NEWTON_STEPS = 100
_GRADIENT_STEPS = 20
_HALVINGS = 40


@dataclass(frozen=True)
class PoissonRegression:
    """A fitted log-linear map.

    Attributes
    ----------
    coefficients
        Shape ``(n_features, n_outputs)``, float64.
    intercept
        Logarithm of the rate where all features are 0; -inf for an output without a single event. Shape
        ``(n_outputs,)``, float64.
    """

    coefficients: FloatArray
    intercept: FloatArray

    def predict(self, features: ArrayLike) -> FloatArray:
        """Return the expected counts for each row of `features`.

        Parameters
        ----------
        features
            Shape ``(…, n_features)``.

        Returns
        -------
        rates
            Shape ``(…, n_outputs)``, float64; 0 for outputs without a single event.
        """
        rates: FloatArray = np.exp(
            np.asarray(features, dtype=np.float64) @ self.coefficients + self.intercept
        )
        return rates


def fit_poisson(
    features: ArrayLike,
    targets: ArrayLike,
    *,
    penalty: float,
    start: PoissonRegression | None = None,
    tolerance: float = 1e-14,
) -> PoissonRegression:
    """Fit every output on its own, with the same penalty.

    Parameters
    ----------
    features
        Finite. Shape ``(n_samples, n_features)``.
    targets
        Counts, NaN where not known. Shape ``(n_samples, n_outputs)``.
    penalty
        α, above 0.
    start
        Where to start from, such as the fit with another penalty; the result is the same to the tolerance.
    tolerance
        Iterations of an output end where a Newton step would gain less than this, in nats per event.

    Returns
    -------
    fit
        In float64. An output without a single event has no minimum: its rate is 0.

    Raises
    ------
    DataError
        If the shapes do not fit, there is no sample, a feature is not finite, or a target is negative.
    SettingsError
        If `penalty` is not above 0.

    References
    ----------
    McCullagh and Nelder 1989, "Generalized Linear Models", section 6; truncated Newton: Nocedal and Wright
    2006, "Numerical Optimization", algorithm 7.1.

    Examples
    --------
    >>> fit = fit_poisson([[0.0], [1.0], [0.0], [1.0]], [[1.0], [4.0], [1.0], [4.0]], penalty=1e-12)
    >>> fit.predict([[0.0], [1.0]]).ravel().round(6).tolist()
    [1.0, 4.0]
    """
    x, y = _checked(features, targets)
    if not penalty > 0:
        raise SettingsError(f"penalty of a Poisson regression must be above 0, found {penalty:g}")
    axes = _Axes.of(x)
    weights = np.zeros((x.shape[1], y.shape[1]))
    intercept = np.full(y.shape[1], -np.inf)
    fitted = np.flatnonzero(np.nansum(y, axis=0) > 0)
    n_together = max(1, _BLOCK // len(x))
    for lo in range(0, len(fitted), n_together):
        outputs = fitted[lo : lo + n_together]
        problem = _Problem.of(axes, y[:, outputs], penalty)
        solution = problem.solve(problem.start(axes, start, outputs), tolerance)
        weights[:, outputs] = axes.vectors @ solution[:-1]
        intercept[outputs] = solution[-1] - axes.mean @ weights[:, outputs]
    return PoissonRegression(weights, intercept)


@dataclass(frozen=True)
class _Axes:
    """Features in their principal axes, with a column of ones at the end."""

    mean: FloatArray
    vectors: FloatArray
    variance: FloatArray
    design: FloatArray

    @classmethod
    def of(cls, features: FloatArray) -> _Axes:
        mean = features.mean(axis=0)
        centred = features - mean
        variance, vectors = np.linalg.eigh(centred.T @ centred / len(features))
        design = np.concatenate([centred @ vectors, np.ones((len(features), 1))], axis=1)
        return cls(mean, vectors, variance.clip(min=0.0), design)


@dataclass(frozen=True)
class _Problem:
    """Objective of several outputs. Parameters have the shape ``(feature + 1, output)``."""

    design: FloatArray
    known: FloatArray
    """One over the number of samples known where the target is known, else 0."""
    counts: FloatArray
    """Targets times `known`."""
    mean: FloatArray
    penalties: FloatArray
    scale: FloatArray
    """Diagonal of the Hessian, were the rates constant."""

    @classmethod
    def of(cls, axes: _Axes, targets: FloatArray, penalty: float) -> _Problem:
        is_known = np.isfinite(targets)
        known = is_known / is_known.sum(axis=0)
        counts = np.where(is_known, targets, 0.0) * known
        mean = counts.sum(axis=0)
        penalties = np.append(np.full(len(axes.variance), penalty), 0.0)[:, None]
        scale = np.append(axes.variance, 1.0)[:, None] * mean + penalties
        return cls(axes.design, known, counts, mean, penalties, scale)

    def start(self, axes: _Axes, fit: PoissonRegression | None, outputs: NDArray[np.int64]) -> FloatArray:
        params = np.zeros_like(self.scale)
        params[-1] = np.log(self.mean)
        if fit is not None:
            params[:-1] = axes.vectors.T @ fit.coefficients[:, outputs]
            other = fit.intercept[outputs] + axes.mean @ fit.coefficients[:, outputs]
            params[-1] = np.where(np.isfinite(other), other, params[-1])
        return params

    def of_outputs(self, outputs: NDArray[np.int64]) -> _Problem:
        return _Problem(
            self.design,
            self.known[:, outputs],
            self.counts[:, outputs],
            self.mean[outputs],
            self.penalties,
            self.scale[:, outputs],
        )

    def value(self, predictor: FloatArray, params: FloatArray) -> FloatArray:
        with np.errstate(over="ignore"):
            loss = np.einsum("ij,ij->j", self.known, np.exp(predictor))
        loss -= np.einsum("ij,ij->j", self.counts, predictor)
        total: FloatArray = loss + 0.5 * (self.penalties * np.square(params)).sum(axis=0)
        return total

    def solve(self, params: FloatArray, tolerance: float) -> FloatArray:
        solution = params.copy()
        active = np.arange(params.shape[1])
        part, predictor = self, self.design @ params
        value = part.value(predictor, params)
        for _ in range(_NEWTON_STEPS):
            rates = part.known * np.exp(predictor)
            gradient = part.design.T @ (rates - part.counts) + part.penalties * params
            going = np.square(gradient / np.sqrt(part.scale)).sum(axis=0) > 2.0 * tolerance * part.mean
            if not going.all():
                if not going.any():
                    break
                active, part = active[going], part.of_outputs(np.flatnonzero(going))
                params, gradient, value = params[:, going], gradient[:, going], value[going]
                predictor, rates = predictor[:, going], rates[:, going]
            step = part.newton_step(rates, gradient)
            params, predictor, value = part.line_search(params, predictor, value, step=step, slope=gradient)
            solution[:, active] = params
        return solution

    def newton_step(self, rates: FloatArray, gradient: FloatArray) -> FloatArray:
        """Solve ``H·step = −gradient`` roughly, by preconditioned conjugate gradients."""
        step = np.zeros_like(gradient)
        residual = -gradient
        direction = residual / self.scale
        size = (residual * direction).sum(axis=0)
        enough = 1e-3 * size
        for _ in range(_GRADIENT_STEPS):
            if (size <= enough).all():
                break
            curved = self.design.T @ (rates * (self.design @ direction)) + self.penalties * direction
            curvature = (direction * curved).sum(axis=0)
            length = np.divide(size, curvature, out=np.zeros_like(size), where=curvature > 0)
            step += length * direction
            residual = residual - length * curved
            scaled = residual / self.scale
            before, size = size, (residual * scaled).sum(axis=0)
            direction = (
                scaled + np.divide(size, before, out=np.zeros_like(size), where=before > 0) * direction
            )
        return step

    def line_search(
        self,
        params: FloatArray,
        predictor: FloatArray,
        value: FloatArray,
        *,
        step: FloatArray,
        slope: FloatArray,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Halve the step of every output until its objective falls, but for rounding near the minimum."""
        along = self.design @ step
        wanted = 1e-4 * (step * slope).sum(axis=0)
        slack = 1e-14 * np.abs(value)
        length = np.ones(params.shape[1])
        for _ in range(_HALVINGS):
            moved, at = params + length * step, predictor + length * along
            found = self.value(at, moved)
            bad = ~(found <= value + length * wanted + slack)
            if not bad.any():
                break
            length[bad] *= 0.5
        return moved, at, found


def _checked(features: ArrayLike, targets: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = (np.asarray(values, dtype=np.float64) for values in (features, targets))
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise DataError(
            f"Poisson regression: features have shape {x.shape}, targets {y.shape}; expected (n_samples, "
            "n_features) and (n_samples, n_outputs) with the same number of samples, at least one"
        )
    if not np.isfinite(x).all():
        raise DataError(
            f"Poisson regression: {int((~np.isfinite(x)).sum())} of {x.size} values of the features are not "
            "finite; leave those samples out"
        )
    if (y < 0).any() or np.isinf(y).any():
        raise DataError(
            "Poisson regression: targets hold negative or infinite values; expected counts or NaN"
        )
    return x, y
