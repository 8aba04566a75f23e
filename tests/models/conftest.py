"""Small models and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.families.mdssm import MDSSM
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = {"a": 5, "b": 3, "c": 4}


def _trials(n_trials: dict[str, int], n_bins: int = 12, seed: int = 0) -> dict[str, TrialTensors]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: TrialTensors(
            name, torch.randn(n, n_bins, UNITS[name], generator=generator, dtype=torch.float64)
        )
        for name, n in n_trials.items()
    }


@pytest.fixture
def trials() -> dict[str, TrialTensors]:
    """Three sessions with different numbers of trials and units."""
    return _trials({"a": 4, "b": 2, "c": 3})


@pytest.fixture
def batch(trials: dict[str, TrialTensors]) -> Batch:
    """The three sessions packed."""
    return pack(list(trials.values()))


@pytest.fixture
def small() -> Callable[..., MDSSM]:
    """Builder of a small double-precision MDSSM for the three sessions."""

    def build(**changes: object) -> MDSSM:
        base = {
            "latent_dim": 3,
            "embedding_dim": 2,
            "rank": 2,
            "dynamics_width": 8,
            "hyper_width": 6,
            "encoder_width": 7,
            "read_in": ReadInSettings(hidden=6, width=5),
        }
        settings = MDSSMSettings.model_validate({**base, **changes})
        model = build_model(settings, UNITS, seed=1).double()
        assert isinstance(model, MDSSM)
        return model

    return build
