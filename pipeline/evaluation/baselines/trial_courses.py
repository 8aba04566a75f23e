"""Low-rank courses of whole trials, and which course a trial takes, from the counts seen of it.

The logarithm of the rate of unit ``u`` in bin ``t`` of trial ``i`` is ``offset[t, u] + Σ_q a[i, q] ·
loadings[q, t, u]``: a trial is a handful of factors, each of them a course over the whole trial, with prior
``a[i, q] ~ N(0, deviation[q]²)``. Counts are Poisson. Courses are learnt from whole training trials; the
factors of any trial have a posterior given whatever bins and units of it were seen, of which mode and
curvature are found (Laplace).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.factors import fit_factors
from nwb_latents.pipeline.evaluation.baselines.poisson_regression import fit_poisson
from nwb_latents.pipeline.evaluation.baselines.rate_regression import RATE_FLOOR, feature_scale
from nwb_latents.pipeline.signals.smoothing import smooth_trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

_ROUGH = 1e-9
"""Tolerance of the Poisson regression from courses to counts, nats per spike."""
_BLOCK = 1 << 21
"""Trials × factors × counts that are worked on together."""
_STEPS = 50
_HALVINGS = 40
_GAIN = 1e-15
"""Newton's steps end where they would gain less than this, nats for each count."""
_CONSTANT = 1e-9
"""Components whose singular value is a smaller share of the largest are rounding."""
_HIGHEST = 30.0
"""Largest log rate that is looked at: 10^13 spikes per bin."""


@dataclass(frozen=True)
class TrialCourses:
    """Courses over a whole trial, and how far trials differ along each.

    Attributes
    ----------
    offset
        Log spikes per bin of a trial whose factors are 0. Shape ``(time, unit)``.
    loadings
        Change of that with each factor. Shape ``(factor, time, unit)``.
    deviation
        Standard deviation of each factor over trials. Shape ``(factor,)``.
    mean, basis
        The same courses in latent variables, without units. Shapes ``(time, latent)`` and
        ``(factor, time, latent)``.
    """

    offset: FloatArray
    loadings: FloatArray
    deviation: FloatArray
    mean: FloatArray
    basis: FloatArray

    def rates(self, factors: FloatArray) -> FloatArray:
        """Return the spikes per bin of trials of these factors, at least `RATE_FLOOR`.

        Parameters
        ----------
        factors
            Shape ``(trial, factor)``.

        Returns
        -------
        rates
            Shape ``(trial, time, unit)``.
        """
        log_rates = self.offset + np.tensordot(factors, self.loadings, axes=1)
        return np.maximum(np.exp(np.minimum(log_rates, _HIGHEST)), RATE_FLOOR)

    def latents(self, factors: FloatArray) -> FloatArray:
        """Return the latent variables of trials of these factors. Shape ``(trial, time, latent)``."""
        return self.mean + np.tensordot(factors, self.basis, axes=1)

    def posterior(self, counts: ArrayLike) -> Posterior:
        """Return the factors of trials, given the counts of their first bins and units.

        Parameters
        ----------
        counts
            Spikes per bin, NaN where not recorded. Shape ``(trial, bin, unit)``, of at most as many bins and
            units as the courses have.
        """
        seen = np.asarray(counts, dtype=np.float64)
        _, n_bins, n_units = seen.shape
        return factor_posterior(
            seen.reshape(len(seen), -1),
            offset=self.offset[:n_bins, :n_units].ravel(),
            loadings=self.loadings[:, :n_bins, :n_units].reshape(len(self.deviation), -1),
            deviation=self.deviation,
        )


@dataclass(frozen=True)
class Posterior:
    """Factors of trials given their counts: a Gaussian at the mode.

    Attributes
    ----------
    mean
        Mode. Shape ``(trial, factor)``.
    covariance
        Inverse of the curvature there. Shape ``(trial, factor, factor)``.
    """

    mean: FloatArray
    covariance: FloatArray


