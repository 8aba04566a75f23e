"""Links that lead nowhere or in circles, ids that name nothing, and paths that are no files."""

from __future__ import annotations

import os
import re
import socket

import h5py
import numpy as np
import pytest
from nwb.odd_files import BEHAVIOUR, SERIES, TRIALS, put, write_plain
from nwb.test_odd_files import AS_PLAIN, changed, plain, read

from nwb_latents.pipeline.errors import DataError, PipelineError
from nwb_latents.pipeline.nwb.file import open_nwb
from nwb_latents.pipeline.sources.folder import FolderSource

__all__ = ["plain"]
HAND, VELOCITY = SERIES
SESSION_ID, SUBJECT_ID = "general/session_id", "general/subject/subject_id"


def link(path, target):
    def change(h5):
        if path in h5:
            del h5[path]
        h5[path] = target

    return change


def untyped(h5, value=None):
    """Take the type from a series beside the hand's, or give it one that is no text."""
    h5.copy(HAND, f"{BEHAVIOUR}/other")
    if value is None:
        del h5[f"{BEHAVIOUR}/other"].attrs["neurodata_type"]
    else:
        h5[f"{BEHAVIOUR}/other"].attrs["neurodata_type"] = value


def subject_as_text(h5):
    del h5["general/subject"]
    h5["general/subject"] = "T"


LINKS = {
    "a broken series beside a good one": (
        link(f"{BEHAVIOUR}/cursor_pos", h5py.SoftLink("/nope")),
        "/processing/behavior/cursor_pos is a link to /nope, and there is nothing; it is passed over",
    ),
    "a broken link to another file beside a good series": (
        link("acquisition/cursor_pos", h5py.ExternalLink("gone.nwb", "/a")),
        "/acquisition/cursor_pos is a link to /a in the file gone.nwb, and there is nothing",
    ),
    "a broken column of the trial table": (
        link(f"{TRIALS}/weight", h5py.SoftLink("/nope")),
        "/intervals/trials/weight is a link to /nope",
    ),
    "broken ids of trials": (
        link(f"{TRIALS}/id", h5py.SoftLink("/nope")),
        "/intervals/trials/id is a link to /nope",
    ),
    "a link to the whole file": (link("acquisition/root", h5py.SoftLink("/")), ""),
    "a hard link to the whole file": (lambda h: h.__setitem__("acquisition/root", h["/"]), ""),
    "a module that holds itself": (
        lambda h: (
            h.__setitem__(f"{BEHAVIOUR}/again", h["processing"]),
            h.__setitem__("acquisition/b", h[BEHAVIOUR]),
        ),
        "",
    ),
    "an alias that sorts first": (link(f"{BEHAVIOUR}/a_hand_pos", h5py.SoftLink(f"/{HAND}")), ""),
    "an alias deeper down": (
        lambda h: h.__setitem__("acquisition/a/b/c/hand_pos", h5py.SoftLink(f"/{HAND}")),
        "",
    ),
    "a series without a type": (untyped, "/processing/behavior/other holds data, but no neurodata_type"),
    "a type that is a number": (lambda h: untyped(h, 7), "other holds data, but no neurodata_type"),
}

IDS = {
    "a broken link": (link(SESSION_ID, h5py.SoftLink("/nope")), "sub-T_ses-odd", "session_id is a link to"),
    "nothing": (lambda h: put(h, SESSION_ID, ""), "sub-T_ses-odd", "session_id is empty"),
    "a null": (lambda h: put(h, SESSION_ID, h5py.Empty("S1")), "sub-T_ses-odd", "session_id is empty"),
    "several": (
        lambda h: put(h, SESSION_ID, ["a", "b"]),
        "sub-T_ses-a",
        "holds 2 values, of which the first",
    ),
    "a number": (lambda h: put(h, SESSION_ID, 5), "sub-T_ses-5", "is the number 5"),
    "no letter": (lambda h: put(h, SESSION_ID, ".."), "sub-T_ses-odd", "is '..', without a letter or digit"),
    "signs among other letters": (
        lambda h: put(h, SESSION_ID, "日本/1"),
        "sub-T_ses-日本-1",
        "characters that no id may have",
    ),
    "a way up": (lambda h: put(h, SESSION_ID, "../../etc/x"), "sub-T_ses-etc-x", "that no id may have"),
    "a group": (
        lambda h: (h.__delitem__(SESSION_ID), h.create_group(SESSION_ID)),
        "sub-T_ses-odd",
        "is a group, and no text",
    ),
    "a reference": (
        lambda h: (
            h.__delitem__(SESSION_ID),
            h.create_dataset(SESSION_ID, data=h["units"].ref, dtype=h5py.ref_dtype),
        ),
        "sub-T_ses-odd",
        "which names nothing",
    ),
    "no subject": (
        lambda h: h["general"].__delitem__("subject"),
        "sub-unknown_ses-1",
        "subject_id is not there: the subject is called unknown",
    ),
    "a subject as text": (subject_as_text, "sub-unknown_ses-1", "/general/subject is an array, and no group"),
    "no general": (lambda h: h.__delitem__("general"), "sub-unknown_ses-odd", "session_id is not there"),
    "a version that is none": (
        lambda h: h.attrs.__setitem__("nwb_version", "abc"),
        "sub-T_ses-1",
        "nwb_version is 'abc'",
    ),
    "a version as a number": (
        lambda h: h.attrs.__setitem__("nwb_version", 2.7),
        "sub-T_ses-1",
        "nwb_version is 2.7",
    ),
}


