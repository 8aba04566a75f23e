"""Results: one score is one number with everything needed to say what it means."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Frozen

R2Definition = Literal["r2_uniform", "r2_pooled", "r2_pearson", "r2_trialmean"]
DecodeSource = Literal["rates", "reconstruction", "forecast"]
ScoreSource = Literal["rates", "reconstruction", "forecast", "latents"]
DecoderName = Literal["ridge", "wiener"]


class Score(Frozen):
    """One metric of one session, from data or from one run."""

    run: str | None = Field(None, description="Run the signal comes from; none: straight from the data.")
    session: str = Field(description="Session id.")
    recipe_id: str = Field(description="Recipe of the store.")
    metric: str = Field(description="Name of the metric, e.g. velocity_r2.")
    source: ScoreSource = Field(
        description="Signal decoded: smoothed rates, reconstruction, forecast or latent states."
    )
    decoder: DecoderName = Field("ridge", description="Decoder: ridge, of one bin; wiener, of several bins.")
    trained_on: tuple[str, ...] = Field(
        (), description="Sessions the decoder was fitted on; none: the session decoded."
    )
    lag_ms: float = Field(description="Behaviour after neural activity by this much, ms.")
    value: float | None = Field(description="Value of the metric; none where it is not defined.")
    definition: R2Definition = Field(description="Which R² this is (docs, R² definitions).")
    split: Literal["train", "val", "test"] = Field(description="Split the score was taken on.")
    n_trials: int = Field(ge=0, description="Trials scored.")
    n_samples: int = Field(ge=0, description="Time bins scored.")
    alpha: float = Field(ge=0, description="Ridge penalty chosen on the training trials.")
    per_axis: tuple[float | None, ...] = Field(
        (), description="R² of each axis; none where it is not defined."
    )
    p_value: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of permutations of whole trials that score as high; none: not tested.",
    )

    @property
    def key(self) -> tuple[str | None, str, str, str, str, float, str, str, tuple[str, ...]]:
        """What makes two scores the same measurement: a later one replaces an earlier."""
        where = (self.run, self.session, self.recipe_id, self.metric, self.source, self.lag_ms, self.split)
        return (*where, self.decoder, self.trained_on)