def factor_posterior(
    counts: ArrayLike, *, offset: FloatArray, loadings: FloatArray, deviation: FloatArray
) -> Posterior:
    """Find mode and curvature of ``p(a | n)``, with ``n ~ Poisson(exp(offset + a·loadings))``.

    The logarithm of the posterior is concave: Newton's method with halved steps ends at its one mode.

    Parameters
    ----------
    counts
        NaN where not known. Shape ``(trial, count)``.
    offset
        Shape ``(count,)``.
    loadings
        Shape ``(factor, count)``.
    deviation
        Of the prior, above 0. Shape ``(factor,)``.

    References
    ----------
    Macke, Buesing and Sahani 2015, "Estimating state and parameters in state space models of spike trains",
    section 4.2 (Laplace's approximation of a Poisson likelihood with a Gaussian prior).

    Examples
    --------
    >>> found = factor_posterior([[2.0]], offset=np.zeros(1), loadings=np.ones((1, 1)), deviation=np.ones(1))
    >>> a = found.mean[0, 0]  # where 2 − exp(a) − a = 0
    >>> bool(abs(2 - np.exp(a) - a) < 1e-9), bool(abs(found.covariance[0, 0, 0] * (np.exp(a) + 1) - 1) < 1e-9)
    (True, True)
    """
    n = np.asarray(counts, dtype=np.float64)
    together = max(1, _BLOCK // max(1, loadings.size))
    parts = [
        _modes(n[lo : lo + together], offset, loadings, 1.0 / np.square(deviation))
        for lo in range(0, len(n), together)
    ]
    mean, covariance = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Posterior(mean, covariance)


def _modes(
    counts: FloatArray, offset: FloatArray, loadings: FloatArray, precision: FloatArray
) -> tuple[FloatArray, FloatArray]:
    known = np.isfinite(counts)
    filled = np.where(known, counts, 0.0)
    enough = 2.0 * _GAIN * np.maximum(known.sum(axis=1), 1)

    def loss(a: FloatArray, eta: FloatArray) -> FloatArray:
        poisson = np.where(known, np.exp(eta), 0.0) - filled * eta
        total: FloatArray = poisson.sum(axis=1) + 0.5 * np.square(a) @ precision
        return total

    def curvature(eta: FloatArray) -> FloatArray:
        rates = np.where(known, np.exp(eta), 0.0)
        found: FloatArray = (loadings * rates[:, None]) @ loadings.T + np.diag(precision)
        return found

    a: FloatArray = np.zeros((len(counts), len(loadings)))
    eta: FloatArray = np.broadcast_to(offset, counts.shape)
    value = loss(a, eta)
    for _ in range(_STEPS):
        slope = (np.where(known, np.exp(eta), 0.0) - filled) @ loadings.T + a * precision
        step = -np.linalg.solve(curvature(eta), slope[..., None])[..., 0]
        promised = -(step * slope).sum(axis=1)
        if (promised <= enough).all():
            break
        along = step @ loadings
        length = np.ones(len(a))
        for _ in range(_HALVINGS):
            moved = a + length[:, None] * step
            at = np.minimum(eta + length[:, None] * along, _HIGHEST)
            there = loss(moved, at)
            bad = ~(there <= value - 1e-4 * length * promised + 1e-12 * np.abs(value))
            if not bad.any():
                break
            length[bad] *= 0.5
        a, eta, value = moved, offset + moved @ loadings, there
    return a, np.asarray(np.linalg.inv(curvature(eta)), dtype=np.float64)


def fit_courses(
    counts: FloatArray, *, sigma_bins: float, latents: int, factors: Sequence[int], penalty: float
) -> list[TrialCourses]:
    """Learn courses from whole training trials.

    Square roots of the counts are smoothed within the trial and brought to a few latent variables by factor
    analysis. The principal components of whole trials of these, over bins and latent variables together, are
    the courses. A Poisson regression from the courses of the training trials to their counts, of the same
    bin, gives loadings and offset.

    Parameters
    ----------
    counts
        Spikes per bin, NaN where not recorded. Shape ``(trial, time, unit)``.
    sigma_bins
        Standard deviation of the Gaussian, bins.
    latents
        Latent variables of a bin; at most one less than there are units.
    factors
        Numbers of courses; of each at most one less than there are trials.
    penalty
        Of the Poisson regression.

    Returns
    -------
    courses
        Of each number of them, with deviations above 0.

    Raises
    ------
    DataError
        If no two trials differ.
    """
    n_trials, _, n_units = counts.shape
    if np.array_equal(counts, np.broadcast_to(counts[:1], counts.shape), equal_nan=True):
        raise DataError(
            f"trial factors: {n_trials} training trials, no two of which differ; expected at least two "
            "different ones. Check the spikes, or leave the session out."
        )
    z = _latents(counts, sigma_bins=sigma_bins, latents=max(1, min(latents, n_units - 1)))
    mean = z.mean(axis=0)
    apart = (z - mean).reshape(n_trials, -1)
    _, singular, right = np.linalg.svd(apart, full_matrices=False)
    most = max(1, int((singular > _CONSTANT * singular[0]).sum()))
    return [
        _courses_of(counts, mean, right[: min(number, most)], singular, apart, penalty=penalty)
        for number in factors
    ]


def _latents(counts: FloatArray, *, sigma_bins: float, latents: int) -> FloatArray:
    """Return latent variables of every bin, of deviation 1. Shape ``(trial, time, latent)``."""
    n_trials, n_bins, n_units = counts.shape
    smoothed = smooth_trials(np.sqrt(counts), sigma_bins=sigma_bins)
    known = np.isfinite(smoothed)
    mean = np.where(known, smoothed, 0.0).sum(axis=(0, 1)) / np.maximum(known.sum(axis=(0, 1)), 1)
    rows = np.where(known, smoothed - mean, 0.0).reshape(-1, n_units)
    found = fit_factors(rows, latents).transform(rows).reshape(n_trials, n_bins, latents)
    return found / feature_scale(found)


def _courses_of(
    counts: FloatArray,
    mean: FloatArray,
    components: FloatArray,
    singular: FloatArray,
    apart: FloatArray,
    *,
    penalty: float,
) -> TrialCourses:
    n_bins, latents = mean.shape
    kept = len(components)
    basis = components.reshape(kept, n_bins, latents)
    courses = mean + np.tensordot(apart @ components.T, basis, axes=1)
    fit = fit_poisson(
        courses.reshape(-1, latents),
        counts.reshape(-1, counts.shape[2]),
        penalty=penalty,
        tolerance=_ROUGH,
    )
    # A unit without a spike has an intercept of -inf: a rate of nearly nothing says the same.
    intercept = np.maximum(fit.intercept, -_HIGHEST)
    return TrialCourses(
        offset=mean @ fit.coefficients + intercept,
        loadings=basis @ fit.coefficients,
        deviation=singular[:kept] / np.sqrt(len(apart)),
        mean=mean,
        basis=basis,
    )
