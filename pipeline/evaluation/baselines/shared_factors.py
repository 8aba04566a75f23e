"""Factors of whole trials that sessions share: what other sessions tell of a new one with few trials.

How the hand moves in a trial is said by a few numbers, its factors, and many trials of other sessions say
which. The logarithm of the rate of unit ``u`` in bin ``t`` is linear in them,
``offset[t, u] + Σ_q a[q] · loadings[q, t, u]``, and loadings of all units of all sessions are made of a few
courses over the trial: ``loadings[q, t, u] = Σ_j courses[q, t, j] · weights[j, u]``. Courses are learnt from
the other sessions; of a new one only the weights of its units are to be found, by a Poisson regression on the
few trials whose movement is known. The factors of any trial then have a posterior given the counts of its
first bins, under the prior that the other sessions' trials are, and the movement is read off them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.poisson_regression import fit_poisson
from nwb_latents.pipeline.evaluation.baselines.trial_courses import TrialCourses
from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import Forecasts
from nwb_latents.pipeline.signals.smoothing import smooth_trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import ForecastProblem
    from nwb_latents.schemas.baselines import BaselineSettings

    FloatArray = NDArray[np.float64]

FACTORS, COURSES, PENALTIES = (4, 8), (6, 12), (0.3, 1.0, 3.0)
"""Numbers of factors and courses, and penalties of the weights, that are tried."""

_MIDDLE = (4, 12, 1.0)
"""What is taken where there is no other session, or none with trials to spare, to try them on."""

_RIDGE = 3.0
"""Penalty of the loadings of other sessions, in trials: factors have a deviation of 1."""

_ROUGH = 1e-9
_LOWEST = 30.0


@dataclass(frozen=True, eq=False)
class KnownSession:
    """Trials of a session whose activity and movement are known.

    Attributes
    ----------
    counts
        Spikes per bin, NaN where not recorded. Shape ``(trial, time, unit)``.
    velocity
        At the lag of the forecast, cm/s, finite. Shape ``(trial, time, axis)``.
    """

    counts: FloatArray
    velocity: FloatArray

    @classmethod
    def of(cls, counts: FloatArray, velocity: FloatArray) -> KnownSession:
        """Return the trials whose movement is known throughout."""
        whole = np.isfinite(velocity).all(axis=(1, 2))
        return cls(counts[whole], velocity[whole])


@dataclass(frozen=True, eq=False)
class SharedFactors:
    """Movements and courses of activity that go with factors, whatever the session.

    Attributes
    ----------
    velocity
        Mean movement, cm/s. Shape ``(time, axis)``.
    movements
        Change of that with each factor, whose deviation over trials is 1. Shape ``(factor, time, axis)``.
    courses
        Courses of activity, without units: of the offset first, then of each factor. Shape
        ``(1 + factor, time, course)``.
    """

    velocity: FloatArray
    movements: FloatArray
    courses: FloatArray

    def factors(self, velocity: FloatArray) -> FloatArray:
        """Return the factors of movements, ``(trial, time, axis)``. Shape ``(trial, factor)``."""
        flat = self.movements.reshape(len(self.movements), -1)
        apart = (velocity - self.velocity).reshape(len(velocity), -1)
        found: FloatArray = apart @ flat.T / np.square(flat).sum(axis=1)
        return found

    def moved(self, factors: FloatArray) -> FloatArray:
        """Return the movements of factors, ``(trial, factor)``. Shape ``(trial, time, axis)``."""
        return self.velocity + np.tensordot(factors, self.movements, axes=1)

    def of_session(self, session: KnownSession, *, penalty: float) -> TrialCourses:
        """Find how the units of a session follow the courses, from trials whose movement is known.

        Parameters
        ----------
        session
            A few trials.
        penalty
            Of the weights.
        """
        factors = self.factors(session.velocity)
        with_offset = np.concatenate([np.ones((len(factors), 1)), factors], axis=1)
        features = np.tensordot(with_offset, self.courses, axes=1)
        fit = fit_poisson(
            features.reshape(-1, features.shape[2]),
            session.counts.reshape(-1, session.counts.shape[2]),
            penalty=penalty,
            tolerance=_ROUGH,
        )
        loadings = self.courses @ fit.coefficients
        return TrialCourses(
            # A unit without a spike has an intercept of -inf: a rate of nearly nothing says the same.
            offset=loadings[0] + np.maximum(fit.intercept, -_LOWEST),
            loadings=loadings[1:],
            deviation=np.ones(len(self.movements)),
            mean=self.courses[0],
            basis=self.courses[1:],
        )


def learn_shared_factors(
    sessions: Sequence[KnownSession], *, factors: int, courses: int, sigma_bins: float
) -> SharedFactors:
    """Learn from sessions what they share.

    The principal components of the movements of all trials are the factors. In each session the square roots
    of the counts, smoothed within the trial and brought to deviation 1, are regressed on them bin by bin; the
    principal components of the loadings of all units of all sessions are the courses.

    Parameters
    ----------
    sessions
        At least one, of trials of the same bins.
    factors, courses
        How many, at most.
    sigma_bins
        Standard deviation of the Gaussian, bins.

    Raises
    ------
    DataError
        If there are fewer than two trials, or all trials move alike.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a = rng.normal(size=(30, 1, 1))
    >>> session = KnownSession(rng.poisson(np.exp(a) * np.ones((30, 5, 4))) * 1.0, a * np.ones((30, 5, 2)))
    >>> learn_shared_factors([session], factors=3, courses=2, sigma_bins=1.0).movements.shape
    (1, 5, 2)
    """
    n_trials = sum(len(each.velocity) for each in sessions)
    moved = np.concatenate([each.velocity for each in sessions]) if n_trials else np.zeros((1, 1, 1))
    mean = moved.mean(axis=0)
    apart = (moved - mean).reshape(len(moved), -1)
    if not np.abs(apart).max() > 0:
        raise DataError(
            f"shared factors: {n_trials} trials of {len(sessions)} other sessions, no two of which move "
            "differently; expected at least two that do. Align a run of sessions with a recorded velocity."
        )
    _, singular, right = np.linalg.svd(apart, full_matrices=False)
    kept = min(factors, int((singular > 1e-9 * singular[0]).sum()))
    movements = right[:kept] * (singular[:kept, None] / np.sqrt(len(apart)))
    found = SharedFactors(mean, movements.reshape(kept, *mean.shape), np.zeros((1 + kept, len(mean), 1)))
    loadings = [_loadings(each, found, sigma_bins) for each in sessions]
    flat = np.concatenate(loadings, axis=2).reshape((1 + kept) * len(mean), -1)
    left, strength, _ = np.linalg.svd(flat, full_matrices=False)
    made = left[:, :courses] * strength[:courses]
    made /= max(float(np.sqrt(np.square(made).mean())), np.finfo(np.float64).tiny)
    return SharedFactors(mean, found.movements, made.reshape(1 + kept, len(mean), -1))


def _loadings(session: KnownSession, found: SharedFactors, sigma_bins: float) -> FloatArray:
    """Return how each unit follows the factors bin by bin. Shape ``(1 + factor, time, unit)``."""
    smoothed = smooth_trials(np.sqrt(session.counts), sigma_bins=sigma_bins)
    mean, deviation = np.nanmean(smoothed, axis=(0, 1)), np.nanstd(smoothed, axis=(0, 1))
    scaled = np.nan_to_num((smoothed - mean) / np.where(deviation > 0, deviation, 1.0))
    factors = found.factors(session.velocity)
    features = np.concatenate([np.ones((len(factors), 1)), factors], axis=1)
    penalty = _RIDGE * np.diag([0.0, *np.ones(factors.shape[1])])
    solved = np.linalg.solve(features.T @ features + penalty, features.T @ scaled.reshape(len(scaled), -1))
    return np.asarray(solved.reshape(-1, *scaled.shape[1:]), dtype=np.float64)


def forecast_by_shared_factors(
    problem: ForecastProblem, others: Sequence[KnownSession], settings: BaselineSettings
) -> Forecasts:
    """Forecast a session of few trials with what other sessions share.

    Numbers of factors and courses, and the penalty, are those that forecast trials of each other session best
    from as many of its trials, with what the rest share: no trial of the new session has a part in the
    choice.

    Parameters
    ----------
    problem
        The session; its training trials are the few.
    others
        Other sessions, of trials of the same bins and lag; those without a trial whose movement is known
        tell nothing and are left out.
    settings
        Width of the Gaussian, seed of the choice.

    Returns
    -------
    forecasts
        Velocity as the factors say, without a read-out of its own; rates as the units follow them.

    Raises
    ------
    DataError
        If no movement of the session or of others is known.
    """
    known = problem.train_velocity
    if known is None:
        raise DataError(f"{problem.session}: shared factors take a recorded hand velocity, and there is none")
    few = KnownSession.of(problem.train_counts, known)
    if not len(few.counts):
        raise DataError(
            f"{problem.session}: no training trial has a recorded hand velocity at every bin, and shared "
            "factors are found in such. Give it other trials, or a window within the recording."
        )
    moving = [each for each in others if len(each.velocity)]
    sigma_bins = settings.course_sigma_ms / 1e3 / problem.bin_size_s
    chosen = problem.settings
    factors, courses, penalty = _choice(
        moving, len(few.counts), seen=chosen.seen_bins, ahead=chosen.ahead, sigma_bins=sigma_bins,
        seed=settings.seed,
    )  # fmt: skip
    shared = learn_shared_factors(moving, factors=factors, courses=courses, sigma_bins=sigma_bins)
    fitted = shared.of_session(few, penalty=penalty)
    new = fitted.posterior(problem.counts).mean
    details = {
        "factors": len(shared.movements), "courses": shared.courses.shape[2], "penalty": penalty,
        "other_sessions": len(moving),
    }  # fmt: skip
    return Forecasts(
        rates=fitted.rates(new)[:, chosen.ahead] / problem.bin_size_s,
        velocity=shared.moved(new)[:, chosen.ahead],
        details={"rates": details, "velocity": details},
    )


def _choice(
    others: Sequence[KnownSession], n_trials: int, *, seen: int, ahead: slice, sigma_bins: float, seed: int
) -> tuple[int, int, float]:
    """Return number of factors, of courses, and penalty, by their errors in the other sessions."""
    errors: dict[tuple[int, int, float], float] = {}
    for left_out, session in enumerate(others):
        rows = np.random.default_rng([seed, left_out]).permutation(len(session.counts))
        few, rest = (
            KnownSession(session.counts[part], session.velocity[part])
            for part in (rows[:n_trials], rows[n_trials:])
        )
        others_still = [each for k, each in enumerate(others) if k != left_out]
        if not others_still or not len(rest.counts):
            continue
        size = float(np.square(rest.velocity[:, ahead] - rest.velocity[:, ahead].mean(axis=0)).sum())
        for factors, courses in product(FACTORS, COURSES):
            shared = learn_shared_factors(
                others_still, factors=factors, courses=courses, sigma_bins=sigma_bins
            )
            for penalty in PENALTIES:
                fitted = shared.of_session(few, penalty=penalty)
                made = shared.moved(fitted.posterior(rest.counts[:, :seen]).mean)[:, ahead]
                error = float(np.square(made - rest.velocity[:, ahead]).sum())
                choice = factors, courses, penalty
                errors[choice] = errors.get(choice, 0.0) + error / max(size, np.finfo(np.float64).tiny)
    return min(errors, key=lambda choice: errors[choice], default=_MIDDLE)
