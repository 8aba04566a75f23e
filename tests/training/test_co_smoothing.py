"""Units and bins that are scored but not shown: what is inferred of them comes from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import ValidationError

from nwb_latents.models.batching.drawn_masks import held_back_masker, mask_once, training_masker
from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.feed import feed_sessions, hidden_units, with_forward_bins
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.schemas.masks import MaskSettings
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "sub-A_ses-1"
HELD = [False, True, False, False, True, False]
LFADS = {
    "name": "lfads", "generator_dim": 10, "ic_dim": 5, "factor_dim": 4, "encoder_dim": 6,
    "controller_dim": 4, "read_in": {"hidden": 5, "width": 5},
}  # fmt: skip


def lfads(**changes: object) -> TrainSettings:
    base = {"model": LFADS, "max_steps": 6, "validate_every": 3, "checkpoint_every": 6, "device": "cpu"}
    return TrainSettings.model_validate(base | changes)


@pytest.fixture
def dataset(make_dataset: Callable[..., xr.Dataset]) -> xr.Dataset:
    """Return trials of six units, two of them held out."""
    return make_dataset(NAME, n_trials=20, n_units=6).assign_coords(heldout=("unit", HELD))


@pytest.fixture
def session(dataset: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the same trials, five bins apart in a session whose every bin counts itself."""
    length, step = dataset.sizes["time"], dataset.sizes["time"] + 5
    start = np.arange(dataset.sizes["trial"]) * step
    n = step * len(start)
    counts = np.repeat(np.arange(n)[:, None], 6, axis=1)
    observed = np.ones(n, bool)
    observed[start + length + 3] = False
    whole = xr.Dataset({"counts": (("time", "unit"), counts), "observed": ("time", observed)})
    return dataset.assign_coords(start_bin=("trial", start)), whole


@pytest.mark.parametrize("likelihood", ["poisson", "gaussian"])
def test_held_out_units_are_scored_and_not_shown(dataset: xr.Dataset, likelihood: str) -> None:
    settings = lfads(model={**LFADS, "likelihood": likelihood}, co_smoothing=True, signal="counts")
    session = session_in_memory(dataset)
    train = feed_sessions([session], settings)[NAME].train
    shown = feed_sessions([session], settings.model_copy(update={"co_smoothing": False}))[NAME].train
    assert train.y.isnan().all(0).all(0).tolist() == HELD
    assert torch.equal(train.y[..., ~torch.tensor(HELD)], shown.y[..., ~torch.tensor(HELD)])
    assert torch.equal(train.scored, shown.scored)


