"""The same numbers come from a path, a stream and an NWB-Zarr directory, and only what is needed is read."""

import io
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.nwb.facts import read_facts
from nwb_latents.pipeline.nwb.file import NwbFile, open_nwb
from nwb_latents.pipeline.nwb.hdf5_tree import Hdf5Tree
from nwb_latents.pipeline.nwb.read import bytes_needed, needed_paths, read_recording
from nwb_latents.schemas.recipe import IngestRecipe

RECIPE = IngestRecipe()
ZIP = Path(__file__).parent / "data" / "small.nwb.zarr.zip"
LAYOUTS = ["000688", "000688-RT", "000070", "000121", "nlb", "000129", "000127", "000130"]
LAYOUTS += ["000941", "000953", "000954"]


@pytest.fixture
def zarr_path(tmp_path):
    """Return a directory that hdmf-zarr wrote (`data/write_small_zarr.py`)."""
    folder = tmp_path / "sub-Z_ses-CO-1.nwb.zarr"
    zipfile.ZipFile(ZIP).extractall(folder)
    return folder


def test_a_stream_gives_what_the_file_gives(small_nwb):
    from_path = read_recording(small_nwb, RECIPE)
    stream = io.BytesIO(small_nwb.read_bytes())
    from_stream = read_recording(stream, RECIPE, name=small_nwb.name)
    assert from_stream.session == from_path.session
    assert np.array_equal(from_stream.spike_times, from_path.spike_times)
    assert np.array_equal(from_stream.velocity.values, from_path.velocity.values)
    assert bytes_needed(stream, RECIPE) == bytes_needed(small_nwb, RECIPE)


def test_which_recording_a_file_is_of_is_read_without_what_reads_its_data(small_nwb):
    """So an ingest in which nothing is to be done loads no SciPy."""
    code = (
        "import sys; from pathlib import Path; from nwb_latents.pipeline.nwb.facts import read_facts; "
        "print(read_facts(Path(sys.argv[1])).session, 'scipy' in sys.modules)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, str(small_nwb)], capture_output=True, text=True, check=True
    )
    assert made.stdout.split() == [read_facts(small_nwb).session, "False"]


def test_the_name_of_a_stream_stands_in_for_metadata(small_nwb):
    with h5py.File(small_nwb, "r+") as h5:
        del h5["general"]
    stream = io.BytesIO(small_nwb.read_bytes())
    assert read_facts(stream, name="sub-Q_ses-7.nwb").session == "sub-Q_ses-7"


def test_what_a_stream_says_is_not_hidden_behind_hdf5(small_nwb):
    class Broken(io.BytesIO):
        is_broken = False

        def readinto(self, buffer):
            if self.is_broken:
                raise MachineError("x.nwb: the connection broke. Run the same command again.")
            return super().readinto(buffer)

    stream = Broken(small_nwb.read_bytes())

    def read():
        with open_nwb(stream, name="x.nwb") as file:
            stream.is_broken = True
            file.array("units/spike_times")

    with pytest.raises(MachineError, match="the connection broke"):
        read()


def test_a_stream_that_is_not_nwb_is_refused_by_name():
    with pytest.raises(DataError, match=r"x.nwb: not an NWB file: expected HDF5"):
        read_recording(io.BytesIO(b"<html>"), RECIPE, name="x.nwb")


def test_nwb_zarr_is_read(zarr_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = read_recording(zarr_path, RECIPE)
    assert (recording.session, recording.subject, recording.layout) == ("sub-Z_ses-CO-1", "Z", "generic")
    assert len(recording.spike_times) == 40 + 41 + 42
    assert recording.units.area.tolist() == ["M1"] * 3
    assert recording.observed.tolist() == [[0.0, 12.0]]
    time = np.arange(1200) / 100
    assert recording.position.values[:, 0] == pytest.approx(8 * np.sin(time))
    # The time stamps of the velocity are a link to those of the position.
    assert recording.velocity.time == pytest.approx(time)
    assert recording.trials.events["go_cue"].tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert recording.trials.success.tolist() == [True, False] * 3


def test_only_part_of_nwb_zarr_is_needed(zarr_path):
    needed, total = bytes_needed(zarr_path, RECIPE)
    assert total == sum(p.stat().st_size for p in zarr_path.rglob("*") if p.is_file())
    assert 0 < needed < total / 2


def test_a_zarr_directory_that_is_not_nwb_is_refused(zarr_path):
    (zarr_path / ".zattrs").write_text("{}")
    with pytest.raises(DataError, match="zarr directory has no attribute nwb_version"):
        read_facts(zarr_path)


def test_a_damaged_zarr_directory_is_told(zarr_path):
    chunk = zarr_path / "units" / "spike_times" / "0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    with pytest.raises(DataError, match="damaged"):
        read_recording(zarr_path, RECIPE)


def test_a_zarr_chunk_that_is_cut_short_is_told_before_it_is_decoded(zarr_path):
    chunk = zarr_path / "units" / "spike_times" / "0"
    stored = chunk.read_bytes()
    chunk.write_bytes(stored[: len(stored) // 2])
    with pytest.raises(DataError, match=f"spike_times is damaged: chunk 0 holds .* of {len(stored)} bytes"):
        read_recording(zarr_path, RECIPE)


def test_a_zarr_chunk_of_times_that_is_lost_is_told(zarr_path):
    (zarr_path / "units" / "spike_times" / "0").unlink()
    with pytest.raises(DataError, match="spike_times lacks 1 of its 1 chunks"):
        read_recording(zarr_path, RECIPE)


def test_a_directory_that_is_no_zarr_is_refused(tmp_path, zarr_path):
    for name in (".zgroup", ".zattrs", ".zmetadata"):
        (zarr_path / name).unlink()
    with pytest.raises(DataError, match="a directory without zarr metadata"):
        read_facts(zarr_path)
    shutil.rmtree(zarr_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_read_that_was_not_counted(draft, nwb_path, layout, monkeypatch):
    path = draft(layout).write(nwb_path)
    read = []
    original = Hdf5Tree.read
    monkeypatch.setattr(Hdf5Tree, "read", lambda self, name: read.append(name) or original(self, name))
    read_recording(path, RECIPE)
    words = {"general/subject/subject_id", "general/session_id", "session_description"}
    with h5py.File(path) as h5:
        counted = needed_paths(NwbFile(path.name, Hdf5Tree(h5, 0)), RECIPE)
    assert set(read) - words <= counted
    assert not any("waveforms" in name or "emg" in name or "Eye" in name for name in counted)


def test_waveforms_and_field_potentials_are_not_needed(draft, nwb_path):
    d = draft("000688")
    d.arrays["acquisition/lfp/data"] = np.zeros((50_000, 8), np.int16)
    needed, total = bytes_needed(d.write(nwb_path), RECIPE)
    kinematics = 2 * (len(d.time) * 3 * 8)
    spikes = 8 * sum(map(len, d.spikes))
    assert kinematics + spikes < needed < kinematics + spikes + 4000
    assert needed < 0.15 * total
    assert total == nwb_path.stat().st_size


def test_bytes_are_counted_as_they_are_stored(draft, nwb_path):
    d = draft("000130")
    path = d.write(nwb_path)
    before = bytes_needed(path, RECIPE)[0]
    with h5py.File(path, "r+") as h5:
        del h5["units/spike_times"]
        h5.create_dataset("units/spike_times", data=np.zeros(20_000), compression="gzip")
    assert bytes_needed(path, RECIPE)[0] < before
