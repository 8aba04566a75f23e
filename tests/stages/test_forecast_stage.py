"""The forecast stage: a catalog with a trained run → curves and pictures in the run's folder."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError
from nwb_latents.pipeline.stages.forecast import forecast
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.trials import read_trials
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.schemas.forecasting import ForecastSettings, SessionForecast
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

TINY = {
    "model": {
        "latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8,
        "read_in": {"hidden": 8, "width": 4},
    },
    "batch": {"trials_per_session": 8}, "max_steps": 4, "validate_every": 2, "checkpoint_every": 2,
    "device": "cpu",
}  # fmt: skip
A, B = "sub-A_ses-CO-1", "sub-B_ses-CO-1"
SETTINGS = ForecastSettings(folds=3, linear_alphas=(1e2, 1e4))


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory, make_reaches, as_recording, enter_recording):
    """A catalog of two sessions and a run that knows both."""
    catalog = tmp_path_factory.mktemp("forecast") / "catalog.yaml"
    for number, subject in enumerate("AB"):
        recording = as_recording(make_reaches(n_trials=40, n_units=6 + number, seed=number))
        enter_recording(catalog, recording, subject=subject)
    train(catalog, TrainSettings.model_validate(TINY), run_name="tiny")
    return catalog.parent


@pytest.fixture
def catalog(trained_folder, tmp_path) -> Path:
    return shutil.copytree(trained_folder, tmp_path / "work") / "catalog.yaml"


def test_curves_are_written_reported_and_drawn(catalog):
    events = []
    done = forecast(catalog, SETTINGS, device="cpu", report=events.append)
    assert [(one.run, one.session) for one in done] == [
        ("tiny", "sub-A_ses-CO-1"),
        ("tiny", "sub-B_ses-CO-1"),
    ]
    folder = catalog.parent / "runs" / "tiny" / "forecast"
    names = {
        f"{session}.{kind}" for session in ("sub-A_ses-CO-1", "sub-B_ses-CO-1") for kind in ("json", "png")
    }
    assert {path.name for path in folder.iterdir()} == names | {"summary.png"}
    for one in done:
        text = (folder / f"{one.session}.json").read_text()
        assert SessionForecast.model_validate_json(text) == one
        found = {(curve.quantity, curve.source) for curve in one.curves}
        baselines = {"linear", "condition_mean", "hold_last"}
        assert found == {("velocity", "recorded")} | {
            (quantity, source) for quantity in ("velocity", "rates") for source in {"model", *baselines}
        }
        assert all(len(curve.per_step) == 20 for curve in one.curves)
    told = [event for event in events if event["event"] == "forecast"]
    assert len(told) == sum(len(one.curves) for one in done)
    json.dumps(told)
    assert [e["status"] for e in events if e["event"] == "session"] == ["done", "done"]


def test_the_models_curve_is_that_of_its_forecast(catalog):
    """Encode 13 bins, roll 20 out, and score bin by bin, in a loop over steps."""
    [one] = forecast(catalog, SETTINGS, sessions=("sub-A*",), device="cpu")
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session == one.session)
    trials = read_trials(catalog.parent / entry.store).load()
    test = trials.isel(trial=np.flatnonzero(trials["split"].values == "test"))
    run = load_run(catalog.parent / "runs" / "tiny", device="cpu")
    true = test["rates"].values.astype(float)
    curve = next(c for c in one.curves if (c.quantity, c.source) == ("rates", "model"))
    for k in (1, 7, 20):
        ahead = run.forecast(one.session, test, seen_bins=13, n_bins=k)[:, -1]
        y = true[:, 13 + k - 1]
        expected = 1 - ((y - ahead) ** 2).sum() / ((y - true.mean(axis=1)) ** 2).sum()
        assert curve.per_step[k - 1] == pytest.approx(expected, rel=1e-5)


def test_settings_that_do_not_fit_and_missing_runs_are_refused(catalog):
    with pytest.raises(SettingsError, match="30 bins seen and 20 forecast are more than the 36"):
        forecast(catalog, ForecastSettings(seen_bins=30), device="cpu")
    with pytest.raises(SettingsError, match="80 and 100"):
        forecast(catalog, ForecastSettings(lag_ms=90.0), device="cpu")
    with pytest.raises(DataError, match=r"No run is called tony.*: tiny\."):
        forecast(catalog, SETTINGS, runs=["tony"], device="cpu")
    shutil.rmtree(catalog.parent / "runs")
    text = catalog.read_text()
    catalog.write_text(text[: text.index("runs:")] + "runs: {}\nresults: []\n")
    with pytest.raises(DataError, match="Nothing to forecast: no complete run"):
        forecast(catalog, SETTINGS, device="cpu")


def test_a_session_that_fails_does_not_stop_the_others(catalog):
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session.startswith("sub-A"))
    shutil.rmtree(catalog.parent / entry.store)
    with pytest.raises(PartialFailure, match="1 forecasts failed, 1 were written") as caught:
        forecast(catalog, SETTINGS, device="cpu")
    assert [one.session for one in caught.value.results] == ["sub-B_ses-CO-1"]
    assert caught.value.exit_code == 3
