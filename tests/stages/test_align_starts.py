"""An alignment begins from several starts at once and goes on from the one that fits its trials best."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from nwb_latents.pipeline.stages.align import align
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training import alignment, alignment_starts, loop
from nwb_latents.pipeline.training.checkpoint import read_weights
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.run_files import read_config, read_entry
from nwb_latents.schemas.align import AlignSettings, ScratchSettings
from nwb_latents.schemas.catalog import Alignment
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings
from nwb_latents.schemas.training import BatchSettings, TrainSettings

NEW, OLD = "sub-C_ses-CO-1", ("sub-A_ses-CO-1", "sub-B_ses-CO-1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with three sessions and runs of two of them."""
    from conftest import Reaches, recording_of
    from stages.conftest import store_recording

    catalog = tmp_path_factory.mktemp("starts") / "catalog.yaml"
    for seed, subject in enumerate("ABC"):
        reaches = Reaches(n_trials=30, n_units=7 + seed, seed=seed)
        store_recording(catalog, recording_of(reaches), subject=subject)
    for start, name in (("random", "mine"), ("principal", "framed")):
        model = MDSSMSettings(
            latent_dim=3, rank=1, dynamics_width=8, hyper_width=8, encoder_width=8, start=start,
            read_in=ReadInSettings(hidden=8, width=4),
        )  # fmt: skip
        settings = TrainSettings(
            model=model, batch=BatchSettings(trials_per_session=4), max_steps=2, device="cpu"
        )
        train(catalog, settings, sessions=OLD, run_name=name)
    return catalog.parent


@pytest.fixture
def catalog(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "work") / "catalog.yaml"


def settings(**changes):
    brief = {"max_steps": 3, "starts": 3, "start_steps": 5, "device": "cpu"}
    return AlignSettings(**{**brief, "scratch": ScratchSettings(max_steps=3), **changes})


WORDS = {"run": "mine", "sessions": [NEW], "trials": [4]}


def test_the_start_of_least_loss_is_kept_and_all_losses_are_said(catalog):
    events = []
    (entry,) = align(catalog, settings(), **WORDS, report=events.append)
    made = entry.alignment
    assert len(made.start_losses) == 3
    assert np.isfinite(made.start_losses).all()
    assert len(set(made.start_losses)) == 3
    assert made.kept_start == int(np.argmin(made.start_losses))
    assert made.starts == ("conditions", "random", "random")
    assert entry.steps == 3 + 5
    (note,) = [event for event in events if event.event == "note"]
    assert note.status == "start kept"
    assert f"start {made.kept_start + 1} of 3" in note.text
    assert all(f"{loss:.1f}" in note.text for loss in made.start_losses)
    assert read_entry(catalog.parent / entry.path) == read_catalog(catalog).runs[entry.run] == entry
    assert not (catalog.parent / entry.path / "starts").exists()


def test_all_starts_are_trained_and_what_sessions_share_is_not(catalog, monkeypatch):
    seen = {}
    original = alignment_starts.best_start

    def watched(starts, feeds, asked, folder, **words):
        before = [{name: value.clone() for name, value in s.model.state_dict().items()} for s in starts]
        kept = original(starts, feeds, asked, folder, **words)
        seen["changed"] = [
            {name for name, value in s.model.state_dict().items() if not torch.equal(value, was[name])}
            for s, was in zip(starts, before, strict=True)
        ]
        seen["own"] = [start.trainable for start in starts]
        (feed,) = feeds.values()
        seen["losses"] = [alignment_starts.training_loss(s.model, feed, asked) for s in starts]
        return kept

    monkeypatch.setattr(alignment_starts, "best_start", watched)
    (entry,) = align(catalog, settings(), **WORDS)
    assert seen["changed"] == seen["own"]
    assert tuple(seen["losses"]) == entry.alignment.start_losses
    before, after = (read_weights(catalog.parent / "runs" / name / "best.safetensors")
                     for name in ("mine", entry.run))  # fmt: skip
    shared = set(after) - seen["own"][0]
    assert all(torch.equal(before[name], after[name]) for name in shared)


def test_the_same_seed_keeps_the_same_start_to_the_last_bit(catalog):
    def made(**words):
        (entry,) = align(catalog, settings(**words), **WORDS, force=True)
        return entry, (catalog.parent / entry.path / "best.safetensors").read_bytes()

    (first, bits), (again, same) = made(), made()
    assert first.alignment == again.alignment
    assert bits == same
    other, _ = made(seed=1)
    assert other.alignment.start_losses != first.alignment.start_losses


def test_frames_are_turned_and_several_starts_fit_no_worse_than_the_first(catalog):
    (entry,) = align(catalog, settings(start="random"), **{**WORDS, "run": "framed"})
    assert entry.alignment.starts == (
        "principal axes", "principal axes turned by 60°", "principal axes turned by 120°",
    )  # fmt: skip


def test_there_is_one_start_by_default_where_conditions_tell_it_and_several_where_they_do_not(catalog):
    (told,) = align(catalog, settings(starts=None), **WORDS)
    (untold,) = align(catalog, settings(starts=None, start="random"), **WORDS)
    assert told.alignment.starts == ()
    assert untold.alignment.starts == ("random",) * 4


