"""Units, spike times and observed time as labs and tools write them, odd in one way each."""

from __future__ import annotations

import re
import warnings

import h5py
import numpy as np
import pytest
from nwb.odd_files import (
    LENGTH_S,
    N_TRIALS,
    N_UNITS,
    SESSION,
    both,
    invalid,
    observed,
    put,
    spikes,
    write_plain,
)
from nwb.test_odd_files import AS_PLAIN, changed, plain, read

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.spike_repeats import resolution_s
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.schemas.recipe import IngestRecipe

ELECTRODES = "general/extracellular_ephys/electrodes"
RNG = np.random.default_rng(3)
__all__ = ["plain"]


def ids(values):
    return lambda h5: put(h5, "units/id", values)


def each_at(shift):
    """Return the change that moves every unit by its own time."""
    return spikes(lambda s: [times + shift(unit) for unit, times in enumerate(s)])


def electrodes(rows, **columns):
    """Return the change that links units to a table of electrodes."""

    def change(h5):
        for name, values in columns.items():
            put(h5, f"{ELECTRODES}/{name}", values)
        put(h5, "units/electrodes", rows)
        h5["units"].attrs["colnames"] = np.array(["spike_times", "electrodes"], dtype=object)

    return change


def referring(h5):
    """Link units to electrodes by references to objects, which name no row."""
    h5[f"{ELECTRODES}/location"] = np.array(["M1"] * 6, dtype=object)
    h5.create_dataset("units/electrodes", data=[h5["units"].ref] * N_UNITS, dtype=h5py.ref_dtype)


def jittered(times):
    return np.sort(np.r_[times, times + 5e-5])


