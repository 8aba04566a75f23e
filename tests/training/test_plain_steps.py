"""A training ends in the weights of its steps written out plainly, to the last bit, for each model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from small_models import SMALL

from nwb_latents.models.batching.draws import BatchPlan, draw_batches
from nwb_latents.models.interface import total_loss
from nwb_latents.models.losses.schedules import warmup_cosine
from nwb_latents.models.randomness import derived_generator
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.checkpoint import read_weights
from nwb_latents.pipeline.training.feed import SessionFeed, feed_sessions
from nwb_latents.pipeline.training.loop import fit, masked_once
from nwb_latents.pipeline.training.run_files import LAST
from nwb_latents.pipeline.training.step_masks import step_masker
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

STEPS = 7


def plainly_trained(feeds: dict[str, SessionFeed], settings: TrainSettings) -> dict[str, torch.Tensor]:
    """Return the weights after `STEPS` steps, every number read back in every step."""
    model = build_model(settings.model, {name: one.train.n_units for name, one in feeds.items()}, seed=0)
    feeds = {name: masked_once(feed, settings) for name, feed in feeds.items()}
    model.start_from({name: one.train.scored.nanmean((0, 1)).nan_to_num() for name, one in feeds.items()})
    learning = [one for one in model.parameters() if one.requires_grad]
    asked = settings.optimiser
    optimiser = torch.optim.AdamW(learning, lr=asked.lr, weight_decay=asked.weight_decay, fused=True)
    rate = warmup_cosine(asked.lr, settings.max_steps, warmup=asked.warmup(settings.max_steps))
    masker, model = step_masker(settings), model.train()
    plan = BatchPlan(settings.batch.trials_per_session, None, 20, settings.batch.sessions_per_block)
    trials = {name: feed.train for name, feed in feeds.items()}
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = rate(step)
        optimiser.zero_grad()
        for number, batch in enumerate(draw_batches(trials, plan, seed=0, step=step)):
            noise = derived_generator(0, "noise", step, number)
            loss = total_loss(model(batch, masker(batch, noise, step), step, noise), step)
            assert torch.isfinite(loss)
            loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), asked.clip_norm)
        assert float(norm) > asked.clip_norm, "clipping is not tried"
        optimiser.step()
    return model.state_dict()


@pytest.mark.parametrize(
    "masks", [{}, {"sample_validation": 0.1, "coordinated_dropout": 0.2}], ids=["", "masks"]
)
@pytest.mark.parametrize("name", list(SMALL))
def test_a_training_is_its_steps(
    datasets: dict[str, xr.Dataset], tmp_path: Path, name: str, masks: dict[str, Any]
) -> None:
    settings = TrainSettings.model_validate({
        "model": {"name": name, **SMALL[name]}, "masks": masks, "device": "cpu", "max_steps": STEPS,
        "batch": {"trials_per_session": 6, "sessions_per_block": 1},
        "optimiser": {"lr": 5e-3, "clip_norm": 1e-3},
    })  # fmt: skip
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    model = build_model(settings.model, {name: one.train.n_units for name, one in feeds.items()}, seed=0)
    fit(model, feeds, settings, tmp_path)
    found, wanted = read_weights(tmp_path / LAST), plainly_trained(feeds, settings)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.equal(found[key], value), key
