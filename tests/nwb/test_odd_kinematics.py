"""Position and velocity as labs and tools write them, odd in one way each: mended and said, or refused.

A row is what is done to a plain file, and what must be said.
"""

from __future__ import annotations

import re
import warnings

import h5py
import numpy as np
import pytest
from nwb.odd_files import LENGTH_S, SERIES, SESSION, attribute, both, of_series, put, write_plain
from nwb.test_odd_files import AS_PLAIN, changed, read

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.schemas.recipe import IngestRecipe

POSITION, VELOCITY = SERIES
BEHAVIOUR = POSITION.rpartition("/")[0]
N = len(SESSION.time)


def of(path, make, part="data"):
    """Return the change of one series."""
    return lambda h5: put(h5, f"{path}/{part}", make(h5[f"{path}/{part}"][()]))


def copied(path, new, make=lambda v: v):
    """Return the change that puts a second series beside one."""
    return lambda h5: (
        h5.require_group(new.rpartition("/")[0]),
        h5.copy(path, new),
        put(h5, f"{new}/data", make(h5[f"{path}/data"][()])),
    )


def rate_in_place_of_stamps(rate):
    def change(h5):
        for path in SERIES:
            del h5[f"{path}/timestamps"]
            start = h5.create_dataset(f"{path}/starting_time", data=0.0)
            if rate is not None:
                start.attrs["rate"] = rate

    return change


def virtual(source, *, inside="d"):
    """Return the change of the positions into an array put together from another file."""

    def change(h5):
        del h5[f"{POSITION}/data"]
        layout = h5py.VirtualLayout((N, 2), "f8")
        layout[:] = h5py.VirtualSource(source, inside, shape=(N, 2))
        h5.create_virtual_dataset(f"{POSITION}/data", layout, fillvalue=0.0)

    return change


def raw(h5):
    del h5[f"{POSITION}/data"]
    h5.create_dataset(f"{POSITION}/data", (N, 2), "f8", external="/nowhere/gone.bin")


def without_types(h5):
    for path in SERIES:
        del h5[path].attrs["neurodata_type"]


def links_in_a_circle(h5):
    del h5[POSITION]
    h5[f"{BEHAVIOUR}/a"] = h5py.SoftLink(f"/{POSITION}")
    h5[POSITION] = h5py.SoftLink(f"/{BEHAVIOUR}/a")


def jump(v, at, size=50.0):
    out = v.copy()
    out[at] += size
    return out


def wrapped(kind, factor=1.0):
    return of_series(lambda v: (factor * v).astype(np.int64).astype(kind))


def held(start, n, values):
    return lambda v: np.r_[v[:start], np.full((n, v.shape[1]), values), v[start + n :]]


