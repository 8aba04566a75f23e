"""Files as labs and tools write them, odd in one way each: read as they are meant, or refused, with a word.

A row is what is done to a plain file, what must come of it, and what must be said. ``AS_PLAIN`` is the same
trials, units and counts as of the plain file.
"""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
from nwb.odd_files import (
    LENGTH_S,
    N_TRIALS,
    N_UNITS,
    SERIES,
    SESSION,
    TRIALS,
    attribute,
    both,
    changed,
    column,
    invalid,
    linked,
    no_kinematics_but,
    observed,
    of_series,
    one_axis_in_degrees,
    only_edges,
    outside,
    put,
    read,
    rename,
    spikes,
    write_plain,
    x_and_y_apart,
)

from nwb_latents.pipeline.errors import DataError

AS_PLAIN = (N_TRIALS, N_UNITS)
ON_X = (30, N_UNITS)  # a quarter of the reaches go along y alone
HALF = ["correct"] * 30 + ["incorrect"] * 10
EVERYWHERE = np.array([0.0, LENGTH_S])
ALL = {
    # What the trial table says, however it is written.
    "columns stored as (n, 1)": (
        both(*(column(c, lambda v: v[:, None]) for c in ("start_time", "go_cue_time"))),
        AS_PLAIN,
        "",
    ),
    "columns stored as (1, n)": (column("go_cue_time", lambda v: v[None]), AS_PLAIN, ""),
    "no ids": (lambda h: h.__delitem__(f"{TRIALS}/id"), AS_PLAIN, "has no ids"),
    "go cue not in colnames": (
        lambda h: h[TRIALS].attrs.__setitem__("colnames", np.array(["start_time"], dtype=object)),
        AS_PLAIN,
        "not listed in colnames",
    ),
    "colnames as one word": (lambda h: h["units"].attrs.__setitem__("colnames", "spike_times"), AS_PLAIN, ""),
    "go_time": (rename("go_cue_time", "go_time"), AS_PLAIN, ""),
    "GoCue": (rename("go_cue_time", "GoCue"), AS_PLAIN, ""),
    "go_cue_time_array of one each": (rename("go_cue_time", "go_cue_time_array"), AS_PLAIN, ""),
    "trials out of order": (
        both(
            *(column(c, lambda v: v[::-1]) for c in ("start_time", "stop_time", "go_cue_time", "target_dir"))
        ),
        AS_PLAIN,
        "",
    ),
    "nothing but starts and stops": (only_edges, AS_PLAIN, "neither a go cue nor a movement onset"),
    "a table without rows": (
        lambda h: [put(h, f"{TRIALS}/{n}", h[f"{TRIALS}/{n}"][:0]) for n in list(h[TRIALS])],
        None,
        "has no rows: reaches are found",
    ),
    "some starts are NaN": (
        column("start_time", lambda v: np.where(np.arange(len(v)) % 4 == 0, np.nan, v)),
        (30, N_UNITS),
        "",
    ),
    "a few go cues outside their trial": (
        column("go_cue_time", lambda v: np.where(np.arange(len(v)) < 3, v + 50, v)),
        None,
        "3 of 40 times lie outside their trial",
    ),
    # Success and conditions in the file's words.
    "correct and incorrect": (column("result", lambda v: HALF), (30, N_UNITS), ""),
    "ASCII codes": (column("result", lambda v: np.r_[np.full(30, 82), np.full(10, 70)]), (30, N_UNITS), ""),
    "truth as text": (
        both(column("result", lambda v: ["True"] * 30 + ["False"] * 10), rename("result", "success")),
        (30, N_UNITS),
        "",
    ),
    "no success column": (lambda h: h.__delitem__(f"{TRIALS}/result"), AS_PLAIN, "all are kept"),
    "directions as words": (column("target_dir", lambda v: ["left", "right"] * 20), AS_PLAIN, ""),
    "numbers of targets": (
        column("target_dir", lambda v: np.tile(np.arange(1, 9), 5)),
        AS_PLAIN,
        "numbers of targets",
    ),
    # Units and their spikes.
    "spike times as (n, 1)": (
        lambda h: [
            put(h, f"units/{n}", h[f"units/{n}"][()][:, None]) for n in ("spike_times", "spike_times_index")
        ],
        AS_PLAIN,
        "",
    ),
    "units in a processing module": (
        lambda h: (h.create_group("processing/ecephys"), h.move("units", "processing/ecephys/units")),
        AS_PLAIN,
        "there is no /units",
    ),
    "one unit without an index": (
        both(spikes(lambda s: s[:1]), lambda h: h.__delitem__("units/spike_times_index")),
        (N_TRIALS, 1),
        "the only unit",
    ),
    "a unit that never fires": (spikes(lambda s: [*s[:2], np.zeros(0), *s[3:]]), (N_TRIALS, 5), ""),
    "ids that repeat": (lambda h: put(h, "units/id", np.zeros(N_UNITS, int)), AS_PLAIN, "ids repeat"),
    "a stray spike at 1e6 s": (
        spikes(lambda s: [np.r_[s[0], 1e6], *s[1:]]),
        AS_PLAIN,
        "1 spikes from 1e\\+06",
    ),
    "observed to infinity": (observed([np.array([0, np.inf])] * N_UNITS), AS_PLAIN, "reach to infinity"),
    "overlapping observed intervals": (
        observed([np.array([[0, 80], [60, LENGTH_S]])] * N_UNITS),
        AS_PLAIN,
        "",
    ),
    "a unit that was never observed": (
        observed([EVERYWHERE] * 5 + [np.zeros((0, 2))]),
        (N_TRIALS, 5),
        "1 of 6 units were never observed",
    ),
    "a NaN interval": (
        observed([np.array([[0, LENGTH_S], [np.nan, 3]])] * N_UNITS),
        AS_PLAIN,
        "intervals with NaN",
    ),
    "invalid times": (invalid(50.0, 80.0), None, "30.0 s of the recording, count as not observed"),
    "electrodes that do not exist": (
        lambda h: (
            h.__setitem__("general/extracellular_ephys/electrodes/id", [0]),
            h.__setitem__("general/extracellular_ephys/electrodes/location", np.array(["M1"], dtype=object)),
            h.__setitem__("units/electrodes", np.arange(N_UNITS) + 5),
            h.__setitem__("units/electrodes_index", np.arange(N_UNITS) + 1),
        ),
        AS_PLAIN,
        "name rows that",
    ),
    # Kinematics.
    "axes as rows": (of_series(np.transpose), AS_PLAIN, "read transposed"),
    "time stamps as (n, 1)": (of_series(lambda v: v[:, None], "timestamps"), AS_PLAIN, ""),
    "attributes as arrays of one": (attribute("conversion", np.array([1.0])), AS_PLAIN, ""),
    "conversion 0": (attribute("conversion", 0.0), AS_PLAIN, "conversion is 0"),
    "time stamps and a starting time": (
        lambda h: [
            h.create_dataset(f"{p}/starting_time", data=99.0).attrs.__setitem__("rate", 50.0) for p in SERIES
        ],
        AS_PLAIN,
        "the timestamps are used",
    ),
    "records of x and y": (
        of_series(lambda v: np.rec.fromarrays(v.T, names="x,y")),
        AS_PLAIN,
        "records of x, y",
    ),
    "x and y as two series": (x_and_y_apart, AS_PLAIN, ""),
    "pixels": (
        both(of_series(lambda v: 20 * v), attribute("unit", "pixels")),
        AS_PLAIN,
        "values stay pixels",
    ),
    "an elbow in degrees": (one_axis_in_degrees, ON_X, "values stay degrees"),
    "velocity in cm/s stated as m/s": (
        lambda h: h[f"{SERIES[1]}/data"].attrs.__setitem__("unit", "m/s"),
        AS_PLAIN,
        "cm/s stated as m/s",
    ),
    "a sample of 1e39": (
        lambda h: h[f"{SERIES[0]}/data"].__setitem__((3, 0), 1e39),
        AS_PLAIN,
        "1 samples cannot be of a hand",
    ),
    "an infinite sample": (
        lambda h: h[f"{SERIES[1]}/data"].__setitem__((3, 0), np.inf),
        AS_PLAIN,
        "1 samples cannot be of a hand",
    ),
    "linked within the file": (
        lambda h: (
            h.move(SERIES[0], "acquisition/hand_pos"),
            h.__setitem__(SERIES[0], h5py.SoftLink("/acquisition/hand_pos")),
        ),
        AS_PLAIN,
        "",
    ),
    "linked to another file": (outside("kinematics", is_there=True), AS_PLAIN, ""),
    "a type of an extension": (
        lambda h: [h[p].attrs.__setitem__("neurodata_type", "PoseEstimationSeries") for p in SERIES],
        AS_PLAIN,
        "",
    ),
    "Latin-1 in the description": (
        lambda h: put(h, "session_description", np.bytes_("25 µm café".encode("latin-1"))),
        AS_PLAIN,
        "",
    ),
}

