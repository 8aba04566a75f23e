"""Each known oddity of the published files, on a small file that has it."""

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.facts import read_facts
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.schemas.recipe import IngestRecipe

RECIPE = IngestRecipe()


def warned(recording, text):
    return any(text in warning for warning in recording.warnings)


@pytest.mark.parametrize(("layout", "taken"), [("000070", "in mm"), ("000121", "unit unknown")])
def test_a_conversion_that_is_nan_leaves_the_values_finite(draft, nwb_path, layout, taken):
    recording = read_recording(draft(layout).write(nwb_path), RECIPE)
    assert np.nanmax(recording.position.values[:, 0]) == pytest.approx(8.0)
    assert warned(recording, f"conversion is nan; values are taken as they are, {taken}")


def test_directions_come_from_the_target_that_was_hit_and_may_be_negative(draft, nwb_path):
    d = draft("000070")
    columns = {"target_positions": np.array([[80, 0], [176, 0]] * 4, np.uint8), "hit_target_position": None}
    columns["hit_target_position"] = d.arrays["intervals/trials/hit_target_position"]
    d.arrays |= {f"intervals/trials/{name}": values for name, values in columns.items()}
    d.columns["intervals/trials"].append("target_positions")
    direction = read_recording(d.write(nwb_path), RECIPE).trials.target_dir
    assert direction[:4] == pytest.approx([0, np.pi, np.pi / 2, -np.pi / 2])


def test_two_sessions_lack_columns_and_are_read_all_the_same(draft, nwb_path):
    d = draft("000070").drop(
        "correct_reach", "trial_version", "maze_condition", "novel_maze", "proto_trial", "hit_target_position"
    )
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert recording.layout == "000070"
    assert recording.trials.success.all()
    assert np.isnan(recording.trials.target_dir).all()
    assert set(recording.trials.condition) == {""}


def test_trials_marked_to_be_discarded_are_invalid(draft, nwb_path):
    d = draft("000070")
    d.arrays["intervals/trials/discard_trial"][2] = 1
    d.arrays["intervals/trials/task_success"][3] = 0
    trials = read_recording(d.write(nwb_path), RECIPE).trials
    assert np.flatnonzero(~trials.valid).tolist() == [2]
    assert np.flatnonzero(~trials.success).tolist() == [3]


def test_observed_time_is_that_of_the_trials_where_files_say_so_trial_by_trial(draft, nwb_path):
    d = draft("000070")
    observed = read_recording(d.write(nwb_path), RECIPE).observed
    assert observed == pytest.approx(np.column_stack([d.start, d.stop]))


def test_electrode_groups_are_numbered_the_other_way_round_in_000121(draft, nwb_path):
    for layout, areas in (("000070", ["PMd", "PMd", "M1", "M1"]), ("000121", ["M1", "M1", "PMd", "PMd"])):
        path = draft(layout).write(nwb_path.with_stem(layout))
        assert read_recording(path, RECIPE).units.area.tolist() == areas


def test_the_area_of_a_maze_unit_is_in_its_id_not_in_its_electrode(draft, nwb_path):
    recording = read_recording(draft("nlb").write(nwb_path), RECIPE)
    assert recording.units.area.tolist() == ["PMd", "PMd", "M1", "M1"]


def test_held_out_units_are_marked(draft, nwb_path):
    recording = read_recording(draft("nlb").write(nwb_path), RECIPE)
    assert recording.units.heldout.tolist() == [False, True, False, True]


def test_trials_of_no_split_are_not_for_use(draft, nwb_path):
    trials = read_recording(draft("nlb").write(nwb_path), RECIPE).trials
    assert np.flatnonzero(~trials.valid).tolist() == [6]
    assert trials.split.tolist() == ["train"] * 4 + ["val", "val", "", "train"]


def test_reaches_of_000129_are_where_the_target_changes(draft, nwb_path):
    d = draft("000129")
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert recording.trials.events["go_cue"] == pytest.approx(12.0 + 2 * np.arange(7))
    assert recording.trials.events["stop"][:-1] == pytest.approx(recording.trials.events["go_cue"][1:])
    assert recording.trials.target_dir[:4] == pytest.approx([np.pi / 2, np.pi, -np.pi / 2, 0.0])


def test_a_reach_of_000129_ends_where_the_recording_pauses(draft, nwb_path):
    d = draft("000129")
    d.time = d.time + np.where(np.arange(len(d.time)) >= 500, 30.0, 0.0)
    for name in ("finger_pos", "finger_vel", "target_pos"):
        d.arrays[f"processing/behavior/{name}/timestamps"] = d.time
    d.observed([[10.0, 15.0], [45.0, 56.0]])
    events = read_recording(d.write(nwb_path), RECIPE).trials.events
    assert events["go_cue"][:3] == pytest.approx([12.0, 14.0, 46.0])
    assert events["stop"][1] == pytest.approx(14.99)


def test_bumped_trials_go_where_the_bump_pushed(draft, nwb_path):
    trials = read_recording(draft("000127").write(nwb_path), RECIPE).trials
    assert trials.target_dir[:2] == pytest.approx([0.0, np.pi / 2])
    assert trials.condition[:2].tolist() == ["active-0", "passive-90"]


def test_target_dir_is_held_against_the_corners(draft, nwb_path):
    d = draft("000688")
    assert not warned(read_recording(d.write(nwb_path), RECIPE), "target_corners")
    d.arrays["intervals/trials/target_dir"] = d.arrays["intervals/trials/target_dir"].copy()
    d.arrays["intervals/trials/target_dir"][[1, 5]] += np.pi / 2
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert warned(recording, "target_dir and target_corners disagree in 2 trials")
    assert np.flatnonzero(np.isnan(recording.trials.target_dir)).tolist() == [1, 5]