STILL = "stands still: every sample is 0, 0"
SAID = {
    "a position that stands still": (of(POSITION, lambda v: 0 * v), f"{STILL}, while the velocity moves"),
    "a position without samples": (
        of(POSITION, lambda v: np.nan * v),
        "hand_pos holds no sample: all are missing",
    ),
    "a position that stands still but for a glitch": (
        of(POSITION, lambda v: jump(0 * v, 7)),
        "stands still: 99.99% of its samples",
    ),
    "a stretch of zeros in the position": (
        of(POSITION, held(540, 250, 0.0)),
        "hand_vel beside /.*hand_pos: the two contradict each other 2 times, for .* s in all, from 5",
    ),
    "stretches of one value in the velocity": (
        of(VELOCITY, lambda v: held(5000, 100, 0.0)(held(540, 100, 0.0)(v))),
        "the two contradict each other 2 times, for .* the position moves [^0].* cm, and 0 by the velocity",
    ),
    "a velocity that stands still": (
        of(VELOCITY, lambda v: 0 * v),
        "velocity is the derivative of the position",
    ),
    "a velocity without samples": (of(VELOCITY, lambda v: np.nan * v), "hand_vel holds no sample"),
    "an axis that never changes": (of_series(lambda v: np.c_[v, 0 * v[:, 0]]), "column 3 never changes"),
    "links in a circle": (links_in_a_circle, f"{POSITION} is a link to /{BEHAVIOUR}/a, and there is nothing"),
    "one sample far away": (
        of(POSITION, lambda v: jump(v, 500)),
        "1 sample lies between a jump away, by up to 50",
    ),
    "three samples far away": (
        of(POSITION, lambda v: jump(v, [500, 501, 502])),
        "3 samples lie between a jump",
    ),
    "the first sample far away": (of(POSITION, lambda v: jump(v, 0)), "1 sample lies between a jump away"),
    "the last sample far away": (of(POSITION, lambda v: jump(v, -1)), "1 sample lies between a jump away"),
    "a jump for good": (
        of(POSITION, lambda v: jump(v, slice(6000, None))),
        "jumps 1 time by up to 50 cm.*are kept",
    ),
    "a velocity of one sample": (
        of(VELOCITY, lambda v: jump(v, 500, 1900.0)),
        "hand_vel: 1 sample lies between",
    ),
    "(1, n, 2)": (of_series(lambda v: v[None]), "stored as 1 × 13000 × 2 values; it is read as 13000 × 2"),
    "(n, 2, 1)": (of_series(lambda v: v[:, :, None]), "stored as 13000 × 2 × 1 values"),
    "(n, 1, 1)": (of_series(lambda v: v[:, :1, None]), "has one column, but targets lie in 8 directions"),
    "(1, n)": (of_series(lambda v: v[None, :, 0]), "its axes as rows"),
    "one column": (of_series(lambda v: v[:, 0]), "has one column, but targets lie in 8 directions"),
    "time stamps that repeat": (
        of_series(lambda v: np.repeat(v[::2], 2), "timestamps"),
        "6500 repeated time stamps were dropped with their samples, of 13000",
    ),
    "a conversion below 0": (attribute("conversion", -1.0), "conversion is -1, below 0"),
    "a conversion that is empty": (attribute("conversion", h5py.Empty("f8")), "conversion is empty"),
    "a conversion for each axis": (
        attribute("conversion", np.array([1.0, 2.0])),
        "conversion holds 1, 2: each axis",
    ),
    "an offset that is not finite": (attribute("offset", np.nan), "offset is nan; nothing is added"),
    "a unit that is a number": (attribute("unit", 5), "attribute unit is 5, which is no word"),
    "a velocity of half the session": (
        both(of(VELOCITY, lambda v: v[:6000]), of(VELOCITY, lambda v: v[:6000], "timestamps")),
        "hand_pos covers 0 to 129.99 s, /.*hand_vel 0 to 59.99 s",
    ),
    "a velocity 0.15 s late": (of(VELOCITY, lambda v: v + 0.15, "timestamps"), "comes about 0.15 s later"),
    "two hands": (
        both(
            lambda h5: h5.move(POSITION, f"{BEHAVIOUR}/left_hand_pos"),
            lambda h5: h5.move(VELOCITY, f"{BEHAVIOUR}/left_hand_vel"),
            copied(f"{BEHAVIOUR}/left_hand_pos", f"{BEHAVIOUR}/right_hand_pos", lambda v: v[::-1]),
        ),
        f"--set position_series={BEHAVIOUR}/right_hand_pos takes the other",
    ),
    "two series of one name": (
        copied(POSITION, "processing/other/hand_pos", lambda v: 0.5 * v),
        "position_series=processing/other/hand_pos takes the other",
    ),
}

