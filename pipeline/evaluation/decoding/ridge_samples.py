"""Samples condensed to what a linear fit, or its score, needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

CONSTANT_BELOW = 1e-12
"""A feature whose deviation is smaller than this share of its largest value is constant but for rounding."""

PIECE = 2048
"""Samples in a piece of a decomposition: about 3 MiB at 200 features."""


@dataclass(frozen=True)
class Samples:
    """Samples as far as a linear fit or its score needs to know them.

    Features and targets side by side, minus `origin` and `mean`, are ``Q·triangle``. The triangle of a QR has
    the singular values of the features at a fraction of the cost of their SVD, and without the squared
    condition number of the normal equations; those of parts of the samples make up that of the whole.
    """

    number: int
    n_features: int
    origin: FloatArray
    mean: FloatArray
    triangle: FloatArray
    largest: FloatArray

    @classmethod
    def of(cls, features: FloatArray, targets: FloatArray, *, origin: FloatArray | None = None) -> Samples:
        """Condense; samples that are to be joined need the same `origin`, near all of them."""
        values = np.concatenate([features, targets], axis=1)
        largest = np.abs(values).max(axis=0)
        origin = values.mean(axis=0) if origin is None else origin
        values -= origin
        mean = values.mean(axis=0)
        # The rounded mean of equal values is not that value: without this a constant target would vary.
        varies = values.max(axis=0) > values.min(axis=0)
        return cls(
            number=len(values),
            n_features=features.shape[1],
            origin=origin,
            mean=mean,
            triangle=_triangle(np.where(varies, values - mean, 0.0)),
            largest=largest,
        )

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Return what all parts are together."""
        number = np.array([part.number for part in parts], dtype=np.float64)[:, None]
        means = np.stack([part.mean for part in parts])
        mean = (number * means).sum(axis=0) / number.sum()
        between = np.sqrt(number) * (means - mean)
        return cls(
            number=int(number.sum()),
            n_features=parts[0].n_features,
            origin=parts[0].origin,
            mean=mean,
            triangle=_triangle(np.concatenate([*(part.triangle for part in parts), between])),
            largest=np.max([part.largest for part in parts], axis=0),
        )

    @property
    def features(self) -> FloatArray:
        """The triangle's columns of the features."""
        return self.triangle[:, : self.n_features]

    @property
    def targets(self) -> FloatArray:
        """The triangle's columns of the targets."""
        return self.triangle[:, self.n_features :]

    def fit(self, alphas: FloatArray, *, standardise: bool) -> FloatArray:
        """Return the coefficients of every penalty. Shape ``(n_alphas, n_features, n_outputs)``."""
        deviation = np.sqrt(np.square(self.features).sum(axis=0) / self.number)
        constant = deviation <= CONSTANT_BELOW * self.largest[: self.n_features]
        scale = np.where(constant, 1.0, deviation) if standardise else np.ones_like(deviation)
        left, singular, right = np.linalg.svd(
            np.where(constant, 0.0, self.features / scale), full_matrices=False
        )
        projected = singular[:, None] * (left.T @ self.targets)
        shrunk = projected / (np.square(singular)[:, None] + alphas[:, None, None])
        solved: FloatArray = right.T @ shrunk / scale[:, None]
        return solved

    def r2(self, coefficients: FloatArray, mean: FloatArray) -> FloatArray:
        """Return the R² of a fit on other samples, whose mean was `mean`. Shape ``(n_alphas, n_outputs)``.

        NaN for an output that does not vary here.
        """
        apart = self.mean - mean
        offset = apart[self.n_features :] - apart[: self.n_features] @ coefficients
        within = np.square(self.targets - self.features @ coefficients).sum(axis=1)
        total = np.broadcast_to(np.square(self.targets).sum(axis=0), within.shape)
        ratio = np.full(within.shape, np.nan)
        np.divide(within + self.number * np.square(offset), total, out=ratio, where=total > 0)
        return 1.0 - ratio


def _triangle(values: FloatArray) -> FloatArray:
    """Triangle of the QR of a tall matrix, by way of those of pieces that fit into the cache."""
    n_whole = len(values) // PIECE
    if n_whole > 1 and values.shape[1] < PIECE:
        pieces = values[: n_whole * PIECE].reshape(n_whole, PIECE, -1)
        of_pieces = np.asarray(np.linalg.qr(pieces, mode="r")).reshape(-1, values.shape[1])
        values = np.concatenate([of_pieces, values[n_whole * PIECE :]])
    return np.asarray(np.linalg.qr(values, mode="r"), dtype=np.float64)
