"""Recut: the same numbers as ingest with the new recipe, without the NWB file."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from nwb_latents.pipeline.cli.recut import recut as recut_command
from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError, UsageError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.recut import changed_recipe, recut
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.pipeline.stores.trials import read_continuous, read_events, read_trials
from nwb_latents.schemas.recipe import IngestRecipe

READERS = {"trials": read_trials, "continuous": read_continuous, "events": read_events}


@pytest.fixture
def recordings(make_reaches, as_recording):
    """Return a session with a trial table and one without."""
    return {
        "A": as_recording(make_reaches(seed=1)),
        "B": as_recording(make_reaches(seed=2), with_table=False),
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return the folder that the first test fills and every test copies."""
    return tmp_path_factory.mktemp("original") / "work"


@pytest.fixture
def catalog(tmp_path, original, recordings, enter_recording):
    """Return the catalog of both sessions."""
    if not original.exists():
        for subject, recording in recordings.items():
            enter_recording(original / "catalog.yaml", recording, subject=subject)
    shutil.copytree(original, tmp_path / "work")
    return tmp_path / "work" / "catalog.yaml"


def assert_same_stores(mine, theirs):
    for group, read in READERS.items():
        a, b = read(mine), read(theirs)
        assert set(a.variables) == set(b.variables)
        for name in a.variables:
            x, y = a[name].values, b[name].values
            assert x.dtype == y.dtype, (group, name)
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), (group, name)
        assert a.attrs == b.attrs


@pytest.mark.parametrize(
    "changes",
    [
        ["align_to=peak_speed", "window_s=[-0.3, 0.2]"],
        ["align_to=trial_start", "window_s=[0.0, 0.9]", "split={seed: 7, train: 0.5, val: 0.25, test: 0.25}"],
        ["trials.max_duration_s=1.7", "trials.guard_s=0.5", "onset.max_rt_s=0.35", "quality.min_trials=50"],
        ["extra_splits=[{name: b, seed: 3}]"],
        ["chop.enabled=true", "chop.overlap_s=0.3"],
    ],
    ids=["event", "start", "selection", "splits", "chop"],
)
def test_a_recut_store_is_the_store_made_from_the_recording(catalog, changes, recordings, enter_recording):
    entries = recut(catalog, changes)
    other = catalog.parent / "other" / "catalog.yaml"
    recipe = settings_from(IngestRecipe, words=changes)
    assert len(entries) == 2
    for mine, (subject, recording) in zip(entries, recordings.items(), strict=True):
        theirs = enter_recording(other, recording, recipe, subject=subject)
        assert mine.model_copy(update={"created": ""}) == theirs.model_copy(update={"created": ""})
        assert_same_stores(catalog.parent / mine.store, other.parent / theirs.store)


def test_chopping_and_going_back_gives_the_first_store_again(catalog):
    (first,) = (e for e in read_catalog(catalog).sessions.values() if e.session == "sub-A_ses-CO-1")
    shutil.copytree(catalog.parent / first.store, catalog.parent / "first.zarr")
    (chopped,) = recut(catalog, ["chop.enabled=true"], sessions=["sub-A*"])
    (back,) = recut(
        catalog, ["chop.enabled=false"], sessions=["sub-A*"], recipe_id=chopped.recipe_id, force=True
    )
    assert back.store == first.store
    assert_same_stores(catalog.parent / back.store, catalog.parent / "first.zarr")


def test_the_old_stores_stay(catalog):
    before = read_catalog(catalog).sessions
    events = []
    entries = recut(catalog, ["align_to=peak_speed"], sessions=["sub-A*"], report=events.append)
    assert [e.session for e in entries] == ["sub-A_ses-CO-1"]
    after = read_catalog(catalog).sessions
    assert set(before) < set(after)
    assert all(after[key] == entry for key, entry in before.items())
    assert read_trials(catalog.parent / entries[0].store).sizes["trial"] == entries[0].n_trials
    assert [(e.event, e.status) for e in events] == [("session", "done")]


def test_running_again_does_nothing(catalog):
    events = []
    base = IngestRecipe().recipe_id
    again = {"sessions": ["sub-A*"], "recipe_id": base, "report": events.append}
    first = recut(catalog, ["align_to=peak_speed"], sessions=["sub-A*"])
    assert recut(catalog, ["align_to=peak_speed"], **again) == first
    assert {e.status for e in events} == {"skipped"}


def test_dropped_trials_come_back_when_the_rule_is_loosened(catalog):
    strict = recut(catalog, ["onset.max_rt_s=0.3"], sessions=["sub-A*"])
    loose = recut(catalog, ["onset.max_rt_s=1.0"], sessions=["sub-A*"], recipe_id=strict[0].recipe_id)
    assert strict[0].n_trials < loose[0].n_trials == 24
    events = read_events(catalog.parent / strict[0].store)
    assert (events["reason"] == "reaction_too_slow").sum() == 24 - strict[0].n_trials
    assert events.sizes["candidate"] == 24


