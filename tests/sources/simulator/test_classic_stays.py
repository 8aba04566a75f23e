"""Preset 'classic' is what was simulated before there were presets.

Behaviour is held to a digest, rounded beyond what machines differ in. Rates pass through single precision,
whose last digit differs between processors and moves a spike by a tick of the clock or two: of spikes, the
number of each unit and their mean time are held.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from nwb_latents.pipeline.sources.simulator import simulate_session
from nwb_latents.schemas.simulation import SimulateSettings

VARIANTS: dict[str, dict[str, Any]] = {
    "CO": {},
    "RT": {"task": "RT"},
    "late": {"reach_profile": "late"},
    "elbow": {"layout": "foreign"},
    "cycle": {"system": "limit_cycle"},
}
WRITTEN: dict[str, dict[str, Any]] = {
    "CO": {
        "digest": "1:6f4c80a442123268ddd771b3024a28df7f9751f74c108523be9ffa34ecd579f2",
        "behaviour": "3eac3409ebad319a",
        "spikes": [885, 1768, 470, 0, 0],
        "mean_s": [26.506, 26.292, 25.373],
    },
    "RT": {
        "digest": "1:c4d1847157ee688c6a52c980f23057158e69d0990c972ea16b85683e2d49a6b7",
        "behaviour": "c0838920f10f5b5e",
        "spikes": [1064, 2081, 533, 1, 1],
        "mean_s": [31.207, 31.027, 29.898, 26.586, 21.192],
    },
    "late": {
        "digest": "1:2f439f5cc8031c2fcc64cfa30882186722a27ce1c1a02dd6bf760535d096a9f6",
        "behaviour": "000068a0d8d612c5",
        "spikes": [885, 1774, 470, 0, 0],
        "mean_s": [26.486, 26.281, 25.42],
    },
    "elbow": {
        "digest": "1:c1520cb11d7379d19aa5b54cfebc36b38e97cd90aa37e9b2695baa3218e1427f",
        "behaviour": "a5edc32de27516ac",
        "spikes": [811, 1584, 415, 1, 1],
        "mean_s": [24.244, 24.057, 23.817, 40.593, 28.924],
    },
    "cycle": {
        "digest": "1:bf590b52e9c3c6c8d5a24c3aeca83f7e2898d8abacc5fd0e00523687c408e048",
        "behaviour": "4c6905f67d7a9364",
        "spikes": [413, 701, 0, 0, 781],
        "mean_s": [16.401, 13.252, 15.477],
    },
}
"""As the version before presets made them."""


def summary(name: str) -> dict[str, Any]:
    preset = {} if name == "cycle" else {"preset": "classic"}
    sizes = {"n_units": (5, 6), "n_trials": 12, "seed": 4, **preset, **VARIANTS[name]}
    made = simulate_session(SimulateSettings.model_validate(sizes), subject=1, session=1)
    truth = made.truth
    behaviour = [truth.onset_s, truth.go_cue_s, truth.target_dir_rad, truth.velocity, truth.position]
    whole = np.concatenate([np.nan_to_num(1000 * values, nan=-1e6).round().ravel() for values in behaviour])
    units = np.split(made.spike_times, made.spike_index[:-1])
    return {
        "digest": truth.settings_digest,
        "behaviour": hashlib.sha256(whole.astype(np.int64).tobytes()).hexdigest()[:16],
        "spikes": [len(unit) for unit in units],
        "mean_s": [round(float(unit.mean()), 3) for unit in units if len(unit)],
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_sessions_are_those_of_before(name: str) -> None:
    found, written = summary(name), WRITTEN[name]
    assert found["digest"] == written["digest"]
    assert found["behaviour"] == written["behaviour"]
    assert found["spikes"] == written["spikes"]
    np.testing.assert_allclose(found["mean_s"], written["mean_s"], atol=0.002)