READ = {
    "ids beyond 2**63": (ids(np.arange(N_UNITS, dtype="u8") + 2**63), AS_PLAIN, "which a store cannot keep"),
    "floats beyond 2**53": (ids(np.arange(N_UNITS) + 2.0**60), AS_PLAIN, "cannot tell neighbours apart"),
    "ids as whole floats": (ids(np.arange(N_UNITS) + 7.0), AS_PLAIN, ""),
    "negative ids": (ids(-1 - np.arange(N_UNITS)), AS_PLAIN, "6 of 6 ids are negative"),
    "two ids the same": (ids([0, 1, 2, 3, 4, 4]), AS_PLAIN, "1 of 6 ids repeat"),
    "one unit as two": (
        spikes(lambda s: [*s[:5], s[1]]),
        None,
        "units with the very same spikes: 1, 5; a unit that was written several times",
    ),
    "one unit in ms": (
        spikes(lambda s: [1e3 * s[0], *s[1:]]),
        (N_TRIALS, 5),
        "1 of 6 units .* unit 0 from .* fits as ms \\(times 0.001\\).*left out",
    ),
    "one unit in samples": (
        spikes(lambda s: [*s[:5], 30000 * s[5]]),
        (N_TRIALS, 5),
        "unit 5 from .* samples of 30 kHz",
    ),
    "one unit on another clock": (
        spikes(lambda s: [*s[:5], s[5] + 5000]),
        (N_TRIALS, 5),
        "unit 5 from 5000.* to 5129.* s\\. They are left out",
    ),
    "every spike of one unit twice": (
        spikes(lambda s: [np.repeat(s[0], 2), *s[1:]]),
        None,
        "in 1 of 6 units they are more than a quarter \\(row 0 of /units.*counted as they are",
    ),
    "spikes at 10 ms": (
        spikes(lambda s: [np.unique(np.round(each, 2)) for each in s]),
        None,
        "known to 0.01 s only",
    ),
    "spikes in the first half alone": (
        spikes(lambda s: [each[each < 65] for each in s]),
        (20, N_UNITS),
        "no unit fires from 65.0 to 130.0 s .*50%.* counts as not observed",
    ),
    "a pause in the middle": (
        spikes(lambda s: [each[(each < 50) | (each > 80)] for each in s]),
        None,
        "no unit fires from 50.0 to 80.0 s",
    ),
    "spikes 40 s late": (each_at(lambda unit: 40.0), None, "no unit fires from 0.0 to 40.0 s"),
    "a pause that the file calls observed": (
        both(
            spikes(lambda s: [each[each < 65] for each in s]),
            observed([np.array([0.0, LENGTH_S])] * N_UNITS),
        ),
        None,
        "no unit fires from 65.* but the file counts that as observed",
    ),
    "invalid times in ms": (
        invalid(50000.0, 80000.0),
        AS_PLAIN,
        "1 of 1 intervals \\(50000 to 80000 s\\) lie outside .*fit as ms",
    ),
    "invalid times elsewhere": (invalid(2e4, 2.0001e4), AS_PLAIN, "lie outside of what was observed"),
    "electrodes with a short column": (
        electrodes(np.arange(N_UNITS), id=np.arange(6), location=["M1"] * 3),
        AS_PLAIN,
        "areas of units are not known: .*location has 3 rows, its table 6",
    ),
    "electrodes that are an array": (
        lambda h: (h.__setitem__(ELECTRODES, 5), h.__setitem__("units/electrodes", np.arange(N_UNITS))),
        AS_PLAIN,
        "areas of units are not known: .* is an array, and no table",
    ),
    "electrodes that are gone": (
        lambda h: h.__setitem__("units/electrodes", np.arange(N_UNITS)),
        AS_PLAIN,
        "areas of units are not known: .*electrodes is not there",
    ),
    "electrodes by negative rows": (
        electrodes(np.arange(N_UNITS) - 3, id=np.arange(6), location=["M1"] * 6),
        AS_PLAIN,
        "3 units name rows that .* lacks \\(-3 to -1 of 0 to 5\\)",
    ),
    "electrodes by NaN": (
        electrodes(np.full(N_UNITS, np.nan), id=np.arange(6), location=["M1"] * 6),
        AS_PLAIN,
        "of 6 units holds no row, such as nan",
    ),
    "electrodes by a huge number": (
        electrodes(np.array([1e300, *range(1, N_UNITS)]), id=np.arange(6), location=["M1"] * 6),
        AS_PLAIN,
        "of 1 units holds no row, such as 1e\\+300",
    ),
    "electrodes by name": (
        electrodes(["ch1"] * N_UNITS, id=np.arange(6), location=["M1"] * 6),
        AS_PLAIN,
        "holds ch1, ch1, ch1 …, expected rows",
    ),
    "electrodes by reference": (referring, AS_PLAIN, "areas of units are not known: /units/electrodes"),
    "places as numbers": (
        electrodes(np.arange(N_UNITS), id=np.arange(6), location=np.arange(6)),
        AS_PLAIN,
        "location holds 0, 1, 2 …, which name no place",
    ),
}