REFUSED = {
    "a velocity of the other sign": (of(VELOCITY, lambda v: -v), "the opposite sign in every column"),
    "one axis of the other sign": (of(VELOCITY, lambda v: v * [1, -1]), "the opposite sign in column 2"),
    "axes exchanged": (of(VELOCITY, lambda v: v[:, ::-1]), "columns in another order"),
    "axes exchanged, one of the other sign": (
        of(VELOCITY, lambda v: v[:, ::-1] * [-1, 1]),
        "another order .* and has the opposite sign in column 1",
    ),
    "a velocity 2 s late": (of(VELOCITY, lambda v: v + 2, "timestamps"), "comes about 2 s after"),
    "a velocity 0.5 s early": (of(VELOCITY, lambda v: v - 0.5, "timestamps"), "comes about 0.5 s before"),
    "a velocity turned by 45 degrees": (
        of(VELOCITY, lambda v: v @ np.array([[1, -1], [1, 1]]) / np.sqrt(2)),
        "turned by about 45°",
    ),
    "a velocity of something else": (
        of(VELOCITY, lambda v: v[np.random.default_rng(0).permutation(len(v))]),
        "has nothing to do with the position's derivative",
    ),
    "a velocity with a constant": (of(VELOCITY, lambda v: v + 100), "has a constant added to it"),
    "a velocity of another scale on each axis": (
        of(VELOCITY, lambda v: v * [1, 3]),
        "a factor for each axis",
    ),
    "a velocity of another time": (of(VELOCITY, lambda v: v + 500, "timestamps"), "share no time"),
    "no movement at all": (of_series(lambda v: 0 * v + 3), "every sample is 3, 3.*there is no movement"),
    "nothing finite": (of_series(lambda v: np.nan * v), "hand_pos holds no sample.*there is no movement"),
    "a conversion that leaves nothing": (attribute("conversion", 1e-300), "all of it lies within"),
    "conversions for other axes": (
        attribute("conversion", np.arange(1.0, 4.0)),
        "holds 1, 2, 3; expected one number",
    ),
    "data put together from a file that is gone": (
        virtual("gone.h5"),
        "hand_pos/data is put together .*gone.h5 is not",
    ),
    "data in a raw file that is gone": (
        raw,
        "hand_pos/data is stored in the file /nowhere/gone.bin, which is not",
    ),
    "8 bits that ran over": (
        wrapped("u1"),
        "whole numbers of 8 bits \\(0 to 255\\) that jump by nearly that range",
    ),
    "signed 8 bits that ran over": (wrapped("i1", 40), "whole numbers of 8 bits \\(-128 to 127\\)"),
    "16 bits that ran over": (wrapped("i2", 8000), "whole numbers of 16 bits"),
    "four columns": (
        of_series(lambda v: np.c_[v, v]),
        "hand_pos has 4 columns, a hand 1, 2 or 3.*all its columns",
    ),
    "no columns": (of_series(lambda v: v[:, :0]), "hand_pos holds no samples"),
    "no samples": (of_series(lambda v: v[:0]), "hand_pos holds no samples"),
    "a shape without meaning": (
        of_series(lambda v: np.stack([v, v], 2)),
        "hand_pos holds 13000 × 2 × 2 values",
    ),
    "nothing stored": (of_series(lambda v: h5py.Empty("f8")), "hand_pos holds no samples"),
    "groups in place of data": (
        lambda h5: [(h5.__delitem__(f"{p}/data"), h5.create_group(f"{p}/data")) for p in SERIES],
        "hand_pos has a group in place of its data",
    ),
    "series without data": (lambda h5: [h5.__delitem__(f"{p}/data") for p in SERIES], "hand_pos has no data"),
    "no types": (without_types, "hand_pos, /.*hand_vel hold data, but no neurodata_type"),
    "another type": (
        lambda h5: [h5[p].attrs.__setitem__("neurodata_type", "ElectricalSeries") for p in SERIES],
        "hand_pos is of the type ElectricalSeries",
    ),
    "series of targets": (
        lambda h5: [
            h5.move(p, f"{BEHAVIOUR}/target_{n}") for n, p in zip(("pos", "vel"), SERIES, strict=True)
        ],
        "target_pos is by its name of target",
    ),
    "text in place of numbers": (of_series(lambda v: [str(x) for x in v[:, 0]]), "holds text, 13000 values"),
    "a gaze by its description": (
        lambda h5: [
            h5[p].attrs.__setitem__("description", "gaze on the screen, from the eye tracker") for p in SERIES
        ],
        "is by its description of gaze on the screen",
    ),
    "truth values": (of_series(lambda v: v > 1), "holds truth values"),
    "complex numbers": (of_series(lambda v: v + 1j), "holds complex numbers"),
    "two samples": (
        both(of_series(lambda v: v[:2]), of_series(lambda v: v[:2], "timestamps")),
        "holds 2 samples",
    ),
    "no times": (
        lambda h5: [h5.__delitem__(f"{p}/timestamps") for p in SERIES],
        "neither timestamps nor starting_time",
    ),
    "a starting time without a rate": (rate_in_place_of_stamps(None), "no positive rate \\(found none\\)"),
    "a rate in words": (rate_in_place_of_stamps("fast"), "no positive rate \\(found 'fast'\\)"),
    "the step in place of the rate": (rate_in_place_of_stamps(0.01), "two are inverses: write 100"),
    "one time stamp for all": (of_series(lambda v: 0 * v + 3, "timestamps"), "all 13000 time stamps are 3 s"),
    "stamps that descend": (
        of_series(lambda v: v[::-1], "timestamps"),
        "run backwards throughout, from 129.99 to 0",
    ),
    "stamps in no order": (
        of_series(lambda v: v[np.random.default_rng(0).permutation(len(v))], "timestamps"),
        "are in no order",
    ),
    "stamps in ms": (of_series(lambda v: 1e3 * v, "timestamps"), "they fit as ms, times 0.001"),
    "stamps in µs": (of_series(lambda v: 1e6 * v, "timestamps"), "they fit as µs, times 1e-06"),
    "stamps that count samples": (
        of_series(lambda v: np.arange(len(v)), "timestamps"),
        "count samples: divide them by the sampling rate, which is about 1[01]\\d Hz",
    ),
    "whole seconds": (
        of_series(lambda v: v.astype(int), "timestamps"),
        "whole seconds alone: 13000 samples have 130",
    ),
    "stamps in pairs": (of_series(lambda v: np.stack([v, v], 1), "timestamps"), "holds 13000 × 2 values"),
}

