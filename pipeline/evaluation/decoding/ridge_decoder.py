"""Ridge regression of hand velocity on the rates of one bin."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

from pydantic import Field, field_validator

from nwb_latents.pipeline.evaluation.decoding.decoder import Decoder
from nwb_latents.pipeline.evaluation.decoding.velocity import fit_velocity_decoder, fit_velocity_decoders
from nwb_latents.schemas.base import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from nwb_latents.pipeline.evaluation.decoding.ridge import Ridge


Own = TypeVar("Own", bound="RidgeSettings")


class RidgeSettings(Frozen):
    """Settings of ridge regression."""

    alphas: tuple[float, ...] = Field(
        (1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4),
        min_length=1,
        description="Penalties tried; one is chosen by cross-validation over training trials.",
    )

    @field_validator("alphas")
    @classmethod
    def _positive(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if any(not a > 0 for a in alphas):
            msg = f"must all be above 0, found {list(alphas)}"
            raise ValueError(msg)
        return alphas


class RidgeRegression(Decoder[Own]):
    """Ridge regression from whatever bins a decoder reads."""

    shared: ClassVar[tuple[str, ...]] = ("alphas",)

    def fit(self, features: ArrayLike, velocity: ArrayLike) -> Ridge:
        """Fit on training trials, with the penalty that decodes trials left out best (`Decoder.fit`)."""
        return fit_velocity_decoder(
            features, velocity, alphas=self.settings.alphas, folds=self.folds, seed=self.seed
        )

    def fit_each(self, features: ArrayLike, velocities: Sequence[ArrayLike]) -> tuple[Ridge, ...]:
        """Fit several velocities on the same bins; the features are decomposed once for all."""
        return fit_velocity_decoders(
            features, velocities, alphas=self.settings.alphas, folds=self.folds, seed=self.seed
        )


class RidgeDecoder(RidgeRegression[RidgeSettings]):
    """Ridge regression from the rates of the bin at t.

    Examples
    --------
    >>> import numpy as np
    >>> rates = np.random.default_rng(0).gamma(2.0, 5.0, size=(20, 30, 4))
    >>> decoder = RidgeDecoder(RidgeSettings(alphas=(1e-6,)))
    >>> fitted = decoder.fit(rates, rates[..., :2])
    >>> fitted.predict(rates).shape, decoder.describe(fitted).chosen
    ((20, 30, 2), {'alpha': 1e-06})
    """

    name = "ridge"
    settings_type = RidgeSettings
    suffix = ""
    dash = "-"
    is_filled = True