REFUSED = {
    "ids as halves": (ids(np.arange(N_UNITS) + 0.5), "expected whole numbers"),
    "NaN among spikes": (
        spikes(lambda s: [np.r_[s[0], np.nan], *s[1:]]),
        "1 of 11609 spike times are NaN.*on_not_finite_spikes=drop",
    ),
    "nothing but NaN": (spikes(lambda s: [each * np.nan for each in s]), "no spike is left"),
    "two spikes out of order": (
        spikes(lambda s: [np.r_[s[0][:9], s[0][10], s[0][9], s[0][11:]], *s[1:]]),
        "1 of 11608 spikes come before .* by at most 0.003.*on_unsorted_spikes=sort",
    ),
    "every spike twice": (
        spikes(lambda s: [np.repeat(each, 2) for each in s]),
        "11608 of them at the very same time.*on_repeated_spikes=drop",
    ),
    "every spike twice, 50 µs apart": (
        spikes(lambda s: [jittered(each) for each in s]),
        "follow the one before them .* within 0.1 ms.*on_repeated_spikes=drop",
    ),
    "whole seconds": (spikes(lambda s: [np.floor(each) for each in s]), "known to 1 s only, coarser than"),
    "half precision": (
        lambda h: put(h, "units/spike_times", h["units/spike_times"][()].astype("f2")),
        "known to 0.125 s only, coarser than the bins of 0.02 s.*bin_size_s",
    ),
    "half precision written as doubles": (
        lambda h: put(h, "units/spike_times", h["units/spike_times"][()].astype("f2").astype(float)),
        "known to 0.125 s only",
    ),
    "spikes that count from their trial": (
        spikes(lambda s: [np.sort(each % 3) for each in s]),
        "spikes count from the start of their trial",
    ),
    "each unit on its own clock": (each_at(lambda unit: 1e4 * unit), "clocks of their own"),
    "most units in ms": (
        spikes(lambda s: [1e3 * each if unit < 4 else each for unit, each in enumerate(s)]),
        "4 of 6 units .* fits as ms",
    ),
    "everything invalid": (invalid(-1.0, 200.0), "covers everything that was observed \\(-1 to 200 s"),
    "observed elsewhere": (
        observed([np.array([1e4, 1e4 + 120])] * N_UNITS),
        "run from 10000 to 10120 s.*share no time, and would fit moved by -10000 s",
    ),
    "observed in ms": (
        observed([np.array([0, 1e3 * LENGTH_S])] * N_UNITS),
        "they fit as ms \\(times 0.001\\)",
    ),
    "observed from the start of each trial": (
        observed([np.array([-0.1, 2.5])] * N_UNITS),
        "no trial .* lies in observed time .*count from the start of each trial",
    ),
    "observed for a moment in each trial": (
        observed([np.stack([SESSION.go - 0.1, SESSION.go + 0.1], 1)] * N_UNITS),
        "observed are 40 stretches of 0.18 s in the median",
    ),
    "a group in place of spike times": (
        lambda h: (h.__delitem__("units/spike_times"), h.create_group("units/spike_times")),
        "spike_times is a group",
    ),
    "units that are an array": (
        lambda h: (h.__delitem__("units"), h.__setitem__("units", np.arange(5))),
        "/units is an array",
    ),
}


@pytest.mark.parametrize("name", READ)
def test_odd_units_are_read_and_said(name, tmp_path, plain):
    change, expected, said = READ[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording, trials = read(changed(tmp_path, change))
    if expected is not None:
        n_trials, _, n_units = trials.trials["counts"].shape
        assert (n_trials, n_units) == expected
        if expected == AS_PLAIN:
            assert int(trials.trials["counts"].sum()) == plain
    if said:
        assert any(re.search(said, text) for text in (*recording.warnings, *trials.notes)), recording.warnings


@pytest.mark.parametrize("name", REFUSED)
def test_units_that_cannot_be_meant_are_refused_with_what_mends_them(name, tmp_path):
    change, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as caught:
        read(changed(tmp_path, change))
    assert "\n" not in str(caught.value)


def test_the_plain_file_has_nothing_odd_about_its_spikes(tmp_path):
    recording, _ = read(write_plain(tmp_path / "plain.nwb"))
    assert not [text for text in recording.warnings if re.search("spike|unit fires|repeat|known to", text)]


def test_spikes_that_are_not_finite_can_be_left_out(tmp_path, plain):
    path = changed(tmp_path, spikes(lambda s: [np.r_[np.nan, s[0], np.inf], *s[1:]]))
    recording, trials = read(path, "on_not_finite_spikes=drop")
    assert int(trials.trials["counts"].sum()) == plain
    assert any("2 of 11610 spike times are NaN" in text for text in recording.warnings)


def test_spikes_written_twice_can_be_dropped_or_counted(tmp_path, plain):
    path = changed(tmp_path, spikes(lambda s: [np.repeat(each, 2) for each in s]))
    recording, dropped = read(path, "on_repeated_spikes=drop")
    first = np.r_[0, recording.spike_index[:-1]]
    with h5py.File(path) as h5:
        ends = h5["units/spike_times_index"][:]
        starts = h5["units/spike_times"][:][np.r_[0, ends[:-1]]]
    assert recording.spike_times[first].tolist() == starts.tolist(), "the first spike of each unit stays"
    _, kept = read(path, "on_repeated_spikes=keep")
    # A few spikes of the plain file follow another one within 0.1 ms by chance.
    assert plain - 10 <= int(dropped.trials["counts"].sum()) <= plain
    assert int(kept.trials["counts"].sum()) == 2 * plain


def test_of_a_spike_and_one_just_after_it_the_first_stays(tmp_path):
    alone = []

    def echoed(trains):
        alone.extend(each[np.r_[True, np.diff(each) > 1e-3]] for each in trains)
        return [np.sort(np.r_[each, each + 5e-5]) for each in alone]

    recording, _ = read(changed(tmp_path, spikes(echoed)), "on_repeated_spikes=drop")
    assert recording.spike_times.tolist() == np.concatenate(alone).tolist()


def test_large_ids_that_fit_are_kept_to_the_last_digit(tmp_path):
    recording, _ = read(changed(tmp_path, ids(np.arange(N_UNITS, dtype="i8") + 2**62)))
    assert recording.units.ids.tolist() == [2**62 + unit for unit in range(N_UNITS)]


def test_an_electrode_a_unit_needs_no_index(tmp_path):
    path = changed(tmp_path, electrodes(np.arange(N_UNITS), id=np.arange(6), location=["M1", "PMd"] * 3))
    recording, _ = read(path)
    assert recording.units.area.tolist() == ["M1", "PMd"] * 3


def test_of_two_electrodes_in_each_row_of_an_index_the_first_counts(tmp_path):
    rows = np.arange(N_UNITS)
    change = electrodes(np.stack([rows, rows[::-1]], axis=1), id=rows, location=["M1", "PMd"] * 3)

    def indexed(h5):
        change(h5)
        put(h5, "units/electrodes_index", rows + 1)

    recording, _ = read(changed(tmp_path, indexed))
    assert recording.units.area.tolist() == ["M1", "PMd"] * 3


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("units/electrodes", "lists columns that are not there: electrodes"),
        (f"{ELECTRODES}/location", "neither group_name nor location"),
    ],
)
def test_areas_that_are_lost_are_said(tmp_path, column, says):
    linked = electrodes(np.arange(N_UNITS), id=np.arange(N_UNITS), location=["M1"] * N_UNITS)
    recording, _ = read(changed(tmp_path, linked))
    assert set(recording.units.area) == {"M1"}
    recording, _ = read(changed(tmp_path, lambda h5: (linked(h5), h5.move(column, f"{column}2"))))
    assert set(recording.units.area) == {""}
    assert any(says in said for said in recording.warnings), recording.warnings


