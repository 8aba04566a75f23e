"""Velocity decoding as the Neural Latents Benchmark does it, for numbers that can be compared with its own.

It differs from `pipeline.evaluation.decoding.velocity` in what costs comparability, not in what is decoded:
features are not scaled, the penalties are those of the benchmark, folds are stretches of samples in the order
of the trials instead of trials drawn at random, and trials of different kinds may have decoders of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.ridge import Ridge, fit_ridge_cv
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums
from nwb_latents.pipeline.evaluation.metrics.resampling import MeanOf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]

NLB_ALPHAS = tuple(float(alpha) for alpha in np.logspace(-4, 0, 9))
"""Penalties the benchmark chooses from."""

NLB_FOLDS = 5
"""Folds of its cross-validation."""


@dataclass(frozen=True)
class NlbDecoder:
    """Ridge decoders of hand velocity, one for each group of trials.

    Attributes
    ----------
    ridges
        Group → decoder; the group is ``""`` where all trials share one.
    """

    ridges: Mapping[str, Ridge]

    def predict(self, rates: ArrayLike, *, groups: Sequence[str] | None = None) -> FloatArray:
        """Return the velocity decoded from each bin.

        Parameters
        ----------
        rates
            Shape ``(trial, time, unit)``, unit of the rates the decoder was fitted on.
        groups
            Group of each trial; none if the decoder was fitted without.

        Returns
        -------
        velocity
            Shape ``(trial, time, axis)``; NaN in trials of a group without a decoder.

        Raises
        ------
        DataError
            If the shapes do not fit.
        """
        x = np.asarray(rates, dtype=np.float64)
        some = next(iter(self.ridges.values()))
        if x.ndim != 3 or x.shape[2] != len(some.feature_mean):
            raise DataError(
                f"rates to decode have shape {x.shape}; expected (trial, time, unit) with "
                f"{len(some.feature_mean)} units"
            )
        velocity = np.full((*x.shape[:2], len(some.target_mean)), np.nan)
        for name, of_group in _members(groups, n_trials=len(x)).items():
            if name in self.ridges:
                velocity[of_group] = self.ridges[name].predict(x[of_group])
        return velocity

    def score(self, rates: ArrayLike, velocity: ArrayLike, *, groups: Sequence[str] | None = None) -> MeanOf:
        """Return the R² of decoded velocity as a `pipeline.evaluation.metrics.resampling.Statistic`.

        Parameters
        ----------
        rates
            Of the trials to score, as for `predict`; finite where the velocity is known.
        velocity
            Recorded velocity that goes with each bin, NaN where not known: such bins are not scored.
            Shape ``(trial, time, axis)``.
        groups
            As for `predict`.

        Returns
        -------
        r2
            Mean over groups of their ``r2_uniform``.

        Raises
        ------
        DataError
            If shapes do not fit, a group has no decoder or no bin to score, or a rate is not finite.
        """
        y = np.asarray(velocity, dtype=np.float64)
        members = _members(groups, n_trials=len(y))
        if sorted(members) != sorted(self.ridges):
            raise DataError(
                f"velocity R²: trials to score are of the groups {sorted(members)}, decoders were fitted for "
                f"{sorted(self.ridges)}; both need trials of every group"
            )
        predicted = self.predict(rates, groups=groups)
        _, known = _known(rates, y)
        parts = []
        for name, of_group in members.items():
            scored = known & of_group[:, None]
            if not scored.any():
                raise DataError(f"velocity R²: no bin of {_called(name)} to score has a recorded velocity")
            parts.append(R2Sums.of(y, predicted, definition="r2_uniform", mask=scored))
        return MeanOf(tuple(parts))


def fit_nlb_decoder(
    rates: ArrayLike,
    velocity: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    alphas: Sequence[float] = NLB_ALPHAS,
    folds: int = NLB_FOLDS,
) -> NlbDecoder:
    """Fit ridge regression from rates to velocity, as the benchmark does.

    Bins of all trials of a group are put end to end, those without velocity left out, and cut into `folds`
    stretches for the cross-validation.

    Parameters
    ----------
    rates
        Of the training trials, held-in and held-out units; expected spikes per bin. The unit matters: the
        features are not scaled. Shape ``(trial, time, unit)``, finite where the velocity is known.
    velocity
        Velocity that goes with each bin, the lag applied already; NaN on any axis leaves the bin out.
        Shape ``(trial, time, axis)``.
    groups
        Group of each trial, each of which gets its own decoder, as active and passive movements in the
        benchmark's area2_bump. None: one decoder.
    alphas
        Penalties to choose from.
    folds
        Folds of the cross-validation.

    Returns
    -------
    decoder
        Its penalties are those scikit-learn's ``GridSearchCV(Ridge(), …)`` chooses. Of penalties with equal
        scores it is the larger one; there it would be the smaller.

    Raises
    ------
    DataError
        If shapes do not fit, a group has too few bins with a velocity, or a rate is not finite there.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21", and its evaluation code (``nlb_tools``).

    Examples
    --------
    >>> rates = np.random.default_rng(0).gamma(2.0, 0.1, size=(20, 30, 4))
    >>> decoder = fit_nlb_decoder(rates, rates[..., :2] - rates[..., 2:])
    >>> decoder.ridges[""].alpha, decoder.predict(rates).shape
    (0.0001, (20, 30, 2))
    """
    y = np.asarray(velocity, dtype=np.float64)
    x, known = _known(rates, y)
    ridges = {}
    for name, of_group in _members(groups, n_trials=len(x)).items():
        kept = known & of_group[:, None]
        if int(kept.sum()) < folds:
            raise DataError(
                f"velocity decoding: {int(kept.sum())} bins of {_called(name)} to learn from have a recorded "
                f"velocity; expected at least {folds}. Check the velocity of the recording"
            )
        ridges[name] = fit_ridge_cv(
            x[kept], y[kept], groups=None, alphas=alphas, folds=folds, standardise=False
        )
    return NlbDecoder(ridges)


def nlb_velocity_r2(
    rates: ArrayLike,
    velocity: ArrayLike,
    *,
    train_rates: ArrayLike,
    train_velocity: ArrayLike,
    groups: Sequence[str] | None = None,
    train_groups: Sequence[str] | None = None,
) -> float:
    """Return the benchmark's velocity R²: fitted on training trials, scored on others.

    Parameters
    ----------
    rates, velocity, groups
        Of the trials to score (`NlbDecoder.score`).
    train_rates, train_velocity, train_groups
        Of the training trials (`fit_nlb_decoder`).

    Returns
    -------
    value
        ``r2_uniform``, mean over groups; NaN where an axis does not vary.

    Raises
    ------
    DataError
        As for `fit_nlb_decoder` and `NlbDecoder.score`.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21".

    Examples
    --------
    >>> rates = np.random.default_rng(0).gamma(2.0, 0.1, size=(20, 30, 4))
    >>> velocity = 40 * rates[..., :2]
    >>> found = nlb_velocity_r2(
    ...     rates[15:], velocity[15:], train_rates=rates[:15], train_velocity=velocity[:15]
    ... )
    >>> round(found, 6)
    1.0
    """
    decoder = fit_nlb_decoder(train_rates, train_velocity, groups=train_groups)
    score = decoder.score(rates, velocity, groups=groups)
    return float(score.value(np.ones((1, score.n_trials)))[0])


def _known(rates: ArrayLike, velocity: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return the rates, and which bins have a velocity. Shape ``(trial, time)``."""
    x = np.asarray(rates, dtype=np.float64)
    if x.ndim != 3 or velocity.ndim != 3 or x.shape[:2] != velocity.shape[:2]:
        raise DataError(
            f"velocity decoding: rates have shape {x.shape}, velocity {velocity.shape}; expected (trial, "
            "time, unit) and (trial, time, axis) with the same trials and bins"
        )
    known: BoolArray = np.all(np.isfinite(velocity), axis=-1)
    bad = int((known & ~np.isfinite(x).all(axis=-1)).sum())
    if bad:
        raise DataError(
            f"velocity decoding: rates are not finite in {bad} of {int(known.sum())} bins; a model that "
            "gives NaN has to be trained again"
        )
    return x, known


def _members(groups: Sequence[str] | None, *, n_trials: int) -> dict[str, BoolArray]:
    """Group → which trials are of it. Shapes ``(trial,)``."""
    names = [""] * n_trials if groups is None else [str(name) for name in groups]
    if len(names) != n_trials:
        raise DataError(f"velocity decoding: {len(names)} groups given for {n_trials} trials")
    each = np.array(names, dtype=object)
    return {name: np.asarray(each == name, dtype=bool) for name in sorted(set(names))}


def _called(group: str) -> str:
    return f"the trials of group {group!r}" if group else "the trials"
