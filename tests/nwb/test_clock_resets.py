"""Sessions whose clock was reset are put on one clock: trials, kinematics, spikes and observed time alike."""

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.clock import GAP_S
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.schemas.recipe import IngestRecipe

RECIPE = IngestRecipe()
FIRST = 5
"""The clock is reset before this trial."""

BACK_S = 12.5


def reset(d, *, back_s=BACK_S, first=FIRST):
    """Turn the clock of a session back before a trial; return the session and its true clock."""
    at = d.start[first]
    later = d.start >= at
    for name in list(d.columns["intervals/trials"]):
        if name.endswith("_time") and name != "reaction_time":
            d.arrays[f"intervals/trials/{name}"] = d.arrays[f"intervals/trials/{name}"] - back_s * later
    for name in ("Eye", "Hand", "Cursor"):
        d.arrays[f"processing/behavior/Position/{name}/timestamps"] = d.time - back_s * (d.time >= at)
    d.spikes = [s - back_s * (s >= at) for s in d.spikes]
    d.arrays["units/spike_times"] = np.concatenate(d.spikes)
    d.observed(np.column_stack([d.start, d.stop]) - back_s * later[:, None])
    # One clock: the later block starts 60 s after the stop of the trial before it.
    return d, d.stop[first - 1] + GAP_S - at


def test_all_that_lies_on_the_clock_moves_by_the_same_time(draft, nwb_path):
    truth = read_recording(draft("000070").write(nwb_path.with_stem("truth")), RECIPE)
    d, shift = reset(draft("000070"))
    recording = read_recording(d.write(nwb_path), RECIPE)
    at = truth.trials.events["start"][FIRST]

    def moved(times):
        return times + shift * (times >= at)

    for event, times in truth.trials.events.items():
        assert recording.trials.events[event] == pytest.approx(moved(times)), event
    assert recording.spike_times == pytest.approx(moved(truth.spike_times))
    assert recording.spike_index.tolist() == truth.spike_index.tolist()
    assert recording.position.time == pytest.approx(moved(truth.position.time))
    assert np.array_equal(recording.position.values, truth.position.values)
    assert recording.observed == pytest.approx(moved(truth.observed))
    assert any(f"reset before trial {FIRST}" in warning for warning in recording.warnings)


def test_a_reset_changes_no_number_of_a_trial(draft, nwb_path):
    recipe = IngestRecipe(min_rate_hz=0.0)
    # Back by whole bins and a gap of whole bins: the bins fall on the same spikes.
    d, shift = reset(draft("000070"))
    assert (shift / 0.02) % 1 == pytest.approx(0.0, abs=1e-6)
    truth = make_trials(read_recording(draft("000070").write(nwb_path.with_stem("t")), RECIPE), recipe).trials
    trials = make_trials(read_recording(d.write(nwb_path), RECIPE), recipe).trials
    assert np.array_equal(trials["counts"], truth["counts"])
    assert trials["velocity"] == pytest.approx(truth["velocity"], abs=1e-3)
    assert trials["trial"].tolist() == truth["trial"].tolist()


def test_two_resets(draft, nwb_path):
    d, _ = reset(draft("000070"), first=3, back_s=4.0)
    # The second one, on the clock after the first.
    rows = np.arange(len(d.start)) >= 6
    for name in d.columns["intervals/trials"]:
        if name.endswith("_time") and name != "reaction_time":
            d.arrays[f"intervals/trials/{name}"] = d.arrays[f"intervals/trials/{name}"] - 7.0 * rows
    at = d.start[6]
    true_spikes = [s.copy() for s in draft("000070").spikes]
    parts = [s - 4.0 * (s >= d.start[3]) - 7.0 * (s >= at) for s in true_spikes]
    d.arrays["units/spike_times"] = np.concatenate(parts)
    time = draft("000070").time
    stamps = time - 4.0 * (time >= d.start[3]) - 7.0 * (time >= at)
    for name in ("Eye", "Hand", "Cursor"):
        d.arrays[f"processing/behavior/Position/{name}/timestamps"] = stamps
    recording = read_recording(d.write(nwb_path), RECIPE)
    gaps = np.diff(recording.trials.events["start"])
    assert (gaps > 0).all()
    assert np.flatnonzero(gaps > GAP_S).tolist() == [2, 5]
    assert (np.diff(recording.position.time) > 0).all()
    assert len(recording.spike_times) == sum(map(len, true_spikes))


def test_units_that_do_not_fall_into_the_blocks_are_left_out_and_reported(draft, nwb_path):
    d, _ = reset(draft("000070"))
    d.spikes[1] = np.sort(d.spikes[1])
    d.arrays["units/spike_times"] = np.concatenate(d.spikes)
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert recording.units.ids.tolist() == [0, 2, 3]
    assert recording.units.area.tolist() == ["PMd", "M1", "M1"]
    assert any("1 of 4 units were left out" in warning for warning in recording.warnings)


def test_a_unit_that_is_silent_on_one_side_of_a_reset_is_named(draft, nwb_path):
    d, _ = reset(draft("000070"))
    # Times of the first block that the second one has as well.
    d.spikes[1] = d.spikes[1][: np.flatnonzero(np.diff(d.spikes[1]) < 0)[0] + 1]
    begins = d.arrays["intervals/trials/start_time"][FIRST]
    d.spikes[1] = d.spikes[1][(d.spikes[1] > begins) & (d.spikes[1] < begins + 4)]
    d.units()
    d.arrays["units/spike_times"] = np.concatenate(d.spikes)
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert recording.units.ids.tolist() == [0, 2, 3]
    assert any("1 of these have times that never fall (units 1)" in text for text in recording.warnings)


def test_a_group_of_units_means_nothing_after_a_reset_and_that_is_said(draft, nwb_path):
    d, _ = reset(draft("000070"))
    recipe = IngestRecipe.model_validate({"units": {"observed_group": 0}})
    recording = read_recording(d.write(nwb_path), recipe)
    assert any("units.observed_group is not used: the clock was reset" in w for w in recording.warnings)


def test_trials_that_overlap_without_a_reset_are_not_used(draft, nwb_path):
    d = draft("000070")
    d.arrays["intervals/trials/stop_time"] = d.stop.copy()
    d.arrays["intervals/trials/stop_time"][2] = d.start[3] + 0.4
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert np.flatnonzero(~recording.trials.valid).tolist() == [2, 3]
    assert any("2 trials overlap" in warning for warning in recording.warnings)
    assert not ((recording.observed[:, 0] < d.start[3]) & (recording.observed[:, 1] > d.start[3])).any()


def test_kinematics_without_the_resets_of_the_trials_are_refused(draft, nwb_path):
    d, _ = reset(draft("000070"))
    for name in ("Eye", "Hand", "Cursor"):
        d.arrays[f"processing/behavior/Position/{name}/timestamps"] = d.time
    with pytest.raises(DataError, match="1 clock resets, the kinematics 0"):
        read_recording(d.write(nwb_path), RECIPE)


def test_other_layouts_refuse_a_clock_that_runs_backwards(draft, nwb_path):
    d = draft("000688")
    d.time = d.time - 3.0 * (d.time > 20.0)
    d.arrays["processing/behavior/Position/cursor_pos/timestamps"] = d.time
    with pytest.raises(DataError, match="the clock was reset"):
        read_recording(d.write(nwb_path), RECIPE)
