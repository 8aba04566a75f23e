"""Correlation of decoded with recorded movement: of its velocity, and of the way the hand has gone.

The decoder is that of `velocity_r2`. A correlation forgives scale and offset, an R² does not: both together
tell a decoder that shrinks from one that is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.decoding.measured import RECORDED_RATES
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Found, Metric
from nwb_latents.pipeline.evaluation.metrics.velocity_r2 import NO_VELOCITY
from nwb_latents.schemas.decoding import DEFAULT_DECODER

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CorrelationSums:
    """Pearson's correlation of each axis, and their mean, as a `Statistic`, from sums over each trial.

    Attributes
    ----------
    number
        Bins known. Shape ``(trial,)``.
    sums
        Of x, y, x², y² and xy. Shape ``(5, trial, axis)``.
    """

    number: FloatArray
    sums: FloatArray

    @classmethod
    def of(cls, true: ArrayLike, predicted: ArrayLike) -> CorrelationSums:
        """Sum over each trial.

        Parameters
        ----------
        true
            NaN on any axis leaves the bin out. Shape ``(trial, time, axis)``.
        predicted
            Finite where `true` is. Shape of `true`.

        Examples
        --------
        >>> true = np.array([[[0.0], [1.0]], [[2.0], [5.0]]])
        >>> CorrelationSums.of(true, 3 * true + 1).value(np.ones((1, 2))).round(9).tolist()
        [1.0]
        """
        x, y = (np.asarray(values, dtype=np.float64) for values in (true, predicted))
        known = np.asarray(np.all(np.isfinite(x), axis=-1, keepdims=True))
        number = known[..., 0].sum(axis=1).astype(np.float64)
        total = max(number.sum(), 1.0)
        # Around the mean of all, which changes no correlation and keeps the digits of the squares.
        x, y = (np.where(known, each, 0.0) for each in (x, y))
        x, y = (np.where(known, each - each.sum(axis=(0, 1)) / total, 0.0) for each in (x, y))
        sums = np.stack([part.sum(axis=1) for part in (x, y, x * x, y * y, x * y)])
        return cls(number, sums)

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.number)

    def per_axis(self, weights: FloatArray) -> FloatArray:
        """Return the correlation of each axis. Shape ``(resample, axis)``; NaN where one does not vary."""
        n = (weights @ self.number)[:, None]
        x, y, xx, yy, xy = (weights @ part for part in self.sums)
        within = (xx - x * x / n) * (yy - y * y / n)
        found = np.full(xy.shape, np.nan)
        np.divide(xy - x * y / n, np.sqrt(np.maximum(within, 0.0)), out=found, where=within > 0)
        return found

    def value(self, weights: FloatArray) -> FloatArray:
        """Return the mean over axes. Shape ``(resample,)``."""
        mean: FloatArray = self.per_axis(weights).mean(axis=1)
        return mean


def _decoded(session: ScoredSession, made: SourceOutput) -> tuple[FloatArray, FloatArray, dict[str, object]]:
    decoder = session.velocity_decoder
    if decoder is None or session.velocity is None:
        raise CannotBeHadError(NO_VELOCITY)
    if made.rates_hz is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    described = session.describe_decoder(decoder)
    settings: dict[str, object] = {**described.settings, **described.chosen}
    return session.velocity[1], decoder.predict(made.rates_hz), settings


def _of_velocity(session: ScoredSession, made: SourceOutput) -> Found:
    true, predicted, settings = _decoded(session, made)
    return _found(true, predicted, settings)


def _of_position(session: ScoredSession, made: SourceOutput) -> Found:
    true, predicted, settings = _decoded(session, made)
    # A bin after one that was not recorded has no known place: NaN stays NaN to the end of its trial.
    way, decoded = (np.cumsum(velocity, axis=1) * session.task.bin_size_s for velocity in (true, predicted))
    return _found(way, decoded, settings)


def _found(true: FloatArray, predicted: FloatArray, settings: dict[str, object]) -> Found:
    sums = CorrelationSums.of(true, predicted)
    if not sums.number.any():
        raise CannotBeHadError("no scored bin has a recorded hand velocity")
    each = (float(value) for value in sums.per_axis(np.ones((1, sums.n_trials)))[0])
    return Found(
        statistic=sums,
        per_axis=tuple(None if np.isnan(value) else value for value in each),
        n_samples=int(sums.number.sum()),
        decoder_settings=settings,
    )


VELOCITY = Metric(
    name="velocity_correlation",
    title="velocity, correlation",
    meaning="Pearson's correlation of decoded with recorded hand velocity, mean over the axes; decoder and "
    "rates are those of velocity_r2.",
    source="Wu et al. 2006, 'Bayesian population decoding of motor cortical activity using a Kalman filter'",
    definition="pearson",
    needs=("velocity",),
    decoder=DEFAULT_DECODER,
    fitted_on=RECORDED_RATES,
    has_lag=True,
    order=32,
    compute={"reconstruction": _of_velocity},
)

POSITION = replace(
    VELOCITY,
    name="position_correlation",
    title="position, correlation",
    meaning="Pearson's correlation of the way gone since the first bin of the trial, mean over the axes: "
    "decoded and recorded velocity, each summed up over time.",
    order=33,
    compute={"reconstruction": _of_position},
)
