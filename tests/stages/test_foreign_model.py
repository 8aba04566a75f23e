"""A model of another distribution: trained, loaded and refused by name, with nothing entered anywhere."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from nwb_latents.models.interface import Aligns, RunsFree
from nwb_latents.models.registry import build_model, models_that
from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.align import align
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.pipeline.stores.trials import read_trials
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.online_decoding import StreamingDecoder
from nwb_latents.schemas.align import AlignSettings
from nwb_latents.schemas.models import ModelSettings, known_models, model_settings
from nwb_latents.schemas.registry import MODELS, BrokenPartError
from nwb_latents.schemas.training import TrainSettings

SETTINGS = '''
"""Rates that do not change."""
from typing import ClassVar, Literal
from pydantic import Field
from nwb_latents.schemas.models import ModelSettings

class FlatSettings(ModelSettings):
    """Flat rates: one number for each unit."""

    implementation: ClassVar[str] = "lab_flat_torch:Flat"
    paper: ClassVar[str] = "nowhere"
    main_settings: ClassVar[tuple[str, ...]] = ("penalty",)
    reads_counts: ClassVar[bool] = True

    name: Literal["flat"] = Field("flat", description="Name of the model.")
    penalty: float = Field(0.0, ge=0, description="Weight of the size of the rates.")
'''
MODEL = """
import torch
from torch import nn
from nwb_latents.models.batching.views import weighted
from nwb_latents.models.interface import Model, Output, Term
from nwb_latents.models.losses.likelihoods import Poisson

class Flat(Model):
    def __init__(self, settings, units):
        super().__init__()
        self.settings, self.names = settings, list(units)
        self.log_rates = nn.ParameterDict({self.key(name): torch.zeros(n) for name, n in units.items()})
        self.likelihood = Poisson()

    @staticmethod
    def key(name):
        return name.replace(".", "_")

    def made(self, sessions, like):
        S, K, _, N = like.shape
        params = like.new_zeros(like.shape)
        rows = [self.log_rates[self.key(session)] for session in sessions]
        rows = [nn.functional.pad(row, (0, N - len(row))) for row in rows]
        params = params + torch.stack(rows)[:, None, None]
        return Output(params, self.likelihood.mean(params), params, params)

    def forward(self, batch, view, step=0, generator=None):
        made = self.made(batch.sessions, view.target)
        rows = torch.arange(len(batch.sessions))
        nll = weighted(self.likelihood.nll(made.params, view.target, rows), view).sum()
        return Output(made.params, made.mean, made.factors, made.latents, (Term("nll", nll),))

    def predict(self, batch, *, n_samples=0, generator=None, embedding=None):
        return self.made(batch.sessions, batch.target)

    def forecast(self, batch, t0, k, *, embedding=None):
        like = batch.target[:, :, :1].expand(-1, -1, k, -1)
        return self.made(batch.sessions, like)
