"""Ingest says what it read from where, every warning of a store, and what was left out: on any cluster."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.event_text import event_text
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.ingest_drops import unusual_drops
from nwb_latents.pipeline.stages.read_text import ReadText
from nwb_latents.pipeline.stores.trials import read_attributes, read_trials
from nwb_latents.schemas.events import ReadEvent
from nwb_latents.schemas.store import ReadChoice

TABLE = "intervals/trials"


@pytest.fixture
def folder(tmp_path, make_nwb, make_reaches):
    """Return a folder of three sessions; the last has a go cue of another name, and no column is listed."""
    for number in range(3):
        path = make_nwb(
            tmp_path / "nwb" / f"sub-A_ses-CO-{number}.nwb", make_reaches(seed=number), session=f"CO-{number}"
        )
    with h5py.File(path, "r+") as h5:
        h5.move(f"{TABLE}/go_cue_time", f"{TABLE}/GoCue")
    return tmp_path / "nwb"


def run(folder, tmp_path, **words):
    events = []
    entries = ingest(
        tmp_path / "work" / "catalog.yaml", FolderSource([folder]), report=events.append, **words
    )
    return entries, events


@pytest.mark.parametrize("cluster", ["serial", "local:2"])
def test_every_choice_and_warning_of_a_store_comes_back_from_wherever_it_was_made(folder, tmp_path, cluster):
    entries, events = run(folder, tmp_path, cluster=cluster)
    read = {event.session: event for event in events if event.event == "read"}
    assert set(read) == {entry.session for entry in entries}
    for entry in entries:
        origin = read_attributes(tmp_path / "work" / entry.store).provenance
        assert read[entry.session].choices == origin.choices
        assert read[entry.session].warnings == origin.warnings


def test_it_ends_with_what_was_left_out_of_all_stores(folder, tmp_path):
    entries, events = run(folder, tmp_path)
    last = events[-1]
    assert last.event == "dropped"
    assert last.n_trials == sum(entry.n_trials for entry in entries)
    stored = [read_attributes(tmp_path / "work" / entry.store).dropped for entry in entries]
    reasons = {reason for each in stored for reason in each.trials}
    assert last.trials == {r: sum(each.trials.get(r, 0) for each in stored) for r in reasons}
    assert f"{last.n_trials} trials kept" in event_text(last)


def test_a_second_run_says_no_choices_again_but_still_what_the_stores_lack(folder, tmp_path):
    _, first = run(folder, tmp_path)
    _, second = run(folder, tmp_path)
    assert not [event for event in second if event.event == "read"]
    assert second[-1] == first[-1]


def said(session, *, go="/t/go", warnings=()):
    choices = (ReadChoice(what="go_cue", value=go, why=f"of {session}"),)
    return ReadEvent(session=session, source="f", layout="generic", choices=choices, warnings=tuple(warnings))


def test_later_sessions_say_only_what_differs_and_no_warning_is_lost():
    text = ReadText()
    assert text.lines(said("a", warnings=["odd"])) == ["  go_cue: /t/go (of a)", "  warning: odd"]
    assert text.lines(said("b", warnings=["odd", "odder"])) == [
        "  read as a", "  warning: odder", "  1 warning as of a",
    ]  # fmt: skip
    assert text.lines(said("c", go="/t/cue")) == ["  read as a, but", "    go_cue: /t/cue (of c)"]
    assert text.lines(said("d", go="/t/cue")) == ["  read as c"]


def test_sessions_that_lose_most_or_much_more_than_the_others_are_named():
    usual = [(f"s{i}", 90, {"x": 10}) for i in range(4)]
    found = unusual_drops([*usual, ("odd", 60, {"x": 10, "y": 30}), ("bad", 10, {"y": 90})], "trials")
    assert [(one.session, one.reason, one.n, one.of) for one in found] == [
        ("odd", "y", 40, 100),
        ("bad", "y", 90, 100),
    ]


def test_kinematics_in_degrees_are_said_to_be_that_wherever_they_are_shown(tmp_path, make_nwb, make_reaches):
    path = make_nwb(tmp_path / "nwb" / "sub-A_ses-CO-0.nwb", make_reaches())
    with h5py.File(path, "r+") as h5:
        series = []
        h5.visititems(lambda name, item: series.append(name) if name.endswith("/data") else None)
        for name in series:
            h5[name].attrs["unit"] = "degrees" if "pos" in name.lower() else "degrees/s"
            h5[name].attrs["conversion"] = 1.0
    (entry,), events = run(path.parent, tmp_path)
    store = tmp_path / "work" / entry.store
    assert read_attributes(store).kinematics_unit == "degrees"
    trials = read_trials(store)
    assert trials["velocity"].attrs["units"] == "degrees/s"
    assert trials["peak_speed"].attrs["units"] == "degrees/s"
    assert np.isfinite(trials["velocity"].values).any()
    assert next(event for event in events if event.event == "read").kinematics_unit == "degrees"
