"""Damaged NWB-Zarr: every message names the array, and what the file holds in its place."""

from __future__ import annotations

import json
import shutil

import pytest
import zarr
from archive.recordings import as_zarr

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.inspection import inspect
from nwb_latents.schemas.recipe import IngestRecipe


@pytest.fixture
def recording(small_nwb, tmp_path):
    """Return a small recording of NWB-Zarr."""
    return as_zarr(small_nwb, tmp_path / "a.nwb.zarr")


def _edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("at", "changes", "says"),
    [
        ("units/spike_times/.zarray", {"shape": "x"}, r"/units/spike_times: \.zarray has the shape 'x'"),
        ("units/spike_times/.zarray", {"shape": [-3]}, r"/units/spike_times: \.zarray has the shape \[-3\]"),
        ("units/spike_times/.zarray", {"dtype": "<f4"}, r"/units/spike_times is damaged: "),
        ("units/spike_times/.zarray", {"compressor": None}, r"/units/spike_times is damaged: "),
        (
            "session_description/.zarray",
            {"chunks": [True]},
            r"/session_description: \.zarray has chunks of \[True\]",
        ),
        ("units/.zattrs", {"zarr_link": 3}, r"units: zarr_link among the attributes is 3, expected a list"),
        ("units/.zattrs", {"zarr_link": [{"name": "a"}]}, r"units: zarr_link among the attributes is \["),
    ],
)
def test_metadata_that_do_not_fit_are_refused_by_their_path(recording, at, changes, says):
    _edit(recording / at, **changes)
    with pytest.raises(DataError, match=says):
        read_recording(recording, IngestRecipe())


@pytest.mark.parametrize("name", ["go_cue_time", "start_time"])
def test_times_whose_chunk_is_lost_are_refused_and_not_taken_for_zeros(recording, name):
    (recording / "intervals/trials" / name / "0").unlink()
    with pytest.raises(DataError, match=rf"/intervals/trials/{name} lacks 1 of its 1 chunks"):
        read_recording(recording, IngestRecipe())


def test_trials_without_a_go_cue_are_counted(recording, small_nwb, tmp_path):
    import h5py
    import numpy as np

    assert not [text for text in read_recording(small_nwb, IngestRecipe()).warnings if "go cue" in text]
    other = tmp_path / "other.nwb"
    shutil.copy(small_nwb, other)
    with h5py.File(other, "r+") as h5:
        h5["intervals/trials/go_cue_time"][2:5] = np.nan
    said = [text for text in read_recording(other, IngestRecipe()).warnings if "go cue" in text]
    assert len(said) == 1
    assert "3 of " in said[0]
    assert "have no time of the go cue" in said[0]


GO = "intervals/trials/go_cue_time"
HAND = "processing/behavior/Position/hand_pos/data"
UNDESCRIBED = "no .zarray (or zarr.json) that says their shape and type. Copy or fetch the directory again"


def _gone(recording, at):
    path = recording / at
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _refusal(recording):
    """Return what ingest says, which is what inspecting says."""
    with pytest.raises(DataError) as refused:
        read_recording(recording, IngestRecipe())
    (found,) = inspect(FolderSource([recording]))
    assert found.refusal == str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    "array", ["units/spike_times", "units/spike_times_index", GO, HAND, "identifier", "general/session_id"]
)
def test_an_array_whose_description_is_lost_is_refused_and_not_taken_for_none(recording, array):
    _gone(recording, f"{array}/.zarray")
    said = _refusal(recording)
    assert said.startswith(f"a.nwb.zarr: /{array} holds ")
    assert UNDESCRIBED in said or "neither a .zarray nor a .zgroup" in said


@pytest.mark.parametrize("group", ["units", "intervals", "intervals/trials", "processing", "general/subject"])
def test_a_group_whose_description_is_lost_is_refused_and_not_taken_for_none(recording, group):
    _gone(recording, f"{group}/.zgroup")
    assert _refusal(recording).startswith(
        f"a.nwb.zarr: /{group} holds groups or arrays but no .zgroup (or zarr.json). Copy or fetch"
    )


def test_a_recording_that_lost_its_root_is_refused_by_what_it_lost(recording):
    _gone(recording, ".zgroup")
    says = "it holds groups or arrays but no .zgroup"
    with pytest.raises(DataError, match=says):
        read_recording(recording, IngestRecipe())
    with pytest.raises(DataError, match=says):
        FolderSource([recording]).assets()
    shutil.copytree(recording, recording.parent / "elsewhere" / recording.name)
    with pytest.raises(DataError, match=f"Passed over: .*{says}"):
        FolderSource([recording.parent / "elsewhere"]).assets()


