"""Inspect tells of odd files what ingest does with them; its recipe, pasted into ingest, gives the same."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import yaml
from nwb import test_odd_files as files
from nwb import test_odd_units as units
from nwb.odd_files import N_UNITS, write_plain

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.nwb.tables import Table
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import inspection
from nwb_latents.pipeline.stages.inspection import inspect
from nwb_latents.schemas.recipe import IngestRecipe

READ = {name: row[0] for name, row in (files.ALL | units.READ).items()}
REFUSED = {name: row[0] for name, row in (files.REFUSED | units.REFUSED).items()}
REFERENCES = "intervals/trials/series"


def looked_at(path):
    (found,) = inspect(FolderSource([path]))
    return found


def made(path, recipe):
    recording = read_recording(path, recipe)
    return recording, make_trials(recording, recipe)


@pytest.mark.parametrize("name", READ)
def test_the_recipe_of_an_odd_file_gives_what_ingest_gives(name, tmp_path):
    path = files.changed(tmp_path, READ[name])
    found = looked_at(path)
    assert not found.refusal
    recording, plainly = made(path, IngestRecipe())
    assert found.doubtful == (*recording.warnings, *plainly.notes)
    _, pasted = made(path, IngestRecipe.model_validate(yaml.safe_load(found.recipe) or {}))
    for part in ("counts", "event_time", "condition"):
        np.testing.assert_array_equal(pasted.trials[part], plainly.trials[part])
    np.testing.assert_allclose(pasted.trials["velocity"], plainly.trials["velocity"])


@pytest.mark.parametrize("name", REFUSED)
def test_what_ingest_refuses_is_told_with_the_same_words(name, tmp_path):
    path = files.changed(tmp_path, REFUSED[name])
    found = looked_at(path)
    with pytest.raises(DataError) as caught:
        made(path, IngestRecipe())
    assert found.refusal == str(caught.value)
    assert "unexpected" not in found.refusal


def test_an_error_nobody_foresaw_stops_no_other_file(tmp_path, monkeypatch):
    for name in ("a.nwb", "b.nwb"):
        write_plain(tmp_path / name)

    def fails(file, recipe):
        if file.name == "a.nwb":
            raise KeyError("x")
        return honest(file, recipe)

    import nwb_latents.pipeline.nwb.read as reader

    honest = reader.recording_of
    monkeypatch.setattr(reader, "recording_of", fails)
    first, second = inspect(FolderSource([tmp_path]))
    assert first.refusal.startswith("a.nwb: unexpected KeyError: 'x'")
    assert first.series
    assert first.units.n_units == N_UNITS
    assert not second.refusal


def test_a_file_that_fails_as_a_whole_is_told_alone(tmp_path, monkeypatch):
    for name in ("a.nwb", "b.nwb"):
        write_plain(tmp_path / name)
    honest = inspection.inspect_file

    def fails(content, asset, recipe, **settings):
        if asset.path == "a.nwb":
            raise RuntimeError("deep down")
        return honest(content, asset, recipe, **settings)

    monkeypatch.setattr(inspection, "inspect_file", fails)
    first, second = inspect(FolderSource([tmp_path]))
    assert (first.is_open, "RuntimeError: deep down" in first.refusal) == (False, True)
    assert second.would_be is not None


def test_a_column_that_cannot_be_read_leaves_the_others(tmp_path, monkeypatch):
    honest = Table.column

    def fails(table, name):
        if name == "target_dir":
            raise IndexError("out of range")
        return honest(table, name)

    monkeypatch.setattr(Table, "column", fails)
    found = looked_at(write_plain(tmp_path / "odd.nwb"))
    (trials,) = [table for table in found.tables if table.path == "/intervals/trials"]
    problems = {column.name: column.problem for column in trials.columns}
    assert problems["target_dir"] == "IndexError: out of range"
    assert not problems["go_cue_time"]


def test_references_are_told_as_such_and_those_to_nothing_counted(tmp_path):
    path = write_plain(tmp_path / "odd.nwb")
    with h5py.File(path, "r+") as h5:
        references = [h5["units"].ref] * 38 + [h5py.Reference()] * 2
        h5.create_dataset(REFERENCES, data=references, dtype=h5py.ref_dtype)
    (trials,) = [table for table in looked_at(path).tables if table.path == "/intervals/trials"]
    (column,) = [column for column in trials.columns if column.name == "series"]
    assert (column.kind, column.examples) == ("other", ("references to other objects",))
    assert (column.n_missing, column.problem) == (2, "")


def test_of_a_folder_with_odd_files_the_command_tells_all_without_a_traceback(tmp_path, pipeline_command):
    write_plain(tmp_path / "good.nwb")
    (tmp_path / "text.nwb").write_text("no HDF5")
    (tmp_path / "loop.nwb").symlink_to("loop.nwb")
    said = pipeline_command("inspect", tmp_path)
    assert said.returncode == 3
    assert "loop.nwb is passed over: a link that leads to itself" in said.stdout + said.stderr
    assert "text.nwb: not an NWB file" in said.stdout
    assert "Traceback" not in said.stdout + said.stderr
    assert pipeline_command("inspect", tmp_path / "text.nwb").returncode == 4


def test_damaged_samples_are_named_and_the_rest_is_told(tmp_path):
    path = write_plain(tmp_path / "odd.nwb")
    with h5py.File(path, "r+") as h5:
        values = h5["units/spike_times"][()]
        del h5["units/spike_times"]
        h5.create_dataset("units/spike_times", data=values, chunks=(1000,), compression="gzip")
        at, size = h5["units/spike_times"].id.get_chunk_info(0)[-2:]
    content = bytearray(path.read_bytes())
    content[at : at + size] = b"\xff" * size
    path.write_bytes(bytes(content))
    found = looked_at(path)
    assert found.refusal.startswith("odd.nwb: /units/spike_times is damaged: ")
    assert "unexpected" not in found.units.problem
    assert {table.path for table in found.tables} == {"/intervals/trials", "/units"}
