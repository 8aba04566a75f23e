"""Trials that are read when they are drawn train the same run, to the last bit."""

from __future__ import annotations

import hashlib
import threading

import pytest
import torch
from small_models import SMALL

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.training import stored_trials
from nwb_latents.pipeline.training.run_files import BEST, LAST, METRICS
from nwb_latents.schemas.training import TrainSettings


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording, enter_recording):
    path = tmp_path / "catalog.yaml"
    for number, subject in enumerate("ABCD"):
        recording = as_recording(make_reaches(n_trials=30, n_units=6 + number, seed=number))
        enter_recording(path, recording, subject=subject)
    return path


def settings_of(**more):
    return TrainSettings.model_validate({
        "model": {"name": "mdssm", **SMALL["mdssm"]}, "device": "cpu",
        "batch": {"trials_per_session": 4, "sessions_per_step": 2, "sessions_per_block": 1},
        "max_steps": 8, "validate_every": 4, "checkpoint_every": 4, **more,
    })  # fmt: skip


LFADS = {"model": {"name": "lfads", **SMALL["lfads"]}, "standardise": False}
CASES = {
    "plain": {},
    "started at principal components": {"model": {"name": "mdssm", **SMALL["mdssm"], "start": "principal"}},
    "masked once": {"masks": {"sample_validation": 0.1, "observed_share": 0.8}},
    "co-smoothing and forward bins": {
        **LFADS, "co_smoothing": True, "heldout_fraction": 0.3, "forward_ms": 100.0,
    },
    "counts and jitter": {**LFADS, "masks": {"spike_jitter": 1}},
    "velocity": {"model": {"name": "mdssm", **SMALL["mdssm"], "behaviour_weight": 1.0}},
}  # fmt: skip


WHOLE_RECORDINGS = {"co-smoothing and forward bins", "velocity"}
"""Cases in which the recording is read beside the trials."""


def digests(catalog, name):
    folder = catalog.parent / "runs" / name
    return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (LAST, BEST, METRICS)}


def notes(events):
    return [event.text for event in events if event.event == "note" and "the trials of" in event.text]


@pytest.mark.parametrize("case", list(CASES))
def test_reading_when_drawn_and_reading_everything_are_one_run(catalog, case, monkeypatch):
    read, events, plain = [], [], stored_trials.feed_session

    def watched(session, *args, **words):
        read.append((session.name, threading.current_thread() is threading.main_thread()))
        return plain(session, *args, **words)

    monkeypatch.setattr(stored_trials, "feed_session", watched)
    monkeypatch.setattr(stored_trials, "bytes_of", lambda _: 10**12)  # None is kept.
    whole = train(catalog, settings_of(**CASES[case]), run_name="whole")
    assert not read
    # Room for a session and the batches of a step, and for not all of them.
    room = settings_of(**CASES[case], data_memory_gb=0.0014 if case in WHOLE_RECORDINGS else 0.0008)
    stored = train(catalog, room, run_name="stored", report=events.append)
    assert "are read when they are drawn" in notes(events)[0]
    assert stored.run_key == whole.run_key
    assert digests(catalog, "stored") == digests(catalog, "whole")
    assert len(read) > 4
    assert not all(in_main for _, in_main in read), "nothing was read ahead"


def test_what_fits_is_kept_and_that_is_said(catalog):
    events = []
    train(catalog, settings_of(data_memory_gb=1.0), run_name="kept", report=events.append)
    (text,) = notes(events)
    assert text == "the trials of 4 sessions are kept in memory: about 0.0011 GB of 1.0 GB (data_memory_gb)"


def test_memory_for_less_than_a_session_is_refused_with_what_mends_it(catalog):
    with pytest.raises(MachineError, match=r"one session and the batches .* larger data_memory_gb"):
        train(catalog, settings_of(data_memory_gb=1e-5))


def test_sessions_are_kept_as_long_as_there_is_room(make_reaches, as_recording, enter_recording, catalog):
    from nwb_latents.pipeline.stores.catalog import read_catalog
    from nwb_latents.pipeline.stores.location import store_path
    from nwb_latents.pipeline.training.training_start import training_session

    stores = [store_path(catalog, one.store) for one in read_catalog(catalog).sessions.values()]
    opened = []

    def opener(store):
        def opened_again():
            opened.append(store)
            return training_session(store, 0.0, loaded=False)

        return opened_again

    sessions = stored_trials.StoredSessions([opener(store) for store in stores])
    whole = stored_trials.stored_feeds(sessions, settings_of(), room=0)
    first = sum(
        stored_trials.bytes_of(part.read()) for part in (whole[min(whole)].train, whole[min(whole)].val)
    )
    for feed in whole.values():
        feed.train.read()
    opened.clear()
    stay_open = stored_trials.StoredSessions([opener(store) for store in stores], stay_open=True)
    for feed in stored_trials.stored_feeds(stay_open, settings_of(), room=0).values():
        for name in ("y", "target"):
            again, was = (getattr(one.train.read(), name) for one in (feed, whole[feed.train.session]))
            assert torch.equal(again, was)
    assert len(opened) == 4 + 8
    for room, reads in ((0, 8), (10**9, 4), (first, 7)):
        feeds = stored_trials.changed_once(
            stored_trials.stored_feeds(sessions, settings_of(), room=room), lambda feed: feed
        )
        opened.clear()
        for _ in range(2):
            for feed in feeds.values():
                feed.train.read()
        assert len(opened) == reads
