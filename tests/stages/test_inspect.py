"""What inspect tells is what ingest does; what is refused is shown all the same; the archive is only read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import yaml
from archive import LoopbackArchive
from archive.recordings import with_waveforms

import nwb_latents as nl
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.dandi_archive import DandiSource
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.pipeline.stages.explicit_recipe import explicit_recipe
from nwb_latents.pipeline.stages.inspection import differences, inspect
from nwb_latents.pipeline.stores.trials import read_attributes
from nwb_latents.schemas.events import parse_event
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.store import ReadChoice

if TYPE_CHECKING:
    from nwb_latents.schemas.inspection import Inspection

TABLE = "intervals/trials"


@pytest.fixture
def one(tmp_path, make_nwb, make_reaches):
    """Return the file of one session."""
    return make_nwb(tmp_path / "nwb" / "sub-T_ses-CO-1.nwb", make_reaches())


def looked_at(path, **settings) -> Inspection:
    (found,) = inspect(FolderSource([path]), IngestRecipe.model_validate(settings))
    return found


def with_relative_go_cues(path):
    with h5py.File(path, "r+") as h5:
        h5[f"{TABLE}/go_cue_time"][...] -= h5[f"{TABLE}/start_time"][...]
    return path


def with_own_names(path):
    """Give columns the names a lab may have given them."""
    with h5py.File(path, "r+") as h5:
        h5.move(f"{TABLE}/go_cue_time", f"{TABLE}/GoCue")
        n_trials = len(h5[f"{TABLE}/start_time"])
        outcome = ["correct"] * (n_trials - 3) + ["miss"] * 3
        h5.create_dataset(f"{TABLE}/outcome", data=outcome, dtype=h5py.string_dtype())
        names = [n for n in h5[TABLE].attrs["colnames"] if n not in {"go_cue_time", "result"}]
        if "result" in h5[TABLE]:
            del h5[f"{TABLE}/result"]
        h5[TABLE].attrs["colnames"] = [*names, "GoCue", "outcome"]
    return path


def test_it_tells_what_the_store_will_be(one, tmp_path):
    found = looked_at(with_own_names(one))
    (entry,) = nl.ingest(tmp_path / "catalog.yaml", one)
    attributes = read_attributes(tmp_path / entry.store)
    assert (found.would_be.n_trials, found.would_be.n_units) == (entry.n_trials, entry.n_units)
    assert found.would_be.dropped == attributes.dropped
    assert found.choices == attributes.provenance.choices
    assert found.doubtful == attributes.provenance.warnings
    chosen = {choice.what: choice for choice in found.choices}
    assert chosen["go_cue"].value == f"/{TABLE}/GoCue"
    assert "correct (21), miss (3)" in chosen["success values"].why
    assert set(chosen) >= {"layout", "position", "velocity", "trials", "onset", "condition"}


def test_series_tables_and_units_are_those_of_the_file(one, reaches):
    found = looked_at(one)
    series = {each.path: each for each in found.series}
    position = next(each for path, each in series.items() if "pos" in path.lower())
    assert position.shape == reaches.position.shape
    assert position.rate_hz == pytest.approx(reaches.rate_hz)
    assert position.n_gaps == 0
    (table,) = [each for each in found.tables if each.path == f"/{TABLE}"]
    assert table.n_rows == reaches.n_trials
    assert found.units.n_units == reaches.n_units
    assert found.units.n_spikes == sum(map(len, reaches.spikes))


def assert_same_trials(path, first: IngestRecipe, second: IngestRecipe) -> None:
    one, other = (make_trials(read_recording(path, recipe), recipe) for recipe in (first, second))
    for group in ("trials", "continuous", "events"):
        for name, values in getattr(one, group).items():
            np.testing.assert_array_equal(getattr(other, group)[name], values, err_msg=f"{group}/{name}")


@pytest.mark.parametrize("layout", ["000688", "000070", "nlb", "generic"])
def test_the_recipe_that_says_every_choice_gives_the_same_trials(layout, tmp_path):
    settings = SimulateSettings(
        layout=layout, n_subjects=1, n_sessions=1, n_units=(8, 8), n_trials=30, waveforms=False
    )
    path = simulate_dandiset(tmp_path, settings)[0]
    explicit = IngestRecipe.model_validate(yaml.safe_load(looked_at(path).recipe))
    assert explicit.layout != "auto"
    assert explicit.trials.source != "auto"
    assert_same_trials(path, IngestRecipe(), explicit)


def test_the_recipe_names_a_labs_own_columns(one):
    found = looked_at(with_own_names(one))
    recipe = IngestRecipe.model_validate(yaml.safe_load(found.recipe))
    assert recipe.columns.go_cue == "GoCue"
    assert (recipe.columns.success, recipe.columns.success_values) == ("outcome", ("correct",))
    assert_same_trials(one, IngestRecipe(), recipe)


def test_series_of_one_column_each_are_named_together():
    choices = [
        ReadChoice(what="position", value="/a/x + /a/y", why="one movement"),
        ReadChoice(what="velocity", value="the derivative of the position", why="there is no series of it"),
    ]
    recipe = explicit_recipe(IngestRecipe(), choices)
    assert recipe.position_series == "a/x+a/y"
    assert (recipe.velocity_series, recipe.velocity_from) == (None, "position")


def test_a_file_that_is_refused_is_shown_with_the_refusal_and_the_setting_mends_it(one):
    as_it_was = looked_at(one).would_be
    found = looked_at(with_relative_go_cues(one))
    assert "columns.relative=[go_cue_time]" in found.refusal
    assert found.would_be is None
    assert found.series
    assert found.units.n_units == 12
    mended = looked_at(one, columns={"relative": ["go_cue_time"]})
    assert mended.refusal == ""
    assert mended.would_be == as_it_was


def test_what_is_no_recording_is_told_as_that(tmp_path):
    (tmp_path / "a.nwb").write_text("nothing")
    found = looked_at(tmp_path)
    assert not found.is_open
    assert "not an NWB file" in found.refusal


def test_differences_name_the_files_that_are_not_like_the_others(one, tmp_path, make_nwb, make_reaches):
    make_nwb(one.parent / "sub-T_ses-CO-2.nwb", make_reaches(seed=1), session="CO-2")
    with_own_names(make_nwb(one.parent / "sub-T_ses-CO-3.nwb", make_reaches(seed=2), session="CO-3"))
    found = inspect(FolderSource([one.parent]))
    said = differences(found)
    (go,) = [line for line in said if line.startswith("go_cue:")]
    assert f"/{TABLE}/go_cue_time in 2 of 3 files" in go
    assert go.endswith(f"/{TABLE}/GoCue in sub-T_ses-CO-3.nwb")
    assert not [line for line in said if line.startswith("position:")]


def test_two_files_of_one_session_are_pointed_out(one, make_nwb, make_reaches):
    make_nwb(one.parent / "copy.nwb", make_reaches(seed=1))
    said = differences(inspect(FolderSource([one.parent])))
    assert [line for line in said if "copy.nwb" in line and "session id" in line]


def test_a_file_of_the_archive_is_read_and_not_downloaded(tmp_path):
    path = with_waveforms(tmp_path / "made", n_units=10, n_trials=30)
    name = f"{path.parent.name}/{path.name}"
    content = path.read_bytes()
    with LoopbackArchive({"000999": {"0.240101.0000": {name: content}}}) as archive:
        source = DandiSource("000999", instance=archive.url, download_dir=tmp_path / "downloads")
        (found,) = inspect(source, asset="*SimA*")
        assert archive.bytes_sent("/blob/*") < 0.6 * len(content)
        with pytest.raises(DataError, match="No file fits"):
            inspect(source, asset="*nobody*")
    assert not list(tmp_path.glob("downloads/**/*.nwb"))
    here = looked_at(path)
    assert found.would_be == here.would_be
    assert found.choices == here.choices
    assert found.dandiset == "000999"


def test_the_command_prints_json_and_says_by_its_exit_code_what_ingest_would_do(one, pipeline_command):
    said = pipeline_command("inspect", one, "--json")
    (event,) = [parse_event(line) for line in said.stdout.splitlines()]
    assert said.returncode == 0
    assert event.event == "inspection"
    assert event.would_be == looked_at(one).would_be
    with_relative_go_cues(one)
    assert pipeline_command("inspect", one).returncode == 4
    shown = pipeline_command("inspect", one, "--set", "columns.relative=[go_cue_time]")
    assert shown.returncode == 0
    assert "What ingest would do" in shown.stdout
    assert "columns:" in shown.stdout


def test_the_command_takes_a_file_of_the_archive_by_its_name(tmp_path, one, pipeline_command):
    files = {"sub-T/sub-T_ses-CO-1.nwb": one.read_bytes()}
    with LoopbackArchive({"000999": {"0.240101.0000": files}}) as archive:
        where = ("--instance", archive.url, "--json")
        env = {"DANDI_NO_ET": "1", "NO_PROXY": "127.0.0.1"}
        said = pipeline_command("inspect", "000999@0.240101.0000/sub-T/sub-T_ses-CO-1.nwb", *where, env=env)
        events = [json.loads(line) for line in said.stdout.splitlines()]
        assert [e["source"] for e in events if e["event"] == "inspection"] == list(files)
        assert pipeline_command("inspect", "--dandiset", "000999", *where, env=env).returncode == 2
    assert not (tmp_path / "downloads").exists()
