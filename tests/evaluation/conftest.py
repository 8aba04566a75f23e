"""A synthetic session: velocity is a linear read of latent rates five bins later, rates are noisy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Callable


def _build(
    *,
    n_trials: int = 40,
    n_units: int = 20,
    lag_bins: int = 5,
    noise_hz: float = 2.0,
    seed: int = 0,
    session: str = "sub-A_ses-CO-20200101",
    gap_bins: int = 20,
) -> tuple[xr.Dataset, xr.Dataset]:
    recipe = IngestRecipe()
    rng = np.random.default_rng(seed)
    n_bins, before = recipe.n_bins, 13
    n_time = n_trials * (n_bins + gap_bins) + 2 * gap_bins
    start = gap_bins + np.arange(n_trials) * (n_bins + gap_bins)
    direction = 2 * np.pi * rng.integers(8, size=n_trials) / 8
    velocity = rng.normal(scale=0.3, size=(n_time, 2))
    speed = 40 * np.exp(-0.5 * ((np.arange(n_bins) - before - 8) / 4.0) ** 2)
    for first, angle in zip(start, direction, strict=True):
        velocity[first : first + n_bins] += speed[:, None] * [np.cos(angle), np.sin(angle)]
    loadings = rng.normal(size=(2, n_units))
    rates = np.full((n_time, n_units), 30.0)
    rates[: n_time - lag_bins] += velocity[lag_bins:] @ loadings * 0.3
    rates = np.clip(rates + rng.normal(scale=noise_hz, size=rates.shape), 0, None)
    window = start[:, None] + np.arange(n_bins)
    counts = np.random.default_rng(seed + 1000).poisson(rates * recipe.bin_size_s).astype(np.uint16)
    split = np.resize(np.array(["train"] * 7 + ["val"] + ["test"] * 2, dtype=object), n_trials)
    attrs = {
        "session": session,
        "bin_size_s": recipe.bin_size_s,
        "recipe": json.dumps(recipe.model_dump(mode="json")),
    }
    trials = xr.Dataset(
        {
            "rates": (("trial", "time", "unit"), rates[window].astype(np.float32)),
            "counts": (("trial", "time", "unit"), counts[window]),
            "velocity": (("trial", "time", "axis"), velocity[window]),
        },
        coords={
            "trial": np.arange(n_trials),
            "time": (np.arange(n_bins) - before) * recipe.bin_size_s,
            "unit": np.arange(n_units),
            "axis": np.array(["x", "y"], dtype=object),
            "start_bin": ("trial", start),
            "split": ("trial", split),
            "condition": ("trial", np.array([f"{np.degrees(a):.0f} deg" for a in direction], dtype=object)),
            "target_dir": ("trial", direction),
        },
        attrs=attrs,
    )
    continuous = xr.Dataset(
        {
            "rates": (("time", "unit"), rates.astype(np.float32)),
            "velocity": (("time", "axis"), velocity),
            "observed": ("time", np.ones(n_time, dtype=bool)),
        },
        coords={"time": np.arange(n_time) * recipe.bin_size_s, "axis": np.array(["x", "y"], dtype=object)},
        attrs=attrs,
    )
    return trials, continuous


@pytest.fixture(scope="session")
def make_session() -> Callable[..., tuple[xr.Dataset, xr.Dataset]]:
    """Build a session: keyword arguments n_trials, n_units, lag_bins, noise_hz, seed, session."""
    return _build
