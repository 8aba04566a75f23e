"""Simulated sessions shared by the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nwb_latents.pipeline.sources.simulator import SimulatedSession, simulate_dandiset, simulate_session
from nwb_latents.schemas.simulation import SimulateSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def centre_out() -> SimulatedSession:
    """Eighty centre-out trials of sixty units, a third of them failed."""
    return simulate_session(
        SimulateSettings(preset="classic", n_units=(60, 60), n_trials=80, failure_rate=0.3, seed=3)
    )


@pytest.fixture(scope="session")
def random_target() -> SimulatedSession:
    """Forty random-target trials, a third of them failed."""
    settings = SimulateSettings(
        preset="classic", task="RT", n_units=(10, 10), n_trials=40, failure_rate=0.3, seed=4
    )
    return simulate_session(settings)


@pytest.fixture(scope="session")
def nwb_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write one small session and return its path; the same settings are written once."""
    written: dict[str, Path] = {}

    def write(**changes: object) -> Path:
        sizes = {
            "preset": "classic",
            "n_subjects": 1,
            "n_sessions": 1,
            "n_units": (9, 9),
            "n_trials": 12,
            "failure_rate": 0.3,
        }
        settings = SimulateSettings.model_validate({**sizes, "seed": 1, **changes})
        if settings.digest() not in written:
            (path,) = simulate_dandiset(tmp_path_factory.mktemp("dandiset"), settings)
            written[settings.digest()] = path
        return written[settings.digest()]

    return write
