from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest
from nwbinspector import Importance, inspect_nwbfile

from nwb_latents.pipeline.sources.simulator import read_truth, simulate_session
from nwb_latents.pipeline.sources.simulator.hand_kinematics import movement_velocity
from nwb_latents.pipeline.sources.simulator.trial_script import Movement
from nwb_latents.schemas.simulation import ReachProfile, SimulateSettings

Writer = Callable[..., Path]
VARIANTS = [
    {"layout": "000688"},
    {"layout": "000688", "task": "RT", "waveforms": False},
    {"layout": "000070"},
    {"layout": "nlb"},
    {"layout": "generic", "kinematics_rate_hz": 50.0},
    {"layout": "foreign", "reach_profile": "two_peaked"},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
def test_nwbinspector_finds_nothing_critical(nwb_of: Writer, variant: dict[str, object]) -> None:
    found = inspect_nwbfile(nwbfile_path=nwb_of(**variant), importance_threshold=Importance.CRITICAL)
    assert [str(message) for message in found] == []


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
def test_pynwb_reads_the_file(nwb_of: Writer, variant: dict[str, object]) -> None:
    path = nwb_of(**variant)
    with pynwb.NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        name = f"sub-{nwbfile.subject.subject_id}_ses-{nwbfile.session_id}"
        assert name == read_truth(path).session
        assert path.name.startswith(f"{name}_")
        assert len(nwbfile.units["spike_times"][0]) > 0
        assert nwbfile.units["electrodes"][0]["group_name"].iloc[0] in nwbfile.electrode_groups
        assert (nwbfile.trials is None) == (variant["layout"] == "generic")


def test_000688_has_kinematics_in_cm_with_explicit_timestamps(nwb_of: Writer) -> None:
    path = nwb_of(layout="000688")
    truth = read_truth(path)
    with h5py.File(path) as file:
        behavior = file["processing/behavior"]
        series = [
            behavior[name]
            for name in ("Position/cursor_pos", "Velocity/cursor_vel", "Acceleration/cursor_acc")
        ]
        assert [entry["data"].attrs["unit"] for entry in series] == ["cm", "cm/s", "cm/s^2"]
        np.testing.assert_allclose(series[0]["timestamps"][:], truth.latent_time_s, atol=1e-9)
        np.testing.assert_allclose(series[0]["data"][:], truth.position, atol=1e-9)
        np.testing.assert_allclose(series[1]["data"][:], truth.velocity, atol=1e-9)


def test_000688_trials_have_the_published_columns_and_no_onset(nwb_of: Writer) -> None:
    path = nwb_of(layout="000688")
    truth = read_truth(path)
    with h5py.File(path) as file:
        trials = file["intervals/trials"]
        assert list(trials.attrs["colnames"]) == [
            "start_time",
            "stop_time",
            "target_on_time",
            "go_cue_time",
            "result",
            "target_id",
            "target_dir",
            "target_corners",
        ]
        np.testing.assert_array_equal(trials["go_cue_time"][:], truth.go_cue_s)
        np.testing.assert_array_equal(trials["target_dir"][:], truth.target_dir_rad)
        np.testing.assert_array_equal(trials["result"].asstr()[:] == "R", truth.success)
        corners = trials["target_corners"][:][truth.success]
        centre = (corners[:, :2] + corners[:, 2:]) / 2
        np.testing.assert_allclose(np.hypot(*centre.T), 8.0)
        assert "obs_intervals" not in file["units"]
        assert set(file["general/extracellular_ephys/electrodes/group_name"].asstr()[:]) == {
            "electrode_group_M1",
            "electrode_group_PMd",
        }


def test_000688_waveforms_are_48_samples_per_spike(nwb_of: Writer) -> None:
    with h5py.File(nwb_of(layout="000688")) as file:
        units = file["units"]
        n_spikes = len(units["spike_times"])
        np.testing.assert_array_equal(units["waveforms_index"][:], 48 * np.arange(1, n_spikes + 1))
        np.testing.assert_array_equal(units["waveforms_index_index"][:], units["spike_times_index"][:])
        assert units["waveforms"].shape == (48 * n_spikes, 1)
        assert units["waveforms"].dtype == np.int16
    with h5py.File(nwb_of(layout="000688", waveforms=False)) as file:
        assert "waveforms" not in file["units"]


@pytest.mark.parametrize("layout", ["000688", "generic"])
def test_kinematics_can_be_sampled_at_1_khz(nwb_of: Writer, layout: str) -> None:
    path = nwb_of(layout=layout, kinematics_rate_hz=1000.0, n_trials=4, waveforms=False)
    truth = read_truth(path)
    name = {"000688": "Position/cursor_pos", "generic": "Position/Hand"}[layout]
    with h5py.File(path) as file:
        data = file["processing/behavior"][name]["data"][:]
    cm = data if layout == "000688" else 100 * data
    np.testing.assert_allclose(cm[::10], truth.position, atol=1e-9)


def test_random_target_sessions_have_four_cues_per_trial(nwb_of: Writer) -> None:
    path = nwb_of(layout="000688", task="RT", waveforms=False)
    truth = read_truth(path)
    with h5py.File(path) as file:
        trials = file["intervals/trials"]
        cues, result = trials["go_cue_time_array"][:], trials["result"].asstr()[:]
        attempted = trials["num_attempted"][:]
        assert trials["target_id"].shape == cues.shape == (12, 4)
        assert (trials["num_targets"][:] == 4).all()
    assert "_ses-RT-" in path.name
    assert np.isfinite(cues[result == "R"]).all()
    assert (attempted[result == "R"] == 4).all()
    assert (np.diff(cues[result == "R"], axis=1) > 0.5).all()
    np.testing.assert_array_equal(cues[truth.trial_row, truth.reach], truth.go_cue_s)


def test_000070_has_millimetres_within_trials_only(nwb_of: Writer) -> None:
    path = nwb_of(layout="000070")
    truth = read_truth(path)
    with h5py.File(path) as file:
        hand = file["processing/behavior/Position/Hand"]
        time, data = hand["timestamps"][:], hand["data"][:]
        assert np.isnan(hand["data"].attrs["conversion"])
        assert set(file["processing/behavior/Position"]) == {"Cursor", "Eye", "Hand"}
        assert set(file["processing/behavior"]) == {"Position"}
        starts, stops = (file["intervals/trials"][name][:] for name in ("start_time", "stop_time"))
    gaps = np.flatnonzero(np.diff(time) > 0.0015)
    assert len(gaps) == len(starts) - 1
    np.testing.assert_allclose(time[gaps], stops[:-1], atol=1e-9)
    np.testing.assert_allclose(time[gaps + 1], starts[1:], atol=1e-9)
    on_grid = np.flatnonzero(np.round(time * 1000).astype(int) % 10 == 0)
    expected = truth.position[np.round(time[on_grid] * 100).astype(int)]
    np.testing.assert_allclose(data[on_grid], 10 * expected, atol=1e-6)


def test_nlb_has_no_sample_at_the_stop_of_a_trial(nwb_of: Writer) -> None:
    with h5py.File(nwb_of(layout="nlb", failure_rate=0.0)) as file:
        time = file["processing/behavior/hand_vel/timestamps"][:]
        starts, stops = (file["intervals/trials"][name][:] for name in ("start_time", "stop_time"))
    trial = np.searchsorted(starts, time + 1e-6) - 1
    assert (time < stops[trial] - 5e-4).all()
    last = np.append(np.flatnonzero(np.diff(trial)), -1)
    np.testing.assert_allclose(time[last], stops - 1e-3, atol=1e-9)


def test_000070_observes_all_units_during_trials(nwb_of: Writer) -> None:
    with h5py.File(nwb_of(layout="000070")) as file:
        units, trials = file["units"], file["intervals/trials"]
        edges = np.stack([trials["start_time"][:], trials["stop_time"][:]], axis=1)
        observed = units["obs_intervals"][:].reshape(9, *edges.shape)
        times = units["spike_times"][:]
        assert units["spike_times_index"][-1] == len(times)
    assert (observed == edges).all()
    inside = np.searchsorted(edges.ravel(), times, side="right") % 2 == 1
    assert inside.all()
    assert len(times) > 500


def test_000070_trials_have_onsets_and_flags(nwb_of: Writer) -> None:
    path = nwb_of(layout="000070")
    truth = read_truth(path)
    with h5py.File(path) as file:
        trials = file["intervals/trials"]
        np.testing.assert_array_equal(trials["move_begins_time"][:], truth.onset_s)
        np.testing.assert_array_equal(trials["move_ends_time"][:], truth.move_end_s)
        np.testing.assert_array_equal(trials["task_success"][:], truth.success)
        assert {"discard_trial", "target_presentation_time", "reaction_time", "timeseries"} <= set(trials)
        hit = trials["hit_target_position"][:]
        assert trials["target_positions_index"][-1] == np.isfinite(truth.target_dir_rad).sum()
    assert hit.dtype == np.int16
    np.testing.assert_allclose(np.hypot(*hit[truth.success].T), 80, atol=1)
    assert (hit[~truth.success] == 0).all()


def test_nlb_holds_out_a_quarter_of_the_units(nwb_of: Writer) -> None:
    path = nwb_of(layout="nlb")
    with h5py.File(path) as file:
        units = file["units"]
        heldout, ids = units["heldout"][:], units["id"][:]
    assert heldout.dtype == np.bool_
    assert heldout.sum() == 2
    assert set(ids // 1000) == {1, 2}
    np.testing.assert_array_equal(ids, read_truth(path).unit_ids)


def test_nlb_lists_rewarded_trials_with_split_and_onset(nwb_of: Writer) -> None:
    path = nwb_of(layout="nlb", n_trials=40)
    truth = read_truth(path)
    with h5py.File(path) as file:
        trials = file["intervals/trials"]
        onset, go_cue, rt = (trials[name][:] for name in ("move_onset_time", "go_cue_time", "rt"))
        split = trials["split"].asstr()[:]
        assert trials["success"][:].all()
        velocity = file["processing/behavior/hand_vel"]
        assert velocity["data"].attrs["unit"] == "mm/s"
        peak = np.hypot(*velocity["data"][:].T).max()
    listed = truth.trial_row >= 0
    np.testing.assert_array_equal(listed, truth.success)
    np.testing.assert_array_equal(onset[truth.trial_row[listed]], truth.onset_s[listed])
    np.testing.assert_array_equal(rt, np.round(1000 * (onset - go_cue)))
    assert set(split) == {"train", "val"}
    assert peak == pytest.approx(10 * np.nanmax(truth.peak_speed_cm_s[listed]), rel=0.01)


def test_generic_files_have_metres_and_no_trials(nwb_of: Writer) -> None:
    path = nwb_of(layout="generic")
    truth = read_truth(path)
    with h5py.File(path) as file:
        assert "intervals" not in file
        velocity = file["processing/behavior/Velocity/hand_vel"]
        assert velocity["data"].attrs["unit"] == "m/s"
        assert velocity["starting_time"].attrs["rate"] == 100
        np.testing.assert_allclose(100 * velocity["data"][:], truth.velocity, atol=1e-9)
    assert (truth.trial_row == -1).all()
    assert np.isfinite(truth.onset_s).any()


def test_foreign_has_an_elbow_in_degrees_and_columns_of_its_own(nwb_of: Writer) -> None:
    path = nwb_of(layout="foreign")
    truth = read_truth(path)
    with h5py.File(path) as file:
        angle = file["processing/behavior/ElbowAngle/data"]
        assert angle.attrs["unit"] == "degrees"
        np.testing.assert_allclose(angle[:], 90 + 5 * truth.position[:, 0], atol=1e-9)
        trials = file["intervals/trials"]
        np.testing.assert_array_equal(trials["lateral_target_appearance_time"][:], truth.go_cue_s)
        np.testing.assert_array_equal(trials["derived_movement_onset_time"][:], truth.onset_s)
        assert set(trials["outcome"].asstr()[:]) <= {"correct", "aborted", "incorrect", "miss"}
        assert len(file["intervals/invalid_times/start_time"]) == 1
        assert file["units/unit_name"].asstr()[0] == "SimA_000a"
        location = file["general/extracellular_ephys/electrodes/location"].asstr()[0]
        assert location == "Primary motor cortex (M1), arm area"


def test_an_elbow_has_two_targets() -> None:
    assert SimulateSettings.model_validate({"layout": "foreign"}).n_targets == 2
    with pytest.raises(ValueError, match=r"n_targets is 8.*bends or stretches: use 2"):
        SimulateSettings.model_validate({"layout": "foreign", "n_targets": 8})
    with pytest.raises(ValueError, match=r"no task RT"):
        SimulateSettings.model_validate({"layout": "foreign", "task": "RT"})


@pytest.mark.parametrize("profile", ["minimum_jerk", "lognormal", "late", "two_peaked"])
def test_a_reach_of_any_profile_begins_and_ends_at_rest_where_it_is_aimed(profile: ReachProfile) -> None:
    reach = Movement(plan_s=0.0, onset_s=1.0, duration_s=0.5, displacement_cm=np.array([8.0, 0.0]))
    velocity = movement_velocity(reach, profile)[:, 0]
    assert velocity[[0, -1]] == pytest.approx(0.0, abs=1e-12)
    assert velocity.min() >= -1e-12
    assert velocity.sum() / 1000 == pytest.approx(8.0)


def test_the_profile_of_reaches_is_no_part_of_the_digest_where_it_is_minimum_jerk() -> None:
    small = {"preset": "classic", "n_units": (3, 3), "n_trials": 2}
    plain, named, late = (
        SimulateSettings.model_validate(small | more)
        for more in ({}, {"reach_profile": "minimum_jerk"}, {"reach_profile": "late"})
    )
    assert plain.digest() == named.digest() != late.digest()
    assert not np.array_equal(
        simulate_session(plain).kinematics.velocity, simulate_session(late).kinematics.velocity
    )
