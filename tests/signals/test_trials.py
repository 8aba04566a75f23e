"""From a recording to trials: order, alignment, counting of what is dropped."""

import dataclasses

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.recording import Series
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import TrialSelection


def recipe(**changes) -> IngestRecipe:
    return IngestRecipe(**changes)


def test_onsets_are_within_20_ms_of_the_truth(reaches, recording):
    made = make_trials(recording, recipe()).trials
    error = made["move_onset"] - reaches.onsets[made["trial"]]
    assert len(error) >= 22
    assert (np.abs(error) <= 0.02).mean() >= 0.95


def test_spike_totals_are_conserved_in_the_continuous_counts(recording):
    made = make_trials(recording, recipe(min_rate_hz=0.0))
    outside = sum(int(note.split()[0]) for note in made.notes if "spikes" in note)
    assert made.continuous["counts"].sum(dtype=int) + outside == len(recording.spike_times)


def test_trials_are_slices_of_the_continuous_bins(recording):
    made = make_trials(recording, recipe())
    for name in ("counts", "rates", "velocity", "position"):
        for k, start in enumerate(made.trials["start_bin"]):
            piece = made.continuous[name][start : start + 36]
            assert np.array_equal(made.trials[name][k], piece, equal_nan=True)


def test_time_zero_is_the_bin_that_holds_the_event(recording):
    made = make_trials(recording, recipe()).trials
    assert made["time"][13] == 0.0
    assert ((made["event_offset"] >= -1e-9) & (made["event_offset"] < 0.02)).all()


def test_the_peak_of_the_speed_lies_where_the_recording_has_it(reaches, recording):
    made = make_trials(recording, recipe()).trials
    speed = np.linalg.norm(made["velocity"], axis=2)
    peak = made["time"][speed.argmax(axis=1)] + 0.01
    true = reaches.onsets + reaches.duration / 2
    left = made["event_time"] - made["event_offset"]
    assert np.abs(left + peak - true[made["trial"]]).max() < 0.02


def test_smoothing_before_cutting_leaves_trial_edges_whole(recording):
    made = make_trials(recording, recipe())
    start = made.trials["start_bin"]
    assert np.array_equal(made.trials["rates"][:, 0], made.continuous["rates"][start])


def test_shifting_the_whole_recording_by_whole_bins_changes_no_number(recording):
    shift = 7 * 0.02
    move = lambda s: Series(s.time + shift, s.values)  # noqa: E731
    table = dataclasses.replace(
        recording.trials, events={k: v + shift for k, v in recording.trials.events.items()}
    )
    shifted = dataclasses.replace(
        recording,
        spike_times=recording.spike_times + shift,
        observed=recording.observed + shift,
        position=move(recording.position),
        velocity=move(recording.velocity),
        trials=table,
    )
    a, b = make_trials(recording, recipe()).trials, make_trials(shifted, recipe()).trials
    assert np.array_equal(a["counts"], b["counts"])
    assert a["velocity"] == pytest.approx(b["velocity"], abs=1e-3)
    assert (a["split"] == b["split"]).all()


def test_dropped_trials_are_counted_by_reason(recording):
    success, valid = recording.trials.success.copy(), recording.trials.valid.copy()
    success[:3], valid[3] = False, False
    table = dataclasses.replace(recording.trials, success=success, valid=valid)
    made = make_trials(dataclasses.replace(recording, trials=table), recipe())
    assert made.dropped.trials["not_successful"] == 3
    assert made.dropped.trials["flagged_by_file"] == 1
    assert sum(made.dropped.trials.values()) + len(made.trials["trial"]) == 24


def test_trials_in_unobserved_time_are_dropped_and_nothing_is_silently_partial(reaches, recording):
    hole = reaches.onsets[5]
    observed = np.array([[reaches.time[0], hole], [hole + 0.011, reaches.time[-1]]])
    made = make_trials(dataclasses.replace(recording, observed=observed), recipe())
    assert made.dropped.trials["unobserved"] == 1
    assert 5 not in made.trials["trial"]
    assert np.isnan(made.continuous["rates"][~made.continuous["observed"]]).all()
    assert not np.isnan(made.trials["rates"]).any()


