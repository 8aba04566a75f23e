"""The evaluation stage: runs and baselines → metrics with intervals in the catalog, and their comparison."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError
from nwb_latents.pipeline.evaluation.baselines.known import baseline_called
from nwb_latents.pipeline.evaluation.decoding.measured import RECORDED_RATES
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.forecast import forecast
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.leaderboard import compare, leaderboard
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import measurement_records, read_measurements
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.events import MeasurementEvent
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.registry import BASELINES
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
        hidden = training(co_smoothing=True, heldout_fraction=0.25, forward_ms=100, seed=seed)
        train(path, hidden, run_name=f"hidden{seed}")
    return path


@pytest.fixture
def catalog(original, tmp_path):
    """Return a copy of the catalog with its stores and runs."""
    return shutil.copytree(original.parent, tmp_path / "work") / original.name


def by_source(done, session=SESSION):
    """Name of the run or baseline → metric, of forecasts with that word behind it → record."""
    found = {}
    for each in done:
        if each.session == session:
            name = each.name + (":forecast" if each.bins else "")
            found.setdefault(each.run or each.source, {})[name] = each
    return found


def told(events, status=None):
    found = [event for event in events if isinstance(event, MeasurementEvent)]
    return found if status is None else [event for event in found if event.status == status]


ON_RATES = {
    "co_bps",
    "common_co_bps",
    "few_shot_co_bps",
    "cycle_consistency",
    "calibration",
    "fp_bps",
    "velocity_r2",
    "nlb_velocity_r2",
    "velocity_correlation",
    "position_correlation",
    "psth_r2",
}
ON_FORECASTS = {"velocity_r2:forecast", "forecast_rates_r2:forecast", "forecast_calibration:forecast"}


def test_every_source_is_measured_on_every_session(catalog):
    events = []
    done = evaluate(catalog, settings(forward_ms=100), report=events.append)
    found = by_source(done)
    assert found.keys() == {"plain", "hidden0", "hidden1", "null", "condition_mean", "hold_last"}
    assert len(done) == 2 * 6 * len(ON_RATES | ON_FORECASTS)
    assert all(records.keys() == ON_RATES | ON_FORECASTS for records in found.values())
    assert all(record.value is not None for record in found["hidden0"].values())
    for each in done:
        assert each.value is None or each.low <= each.value <= each.high
        assert (each.value is None) == bool(each.reason)
    assert found["hidden0"]["co_bps"].n_heldout == 2
    assert "co_smoothing=true" in found["plain"]["co_bps"].reason
    assert {name for name, record in found["hold_last"].items() if record.value is not None} == ON_FORECASTS
    assert found["hold_last"]["velocity_r2"].reason == "it only forecasts"
    assert found["null"]["forecast_rates_r2:forecast"].reason == "it does not forecast"
    assert measurement_records(read_measurements(catalog)) == done
    assert [event.status for event in told(events)] == ["done"] * len(done)
    assert [event.value for event in told(events)] == [record.value for record in done]


def test_every_stage_says_the_same_of_the_run_a_number_is_of(catalog):
    def told_of(done, run):
        said = {(e.run_key, e.model, e.label, e.group, e.seed) for e in done if e.run == run}
        return said, {bool(e.settings_digest) for e in done}

    runs = {"runs": ["hidden0", "hidden1"], "sessions": [SESSION]}
    evaluated = evaluate(catalog, settings(), **runs)
    others = (
        decode(catalog, DecodeSettings(lag_scan_ms=(60.0, 100.0)), **runs),
        forecast(catalog, ForecastSettings(linear_alphas=(1e2,)), **runs),
    )
    for run, seed in (("hidden0", 0), ("hidden1", 1)):
        (expected,), _ = told_of(evaluated, run)
        assert expected[-1] == seed
        assert [told_of(done, run) for done in others] == [({expected}, {True})] * 2
    baseline = by_source(evaluated)["hold_last"]["velocity_r2:forecast"]
    (same,) = {(e.label, e.group, e.seed) for e in others[1] if e.source == "hold_last"}
    assert same == (baseline.label, baseline.group, None)
    assert {(e.label, e.run_key) for e in others[0] if e.source == "rates"} == {("", None)}


def test_a_number_says_its_whole_protocol(catalog):
    found = by_source(evaluate(catalog, settings(), runs=["hidden0"], sessions=[SESSION]))
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session == SESSION)
    run = read_catalog(catalog).runs["hidden0"]
    one = found["hidden0"]["velocity_r2:forecast"]
    assert (one.source, one.run, one.run_key, one.store_key) == (
        "forecast", "hidden0", run.run_key, entry.store_key
    )  # fmt: skip
    assert (one.decoder, one.fitted_on) == ("all_states", "forecasts of training trials")
    whole = found["hidden0"]["velocity_r2"]
    assert (whole.decoder, whole.fitted_on) == ("ridge", RECORDED_RATES)
    assert (one.lag_ms, one.seen_bins, one.bins, one.split, one.stage) == (100.0, 13, 20, "test", "evaluate")
    assert (one.definition, one.unit, one.level, one.n_resamples) == ("r2_uniform", "1", 0.95, 50)
    assert one.decoder_settings["alpha"] > 0
    assert len(one.per_axis) == 2
    assert one.program
    assert one.time
    own = found["hidden0"]["nlb_velocity_r2"]
    assert (own.decoder, own.fitted_on) == ("nlb_ridge", "own rates, train and val trials")
    assert (own.seen_bins, own.source) == (None, "reconstruction")
    co_bps = found["hidden0"]["co_bps"]
    assert (co_bps.unit, co_bps.units, co_bps.decoder, co_bps.lag_ms) == ("bits/spike", "heldout", None, None)
    # A baseline that forecasts velocity itself is not decoded.
    direct = found["hold_last"]["velocity_r2:forecast"]
    assert (direct.decoder, direct.fitted_on, direct.source, direct.run) == (None, "", "hold_last", None)


def test_one_name_is_one_number_whichever_stage_measures_it(catalog):
    """`velocity_r2` of decode, evaluate and forecast, and `forecast_rates_r2`, agree to the last digit."""
    evaluated = by_source(evaluate(catalog, settings(), runs=["plain"], sessions=[SESSION]))
    for score in decode(catalog, DecodeSettings(), runs=["plain"], sessions=[SESSION]):
        # What the decoder of recorded rates makes of a forecast is measured by the other stages alone.
        if score.run is not None and score.source != "forecast_decoded":
            ahead = ":forecast" if score.source == "forecast" else ""
            mine = evaluated["plain"][f"velocity_r2{ahead}"]
            assert (mine.value, mine.per_axis, mine.n_samples) == (
                score.value, score.per_axis, score.n_samples
            )  # fmt: skip
    n_compared = 0
    for point in forecast(catalog, ForecastSettings(), runs=["plain"], sessions=[SESSION]):
        mine = evaluated.get(point.run or point.source, {}).get(f"{point.name}:forecast")
        if point.step is None and mine is not None and point.source != "forecast_decoded":
            assert mine.value == point.value, point
            assert (mine.decoder, mine.fitted_on, mine.seen_bins, mine.bins, mine.lag_ms) == (
                point.decoder, point.fitted_on, point.seen_bins, point.bins, point.lag_ms
            )  # fmt: skip
            n_compared += 1
    assert n_compared == 2 * 3


def test_the_mean_of_training_trials_scores_just_below_zero(catalog):
    found = by_source(evaluate(catalog, settings(metrics=["co_bps"]), runs=["plain"]))
    assert -0.1 < found["null"]["co_bps"].value <= 0


def test_what_is_there_is_not_measured_again(catalog, monkeypatch):
    first = evaluate(catalog, settings())

    def measured(*given, **words):
        raise DataError("measured again")

    monkeypatch.setattr("nwb_latents.pipeline.stages.evaluate._measure", measured)
    events = []
    assert evaluate(catalog, settings(), report=events.append) == first
    assert {event.status for event in told(events)} == {"skipped"}
    with pytest.raises(PartialFailure, match="measured again"):
        evaluate(catalog, settings(), force=True)
    with pytest.raises(PartialFailure, match="measured again"):
        evaluate(catalog, settings(lag_ms=120.0))


def test_fewer_metrics_keep_those_measured_before(catalog):
    whole = by_source(evaluate(catalog, settings(), sessions=[SESSION]))
    fewer = settings(metrics=["velocity_r2"])
    part = by_source(evaluate(catalog, fewer, sessions=[SESSION], force=True))
    assert part["hidden1"].keys() == {"velocity_r2", "velocity_r2:forecast"}
    kept = by_source(measurement_records(read_measurements(catalog)))
    assert {name: record.value for name, record in kept["hidden1"].items()} == {
        name: record.value for name, record in whole["hidden1"].items()
    }
    (board,) = leaderboard(catalog)
    assert {column.key for column in board.columns} > {"co_bps", "velocity_r2", "velocity_r2:forecast"}


def test_a_further_metric_is_measured_alone(catalog):
    evaluate(catalog, settings(metrics=["velocity_r2"]), sessions=[SESSION])
    events = []
    both = settings(metrics=["velocity_r2", "psth_r2"])
    done = evaluate(catalog, both, sessions=[SESSION], report=events.append)
    assert {event.name for event in told(events, "done")} == {"psth_r2"}
    assert {event.name for event in told(events, "skipped")} == {"velocity_r2"}
    assert {record.name for record in done} == {"velocity_r2", "psth_r2"}


def test_a_run_trained_anew_is_measured_anew_and_its_old_numbers_do_not_count(catalog):
    evaluate(catalog, settings(metrics=["psth_r2", "velocity_r2"]), runs=["plain"], sessions=[SESSION])
    before = read_catalog(catalog).runs["plain"]
    after = train(catalog, training(seed=7), run_name="plain", force=True)
    assert after.run_key != before.run_key
    events = []
    asked = settings(metrics=["psth_r2"])
    evaluate(catalog, asked, runs=["plain"], sessions=[SESSION], report=events.append)
    assert {event.run for event in told(events, "done")} == {"plain"}
    (board,) = leaderboard(catalog)
    row = next(row for row in board.rows if not row.is_baseline)
    assert row.cells.keys() == {"psth_r2"}


def test_a_source_that_fails_does_not_stop_the_others(catalog, monkeypatch):
    def broken(task, chosen):
        raise DataError("no rates today")

    monkeypatch.setitem(BASELINES._loaded, "null", replace(baseline_called("null"), rates=broken))
    with pytest.raises(PartialFailure, match=f"null on {SESSION}: no rates today") as caught:
        evaluate(catalog, settings())
    others = {"plain", "hidden0", "hidden1", "condition_mean", "hold_last"}
    assert by_source(caught.value.results).keys() == others
    assert by_source(measurement_records(read_measurements(catalog))).keys() == others


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
        preset="classic",
        layout="nlb",
        n_subjects=1,
        n_sessions=2,
        n_units=(20, 20),
        n_trials=60,
        waveforms=False,
    )
    simulate_dandiset(tmp_path / "nwb", few)
    catalog = tmp_path / "catalog.yaml"
    ingest(catalog, FolderSource([tmp_path / "nwb"]))
    asked = settings(baselines=["null", "oracle"], metrics=["co_bps", "rate_r2", "state_r2"])
    done = evaluate(catalog, asked, truth=tmp_path / "nwb")
    sessions = list(dict.fromkeys(each.session for each in done))
    assert len(sessions) == 2
    for session in sessions:
        found = by_source(done, session)
        assert list(found) == ["null", "oracle"]
        null, oracle = found["null"], found["oracle"]
        assert oracle["rate_r2"].value == 1
        assert oracle["co_bps"].value > null["co_bps"].value
        assert null["rate_r2"].value < 0.01
        assert oracle["state_r2"].value is None
        assert oracle["state_r2"].reason == "it has no states"
    (board,) = leaderboard(catalog, ranked_by="rate_r2")
    assert [row.label for row in board.rows] == ["oracle", "null"]
    next(iter((tmp_path / "nwb").rglob("*_truth.npz"))).unlink()
    part = evaluate(catalog, asked, truth=tmp_path / "nwb", force=True)
    assert [list(by_source(part, session)) for session in sessions] in (
        [["null"], ["null", "oracle"]], [["null", "oracle"], ["null"]]
    )  # fmt: skip


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
    assert {each.split for each in scored} == {"val"}
    made = leaderboard(catalog)
    assert [board.phase for board in made] == ["test", "val"]
    assert [board.phase for board in leaderboard(catalog, phase="val")] == ["val"]


def test_rows_of_json_say_what_they_were_told_and_how_they_were_read_out(catalog):
    evaluate(catalog, settings(metrics=["velocity_r2"]), runs=["plain"])
    events = []
    leaderboard(catalog, report=events.append)
    rows = {event.label: event for event in events}
    assert rows["condition mean"].told == ("the target",)
    assert {label for label, row in rows.items() if row.only_forecasts} == {"hold last"}
    (protocol,) = {tuple(sorted(row.protocol.items())) for row in rows.values()}
    assert dict(protocol).keys() == {"velocity_r2", "velocity_r2:forecast"}
    assert (
        dict(protocol)["velocity_r2"] == "decoder ridge fitted on recorded rates; 100 ms after the activity"
    )


def test_seeds_are_one_row(catalog, tmp_path):
    evaluate(catalog, settings())
    (board,) = leaderboard(catalog, ranked_by="velocity_r2")
    rows = {row.sources: row for row in board.rows}
    assert ("hidden0", "hidden1") in rows
    assert rows["hidden0", "hidden1"].label == "ndt (hidden0)"
    assert rows["plain",].label == "ndt (plain)"
    table = read_measurements(catalog, names=["velocity_r2"], runs=["hidden*"], sources=["reconstruction"])
    values = table["value"]
    assert len(values) == 4
    assert rows["hidden0", "hidden1"].cells["velocity_r2"].value == pytest.approx(np.mean(values))
    for name in ("board.csv", "board.md", "board.html"):
        leaderboard(catalog, output=tmp_path / name)
        assert "hidden0" in (tmp_path / name).read_text()


def test_nothing_that_matches_is_an_error(catalog):
    with pytest.raises(DataError, match="pipeline run evaluate"):
        leaderboard(catalog)
    evaluate(catalog, settings(metrics=["velocity_r2"]), runs=["plain"])
    with pytest.raises(DataError, match="None of the 16 measurements"):
        leaderboard(catalog, sessions=["sub-Z*"])