"""


@pytest.fixture
def flat(plug, monkeypatch):
    """Return the folder of a distribution with a model called ``flat``."""
    monkeypatch.delitem(sys.modules, "lab_flat_torch", raising=False)
    place = plug("lab_flat", SETTINGS, models={"flat": "lab_flat:FlatSettings"})
    (place / "lab_flat_torch.py").write_text(MODEL, encoding="utf-8")
    return place


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording, enter_recording):
    path = tmp_path / "catalog.yaml"
    for number, subject in enumerate("AB"):
        recording = as_recording(make_reaches(n_trials=24, n_units=5 + number, seed=number))
        enter_recording(path, recording, subject=subject)
    return path


def flat_settings(**model):
    return TrainSettings.model_validate({
        "model": {"name": "flat", **model}, "batch": {"trials_per_session": 8}, "device": "cpu",
        "standardise": False, "optimiser": {"lr": 0.1}, "max_steps": 60, "validate_every": 30,
    })  # fmt: skip


def test_its_settings_are_found_by_name_and_checked_like_any_others(flat):
    found = flat_settings(penalty=2.0)
    assert type(found.model).__name__ == "FlatSettings"
    assert found.signal == "counts"
    assert found.digest() != flat_settings().digest()
    assert TrainSettings.model_validate(json.loads(found.model_dump_json())) == found
    with pytest.raises(
        SettingsError, match=r"model\.penalti: unknown key, found 1; did you mean model\.penalty"
    ):
        settings_from(TrainSettings, words=["model.name=flat", "model.penalti=1"])
    assert "FlatSettings" in str(TrainSettings.model_json_schema())


def test_a_model_whose_settings_are_not_the_registered_ones_is_refused(flat):
    with pytest.raises(ValueError, match="no model is called 'flad'; did you mean flat"):
        flat_settings(name="flad")
    unregistered = type("Another", (ModelSettings,), {"name": "flat", "__annotations__": {"name": str}})
    with pytest.raises(ValueError, match="Another is not FlatSettings, which is registered"):
        TrainSettings(model=unregistered())


def test_it_is_trained_and_its_run_says_where_it_came_from(flat, catalog):
    entry = train(catalog, flat_settings(), run_name="flat")
    run = load_run(catalog.parent / entry.path, device="cpu")
    trials = read_trials(
        catalog.parent / read_catalog(catalog).sessions[next(iter(read_catalog(catalog).sessions))].store
    )
    rates = run.reconstruct(session_in_memory(trials))
    counted = trials["counts"].values[trials["split"].values.astype(str) == "train"].mean((0, 1)) / 0.02
    np.testing.assert_allclose(rates[0, 0], counted, rtol=0.2, atol=1.0)
    packages = yaml.safe_load((catalog.parent / entry.path / "config.yaml").read_text())["packages"]
    assert packages["lab_flat"] == "1.0"


def test_what_it_cannot_do_is_refused_with_the_models_that_can(flat, catalog):
    entry = train(catalog, flat_settings(), sessions=["sub-A*"], run_name="flat")
    with pytest.raises(SettingsError, match=r"flat cannot be aligned .*aligned: gnocchi, hnet, lfads"):
        align(catalog, AlignSettings(), run="flat", sessions=["sub-B*"], trials=[2])
    run = load_run(catalog.parent / entry.path, device="cpu")
    with pytest.raises(DataError, match=r"flat has no dynamics .*Choose a run of mdssm"):
        run.step(np.zeros((1, 2)), np.zeros(2))
    with pytest.raises(DataError, match=r"flat cannot give the rates .* Choose a run of ndt"):
        StreamingDecoder(run, entry.sessions[0])
    assert "flat" not in models_that(Aligns)
    assert models_that(RunsFree) == ["mdssm"]


def test_a_run_whose_model_is_gone_says_what_to_install_and_the_catalog_stays_of_use(
    flat, catalog, monkeypatch, pipeline_command
):
    train(catalog, flat_settings(), run_name="flat")
    listed = pipeline_command("catalog", "list", "--catalog", catalog)
    assert listed.returncode == 0
    assert "flat" in listed.stdout
    decoded = pipeline_command("run", "decode", "--catalog", catalog)
    assert "the model 'flat' of this run is not installed. It came from lab_flat 1.0: install that" in (
        decoded.stderr
    )


def test_a_model_that_is_broken_is_named_with_its_distribution_and_others_stay(plug):
    plug("lab_broken", "import nothing_of_that_name", models={"broken": "lab_broken:Settings"})
    with pytest.warns(UserWarning, match=r"'broken' of lab_broken 1.0 .*nothing_of_that_name"):
        assert "mdssm" in known_models()
    with pytest.raises(ValueError, match=r"'broken' of lab_broken 1.0 .*cannot be loaded"):
        TrainSettings.model_validate({"model": {"name": "broken"}})


def test_settings_that_lead_nowhere_are_told(plug, flat):
    (flat / "lab_flat_torch.py").write_text("Flat = int", encoding="utf-8")
    with pytest.raises(BrokenPartError, match=r"'flat' of lab_flat 1.0: lab_flat_torch:Flat is no class of"):
        build_model(flat_settings().model, {"a": 3}, seed=0)
    plug("lab_renamed", SETTINGS, models={"steep": "lab_renamed:FlatSettings"})
    with pytest.raises(BrokenPartError, match=r"'steep' of lab_renamed 1.0 has settings named 'flat'"):
        model_settings("steep")
    plug("lab_wrong", "Settings = 3", models={"wrong": "lab_wrong:Settings"})
    with pytest.raises(BrokenPartError, match=r"'wrong' of lab_wrong 1.0 is no class of settings"):
        model_settings("wrong")
    assert "flat" in MODELS


def test_a_model_is_known_without_torch(flat):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from nwb_latents.schemas.training import TrainSettings\n"
        "print(type(TrainSettings.model_validate({'model': {'name': 'flat'}}).model).__name__)\n"
        "TrainSettings.model_json_schema(); assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(flat)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "FlatSettings\n", done.stderr
    assert done.returncode == 0, done.stderr


def test_the_errors_of_building_reach_the_user(flat, catalog):
    (flat / "lab_flat_torch.py").unlink()
    with pytest.raises(MachineError, match=r"'flat' of lab_flat 1.0: lab_flat_torch:Flat cannot be loaded"):
        train(catalog, flat_settings(), run_name="flat")
