"""Sessions for property tests: small, fast, and exact to the microsecond."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nwb_latents.pipeline.signals.recording import Series

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.signals.recording import Recording


@pytest.fixture
def whole_us(recording: Recording) -> Recording:
    """Return the small session with spikes on whole microseconds, so that sums of times are exact."""
    return dataclasses.replace(recording, spike_times=np.round(recording.spike_times, 6))


@pytest.fixture
def moved() -> Callable[[Recording, float], Recording]:
    """Return the function that moves a whole recording in time."""

    def move(recording: Recording, by_s: float) -> Recording:
        shift = lambda series: Series(series.time + by_s, series.values)  # noqa: E731
        events = {name: times + by_s for name, times in recording.trials.events.items()}
        return dataclasses.replace(
            recording,
            spike_times=recording.spike_times + by_s,
            observed=recording.observed + by_s,
            position=shift(recording.position),
            velocity=shift(recording.velocity),
            trials=dataclasses.replace(recording.trials, events=events),
        )

    return move


@pytest.fixture
def with_spikes() -> Callable[[Recording, list[np.ndarray]], Recording]:
    """Return the function that replaces a recording's units by those with the given spike times."""

    def replace(recording: Recording, units: list[np.ndarray]) -> Recording:
        n = len(units)
        table = dataclasses.replace(
            recording.units,
            ids=np.arange(n),
            area=np.full(n, "M1", dtype=object),
            heldout=np.zeros(n, dtype=bool),
        )
        times = np.concatenate([np.sort(unit) for unit in units])
        index = np.cumsum([len(unit) for unit in units])
        return dataclasses.replace(recording, spike_times=times, spike_index=index, units=table)

    return replace
