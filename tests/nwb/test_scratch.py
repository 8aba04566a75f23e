"""Recordings whose large arrays lie on the disk while they are read: the same recording, word for word."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import h5py
import numpy as np
import pytest
from nwb import test_odd_kinematics, test_odd_units
from nwb.odd_files import SESSION, changed, put, spikes, write_plain

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.scratch import Scratch, give_back, is_on_disk, pieces, trains
from nwb_latents.schemas.recipe import IngestRecipe

EVERYTHING = Scratch(most_bytes=0)
# The changes are those of the tables of odd files.
KINEMATICS = {**test_odd_kinematics.SAID, **test_odd_kinematics.REFUSED}
UNITS = {name: row[0] for name, row in {**test_odd_units.READ, **test_odd_units.REFUSED}.items()} | {
    "spikes in 32 bits": lambda h5: put(h5, "units/spike_times", h5["units/spike_times"][()].astype("f4")),
    "spikes of another byte order": lambda h5: put(
        h5, "units/spike_times", h5["units/spike_times"][()].astype(">f8")
    ),
    "spikes in samples": lambda h5: put(
        h5, "units/spike_times", (h5["units/spike_times"][()] * 30_000).astype("i8")
    ),
    "no kinematics": lambda h5: h5.__delitem__("processing"),
    "spikes hours before and after, and nothing else": lambda h5: (
        spikes(lambda s: [np.r_[each[0] - 9e4, each, each[-1] + 9e4] for each in s])(h5),
        h5.__delitem__("processing"),
        h5.__delitem__("intervals"),
    ),
}
RECIPES = {
    "as they are": IngestRecipe(),
    "mended": IngestRecipe(on_unsorted_spikes="sort", on_repeated_spikes="drop", on_not_finite_spikes="drop"),
    "dropped": IngestRecipe(on_unsorted_spikes="drop", on_repeated_spikes="keep"),
}


def parts(value):
    """Return all values of a recording, arrays as lists."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.shape, np.nan_to_num(value, nan=-1e300).tolist()]
    if is_dataclass(value):
        return {field.name: parts(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: parts(each) for key, each in value.items()}
    return value


def outcome(path, recipe, scratch):
    try:
        return parts(read_recording(path, recipe, scratch=scratch))
    except PipelineError as error:
        return str(error)


@pytest.mark.parametrize("name", UNITS)
def test_what_is_read_and_said_does_not_depend_on_where_arrays_lie(tmp_path, name):
    path = changed(tmp_path, UNITS[name])
    found = {title: outcome(path, recipe, EVERYTHING) for title, recipe in RECIPES.items()}
    assert found == {title: outcome(path, recipe, Scratch()) for title, recipe in RECIPES.items()}


@pytest.mark.parametrize("name", KINEMATICS)
def test_kinematics_do_not_depend_on_where_arrays_lie_either(tmp_path, name):
    path = changed(tmp_path, KINEMATICS[name][0])
    assert outcome(path, IngestRecipe(), EVERYTHING) == outcome(path, IngestRecipe(), Scratch())


def test_large_arrays_lie_on_the_disk_and_small_ones_in_memory(tmp_path):
    path = write_plain(tmp_path / "plain.nwb")
    n_bytes = 8 * sum(map(len, SESSION.spikes))
    recording = read_recording(path, IngestRecipe(), scratch=Scratch(most_bytes=n_bytes - 1))
    assert is_on_disk(recording.spike_times)
    assert not is_on_disk(recording.spike_index)
    assert not is_on_disk(read_recording(path, IngestRecipe(), scratch=Scratch(n_bytes)).spike_times)


def test_values_stay_when_their_memory_is_given_back(tmp_path):
    array = Scratch(most_bytes=0, folder=tmp_path).empty((1000, 3), np.float32)
    array[:] = np.arange(3000).reshape(1000, 3)
    give_back(array[5:].reshape(-1))
    assert array.sum() == 2999 * 3000 / 2
    assert not list(tmp_path.iterdir()), "a file was left behind"


def test_no_room_on_the_disk_is_said_with_the_folder(tmp_path):
    with pytest.raises(MachineError, match=r"cannot hold .* GB .*--memory-gb"):
        Scratch(most_bytes=0, folder=tmp_path).empty(1 << 50, np.uint8)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_pieces_and_trains_are_all_of_an_array(n):
    array, index = np.arange(n), np.array([0, n // 2, n // 2, n])
    assert [value for piece in pieces(array, 3) for value in piece.tolist()] == array.tolist()
    assert [value for train in trains(array, index) for value in train.tolist()] == array.tolist()
    assert [len(train) for train in trains(array, index)] == np.diff(index, prepend=0).tolist()


def test_the_plain_file_is_read_at_all(tmp_path):
    assert isinstance(outcome(write_plain(tmp_path / "plain.nwb"), IngestRecipe(), EVERYTHING), dict)


def test_an_array_larger_than_the_disk_is_a_fault_of_the_file(tmp_path):
    path = write_plain(tmp_path / "plain.nwb")
    with h5py.File(path, "r+") as h5:
        del h5["units/spike_times"]
        h5["units"].create_dataset("spike_times", (10**14,), "f8", chunks=(1 << 16,))
    with pytest.raises(DataError, match=r"plain.nwb: /units/spike_times says that it holds 1e\+14 values"):
        read_recording(path, IngestRecipe(), scratch=EVERYTHING)
