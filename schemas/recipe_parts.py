"""Parts of the ingest recipe: onsets, trials, units, reaches, splits and chopping.

Times are seconds, lengths centimetres, rates hertz.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import (
    LONGEST_S,
    LONGEST_TRIAL_S,
    MOST_ITEMS,
    MOST_SEED,
    WIDEST_KERNEL_S,
)
from nwb_latents.schemas.columns import TrialSource, listed_text
from nwb_latents.schemas.digest import AddedLater

SmoothKernel = Literal["gaussian", "causal"]
CutEvent = Literal["move_onset", "go_cue", "target_on", "peak_speed", "trial_start"]
OnsetMethod = Literal["auto", "column", "profile", "peak_fraction", "accel_half_peak", "threshold"]


class OnsetSettings(Frozen):
    """How the start of a movement is found (`docs/explanation/concepts.md`, movement onset)."""

    method: OnsetMethod = Field(
        "auto",
        description="One of 'auto' ('column' where the file has onsets, else 'profile'), 'column', 'profile' "
        "(where the profile that fits the speed begins), 'peak_fraction', 'accel_half_peak', 'threshold'.",
    )
    fraction: float = Field(
        0.05, gt=0, lt=1, description="Share of the peak speed that counts as moving (peak_fraction)."
    )
    extrapolate: bool = Field(
        True,
        description="Carry the crossing back to zero speed along a minimum-jerk profile (peak_fraction); "
        "without it the onset is late by 5 to 15 % of the movement's duration.",
    )
    threshold_cm_s: float = Field(10.0, gt=0, description="Speed that counts as moving (threshold), cm/s.")
    smooth_s: float = Field(
        0.01,
        ge=0,
        le=WIDEST_KERNEL_S,
        description="Standard deviation of the Gaussian laid over the speed first, s.",
    )
    min_peak_cm_s: float = Field(
        3.0, ge=0, description="Peaks slower than this are no movement; the trial is dropped, cm/s."
    )
    min_rt_s: float = Field(
        0.1, ge=0, le=LONGEST_TRIAL_S, description="Shortest reaction time taken for one, s."
    )
    max_rt_s: float = Field(1.0, gt=0, description="Longest reaction time taken for one, s.")
    max_search_s: float = Field(
        2.0, gt=0, le=LONGEST_TRIAL_S, description="The peak is searched up to this long after the go cue, s."
    )


class TrialSelection(Frozen):
    """Which rows of a trial table become trials."""

    source: Annotated[TrialSource, AddedLater("auto")] = Field(
        "auto",
        description="Where trials come from: 'table', 'speed' (reaches found from it), or 'auto': the table, "
        "and only where there is none, or one without rows, speed.",
    )
    table: Annotated[str | None, AddedLater(None)] = Field(
        None,
        description="Path in the NWB file of the trial table; default: intervals/trials, or where there is "
        "none, the only other table of intervals with cues, targets or outcomes.",
    )
    success_only: bool = Field(True, description="Keep only trials marked as successful, where a file says.")
    keep_flagged: Annotated[bool, AddedLater(False)] = Field(
        default=False,
        description="Keep trials the file itself marks as not to be used (outliers, discarded ones); the "
        "group events says which these are.",
    )
    min_duration_s: float = Field(0.0, ge=0, le=LONGEST_S, description="Shortest trial kept, s.")
    max_duration_s: float = Field(6.0, gt=0, description="Longest trial kept, s.")
    check_reaction_time: bool = Field(
        True, description="Drop trials whose reaction time is outside [onset.min_rt_s, onset.max_rt_s]."
    )
    guard_s: float = Field(
        0.2,
        ge=0,
        le=LONGEST_S,
        description="Least distance between the windows of two trials, s; the default keeps their smoothing "
        "kernels apart, so that no spike is in two splits. A trial closer to the one before it is dropped.",
    )
    drop_outliers: bool = Field(
        False, description="Drop trials whose window holds a kinematic outlier (quality.max_…)."
    )
    only_split: Annotated[bool, AddedLater(False)] = Field(
        default=False,
        description="Where the file deals its trials to splits, drop those it deals to none; their own split "
        "is kept as the extra split 'file'.",
    )
    allow_overlap: Annotated[bool, AddedLater(False)] = Field(
        default=False,
        description="Keep trials whose windows share time with another's (guard_s is not looked at): the "
        "same spikes may then be in two splits.",
    )


class JitterSettings(Frozen):
    """Windows moved to later times by a draw, as nlb_tools moves those of 000130."""

    max_s: float = Field(0.0, ge=0, description="Most that a window is moved, s; 0 = none is.")
    limit_s: float = Field(
        1.5, gt=0, description="A window is moved by no more than this less the value of column, s."
    )
    column: str = Field("tp", description="Column of the trial table, in ms; one of trial_columns.")
    fitted: tuple[Literal["train", "val"], ...] = Field(
        ("train",),
        description="Splits of the file that are drawn for together; each other one by itself, from the same "
        "seed; test windows stay where they are. [train] in the benchmark's phase val, [train, val] in test.",
    )
    seed: int = Field(0, ge=0, description="Seed of the draw.")


class UnitSelection(Frozen):
    """Which units are kept, beyond `min_rate_hz`; everything is off by default."""

    order: Annotated[Literal["file", "id"], AddedLater("file")] = Field(
        "file", description="Order of the units: that of the file, or ascending ids."
    )

    min_presence: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Units that fire in a smaller share of the session's stretches are dropped; 0 = off.",
    )
    presence_s: float = Field(
        60.0, gt=0, le=LONGEST_S, description="Length of a stretch of observed time, s."
    )
    max_refractory_violations: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Units of which a larger share of the inter-spike intervals is shorter than refractory_s "
        "are dropped; none = off.",
    )
    refractory_s: float = Field(0.001, gt=0, le=LONGEST_TRIAL_S, description="Refractory period, s.")
    max_coincidence: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Of two units of which a larger share of the spikes of the quieter one coincide, that "
        "one is dropped as a duplicate; none = off.",
    )
    coincidence_s: float = Field(
        0.0005, gt=0, le=LONGEST_TRIAL_S, description="Spikes at most this far apart coincide, s."
    )
    observed_group: Annotated[int | None, AddedLater(None)] = Field(
        None,
        ge=0,
        le=MOST_ITEMS,
        description="Where units were recorded in turn and have no time in common: the group of units that "
        "is taken, 0 the largest; others are dropped. None: all units, only in the time common to all.",
    )
    quality_column: Annotated[str | None, AddedLater(None)] = Field(
        None,
        description="Column of the units table that says how good a unit is; default: a known one (quality, "
        "KSLabel …).",
    )
    quality_values: Annotated[tuple[str, ...], AddedLater(())] = Field(
        (), description="Values of it, as text, whose units are kept; none given: all units, and it is said."
    )

    @field_validator("quality_values", mode="before")
    @classmethod
    def _as_text(cls, given: object) -> object:
        return listed_text(given)

    @model_validator(mode="after")
    def _values_of_a_column(self) -> Self:
        if self.quality_column is not None and not self.quality_values:
            raise ValueError(
                "units.quality_column says where the quality of units is; say which of its values are kept, "
                "e.g. units.quality_values: [good]"
            )
        return self


class ReachSettings(Frozen):
    """How reaches are found in a recording without a trial table."""

    min_peak_cm_s: float = Field(15.0, gt=0, description="Least peak speed of a reach, cm/s.")
    onset_fraction: float = Field(
        0.15, gt=0, lt=1, description="Share of the peak speed at which the reach starts."
    )
    min_separation_s: float = Field(
        0.4, ge=0, le=LONGEST_TRIAL_S, description="Least time between two speed peaks, s."
    )
    max_rise_s: float = Field(
        0.6,
        gt=0,
        le=LONGEST_TRIAL_S,
        description="A reach whose speed takes longer from start to peak is dropped, s.",
    )


class SplitSettings(Frozen):
    """How trials are shared out between training, validation and test."""

    name: str = Field("default", min_length=1, description="Name under which the split is stored.")
    train: float = Field(0.7, gt=0, le=1, description="Share of the trials for training.")
    val: float = Field(0.1, ge=0, lt=1, description="Share of the trials for validation (early stopping).")
    test: float = Field(0.2, ge=0, lt=1, description="Share of the trials for testing.")
    seed: int = Field(42, ge=0, le=MOST_SEED, description="Seed of the draw; the session id is mixed in.")

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitSettings:
        total = self.train + self.val + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            msg = f"train + val + test must be 1, found {total:g}"
            raise ValueError(msg)
        return self


class ChopSettings(Frozen):
    """Overlapping windows of continuous time instead of trials, for tasks without a trial structure."""

    enabled: bool = Field(False, description="Cut windows out of all observed time; events are not used.")
    length_s: float = Field(
        0.6, gt=0, le=LONGEST_TRIAL_S, description="Length of a window, s; a whole number of bins."
    )
    overlap_s: float = Field(
        0.2,
        ge=0,
        le=LONGEST_TRIAL_S,
        description="Overlap of neighbouring windows of a split, s; a whole number of bins.",
    )
    guard_s: float = Field(
        0.3,
        ge=0,
        le=LONGEST_S,
        description="Least distance between windows of two splits, s. The default keeps apart the reach of "
        "the filters on both sides (0.1 s each) and a lag of 0.1 s between activity and velocity.",
    )
    block_s: float = Field(
        10.0,
        gt=0,
        le=LONGEST_S,
        description="Time is dealt out to the splits in blocks of about this length, s; shorter in sessions "
        "that would have fewer than 20 of them.",
    )

    @model_validator(mode="after")
    def _moves_on(self) -> ChopSettings:
        if not self.overlap_s < self.length_s:
            msg = f"overlap_s must be shorter than length_s, found {self.overlap_s:g} and {self.length_s:g}"
            raise ValueError(msg)
        return self
