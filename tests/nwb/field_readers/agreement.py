"""What two readers have in common, in one form: spikes of each unit, samples, stretches of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import Recording

SECONDS = 1e-9
"""Times that come of the same number in the file by other sums agree to this."""


def spikes_of(recording: Recording) -> list[np.ndarray]:
    """Return the spike times of each unit of ours."""
    return np.split(recording.spike_times, recording.spike_index[:-1])


def spikes_of_brainsets(taken: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the spike times of each unit of theirs."""
    times, unit = taken["spikes/timestamps"], taken["spikes/unit_index"]
    return [np.sort(times[unit == k]) for k in range(len(taken["units/id"]))]


def assert_same_spikes(ours: list[np.ndarray], theirs: list[np.ndarray], *, within: float = 0.0) -> None:
    """Hold the units against each other, one by one."""
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=within)


def inside(times: np.ndarray, stretches: np.ndarray) -> np.ndarray:
    """Return which times lie in a stretch ``[start, stop)``."""
    return ((stretches[:, 0] <= times[:, None]) & (times[:, None] < stretches[:, 1])).any(axis=1)
