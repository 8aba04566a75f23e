"""What catalogs of version 1 and the stages of their time wrote: scores, evaluations and forecasts.

These classes serve to read them once, when they become measurements (`pipeline.stores.catalog_v1`).
"""

from __future__ import annotations

from pydantic import Field

from nwb_latents.schemas.base import Record


class ScoreV1(Record):
    """One number of ``results``: a decoder's R² on one session, from data or from one run."""

    run: str | None = Field(None, description="Run the signal comes from; none: straight from the data.")
    session: str = Field(description="Session id.")
    recipe_id: str = Field(description="Recipe of the store.")
    metric: str = Field(description="Name of the metric.")
    source: str = Field(description="Signal decoded: rates, reconstruction, forecast or latents.")
    decoder: str = Field("ridge", description="Decoder.")
    trained_on: tuple[str, ...] = Field((), description="Sessions it was fitted on; none: the one decoded.")
    lag_ms: float = Field(description="Behaviour after neural activity by this much, ms.")
    value: float | None = Field(description="The number; none where it is not defined.")
    definition: str = Field(description="Which R² it is.")
    split: str = Field(description="Split it was taken on.")
    n_trials: int = Field(ge=0, description="Trials scored.")
    n_samples: int = Field(ge=0, description="Time bins scored.")
    alpha: float = Field(ge=0, description="Penalty chosen on the training trials.")
    per_axis: tuple[float | None, ...] = Field((), description="The number of each axis.")
    p_value: float | None = Field(None, description="Share of permutations that score as high.")


class ValueV1(Record):
    """One metric of an evaluation, with its interval."""

    value: float | None = Field(description="The metric; none where it is not defined.")
    low: float | None = Field(None, description="Lower end of the interval over trials.")
    high: float | None = Field(None, description="Upper end of it.")


class EvaluationV1(Record):
    """One entry of ``evaluations``: all metrics of one run or baseline on one session."""

    source: str = Field(description="Name of the run, or of the baseline.")
    is_baseline: bool = Field(description="Whether it is a baseline.")
    label: str = Field(description="What it is called in comparisons.")
    group: str = Field(description="Runs of the same group differ in their seed alone.")
    seed: int | None = Field(None, description="Seed of the run.")
    session: str = Field(description="Session id.")
    recipe_id: str = Field(description="Recipe of the store.")
    phase: str = Field(description="Split that was scored.")
    settings_digest: str = Field(description="Digest of the settings of the evaluation.")
    key: str = Field(description="Hash of run, store and settings.")
    n_trials: int = Field(ge=0, description="Trials scored.")
    n_units: int = Field(ge=0, description="Units of the session.")
    n_heldout: int = Field(ge=0, description="Units held out.")
    level: float = Field(gt=0, lt=1, description="Share of resamples the intervals hold.")
    metrics: dict[str, ValueV1] = Field(description="Metric → value.")
    missing: dict[str, str] = Field(default_factory=dict, description="Metric → why it is not there.")


class CurveV1(Record):
    """One curve of a forecast: R² of one source, by steps ahead and over all of them."""

    quantity: str = Field(description="velocity or rates.")
    source: str = Field(description="model, linear, condition_mean, hold_last, or recorded: no forecast.")
    definition: str = Field(description="Which R² it is.")
    per_step: tuple[float | None, ...] = Field(description="R² 1, 2, … bins ahead.")
    pooled: float | None = Field(description="R² over all steps.")


class ForecastV1(Record):
    """The file ``forecast/SESSION.json`` of a run."""

    run: str = Field(description="Name of the run.")
    session: str = Field(description="Session id.")
    recipe_id: str = Field(description="Recipe of the store.")
    seen_bins: int = Field(description="Bins shown.")
    bins: int = Field(description="Bins forecast.")
    lag_ms: float = Field(description="Velocity comes this long after the activity, ms.")
    split: str = Field("test", description="Split the scores were taken on.")
    n_trials: int = Field(ge=1, description="Trials scored.")
    alphas: dict[str, float] = Field(description="Penalty of the decoder and of each linear forecast.")
    curves: tuple[CurveV1, ...] = Field(description="One for each quantity and source.")
