"""The ingest recipe: how a continuous recording becomes trials.

Times are seconds, lengths centimetres, rates hertz. A recipe is hashed into the key of every store it
makes, so that two stores with equal keys hold equal numbers.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator, model_validator

from schemas.base import Frozen

AlignEvent = Literal["move_onset", "go_cue", "target_on", "peak_speed", "trial_start"]
OnsetMethod = Literal["auto", "column", "peak_fraction", "accel_half_peak", "threshold"]


class OnsetSettings(Frozen):
    """How the start of a movement is found (`docs/concepts.md`, movement onset)."""

    method: OnsetMethod = Field(
        "auto",
        description="One of 'auto' ('column' where the file has onsets, else 'peak_fraction'), 'column', "
        "'peak_fraction', 'accel_half_peak', 'threshold'.",
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
        0.01, ge=0, description="Standard deviation of the Gaussian laid over the speed first, s."
    )
    min_peak_cm_s: float = Field(
        3.0, ge=0, description="Peaks slower than this are no movement; the trial is dropped, cm/s."
    )
    min_rt_s: float = Field(0.1, ge=0, description="Shortest reaction time taken for one, s.")
    max_rt_s: float = Field(1.0, gt=0, description="Longest reaction time taken for one, s.")
    max_search_s: float = Field(
        2.0, gt=0, description="The peak is searched up to this long after the go cue, s."
    )


class TrialSelection(Frozen):
    """Which rows of a trial table become trials."""

    success_only: bool = Field(True, description="Keep only trials marked as successful, where a file says.")
    min_duration_s: float = Field(0.0, ge=0, description="Shortest trial kept, s.")
    max_duration_s: float = Field(6.0, gt=0, description="Longest trial kept, s.")
    check_reaction_time: bool = Field(
        True, description="Drop trials whose reaction time is outside [onset.min_rt_s, onset.max_rt_s]."
    )
    guard_s: float = Field(
        0.2,
        ge=0,
        description="Least distance between the windows of two trials, s; the default keeps their smoothing "
        "kernels apart, so that no spike is in two splits. A trial closer to the one before it is dropped.",
    )


class ReachSettings(Frozen):
    """How reaches are found in a recording without a trial table."""

    min_peak_cm_s: float = Field(15.0, gt=0, description="Least peak speed of a reach, cm/s.")
    onset_fraction: float = Field(
        0.15, gt=0, lt=1, description="Share of the peak speed at which the reach starts."
    )
    min_separation_s: float = Field(0.4, ge=0, description="Least time between two speed peaks, s.")
    max_rise_s: float = Field(
        0.6, gt=0, description="A reach whose speed takes longer from start to peak is dropped, s."
    )


class SplitSettings(Frozen):
    """How trials are shared out between training, validation and test."""

    name: str = Field("default", min_length=1, description="Name under which the split is stored.")
    train: float = Field(0.7, gt=0, le=1, description="Share of the trials for training.")
    val: float = Field(0.1, ge=0, lt=1, description="Share of the trials for validation (early stopping).")
    test: float = Field(0.2, ge=0, lt=1, description="Share of the trials for testing.")
    seed: int = Field(42, ge=0, description="Seed of the draw; the session id is mixed in.")

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitSettings:
        total = self.train + self.val + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            msg = f"train + val + test must be 1, found {total:g}"
            raise ValueError(msg)
        return self


class IngestRecipe(Frozen):
    """Everything that decides what numbers a trial store holds."""

    bin_size_s: float = Field(0.02, gt=0, le=10, description="Width of a time bin, s.")
    smooth_sigma_s: float = Field(
        0.025,
        ge=0,
        description="Standard deviation of the Gaussian that turns counts into rates, s; 0 = none.",
    )
    smooth_truncate: float = Field(4.0, gt=0, description="Half width of the Gaussian, standard deviations.")
    min_rate_hz: float = Field(
        0.1, ge=0, description="Units that fire less over the observed time are dropped, Hz."
    )
    min_observed: float = Field(
        1.0, gt=0, le=1, description="A bin observed for a smaller share of its width is masked."
    )
    align_to: AlignEvent = Field("move_onset", description="Event that time zero of a trial stands for.")
    window_s: tuple[float, float] = Field(
        (-0.26, 0.46), description="Trial window around the event, s; a whole number of bins on either side."
    )
    onset: OnsetSettings = Field(default_factory=OnsetSettings, description="Movement onset.")
    trials: TrialSelection = Field(default_factory=TrialSelection, description="Trial selection.")
    reaches: ReachSettings = Field(
        default_factory=ReachSettings, description="Finding reaches where there is no trial table."
    )
    split: SplitSettings = Field(default_factory=SplitSettings, description="Training, validation and test.")
    layout: str = Field("auto", description="Layout adapter; 'auto' picks the one that recognises the file.")
    position_series: str | None = Field(
        None, description="Path in the NWB file of the position series; default: what the layout finds."
    )
    velocity_series: str | None = Field(
        None, description="Path in the NWB file of the velocity series; default: what the layout finds."
    )
    on_unsorted_spikes: Literal["error", "sort"] = Field(
        "error", description="What to do when a unit's spike times do not ascend."
    )

    @field_validator("window_s")
    @classmethod
    def _ascending(cls, window: tuple[float, float]) -> tuple[float, float]:
        if not window[0] < window[1]:
            msg = f"must ascend, found [{window[0]:g}, {window[1]:g}]"
            raise ValueError(msg)
        return window

    @model_validator(mode="after")
    def _whole_bins(self) -> IngestRecipe:
        bin_ns = round(self.bin_size_s * 1e9)
        if bin_ns < 1:
            msg = f"bin_size_s must be at least 1 ns, found {self.bin_size_s:g}"
            raise ValueError(msg)
        exact = [round(edge * 1e9) for edge in self.window_s]
        if any(edge % bin_ns for edge in exact):
            bins = [round(edge / bin_ns) for edge in exact]
            if bins[0] == bins[1]:
                bins[1] += 1
            nearest = [round(b * bin_ns * 1e-9, 9) for b in bins]
            msg = (
                f"window_s [{self.window_s[0]:g}, {self.window_s[1]:g}] is not a whole number of "
                f"{self.bin_size_s:g} s bins on either side of the event; the nearest window that is: "
                f"[{nearest[0]:g}, {nearest[1]:g}]"
            )
            raise ValueError(msg)
        return self

    @property
    def bin_ns(self) -> int:
        """Width of a bin in nanoseconds."""
        return round(self.bin_size_s * 1e9)

    @property
    def window_bins(self) -> tuple[int, int]:
        """First bin of the window and one past its last, counted from the bin that holds the event."""
        first, last = (round(edge * 1e9) // self.bin_ns for edge in self.window_s)
        return first, last

    @property
    def n_bins(self) -> int:
        """Number of bins of a trial."""
        first, last = self.window_bins
        return last - first

    @property
    def recipe_id(self) -> str:
        """Short readable name: bin width and the first eight digits of the digest.

        Examples
        --------
        >>> IngestRecipe().recipe_id.split("-")[0]
        '20ms'
        """
        return f"{self.bin_size_s * 1e3:g}ms-{self.digest()[:8]}"
