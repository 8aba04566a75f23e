"""A measurement: one number, its interval, and everything needed to say what it means and to get it again."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from nwb_latents.schemas.base import Record

R2Definition = Literal["r2_uniform", "r2_pooled", "r2_pearson", "r2_trialmean"]
"""The definitions of R² in use (docs, R² definitions)."""

MEASUREMENT_VERSION = 1
"""Version of the record. Raised when a field changes its meaning, or a new one tells measurements apart
(`IDENTITY`); any other new one, with a default, does not raise it."""


class Measurement(Record):
    """One number with its whole protocol."""

    schema_version: int = Field(MEASUREMENT_VERSION, ge=1, description="Version of this description.")
    name: str = Field(description="Name of the metric, e.g. velocity_r2.")
    value: float | None = Field(description="The number; none where it is not defined, see `reason`.")
    low: float | None = Field(None, description="Lower end of its interval over trials; none: no interval.")
    high: float | None = Field(None, description="Upper end of it.")
    level: float | None = Field(None, gt=0, lt=1, description="Share of resamples the interval holds.")
    n_resamples: int | None = Field(None, ge=1, description="Bootstrap resamples of the trials behind it.")
    p_value: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of permutations of whole trials that score as high; none: not tested.",
    )
    per_axis: tuple[float | None, ...] = Field(
        (), description="The number of each axis, where there are axes."
    )
    unit: str = Field("", description="Unit, e.g. bits/spike; of an R², 1.")
    definition: str = Field("", description="Which of the definitions in use this is, e.g. r2_uniform.")
    reason: str = Field("", description="Why there is no value.")

    session: str = Field(description="Session id.")
    recipe_id: str = Field(description="Recipe of the store.")
    store_key: str = Field("", description="Key of the store; empty: not known (older versions).")
    split: str = Field(description="Trials scored: train, val or test.")
    n_trials: int = Field(ge=0, description="Trials scored.")
    n_samples: int | None = Field(None, ge=0, description="Time bins scored.")
    units: str = Field("all", description="Units scored: all, heldout, heldin.")
    n_units: int | None = Field(None, ge=0, description="Units of the session.")
    n_heldout: int | None = Field(None, ge=0, description="Of these, units held out.")

    source: str = Field(
        description="What was scored: rates (recorded, smoothed), reconstruction, forecast or latents of a "
        "run, a baseline by its name, or recorded behaviour."
    )
    is_baseline: bool = Field(default=False, description="Whether `source` is the name of a baseline.")
    run: str | None = Field(None, description="Run the signal comes from; none: straight from the data.")
    run_key: str | None = Field(None, description="Key of that run; none: no run, or not known.")
    model: str | None = Field(None, description="Name of its model.")
    label: str = Field("", description="What it is called in comparisons: runs of one kind share it.")
    group: str = Field("", description="Runs of the same group differ in their seed alone.")
    seed: int | None = Field(None, description="Seed of the run.")

    stage: str = Field("", description="Stage that measured: decode, evaluate, forecast, align …")
    decoder: str | None = Field(None, description="Decoder between rates and velocity; none: none was used.")
    decoder_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Its settings, and what was chosen on the training trials (alpha …).",
    )
    fitted_on: str = Field(
        "", description="Signal the decoder was fitted on: recorded rates, own rates, forecasts …"
    )
    fitted_sessions: tuple[str, ...] = Field(
        (), description="Sessions it was fitted on; none: the session scored."
    )
    lag_ms: float | None = Field(None, description="Behaviour after neural activity by this much, ms.")
    seen_bins: int | None = Field(None, ge=0, description="Bins of a trial a forecast was shown.")
    bins: int | None = Field(None, ge=1, description="Bins forecast and scored.")
    step: int | None = Field(None, ge=1, description="Bins ahead of this number alone; none: all of them.")
    settings_digest: str = Field("", description="Digest of the settings that must agree to compare numbers.")
    details: dict[str, Any] = Field(default_factory=dict, description="What else the metric has to say.")

    program: str = Field("", description="Version of the program that measured; empty: not known.")
    time: str = Field("", description="When, ISO 8601, UTC; empty: not known.")

    @property
    def key(self) -> str:
        """What makes two records the same measurement, of which the later one counts: 16 digits."""
        said = self.model_dump(mode="json", include=set(IDENTITY))
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


IDENTITY = (
    "name", "definition", "session", "recipe_id", "split", "units", "source", "is_baseline", "run", "stage",
    "decoder", "fitted_on", "fitted_sessions", "lag_ms", "seen_bins", "bins", "step",
)  # fmt: skip
"""Fields that say what was measured. Keys, settings, program and time say under which circumstances."""