@pytest.mark.parametrize("text", ["{nope", "", "[]", "\x00"])
@pytest.mark.parametrize(
    "at",
    [
        f"{GO}/.zarray",
        "units/.zgroup",
        "units/.zattrs",
        "intervals/trials/.zattrs",
        ".zattrs",
        f"{HAND}/.zattrs",
    ],
)
def test_metadata_that_are_no_json_are_refused_by_their_path(recording, at, text):
    (recording / at).write_text(text)
    said = _refusal(recording)
    assert said.startswith(f"{recording / at}: not ")
    assert said.endswith("Fetch the directory again.")


@pytest.mark.parametrize(
    "key", ["shape", "dtype", "chunks", "compressor", "fill_value", "order", "zarr_format"]
)
def test_a_description_that_lacks_a_key_is_refused_by_the_key(recording, key):
    path = recording / GO / ".zarray"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != key}))
    said = _refusal(recording)
    assert said.startswith(f"a.nwb.zarr: /{GO}: .zarray ")
    assert key in said


@pytest.mark.parametrize("chunks", ["x", 3, [0], [-1], [1, 1], [1.5], None])
def test_a_description_with_chunks_of_no_length_is_refused(recording, chunks):
    _edit(recording / GO / ".zarray", chunks=chunks)
    assert f"/{GO}: .zarray has chunks of {chunks!r}, expected a length for each of 1 axes" in _refusal(
        recording
    )


def test_an_empty_list_of_filters_is_none(recording, recwarn):
    _edit(recording / GO / ".zarray", filters=[])
    read_recording(recording, IngestRecipe())
    assert not [warning for warning in recwarn if "filters" in str(warning.message)]


@pytest.mark.parametrize("array", ["intervals/trials/result", HAND, "identifier", "session_start_time"])
def test_chunks_that_are_read_as_their_fill_are_said(recording, array):
    chunks = [path for path in (recording / array).iterdir() if not path.name.startswith(".")]
    chunks[0].unlink()
    (found,) = inspect(FolderSource([recording]))
    said = [text for text in found.doubtful if f"/{array} lacks 1 of its " in text]
    assert len(said) == 1
    assert "the value it is filled with" in said[0]


def test_ends_of_rows_whose_chunk_is_lost_are_not_taken_for_zeros(recording):
    _gone(recording, "units/spike_times_index/0")
    assert "/units/spike_times_index lacks 1 of its 1 chunks" in _refusal(recording)


def test_consolidated_metadata_that_agree_say_nothing(recording):
    before = read_recording(recording, IngestRecipe()).warnings
    zarr.consolidate_metadata(str(recording), zarr_format=2)
    assert read_recording(recording, IngestRecipe()).warnings == before


@pytest.mark.parametrize("at", [GO, f"{GO}/.zarray", "processing/behavior/Velocity", f"{HAND}/.zattrs"])
def test_what_only_the_consolidated_metadata_name_is_lost(recording, at):
    zarr.consolidate_metadata(str(recording), zarr_format=2)
    _gone(recording, at)
    said = _refusal(recording)
    assert said.startswith("a.nwb.zarr: .zmetadata names ")
    assert at in said
    assert "zarr.consolidate_metadata" in said


def test_consolidated_metadata_of_another_state_are_said(recording):
    zarr.consolidate_metadata(str(recording), zarr_format=2)
    copied = json.loads((recording / ".zmetadata").read_text())
    copied["metadata"][f"{HAND}/.zattrs"]["unit"] = "mm"
    del copied["metadata"]["units/.zattrs"]
    (recording / ".zmetadata").write_text(json.dumps(copied))
    other, unlisted = [text for text in read_recording(recording, IngestRecipe()).warnings if "zmeta" in text]
    assert other.startswith(f".zmetadata says other things than {HAND}/.zattrs: these files are read")
    assert unlisted.startswith(".zmetadata does not list units/.zattrs: they are read")


@pytest.mark.parametrize("text", ["{nope", "{}", '{"metadata": 3}', "[]"])
def test_consolidated_metadata_that_are_damaged_are_refused(recording, text):
    (recording / ".zmetadata").write_text(text)
    assert ".zmetadata" in _refusal(recording)


@pytest.mark.parametrize("grid", ["x", {"configuration": 3}])
def test_a_grid_of_chunks_that_is_none_is_no_reason_to_end_in_a_traceback(tmp_path, grid):
    from nwb_latents.pipeline.nwb.zarr_chunks import cut_chunk, lost_chunks

    stored = {
        "zarr_format": 3, "node_type": "array", "shape": [3], "chunk_grid": grid, "data_type": "float64",
        "codecs": [], "fill_value": 0,
    }  # fmt: skip
    (tmp_path / "zarr.json").write_text(json.dumps(stored))
    assert lost_chunks(tmp_path) is None
    assert cut_chunk(tmp_path) is None
