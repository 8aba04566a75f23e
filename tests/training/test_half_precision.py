"""``precision: bf16-mixed`` trains every model: what can be is in half precision, weights are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from small_models import SMALL

from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr


@pytest.mark.parametrize("name", list(SMALL))
def test_half_precision_trains_every_model(
    datasets: dict[str, xr.Dataset], tmp_path: Path, name: str
) -> None:
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        settings = TrainSettings.model_validate({
            "model": {"name": name, **SMALL[name]}, "device": "cpu", "precision": precision, "max_steps": 12,
            "batch": {"trials_per_session": 6}, "optimiser": {"lr": 5e-3}, "validate_every": 12,
        })  # fmt: skip
        feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
        units = {session: one.train.n_units for session, one in feeds.items()}
        model = build_model(settings.model, units, seed=0)
        losses[precision] = fit(model, feeds, settings, tmp_path / precision).metrics["val_loss"]
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.05)
    assert losses["bf16-mixed"] != losses["32-true"]
