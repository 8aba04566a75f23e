"""Trial tables as labs and tools write them: read as they are meant, or refused, with a word.

A row is what is done to the plain file, how many trials must come of it, and what must be said or chosen.
"""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
from nwb.odd_files import N_TRIALS, SESSION, TRIALS, both, changed, column, put, read, rename

from nwb_latents.pipeline.errors import DataError

GO, ANGLE = SESSION.go, SESSION.angle
EDGES = ("start_time", "stop_time", "go_cue_time")
MOST, FEW = 30, 10
EIGHT = {f"dir{degrees:03d}" for degrees in range(0, 360, 45)}


def added(name, values):
    """Return the change that adds a column."""

    def change(h5):
        put(h5, f"{TRIALS}/{name}", values)
        h5[TRIALS].attrs["colnames"] = np.array([n for n in h5[TRIALS] if n != "id"], dtype=object)

    return change


def without(*names):
    """Return the change that takes columns away."""

    def change(h5):
        for name in names:
            del h5[f"{TRIALS}/{name}"]
        h5[TRIALS].attrs["colnames"] = np.array([n for n in h5[TRIALS] if n != "id"], dtype=object)

    return change


def outcomes(good, bad):
    """Return the change of outcomes to two other words or numbers, 30 of the one and 10 of the other."""
    return column("result", lambda _: [good] * MOST + [bad] * FEW)


def all_edges(make):
    return both(*(column(name, make) for name in EDGES))


def raw_outcomes(values, **how):
    def change(h5):
        del h5[f"{TRIALS}/result"]
        h5.create_dataset(f"{TRIALS}/result", data=values, **how)

    return change


def each_row_twice(h5):
    for name in ("start_time", "stop_time", "go_cue_time", "target_dir"):
        put(h5, f"{TRIALS}/{name}", np.repeat(h5[f"{TRIALS}/{name}"][()], 2))
    put(h5, f"{TRIALS}/result", ["R"] * 2 * N_TRIALS)
    put(h5, f"{TRIALS}/id", np.arange(2 * N_TRIALS))


def index_of(name, ends, *, times=1):
    return lambda h: h.__setitem__(f"{name}{'_index' * times}", ends)


WIDE = np.array([(w + "\0").encode("utf-16-le") for w in ["correct"] * MOST + ["wrong"] * FEW], "S32")
PLACES = 8 * np.stack([np.cos(ANGLE), np.sin(ANGLE)], 1)
FAILED = np.r_[np.zeros(MOST, bool), np.ones(FEW, bool)]


def lists_of_ids(h5):
    del h5[f"{TRIALS}/id"]
    made = h5.create_dataset(f"{TRIALS}/id", (N_TRIALS,), dtype=h5py.vlen_dtype(np.int64))
    for row in range(N_TRIALS):
        made[row] = np.arange(row % 3)


