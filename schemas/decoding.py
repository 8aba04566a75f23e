"""Settings of `pipeline run decode`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from nwb_latents.schemas import task
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_BINS, MOST_DRAWS, MOST_LAG_MS, MOST_SEED
from nwb_latents.schemas.digest import AddedLater, FormerlyApart, NeverCounts
from nwb_latents.schemas.registry import DECODERS

DecodeSource = Literal["rates", "reconstruction", "forecast"]
"""Signals that can be asked for."""

SignalSource = Literal["rates", "reconstruction", "forecast_decoded"]
"""Signals whose rates are given to decoders of recorded rates; a forecast is read out in its own way too."""

DecoderName = Annotated[str, AfterValidator(DECODERS.check)]

DEFAULT_DECODER = "ridge"
"""The decoder of whoever does not choose one."""


class DecodeSettings(Frozen):
    """Decoders from neural activity up to t to hand velocity at t + lag."""

    lag_ms: task.LagMs = task.LAG_MS
    sources: tuple[DecodeSource, ...] = Field(
        ("rates", "reconstruction", "forecast"),
        min_length=1,
        description="Signals decoded: smoothed rates, the model's reconstruction, the model's forecast.",
    )
    decoders: Annotated[tuple[DecoderName, ...], AddedLater(("ridge",))] = Field(
        (DEFAULT_DECODER,),
        min_length=1,
        description="Decoders: ridge, of the bin at t; wiener, of the last history_bins bins up to t; or any "
        "other that is installed.",
    )
    decoder_settings: Annotated[dict[DecoderName, dict[str, Any]], AddedLater({})] = Field(
        default_factory=dict,
        description="Settings of one decoder alone, e.g. decoder_settings.wiener.history_bins=3; those a "
        "decoder has are its own (docs, decoding).",
    )
    history_bins: Annotated[int, AddedLater(5)] = Field(
        5, ge=2, le=MOST_BINS, description="Bins the Wiener decoder reads, that at t included."
    )
    alphas: task.Penalties = task.PENALTIES
    folds: task.Folds = task.N_FOLDS
    beside: Annotated[tuple[str, ...], NeverCounts("which numbers are measured does not change them")] = (
        Field(
            ("linear_forecast", "condition_mean"),
            description="Baselines whose forecasts of velocity stand beside those of runs.",
        )
    )
    forecast: Annotated[task.ForecastWindow, FormerlyApart(task.FORMER_FORECAST)] = Field(
        default_factory=task.ForecastWindow, description="What a forecast is shown, and how far it goes."
    )
    lag_scan_ms: Annotated[tuple[float, ...], AddedLater(())] = Field(
        (),
        description="Lags compared with each other, ms, whole numbers of bins; none: no comparison.",
    )
    transfer: Annotated[bool, AddedLater(False)] = Field(
        default=False,
        description="Also decode the latent states of each session with decoders of the other sessions.",
    )
    n_permutations: Annotated[int, AddedLater(200)] = Field(
        200,
        ge=0,
        le=MOST_DRAWS,
        description="Permutations of the test trials behind each p-value; 0: no p-values.",
    )
    seed: int = Field(
        0, ge=0, le=MOST_SEED, description="Seed of the fold assignment and of the permutations."
    )

    @field_validator("decoders")
    @classmethod
    def _each_once(cls, decoders: tuple[DecoderName, ...]) -> tuple[DecoderName, ...]:
        return tuple(dict.fromkeys(decoders))

    @field_validator("lag_scan_ms")
    @classmethod
    def _lags_to_compare(cls, lags: tuple[float, ...]) -> tuple[float, ...]:
        too_far = [lag for lag in lags if not abs(lag) <= MOST_LAG_MS]
        if too_far:
            msg = f"lags from {-MOST_LAG_MS:g} to {MOST_LAG_MS:g} ms can be compared, found {too_far[0]:g}"
            raise ValueError(msg)
        distinct = tuple(sorted(set(lags)))
        if len(distinct) == 1:
            msg = f"needs at least two lags to compare, found {list(lags)}; lag_ms is the place for one"
            raise ValueError(msg)
        return distinct

    @model_validator(mode="after")
    def _settings_of_what_decodes(self) -> Self:
        unused = [name for name in self.decoder_settings if name not in self.decoders]
        if unused:
            msg = (
                f"decoder_settings.{unused[0]}: {unused[0]} is not among the decoders "
                f"({', '.join(self.decoders)}); add it to decoders, or leave its settings out"
            )
            raise ValueError(msg)
        return self