REPR = re.compile(r"dtype|array\(|np\.|Empty\(|<[a-zA-Z]|type object|\bNone\b(?! of)|\bobject\b")


@pytest.mark.parametrize("name", SAID)
def test_odd_kinematics_that_can_be_read_are_read_and_said(name, tmp_path):
    change, said = SAID[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording, trials = read(changed(tmp_path, change))
    texts = [*recording.warnings, *trials.notes]
    assert any(re.search(said, text) for text in texts), texts
    assert not any(REPR.search(text) for text in texts), texts
    assert np.isfinite(trials.trials["velocity"]).any()


@pytest.mark.parametrize("name", REFUSED)
def test_kinematics_that_cannot_be_are_refused_with_their_cause(name, tmp_path):
    change, message = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=message) as caught:
            read(changed(tmp_path, change))
    text = str(caught.value)
    assert text.startswith("odd.nwb: ")
    assert "\n" not in text
    assert not REPR.search(text)


def test_a_hand_whose_description_speaks_of_eyes_too_is_a_hand(tmp_path):
    def change(h5):
        h5[POSITION].attrs["description"] = "hand position; eyes were tracked as well"

    recording, _ = read(changed(tmp_path, change))
    assert recording.position_series == POSITION
    assert not recording.warnings


def test_a_factor_with_two_explanations_is_given_both(tmp_path):
    recording, _ = read(changed(tmp_path, of(VELOCITY, lambda v: v / 100)))
    (said,) = [text for text in recording.warnings if "times as fast" in text]
    rate = 1 / (SESSION.time[1] - SESSION.time[0])
    assert ("m/s stated as cm/s or cm per sample" in said) == (80 < rate < 125)
    assert "m/s stated as cm/s" in said


def test_a_series_that_stands_still_is_not_stored_as_if_it_were_real(tmp_path):
    recording, trials = read(changed(tmp_path, of(POSITION, lambda v: 0 * v)))
    assert recording.position is None
    assert recording.position_series is None
    assert np.isnan(trials.trials["position"]).all()
    assert not any(choice.what == "position" for choice in recording.choices)
    recording, trials = read(changed(tmp_path, of(VELOCITY, lambda v: np.nan * v)))
    assert recording.velocity_series is None
    assert {c.what: c.value for c in recording.choices}["velocity"] == "the derivative of the position"
    assert np.isfinite(trials.trials["velocity"]).all()
    with pytest.raises(DataError, match="velocity_from is series, but"):
        read(changed(tmp_path, of(VELOCITY, lambda v: 0 * v)), "velocity_from=series")


def test_a_glitch_is_masked_and_nothing_else(tmp_path):
    recording, trials = read(changed(tmp_path, of(POSITION, lambda v: jump(v, [500, 501, 9000]))))
    missing = np.flatnonzero(np.isnan(recording.position.values).any(axis=1))
    assert missing.tolist() == [500, 501, 9000]
    assert trials.trials["counts"].shape[::2] == AS_PLAIN


def measured(change=lambda v: v):
    """Change a position that no two neighbours of are the same, as of a tracker, without a velocity."""

    def changed_position(v):
        return change(v + np.random.default_rng(0).normal(0, 1e-3, v.shape))

    return both(of(POSITION, changed_position), lambda h5: h5.__delitem__(VELOCITY))


def told_of_filled(path):
    return [text for text in read(path)[0].warnings if "to the last digit" in text]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (held(300, 250, 0.0), "the 250 samples from .* s on are 0, 0 to the last digit"),
        (
            lambda v: held(900, 15, 2.5)(held(300, 40, -1.0)(v)),
            "2 stretches of up to 40 samples are each one value, the first, at .* s, -1, -1",
        ),
        (
            lambda v: np.c_[v[:, 0], held(400, 30, 1.5)(v[:, 1:])],
            "the 30 samples of column 2 from .* s on are 1.5 to the last digit",
        ),
    ],
)
def test_samples_that_were_filled_in_are_said(tmp_path, change, said):
    (found,) = told_of_filled(changed(tmp_path, measured(change)))
    assert re.search(f"hand_pos: {said}", found)


