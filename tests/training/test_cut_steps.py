"""Training steps that practise forecasting, and the validation loss that goes with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from small_models import SMALL

from nwb_latents.models.batching.cuts import cut_at, fixed_cuts
from nwb_latents.models.batching.tensors import Batch, pack
from nwb_latents.models.batching.views import View, compose, observe
from nwb_latents.models.interface import Model, total_loss
from nwb_latents.models.randomness import derived_generator
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.checkpoint import load_checkpoint
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.run_files import BEST, METRICS
from nwb_latents.schemas.base import Reading
from nwb_latents.schemas.models import known_models
from nwb_latents.schemas.registry import MODELS
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from nwb_latents.pipeline.training.loop import FitResult


def settings_of(name: str, **changes: Any) -> TrainSettings:
    model = {"name": name, **SMALL.get(name, {}), **changes.pop("model", {})}
    return TrainSettings.model_validate({
        "model": model, "device": "cpu", "max_steps": 6, "validate_every": 2, "checkpoint_every": 50,
        "batch": {"trials_per_session": 4}, "optimiser": {"lr": 3e-3, "warmup_steps": 0}, **changes,
    })  # fmt: skip


def trained(
    datasets: dict[str, xr.Dataset], settings: TrainSettings, folder: Path, **options: Any
) -> tuple[FitResult, Model]:
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=0)
    return fit(model, feeds, settings, folder, **options), model


def same(one: Model, other: Model) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_practises_forecasting_where_it_is_set_to(
    datasets: dict[str, xr.Dataset], tmp_path: Path, name: str
) -> None:
    """The share reaches the steps: cut in all of them, what is learnt is other; the draw is the seed's."""
    runs = {
        part: trained(datasets, settings_of(name, model={"cut_probability": share}), tmp_path / part)[1]
        for part, share in (("whole", 0.0), ("cut", 1.0), ("again", 1.0))
    }
    assert not same(runs["whole"], runs["cut"])
    assert same(runs["cut"], runs["again"])


@pytest.mark.parametrize("name", list(MODELS))
def test_no_cut_is_exactly_the_objective_of_whole_trials(
    datasets: dict[str, xr.Dataset], tmp_path: Path, name: str
) -> None:
    """The loss of the first step, written out: whole trials, under the random numbers of that step."""
    settings = settings_of(name, model={"cut_probability": 0.0}, max_steps=1, validate_every=1)
    handed: list[Batch] = []

    def masker(batch: Batch, generator: torch.Generator | None, step: int) -> View:
        if step == 0 and generator is not None:
            handed.append(batch)
        return observe(batch, generator, step)

    result, _ = trained(datasets, settings, tmp_path, masker=masker)
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=0).train()
    model.start_from({n: f.train.scored.nanmean((0, 1)).nan_to_num() for n, f in feeds.items()})
    noise = derived_generator(settings.seed, "noise", 0, 0, device=torch.device("cpu"))
    loss = total_loss(model(handed[0], observe(handed[0]), 0, noise), 0).detach()
    assert result.metrics["loss"] == float(loss) / len(feeds)


@pytest.mark.parametrize("name", list(MODELS))
def test_files_from_before_are_read_as_then(name: str) -> None:
    """A run's settings that do not speak of cuts were those of whole trials, and validated so."""
    said = settings_of(name).model_dump(mode="json")
    said["model"].pop("cut_probability")
    said.pop("validation_cuts")
    read = TrainSettings.model_validate(said, context=Reading(bin_size_s=0.02))
    assert read.validation_cuts == 0
    assert read.model.cut_share == (0.5 if name == "mdssm" else 0.0)


def test_every_model_of_the_program_can_practise_forecasting() -> None:
    assert all("cut_probability" in kind.model_fields for kind in known_models().values())


@pytest.mark.parametrize("name", list(MODELS))
def test_the_best_step_is_chosen_by_whole_and_cut_trials_as_they_are_trained(
    datasets: dict[str, xr.Dataset], tmp_path: Path, name: str
) -> None:
    settings = settings_of(name, model={"cut_probability": 0.8})
    result, model = trained(datasets, settings, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    validated = [row for row in rows if "val_loss" in row]
    for row in validated:
        assert row["val_loss"] == pytest.approx(0.2 * row["val_whole_loss"] + 0.8 * row["val_cut_loss"])
    losses = [row["val_loss"] for row in validated]
    assert result.metrics["best_val_loss"] == min(losses)
    assert validated[losses.index(min(losses))]["step"] == result.best_step
    load_checkpoint(tmp_path / BEST, model)


def test_cut_validation_trials_are_scored_at_fixed_bins(
    datasets: dict[str, xr.Dataset], tmp_path: Path
) -> None:
    """Nothing is drawn in the one model without noise: its losses can be written out."""
    settings = settings_of("node_sae", model={"cut_probability": 0.8}, max_steps=2)
    result, model = trained(datasets, settings, tmp_path)
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    model.eval()

    def loss(masker: Any) -> float:
        batch = pack([feed.val for feed in feeds.values()])
        with torch.no_grad():
            return float(total_loss(model(batch, masker(batch, None, 0), 10**9), 10**9)) / len(feeds)

    n_bins = next(iter(feeds.values())).val.y.shape[1]
    cuts = fixed_cuts(n_bins, settings.validation_cuts)
    assert len(cuts) == 3
    wanted = sum(loss(compose(observe, cut_at(bins))) for bins in cuts) / 3
    assert result.metrics["val_cut_loss"] == pytest.approx(wanted, rel=1e-5)
    assert result.metrics["val_whole_loss"] == pytest.approx(loss(observe), rel=1e-5)


@pytest.mark.parametrize("changes", [{"model": {"cut_probability": 0.0}}, {"validation_cuts": 0}])
def test_whole_trials_alone_decide_where_nothing_is_cut_or_no_cut_is_asked_for(
    datasets: dict[str, xr.Dataset], tmp_path: Path, changes: dict[str, Any]
) -> None:
    result, _ = trained(datasets, settings_of("mdssm", **changes), tmp_path)
    assert "val_cut_loss" not in result.metrics
    other = settings_of("mdssm", model={"cut_probability": 0.8}, validation_cuts=2)
    both, _ = trained(datasets, other, tmp_path / "both")
    if "validation_cuts" in changes:
        assert both.metrics["val_whole_loss"] == result.metrics["val_loss"]


def test_held_back_samples_of_cut_trials_decide_too(datasets: dict[str, xr.Dataset], tmp_path: Path) -> None:
    held = {"masks": {"sample_validation": 0.2}, "model": {"cut_probability": 0.5}}
    one, _ = trained(datasets, settings_of("lfads", **held), tmp_path / "cuts")
    two, _ = trained(datasets, settings_of("lfads", **held, validation_cuts=0), tmp_path / "whole")
    assert one.metrics["val_held_loss"] != two.metrics["val_held_loss"]
    assert one.metrics["best_val_loss"] <= one.metrics["val_held_loss"]