@pytest.mark.parametrize(
    "word",
    ["bin_size_s=0.01", "smooth_sigma_s=0.05", "onset.fraction=0.1", "units.min_presence=0.5",
     "quality.max_acceleration_cm_s2=100"],
)  # fmt: skip
def test_a_change_that_needs_the_recording_is_refused_with_a_remedy(catalog, word):
    with pytest.raises(SettingsError, match=rf"{word.split('=')[0]} cannot be changed without .*run ingest"):
        recut(catalog, [word])
    assert len(read_catalog(catalog).sessions) == 2


def test_a_change_that_changes_nothing_and_a_misspelt_one_are_refused():
    with pytest.raises(SettingsError, match="is as it was"):
        changed_recipe(IngestRecipe(), ["align_to=move_onset"])
    with pytest.raises(SettingsError, match="did you mean align_to"):
        changed_recipe(IngestRecipe(), ["aling_to=go_cue"])
    with pytest.raises(SettingsError, match="not a whole number"):
        changed_recipe(IngestRecipe(), ["window_s=[-0.251, 0.4]"])


def test_only_settings_that_may_change_are_proposed_for_an_unknown_one():
    with pytest.raises(SettingsError, match=r"split\.sed: unknown key; did you mean split\.seed\?"):
        changed_recipe(IngestRecipe(), ["split.sed=3"])
    # The nearest key of the whole recipe is bin_size_s, which needs the recording.
    with pytest.raises(SettingsError, match="unknown key; here may change: align_to, chop") as caught:
        changed_recipe(IngestRecipe(), ["bin_sise_s=0.01"])
    assert "bin_size_s" not in str(caught.value)


@pytest.mark.parametrize("word", ["align_to", "nothing"])
def test_a_word_without_a_value_says_what_a_word_looks_like(word):
    with pytest.raises(SettingsError, match=r"expected key\.path=value"):
        changed_recipe(IngestRecipe(), [word])


def test_the_help_lists_what_may_change_and_nothing_else(pipeline_command):
    text = pipeline_command("run", "recut", "--help").stdout
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("  ") and " [" in line]
    keys = [key for key in listed if key.replace(".", "").replace("_", "").isalpha()]
    assert {"align_to", "window_s", "onset.max_rt_s", "trials.guard_s", "split.seed", "chop.enabled",
            "quality.min_trials"} <= set(keys)  # fmt: skip
    refused = {"bin_size_s", "smooth_sigma_s", "onset.fraction", "units.min_presence", "layout",
               "quality.max_position_cm"}  # fmt: skip
    assert not refused & set(keys)
    everything = pipeline_command("run", "ingest", "--help").stdout
    assert all(f"  {key} [" in everything for key in refused)


def test_one_session_that_cannot_be_recut_does_not_stop_the_others(catalog):
    # Reaches found from the speed have no go cue.
    with pytest.raises(PartialFailure, match="1 of 2 sessions failed: sub-B_ses-CO-1") as caught:
        recut(catalog, ["align_to=go_cue"])
    assert "no_go_cue" in caught.value.failures[0][1]
    assert [e.session for e in caught.value.results] == ["sub-A_ses-CO-1"]


def test_a_store_of_another_version_or_without_events_says_what_to_do(catalog):
    entry = next(iter(read_catalog(catalog).sessions.values()))
    shutil.rmtree(catalog.parent / entry.store / "events")
    with pytest.raises(PartialFailure) as caught:
        recut(catalog, ["align_to=peak_speed"], sessions=[entry.session])
    assert "holds no events to cut at" in caught.value.failures[0][1]
    path = catalog.parent / entry.store / "trials" / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["transform_version"] = 0
    path.write_text(json.dumps(content))
    with pytest.raises(PartialFailure) as caught:
        recut(catalog, ["align_to=peak_speed"], sessions=[entry.session])
    assert "made by another version" in caught.value.failures[0][1]


def test_what_ingest_stores_can_be_recut_without_the_file(small_nwb, tmp_path):
    catalog = tmp_path / "work" / "catalog.yaml"
    ingest(catalog, FolderSource([small_nwb]))
    other = tmp_path / "other" / "catalog.yaml"
    words = ["align_to=go_cue", "window_s=[-0.1, 0.8]"]
    (theirs,) = ingest(other, FolderSource([small_nwb]), settings_from(IngestRecipe, words=words))
    small_nwb.unlink()
    (mine,) = recut(catalog, words)
    assert mine.model_copy(update={"created": ""}) == theirs.model_copy(update={"created": ""})
    assert_same_stores(catalog.parent / mine.store, other.parent / theirs.store)


def test_the_command_says_what_it_made_or_what_it_needs(catalog):
    app = typer.Typer()
    app.command()(recut_command)
    run = lambda *words: CliRunner().invoke(app, [*words, "--catalog", str(catalog)])  # noqa: E731
    done = run("--set", "align_to=peak_speed", "--session", "sub-A*", "--json")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(e["session"], e["status"]) for e in lines if e["event"] == "session"] == [
        ("sub-A_ses-CO-1", "done")
    ]
    assert isinstance(run().exception, UsageError)
    assert isinstance(run("--set", "bin_size_s=0.05").exception, SettingsError)


def test_no_session_is_an_error(catalog):
    with pytest.raises(DataError, match="No session matches"):
        recut(catalog, ["align_to=peak_speed"], sessions=["sub-X*"])
