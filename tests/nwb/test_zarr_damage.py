"""Damaged NWB-Zarr: every message names the array, and what the file holds in its place."""

from __future__ import annotations

import json
import shutil

import pytest
from archive.recordings import as_zarr

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.read import read_recording
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
