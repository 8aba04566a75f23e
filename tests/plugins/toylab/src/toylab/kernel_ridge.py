"""Kernel ridge regression from rates to hand velocity, with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.kernel_ridge import KernelRidge

from nwb_latents.pipeline.evaluation.decoding.decoder import Decoder
from nwb_latents.pipeline.evaluation.decoding.velocity import training_samples
from nwb_latents.schemas.base import Frozen


class KernelRidgeSettings(Frozen):
    """Kernel and penalty; nothing is chosen on the data."""

    alpha: float = Field(1.0, gt=0, description="Penalty.")
    gamma: float = Field(1e-3, gt=0, description="Inverse squared width of the Gaussian kernel, 1/Hz².")


@dataclass(frozen=True)
class FittedKernelRidge:
    """What was fitted on training trials."""

    regression: Any
    mean: NDArray[np.float64]
    settings: KernelRidgeSettings
    training_r2: None = None

    @property
    def n_features(self) -> int:
        return int(self.regression.X_fit_.shape[1])

    @property
    def n_outputs(self) -> int:
        return len(self.mean)

    @property
    def chosen(self) -> Mapping[str, object]:
        return {"n_support": len(self.regression.X_fit_)}

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        x = np.asarray(features, dtype=np.float64)
        flat = x.reshape(-1, x.shape[-1])
        known = np.isfinite(flat).all(axis=1)
        out = np.full((len(flat), self.n_outputs), np.nan)
        if known.any():
            out[known] = self.regression.predict(flat[known]) + self.mean
        return out.reshape(*x.shape[:-1], -1)


class KernelRidgeDecoder(Decoder[KernelRidgeSettings]):
    """Gaussian kernel over the rates of one bin."""

    name = "kernel_ridge"
    settings_type = KernelRidgeSettings

    def fit(self, features: ArrayLike, velocity: ArrayLike) -> FittedKernelRidge:
        """Fit on training trials."""
        samples = training_samples(features, [velocity])
        x, y = samples.features, samples.velocities[0]
        mean = y.mean(axis=0)
        regression = KernelRidge(alpha=self.settings.alpha, kernel="rbf", gamma=self.settings.gamma)
        return FittedKernelRidge(regression.fit(x, y - mean), mean, self.settings)
