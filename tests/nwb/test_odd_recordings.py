"""Odd files of further kinds: tables elsewhere, clocks that jitter, names, units and speeds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from nwb.odd_files import (
    BEHAVIOUR,
    N_TRIALS,
    SERIES,
    SESSION,
    TEXT,
    TRIALS,
    attribute,
    changed,
    column,
    of_series,
    put,
    read,
    rename,
)

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.recording import Series

FROM = "trials are read from /"
RNG = np.random.default_rng(0)
EIGHT = {f"dir{degrees:03d}" for degrees in range(0, 360, 45)}


def moved_to(path):
    def change(h5):
        h5.require_group(str(Path(path).parent))
        h5.move(TRIALS, path)
        h5[path].attrs["neurodata_type"] = "TimeIntervals"

    return change


def only_in_reaches(h5):
    moved_to("intervals/reaches")(h5)
    empty = h5.create_group(TRIALS)
    empty.attrs["colnames"] = np.array(["start_time", "stop_time"], dtype=object)
    for name in ("id", "start_time", "stop_time"):
        empty[name] = np.zeros(0)


def several_tables(h5):
    moved_to("intervals/reaches")(h5)
    h5.copy("intervals/reaches", "intervals/catch_trials")


def ragged_places(h5):
    del h5[f"{TRIALS}/target_dir"]
    places = 8 * np.stack([np.cos(SESSION.angle), np.sin(SESSION.angle)], axis=1)
    h5[f"{TRIALS}/target_position"] = places.ravel()
    h5[f"{TRIALS}/target_position_index"] = 2 * np.arange(1, N_TRIALS + 1)


def places_one_off(h5):
    """Give each trial a condition by name and one place, but one trial the place of the next, too."""
    del h5[f"{TRIALS}/target_dir"]
    h5.create_dataset(
        f"{TRIALS}/condition_id", data=[f"to {angle:.2f}" for angle in SESSION.angle], dtype=TEXT
    )
    h5[f"{TRIALS}/target_position"] = 8 * np.stack([np.cos(SESSION.angle), np.sin(SESSION.angle)], axis=1)
    h5[f"{TRIALS}/target_position_index"] = np.arange(1, N_TRIALS + 1) + (np.arange(N_TRIALS) == 5)


def a_place_without_end(h5):
    del h5[f"{TRIALS}/target_dir"]
    places = 8 * np.stack([np.cos(SESSION.angle), np.sin(SESSION.angle)], axis=1)
    places[3, 0] = np.inf
    h5[f"{TRIALS}/target_position"] = places


def late_stamps(h5):
    # 1.6 of the usual step at most, as of a clock that other programs disturb
    stamps = SESSION.time + RNG.uniform(-0.003, 0.003, len(SESSION.time))
    for path in SERIES:
        put(h5, f"{path}/timestamps", stamps)


def raw_beside(h5):
    h5.copy(SERIES[0], f"{BEHAVIOUR}/a_raw_hand_pos")


READ = {
    "trials in another table of intervals": (moved_to("intervals/reaches"), f"{FROM}intervals/reaches"),
    "trials in a table with a capital": (moved_to("intervals/Trials"), f"{FROM}intervals/Trials"),
    "trials in a module": (moved_to(f"{BEHAVIOUR}/task"), f"{FROM}{BEHAVIOUR}/task"),
    "trials in another table beside an empty one": (only_in_reaches, f"{FROM}intervals/reaches"),
    "places as ragged pairs": (ragged_places, "target_position direction of the target"),
    "time stamps that jitter": (late_stamps, ""),
    "micrometres": (
        lambda h5: (of_series(lambda v: v * 1e4)(h5), attribute("unit", "um")(h5)), ""
    ),
    "a raw series beside the processed one": (raw_beside, f"position is read from /{SERIES[0]}"),
    "a time before the name": (rename("go_cue_time", "time_go_cue"), "a spelling of go_cue"),
    "an angle with its unit": (
        lambda h5: (column("target_dir", np.rad2deg)(h5), rename("target_dir", "target_angle_deg")(h5)),
        "target_angle_deg its name is a spelling of target_dir",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_all_trials_and_their_targets_are_read(name, tmp_path):
    change, said = READ[name]
    recording, trials = read(changed(tmp_path, change))
    told = [*recording.warnings, *(f"{c.value} {c.why}" for c in recording.choices)]
    assert trials.trials["counts"].shape[0] == N_TRIALS
    assert set(trials.trials["condition"].astype(str)) == EIGHT
    assert not said or any(said in text for text in told), told


def test_a_good_file_has_no_warnings(tmp_path):
    recording, trials = read(changed(tmp_path, lambda h5: None))
    assert [*recording.warnings, *trials.notes] == []


def only_rests(h5):
    moved_to("intervals/rests")(h5)
    for name in ("go_cue_time", "target_dir", "result"):
        del h5[f"intervals/rests/{name}"]


SAID = {
    "onsets at the peak of the speed": (
        lambda h5: h5.__setitem__(f"{TRIALS}/move_onset_time", SESSION.go + 0.25 + 0.22),
        "in full movement at or before 40",
    ),
    "directions of the trial before": (
        column("target_dir", lambda v: np.roll(v, 1)), "do not agree.*they lie more than 90° apart",
    ),
    "places of which one trial has two": (places_one_off, "target_position .* no directions are read"),
    "a place without end": (a_place_without_end, "inf in 1 trials is no place"),
    "mm stated as cm": (of_series(lambda v: v * 10), "peaks at .* cm/s in the median of 40 trials, faster"),
    "a table of intervals without cues": (
        only_rests, "not read as trials.*--set trials.table=intervals/rests",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_what_does_not_fit_is_said(name, tmp_path):
    change, said = SAID[name]
    recording, trials = read(changed(tmp_path, change))
    told = [*recording.warnings, *trials.notes]
    assert any(re.search(said, text) for text in told), told


def still_hand_beside_cursor(h5):
    h5.copy(SERIES[0], f"{BEHAVIOUR}/cursor_pos")
    of_series(lambda v: v * 0 + 1.3)(h5)


def speed_alone(h5):
    h5.move(SERIES[1], f"{BEHAVIOUR}/hand_speed")
    put(h5, f"{BEHAVIOUR}/hand_speed/data", np.linalg.norm(SESSION.velocity, axis=1))
    del h5[SERIES[0]]


def outcome_in_words(h5):
    words = ["success"] * 30 + ["left the hold"] * 10
    del h5[f"{TRIALS}/result"]
    h5.create_dataset(f"{TRIALS}/result", data=words, dtype=TEXT)


REFUSED = {
    "a constant in the velocity": (
        lambda h5: put(h5, f"{SERIES[1]}/data", SESSION.velocity + np.array([4.0, 0.0])),
        "has a constant added to it .4, 0 a second", "velocity_from=position",
    ),
    "a still hand beside a cursor": (
        still_hand_beside_cursor, "stands still", f"position_series={BEHAVIOUR}/cursor_pos",
    ),
    "several tables that may hold trials": (
        several_tables, "several tables that may hold them", "trials.table=intervals/catch_trials",
    ),
    "cues as samples of the kinematics": (
        column("go_cue_time", lambda v: np.round(v * 100)), r"They fit in samples of 100 Hz.*times 0\.01", "",
    ),
    "failures in words of a lab": (outcome_in_words, "left the hold", "columns.success_values=[success]"),
    "codes of a lab": (
        lambda h5: put(h5, f"{TRIALS}/result", np.repeat([150, 151], [30, 10])),
        "150, 151", "columns.success_values=[150]",
    ),
    "a rate ten times too high": (
        of_series(lambda v: v / 10, "timestamps"), "would take as long as the trials at about 1.* Hz", "",
    ),
    "a speed alone": (speed_alone, "hand_speed is by its name of a speed", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_names_a_setting_that_works(name, tmp_path):
    change, message, remedy = REFUSED[name]
    path = changed(tmp_path, change)
    with pytest.raises(DataError, match=message) as refusal:
        read(path)
    if remedy:
        assert remedy in str(refusal.value)
        _, trials = read(path, remedy)
        assert len(trials.trials["counts"]) >= 30


def test_a_table_is_named(tmp_path):
    path = changed(tmp_path, several_tables)
    recording, _ = read(path, "trials.table=intervals/catch_trials")
    assert ("trials", "/intervals/catch_trials") in [(c.what, c.value) for c in recording.choices]
    with pytest.raises(DataError, match=r"there is no table /intervals/none\. Tables .*intervals/reaches"):
        read(path, "trials.table=intervals/none")


def test_a_lost_sample_is_a_gap_and_a_late_one_is_none():
    even = np.arange(1000) * 0.01
    late = Series(even + RNG.uniform(-0.003, 0.003, 1000), np.zeros((1000, 1)))
    lost = Series(np.delete(even, [100, 500]), np.zeros((998, 1)))
    assert len(late.segments) == 1
    assert len(lost.segments) == 3