READ = {
    # Two columns of one role.
    "two go cues that differ": (
        added("goCueTime", GO + 0.5),
        N_TRIALS,
        r"goCueTime tells another go_cue than .*go_cue_time in 40 of 40 trials.*columns.go_cue=goCueTime",
    ),
    "two go cues that agree": (added("goCueTime", GO), N_TRIALS, "before /intervals/trials/goCueTime"),
    "a go cue without times beside one with": (
        both(added("goCueTime", GO), column("go_cue_time", lambda v: v * np.nan)),
        N_TRIALS,
        r"go_cue_time \(go_cue\) holds no times",
    ),
    "two columns of success that disagree": (
        added("correct", np.arange(N_TRIALS) < 20),
        N_TRIALS,
        "correct disagrees with .*result on whether 20 of 40 trials succeeded.*columns.success=correct",
    ),
    "two directions that disagree": (
        added("reach_angle", ANGLE + 1),
        N_TRIALS,
        "reach_angle tells another direction than .*target_dir in 40 of 40.*columns.target_dir=reach_angle",
    ),
    "two directions that agree": (
        added("reach_angle", ANGLE),
        N_TRIALS,
        "before /intervals/trials/reach_angle",
    ),
    # Ragged columns and their index.
    "a doubly ragged go cue of one each": (
        both(
            index_of(f"{TRIALS}/go_cue_time", np.arange(1, N_TRIALS + 1)),
            index_of(f"{TRIALS}/go_cue_time", np.arange(1, N_TRIALS + 1), times=2),
        ),
        N_TRIALS,
        "go_cue_time is doubly ragged",
    ),
    "doubly ragged spikes of one list each": (
        index_of("units/spike_times", np.arange(1, 7), times=2),
        N_TRIALS,
        "spike_times is doubly ragged",
    ),
    "a ragged go cue, some trials without": (
        both(
            column("go_cue_time", lambda v: v[:MOST]),
            index_of(f"{TRIALS}/go_cue_time", np.minimum(np.arange(1, N_TRIALS + 1), MOST)),
        ),
        N_TRIALS,
        r"go_cue_time \(go_cue\): 10 of 40 trials have no entry",
    ),
    "a go cue as (n, 1, 1)": (column("go_cue_time", lambda v: v[:, None, None]), N_TRIALS, ""),
    "ids that are NaN": (column("id", lambda v: v * np.nan), N_TRIALS, "40 of 40 ids are NaN"),
    "ids that are ragged": (
        lists_of_ids,
        N_TRIALS,
        "the ids are no numbers or words; trials are known by their rows",
    ),
    "ids that repeat": (column("id", lambda v: v // 2), N_TRIALS, "20 of 40 ids repeat"),
    # Times.
    "a go cue that is the start": (
        column("go_cue_time", lambda v: v - 0.6),
        N_TRIALS,
        "is the start of the trial in all 40 trials",
    ),
    "a go cue in whole seconds": (column("go_cue_time", lambda v: v.astype(int)), None, "in steps of 1 s"),
    "a go cue as uint8": (column("go_cue_time", lambda v: v.astype("u1")), None, "in steps of 1 s"),
    "a go cue as float16": (column("go_cue_time", lambda v: v.astype("f2")), None, "in steps of 0.0625 s"),
    "some go cues infinite": (
        column("go_cue_time", lambda v: np.where(np.arange(N_TRIALS) < 5, np.inf, v)),
        N_TRIALS,
        "5 of 40 times are infinite",
    ),
    "onsets that are all NaN": (added("movement_onset_time", GO * np.nan), N_TRIALS, "holds no times"),
    "each row twice": (each_row_twice, N_TRIALS, "40 of 80 rows repeat an earlier one"),
    "trials that overlap": (
        column("stop_time", lambda v: v + 2),
        N_TRIALS,
        "39 of 40 trials begin before the one before them",
    ),
    # Outcomes.
    **{
        f"{good} and {bad}": (outcomes(good, bad), MOST, f"{re.escape(good)} \\(30\\)")
        for good, bad in (
            ("pass", "fail"),
            ("OK", "NOK"),
            ("Success!", "Fail!"),
            ("1.0", "0.0"),
            ("✓", "✗"),
            ("1", "-1"),
        )
    },
    "1 and -1": (
        column("result", lambda _: np.r_[np.ones(MOST), -np.ones(FEW)]),
        MOST,
        r"1 \(30\), -1 \(10\)",
    ),
    "outcomes in UTF-16": (raw_outcomes(WIDE), MOST, r"correct \(30\), wrong \(10\)"),
    "a column of errors": (
        both(without("result"), added("is_error", FAILED)),
        MOST,
        "its name says which trials failed",
    ),
    "a column of aborted trials as 0 and 1": (
        both(without("result"), added("aborted", FAILED.astype(int))),
        MOST,
        "its name says what failed",
    ),
    "a column of errors beside outcomes": (
        added("is_error", FAILED),
        N_TRIALS,
        "is_error disagrees with .*result on whether 10 of 40",
    ),
    "an error that is a distance": (added("error", np.linspace(0.1, 3, N_TRIALS)), N_TRIALS, ""),
    "outcomes that are all empty": (column("result", lambda _: [""] * N_TRIALS), N_TRIALS, "holds no value"),
    "outcomes that are all NaN": (
        column("result", lambda _: np.full(N_TRIALS, np.nan)),
        N_TRIALS,
        "holds no value in any trial",
    ),
    # Targets.
    "tgt_angle": (rename("target_dir", "tgt_angle"), N_TRIALS, "a spelling of target_dir"),
    "directions as unit vectors": (column("target_dir", lambda v: PLACES / 8), N_TRIALS, "unit vectors"),
    "directions as truth values": (
        column("target_dir", lambda v: v > 3),
        N_TRIALS,
        "holds truth values; it is not",
    ),
    "directions as degrees in text": (
        column("target_dir", lambda v: [f"{np.degrees(x):.0f} deg" for x in v]),
        N_TRIALS,
        "angles as text",
    ),
    "directions as numbers in text": (
        column("target_dir", lambda v: [f"{np.degrees(x):.0f}" for x in v]),
        N_TRIALS,
        "taken as degrees",
    ),
    "directions that are infinite": (
        column("target_dir", lambda v: v + np.inf),
        N_TRIALS,
        "numbers up to inf, which are no angles",
    ),
    "directions of 1e9": (
        column("target_dir", lambda v: v + 1e9),
        N_TRIALS,
        r"up to 1e\+09, which are no angles",
    ),
    "radians beyond a full turn": (
        column("target_dir", lambda v: v + 2 * np.pi),
        N_TRIALS,
        "taken as radians beyond a full turn",
    ),
    "some directions missing": (
        column("target_dir", lambda v: np.where(np.arange(N_TRIALS) < 10, np.nan, v)),
        N_TRIALS,
        "10 of 40 trials have no direction",
    ),
    "a place of one number": (
        both(without("target_dir"), added("target_pos", PLACES[:, 0])),
        N_TRIALS,
        "holds 1 number a trial",
    ),
    "places as text": (
        both(without("target_dir"), added("target_pos", [f"({x:.3f}, {y:.3f})" for x, y in PLACES])),
        N_TRIALS,
        "holds places as text",
    ),
    "places as words": (
        both(without("target_dir"), added("target_pos", ["corner"] * N_TRIALS)),
        N_TRIALS,
        "holds text such as",
    ),
    "places that are all NaN": (
        both(without("target_dir"), added("target_pos", PLACES * np.nan)),
        N_TRIALS,
        "holds no place in any trial",
    ),
    "some places missing": (
        both(
            without("target_dir"),
            added("target_pos", np.where((np.arange(N_TRIALS) < 10)[:, None], np.nan, PLACES)),
        ),
        N_TRIALS,
        "target_pos: 10 of 40 trials have no direction",
    ),
    # Trials beside movements.
    "stored onsets before the go cue": (
        added("movement_onset_time", GO - 0.3),
        N_TRIALS,
        "40 of 40 stored onsets lie before the go cue",
    ),
    "stored onsets where the hand stands still": (
        added("movement_onset_time", GO - 0.3),
        N_TRIALS,
        "do not fit the speed: of 40, the hand stands still for 0.5 s after 40",
    ),
    "stored onsets after the movement": (
        added("movement_onset_time", GO + 1.2),
        N_TRIALS,
        "in full movement at or before 40; use --set onset.method=profile",
    ),
    "directions on a screen whose y axis points down": (
        column("target_dir", lambda v: -v),
        N_TRIALS,
        "with the y axis flipped",
    ),
    "directions clockwise from north": (
        column("target_dir", lambda v: np.pi / 2 - v),
        N_TRIALS,
        "counted clockwise from north",
    ),
    "one direction for movements in all": (
        column("target_dir", lambda v: v * 0),
        N_TRIALS,
        "all 40 trials have a target in the same direction, and their movements go in all",
    ),
    "directions that oppose the movements": (
        column("target_dir", lambda v: np.mod(v + np.pi, 2 * np.pi)),
        N_TRIALS,
        "turned by half a turn",
    ),
    "directions as many as trials": (
        column("target_dir", lambda v: v + np.linspace(0, 0.7, N_TRIALS)),
        N_TRIALS,
        "octants of the target directions 40 directions in 40 trials.*columns.tolerance_deg",
    ),
    "columns that look as if they said something": (
        both(added("imperative", GO), added("is_good", np.ones(N_TRIALS, bool)), added("blacklist", GO * 0)),
        N_TRIALS,
        "imperative, is_good, blacklist not read|blacklist, imperative, is_good not read",
    ),
    "targets in words nobody knows": (
        both(
            lambda h: h.__delitem__(f"{TRIALS}/target_dir"),
            added("target", ["up-left", "far"] * (N_TRIALS // 2)),
        ),
        N_TRIALS,
        "was read from target; columns.condition=target names conditions",
    ),
    "cues in a table of their own": (
        lambda h: (
            h.create_dataset("intervals/events/start_time", data=GO),
            h["intervals/events"].attrs.__setitem__("colnames", ["start_time", "event"]),
        ),
        N_TRIALS,
        f"/intervals/events \\({N_TRIALS} rows\\) not read",
    ),
    "a delay beside the go cue": (added("delay_ms", GO * 0 + 300), N_TRIALS, "delay_ms not read"),
    "a go cue called an imperative signal": (
        lambda h: h.move(f"{TRIALS}/go_cue_time", f"{TRIALS}/imperative_signal_time"),
        N_TRIALS,
        "imperative_signal_time its name is a spelling of go_cue",
    ),
    "a number of its own for each trial": (
        added("condition_id", np.arange(N_TRIALS)),
        N_TRIALS,
        "not taken as conditions",
    ),
}

REFUSED = {
    "trials in ms": (all_edges(lambda v: v * 1e3), "fit as ms. Write start_time.*times 0.001"),
    "trials in samples": (all_edges(lambda v: np.round(v * 3e4)), "fit as samples of 30 kHz"),
    "trials on another clock": (
        all_edges(lambda v: v + 1e4),
        "share no time, and so no clock.*differ by a constant",
    ),
    "trials half a minute late": (
        all_edges(lambda v: v + 30),
        "8 of 40 trials lie outside the kinematics.*subtract about 30 s",
    ),
    "doubly ragged spikes of several lists": (
        both(
            lambda h: put(
                h,
                "units/spike_times_index",
                np.sort(np.r_[h["units/spike_times_index"][()], h["units/spike_times_index"][()] - 5]),
            ),
            index_of("units/spike_times", 2 * np.arange(1, 7), times=2),
        ),
        "/units/spike_times is doubly ragged .* up to 2 lists",
    ),
    "an index in fractions": (
        lambda h: put(h, "units/spike_times_index", h["units/spike_times_index"][()] + 0.4),
        "spike_times_index is no index: it holds 1935.4 at row 0",
    ),
    "an index that is NaN": (
        lambda h: put(h, "units/spike_times_index", h["units/spike_times_index"][()] * np.nan),
        "it holds nan at row 0",
    ),
    "an index that has wrapped": (
        lambda h: put(
            h, "units/spike_times_index", h["units/spike_times_index"][()].astype("u8") + np.uint64(2**63)
        ),
        "spike_times_index is no index",
    ),
    "outcomes as references": (
        lambda h: raw_outcomes([h["units"].ref] * N_TRIALS, dtype=h5py.ref_dtype)(h),
        "result holds a reference",
    ),
    "outcomes in German": (
        outcomes("Richtig", "Falsch"),
        r"Richtig \(30\), Falsch \(10\); it is not known what Ri",
    ),
    "one outcome of unknown meaning": (outcomes("R", "zz"), "it is not known what zz means"),
    "a go cue that is the stop": (
        column("go_cue_time", lambda v: v + 2),
        "is the stop of the trial in all 40",
    ),
    "starts that are all NaN": (
        column("start_time", lambda v: v * np.nan),
        "start_time .* holds no finite time",
    ),
    "stops that are infinite": (
        column("stop_time", lambda v: v * np.inf),
        "stop_time .* holds no finite time",
    ),
    "stops that are durations": (
        column("stop_time", lambda v: v * 0 + 2.6),
        r"fits as the duration.*columns.relative=\[stop_time\]",
    ),
    "stops before starts": (column("stop_time", lambda v: GO - 1.6), "fit the other way round"),
    "stops that are the starts": (column("stop_time", lambda v: GO - 0.6), "they last 0 s"),
    "starts in samples": (
        column("start_time", lambda v: v * 100),
        "as samples of 100 Hz.*start_time times 0.01",
    ),
    "stops in ms": (column("stop_time", lambda v: v * 1e3), "stop_time .* fits as ms.*stop_time times 0.001"),
    "trials that are all one": (
        both(column("start_time", lambda v: v * 0 + 1), column("stop_time", lambda v: v * 0 + 129)),
        "start_time is 1 s in all 40 trials",
    ),
    "a go cue that leads nowhere": (
        lambda h: (
            h.__delitem__(f"{TRIALS}/go_cue_time"),
            h.__setitem__(f"{TRIALS}/go_cue_time", h5py.SoftLink("/nowhere")),
        ),
        "go_cue_time is a link to /nowhere, and there is nothing",
    ),
    "onsets that are reaction times": (
        added("movement_onset_time", GO * 0 + 0.3),
        "They count from the go cue",
    ),
    "onsets on another clock": (added("movement_onset_time", GO + 500), "the clocks are not the same"),
}


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_is_read_and_said(name, tmp_path):
    change, n_trials, said = READ[name]
    recording, trials = read(changed(tmp_path, change))
    if n_trials is not None:
        assert trials.trials["counts"].shape[0] == n_trials
    told = [*recording.warnings, *trials.notes, *(f"{c.value} {c.why}" for c in recording.choices)]
    assert not said or any(re.search(said, text) for text in told), told
    if "target" not in name and "dir" not in name and not name.startswith(("place", "some", "a number")):
        assert set(trials.trials["condition"].tolist()) <= EIGHT


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_what_was_found(name, tmp_path):
    change, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as caught:
        read(changed(tmp_path, change))
    assert str(caught.value).startswith("odd.nwb: ")
    assert "\n" not in str(caught.value)


def test_the_other_of_two_columns_can_be_taken(tmp_path):
    path = changed(tmp_path, both(added("goCueTime", GO + 0.1), added("is_error", FAILED)))
    _, trials = read(path, "columns.go_cue=goCueTime", "columns.success=is_error")
    assert trials.trials["counts"].shape[0] == MOST
    np.testing.assert_allclose(trials.trials["go_cue"], GO[:MOST] + 0.1)


def test_stops_that_are_durations_are_read_where_that_is_said(tmp_path):
    path = changed(tmp_path, column("stop_time", lambda v: v * 0 + 2.6))
    _, trials = read(path, "columns.relative=[stop_time]")
    assert trials.trials["counts"].shape[0] == N_TRIALS


@pytest.mark.parametrize(
    ("words", "conditions"),
    [
        (["N", "S", "E", "W"], {"N", "S", "E", "W"}),
        (["Left", "RIGHT ", "right", "left"], {"left", "right"}),
        (["upper left", "down-right", "UP", "south"], {"upper left", "down-right", "UP", "south"}),
    ],
)
def test_words_are_directions_whatever_their_case(words, conditions, tmp_path):
    _, trials = read(changed(tmp_path, column("target_dir", lambda v: words * 10)))
    assert set(trials.trials["condition"].tolist()) == conditions
    assert np.isfinite(trials.trials["target_dir"]).all()
