"""Every published variant of LFADS that the manual lists trains from its configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from nwb_latents.models.families.lfads import LFADS
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.pipeline.training.alignment import aligned_model, few_shot_settings, require_unchanged
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.regression_start import start_by_regression
from nwb_latents.schemas.align import AlignSettings
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "lfads"
PAGE = FOLDER.parents[1] / "explanation" / "lfads.md"
SIZES = {"generator_dim": 8, "ic_dim": 4, "encoder_dim": 6}


def small(path: Path, **changes: object) -> TrainSettings:
    """Return the settings of a file with a small model and few steps."""
    whole = settings_from(TrainSettings, file=path)
    shrunk = whole.model.model_copy(update=SIZES)
    if whole.model.controller_dim:
        shrunk = shrunk.model_copy(update={"controller_dim": 5})
    steps = {"max_steps": 6, "validate_every": 3, "device": "cpu", "model": shrunk}
    return whole.model_copy(update={**steps, **changes})


@pytest.fixture
def sessions(make_dataset: Callable[..., xr.Dataset]) -> dict[str, xr.Dataset]:
    """Two sessions with the same two conditions."""
    made = {}
    for name, n_units in {"sub-A_ses-1": 20, "sub-A_ses-2": 18}.items():
        dataset = make_dataset(name, n_trials=30, n_units=n_units, seed=n_units)
        condition = np.array(["left", "right"] * 15, dtype=object)
        made[name] = dataset.assign_coords(condition=("trial", condition))
    return made


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_published_variant_trains(path: Path, sessions: dict[str, xr.Dataset], tmp_path: Path) -> None:
    settings = small(path)
    feeds = feed_sessions(map(session_in_memory, sessions.values()), settings)
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=0)
    started = start_by_regression(model, feeds, map(session_in_memory, sessions.values()))
    assert started == (path.stem == "stitching")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = fit(model, feeds, settings, tmp_path)
    assert np.isfinite(result.metrics["val_loss"])
    learnt = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert "decoder.generator.gru.w_hh" in learnt
    assert ("read_in.weight.blocks.0" in learnt) == settings.model.read_in.learned
    assert f"lfads/{path.name}" in PAGE.read_text(encoding="utf-8")


def test_regression_reads_the_same_conditions_of_two_sessions_in_alike(
    sessions: dict[str, xr.Dataset],
) -> None:
    settings = settings_from(
        TrainSettings, file=FOLDER / "stitching.yaml",
        words=["model.read_in.hidden=2", "model.read_in.width=2", "model.factor_dim=2"],
    )  # fmt: skip
    common = np.random.default_rng(0).normal(size=(2, 10, 2)).cumsum(1)
    for seed, dataset in enumerate(sessions.values()):
        mixing = np.random.default_rng(seed + 1).normal(size=(2, dataset.sizes["unit"]))
        rates = np.exp(0.3 * common @ mixing)[(dataset["condition"].values == "right").astype(int)]
        dataset["counts"].values[:] = np.random.default_rng(9).poisson(8 * rates)
    feeds = feed_sessions(map(session_in_memory, sessions.values()), settings)
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=0)
    assert isinstance(model, LFADS)

    def read_in() -> list[torch.Tensor]:
        found = []
        for row, (name, feed) in enumerate(feeds.items()):
            train = sessions[name]["split"].values == "train"
            right = sessions[name]["condition"].values[train] == "right"
            y = feed.train.y
            means = torch.stack([y[~right].mean(0), y[right].mean(0)])[None]
            found.append(model.read_in(means, torch.tensor([row])).detach())
        return found

    def disagreement() -> float:
        one, other = read_in()
        return float((one - other).square().sum() / (one.square() + other.square()).sum())

    assert disagreement() > 0.5
    assert start_by_regression(model, feeds, map(session_in_memory, sessions.values()))
    assert disagreement() < 0.1


def test_regression_asks_for_conditions_in_common(sessions: dict[str, xr.Dataset]) -> None:
    settings = settings_from(TrainSettings, file=FOLDER / "stitching.yaml")
    sessions["sub-A_ses-2"]["condition"].values[:] = "elsewhere"
    feeds = feed_sessions(map(session_in_memory, sessions.values()), settings)
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=0)
    with pytest.raises(DataError, match=r"conditions that all of 2 sessions have in common.*start=random"):
        start_by_regression(model, feeds, map(session_in_memory, sessions.values()))


def test_a_new_day_is_aligned_with_the_generator_as_it_was(
    sessions: dict[str, xr.Dataset], tmp_path: Path
) -> None:
    settings = small(FOLDER / "autolfads_member.yaml")
    first = {"sub-A_ses-1": sessions["sub-A_ses-1"]}
    feeds = feed_sessions(map(session_in_memory, first.values()), settings)
    model = build_model(settings.model, {"sub-A_ses-1": 20}, seed=0)
    fit(model, feeds, settings, tmp_path / "first")
    pretrained = {name: value.clone() for name, value in model.state_dict().items()}
    new = feed_sessions([session_in_memory(sessions["sub-A_ses-2"])], settings)
    few = few_shot_settings(settings, AlignSettings(max_steps=4), from_scratch=False)
    aligned, trainable = aligned_model(few, {"sub-A_ses-2": 18}, pretrained)
    before = {name: value.clone() for name, value in aligned.state_dict().items()}
    fit(aligned, new, few, tmp_path / "aligned", trainable=trainable.__contains__)
    after = aligned.state_dict()
    require_unchanged(after, pretrained, trainable=trainable, run="aligned")
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == set(trainable)
    assert all(name.startswith(("read_in.", "read_out.")) for name in trainable)
