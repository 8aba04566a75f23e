"""What `--json` says of the recording: the values, not only the keys."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.stores.trials import read_attributes, read_trials
from nwb_latents.schemas.recipe import IngestRecipe
from ruler import expected, recording
from ruler.expected import Bins

BINS = Bins(200, before=13, after=23)
RECIPE = IngestRecipe(velocity_from="series")
N_TRIALS, N_UNITS, N_BINS, N_TEST, N_TRAIN = 13, 5, 36, 3, 9
SESSION, FILE, RUN = "sub-R_ses-1", "sub-R_ses-1.nwb", "mine"
MODEL = ("--model", "ndt", "--set", "model.context_forward=0", "--set", "model.layers=1")
FOR_TRAINING = ("--max-steps", "4", "--set", "validate_every=2", "--set", "optimiser.warmup_steps=8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the recording."""
    folder = tmp_path_factory.mktemp("events")
    recording.write_recording(folder / "nwb" / FILE)
    return folder


def said_by(folder, *words):
    """Return the events that a command says."""
    done = CliRunner().invoke(app, [*words, "--catalog", str(folder / "catalog.yaml"), "--json"])
    assert done.exit_code == 0, (words, done.output, done.exception)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def only(events, kind, **about):
    """Return the only event of a kind."""
    found = [e for e in events if e["event"] == kind and all(e[key] == v for key, v in about.items())]
    assert len(found) == 1, (kind, found)
    return found[0]


@pytest.fixture(scope="module")
def ingested(folder):
    """Return the events of a plan, of an ingest, and of the same once more."""
    words = ("run", "ingest", "--path", str(folder / "nwb"), "--set", "velocity_from=series")
    return said_by(folder, *words, "--dry-run"), said_by(folder, *words), said_by(folder, *words)


@pytest.fixture(scope="module")
def trained(folder, ingested):
    """Return the events of a training."""
    return said_by(folder, "run", "train", *MODEL, *FOR_TRAINING, "--run-name", RUN, "--device", "cpu")


@pytest.fixture(scope="module")
def decoded(folder, trained):
    """Return the events of decoding."""
    return said_by(folder, "run", "decode", "--run", RUN, "--device", "cpu")


def test_these_numbers_are_those_of_the_recording():
    assert [
        expected.reasons(BINS).count(""), len(expected.KEPT), BINS.before + BINS.after,
    ] == [N_TRIALS, N_UNITS, N_BINS]  # fmt: skip
    assert len({N_TRIALS, N_UNITS, N_BINS, N_TEST, N_TRAIN, len(recording.GO), len(recording.IDS)}) == 7


def test_a_plan_says_what_would_be_ingested(folder, ingested):
    size = (folder / "nwb" / FILE).stat().st_size
    plan, planned = only(ingested[0], "plan"), only(ingested[0], "planned")
    assert (plan["stage"], plan["n_sessions"], plan["bytes"]) == ("ingest", 1, size)
    assert (plan["recipe"], plan["stores"]) == (RECIPE.recipe_id, f"stores/{RECIPE.recipe_id}")
    assert (planned["session"], planned["source"], planned["bytes"]) == (SESSION, FILE, size)
    assert planned["in_catalog"] is False
    assert (planned["memory_bytes"], planned["seconds"]) == (plan["memory_bytes"], plan["seconds"])
    assert planned["memory_bytes"] > size


def test_an_ingest_counts_trials_as_trials_and_units_as_units(ingested):
    store = f"stores/{RECIPE.recipe_id}/{SESSION}.zarr"
    done, again = only(ingested[1], "session"), only(ingested[2], "session")
    for event, status, reason in ((done, "done", ""), (again, "skipped", "up to date")):
        assert (event["session"], event["status"], event["reason"]) == (SESSION, status, reason)
        assert (event["n_trials"], event["n_units"]) == (N_TRIALS, N_UNITS)
        assert (event["store"], event["source"]) == (store, FILE)
        assert 0 <= event["seconds"] < 600
    left_out = {reason: expected.reasons(BINS).count(reason) for reason in expected.reasons(BINS) if reason}
    dropped = only(ingested[1], "dropped")
    assert (dropped["n_sessions"], dropped["n_units"], dropped["n_trials"]) == (1, N_UNITS, N_TRIALS)
    assert (dropped["units"], dropped["trials"]) == ({"below_min_rate": 1}, left_out)


def test_what_was_read_is_said_as_the_store_keeps_it(folder, ingested):
    read = only(ingested[1], "read")
    said = read_attributes(folder / "stores" / RECIPE.recipe_id / f"{SESSION}.zarr")
    assert (read["session"], read["source"], read["layout"]) == (SESSION, FILE, "generic")
    assert read["kinematics_unit"] == "cm"
    assert read["warnings"] == list(said.provenance.warnings)
    assert [c["value"] for c in read["choices"]] == [c.value for c in said.provenance.choices]
    taken = {c["what"]: c["value"] for c in read["choices"]}
    assert taken["go_cue"] == "/intervals/trials/go_cue_time"
    assert taken["velocity"] == "/processing/behavior/hand_vel"


def test_a_training_says_its_steps_and_what_it_ended_with(trained):
    run = only(trained, "run")
    assert (run["run"], run["model"], run["path"], run["status"]) == (RUN, "ndt", f"runs/{RUN}", "done")
    assert run["steps"] == 4
    assert run["metrics"]["best_step"] in (2, 4)
    assert run["metrics"]["best_val_loss"] <= run["metrics"]["val_loss"]
    # One term, so that the loss is that term.
    assert run["metrics"]["loss"] == run["metrics"]["nll"]