@pytest.mark.parametrize("model", ["lfads", "mdssm"])
def test_rates_of_held_out_units_do_not_depend_on_them_and_are_learnt(
    dataset: xr.Dataset, tmp_path: Path, model: str, make_settings: Callable[..., TrainSettings]
) -> None:
    asked = {"co_smoothing": True, "signal": "counts", "optimiser": {"lr": 5e-3, "weight_decay": 0.0}}
    settings = lfads(**asked) if model == "lfads" else make_settings(**asked, max_steps=6)
    feeds = feed_sessions([session_in_memory(dataset)], settings)
    net = build_model(settings.model, {NAME: 6}, seed=0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fit(net, feeds, settings, tmp_path)
    held = torch.tensor(HELD)
    after = net.state_dict()
    read_in, read_out = "read_in.weight.blocks.0", "read_out.weight.blocks.0"
    assert torch.equal(after[read_in][0, held], before[read_in][0, held])
    assert not torch.equal(after[read_in][0, ~held], before[read_in][0, ~held])
    assert (after[read_out][0, held] != before[read_out][0, held]).any(-1).all()
    run = TrainedRun("r", settings, net.eval(), {NAME: feeds[NAME].scaling}, torch.device("cpu"))
    other = dataset.copy(deep=True)
    other["counts"].values[..., HELD] = 9
    rates = run.reconstruct(session_in_memory(dataset))
    assert np.array_equal(rates, run.reconstruct(session_in_memory(other)))
    other["counts"].values[..., 0] = 9
    assert not np.array_equal(rates, run.reconstruct(session_in_memory(other)))


def test_what_is_never_shown_always_drives_the_gradient(dataset: xr.Dataset) -> None:
    settings = lfads(co_smoothing=True)
    train = feed_sessions([session_in_memory(dataset)], settings)[NAME].train
    masks = MaskSettings(coordinated_dropout=0.3, sample_validation=0.2)
    batch = pack([mask_once(train, masks, seed=0, part="train")])
    view = training_masker(masks)(batch, torch.Generator().manual_seed(0), 0)
    held = torch.tensor(HELD)
    assert view.weight[..., held].eq(1).all()
    assert not view.sg[..., held].any()
    assert view.sg[..., ~held].any()
    assert not view.x[..., held].any()
    scored = held_back_masker(masks)(batch, None, 0)
    assert not scored.weight[..., held].any()
    assert scored.weight[..., ~held].any()


def test_forward_bins_are_those_after_the_window_and_of_no_other_split(
    session: tuple[xr.Dataset, xr.Dataset],
) -> None:
    trials, whole = session
    # The window of the second trial, of another split, reaches into the forward bins of the first.
    start = trials["start_bin"].values.copy()
    start[1] = start[0] + 11
    split = trials["split"].values.copy()
    split[1] = "val"
    trials = trials.assign_coords(start_bin=("trial", start), split=("trial", split))
    ahead = with_forward_bins(session_in_memory(trials, whole), 4).trials["forward_counts"].values[..., 0]
    assert ahead[0].tolist() == pytest.approx([10, np.nan, np.nan, np.nan], nan_ok=True)
    assert ahead[2].tolist() == pytest.approx([40, 41, 42, np.nan], nan_ok=True)


def test_forward_bins_are_scored_and_not_shown(
    session: tuple[xr.Dataset, xr.Dataset], tmp_path: Path
) -> None:
    trials, whole = session
    whole["counts"].values[...] = 1
    ahead = with_forward_bins(session_in_memory(trials, whole), 4)
    settings = lfads(forward_ms=80)
    feed = feed_sessions([ahead], settings)[NAME]
    assert feed.train.y.shape[1:] == (10, 6)
    assert feed.train.scored.shape[1:] == (14, 6)
    assert feed.train.scored[:, 10:13].eq(1).all()
    assert feed.train.scored[:, 13].isnan().all()
    model = build_model(settings.model, {NAME: 6}, seed=0)
    result = fit(model, {NAME: feed}, settings, tmp_path)
    assert np.isfinite(result.metrics["nll"])
    run = TrainedRun("r", settings, model.eval(), {NAME: feed.scaling}, torch.device("cpu"))
    assert run.reconstruct(session_in_memory(trials)).shape == trials["counts"].shape


def test_forward_bins_need_to_have_been_recorded(session: tuple[xr.Dataset, xr.Dataset]) -> None:
    trials, whole = session
    whole["observed"].values[...] = False
    with pytest.raises(DataError, match="nothing was recorded in the 2 bins after"):
        with_forward_bins(session_in_memory(trials, whole), 2)
    for wrong in ({"signal": "rates"}, {"model": {"name": "mdssm"}}):
        with pytest.raises(ValidationError, match="forward_ms needs signal: counts and the model lfads"):
            lfads(forward_ms=40, **wrong)


def test_external_inputs_are_those_of_the_store_forward_bins_included(
    session: tuple[xr.Dataset, xr.Dataset],
) -> None:
    trials, whole = session
    inputs = np.arange(whole.sizes["time"], dtype=np.float32)[:, None]
    inputs[12] = np.nan
    bins = trials["start_bin"].values[:, None] + np.arange(10)
    trials = trials.assign(external=(("trial", "time", "input"), inputs[bins]))
    whole = whole.assign(external=(("time", "input"), inputs))
    settings = lfads(model={**LFADS, "external_inputs": 1}, forward_ms=60)
    feed = feed_sessions([with_forward_bins(session_in_memory(trials, whole), 3)], settings)[NAME]
    assert feed.train.ext is not None
    assert feed.train.ext[0, :, 0].tolist() == [*range(12), 0]
    assert feed.train.ext[1, :, 0].tolist() == list(range(15, 28))
    wrong = lfads(model={**LFADS, "external_inputs": 2})
    with pytest.raises(DataError, match=r"takes 2 external inputs, the store holds 1\. Set model"):
        feed_sessions([session_in_memory(trials)], wrong)


def test_trials_that_are_shown_whole_are_as_before() -> None:
    trials = TrialTensors("a", torch.ones(2, 5, 4))
    masks = MaskSettings(coordinated_dropout=0.3, sample_validation=0.2)
    batch = pack([mask_once(trials, masks, seed=0, part="train")])
    view = training_masker(masks)(batch, torch.Generator().manual_seed(0), 0)
    assert ((view.x > 0) == (view.sg > 0)).all()
    assert batch.held_back is not None
    assert (view.weight + view.sg)[~batch.held_back] == pytest.approx(1 / 0.8)


def test_a_share_of_the_units_is_hidden_where_none_is_marked(dataset: xr.Dataset) -> None:
    unmarked = dataset.assign_coords(heldout=("unit", [False] * 6))
    settings = lfads(co_smoothing=True, heldout_fraction=0.34, signal="counts")
    hidden = hidden_units(session_in_memory(unmarked), settings)
    assert hidden.sum() == 2
    assert np.array_equal(hidden, session_in_memory(unmarked).heldout(fraction=0.34))
    train = feed_sessions([session_in_memory(unmarked)], settings)[NAME].train
    assert np.array_equal(train.y.isnan().all(0).all(0).numpy(), hidden)
    assert hidden_units(session_in_memory(dataset), settings).tolist() == HELD
    assert not hidden_units(session_in_memory(dataset), lfads()).any()
    assert lfads(co_smoothing=True, heldout_fraction=0.0).digest() == lfads(co_smoothing=True).digest()
    assert settings.digest() != lfads(co_smoothing=True).digest()
    with pytest.raises(ValidationError, match="set co_smoothing: true too"):
        lfads(heldout_fraction=0.25)