def test_units_without_an_electrode_among_others_are_said(tmp_path):
    one_off = np.arange(1, N_UNITS + 1) - (np.arange(N_UNITS) == 2)

    def change(h5):
        electrodes(np.arange(N_UNITS), id=np.arange(N_UNITS), location=["M1"] * N_UNITS)(h5)
        h5["units/electrodes_index"] = one_off

    recording, _ = read(changed(tmp_path, change))
    assert list(recording.units.area) == ["M1", "M1", "", *["M1"] * (N_UNITS - 3)]
    assert "/units/electrodes: 1 of 6 units have no electrode; their area is not known" in recording.warnings


def test_an_index_of_half_precision_is_refused_and_no_warning_of_numpy(tmp_path):
    def change(h5):
        put(h5, "units/spike_times_index", h5["units/spike_times_index"][()].astype(np.float16))

    path = changed(tmp_path, change)
    warnings.simplefilter("error")
    with pytest.raises(DataError, match=r"spike times of \d of 6 units do not ascend"):
        read(path)


def test_times_of_a_lab_clock_have_no_coarse_grid():
    times = np.sort(RNG.uniform(0, 3600, 5000))
    assert resolution_s(np.round(times * 30000) / 30000) < 1e-3
    assert resolution_s(times.astype("f4").astype(float)) < 1e-3
    assert resolution_s(np.round(times, 3)) == pytest.approx(1e-3)


def test_windows_without_any_spike_make_no_store(tmp_path):
    between = [SESSION.go + 1.9 + unit * 1e-3 for unit in range(N_UNITS)]
    recording, _ = read(write_plain(tmp_path / "plain.nwb"))
    empty = changed(tmp_path, spikes(lambda s: between))
    with pytest.raises(DataError, match=r"none of \d+ windows .* holds a spike of the 6 units"):
        read(empty)
    assert make_trials(recording, IngestRecipe()).trials["counts"].any()
