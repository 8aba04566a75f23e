"""Settings of `pipeline run decode`."""

from __future__ import annotations

from pydantic import Field, field_validator

from schemas.base import Frozen
from schemas.results import DecodeSource


class DecodeSettings(Frozen):
    """A ridge decoder from neural activity at t to hand velocity at t + lag."""

    lag_ms: float = Field(
        100.0, description="Velocity is read this long after the neural activity, ms; a whole number of bins."
    )
    sources: tuple[DecodeSource, ...] = Field(
        ("rates", "reconstruction", "forecast"),
        min_length=1,
        description="Signals decoded: smoothed rates, the model's reconstruction, the model's forecast.",
    )
    alphas: tuple[float, ...] = Field(
        (1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4),
        min_length=1,
        description="Ridge penalties tried; one is chosen by cross-validation over training trials.",
    )
    folds: int = Field(5, ge=2, description="Folds of that cross-validation; whole trials stay together.")
    forecast_seen_bins: int = Field(13, ge=1, description="Bins the model sees before it forecasts.")
    forecast_bins: int = Field(20, ge=1, description="Bins forecast and scored.")
    seed: int = Field(0, ge=0, description="Seed of the fold assignment.")

    @field_validator("alphas")
    @classmethod
    def _positive(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if any(not a > 0 for a in alphas):
            msg = f"must all be above 0, found {list(alphas)}"
            raise ValueError(msg)
        return alphas
