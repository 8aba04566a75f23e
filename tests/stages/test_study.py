"""Studies: what is planned, done, left alone, compared."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import yaml
from stages.conftest import store_recording
from typer.testing import CliRunner

from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.cluster.shard import Shard
from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError
from nwb_latents.pipeline.stages import study as study_stage
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.ingest_words import folder_source
from nwb_latents.pipeline.stages.session_tasks import Where
from nwb_latents.pipeline.stages.simulate import simulate
from nwb_latents.pipeline.stages.study import run_study
from nwb_latents.pipeline.stages.study_tables import (
    PRETRAINED,
    TRIALS,
    study_numbers,
    study_tables,
    write_study,
)
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.study import StudySettings
from nwb_latents.schemas.training import TrainSettings

NDT = {"name": "ndt", "layers": 1, "hidden": 8, "read_in": {"hidden": 8, "width": 8}}
MDSSM = {
    "name": "mdssm", "latent_dim": 3, "embedding_dim": 2, "rank": 1, "dynamics_width": 8, "hyper_width": 8,
    "encoder_width": 8, "read_in": {"hidden": 8, "width": 4},
}  # fmt: skip
SHORT = {
    "batch": {"trials_per_session": 8}, "max_steps": 2, "validate_every": 2, "checkpoint_every": 2,
    "device": "cpu",
}  # fmt: skip
STUDY = {
    "name": "small",
    "groups": {
        "newcomer": {"last_subjects": 1},
        "known": {"without": ["newcomer"]},
    },
    "train": {
        "models": {"ndt": {"model": NDT}, "mdssm": {"model": MDSSM}},
        "settings": SHORT,
        "grid": {"optimiser.lr": [1e-3, 3e-3]},
        "seeds": 2,
        "groups": ["known"],
    },
    "align": {
        "to": ["newcomer"], "trials": [4, 8], "models": ["mdssm"], "from_scratch": True,
        "settings": {"max_steps": 2, "start_steps": 1, "device": "cpu", "scratch": {"max_steps": 2}},
    },
    "evaluate": {"metrics": ["velocity_r2"], "baselines": ["null"], "n_resamples": 20},
    "tables": ["velocity_r2"],
}  # fmt: skip


def study(**changed):
    return StudySettings.model_validate({**STUDY, **changed})


def without(key):
    return StudySettings.model_validate({name: value for name, value in STUDY.items() if name != key})


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording):
    path = tmp_path / "catalog.yaml"
    for number, subject in enumerate("ABC"):
        recording = as_recording(make_reaches(n_trials=40, n_units=8, seed=number))
        store_recording(path, recording, subject=subject)
    return path


def kinds(events, kind):
    return [event for event in events if event.event == kind]


def test_a_study_makes_every_combination_once_and_ends_in_tables(catalog):
    events = []
    done = run_study(catalog, study(), base=catalog.parent, report=events.append)
    entries = read_catalog(catalog).runs
    trained = [run for run in entries.values() if run.alignment is None]
    assert len(trained) == 2 * 2 * 2
    assert all(len(run.sessions) == 2 for run in trained)
    assert len(entries) - len(trained) == 4 * 2 * 2, "2 rates × 2 seeds of mdssm, 2 numbers, with and without"
    assert {run.alignment.seed for run in entries.values() if run.alignment} == {0, 1}
    (plan,) = kinds(events, "study_plan")
    assert (plan.n_runs, plan.n_runs_there, plan.n_alignments, plan.n_from_scratch) == (8, 0, 8, 8)
    assert plan.groups == {"all": 3, "newcomer": 1, "known": 2}
    tables = {table.factor: table for table in study_tables(done)}
    assert set(tables) == {"model", "optimiser.lr", TRIALS, PRETRAINED}
    assert tables["model"].levels == ("ndt", "mdssm")
    assert tables["model"].columns == (("trained on known", "velocity_r2"),)
    assert tables[TRIALS].columns == (
        ("aligned to newcomer", "velocity_r2"),
        ("fitted from scratch to newcomer", "velocity_r2"),
    )
    assert tables[PRETRAINED].columns == (("few trials of newcomer", "velocity_r2"),)
    numbers = study_numbers(done)
    mine = numbers[(numbers["model"] == "mdssm") & (numbers["setting"] == "trained on known")]
    by_seed = mine.groupby("seed")["value"].mean()
    cell = tables["model"].cells["mdssm", "trained on known", "velocity_r2"]
    assert cell.value == pytest.approx(by_seed.mean())
    assert cell.seed_sd == pytest.approx(by_seed.std(ddof=1))


def test_a_study_that_is_done_or_grows_makes_only_what_is_new(catalog):
    small = study(
        train={**STUDY["train"], "seeds": 1, "models": {"ndt": {"model": NDT}}, "grid": {}}, align=None
    )
    settings = TrainSettings.model_validate({**SHORT, "model": NDT})
    before = train(catalog, settings, sessions=["sub-A*", "sub-B*"])
    events = []
    run_study(catalog, small, base=catalog.parent, report=events.append)
    assert [(event.run, event.status) for event in kinds(events, "run")] == [(before.run, "skipped")]
    more = study(train={**STUDY["train"], "grid": {}}, align=None)
    events = []
    run_study(catalog, more, base=catalog.parent, report=events.append)
    done = [event.status for event in kinds(events, "run")]
    assert (done.count("skipped"), done.count("done")) == (1, 3)
    events = []
    again = run_study(catalog, more, base=catalog.parent, report=events.append)
    assert {event.status for event in kinds(events, "run")} == {"skipped"}
    assert len(again.measurements) > 0


def test_a_part_of_a_study_is_one_job_and_the_whole_measures(catalog):
    parts = []
    for index in (0, 1):
        events = []
        run_study(
            catalog,
            without("align"),
            base=catalog.parent,
            where=Where(shard=Shard(index, 2)),
            report=events.append,
        )
        parts.append({event.run for event in kinds(events, "run")})
        assert "without --shard" in kinds(events, "note")[-1].text
        assert not kinds(events, "measurement")
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == 8
    events = []
    run_study(catalog, without("align"), base=catalog.parent, report=events.append)
    assert {event.status for event in kinds(events, "run")} == {"skipped"}
    assert kinds(events, "measurement")


def test_what_fails_is_told_at_the_end_and_the_rest_is_measured(catalog):
    apart = {**STUDY["train"], "models": {"ndt": {"model": NDT}}, "grid": {}, "each": "session"}
    asked = study(train=apart, align=None)
    entries = read_catalog(catalog).sessions.values()
    (store,) = [entry.store for entry in entries if entry.subject == "A"]
    shard = next((catalog.parent / store / "trials" / "counts").rglob("c/0/0/0"))
    content = shard.read_bytes()
    shard.write_bytes(content[:10])
    with pytest.raises(PartialFailure, match="tries them again") as failure:
        run_study(catalog, asked, base=catalog.parent)
    (done,) = failure.value.results
    assert len({name for name, _ in done.failures}) == 2, "two seeds"
    assert set(study_numbers(done)["session"]) == {"sub-B_ses-CO-1"}
    shard.write_bytes(content)
    again = run_study(catalog, asked, base=catalog.parent)
    assert set(study_numbers(again)["session"]) == {"sub-A_ses-CO-1", "sub-B_ses-CO-1"}


def test_dry_run_changes_nothing_and_tells_the_cost(catalog):
    before = sorted(path.as_posix() for path in catalog.parent.rglob("*"))
    events = []
    run_study(catalog, study(), base=catalog.parent, dry_run=True, report=events.append)
    assert sorted(path.as_posix() for path in catalog.parent.rglob("*")) == before
    (plan,) = kinds(events, "study_plan")
    assert plan.seconds > 0
    assert plan.memory_bytes > 100_000_000
    assert not kinds(events, "run")


def test_dry_run_is_of_the_recordings_that_are_asked_for(tmp_path):
    folder, path = tmp_path / "nwb", tmp_path / "catalog.yaml"
    simulated = {"n_subjects": 2, "n_sessions": 1, "n_units": [6, 8], "n_trials": 30, "waveforms": False}
    simulate(folder, SimulateSettings.model_validate(simulated))
    (first, _), recipe = sorted(folder.rglob("*.nwb")), IngestRecipe()
    ingest(path, folder_source([folder]), recipe)
    task = next(iter(read_catalog(path).sessions.values())).task

    def planned(**recordings):
        events = []
        asked = study(
            recordings=recordings, groups={}, train={**STUDY["train"], "groups": ["all"]}, align=None
        )
        done = run_study(path, asked, base=tmp_path, dry_run=True, report=events.append)
        return len(done.groups["all"]), [note.text for note in kinds(events, "note")]

    assert planned(paths=["nwb"], task=task)[0] == 2
    assert planned(paths=[str(first)])[0] == 1
    with pytest.raises(DataError, match="None of the study's recordings"):
        planned(paths=["nwb"], task="another")
    simulate(folder, SimulateSettings.model_validate({**simulated, "n_subjects": 3}))
    found, notes = planned(paths=["nwb"])
    assert found == 2
    assert any("1 of 3 recordings are not ingested by this recipe" in text for text in notes), notes


def test_a_recording_that_fails_stops_the_study_unless_it_may_be_left_out(tmp_path):
    folder, path = tmp_path / "nwb", tmp_path / "catalog.yaml"
    simulated = {"n_subjects": 2, "n_sessions": 1, "n_units": [6, 8], "n_trials": 30, "waveforms": False}
    simulate(folder, SimulateSettings.model_validate(simulated))
    first, second = sorted(folder.rglob("*.nwb"))
    first.write_bytes(first.read_bytes()[:5000])
    train = {**STUDY["train"], "models": {"ndt": {"model": NDT}}, "groups": ["all"], "grid": {}, "seeds": 1}

    def asked(**more):
        return study(recordings={"paths": ["nwb"], **more}, groups={}, train=train, align=None)

    with pytest.raises(PartialFailure, match=r"1 of 2 recordings.*nothing was trained.*on_failed=leave_out"):
        run_study(path, asked(), base=tmp_path)
    assert not read_catalog(path).runs
    with pytest.raises(PartialFailure, match="1 failed, the rest of the study is done") as failure:
        run_study(path, asked(on_failed="leave_out"), base=tmp_path)
    (done,) = failure.value.results
    assert [entry.source for entry in done.groups["all"]] == [second.relative_to(folder).as_posix()]
    assert len(read_catalog(path).runs) == 1


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        (
            {"tables": ["velocity_rr2"]},
            SettingsError,
            "no column is called 'velocity_rr2'; did you mean velo",
        ),
        ({"tables": ["co_bps"]}, SettingsError, "co_bps is not among evaluate.metrics"),
        ({"evaluate": {"baselines": ["nope"]}}, SettingsError, "no baseline is called 'nope'"),
        ({"align": {**STUDY["align"], "to": ["known"]}}, DataError, "nothing to align"),
        ({"align": {**STUDY["align"], "trials": [8, 99]}}, DataError, "trials 99: .*sub-C_ses-CO-1 has"),
    ],
)
def test_what_cannot_be_measured_or_aligned_is_refused_before_anything_is_trained(
    catalog, changed, error, words
):
    before = sorted(catalog.parent.rglob("*"))
    with pytest.raises(error, match=words):
        run_study(catalog, study(**changed), base=catalog.parent)
    assert sorted(catalog.parent.rglob("*")) == before


def test_a_study_that_was_another_one_before_is_told(catalog):
    train = {**STUDY["train"], "models": {"ndt": {"model": NDT}}, "grid": {}, "seeds": 1}
    told = []
    for title in ("one", "one", "other"):
        events = []
        asked = study(train=train, align=None, title=title)
        run_study(catalog, asked, base=catalog.parent, report=events.append)
        told.append([note.text for note in kinds(events, "note") if "others before" in note.text])
    assert told[:2] == [[], []]
    assert len(told[2]) == 1
    assert "its title were others before" in told[2][0]


def test_tables_by_default_that_are_not_measured_are_told(catalog):
    asked = study(evaluate={"metrics": ["co_bps"]}).model_dump(exclude={"tables"}, exclude_unset=True)
    events = []
    run_study(
        catalog, StudySettings.model_validate(asked), base=catalog.parent, dry_run=True, report=events.append
    )
    assert any("not among evaluate.metrics (co_bps)" in note.text for note in kinds(events, "note"))


def test_a_run_whose_weights_are_gone_is_not_there_and_one_of_a_former_store_is_told(
    catalog, make_reaches, as_recording
):
    asked = study(train={**STUDY["train"], "models": {"ndt": {"model": NDT}}, "grid": {}}, align=None)
    done = run_study(catalog, asked, base=catalog.parent)
    shutil.rmtree(catalog.parent / "runs" / done.runs[0].name)
    events = []
    run_study(catalog, asked, base=catalog.parent, dry_run=True, report=events.append)
    assert kinds(events, "study_plan")[0].n_runs_there == 1
    again = as_recording(make_reaches(n_trials=40, n_units=8, seed=7))
    store_recording(catalog, again, subject="A", digest="sha256:another")
    run_study(catalog, asked, base=catalog.parent, dry_run=True, report=events.append)
    (told,) = [note.text for note in kinds(events, "note") if "anew" in note.text]
    assert told.startswith("1 of the trainings stand in the catalog for other stores of sub-A_ses-CO-1")


def test_training_from_scratch_has_no_level_of_what_it_does_not_know(catalog):
    groups = {"newcomer": {"subjects": ["C"]}, "one": {"subjects": ["A"]}, "both": {"subjects": ["A", "B"]}}
    train = {
        **STUDY["train"], "models": {"mdssm": {"model": MDSSM}}, "groups": ["one", "both"], "seeds": 1,
        "grid": {"optimiser.lr": [1e-3, 3e-3]},
    }  # fmt: skip
    done = run_study(catalog, study(groups=groups, train=train), base=catalog.parent)
    found = {table.factor: table for table in study_tables(done)}
    settings = {factor: {setting for setting, _ in table.columns} for factor, table in found.items()}
    assert settings["optimiser.lr"] == {"trained on one", "trained on both", "aligned to newcomer"}
    assert settings["trained on"] == {"aligned to newcomer", "trained"}
    assert settings["pre-trained"] == {"few trials of newcomer"}
    cell = found["trained on"].cells["both", "trained", "velocity_r2"]
    assert cell.n_sessions == 1, "what is compared is the session both know"
    files = write_study(done, list(found.values()), "")
    assert "| mdssm | 0.003 | both | 0 |" in files[0].read_text()


def test_sessions_that_are_not_aligned_as_asked_are_told(catalog):
    asked = {**STUDY["align"], "to": ["newcomer", "all"]}
    events = []
    run_study(catalog, study(align=asked), base=catalog.parent, dry_run=True, report=events.append)
    told = [note.text for note in kinds(events, "note") if note.text.startswith("align.to")]
    twice, known = told
    assert twice == "align.to: sub-C_ses-CO-1: in newcomer and all; tables have them under newcomer"
    assert known.startswith("align.to: sub-A_ses-CO-1, sub-B_ses-CO-1: among those that runs of known are")


def test_groups_are_chosen_by_days_subjects_and_each_other(catalog):
    settings = study(groups={"newcomer": {"subjects": ["C"]}, "known": {"sessions": ["sub-A*"]}}, align=None)
    done = run_study(catalog, settings, base=catalog.parent, dry_run=True)
    assert [entry.subject for entry in done.groups["known"]] == ["A"]
    empty = study(groups={"newcomer": {"last_subjects": 1}, "known": {"tasks": ["RT"]}})
    with pytest.raises(DataError, match=r"groups.known: none of 3 sessions.*subjects A, B, C"):
        run_study(catalog, empty, base=catalog.parent)
    dated = study(groups={"newcomer": {"since": "1990-01-01"}, "known": {}})
    events = []
    with pytest.raises(DataError, match="newcomer"):
        run_study(catalog, dated, base=catalog.parent, report=events.append)
    assert any("day of recording is not known" in note.text for note in kinds(events, "note"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"train": {**STUDY["train"], "groups": ["nobody"]}}, "no group 'nobody'"),
        (
            {"groups": {**STUDY["groups"], "a": {"without": ["b"]}, "b": {"without": ["a"]}}},
            "leads back",
        ),
        ({"groups": {**STUDY["groups"], "all": {}}}, "name of all sessions"),
        ({"train": {**STUDY["train"], "grid": {"seed": [1]}}}, "train.seeds"),
        ({"train": {**STUDY["train"], "grid": {"model": ["ndt"]}}}, "train.models"),
        (
            {"train": {**STUDY["train"], "settings": {**SHORT, "seed": 3}}},
            "train.settings: .*train.first_seed",
        ),
        ({"train": {**STUDY["train"], "models": {"a": {"seed": 3}}}}, "train.models.a: .*train.first_seed"),
        ({"train": {**STUDY["train"], "grid": {"optimiser.lr": []}}}, "no values"),
        ({"train": {**STUDY["train"], "grid": {"optimiser.lr": [1, 1]}}}, "twice"),
        ({"train": {**STUDY["train"], "grid": {"optimiser": [{}], "optimiser.lr": [1]}}}, "leave one out"),
        ({"recordings": {"paths": ["a"]}, "recipe_id": "20ms"}, "recordings.recipe"),
        ({"align": {**STUDY["align"], "models": ["lfads"]}}, "no model 'lfads'"),
        ({"align": {**STUDY["align"], "trials": [0]}}, "above 0"),
        ({"groups": {"newcomer": {"since": "2020-02-01", "until": "2020-01-01"}}}, "later than until"),
        ({"name": "../x"}, "letters, digits"),
        ({"name": "x" * 300}, "100 at most"),
        ({"train": {**STUDY["train"], "models": {" ": {}}}}, "a name is empty"),
        ({"recordings": {}}, "one of simulate, paths and dandisets"),
        ({"recordings": {"paths": ["a"], "dandisets": ["000688"]}}, "paths and dandisets"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused_by_its_words(changed, words):
    with pytest.raises(ValueError, match=words):
        study(**changed)


@pytest.mark.parametrize(
    ("train_settings", "words"),
    [
        (
            {"models": {"ndt": {"model": {"name": "ndt", "heads": 99, "lairs": 1}}}},
            "train.models.ndt: .*lairs",
        ),
        ({"grid": {"optimiser.lrr": [1]}}, "train.models.ndt: train.grid optimiser.lrr=1"),
        ({"models": {"small": {}}}, "train.models.small: no model is named"),
        ({"models": {"ndt": {"model": {"name": "lfads"}}}}, "train.models.ndt: trains lfads"),
    ],
)
def test_settings_of_a_model_are_refused_before_anything_is_done(catalog, train_settings, words):
    before = sorted(catalog.parent.rglob("*"))
    with pytest.raises(SettingsError, match=words):
        run_study(catalog, study(train={**STUDY["train"], **train_settings}, align=None), base=catalog.parent)
    assert sorted(catalog.parent.rglob("*")) == before


def test_a_model_is_the_one_of_its_name_in_tables_where_no_other_is_named(catalog):
    models = {"ndt": {"model": {key: value for key, value in NDT.items() if key != "name"}}, "lfads": {}}
    asked = study(train={**STUDY["train"], "models": models, "grid": {}, "seeds": 1}, align=None)
    done = run_study(catalog, asked, base=catalog.parent, dry_run=True)
    trained = {run.model: run.training.begun.settings.model for run in done.runs}
    assert {name: model.name for name, model in trained.items()} == {"ndt": "ndt", "lfads": "lfads"}
    assert trained["ndt"].hidden == 8


def test_two_models_that_are_the_same_are_refused(catalog):
    twice = {"one": {"model": NDT}, "two": {"model": NDT}}
    with pytest.raises(DataError, match=r"model one.*model two.*same training"):
        run_study(catalog, study(train={**STUDY["train"], "models": twice}, align=None), base=catalog.parent)


def test_seeds_of_aligned_runs_and_of_their_parents_are_one_row(catalog):
    asked = study(train={**STUDY["train"], "models": {"mdssm": {"model": MDSSM}}, "grid": {}})
    done = run_study(catalog, asked, base=catalog.parent)
    groups = {
        (each.label, each.group)
        for each in done.measurements
        if each.run is not None and "aligned" in each.label
    }
    assert len(groups) == 2, "4 and 8 trials, each one row over both seeds"


def test_the_command_simulates_ingests_and_writes_its_tables(tmp_path):
    asked = {
        **STUDY,
        "recordings": {
            "simulate": {
                "n_subjects": 2, "n_sessions": 1, "n_units": [6, 8], "n_trials": 30, "waveforms": False,
                "preset": "classic", "silent_units": 0,
            }
        },
        "train": {**STUDY["train"], "models": {"mdssm": {"model": MDSSM}}, "grid": {}},
        "align": {**STUDY["align"], "trials": [4]},
    }  # fmt: skip
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(asked))
    words = ["study", "run", str(file), "--catalog", str(tmp_path / "catalog.yaml")]
    missing = CliRunner().invoke(app, [*words, "--dry-run"])
    assert "Ingest them first" in str(missing.exception)
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    factors = [line for line in lines if line["event"] == "factor"]
    assert {line["factor"] for line in factors} == {PRETRAINED}
    assert {line["level"] for line in factors} == {"yes", "no"}
    folder = tmp_path / "studies" / "small"
    tables = (folder / "tables.md").read_text()
    assert "## pre-trained" in tables
    assert "## All runs" in tables
    numbers = pd.read_csv(folder / "numbers.csv")
    assert len(numbers) == 2 * 3
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0
    assert (folder / "tables.md").read_text() == tables


def test_names_are_no_formulas_and_no_layout_in_the_tables(catalog):
    odd = {"=1+1|x": {"model": NDT}, "*b*": {"model": NDT, "optimiser": {"lr": 5e-4}}}
    asked = study(train={**STUDY["train"], "models": odd, "grid": {}, "seeds": 1}, align=None)
    done = run_study(catalog, asked, base=catalog.parent)
    tables, numbers = write_study(done, study_tables(done), board="")
    lines = tables.read_text(encoding="utf-8").splitlines()
    in_table_and_list = [line for line in lines if "1+1" in line]
    assert len(in_table_and_list) == 2
    assert "=1+1|x" not in "".join(in_table_and_list)
    assert "*b*" not in "".join(lines).replace("\\*", "")
    models = {str(value) for value in pd.read_csv(numbers)["model"]}
    assert models == {"'=1+1|x", "*b*"}


def test_a_catalog_is_read_once_for_all_runs_of_a_study(catalog, monkeypatch):
    done = run_study(catalog, without("align"), base=catalog.parent)
    reads = []

    def counted(path):
        reads.append(path)
        return read_catalog(path)

    monkeypatch.setattr(study_stage, "read_catalog", counted)
    assert [run.name for run in done.there()] == [run.name for run in done.runs]
    assert len(reads) == 1