@pytest.mark.parametrize("name", LINKS)
def test_of_links_the_series_at_its_own_place_is_read_and_what_is_broken_is_named(name, tmp_path, plain):
    change, said = LINKS[name]
    recording, trials = read(changed(tmp_path, change))
    assert trials.trials["counts"].shape[::2] == AS_PLAIN
    assert int(trials.trials["counts"].sum()) == plain
    assert (recording.position_series, recording.velocity_series) == SERIES
    assert not said or any(said in text for text in recording.warnings), recording.warnings


@pytest.mark.parametrize("name", IDS)
def test_what_is_taken_for_an_odd_id_is_said(name, tmp_path):
    change, session, said = IDS[name]
    recording, _ = read(changed(tmp_path, change))
    assert recording.session == session
    assert any(re.search(re.escape(said), text) for text in recording.warnings), recording.warnings


def test_long_ids_fit_into_names_of_files_and_stay_apart(tmp_path):
    found = []
    for end in "ab":
        recording, _ = read(changed(tmp_path, lambda h, end=end: put(h, SESSION_ID, "x" * 300 + end)))
        found.append(recording.session)
        assert any("301 characters, more than names of files have room for" in w for w in recording.warnings)
    assert len(set(found)) == 2
    assert max(map(len, found)) < 120


def test_a_name_after_bids_states_the_subject_without_a_word(tmp_path):
    path = write_plain(tmp_path / "sub-Q_ses-7_ecephys.nwb")
    with h5py.File(path, "r+") as h5:
        del h5["general"]
    recording, _ = read(path)
    assert (recording.session, recording.subject) == ("sub-Q_ses-7", "Q")
    assert not any("called" in text for text in recording.warnings)


def test_series_without_any_type_are_named_where_nothing_else_is_found(tmp_path):
    def change(h5):
        for path in SERIES:
            del h5[path].attrs["neurodata_type"]

    path = changed(tmp_path, change)
    with pytest.raises(
        DataError, match=r"/processing/behavior/hand_pos, .* hold data, but no neurodata_type"
    ):
        read(path)
    recording, _ = read(path, f"position_series={HAND}", f"velocity_series={VELOCITY}")
    assert recording.position_series == HAND


def test_what_is_no_file_is_refused_at_once(tmp_path):
    pipe, loop, nowhere = tmp_path / "pipe.nwb", tmp_path / "loop.nwb", tmp_path / "nowhere.nwb"
    os.mkfifo(pipe)
    loop.symlink_to(loop.name)
    nowhere.symlink_to("/not/there.nwb")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket.nwb"))
    for path, said in (
        (pipe, "a pipe, and no file"),
        (tmp_path / "socket.nwb", "a socket, and no file"),
        (os.devnull, "a device, and no file"),
        (loop, "a link that leads to itself"),
        (nowhere, "a link to /not/there.nwb, a file that is not there"),
    ):
        for look in (lambda p: open_nwb(p).__enter__(), lambda p: FolderSource([p]).assets()):
            with pytest.raises(DataError, match=said):
                look(type(pipe)(path))
    write_plain(tmp_path / "good.nwb")
    source = FolderSource([tmp_path])
    assert [asset.path for asset in source.assets()] == ["good.nwb"]
    assert any("pipe.nwb is passed over: a pipe" in note for note in source.notes)


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bits_end_in_a_sentence_or_change_nothing_but_values(seed, tmp_path):
    path = write_plain(tmp_path / "odd.nwb")
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for at in rng.integers(96, 12000, 40):
        content[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(content))
    refusal = ""
    try:
        recording, made = read(path)
    except PipelineError as error:  # Anything else that is raised fails the test.
        refusal = str(error)
    if refusal:
        assert "odd.nwb" in refusal
        return
    plain, plainly = read(write_plain(tmp_path / "plain.nwb"))
    assert recording.spike_index[-1] == len(recording.spike_times)
    assert made.trials["counts"].shape[1:2] == plainly.trials["counts"].shape[1:2]
    assert len(made.trials["counts"]) <= len(plain.trials)
    assert np.isfinite(made.trials["rates"]).all()
