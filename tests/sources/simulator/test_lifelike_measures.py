"""What sets preset 'lifelike' apart, measured on three seeds: every range is one that 'classic' misses."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulator import MEASURES, Days
from nwb_latents.schemas.simulation import SimulateSettings

SEEDS = (0, 1, 2)
RANGES: dict[str, tuple[float, float]] = {
    "CV of peak speed": (0.4, 0.65),
    "share of two-peaked reaches": (0.15, 0.45),
    "SD of the time of the peak, of the duration": (0.05, 0.15),
    "off the straight line, of the distance": (0.035, 0.12),
    "velocity R², linear, true rates": (0.85, 0.98),
    "bits/spike of true rates, window": (0.2, 0.5),
    "bits/spike of true rates, 200 ms after it": (0.04, 0.25),
    "neurons found again after a week": (0.75, 0.999),
    "their rate changed by a factor of": (1.05, 1.4),
    "their preferred direction turned by, degrees": (4.0, 20.0),
    "rates changed within a session by a factor of": (1.05, 1.35),
    "latents not foretold by dynamics of another subject": (0.1, 1.5),
}
"""Of what `benchmarks.simulator` measures, centre-out."""


def made(preset: str, seed: int) -> dict[str, float]:
    settings = SimulateSettings.model_validate({"preset": preset, "n_units": (60, 60), "seed": seed})
    days = Days.of(settings)
    return {name: measure(days) for name, measure in MEASURES.items()}


@pytest.fixture(scope="module")
def lifelike() -> list[dict[str, float]]:
    """Measures of three seeds."""
    return [made("lifelike", seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def classic() -> dict[str, float]:
    """Measures of one seed of the other preset."""
    return made("classic", 0)


@pytest.mark.parametrize("name", RANGES)
def test_lifelike_sessions_are_within_the_range(name: str, lifelike: list[dict[str, float]]) -> None:
    low, high = RANGES[name]
    found = np.array([measures[name] for measures in lifelike])
    assert ((low <= found) & (found <= high)).all(), found


@pytest.mark.parametrize("name", RANGES)
def test_classic_sessions_are_not(name: str, classic: dict[str, float]) -> None:
    low, high = RANGES[name]
    assert not low <= classic[name] <= high


def test_dynamics_differ_between_subjects_and_tasks_and_not_between_days(
    lifelike: list[dict[str, float]],
) -> None:
    for measures in lifelike:
        day, subject, task = (
            measures[f"latents not foretold by dynamics of another {what}"]
            for what in ("day", "subject", "task")
        )
        assert day < 1e-6
        assert min(subject, task) > 0.02


def test_smoothed_spikes_still_tell_the_velocity(lifelike: list[dict[str, float]]) -> None:
    for measures in lifelike:
        smoothed = measures["velocity R², linear, smoothed spikes"]
        assert 0.6 < smoothed < measures["velocity R², linear, true rates"] - 0.1
