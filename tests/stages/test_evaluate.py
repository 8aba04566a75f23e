"""The evaluation stage: runs and baselines → metrics with intervals in the catalog, and their comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.leaderboard import compare, leaderboard
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.training import TrainSettings

SESSION = "sub-A_ses-CO-1"
FAST = {"baselines": ["null", "condition_mean", "hold_last"], "n_resamples": 50}
SMALL = {"name": "ndt", "layers": 1, "hidden": 8, "read_in": {"hidden": 8, "width": 8}}


def settings(**changes):
    return EvaluateSettings.model_validate({**FAST, **changes})


def training(**changes):
    return TrainSettings.model_validate({
        "model": SMALL, "batch": {"trials_per_session": 8}, "device": "cpu", "max_steps": 2,
        "validate_every": 2, "checkpoint_every": 2, **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory, make_reaches, as_recording, enter_recording):
    path = tmp_path_factory.mktemp("evaluate") / "catalog.yaml"
    for number, subject in enumerate("AB"):
        recording = as_recording(make_reaches(n_trials=40, n_units=8, seed=number))
        enter_recording(path, recording, subject=subject)
    train(path, training(), run_name="plain")
    for seed in (0, 1):
        hidden = training(co_smoothing=True, heldout_fraction=0.25, forward_bins=5, seed=seed)
        train(path, hidden, run_name=f"hidden{seed}")
    return path


@pytest.fixture
def catalog(original, tmp_path):
    """Return a copy of the catalog; runs and stores stay where they are."""
    content = original.read_text().replace("path: runs", f"path: {original.parent}/runs")
    path = tmp_path / "catalog.yaml"
    path.write_text(content.replace("store: stores", f"store: {original.parent}/stores"))
    return path


def by_source(done, session=SESSION):
    return {each.source: each for each in done if each.session == session}


def test_every_source_is_measured_on_every_session(catalog):
    events = []
    done = evaluate(catalog, settings(forward_ms=100), report=events.append)
    assert len(done) == 2 * 6
    found = by_source(done)
    assert found["hidden0"].metrics.keys() == {
        "co_bps", "fp_bps", "velocity_r2", "psth_r2", "forecast_velocity_r2", "forecast_rates_r2"
    }  # fmt: skip
    for each in done:
        for metric in each.metrics.values():
            assert metric.value is None or metric.low <= metric.value <= metric.high
    assert found["hidden0"].n_heldout == 2
    assert "co_smoothing=true" in found["plain"].missing["co_bps"]
    assert found["hold_last"].metrics.keys() == {"forecast_velocity_r2", "forecast_rates_r2"}
    assert found["hold_last"].missing["velocity_r2"] == "it only forecasts"
    assert found["null"].missing["forecast_rates_r2"] == "it does not forecast"
    assert read_catalog(catalog).evaluations == tuple(done)
    told = [event for event in events if event["event"] == "evaluation"]
    assert [event["status"] for event in told] == ["done"] * len(done)
    json.dumps(told)


def test_the_mean_of_training_trials_scores_just_below_zero(catalog):
    found = by_source(evaluate(catalog, settings(metrics=["co_bps"]), runs=["plain"]))
    assert -0.1 < found["null"].metrics["co_bps"].value <= 0


def test_what_is_there_is_not_measured_again(catalog, monkeypatch):
    first = evaluate(catalog, settings())

    def measured(*given):
        raise DataError("measured again")

    monkeypatch.setattr("nwb_latents.pipeline.stages.evaluate._measure", measured)
    events = []
    assert evaluate(catalog, settings(), report=events.append) == first
    assert {event["status"] for event in events if event["event"] == "evaluation"} == {"skipped"}
    with pytest.raises(PartialFailure, match="measured again"):
        evaluate(catalog, settings(), force=True)
    with pytest.raises(PartialFailure, match="measured again"):
        evaluate(catalog, settings(lag_ms=120.0))


def test_fewer_metrics_keep_those_measured_before(catalog):
    whole = by_source(evaluate(catalog, settings(), sessions=[SESSION]))
    part = by_source(evaluate(catalog, settings(metrics=["velocity_r2"]), sessions=[SESSION], force=True))
    assert part["hidden1"] == whole["hidden1"]


def test_a_source_that_fails_does_not_stop_the_others(catalog, monkeypatch):
    from nwb_latents.pipeline.evaluation.baselines import rates as rate_baselines

    def broken(task, chosen):
        raise DataError("no rates today")

    monkeypatch.setitem(rate_baselines.BASELINES, "null", broken)
    with pytest.raises(PartialFailure, match=f"null on {SESSION}: no rates today") as caught:
        evaluate(catalog, settings())
    assert len(caught.value.results) == 2 * 5
    assert {each.source for each in read_catalog(catalog).evaluations} == {
        "plain", "hidden0", "hidden1", "condition_mean", "hold_last"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"), [({"lag_ms": 90.0}, "lag_ms 90"), ({"forward_ms": 90.0}, "forward_ms")]
)
def test_times_that_are_no_whole_bins_are_refused(catalog, changes, message):
    with pytest.raises(SettingsError, match=message):
        evaluate(catalog, settings(**changes))


def test_a_folder_without_truth_is_refused(catalog, tmp_path):
    with pytest.raises(DataError, match="no truth of sub-A_ses-CO-1"):
        evaluate(catalog, settings(), truth=tmp_path)


def test_simulated_sessions_are_measured_against_the_truth(tmp_path):
    few = SimulateSettings(
        layout="nlb", n_subjects=1, n_sessions=2, n_units=(20, 20), n_trials=60, waveforms=False
    )
    simulate_dandiset(tmp_path / "nwb", few)
    catalog = tmp_path / "catalog.yaml"
    ingest(catalog, FolderSource([tmp_path / "nwb"]))
    asked = settings(baselines=["null", "oracle"], metrics=["co_bps", "rate_r2", "state_r2"])
    done = evaluate(catalog, asked, truth=tmp_path / "nwb")
    assert [each.source for each in done] == ["null", "oracle"] * 2
    for null, oracle in zip(done[::2], done[1::2], strict=True):
        assert oracle.metrics["rate_r2"].value == 1
        assert oracle.metrics["co_bps"].value > null.metrics["co_bps"].value
        assert null.metrics["rate_r2"].value < 0.01
        assert oracle.missing == {"state_r2": "it has no states"}
    (board,) = leaderboard(catalog, ranked_by="rate_r2")
    assert [row.label for row in board.rows] == ["oracle", "null"]
    next(iter((tmp_path / "nwb").rglob("*_truth.npz"))).unlink()
    part = evaluate(catalog, asked, truth=tmp_path / "nwb", force=True)
    assert [each.source for each in part] in (["null", "null", "oracle"], ["null", "oracle", "null"])


def test_evaluations_are_compared_by_dandiset(catalog):
    done = evaluate(catalog, settings(metrics=["velocity_r2"]), runs=["plain"])
    known = read_catalog(catalog)
    moved = {
        key: entry.model_copy(update={"dandiset": f"00000{number}@draft"})
        for number, (key, entry) in enumerate(known.sessions.items())
    }
    made = compare(known.model_copy(update={"sessions": moved}), done)
    assert [board.dandiset for board in made] == ["000000@draft", "000001@draft"]
    assert [board.dandiset for board in compare(known, done)] == ["files"]


def test_validation_trials_are_another_board(catalog):
    evaluate(catalog, settings(metrics=["velocity_r2"]), runs=["plain"])
    scored = evaluate(catalog, settings(metrics=["velocity_r2"], phase="val"), runs=["plain"])
    assert {each.phase for each in scored} == {"val"}
    made = leaderboard(catalog)
    assert [board.phase for board in made] == ["test", "val"]
    assert [board.phase for board in leaderboard(catalog, phase="val")] == ["val"]


def test_seeds_are_one_row(catalog, tmp_path):
    evaluate(catalog, settings())
    (board,) = leaderboard(catalog, ranked_by="velocity_r2")
    rows = {row.sources: row for row in board.rows}
    assert ("hidden0", "hidden1") in rows
    assert rows["hidden0", "hidden1"].label == "ndt (hidden0)"
    assert rows["plain",].label == "ndt (plain)"
    values = [each.metrics["velocity_r2"].value for each in read_catalog(catalog).evaluations
              if each.source.startswith("hidden")]  # fmt: skip
    assert rows["hidden0", "hidden1"].cells["velocity_r2"].value == pytest.approx(np.mean(values))
    for name in ("board.csv", "board.md", "board.html"):
        leaderboard(catalog, output=tmp_path / name)
        assert "hidden0" in (tmp_path / name).read_text()


def test_nothing_that_matches_is_an_error(catalog):
    with pytest.raises(DataError, match="pipeline run evaluate"):
        leaderboard(catalog)
    evaluate(catalog, settings(metrics=["velocity_r2"]), runs=["plain"])
    with pytest.raises(DataError, match="None of the 8 evaluations"):
        leaderboard(catalog, sessions=["sub-Z*"])
