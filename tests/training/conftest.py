"""Small stores as datasets, small settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

BIN_S = 0.02


def _dataset(session: str, *, n_trials: int, n_units: int, n_bins: int = 10, seed: int = 0) -> xr.Dataset:
    """Rates that follow one oscillation with a phase per trial, Poisson counts of them."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (n_trials, 1)) + 0.5 * np.arange(n_bins)
    state = np.stack([np.cos(phase), np.sin(phase)], -1)
    rates = np.clip(15 + 10 * state @ rng.normal(size=(2, n_units)), 0.5, None)
    counts = rng.poisson(rates * BIN_S).astype(np.uint16)
    split = np.array(["train", "train", "train", "val", "test"] * n_trials)[:n_trials]
    dims = ("trial", "time", "unit")
    return xr.Dataset(
        {"counts": (dims, counts), "rates": (dims, rates.astype(np.float32))},
        coords={"split": ("trial", split.astype(object)), "unit": ("unit", np.arange(n_units) + 100)},
        attrs={"session": session, "store_key": f"key-{session}-{seed}", "bin_size_s": BIN_S},
    )


@pytest.fixture
def make_dataset() -> Callable[..., xr.Dataset]:
    """Maker of one session's trials."""
    return _dataset


@pytest.fixture
def datasets() -> dict[str, xr.Dataset]:
    """Two sessions of different size."""
    return {
        "sub-A_ses-1": _dataset("sub-A_ses-1", n_trials=20, n_units=6, seed=1),
        "sub-B_ses-1": _dataset("sub-B_ses-1", n_trials=15, n_units=4, seed=2),
    }


SMALL: dict[str, Any] = {
    "model": {
        "latent_dim": 3,
        "embedding_dim": 1,
        "rank": 1,
        "dynamics_width": 8,
        "hyper_width": 8,
        "encoder_width": 8,
        "read_in": {"hidden": 8, "width": 6},
    },
    "batch": {"trials_per_session": 6},
    "optimiser": {"lr": 5e-3},
    "max_steps": 20,
    "validate_every": 5,
    "checkpoint_every": 5,
    "device": "cpu",
}


@pytest.fixture
def make_settings() -> Callable[..., TrainSettings]:
    """Maker of small settings; keywords replace top-level keys, a model's keys are merged."""

    def make(**changes: Any) -> TrainSettings:
        merged = {**SMALL, **changes}
        merged["model"] = {**SMALL["model"], **changes.get("model", {})}
        return TrainSettings.model_validate(merged)

    return make