ENUM = h5py.enum_dtype({"REWARD": 0, "ABORT": 1}, basetype="i1")
ALL |= {
    "an offset that is no number": (attribute("offset", "x"), AS_PLAIN, "'x', which is no number"),
    "an offset that is yes": (attribute("offset", np.True_), AS_PLAIN, "which is no number"),
    "a unit in two words": (
        attribute("unit", np.array(["cm", "mm"], dtype=object)),
        AS_PLAIN,
        "'cm', 'mm', which is no word",
    ),
    "a unit for each column": (
        attribute("unit", np.array(["cm", "cm"], dtype=object)),
        AS_PLAIN,
        "given 2 times, each 'cm'",
    ),
    "an enumeration of outcomes": (
        lambda h: (
            h.__delitem__(f"{TRIALS}/result"),
            h.create_dataset(
                f"{TRIALS}/result", data=np.r_[np.zeros(30, "i1"), np.ones(10, "i1")], dtype=ENUM
            ),
        ),
        (30, N_UNITS),
        "",
    ),
    "go cues that are all missing": (
        column("go_cue_time", lambda v: np.full(len(v), np.nan)),
        None,
        "holds no times",
    ),
    "an interval that ends before it begins": (
        observed([np.array([[0, LENGTH_S], [9, 3]])] * N_UNITS),
        AS_PLAIN,
        "end before they begin",
    ),
    "invalid times that end before they begin": (
        invalid(80.0, 50.0),
        AS_PLAIN,
        "do not begin before they end",
    ),
}

