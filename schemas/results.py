"""Results: one score is one number with everything needed to say what it means."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nwb_latents.schemas.base import Frozen

R2Definition = Literal["r2_uniform", "r2_pooled", "r2_pearson", "r2_trialmean"]
ScoreSource = Literal["rates", "reconstruction", "forecast", "latents"]


class Score(Frozen):
    """One metric of one session, from data or from one run."""

    run: str | None = Field(None, description="Run the signal comes from; none: straight from the data.")
    session: str = Field(description="Session id.")
    recipe_id: str = Field(description="Recipe of the store.")
    metric: str = Field(description="Name of the metric, e.g. velocity_r2.")
    source: ScoreSource = Field(
        description="Signal decoded: smoothed rates, reconstruction, forecast or latent states."
    )
    decoder: str = Field("ridge", description="Name of the decoder.")
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


class MetricValue(Frozen):
    """One metric with its interval over trials."""

    value: float | None = Field(description="The metric; none where it is not defined.")
    low: float | None = Field(None, description="Lower end of the bootstrap interval over trials.")
    high: float | None = Field(None, description="Upper end of it.")


class Evaluation(Frozen):
    """All metrics of one source of rates, a run or a baseline, on one session."""

    source: str = Field(description="Name of the run, or of the baseline.")
    is_baseline: bool = Field(description="Whether it is a baseline.")
    label: str = Field(description="What it is called in comparisons: runs of one kind have the same label.")
    group: str = Field(
        description="Runs of the same group differ in their seed alone; of a baseline, its name."
    )
    seed: int | None = Field(None, description="Seed of the run; none: a baseline.")
    session: str = Field(description="Session id.")
    recipe_id: str = Field(description="Recipe of the store.")
    phase: Literal["test", "val"] = Field(description="Split that was scored.")
    settings_digest: str = Field(description="Digest of the settings of the evaluation.")
    key: str = Field(description="Hash of run, store and settings: same key, same scores.")
    n_trials: int = Field(ge=0, description="Trials scored.")
    n_units: int = Field(ge=0, description="Units of the session.")
    n_heldout: int = Field(ge=0, description="Units held out.")
    level: float = Field(gt=0, lt=1, description="Share of resamples the intervals hold.")
    metrics: dict[str, MetricValue] = Field(
        description="Metric → value; what the source cannot have is left out, see `missing`."
    )
    missing: dict[str, str] = Field(default_factory=dict, description="Metric → why it is not there.")

    @property
    def place(self) -> tuple[str, bool, str, str, str]:
        """What makes two evaluations the same measurement: a later one replaces an earlier."""
        return (self.source, self.is_baseline, self.session, self.recipe_id, self.phase)