def test_every_reach_of_a_random_target_trial_has_its_own_cue_and_end(draft, nwb_path):
    d = draft("000688-RT")
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert recording.task == "RT"
    assert recording.trials.row[:8].tolist() == [0, 1, 2, 3, 4, 5, 8, 9]
    second = recording.trials.row % 4 == 1
    assert recording.trials.events["go_cue"][second] == pytest.approx(d.start + 0.5)
    assert recording.trials.events["stop"][second][0] == pytest.approx(d.start[0] + 0.9)
    assert recording.trials.events["stop"][second][1] == pytest.approx(d.stop[1])


def test_repeated_stamps_of_000688_are_dropped(draft, nwb_path):
    d = draft("000688")
    d.time = d.time.copy()
    d.time[[50, 51]] = d.time[49]
    d.arrays["processing/behavior/Position/cursor_pos/timestamps"] = d.time
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert warned(recording, "2 repeated time stamps were dropped")
    assert (np.diff(recording.position.time) > 0).all()


@pytest.mark.parametrize(
    ("layout", "session", "subject"),
    [
        ("000941", "sub-MonkeyL_ses-x_desc-held-in-calib", "MonkeyL"),
        ("000953", "sub-MonkeyN_ses-2020-10-19-Run1_desc-held-in-calib", "MonkeyN"),
        ("000954", "sub-HumanPitt_ses-x_desc-held-out-calib", "HumanPitt"),
    ],
)
def test_parts_of_the_falcon_benchmark_are_one_subject(draft, tmp_path, layout, session, subject):
    facts = read_facts(draft(layout).write(tmp_path / "x.nwb"))
    assert (facts.session, facts.subject) == (session, subject)


def test_true_in_eval_mask_keeps_and_the_rest_is_not_observed(draft, nwb_path):
    recording = read_recording(draft("000941").write(nwb_path), RECIPE)
    assert recording.observed == pytest.approx(np.array([[10.0, 12.0], [14.0, 26.0]]))
    assert warned(recording, "acquisition/eval_mask is false in 2.0 s")
    dropped = make_trials(recording, IngestRecipe(min_rate_hz=0.0)).dropped.trials
    assert dropped["unobserved"] == 1


def test_a_mask_that_keeps_nothing_is_refused(draft, nwb_path):
    d = draft("000941")
    d.arrays["acquisition/eval_mask/data"] = np.zeros(len(d.time))
    with pytest.raises(DataError, match="eval_mask is false throughout"):
        read_recording(d.write(nwb_path), RECIPE)


def test_stamps_of_bins_become_their_middles(draft, nwb_path):
    starts = read_recording(draft("000953").write(nwb_path.with_stem("m2")), RECIPE)
    assert starts.position.time[0] == pytest.approx(10.01)
    ends = read_recording(draft("000954").write(nwb_path.with_stem("h1")), RECIPE)
    assert ends.position.time[0] == pytest.approx(9.99)


def test_velocities_per_bin_become_those_per_second(draft, nwb_path):
    recording = read_recording(draft("000953").write(nwb_path), RECIPE)
    derived = np.gradient(recording.position.values, recording.position.time, axis=0)
    assert recording.velocity.values == pytest.approx(derived, abs=1e-9)
    assert recording.position.values.max() == pytest.approx(80.0)
    assert warned(recording, "percent of the range")


@pytest.mark.parametrize("rate", [0.02, 50.0])
def test_the_step_in_place_of_the_rate_of_000954_is_understood(draft, nwb_path, rate):
    d = draft("000954")
    d.attributes["acquisition/OpenLoopKinematics/starting_time"]["rate"] = rate
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert np.diff(recording.velocity.time) == pytest.approx(0.02)
    assert recording.position.values.max() == pytest.approx(7.0)
    assert recording.observed == pytest.approx(np.array([[9.98, 20.0], [22.0, 25.98]]))


def test_trials_of_000954_are_runs_of_one_trial_number(draft, nwb_path):
    trials = read_recording(draft("000954").write(nwb_path), RECIPE).trials
    assert len(trials) == 8
    assert trials.events["start"][1:] == pytest.approx(trials.events["stop"][:-1])


def test_a_generic_reader_refuses_a_step_of_fifty_seconds(draft, nwb_path):
    d = draft("000954")
    del d.arrays["acquisition/OpenLoopKinematics/data"]
    d.arrays |= {"acquisition/hand_vel/data": d.wave(), "acquisition/hand_vel/starting_time": 0.0}
    d.attributes = {
        "acquisition/hand_vel": {"neurodata_type": "TimeSeries"},
        "acquisition/hand_vel/starting_time": {"rate": 0.02},
    }
    recipe = IngestRecipe(layout="generic")
    match = r"one sample every 50 s cannot be .* rate is 0.02 Hz; where a file states the step .* inverses"
    with pytest.raises(DataError, match=match):
        read_recording(d.write(nwb_path), recipe)


def test_stamps_in_milliseconds_are_refused(draft, nwb_path):
    d = draft("000688")
    d.arrays["processing/behavior/Position/cursor_pos/timestamps"] = d.time * 1000
    with pytest.raises(DataError, match=r"one sample every 10 s .* another unit than seconds"):
        read_recording(d.write(nwb_path), RECIPE)


def test_kinematics_and_spikes_of_different_clocks_are_refused(draft, nwb_path):
    d = draft("000688")
    for name in ("Position/cursor_pos", "Velocity/cursor_vel"):
        d.arrays[f"processing/behavior/{name}/timestamps"] = d.time + 1e6
    with pytest.raises(DataError, match="they share no time, and so no clock"):
        read_recording(d.write(nwb_path), RECIPE)
