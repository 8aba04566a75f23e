"""A session with all that a store's trials have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from nwb_latents.pipeline.stores.session import Session, session_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def whole_session(make_session) -> Callable[..., Session]:
    """Build a session with events, rates of units and onset quality, of some conditions with directions."""

    def build(*, n_conditions: int = 8, n_trials: int = 40, **changes: object) -> Session:
        trials, continuous = make_session(n_trials=n_trials)
        rng = np.random.default_rng(0)
        kind = np.arange(n_trials) % max(n_conditions, 1)
        names = [f"{360 * k / n_conditions:.1f} deg" if n_conditions else "" for k in kind]
        event = 10.0 + 2.0 * np.arange(n_trials)
        reaction = 0.25 + 0.05 * rng.random(n_trials)
        reaction[3] = np.nan
        onset = np.array(["ok"] * n_trials, dtype=object)
        onset[5:8] = "several_peaks"
        known = {
            "condition": ("trial", np.array(names, dtype=object)),
            "target_dir": (
                "trial",
                2 * np.pi * kind / max(n_conditions, 1) if n_conditions else kind * np.nan,
            ),
            "event_time": ("trial", event),
            "event_offset": ("trial", np.full(n_trials, 0.005)),
            "go_cue": ("trial", event - reaction),
            "reaction_time": ("trial", reaction),
            "peak_speed": ("trial", 20 + 5 * rng.random(n_trials)),
            "onset_quality": ("trial", onset),
            "mean_rate": ("unit", np.linspace(40, 2, trials.sizes["unit"])),
            "area": ("unit", np.array(["M1"] * trials.sizes["unit"], dtype=object)),
        }
        trials = trials.assign_coords({**known, **changes})
        continuous["velocity"].attrs["units"] = "cm/s"
        return session_in_memory(trials, continuous)

    return build
