"""Factor analysis from a covariance alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

_GAIN = 1e-5
"""Log-likelihood per bin an iteration of factor analysis has to gain to be followed by another."""
_ITERATIONS = 1000
_LEAST_VARIANCE = 1e-12
_LEAST_LOG = 1e-300


@dataclass(frozen=True)
class Factors:
    """What factor analysis found.

    Attributes
    ----------
    components
        Loadings. Shape ``(latent, unit)``.
    noise_variance
        Variance of each unit that is its own. Shape ``(unit,)``.
    """

    components: FloatArray
    noise_variance: FloatArray

    def transform(self, rows: FloatArray) -> FloatArray:
        """Return the expected factors of rows, of the mean of those fitted. Shape ``(row, latent)``."""
        weighted = self.components / self.noise_variance
        covariance = np.linalg.inv(np.eye(len(weighted)) + weighted @ self.components.T)
        factors: FloatArray = rows @ weighted.T @ covariance
        return factors


def fit_factors(rows: FloatArray, latents: int) -> Factors:
    """Fit factor analysis to rows of a mean of 0.

    Its likelihood depends on the rows by their covariance alone: every iteration is one symmetric
    eigenproblem of the number of units, however many rows there are.

    Parameters
    ----------
    rows
        Shape ``(n_rows, unit)``, of mean 0.
    latents
        Number of factors.

    Warns
    -----
    UserWarning
        If it has not converged within 1000 iterations.

    References
    ----------
    Barber 2012, "Bayesian Reasoning and Machine Learning", algorithm 21.1, as in scikit-learn.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(400, 5)) @ np.triu(np.ones((5, 5)))
    >>> rows -= rows.mean(axis=0)
    >>> from sklearn.decomposition import FactorAnalysis
    >>> plain = FactorAnalysis(2, tol=400e-5, svd_method="lapack").fit(rows)
    >>> found = fit_factors(rows, 2)
    >>> bool(np.allclose(found.noise_variance, plain.noise_variance_, rtol=1e-9))
    True
    >>> bool(np.allclose(np.abs(found.transform(rows)), np.abs(plain.transform(rows)), atol=1e-9))
    True
    """
    from scipy.linalg import eigh  # noqa: PLC0415 - takes time to import

    covariance = rows.T @ rows / len(rows)
    n_units = len(covariance)
    variance = np.diag(covariance).copy()
    own: FloatArray = np.ones(n_units)
    before = -np.inf
    for _ in range(_ITERATIONS):
        scale = np.sqrt(own) + _LEAST_VARIANCE
        scaled = covariance / np.outer(scale, scale)
        values, vectors = eigh(
            scaled, subset_by_index=[n_units - latents, n_units - 1], check_finite=False, overwrite_a=True
        )
        values, vectors = values[::-1], vectors[:, ::-1]
        components: FloatArray = np.sqrt(np.maximum(values - 1.0, 0.0))[:, None] * vectors.T * scale
        rest = (variance / np.square(scale)).sum() - values.sum()
        now = -0.5 * (np.log(np.maximum(values, _LEAST_LOG)).sum() + rest + np.log(own).sum())
        if now - before < _GAIN:
            return Factors(components, own)
        before = now
        own = np.maximum(variance - np.square(components).sum(axis=0), _LEAST_VARIANCE)
    warnings.warn(
        f"factor analysis of {n_units} units and {latents} factors has not converged within {_ITERATIONS} "
        "iterations",
        stacklevel=2,
    )
    return Factors(components, own)
