"""The FALCON benchmark's loader and we take the same from the same files, one of each dandiset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from nwb.field_readers.agreement import SECONDS, inside
from nwb.field_readers.draft_files import write_with_pynwb

from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.binning import bin_spikes
from nwb_latents.pipeline.signals.timebase import Grid
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from pathlib import Path

    from nwb.conftest import Draft

pytestmark = pytest.mark.field_readers

STEP_S = 0.02
TASKS = {"000941": "m1", "000953": "m2", "000954": "h1"}
RECIPES = {
    "000941": IngestRecipe(velocity_series="acquisition/preprocessed_emg"),
    "000953": IngestRecipe(),
    "000954": IngestRecipe(),
}
# Values of theirs that are one of ours: 000953 is stored per bin and read as percent of the range per second.
PER_OURS = {"000941": 1.0, "000953": STEP_S / 100, "000954": 1.0}


def masked(d: Draft) -> Draft:
    """Let some time of the file not be evaluated."""
    mask = d.arrays["acquisition/eval_mask/data"] = np.asarray(d.arrays["acquisition/eval_mask/data"], bool)
    mask[300:340] = False
    return d


def write(draft, layout: str, folder: Path) -> Path:
    """Write the small file of a layout."""
    return write_with_pynwb(masked(draft(layout)), folder / f"sub-T_ses-{layout}.nwb")


@pytest.mark.parametrize("layout", TASKS)
def test_counts_are_the_same_bin_by_bin(layout, draft, tmp_path, take):
    path = write(draft, layout, tmp_path)
    recording, taken = read_recording(path, RECIPES[layout]), take("falcon", path, task=TASKS[layout])
    # Ours are stamped in the middle of the bin.
    left = recording.velocity.time - STEP_S / 2
    grid = Grid.covering(left[0], left[-1] + STEP_S, round(STEP_S * 1e9))
    counts = bin_spikes(recording.spike_times, recording.spike_index, grid)
    assert np.array_equal(counts.T[: len(left)], taken["counts"])
    assert counts.any()


@pytest.mark.parametrize("layout", TASKS)
def test_what_is_decoded_is_the_same(layout, draft, tmp_path, take):
    path = write(draft, layout, tmp_path)
    recording, taken = read_recording(path, RECIPES[layout]), take("falcon", path, task=TASKS[layout])
    np.testing.assert_allclose(PER_OURS[layout] * recording.velocity.values, taken["covariates"], atol=1e-12)


@pytest.mark.parametrize("layout", TASKS)
def test_the_same_bins_are_evaluated(layout, draft, tmp_path, take):
    path = write(draft, layout, tmp_path)
    recording, taken = read_recording(path, RECIPES[layout]), take("falcon", path, task=TASKS[layout])
    assert inside(recording.velocity.time, recording.observed).tolist() == taken["eval_mask"].tolist()
    assert 0 < taken["eval_mask"].sum() < len(taken["eval_mask"])


@pytest.mark.parametrize("layout", TASKS)
def test_trials_begin_in_the_same_bins(layout, draft, tmp_path, take):
    """Theirs says where another trial begins; of 000954 the first is not said."""
    path = write(draft, layout, tmp_path)
    recording, taken = read_recording(path, RECIPES[layout]), take("falcon", path, task=TASKS[layout])
    # Theirs looks for the first time stamp from the start on: ends of bins in 000941, beginnings in 000953.
    stamps = recording.velocity.time + {"m1": STEP_S / 2, "m2": -STEP_S / 2, "h1": -STEP_S / 2}[TASKS[layout]]
    first = np.searchsorted(stamps, recording.trials.events["start"] - SECONDS)
    theirs = np.flatnonzero(taken["trial_change"])
    assert first[1 if layout == "000954" else 0 :].tolist() == theirs.tolist()


def test_older_files_of_000954_are_read_by_their_blacklist(draft, tmp_path, take):
    d = masked(draft("000954"))
    keep = np.asarray(d.arrays.pop("acquisition/eval_mask/data"))
    d.arrays["acquisition/Blacklist/data"] = ~keep
    d.arrays["acquisition/Blacklist/starting_time"] = d.arrays.pop("acquisition/eval_mask/starting_time")
    for part in ("", "/data", "/starting_time"):
        d.attributes[f"acquisition/Blacklist{part}"] = d.attributes.pop(f"acquisition/eval_mask{part}")
    path = write_with_pynwb(d, tmp_path / "sub-T_ses-1.nwb")
    recording, taken = read_recording(path, IngestRecipe()), take("falcon", path, task="h1")
    assert inside(recording.velocity.time, recording.observed).tolist() == taken["eval_mask"].tolist()
    np.testing.assert_allclose(recording.velocity.values, taken["covariates"])


@pytest.mark.real_data
def test_counts_of_the_real_recording_are_the_same(real_data, take, tmp_path):
    path = next(real_data.rglob("*.nwb"))
    with h5py.File(path) as h5:
        stamps = h5["processing/behavior/Velocity/hand_vel/timestamps"][:]
    step = float(np.median(np.diff(stamps)))
    np.save(tmp_path / "stamps.npy", stamps)
    taken = take(
        "falcon_counts", path, stamps=str(tmp_path / "stamps.npy"), bin_size_s=step, is_bin_start=True
    )
    recording = read_recording(path, IngestRecipe())
    grid = Grid.covering(stamps[0], stamps[-1] + step, round(step * 1e9))
    counts = bin_spikes(recording.spike_times, recording.spike_index, grid)
    assert np.array_equal(counts.T[: len(stamps)], taken["counts"])
