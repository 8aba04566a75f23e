"""What the readers of the field make of the same files: their rules in a few lines, held against ours.

brainsets 0.2.2 (``brainsets_pipelines/*/pipeline.py``) and falcon-challenge 1.0.2
(``falcon_challenge/dataloaders.py``). Where we differ on purpose, `docs/reference/layouts.md` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.binning import bin_spikes
from nwb_latents.pipeline.signals.timebase import Grid
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.pipeline.signals.recording import Recording

RECIPE = IngestRecipe()
TRIALS = "intervals/trials"


def simulated(folder: Path, **settings: object) -> Path:
    """Write one small session."""
    sizes = {
        "preset": "classic",
        "n_subjects": 1,
        "n_sessions": 1,
        "n_units": (5, 5),
        "n_trials": 40,
        "failure_rate": 0.3,
    }
    (path,) = simulate_dandiset(folder, SimulateSettings.model_validate({**sizes, **settings, "seed": 2}))
    return path


def table(path: Path) -> dict[str, np.ndarray]:
    """Return the trial table of a file, text as text."""
    with h5py.File(path) as h5:
        found = h5[TRIALS]
        names = [name for name in found if found[name].ndim and not name.startswith("timeseries")]
        return {
            name: found[name].asstr()[:] if found[name].dtype.kind == "O" else found[name][:]
            for name in names
        }


def used(recording: Recording) -> np.ndarray:
    """Return which rows are used, before limits on durations."""
    return recording.trials.success & recording.trials.valid


def test_centre_out_trials_of_000688_are_those_of_brainsets(tmp_path):
    path = simulated(tmp_path, layout="000688", waveforms=False)
    with h5py.File(path, "r+") as h5:
        rewarded = np.flatnonzero(h5[f"{TRIALS}/result"].asstr()[:] == "R")
        h5[f"{TRIALS}/target_id"][rewarded[3]] = np.nan
    t = table(path)
    # perich_miller_population_2018/pipeline.py:244-271; stop + 1 s stands in for the end of the cursor.
    grid = np.append(t["target_on_time"], t["stop_time"][-1] + 1.0)
    otherwise = np.append(t["start_time"][0], t["stop_time"] + 1.0)
    otherwise[1:-1] = np.minimum(otherwise[1:-1], t["stop_time"][1:])
    grid[np.isnan(grid)] = otherwise[np.isnan(grid)]
    length = np.diff(grid)
    theirs = (t["result"] == "R") & ~np.isnan(t["target_id"]) & (length < 6.0) & (length > 0.5)
    assert used(read_recording(path, RECIPE)).tolist() == theirs.tolist()
    assert not theirs[rewarded[3]]
    assert 0 < theirs.sum() < len(theirs)


def test_trials_of_000688_last_half_a_second_by_their_own_edges(tmp_path):
    """Where we differ: brainsets counts from one target to the next, we from start to stop."""
    path = simulated(tmp_path, layout="000688", waveforms=False, failure_rate=0.0)
    with h5py.File(path, "r+") as h5:
        h5[f"{TRIALS}/start_time"][4] = h5[f"{TRIALS}/stop_time"][4] - 0.4
    ours = used(read_recording(path, RECIPE))
    assert np.flatnonzero(~ours).tolist() == [4]


def test_random_target_trials_of_000688_are_those_of_brainsets(tmp_path):
    path = simulated(tmp_path, layout="000688", task="RT", waveforms=False)
    with h5py.File(path, "r+") as h5:
        rewarded = np.flatnonzero(h5[f"{TRIALS}/result"].asstr()[:] == "R")
        h5[f"{TRIALS}/num_attempted"][rewarded[:2]] = 3
    t = table(path)
    # perich_miller_population_2018/pipeline.py:310-317
    length = t["stop_time"] - t["start_time"]
    theirs = (t["result"] == "R") & (t["num_attempted"] == 4) & (length < 10.0) & (length > 2.0)
    recording = read_recording(path, RECIPE)
    trial = recording.trials.row[used(recording)] // 4
    assert sorted(set(trial.tolist())) == np.flatnonzero(theirs).tolist()
    assert len(trial) == 4 * theirs.sum()


def test_trials_of_000070_are_those_of_brainsets(tmp_path):
    path = simulated(tmp_path, layout="000070")
    t = table(path)
    # churchland_shenoy_neural_2012/pipeline.py:280-282
    theirs = (t["discard_trial"] == 0.0) & (t["task_success"] == 1.0)
    recording = read_recording(path, RECIPE)
    assert used(recording).tolist() == theirs.tolist()
    np.testing.assert_array_equal(recording.trials.events["move_onset"], t["move_begins_time"])


def test_blocks_of_000070_after_a_reset_begin_where_those_of_brainsets_do(draft, nwb_path):
    d = draft("000070")
    start, stop, first, back_s = d.start.copy(), d.stop.copy(), 5, 12.5
    later = np.arange(len(start)) >= first
    for name in [n for n in d.columns[TRIALS] if n.endswith("_time") and n != "reaction_time"]:
        d.arrays[f"{TRIALS}/{name}"] = d.arrays[f"{TRIALS}/{name}"] - back_s * later
    for name in ("Eye", "Hand", "Cursor"):
        stamps = d.time - back_s * (d.time >= start[first])
        d.arrays[f"processing/behavior/Position/{name}/timestamps"] = stamps
    d.arrays["units/spike_times"] = np.concatenate([s - back_s * (s >= start[first]) for s in d.spikes])
    d.observed(np.column_stack([start, stop]) - back_s * later[:, None])
    recording = read_recording(d.write(nwb_path), RECIPE)
    t = table(nwb_path)
    # churchland_shenoy_neural_2012/pipeline.py:202-204, 247-258
    artifact = np.flatnonzero(t["start_time"][1:] < t["stop_time"][:-1])
    assert artifact.tolist() == [first - 1]
    moved = t["start_time"][first:] - t["start_time"][first] + t["stop_time"][first - 1] + 60
    np.testing.assert_allclose(recording.trials.events["start"][first:], moved)
    assert len(recording.units) == len(d.spikes)


@pytest.mark.parametrize("mask", ["eval_mask", "Blacklist"])
def test_bins_of_000954_are_those_of_the_benchmark(draft, nwb_path, mask):
    d = draft("000954")
    if mask == "Blacklist":
        keep = np.asarray(d.arrays.pop("acquisition/eval_mask/data"))
        d.arrays["acquisition/Blacklist/data"] = ~keep
        d.arrays["acquisition/Blacklist/starting_time"] = d.arrays.pop("acquisition/eval_mask/starting_time")
        for part in ("", "/data", "/starting_time"):
            d.attributes[f"acquisition/Blacklist{part}"] = d.attributes.pop(f"acquisition/eval_mask{part}")
    recording = read_recording(d.write(nwb_path), RECIPE)
    # dataloaders.py:95-102: 'offset' and 'rate' make the ends of bins
    with h5py.File(nwb_path) as h5:
        kinematics = h5["acquisition/OpenLoopKinematicsVelocity/data"][:]
        offset = h5["acquisition/OpenLoopKinematics/data"].attrs["offset"]
        ends = (
            offset
            + np.arange(len(kinematics)) * h5["acquisition/OpenLoopKinematics/starting_time"].attrs["rate"]
        )
        keep = h5[f"acquisition/{mask}/data"][:].astype(bool) != (mask == "Blacklist")
    np.testing.assert_allclose(recording.velocity.time, ends - 0.01)
    np.testing.assert_allclose(recording.velocity.values, kinematics)
    middle = ends - 0.01
    ours = ((recording.observed[:, 0] <= middle[:, None]) & (middle[:, None] < recording.observed[:, 1])).any(
        axis=1
    )
    assert ours.tolist() == keep.tolist()
    # dataloaders.py:70-75: counts between the ends of bins
    edges = np.concatenate([[ends[0] - 0.02], ends])
    theirs = np.column_stack([np.histogram(spikes, bins=edges)[0] for spikes in d.spikes])
    grid = Grid.covering(edges[0], edges[-1], 20_000_000)
    counts = bin_spikes(recording.spike_times, recording.spike_index, grid)
    assert np.array_equal(counts.T[: len(ends)], theirs)


def test_bins_of_000953_begin_at_their_time_stamps(draft, nwb_path):
    recording = read_recording(draft("000953").write(nwb_path), RECIPE)
    # dataloaders.py:41-42, 158: is_timestamp_bin_start
    with h5py.File(nwb_path) as h5:
        stamps = h5["acquisition/finger_vel/index/timestamps"][:]
    np.testing.assert_allclose(recording.velocity.time, stamps + 0.01)


def test_muscle_activity_of_000941_is_that_of_the_benchmark_where_it_is_asked_for(draft, nwb_path):
    path = draft("000941").write(nwb_path)
    recording = read_recording(path, IngestRecipe(velocity_series="acquisition/preprocessed_emg"))
    # dataloaders.py:121-133: muscles side by side, bins that end at their time stamps
    with h5py.File(path) as h5:
        emg = h5["acquisition/preprocessed_emg"]
        theirs = np.column_stack([emg[muscle]["data"][:] for muscle in emg])
        stamps = emg["ECU/timestamps"][:]
    np.testing.assert_allclose(recording.velocity.values, theirs)
    np.testing.assert_allclose(recording.velocity.time, stamps - 0.01)
    assert read_recording(path, RECIPE).velocity is None


def test_a_unit_with_falling_times_is_left_out_and_the_session_is_read(draft, nwb_path):
    d = draft("000070")
    d.spikes[1] = d.spikes[1][::-1]
    d.arrays["units/spike_times"] = np.concatenate(d.spikes)
    recording = read_recording(d.write(nwb_path), RECIPE)
    # churchland_shenoy_neural_2012/pipeline.py:492-499 skips a unit that falls more often than the clock.
    assert recording.units.ids.tolist() == [0, 2, 3]
    assert any("spike times fall" in text for text in recording.warnings)
    areas = read_recording(draft("000070").write(nwb_path.with_name("whole.nwb")), RECIPE).units.area
    assert recording.units.area.tolist() == areas[[0, 2, 3]].tolist()
    own = np.split(recording.spike_times, recording.spike_index[:-1])
    for mine, theirs in zip(own, [d.spikes[0], d.spikes[2], d.spikes[3]], strict=True):
        np.testing.assert_allclose(mine, theirs)


def test_wall_clock_stamps_that_overlap_by_milliseconds_are_read(draft, nwb_path):
    d = draft("000121")
    stamps = d.time.copy()
    stamps[800:] -= 0.012
    for name in ("Hand", "Cursor", "Eye", "DecodePos"):
        d.arrays[f"processing/behavior/Position/{name}/timestamps"] = stamps
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert np.all(np.diff(recording.position.time) > 0)
    assert len(recording.position.time) >= len(stamps) - 2


def test_outliers_of_000130_are_kept_where_they_are_asked_for(draft, nwb_path):
    path = draft("000130").write(nwb_path)
    kept = {}
    for keep in (False, True):
        recipe = IngestRecipe.model_validate(
            {"trials": {"keep_flagged": keep, "check_reaction_time": False}, "min_rate_hz": 0.0}
        )
        kept[keep] = len(make_trials(read_recording(path, recipe), recipe).trials["counts"])
    # nlb_tools leaves the column is_outlier to its user.
    assert kept[True] == kept[False] + 1
