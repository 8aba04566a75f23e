"""Events of bin-by-bin decoding: what the numbers are, one line for each bin, and how fast it was."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nwb_latents.schemas.events.base import Event


class StreamEvent(Event):
    """A stream begins: what the numbers of its bins are."""

    event: Literal["stream"] = "stream"
    run: str = Field(description="Run whose model is used.")
    session: str = Field(description="Session id.")
    units: tuple[int, ...] = Field(description="Unit ids of the NWB file, in the order of counts and rates.")
    axes: tuple[str, ...] = Field(description="Axes of the velocity; none: no velocity is given.")
    bin_ms: float = Field(gt=0, description="Width of a bin, ms.")
    lag_ms: float | None = Field(None, description="The velocity is that so long after the bin, ms.")
    decoder: str | None = Field(None, description="Decoder of the velocity.")


class BinEvent(Event):
    """What is known once a bin has passed."""

    event: Literal["bin"] = "bin"
    trial: int = Field(
        description="Trial, as the store numbers it; of counts that were read: how many began before."
    )
    bin: int = Field(ge=0, description="Bin of the trial, from 0.")
    rates: tuple[float, ...] | None = Field(None, description="Rates, Hz, one of each unit.")
    velocity: tuple[float | None, ...] | None = Field(
        None,
        description="Hand velocity, cm/s, on each axis; null while the decoder has not as many bins as it "
        "reads.",
    )


class StreamTimingEvent(Event):
    """A stream has ended: the time from the counts of a bin to its numbers, given out."""

    event: Literal["stream_timing"] = "stream_timing"
    n_bins: int = Field(ge=1, description="Bins.")
    n_trials: int = Field(ge=1, description="Trials.")
    median_ms: float = Field(ge=0, description="Median time of a bin, ms.")
    p99_ms: float = Field(ge=0, description="99th percentile, ms.")
    max_ms: float = Field(ge=0, description="Longest time, ms.")
    bin_ms: float = Field(gt=0, description="Width of a bin, ms: the time there is.")
    n_late: int = Field(ge=0, description="Bins that took longer than that.")