def held_often(v):
    """Write every stretch of rest as one value, as some systems do: movement begins and ends there."""
    out, start = v.copy(), 100
    while start < len(v) - 100:
        if np.ptp(v[start : start + 30], axis=0).max() < 0.02:
            out[start : start + 30] = out[start]
            start += 30
        start += 10
    return out


@pytest.mark.parametrize("value", [None, 0.0, -3.0])
def test_samples_filled_in_again_and_again_are_said_too(tmp_path, value):
    def filled(v):
        out = v.copy()
        for start in np.linspace(100, len(v) - 200, 25).astype(int):
            out[start : start + 100] = out[start] if value is None else value
        return out

    (found,) = told_of_filled(changed(tmp_path, measured(filled)))
    assert "25 stretches of up to 100 samples are each one value" in found


@pytest.mark.parametrize("change", [lambda v: v, held_often, lambda v: np.round(v, 1)])
def test_series_that_repeat_their_values_anyway_are_not_held_to_be_filled_in(tmp_path, change):
    assert told_of_filled(changed(tmp_path, measured(change))) == []


def test_data_put_together_from_a_file_that_is_there_are_read(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["d"] = SESSION.position
    recording, _ = read(changed(tmp_path, virtual("other.h5")))
    np.testing.assert_array_equal(recording.position.values, SESSION.position)
    with pytest.raises(DataError, match=r"e of the file other.h5 is not there"):
        read(changed(tmp_path, virtual("other.h5", inside="e")))


def test_one_series_through_two_paths_is_one(tmp_path):
    recording, _ = read(changed(tmp_path, lambda h5: h5.__setitem__("acquisition/all", h5py.SoftLink("/"))))
    assert recording.position_series == POSITION
    assert recording.warnings == ()


def test_hands_are_paired_by_their_side(tmp_path):
    right = both(
        *(copied(p, f"{BEHAVIOUR}/right_{p.rsplit('/', 1)[-1]}", lambda v: v[::-1]) for p in SERIES),
        *(lambda h5, p=p: h5.move(p, f"{BEHAVIOUR}/left_{p.rsplit('/', 1)[-1]}") for p in SERIES),
    )
    path = changed(tmp_path, right)
    recording = read_recording(path, IngestRecipe())
    assert recording.velocity_series == f"{BEHAVIOUR}/left_hand_vel"
    assert np.isclose(recording.position.time[-1], LENGTH_S, atol=0.02)


def test_thresholds_in_cm_are_not_applied_to_degrees(tmp_path):
    degrees = both(
        of_series(lambda v: 9 * v),
        *(lambda h5, p=p, u=u: h5[f"{p}/data"].attrs.__setitem__("unit", u)
          for p, u in zip(SERIES, ("degrees", "degrees/s"), strict=True)),
    )  # fmt: skip
    path = write_plain(tmp_path / "odd.nwb")
    with h5py.File(path, "r+") as h5:
        degrees(h5)
    _, trials = read(path)
    assert not trials.continuous["outlier"].any()
    assert any("kinematics are in degrees: quality.max_acceleration" in note for note in trials.notes)
    _, trials = read(path, "quality.max_position_cm=40")
    assert trials.continuous["outlier"].any()


def a_group_for_data(h5):
    del h5[f"{POSITION}/data"]
    h5.create_group(f"{POSITION}/data")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (of(POSITION, np.ravel), "/processing/behavior/hand_pos has one column"),
        (a_group_for_data, "has a group in place"),
        (of(POSITION, lambda _: h5py.Empty("f8")), "hand_pos holds no samples"),
        (of(POSITION, lambda v: v[:0]), "hand_pos holds no samples"),
    ],
    ids=["flat", "a group", "no space", "no samples"],
)  # fmt: skip
def test_a_position_that_cannot_be_used_beside_a_velocity_is_said(tmp_path, change, says):
    recording, _ = read(changed(tmp_path, change))
    found = [said for said in recording.warnings if said.startswith("no position is read")]
    assert len(found) == 1, recording.warnings
    assert says in found[0]
    assert "position_series=PATH" in found[0]


def test_a_file_with_a_velocity_alone_has_nothing_to_say_of_a_position(tmp_path):
    recording, _ = read(changed(tmp_path, lambda h5: h5.__delitem__(POSITION)))
    assert not [said for said in recording.warnings if "no position" in said]
