"""Every model goes through the same stages: train, resume, decode, forecast, evaluate, align."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from nwb_latents.models.interface import StartsFromConditions
from nwb_latents.models.registry import models_that
from nwb_latents.pipeline.stages.align import align
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.forecast import forecast
from nwb_latents.pipeline.stages.study_plan import require_settings
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.pipeline.stores.trials import read_trials
from nwb_latents.pipeline.training import loop
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.schemas.align import AlignSettings, ScratchSettings
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.registry import MODELS
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.study import StudySettings
from nwb_latents.schemas.sweep import SweepSettings
from nwb_latents.schemas.training import TrainSettings

KNOWN, NEW = ("sub-A_ses-CO-1", "sub-B_ses-CO-1"), "sub-C_ses-CO-1"
SMALL = {
    "mdssm": {"latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8},
    "lfads": {"generator_dim": 8, "ic_dim": 4, "factor_dim": 4, "encoder_dim": 6, "controller_dim": 4},
    "hnet": {"recurrent_dim": 8, "rank": 2, "hyper_width": 8},
    "node_sae": {"field_width": 8, "encoder_dim": 6},
    "ndt": {"layers": 2, "hidden": 8, "read_in": {"hidden": 8, "width": 8}, "mask": {"max_span": 3}},
    "gnocchi": {"code_dim": 3, "encoder_width": 6, "channels": 8, "blocks": 2, "sampling_steps": 4},
}
FOLDER = Path(__file__).parents[2] / "docs" / "examples"
EXAMPLES = sorted(path.relative_to(FOLDER) for path in FOLDER.rglob("*.yaml"))


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording, enter_recording):
    path = tmp_path / "catalog.yaml"
    for number, subject in enumerate("ABC"):
        recording = as_recording(make_reaches(n_trials=30, n_units=6 + number, seed=number))
        enter_recording(path, recording, subject=subject)
    return path


def settings_of(name, max_steps, **more):
    return TrainSettings.model_validate({
        "model": {"name": name, **SMALL[name]}, "batch": {"trials_per_session": 8}, "device": "cpu",
        "max_steps": max_steps, "validate_every": 2, "checkpoint_every": 2, **more,
    })  # fmt: skip


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_goes_through_all_stages(name, catalog):
    hidden = {"co_smoothing": True, "heldout_fraction": 0.3}
    entry = train(catalog, settings_of(name, 4, **hidden), sessions=KNOWN, run_name="mine")
    assert entry.model == name
    assert math.isfinite(entry.metrics["val_nll"])
    run = load_run(catalog.parent / "runs" / "mine", device="cpu")
    (stored,) = select_sessions(read_catalog(catalog), KNOWN[:1])
    trials = read_trials(catalog.parent / stored.store)
    found = run.reconstruct(session_in_memory(trials))
    assert found.shape == trials["rates"].shape
    assert np.isfinite(found).all()
    scores = decode(catalog, DecodeSettings(transfer=True), runs=("mine",), sessions=KNOWN, device="cpu")
    sources = {(score.session, score.source) for score in scores}
    kinds = ("rates", "reconstruction", "forecast", "forecast_decoded", "latents")
    assert sources == {(s, kind) for s in KNOWN for kind in (*kinds, "linear_forecast", "condition_mean")}
    assert forecast(catalog, ForecastSettings(folds=3, linear_alphas=(1e2, 1e4)), device="cpu")
    asked = EvaluateSettings(baselines=("null",), heldout_fraction=0.3, n_resamples=20)
    measured = evaluate(catalog, asked, runs=("mine",), sessions=KNOWN[:1], device="cpu")
    there = {(one.name, one.source) for one in measured if one.run == "mine" and one.value is not None}
    on_rates = {"co_bps", "velocity_r2", "nlb_velocity_r2", "psth_r2"}
    assert there >= {(name, "reconstruction") for name in on_rates} | {
        (name, "forecast") for name in ("velocity_r2", "forecast_rates_r2")
    }
    assert ("fp_bps", "reconstruction") in there
    assert {one.source for one in measured if one.run is None} == {"null"}
    assert all(one.value is not None or one.reason for one in measured)
    brief = AlignSettings(
        max_steps=3, starts=2, start_steps=2, scratch=ScratchSettings(max_steps=3), device="cpu"
    )
    events = []
    (aligned,) = align(catalog, brief, run="mine", sessions=(NEW,), trials=(8,), report=events.append)
    assert (aligned.model, aligned.sessions) == (name, (NEW,))
    assert len(set(aligned.alignment.start_losses)) == 2
    starts_at_random = any(event.event == "note" and event.status == "random start" for event in events)
    assert starts_at_random == (name not in models_that(StartsFromConditions))


@pytest.mark.parametrize("name", list(MODELS))
def test_a_training_that_was_stopped_ends_where_one_that_was_not_does(name, catalog, monkeypatch):
    whole = train(catalog, settings_of(name, 6), sessions=KNOWN, run_name="whole")
    steps_taken = []
    original = loop.draw_batches

    def interrupted(*arguments, step, **options):
        steps_taken.append(step)
        if len(steps_taken) == 5:
            raise KeyboardInterrupt
        return original(*arguments, step=step, **options)

    monkeypatch.setattr(loop, "draw_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(catalog, settings_of(name, 6), sessions=KNOWN, run_name="part")
    again = train(catalog, settings_of(name, 6), sessions=KNOWN, run_name="part")
    assert steps_taken == [0, 1, 2, 3, 4, 4, 5]
    assert again.metrics["val_nll"] == whole.metrics["val_nll"]


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_the_examples_that_are_shown_train_as_they_stand(
    path, tmp_path, make_reaches, as_recording, enter_recording
):
    """Every file in docs/examples is read whole, and its model, of full size, takes two steps."""
    if path.stem == "demo_simulation":
        assert settings_from(SimulateSettings, file=FOLDER / path).n_sessions == 2
        return
    if path.stem == "motor_study":
        study = settings_from(StudySettings, file=FOLDER / path)
        require_settings(study)
        assert study.align.trials == (8, 16)
        assert set(study.groups) == {"last_subject", "new_subject", "new_days", "pretrained"}
        return
    is_sweep = "strategy" in yaml.safe_load((FOLDER / path).read_text(encoding="utf-8"))
    settings = settings_from(SweepSettings if is_sweep else TrainSettings, file=FOLDER / path)
    settings, catalog = settings.train if is_sweep else settings, tmp_path / "catalog.yaml"
    for subject, n_units in {"A": 24, "B": 22}.items():
        recording = as_recording(make_reaches(n_trials=30, n_units=n_units, seed=n_units))
        enter_recording(catalog, recording, subject=subject)
    brief = {"max_steps": 2, "validate_every": 2, "device": "cpu"}
    entry = train(catalog, settings.model_copy(update=brief), sessions=KNOWN, run_name="example")
    assert (entry.steps, entry.model) == (2, settings.model.name)
    assert all(map(math.isfinite, entry.metrics.values()))