REFUSED = {
    "several go cues a trial": (
        lambda h: (
            put(h, f"{TRIALS}/go_cue_time", np.repeat(SESSION.go, 2)),
            h.__setitem__(f"{TRIALS}/go_cue_time_index", 2 * np.arange(1, N_TRIALS + 1)),
        ),
        "/intervals/trials/go_cue_time .* 2 times a trial.*columns.go_cue",
    ),
    "a go cue as text": (
        column("go_cue_time", lambda v: [f"{x:.4f}" for x in v]),
        "go_cue_time .* holds text such as",
    ),
    "a go cue since the start": (
        column("go_cue_time", lambda v: np.full(len(v), 0.6)),
        "columns.relative=\\[go_cue_time\\]",
    ),
    "a go cue in ms": (column("go_cue_time", lambda v: 1e3 * v), "fit in ms"),
    "a column five rows short": (
        column("go_cue_time", lambda v: v[:-5]),
        "/intervals/trials/go_cue_time has 35 rows, its table 40",
    ),
    "no starts": (lambda h: h.__delitem__(f"{TRIALS}/start_time"), "no column start_time"),
    "an unknown code of success": (
        column("result", lambda v: np.r_[np.full(30, 1), np.full(10, 2)]),
        "holds 1 \\(30\\), 2 \\(10\\).*columns.success_values",
    ),
    "an unknown word of success": (
        column("result", lambda v: ["yay"] * 30 + ["meh"] * 10),
        "yay \\(30\\), meh \\(10\\)",
    ),
    "an index that ends early": (
        lambda h: put(h, "units/spike_times_index", h["units/spike_times_index"][()] - 7),
        "7 belong to no row",
    ),
    "an index of starts": (
        lambda h: put(h, "units/spike_times_index", np.r_[0, h["units/spike_times_index"][:-1]]),
        "starts of rows in place of their ends",
    ),
    "an index one too long": (
        lambda h: put(h, "units/spike_times_index", np.r_[0, h["units/spike_times_index"][()]]),
        "has 7 entries and begins with 0",
    ),
    "an index that descends": (
        lambda h: put(h, "units/spike_times_index", h["units/spike_times_index"][()][::-1]),
        "descends from",
    ),
    "no index": (
        lambda h: h.__delitem__("units/spike_times_index"),
        "which spike is whose is not said|rows, its table",
    ),
    "ids as words": (
        lambda h: put(h, "units/id", [f"unit{i}" for i in range(N_UNITS)]),
        "/units/id holds unit0",
    ),
    "held-out units as words": (
        lambda h: put(h, "units/heldout", ["maybe"] * N_UNITS),
        "expected true or false",
    ),
    "spike times in samples": (
        spikes(lambda s: [np.round(30000 * each) for each in s]),
        "samples of 30 kHz.*times 3.33",
    ),
    "spike times in ms": (spikes(lambda s: [1e3 * each for each in s]), "fit as ms.*times 0.001"),
    "units recorded in turn": (
        observed([np.array([0, 60.0])] * 3 + [np.array([60.0, LENGTH_S])] * 3),
        "recorded in turn.*3 units from 0 to 60 s; 3 units from 60",
    ),
    "a dangling link": (linked("/nowhere"), "/units/spike_times is a link to /nowhere"),
    "a link to a file that is gone": (
        outside("gone", is_there=False),
        "a link to /hand_pos in the file gone.h5",
    ),
    "eyes alone": (
        no_kinematics_but("EyeTracking/SpatialSeries", "SpatialSeries"),
        "no position or velocity series of a hand",
    ),
    "pupils alone": (
        no_kinematics_but("pupil_pos", "SpatialSeries"),
        "no position or velocity series of a hand",
    ),
    "a starting time of NaN": (
        lambda h: [
            (
                h.__delitem__(f"{p}/timestamps"),
                h.create_dataset(f"{p}/starting_time", data=np.nan).attrs.__setitem__("rate", 100.0),
            )
            for p in SERIES
        ],
        "starting_time is nan",
    ),
    "velocity three times the derivative": (
        lambda h: put(h, f"{SERIES[1]}/data", 3 * h[f"{SERIES[1]}/data"][()]),
        "which no unit explains",
    ),
    "NWB 1": (
        lambda h: (h.attrs.__delitem__("nwb_version"), h.__setitem__("nwb_version", "NWB-1.0.6")),
        "NWB-1.0.6",
    ),
}