def test_slow_units_are_dropped_over_observed_time(recording):
    times = np.concatenate([recording.spike_times, [1.0]])
    index = np.append(recording.spike_index, len(times))
    units = dataclasses.replace(
        recording.units,
        ids=np.append(recording.units.ids, 999),
        area=np.append(recording.units.area, "M1"),
        heldout=np.append(recording.units.heldout, False),
    )
    made = make_trials(
        dataclasses.replace(recording, spike_times=times, spike_index=index, units=units), recipe()
    )
    assert 999 not in made.trials["unit"]
    assert made.dropped.units == {"below_min_rate": 1}


def test_reaches_are_found_without_a_trial_table(reaches, recording):
    made = make_trials(dataclasses.replace(recording, trials=None), recipe()).trials
    assert len(made["trial"]) >= 22
    nearest = np.abs(made["move_onset"][:, None] - reaches.onsets).min(axis=1)
    assert (nearest <= 0.02).mean() >= 0.95
    assert len(set(made["condition"])) > 3


def test_windows_of_two_trials_never_overlap(make_reaches, as_recording):
    made = make_trials(as_recording(make_reaches()), recipe(window_s=(-1.5, 2.0), align_to="go_cue"))
    start = np.sort(made.trials["start_bin"])
    assert (np.diff(start) >= 175 + 10).all()
    assert made.dropped.trials["overlaps_previous"] > 0


def test_a_column_of_onsets_is_taken_as_it_is(reaches, recording):
    table = dataclasses.replace(
        recording.trials, events={**recording.trials.events, "move_onset": reaches.onsets + 0.005}
    )
    made = make_trials(dataclasses.replace(recording, trials=table), recipe()).trials
    assert np.array_equal(made["move_onset"], (reaches.onsets + 0.005)[made["trial"]])
    assert set(made["onset_quality"]) == {"column"}


def test_velocity_is_derived_from_position_where_there_is_none(recording):
    native = make_trials(recording, recipe()).continuous["velocity"]
    derived = make_trials(dataclasses.replace(recording, velocity=None), recipe()).continuous["velocity"]
    assert np.nanmax(np.abs(native - derived)) < 0.05 * np.nanmax(np.abs(native))


def test_no_unit_left_is_an_error_with_a_remedy(recording):
    with pytest.raises(
        DataError, match=r"all 12 units fire below min_rate_hz = 500 Hz .* --set min_rate_hz=0"
    ):
        make_trials(recording, recipe(min_rate_hz=500.0))


def test_no_trial_left_is_an_error_that_counts_the_reasons(recording):
    with pytest.raises(DataError, match=r"none of 24 trials is valid \(too_short 24\)"):
        make_trials(recording, recipe(trials=TrialSelection(min_duration_s=5.0)))


def test_no_movement_without_a_table_is_an_error(recording):
    still = dataclasses.replace(
        recording, trials=None, velocity=Series(recording.velocity.time, recording.velocity.values * 0)
    )
    with pytest.raises(DataError, match="no movement above"):
        make_trials(still, recipe())


def test_positions_that_are_not_known_within_trials_are_said(recording):
    """The velocity is there, so the trials are: what of the position is missing stands in the notes."""
    whole = make_trials(recording, recipe())
    assert not any("is not known" in note for note in whole.notes)
    bins = whole.trials["start_bin"][3] + np.array([4, 5])
    position = recording.position.values.copy()
    left = whole.continuous["time"][bins]
    inside = (recording.position.time >= left[0] - 1e-9) & (recording.position.time < left[1] + 0.02)
    position[inside] = np.nan
    made = make_trials(
        dataclasses.replace(recording, position=Series(recording.position.time, position)), recipe()
    )
    missing = ~np.isfinite(made.trials["position"]).all(axis=2)
    (said,) = [note for note in made.notes if "is not known" in note]
    assert said.startswith(
        f"position is not known in {missing.sum()} of {missing.size} bins, in {missing.any(axis=1).sum()} of "
    )
    assert missing[3, 4]
    assert np.array_equal(made.trials["trial"], whole.trials["trial"])
