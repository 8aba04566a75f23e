"""Models and batches that do not fit the memory are refused before they are allocated, by their settings."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nwb_latents.models.batching.drawn_masks import training_masker
from nwb_latents.models.batching.tensors import TrialTensors
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline import machine
from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.training import model_size, training_start
from nwb_latents.pipeline.training.model_size import count_parameters, require_model_fits, require_step_fits
from nwb_latents.schemas.models import known_models
from nwb_latents.schemas.training import TrainSettings

FAMILIES = sorted(known_models())
UNITS = {"a": 30, "b": 20}
LARGE = {
    "mdssm": ("hyper_width 16384", {"hyper_width": 16_384}),
    "lfads": ("generator_dim 16384", {"generator_dim": 16_384}),
    "ndt": ("layers 256", {"hidden": 16_384, "layers": 256}),
}


def _settings(name, **model):
    return TrainSettings.model_validate({"model": {"name": name, **model}, "device": "cpu"})


def _feed(n_trials, n_bins=20, n_units=30, session="a"):
    counts = np.random.default_rng(0).poisson(0.2, (n_trials, n_bins, n_units)).astype(np.float32)
    return SimpleNamespace(train=TrialTensors(session=session, y=torch.from_numpy(counts)))


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_are_counted_without_allocating_them(name):
    settings = _settings(name).model
    state = torch.random.get_rng_state()
    built = build_model(settings, UNITS, seed=0)
    assert count_parameters(settings, UNITS) == sum(one.numel() for one in built.parameters())
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", LARGE)
def test_a_model_that_is_too_large_is_refused_by_the_setting_at_once(name, monkeypatch):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10**9)
    setting, large = LARGE[name]
    begin = time.process_time()
    with pytest.raises(SettingsError, match=rf"model\.{setting}: .* parameters; .* GB.* --force") as caught:
        require_model_fits(_settings(name, **large), UNITS)
    assert time.process_time() - begin < 60
    assert f"Lower model.{setting.split()[0]}" in str(caught.value)
    require_model_fits(_settings(name), UNITS)


def test_processes_that_train_at_once_share_the_memory(monkeypatch):
    settings = _settings("mdssm", hyper_width=2048)
    needed = model_size.COPIES * 4 * count_parameters(settings.model, UNITS)
    monkeypatch.setattr(machine, "memory_bytes", lambda: int(3 * needed / model_size.USABLE_SHARE) + 100)
    require_model_fits(settings, UNITS, at_once=3)
    with pytest.raises(SettingsError, match=r"here by each of 4 processes\. .*fewer processes \(--workers\)"):
        require_model_fits(settings, UNITS, at_once=4)


def test_gpus_are_dealt_out_among_the_processes(monkeypatch):
    settings = _settings("mdssm").model_copy(update={"device": "cuda"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (600, 1000))
    shares = [model_size.available_bytes(settings, at_once=n) for n in (1, 2, 3, 8)]
    assert shares == [480, 480, 400, 200]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_refused_where_it_does_not_fit(name, monkeypatch):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10_000)
    with pytest.raises(SettingsError, match=r"and 0\.0 GB may be used here"):
        require_model_fits(_settings(name), UNITS)


def test_a_model_that_cannot_be_counted_is_built_all_the_same(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no meta tensors here")

    monkeypatch.setattr(model_size, "build_model", refuse)
    assert count_parameters(_settings("ndt").model, UNITS) is None
    require_model_fits(_settings("ndt"), UNITS)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_step_keeps_grows_with_its_trials_as_estimated(name):
    settings = _settings(name)
    model = build_model(settings.model, {"a": 30}, seed=0)
    block, masker = [_feed(12).train], training_masker(settings.masks)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    one, two, many = (model_size._kept_bytes(model, block, settings, masker, n_trials=n) for n in (1, 2, 12))
    assert one + 11 * (two - one) == pytest.approx(many, rel=0.1)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training


def test_batches_that_do_not_fit_are_refused_with_how_many_trials_would(monkeypatch):
    settings = TrainSettings.model_validate(
        {"model": {"name": "ndt"}, "device": "cpu", "batch": {"trials_per_session": 400}}
    )
    model = build_model(settings.model, {"a": 30}, seed=0)
    feeds, masker = {"a": _feed(500)}, training_masker(settings.masks)
    require_step_fits(model, feeds, settings, masker)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 60_000_000)
    with pytest.raises(SettingsError, match=r"batch\.trials_per_session 400: .* of at most \d+") as caught:
        require_step_fits(model, feeds, settings, masker)
    fitting = int(str(caught.value).split("of at most ")[1].split(",")[0])
    assert 1 < fitting < 400
    batch = settings.batch.model_copy(update={"trials_per_session": fitting})
    require_step_fits(model, feeds, settings.model_copy(update={"batch": batch}), masker)
    # No more trials are drawn than there are.
    require_step_fits(model, {"a": _feed(fitting)}, settings, masker)


def test_training_begins_with_it_unless_it_is_forced(monkeypatch, small_nwb, tmp_path):
    import nwb_latents as nl

    catalog = tmp_path / "catalog.yaml"
    nl.ingest(catalog, small_nwb)
    real = training_start.require_model_fits
    asked = []
    monkeypatch.setattr(
        training_start,
        "require_model_fits",
        lambda *about, **more: asked.append(about) or real(*about, **more),
    )
    nl.train(catalog, model="ndt", max_steps=1, device="cpu", run_name="fits")
    assert len(asked) == 1
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10_000)
    with pytest.raises(SettingsError, match="--force"):
        nl.train(catalog, model="ndt", max_steps=1, device="cpu", run_name="large")
    assert not (tmp_path / "runs/large/best.safetensors").exists()
    assert nl.train(catalog, model="ndt", max_steps=1, device="cpu", run_name="large", force=True)
