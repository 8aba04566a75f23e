"""Every model trains on a GPU; what it then gives does not depend on where it is computed."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import xarray as xr

from nwb_latents.models.batching.tensors import pack
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.checkpoint import load_checkpoint
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.run_files import BEST, LAST, METRICS
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.feed import SessionFeed

BIN_S = 0.02

MODELS: dict[str, dict[str, Any]] = {
    "mdssm": {"model": {"name": "mdssm"}},
    "mdssm, poisson": {"model": {"name": "mdssm", "likelihood": "poisson"}, "signal": "counts"},
    "lfads": {"model": {"name": "lfads"}, "signal": "counts"},
    "lfads, without controller": {"model": {"name": "lfads", "controller_dim": 0}, "signal": "counts"},
    "ndt": {"model": {"name": "ndt"}, "signal": "counts"},
    "node_sae": {"model": {"name": "node_sae"}, "signal": "counts"},
    "gnocchi": {"model": {"name": "gnocchi"}},
    "hnet": {"model": {"name": "hnet"}},
}
"""By name: settings that are not the defaults."""

FORECAST = ("mdssm", "mdssm, poisson", "lfads", "lfads, without controller", "node_sae", "hnet")


def sessions() -> dict[str, Session]:
    """Two small sessions whose rates follow an oscillation."""
    rng = np.random.default_rng(0)
    made = {}
    for name, n_units in (("sub-A_ses-1", 24), ("sub-B_ses-1", 17)):
        n_trials, n_bins = 40, 36
        phase = rng.uniform(0, 2 * np.pi, (n_trials, 1)) + 0.3 * np.arange(n_bins)
        state = np.stack([np.cos(phase), np.sin(phase)], -1)
        rates = np.clip(15 + 10 * state @ rng.normal(size=(2, n_units)), 0.5, None)
        dims = ("trial", "time", "unit")
        split = np.array(["train", "train", "train", "val", "test"] * n_trials)[:n_trials]
        made[name] = session_in_memory(
            xr.Dataset(
                {
                    "counts": (dims, rng.poisson(rates * BIN_S).astype(np.uint16)),
                    "rates": (dims, rates.astype(np.float32)),
                },
                coords={"split": ("trial", split.astype(object)), "unit": ("unit", np.arange(n_units))},
                attrs={"session": name, "store_key": f"key-{name}", "bin_size_s": BIN_S},
            )
        )
    return made


def settings_of(name: str, **changes: Any) -> TrainSettings:
    fixed = {"max_steps": 6, "validate_every": 3, "checkpoint_every": 3, "batch": {"trials_per_session": 8}}
    return TrainSettings.model_validate({**fixed, **MODELS[name], **changes})


def feeds_of(settings: TrainSettings) -> dict[str, SessionFeed]:
    return feed_sessions(sessions().values(), settings)


def built(settings: TrainSettings, feeds: dict[str, SessionFeed]) -> Model:
    return build_model(settings.model, {name: feed.train.y.shape[2] for name, feed in feeds.items()}, seed=0)


def trained(settings: TrainSettings, folder: Path, **words: Any) -> Any:
    feeds = feeds_of(settings)
    return fit(built(settings, feeds), feeds, settings, folder, **words)


def run_on(settings: TrainSettings, folder: Path, device: str) -> TrainedRun:
    feeds = feeds_of(settings)
    model = built(settings, feeds)
    load_checkpoint(folder / BEST, model)
    scalings = {name: feed.scaling for name, feed in feeds.items()}
    return TrainedRun("r", settings, model.to(device).eval(), scalings, torch.device(device))


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_trained_on_a_gpu_infers_is_the_same_on_either(name: str, tmp_path: Path) -> None:
    settings = settings_of(name, device="auto")
    torch.cuda.reset_peak_memory_stats()
    result = trained(settings, tmp_path)
    assert torch.cuda.max_memory_allocated() > 0, "auto takes the GPU"
    assert result.steps == 6
    assert math.isfinite(result.metrics["val_loss"])
    there, here = (run_on(settings, tmp_path, device) for device in ("cuda", "cpu"))
    for session in sessions().values():
        one, other = (run.reconstruct(session, n_samples=0) for run in (there, here))
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4 * np.abs(other).max())
        for e, same in zip(there.embedding(session), here.embedding(session), strict=True):
            np.testing.assert_allclose(e, same, rtol=1e-3, atol=1e-4)
        if name in FORECAST:
            one, other = (run.forecast(session, seen_bins=13, n_bins=20) for run in (there, here))
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())


@pytest.mark.parametrize("name", MODELS)
def test_in_double_precision_rates_and_gradients_are_those_of_the_processor(name: str) -> None:
    """Noise apart, which every device draws in its own way: the model as it evaluates."""
    settings = settings_of(name)
    found = []
    for device in ("cpu", "cuda"):
        feeds = feeds_of(settings)
        model = built(settings, feeds).to(device, torch.float64).eval()
        batch = pack([feed.train for feed in feeds.values()]).to(torch.device(device), torch.float64)
        output = model.predict(batch)
        loss = output.mean.square().mean()
        loss.backward()
        gradients = {
            n: torch.zeros_like(p).cpu() if p.grad is None else p.grad.cpu()
            for n, p in model.named_parameters()
        }
        found.append((output.mean.detach().cpu(), gradients))
    (mean, gradients), (same_mean, same_gradients) = found
    torch.testing.assert_close(mean, same_mean, rtol=1e-8, atol=1e-9)
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(gradient, same_gradients[parameter], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "64-true"])
@pytest.mark.parametrize("name", MODELS)
def test_every_precision_trains(name: str, precision: str, tmp_path: Path) -> None:
    result = trained(settings_of(name, device="cuda", precision=precision), tmp_path)
    assert result.steps == 6
    assert math.isfinite(result.metrics["val_loss"])


@pytest.mark.parametrize("name", MODELS)
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    settings = settings_of(name, device="cuda")
    trained(settings, tmp_path / "whole")
    trained(settings, tmp_path / "parts", stop_at=3)
    trained(settings, tmp_path / "parts", resume=True)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / part / METRICS).read_text().splitlines()]
        for part in ("whole", "parts")
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3)


@pytest.mark.parametrize("name", MODELS)
def test_a_training_begun_on_a_gpu_goes_on_without_one(name: str, tmp_path: Path) -> None:
    trained(settings_of(name, device="cuda"), tmp_path, stop_at=3)
    result = trained(settings_of(name, device="cpu"), tmp_path, resume=True)
    assert result.steps == 6
    assert (tmp_path / LAST).is_file()


def test_what_masks_hide_is_hidden_on_a_gpu(tmp_path: Path) -> None:
    """Coordinated dropout and sample validation draw their masks where the batch is."""
    masks = {"coordinated_dropout": 0.3, "sample_validation": 0.2}
    result = trained(settings_of("lfads", device="cuda", masks=masks), tmp_path)
    assert math.isfinite(result.metrics["val_held_nll"])


def test_a_gpu_that_is_too_small_is_told_with_a_remedy(tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.0005)
    try:
        with pytest.raises(MachineError, match=r"out of memory.*Lower") as error:
            trained(settings_of("lfads", device="cuda", batch={"trials_per_session": 4096}), tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert error.value.exit_code == 5
