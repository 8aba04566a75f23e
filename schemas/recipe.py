"""The ingest recipe: how a continuous recording becomes trials.

Times are seconds, lengths centimetres, rates hertz. A recipe is hashed into the key of every store it
makes, so that two stores with equal keys hold equal numbers.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import (
    LONGEST_TRIAL_S,
    MOST_BINS,
    NARROWEST_BIN_S,
    WIDEST_KERNEL_S,
)
from nwb_latents.schemas.columns import ColumnSettings
from nwb_latents.schemas.digest import AddedLater
from nwb_latents.schemas.quality import QualitySettings
from nwb_latents.schemas.recipe_parts import (
    ChopSettings,
    CutEvent,
    JitterSettings,
    OnsetSettings,
    ReachSettings,
    SmoothKernel,
    SplitSettings,
    TrialSelection,
    UnitSelection,
)

KINEMATIC_FILTER_BINS = 5
"""Half width in bins of the anti-alias filter of the kinematics (`pipeline.signals.resample`)."""


class IngestRecipe(Frozen):
    """Everything that decides what numbers a trial store holds."""

    bin_size_s: float = Field(0.02, ge=NARROWEST_BIN_S, le=10, description="Width of a time bin, s.")
    smooth_sigma_s: float = Field(
        0.025,
        ge=0,
        le=WIDEST_KERNEL_S,
        description="Standard deviation of the Gaussian that turns counts into rates, s; 0 = none.",
    )
    smooth_truncate: float = Field(
        4.0, gt=0, le=10, description="Half width of the Gaussian, standard deviations."
    )
    smooth_kernel: Annotated[SmoothKernel, AddedLater("gaussian")] = Field(
        "gaussian",
        description="'gaussian': spikes on either side count; 'causal': its half that looks back, so that a "
        "rate holds no spike after its bin.",
    )
    min_rate_hz: float = Field(
        0.1, ge=0, le=1000, description="Units that fire less over the observed time are dropped, Hz."
    )
    min_observed: float = Field(
        1.0, gt=0, le=1, description="A bin observed for a smaller share of its width is masked."
    )
    observed_by: Annotated[Literal["share", "first_ms"], AddedLater("share")] = Field(
        "share",
        description="What makes a bin count as observed: the share min_observed of its width, or its first "
        "millisecond, as in nlb_tools, which counts the spikes of those of its milliseconds that were.",
    )
    units: UnitSelection = Field(default_factory=UnitSelection, description="Unit selection.")
    align_to: CutEvent = Field("move_onset", description="Event that time zero of a trial stands for.")
    window_s: tuple[float, float] = Field(
        (-0.26, 0.46), description="Trial window around the event, s; a whole number of bins on either side."
    )
    window_from: Annotated[Literal["event_bin", "next_edge"], AddedLater("event_bin")] = Field(
        "event_bin",
        description="First bin of a window: counted from the bin that holds the event, or the first that "
        "begins at or after the event + window_s[0], which need not be whole bins then, only its length.",
    )
    jitter: Annotated[JitterSettings, AddedLater(JitterSettings().model_dump(mode="json"))] = Field(
        default_factory=JitterSettings, description="Windows moved to later times by a draw."
    )
    trial_columns: Annotated[tuple[str, ...], AddedLater(())] = Field(
        (),
        description="Columns of the trial table, of numbers or truth values, that go into the store as they "
        "are: coordinates column_NAME.",
    )
    psth_sigma_s: Annotated[float | None, AddedLater(None)] = Field(
        None,
        gt=0,
        description="Standard deviation of a Gaussian laid over the spikes in bins of 1 ms, cut off at three "
        "of them, before they are summed into psth_counts of the continuous group, s; none: no such array.",
    )
    kinematics_at: Annotated[Literal["centre", "left_edge"], AddedLater("centre")] = Field(
        "centre",
        description="Where in its bin a position or velocity is read: 'centre', or 'left_edge' by the filter "
        "of nlb_tools (scipy.signal.decimate, 501 taps), which needs samples on whole milliseconds.",
    )
    onset: OnsetSettings = Field(default_factory=OnsetSettings, description="Movement onset.")
    trials: TrialSelection = Field(default_factory=TrialSelection, description="Trial selection.")
    reaches: ReachSettings = Field(
        default_factory=ReachSettings, description="Finding reaches where there is no trial table."
    )
    split: SplitSettings = Field(default_factory=SplitSettings, description="Training, validation and test.")
    extra_splits: tuple[SplitSettings, ...] = Field(
        (), description="Further splits of the same trials, stored as the coordinates split_NAME."
    )
    chop: ChopSettings = Field(
        default_factory=ChopSettings, description="Windows of continuous time instead of trials."
    )
    quality: QualitySettings = Field(default_factory=QualitySettings, description="Quality control.")
    columns: Annotated[ColumnSettings, AddedLater(ColumnSettings().model_dump(mode="json"))] = Field(
        default_factory=ColumnSettings, description="Columns of the trial table, by the file's own names."
    )
    layout: str = Field("auto", description="Layout adapter; 'auto' picks the one that recognises the file.")
    position_series: str | None = Field(
        None,
        description="Path in the NWB file of the position series, or PATH+PATH, a column each; default: what "
        "the layout finds.",
    )
    velocity_series: str | None = Field(
        None,
        description="Path in the NWB file of the velocity series, or PATH+PATH, a column each; default: what "
        "the layout finds.",
    )
    velocity_from: Annotated[Literal["auto", "series", "position"], AddedLater("auto")] = Field(
        "auto",
        description="Where velocity comes from: 'series', 'position' (its derivative), or 'auto': the series "
        "where there is one.",
    )
    on_unsorted_spikes: Literal["error", "sort", "drop"] = Field(
        "error",
        description="What to do when a unit's spike times do not ascend: refuse the session, sort them, or "
        "drop the unit, as is done in any case where a layout knows of clock resets.",
    )
    on_not_finite_spikes: Annotated[Literal["error", "drop"], AddedLater("error")] = Field(
        "error",
        description="What to do with spike times that are NaN or infinite: refuse the session, or leave "
        "these spikes out.",
    )
    on_repeated_spikes: Annotated[Literal["error", "drop", "keep"], AddedLater("error")] = Field(
        "error",
        description="What to do where a quarter of all spikes or more follow the one before them of the same "
        "unit within 0.1 ms, as where every spike is written twice: refuse the session, drop those that "
        "follow, or keep them. Fewer are kept, and said, unless this is 'drop'.",
    )

    @field_validator("window_s")
    @classmethod
    def _ascending(cls, window: tuple[float, float]) -> tuple[float, float]:
        if not window[0] < window[1]:
            msg = f"must ascend, found [{window[0]:g}, {window[1]:g}]"
            raise ValueError(msg)
        if max(map(abs, window)) > LONGEST_TRIAL_S:
            msg = (
                f"edges lie within {LONGEST_TRIAL_S:g} s of the event, found [{window[0]:g}, {window[1]:g}]; "
                "they are in seconds"
            )
            raise ValueError(msg)
        return window

    @model_validator(mode="after")
    def _whole_bins(self) -> IngestRecipe:
        bin_ns = self.bin_ns
        exact = [round(edge * 1e9) for edge in self.window_s]
        if self.window_from == "next_edge":
            if (exact[1] - exact[0]) % bin_ns:
                whole = max(1, round((exact[1] - exact[0]) / bin_ns)) * bin_ns
                msg = (
                    f"window_s [{self.window_s[0]:g}, {self.window_s[1]:g}] is not a whole number of "
                    f"{self.bin_size_s:g} s bins long; the nearest that is: "
                    f"[{self.window_s[0]:g}, {(exact[0] + whole) * 1e-9:g}]"
                )
                raise ValueError(msg)
            return self
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
        if self.n_bins > MOST_BINS:
            msg = f"a trial of {self.n_bins:,} bins; {MOST_BINS:,} are the most. Use wider bins or less time"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _whole_milliseconds(self) -> IngestRecipe:
        needing = {
            "kinematics_at: left_edge": self.kinematics_at == "left_edge",
            "psth_sigma_s": self.psth_sigma_s is not None,
            "observed_by: first_ms": self.observed_by == "first_ms",
        }
        if any(needing.values()) and self.bin_ns % 1_000_000:
            names = " and ".join(name for name, is_set in needing.items() if is_set)
            msg = f"{names} need bins of whole milliseconds, found bin_size_s {self.bin_size_s:g}"
            raise ValueError(msg)
        if self.observed_by == "first_ms" and self.min_observed < 1:
            msg = (
                f"min_observed {self.min_observed:g} has no part in it where observed_by is first_ms; leave "
                "it out, or set observed_by to share"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _named_splits(self) -> IngestRecipe:
        names = [split.name for split in self.extra_splits]
        wrong = [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]
        if wrong:
            msg = f"extra_splits: use lower-case letters, digits and '_' in a name, found {wrong[0]!r}"
            raise ValueError(msg)
        if self.trials.only_split and "file" in names:
            msg = "extra_splits: trials.only_split keeps the file's own split as file; use another name"
            raise ValueError(msg)
        if len({self.split.name, *names}) <= len(names):
            msg = f"extra_splits: every split needs a name of its own, found {[self.split.name, *names]}"
            raise ValueError(msg)
        if names and self.chop.enabled:
            msg = "extra_splits: chopped time has one split, with guards between its windows; leave them out"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _chops_whole_bins(self) -> IngestRecipe:
        if not self.chop.enabled:
            return self
        for name in ("length_s", "overlap_s"):
            value = getattr(self.chop, name)
            if round(value * 1e9) % self.bin_ns:
                nearest = max(1, round(value * 1e9 / self.bin_ns)) * self.bin_ns * 1e-9
                msg = (
                    f"chop.{name} {value:g} is not a whole number of {self.bin_size_s:g} s bins; the "
                    f"nearest: {nearest:g}"
                )
                raise ValueError(msg)
        least = 2 * self.filter_bins * self.bin_size_s
        if self.chop.guard_s < least - 1e-9:
            msg = (
                f"chop.guard_s {self.chop.guard_s:g} is shorter than twice the reach of the filters, so "
                f"that a spike would be in two splits; use at least {least:g}"
            )
            raise ValueError(msg)
        return self

    @property
    def filter_bins(self) -> int:
        """Bins on either side that the smoothing kernel or the kinematics' filter reaches, at most.

        Examples
        --------
        >>> IngestRecipe().filter_bins
        5
        """
        kernel = math.ceil(self.smooth_truncate * self.smooth_sigma_s / self.bin_size_s - 1e-9)
        return max(kernel, KINEMATIC_FILTER_BINS)

    @property
    def bin_ns(self) -> int:
        """Width of a bin in nanoseconds."""
        return round(self.bin_size_s * 1e9)

    @property
    def window_bins(self) -> tuple[int, int]:
        """First bin of the window and one past its last, counted from the bin that holds the event.

        Chopped windows begin at their event. With `window_from` ``next_edge`` the bin that is counted from
        begins less than one bin away from the event, on either side.
        """
        if self.chop.enabled:
            return 0, round(self.chop.length_s * 1e9) // self.bin_ns
        begin, end = (round(edge * 1e9) for edge in self.window_s)
        # Up to the next edge: the same where the window is whole bins.
        first = -(-begin // self.bin_ns)
        return first, first + (end - begin) // self.bin_ns

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


def bin_size_in(recipe_id: str) -> float | None:
    """Return the width of the bins that a recipe's name says, s; None where it is no such name.

    Examples
    --------
    >>> bin_size_in(IngestRecipe().recipe_id), bin_size_in("mine")
    (0.02, None)
    """
    width = re.match(r"([0-9.e+-]+)ms-", recipe_id)
    return round(float(width[1]) * 1e-3, 9) if width else None
