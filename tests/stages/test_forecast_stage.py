"""The forecast stage: a catalog with a trained run → curves and pictures in the run's folder."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError
from nwb_latents.pipeline.evaluation.baselines.known import known_baselines
from nwb_latents.pipeline.stages import forecast as forecast_stage
from nwb_latents.pipeline.stages.forecast import forecast
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import measurement_records, read_measurements
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.trials import read_trials
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.schemas.events import MeasurementEvent, SessionEvent
from nwb_latents.schemas.forecasting import ForecastSettings
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
    assert list(dict.fromkeys((one.session, one.run) for one in done)) == [
        (A, None), (A, "tiny"), (B, None), (B, "tiny")
    ]  # fmt: skip
    (folder,) = (catalog.parent / "runs" / "tiny" / "forecast").iterdir()
    assert folder.name.startswith("seen13-ahead20-lag100ms-")
    assert {path.name for path in folder.iterdir()} == {
        f"{A}.png", f"{B}.png", "summary.png", "settings.yaml"
    }  # fmt: skip
    baselines = {each.name for each in known_baselines()[0] if each.forecast}
    sizes = ("velocity_slope", "coverage_90", "band_width_90")
    of_velocity = {"forecast", "forecast_decoded", *baselines}
    assert {"linear_forecast", "condition_mean", "hold_last"} <= baselines
    for session in (A, B):
        found = {(one.name, one.source) for one in done if one.session == session}
        assert found == {("velocity_r2", "rates")} | {
            *(("forecast_rates_r2", source) for source in {"forecast", *baselines}),
            *((name, source) for name in ("velocity_r2", *sizes) for source in of_velocity),
        }
    assert {one.step for one in done} == {None, *range(1, 21)}
    assert len(done) == 2 * ((4 + 2 * len(baselines)) * 21 + 3 * len(of_velocity))
    run = read_catalog(catalog).runs["tiny"]
    entries = {entry.session: entry for entry in read_catalog(catalog).sessions.values()}
    for one in done:
        assert (one.seen_bins, one.bins, one.split, one.stage) == (13, 20, "test", "forecast")
        assert one.store_key == entries[one.session].store_key
        assert one.run_key == (run.run_key if one.run else None)
        assert one.is_baseline == (one.source in baselines)
    assert measurement_records(read_measurements(catalog)) == done
    told = [event.value for event in events if isinstance(event, MeasurementEvent)]
    assert told == [one.value for one in done]
    sessions = [event for event in events if isinstance(event, SessionEvent)]
    assert [event.status for event in sessions] == ["done", "done"]


def test_measured_again_the_later_number_counts(catalog):
    first = forecast(catalog, SETTINGS, device="cpu")
    again = forecast(catalog, SETTINGS, device="cpu")
    assert [one.value for one in again] == [one.value for one in first]
    assert len(read_measurements(catalog)) == len(first)


def test_the_models_curve_is_that_of_its_forecast(catalog):
    """Encode 13 bins, roll 20 out, and score bin by bin, in a loop over steps."""
    done = forecast(catalog, SETTINGS, sessions=("sub-A*",), device="cpu")
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session == A)
    trials = read_trials(catalog.parent / entry.store).load()
    test = trials.isel(trial=np.flatnonzero(trials["split"].values == "test"))
    run = load_run(catalog.parent / "runs" / "tiny", device="cpu")
    true = test["rates"].values.astype(float)
    mine = [one for one in done if (one.name, one.source) == ("forecast_rates_r2", "forecast")]
    per_step = {one.step: one.value for one in mine}
    for k in (1, 7, 20):
        ahead = run.forecast(session_in_memory(test), seen_bins=13, n_bins=k)[:, -1]
        y = true[:, 13 + k - 1]
        expected = 1 - ((y - ahead) ** 2).sum() / ((y - true.mean(axis=1)) ** 2).sum()
        assert per_step[k] == pytest.approx(expected, rel=1e-5)


def test_settings_that_do_not_fit_and_missing_runs_are_refused(catalog):
    with pytest.raises(SettingsError, match="30 bins seen and 20 forecast are more than the 36"):
        forecast(catalog, ForecastSettings(seen_bins=30), device="cpu")
    with pytest.raises(SettingsError, match="80 and 100"):
        forecast(catalog, ForecastSettings(lag_ms=90.0), device="cpu")
    with pytest.raises(DataError, match=r"No run is called tony.*: tiny\."):
        forecast(catalog, SETTINGS, runs=["tony"], device="cpu")
    shutil.rmtree(catalog.parent / "runs")
    text = catalog.read_text()
    catalog.write_text(text[: text.index("runs:")] + "runs: {}\n")
    with pytest.raises(DataError, match="Nothing to forecast: no complete run"):
        forecast(catalog, SETTINGS, device="cpu")


def test_a_session_that_fails_does_not_stop_the_others(catalog):
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session.startswith("sub-A"))
    shutil.rmtree(catalog.parent / entry.store)
    with pytest.raises(PartialFailure, match="1 forecasts failed, those of 1 sessions are kept") as caught:
        forecast(catalog, SETTINGS, device="cpu")
    assert {one.session for one in caught.value.results} == {B}
    assert caught.value.exit_code == 3


def test_leaky_forecasts_and_ensembles_have_names_of_their_own(catalog):
    asked = SETTINGS.model_copy(update={"leaky": True, "ensemble": ("linear_forecast",)})
    done = forecast(catalog, asked, sessions=("sub-A*",), device="cpu")
    whole = {one.source: one for one in done if one.name == "velocity_r2" and one.step is None}
    assert {"forecast", "forecast_decoded", "forecast_leaky", "ensemble"} <= set(whole)
    assert {whole[name].run for name in ("forecast_leaky", "ensemble")} == {"tiny"}
    assert "hold spikes after the bins seen" in whole["forecast_leaky"].details["shown"]
    for name in ("forecast", "forecast_decoded", "ensemble"):
        assert whole[name].details["shown"] == "spikes of the bins seen alone"
    assert whole["forecast_leaky"].value != whole["forecast_decoded"].value
    plain = forecast(catalog, SETTINGS, sessions=("sub-A*",), device="cpu")
    [again] = [
        one for one in plain
        if (one.name, one.source, one.step) == ("velocity_r2", "forecast", None)
    ]  # fmt: skip
    assert again.value == whole["forecast"].value
    with pytest.raises(SettingsError, match="no forecast called 'pca'; a run is averaged with baselines"):
        forecast(catalog, SETTINGS.model_copy(update={"ensemble": ("pca",)}), device="cpu")


def test_bands_of_too_few_validation_trials_are_said(catalog):
    events = []
    done = forecast(catalog, SETTINGS, sessions=("sub-A*",), device="cpu", report=events.append)
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session == A)
    n_val = int((read_trials(catalog.parent / entry.store)["split"].values == "val").sum())
    assert n_val < 9
    [one] = [each for each in done if (each.name, each.source) == ("coverage_90", "forecast")]
    assert one.value is None
    assert f"{n_val} validation trials give a band of" in one.reason
    assert one.details["level"] == pytest.approx(n_val / (n_val + 1), abs=1e-6)
    assert 0 <= one.details["coverage_90 there"] <= 1
    assert any("takes 9" in getattr(event, "text", "") for event in events)


def test_a_run_that_cannot_forecast_a_session_is_tried_once_for_all_it_is_averaged_with(catalog, monkeypatch):
    for seed in (1, 2):
        train(catalog, TrainSettings.model_validate({**TINY, "seed": seed}), run_name=f"other{seed}")
    tried = []
    foresight = forecast_stage.foresight

    def broken(run, session, task, **asked):
        tried.append(run.name)
        if run.name == "other2":
            raise DataError("it is broken")
        return foresight(run, session, task, **asked)

    monkeypatch.setattr(forecast_stage, "foresight", broken)
    asked = SETTINGS.model_copy(update={"ensemble": ("other2",)})
    with pytest.raises(PartialFailure, match="it is broken"):
        forecast(catalog, asked, runs=["tiny", "other1"], sessions=[A], device="cpu")
    assert sorted(tried) == ["other1", "other2", "tiny"]