def test_a_decoding_says_how_many_trials_it_was_scored_on(folder, decoded):
    made = {e["source"]: e for e in decoded if e["event"] == "measurement"}
    baselines = {"linear_forecast", "condition_mean"}
    assert set(made) == {"rates", "reconstruction", "forecast", "forecast_decoded", *baselines}
    done = only(decoded, "session", status="done")
    assert (done["session"], done["store"]) == (SESSION, f"stores/{RECIPE.recipe_id}/{SESSION}.zarr")
    for source, event in made.items():
        assert (event["session"], event["split"], event["n_trials"]) == (SESSION, "test", N_TEST)
        assert (event["n_units"], event["recipe_id"], event["lag_ms"]) == (N_UNITS, RECIPE.recipe_id, 100.0)
        bins = N_BINS if event["bins"] is None else event["bins"]
        assert event["n_samples"] == N_TEST * bins
        assert (event["run"], event["model"]) == (
            (None, None) if source in {"rates", *baselines} else (RUN, "ndt")
        )
        assert event["value"] == pytest.approx(np.mean(event["per_axis"]), abs=0.2)
        assert 1 / 201 <= event["p_value"] <= 1
    assert made["forecast"]["seen_bins"] + made["forecast"]["bins"] <= N_BINS
    session = only(decoded, "session")
    assert (session["n_trials"], session["n_units"]) == (N_TRIALS, N_UNITS)


def test_a_stream_says_rates_in_hertz_of_the_units_it_names(folder, trained):
    events = said_by(folder, "run", "stream", RUN, "--session", SESSION, "--split", "test")
    begun, timing = only(events, "stream"), only(events, "stream_timing")
    assert begun["units"] == [recording.IDS[unit] for unit in expected.KEPT]
    assert (begun["axes"], begun["bin_ms"], begun["lag_ms"]) == (["x", "y"], 20.0, 100.0)
    trials = read_trials(folder / "stores" / RECIPE.recipe_id / f"{SESSION}.zarr")
    bins = [e for e in events if e["event"] == "bin"]
    rows = [int(t) for t, s in zip(trials["trial"], trials["split"].values, strict=True) if s == "test"]
    assert [(e["trial"], e["bin"]) for e in bins] == [(row, k) for row in rows for k in range(N_BINS)]
    assert (timing["n_trials"], timing["n_bins"], timing["bin_ms"]) == (N_TEST, N_TEST * N_BINS, 20.0)
    assert timing["median_ms"] <= timing["p99_ms"] <= timing["max_ms"]
    # A model that has learnt next to nothing says about the mean rates, in Hz.
    mean = np.mean([e["rates"] for e in bins], axis=0)
    wanted = trials["counts"].values.mean((0, 1)) / 0.02
    np.testing.assert_allclose(mean, wanted, rtol=0.6)


def test_exports_cuts_and_the_catalog_count_the_same(folder, decoded):
    exported = only(said_by(folder, "export", "lfads"), "session")
    assert (exported["n_trials"], exported["n_units"], exported["format"]) == (N_TRIALS, N_UNITS, "lfads")
    assert Path(exported["path"]) == folder / "exports" / "lfads" / RECIPE.recipe_id / f"{SESSION}.h5"
    assert Path(exported["path"]).exists()
    listed = said_by(folder, "catalog", "list")
    session, run = only(listed, "session"), only(listed, "run")
    assert (session["n_trials"], session["n_units"], session["n_bins"]) == (N_TRIALS, N_UNITS, N_BINS)
    assert (session["bin_size_s"], session["subject"]) == (0.02, "R")
    assert (run["run"], run["steps"], run["sessions"], run["status"]) == (RUN, 4, [SESSION], "complete")
    verified = only(said_by(folder, "catalog", "verify"), "verify")
    assert (verified["n_sessions"], verified["n_runs"], verified["n_damaged"], verified["n_faults"]) == (
        1, 1, 0, 0,
    )  # fmt: skip
    held = [folder / "stores", folder / "runs"]
    n_bytes = sum(path.stat().st_size for place in held for path in place.rglob("*") if path.is_file())
    assert verified["bytes"] == pytest.approx(n_bytes, rel=0.1)


def test_an_evaluation_says_what_was_scored_and_on_how_many_trials(folder, decoded):
    words = ("run", "evaluate", "--run", RUN, "--metric", "velocity_r2", "--baseline", "null")
    made = [e for e in said_by(folder, *words, "--device", "cpu") if e["event"] == "measurement"]
    assert {e["source"] for e in made} == {"reconstruction", "forecast", "null"}
    for event in made:
        assert (event["n_trials"], event["n_units"], event["split"]) == (N_TEST, N_UNITS, "test")
        assert event["is_baseline"] == (event["source"] == "null")
        if event["value"] is not None:
            assert event["low"] <= event["value"] <= event["high"]
    rows = [e for e in said_by(folder, "leaderboard") if e["event"] == "row"]
    assert [row["rank"] for row in rows] == [1, 2]
    assert {row["label"] for row in rows} == {"ndt", "null"}
    scored = {row["label"]: row["metrics"]["velocity_r2"]["value"] for row in rows}
    measured = {
        e["label"]: e["value"] for e in made if e["source"] in ("reconstruction", "null") and e["value"]
    }
    assert scored == pytest.approx(measured)
