"""A run scores trials of another store than its own only where it is proven which of them it has not seen."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

import nwb_latents as nl
from nwb_latents.pipeline.errors import CatalogWarning, DataError, PipelineError, UsageError
from nwb_latents.pipeline.stages.embed import embed
from nwb_latents.pipeline.stages.nlb_scores import score
from nwb_latents.pipeline.stages.nlb_submission import submit
from nwb_latents.pipeline.stages.stream import stream
from nwb_latents.schemas.embedding import EmbedSettings
from nwb_latents.schemas.export import NlbExport
from nwb_latents.schemas.trial_record import RunTrials

SESSION = "sub-T_ses-CO-1"
N_NEW = 4


def _table(file):
    return {name: file[f"intervals/trials/{name}"][()] for name in file["intervals/trials"]}


def _write_table(path, columns):
    with h5py.File(path, "r+") as file:
        for name, values in columns.items():
            del file[f"intervals/trials/{name}"]
            file[f"intervals/trials/{name}"] = values


def _set(path, name, value):
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        del file[name]
        file[name] = value(values)


@pytest.fixture
def grown(tmp_path, make_nwb, make_reaches):
    """Return a catalog with a run, whose file has four more trials since; `again` ingests it."""
    path, catalog = tmp_path / f"{SESSION}.nwb", tmp_path / "catalog.yaml"
    make_nwb(path, make_reaches(n_trials=40, seed=1))
    with h5py.File(path) as file:
        columns = _table(file)
    _write_table(path, {name: values[:-N_NEW] for name, values in columns.items()})
    nl.ingest(catalog, path)
    nl.train(catalog, model="ndt", max_steps=2, run_name="small", device="cpu")
    before = nl.open_session(catalog, SESSION).loaded()
    seen = set(before.trials["trial"].values[np.isin(before.split, ("train", "val"))].tolist())
    _write_table(path, columns)

    def again(*, change=None):
        if change:
            change(path)
        nl.ingest(catalog, path, force=True)
        return nl.open_session(catalog, SESSION).loaded()

    return SimpleNamespace(catalog=catalog, path=path, again=again, seen=seen, columns=columns)


def test_the_test_trials_are_those_the_run_has_not_seen(grown):
    session = grown.again()
    view = nl.load_run(grown.catalog, "small", device="cpu").unseen(session)
    ids = view.session.trials["trial"].values
    scored = set(ids[view.session.rows("test")].tolist())
    assert scored == set(session.trials["trial"].values.tolist()) - grown.seen
    assert view.n_unseen == len(scored) > N_NEW
    assert set(ids[view.session.rows(["train", "val"])].tolist()) == grown.seen
    # What this store calls test trials are for the most part others, some of which were trained on.
    assert grown.seen & set(session.trials["trial"].values[session.rows("test")].tolist())


@pytest.mark.parametrize("stage", ["decode", "evaluate", "forecast"])
def test_stages_score_these_alone_and_say_so(grown, stage):
    session = grown.again()
    said = []
    settings = {"baselines": ("smoothing",)} if stage == "evaluate" else {}
    table = getattr(nl, stage)(
        grown.catalog, runs="small", device="cpu", unseen_trials=True, report=said.append, **settings
    )
    n_unseen = session.n_trials - len(grown.seen)
    (split,) = set(table["split"])
    assert split.startswith("unseen-")
    assert set(table["n_trials"]) == {n_unseen}
    notes = [each.text for each in said if each.event == "note" and each.status == "unseen trials"]
    assert len(notes) == 1
    assert f"{n_unseen} of {session.n_trials} trials, in neither training nor validation" in notes[0]
    assert split in notes[0]
    # They stand beside no number of test trials.
    with warnings.catch_warnings(action="ignore", category=CatalogWarning):
        assert nl.scores(grown.catalog, runs="small", splits="test").empty
    assert nl.scores(grown.catalog, runs="small")["is_current"].all()
    if stage == "evaluate":
        assert set(nl.leaderboard(grown.catalog)["phase"]) == {split}


def test_without_the_option_it_is_refused_with_both_ways_out(grown):
    grown.again()
    with pytest.raises(PipelineError, match=r"Train it again on this store .* --unseen-trials"):
        nl.decode(grown.catalog, runs="small", device="cpu")


def test_on_the_store_it_was_trained_on_the_option_changes_nothing(tmp_path, make_nwb, make_reaches):
    path, catalog = (
        make_nwb(tmp_path / f"{SESSION}.nwb", make_reaches(n_trials=30)),
        tmp_path / "catalog.yaml",
    )
    nl.ingest(catalog, path)
    nl.train(catalog, model="ndt", max_steps=2, run_name="small", device="cpu")
    assert set(nl.decode(catalog, runs="small", device="cpu", unseen_trials=True)["split"]) == {"test"}


def _later_start(path):
    _set(path, "intervals/trials/start_time", lambda one: one + 0.004)


def _later_cue(path):
    _set(path, "intervals/trials/go_cue_time", lambda one: one + 0.004)


def _rows_moved(path):
    with h5py.File(path) as file:
        columns = _table(file)
    _write_table(path, {name: values[1:] for name, values in columns.items()})


def _trials_gone(path):
    with h5py.File(path) as file:
        columns = _table(file)
    _write_table(path, {name: values[:12] for name, values in columns.items()})


def _other_recording(path):
    _set(path, "identifier", lambda _: b"another one")


def _other_day(path):
    _set(path, "session_start_time", lambda _: b"2016-03-01T10:00:00+00:00")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_later_start, r"starts at .* s, was"),
        (_later_cue, "has its go cue at .* s, was"),
        (_rows_moved, "are not as they were"),
        (_trials_gone, "is not there"),
        (_other_recording, "was trained on the recording .*, this is 'another one'"),
        (_other_day, "begun 2016-03-01"),
    ],
)
def test_what_cannot_be_proven_is_refused(grown, change, said):
    session = grown.again(change=change)
    with pytest.raises(DataError, match=said):
        nl.load_run(grown.catalog, "small", device="cpu").unseen(session)
    with pytest.raises(PipelineError, match=said):
        nl.decode(grown.catalog, runs="small", device="cpu", unseen_trials=True)


def test_a_run_without_a_record_is_refused(grown):
    session = grown.again()
    (grown.catalog.parent / "runs/small/trials.json").unlink()
    with pytest.raises(DataError, match="holds no record of the trials"):
        nl.load_run(grown.catalog, "small", device="cpu").unseen(session)


def test_other_units_are_refused(grown):
    def one_fewer(path):
        _set(path, "units/spike_times", lambda one: one[: h5py.File(path)["units/spike_times_index"][-2]])
        _set(path, "units/spike_times_index", lambda one: one[:-1])
        _set(path, "units/id", lambda one: one[:-1])

    grown.again(change=one_fewer)
    with pytest.raises(PipelineError, match="units"):
        nl.decode(grown.catalog, runs="small", device="cpu", unseen_trials=True)


@pytest.mark.parametrize(
    ("bins", "is_left_out"), [(0, True), (35, True), (-35, True), (36, False), (-36, False)]
)
def test_trials_that_overlap_with_one_it_has_seen_are_left_out(grown, bins, is_left_out):
    session = grown.again()
    run = nl.load_run(grown.catalog, "small", device="cpu")
    ids, start = session.trials["trial"].values, session.trials["start_bin"].values.copy()
    assert session.n_bins == 36
    # Of all trials only the first and the last are near each other.
    first = next(row for row, one in enumerate(ids) if int(one) in grown.seen)
    start[-1] = start[first] + bins
    moved = session.with_trials(session.trials.assign(start_bin=("trial", start)))
    view = run.unseen(moved)
    assert view.n_left_out == is_left_out
    assert (int(ids[-1]) not in view.session.trials["trial"].values) == is_left_out


def test_runs_that_have_seen_different_trials_are_not_put_together(grown):
    grown.again()
    nl.train(grown.catalog, model="ndt", max_steps=2, run_name="later", device="cpu")
    with pytest.raises(PipelineError, match="were not trained on the same trials"):
        nl.decode(grown.catalog, runs=["small", "later"], device="cpu", unseen_trials=True)
    assert set(nl.decode(grown.catalog, runs="small", device="cpu", unseen_trials=True)["split"]) != {"test"}


def test_a_phase_the_run_was_validated_on_is_refused(grown):
    grown.again()
    with pytest.raises(UsageError, match="phase val"):
        nl.evaluate(grown.catalog, runs="small", phase="val", unseen_trials=True)
    with pytest.raises(UsageError, match="phase val"):
        submit(grown.catalog, NlbExport(phase="val"), run="small", unseen_trials=True)


def test_what_is_remembered_is_in_the_manifest(grown):
    folder = grown.catalog.parent / "runs/small"
    assert "trials.json" in json.loads((folder / "manifest.json").read_text())["files"]
    record = RunTrials.read(json.loads((folder / "trials.json").read_text())).sessions[SESSION]
    kept = [t for t, split in zip(record.trial, record.split, strict=True) if split != "test"]
    assert set(kept) == grown.seen
    assert record.go_cue_s[0] == pytest.approx(grown.columns["go_cue_time"][record.trial[0]])
    assert record.start_s[0] == pytest.approx(grown.columns["start_time"][record.trial[0]])


@pytest.fixture
def shown(tmp_path, make_nwb, make_reaches):
    """Return a catalog with runs that embed, stream and co-smooth, ingested with more trials since."""
    path, catalog = tmp_path / f"{SESSION}.nwb", tmp_path / "catalog.yaml"
    make_nwb(path, make_reaches(n_trials=40, seed=1))
    with h5py.File(path) as file:
        columns = _table(file)
    _write_table(path, {name: values[:-N_NEW] for name, values in columns.items()})
    nl.ingest(catalog, path)
    shared = {"max_steps": 2, "device": "cpu"}
    small = {"latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8}
    nl.train(catalog, model={"name": "mdssm", **small}, run_name="embeds", **shared)
    causal = {"name": "ndt", "context_forward": 0}
    nl.train(catalog, model=causal, signal="counts", run_name="streams", **shared)
    nl.train(catalog, model="ndt", co_smoothing=True, heldout_fraction=0.25, run_name="hides", **shared)
    _write_table(path, columns)
    nl.ingest(catalog, path)
    session = nl.open_session(catalog, SESSION).loaded()
    view = nl.load_run(catalog, "streams", device="cpu").unseen(session).session
    return SimpleNamespace(catalog=catalog, unseen=view.trials["trial"].values[view.rows("test")].tolist())


def test_embeddings_streams_and_submissions_are_of_these_trials_too(shown, tmp_path):
    with pytest.raises(PipelineError, match="another store"):
        embed(shown.catalog, EmbedSettings(), run="embeds", device="cpu")
    made = embed(shown.catalog, EmbedSettings(), run="embeds", device="cpu", unseen_trials=True)
    assert made.table["n_trials"].values.tolist() == [len(shown.unseen)]

    said = []
    stream(shown.catalog, "streams", session=SESSION, unseen_trials=True, report=said.append)
    assert sorted({each.trial for each in said if each.event == "bin"}) == sorted(shown.unseen)
    with pytest.raises(UsageError, match="leave --split train out"):
        stream(shown.catalog, "streams", session=SESSION, unseen_trials=True, split="train")

    with pytest.raises(PipelineError, match="another store"):
        submit(shown.catalog, NlbExport(), run="hides", out=tmp_path / "sub", device="cpu")
    done = submit(
        shown.catalog, NlbExport(), run="hides", out=tmp_path / "sub", device="cpu", unseen_trials=True
    )
    found = score(shown.catalog, done.path, [done.targets])
    assert {each.n_trials for each in found} == {len(shown.unseen)}
    assert all(each.split.startswith("unseen-") for each in found)
    again = submit(
        shown.catalog, NlbExport(), run="hides", out=tmp_path / "sub", device="cpu", unseen_trials=True
    )
    assert again.status == "skipped"