def test_one_start_is_said_by_nothing_and_the_baseline_has_one(catalog):
    events = []
    aligned, scratch = align(catalog, settings(starts=1), **WORDS, from_scratch=True, report=events.append)
    assert [event for event in events if event.event == "note"] == []
    assert aligned.alignment.starts == scratch.alignment.starts == ()
    assert aligned.steps == 3
    several, same = align(catalog, settings(), **WORDS, from_scratch=True)
    assert several.run != aligned.run
    assert same.run == scratch.run


def test_records_of_a_time_of_single_starts_are_read():
    old = {"parent": "mine", "parent_key": "0", "n_trials": 8, "seed": 0}
    assert Alignment.model_validate(old).kept_start is None


def test_starts_that_cannot_lie_side_by_side_are_one_start_and_said(catalog, monkeypatch):
    monkeypatch.setattr(alignment_starts, "_stack", lambda *_: False)
    events = []
    (entry,) = align(catalog, settings(), **WORDS, report=events.append)
    assert entry.alignment.starts == ()
    (note,) = [event for event in events if event.event == "note"]
    assert note.status == "one start"
    assert "one start instead of several" in note.text


def test_starts_that_run_away_are_said_and_one_goes_on_alone(catalog, monkeypatch):
    def runs_away(*_, **__):
        raise loop.DivergedError("the loss is nan at step 3")

    alone = dict(align(catalog, settings(starts=1), **WORDS)[0].metrics)
    monkeypatch.setattr(alignment_starts, "fit", runs_away)
    events = []
    (entry,) = align(catalog, settings(), **WORDS, report=events.append, force=True)
    assert entry.alignment.starts == ()
    assert entry.steps == 3
    assert entry.metrics["loss"] == alone["loss"]
    (note,) = [event for event in events if event.event == "note"]
    assert note.status == "one start"
    assert "ran away (the loss is nan at step 3)" in note.text


def test_steps_of_starts_and_of_what_follows_are_counted_through(catalog):
    events = []
    align(catalog, settings(), **WORDS, report=events.append, force=True)
    steps = [(event.step, event.total) for event in events if event.event == "progress" and event.run]
    assert steps == [(5, 8), (8, 8)]


def test_a_start_of_the_batch_is_the_model_it_was(catalog):
    """The sessions of the model of all starts are the starts, whatever their order."""
    config, weights = (read_config(catalog.parent / "runs" / "mine", run_key=None),
                       read_weights(catalog.parent / "runs" / "mine" / "best.safetensors"))  # fmt: skip
    held = next(e for e in read_catalog(catalog).sessions.values() if e.session == NEW)
    session = open_session(catalog.parent / held.store).loaded()
    few = alignment.few_trials(session, session.rows("train")[:4], validation_share=0.0)
    asked = alignment.few_shot_settings(config.settings, settings(), from_scratch=False)
    feeds = feed_sessions([few], asked)
    starts = alignment_starts.starts_of(asked, feeds, weights, number=2, conditions=[""] * 4, means={})
    together, trainable = alignment.aligned_model(asked, {"a": 9, "b": 9}, weights)
    assert alignment_starts._stack(together, trainable, starts)
    for row, start in enumerate(starts):
        for name in trainable:
            assert torch.equal(together.state_dict()[name][row], start.model.state_dict()[name][0])


def test_every_start_sees_what_the_run_is_shown_and_no_more(catalog, monkeypatch):
    """What counts as missing or is held back hangs on the session, not on the number of the start."""
    from nwb_latents.schemas.masks import MaskSettings

    config, weights = (read_config(catalog.parent / "runs" / "mine", run_key=None),
                       read_weights(catalog.parent / "runs" / "mine" / "best.safetensors"))  # fmt: skip
    held = next(e for e in read_catalog(catalog).sessions.values() if e.session == NEW)
    session = open_session(catalog.parent / held.store).loaded()
    few = alignment.few_trials(session, session.rows("train")[:4], validation_share=0.0)
    asked = alignment.few_shot_settings(config.settings, settings(), from_scratch=False)
    asked = asked.model_copy(update={"masks": MaskSettings(observed_share=0.6, sample_validation=0.3)})
    feeds, seen = feed_sessions([few], asked), []
    original = loop.prepared

    def watched(model, sessions, *args, **words):
        seen.append(list(sessions.values()))
        return original(model, sessions, *args, **words)

    monkeypatch.setattr(loop, "prepared", watched)
    starts = alignment_starts.starts_of(asked, feeds, weights, number=2, conditions=[""] * 4, means={})
    alignment_starts.best_start(starts, feeds, asked, catalog.parent / "starts", pretrained=weights, steps=1)
    (shown,), wanted = seen, loop.masked_once(feeds[NEW], asked).train
    for each in shown:
        assert torch.equal(each.train.y.isfinite(), wanted.y.isfinite())
        assert torch.equal(each.train.held_back, wanted.held_back)