REFUSED |= {
    "a rate that is no number": (
        lambda h: [
            (
                h.__delitem__(f"{p}/timestamps"),
                h.create_dataset(f"{p}/starting_time", data=0.0).attrs.__setitem__("rate", "fast"),
            )
            for p in SERIES
        ],
        "no positive rate",
    ),
    "ids without rows": (lambda h: put(h, f"{TRIALS}/id", np.zeros(0, int)), "/intervals/trials/id is empty"),
    "a table that is an array": (
        lambda h: (h.__delitem__(TRIALS), h.__setitem__(TRIALS, np.arange(3))),
        "/intervals/trials is an array",
    ),
    "spike times in pairs": (
        lambda h: put(h, "units/spike_times", np.column_stack([h["units/spike_times"][()]] * 2)),
        "expected one time a spike",
    ),
    "spike times in minutes": (spikes(lambda s: [each / 60 for each in s]), "fit as minutes"),
    "observed intervals in samples": (
        observed([np.array([0, 30000 * LENGTH_S])] * N_UNITS),
        "they fit as samples of 30 kHz",
    ),
    "no interval at all": (
        observed([np.array([[9.0, 3.0]])] * N_UNITS),
        "no interval that begins before it ends",
    ),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Return the spikes in all trials of the plain file."""
    return _counts(read(write_plain(tmp_path_factory.mktemp("plain") / "plain.nwb"))[1])


def _counts(trials) -> int:
    return int(trials.trials["counts"].sum())


@pytest.mark.parametrize("name", ALL)
def test_what_can_be_read_is_read_and_said(name, tmp_path, plain):
    change, expected, said = ALL[name]
    recording, trials = read(changed(tmp_path, change))
    if expected is not None:
        n_trials, _, n_units = trials.trials["counts"].shape
        assert (n_trials, n_units) == expected
        if expected == AS_PLAIN:
            assert _counts(trials) == plain
    if said:
        assert any(re.search(said, text) for text in (*recording.warnings, *trials.notes)), recording.warnings


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_what_was_found(name, tmp_path):
    change, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as caught:
        read(changed(tmp_path, change))
    assert str(caught.value).startswith("odd.nwb: ")
    assert "\n" not in str(caught.value)


def test_choices_are_noted_with_their_reason(tmp_path):
    recording, _ = read(changed(tmp_path, rename("go_cue_time", "go_time")))
    chosen = {choice.what: (choice.value, choice.why) for choice in recording.choices}
    assert chosen["go_cue"] == ("/intervals/trials/go_time", "its name is a spelling of go_cue")
    assert chosen["layout"][0] == "generic"
    assert chosen["success values"][0] == "R"
    assert chosen["position"][0] == "/processing/behavior/hand_pos"


def test_columns_can_be_named(tmp_path):
    path = changed(
        tmp_path,
        both(
            rename("go_cue_time", "light"), rename("result", "verdict"),
            column("verdict", lambda v: ["yay"] * 30 + ["meh"] * 10),
        ),
    )  # fmt: skip
    _, trials = read(path, "columns.go_cue=light", "columns.success=verdict", "columns.success_values=[yay]")
    assert trials.trials["counts"].shape[0] == 30
    with pytest.raises(
        DataError, match=r"columns.go_cue: /intervals/trials has no column 'lihgt'. Did you mean light"
    ):
        read(path, "columns.go_cue=lihgt")


def test_a_stored_onset_is_used_and_one_that_is_asked_for_must_be_there(tmp_path):
    with h5py.File(path := write_plain(tmp_path / "odd.nwb"), "r+") as h5:
        h5[f"{TRIALS}/movement_onset_time"] = SESSION.go + 0.31
    _recording, trials = read(path)
    assert trials.trials["onset_quality"].tolist() == ["column"] * N_TRIALS
    np.testing.assert_allclose(trials.trials["move_onset"] - trials.trials["go_cue"], 0.31)
    with pytest.raises(DataError, match=r"onset.method is column, but the trial table has no column"):
        read(write_plain(tmp_path / "plain.nwb"), "onset.method=column")


def test_where_trials_come_from_is_a_setting(tmp_path):
    path = write_plain(tmp_path / "odd.nwb")
    recording, trials = read(path, "trials.source=speed")
    assert any("trials.source is speed" in text for text in recording.warnings)
    assert trials.trials["counts"].shape[0] > N_TRIALS
    with h5py.File(path, "r+") as h5:
        del h5[TRIALS]
    with pytest.raises(DataError, match=r"trials.source is table, but /intervals/trials is not there"):
        read(path, "trials.source=table")


def test_targets_stay_as_far_apart_as_they_are(tmp_path):
    angles = np.tile([30.0, 70, 110, 150, 210, 250, 290, 330], 5)
    _, trials = read(changed(tmp_path, column("target_dir", lambda v: angles)))
    assert sorted(set(trials.trials["condition"].tolist())) == [
        f"dir{int(angle):03d}" for angle in sorted(set(angles))
    ]


def test_unix_time_is_read_like_any_other(tmp_path, plain):
    _, trials = read(write_plain(tmp_path / "odd.nwb", shift_s=1.6e9))
    assert trials.trials["counts"].shape[0] == N_TRIALS


def in_turn(tmp_path):
    """Return a file of two groups of units recorded one after the other, four and two of them."""
    both_halves = [np.array([60.0, LENGTH_S])] * 4 + [np.array([0, 60.0])] * 2
    return changed(tmp_path, observed(both_halves))


def test_of_units_recorded_in_turn_one_group_is_taken(tmp_path):
    path = in_turn(tmp_path)
    largest, _ = read(path, "units.observed_group=0")
    assert largest.units.ids.tolist() == [0, 1, 2, 3]
    assert largest.observed[0, 0] == pytest.approx(60.0)
    second, _ = read(path, "units.observed_group=1")
    assert second.units.ids.tolist() == [4, 5]
    assert any("2 of 6 units are used" in text for text in second.warnings)
    with pytest.raises(DataError, match=r"observed_group is 2, but there are 2 groups.*4 units from 60"):
        read(path, "units.observed_group=2")
    with pytest.raises(DataError, match=r"--set units.observed_group=N"):
        read(path)


def test_codes_of_unknown_meaning_do_no_harm_where_failed_trials_are_kept(tmp_path):
    path = changed(tmp_path, column("result", lambda v: ["win"] * 30 + ["lose"] * 10))
    with pytest.raises(DataError, match=r"trials.success_only=false"):
        read(path)
    recording, trials = read(path, "trials.success_only=false")
    assert trials.trials["counts"].shape[0] == N_TRIALS
    assert any("not known what lose, win mean" in text or "not known what win, lose mean" in text
               for text in recording.warnings)  # fmt: skip
