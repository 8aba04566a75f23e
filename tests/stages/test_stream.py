"""Bin-by-bin decoding as a user meets it: replayed, or of counts through a pipe, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, UsageError
from nwb_latents.pipeline.stages.stream import StreamTiming, stream
from nwb_latents.pipeline.stages.stream_counts import parse_counts
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.online_decoding import fit_streaming_decoder
from nwb_latents.schemas.events import BinEvent, NoteEvent, StreamEvent, StreamTimingEvent
from nwb_latents.schemas.online_decoding import StreamSettings
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

SESSION = "sub-A_ses-CO-1"
CAUSAL = {"name": "ndt", "layers": 2, "hidden": 8, "context_back": 6, "context_forward": 0,
          "read_in": {"hidden": 8, "width": 8}}  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, make_reaches, as_recording, enter_recording) -> Path:
    path = tmp_path_factory.mktemp("stream") / "catalog.yaml"
    for subject, seed in (("A", 0), ("B", 1)):
        recording = as_recording(make_reaches(n_trials=30, n_units=6, seed=seed))
        enter_recording(path, recording, subject=subject)
    trained(path, "causal")
    return path


def trained(path, name, **changes) -> None:
    settings = TrainSettings.model_validate({
        "model": CAUSAL, "batch": {"trials_per_session": 8}, "device": "cpu", "max_steps": 3, **changes,
    })  # fmt: skip
    train(path, settings, sessions=[SESSION], run_name=name)


@pytest.fixture(scope="module")
def session(catalog):
    (entry,) = select_sessions(read_catalog(catalog), [SESSION])
    return open_session(catalog.parent / entry.store).loaded()


def replayed(catalog, run="causal", **words):
    events = []
    timing = stream(catalog, run, session=SESSION, report=events.append, **words)
    return timing, events


def bins_of(events):
    return [event for event in events if isinstance(event, BinEvent)]


def test_a_replay_gives_the_rates_of_the_whole_trial_and_the_velocity_decoded_of_them(catalog, session):
    timing, events = replayed(catalog)
    run = load_run(catalog.parent / "runs" / "causal", device="cpu")
    whole = run.reconstruct(session)
    decoder = fit_streaming_decoder(run, session)
    told = bins_of(events)
    assert [(one.trial, one.bin) for one in told] == [
        (trial, k) for trial in session.trials["trial"].values for k in range(session.n_bins)
    ]
    rates = np.array([one.rates for one in told]).reshape(whole.shape)
    np.testing.assert_allclose(rates, whole, rtol=1e-5)
    velocity = np.array([one.velocity for one in told]).reshape(*whole.shape[:2], -1)
    np.testing.assert_allclose(velocity, decoder.velocity.predict(whole), rtol=1e-3, atol=1e-3)
    assert timing.n_trials == session.n_trials
    assert len(timing.seconds) == len(told)


def test_what_the_numbers_are_is_said_first_and_how_fast_it_was_last(catalog, session):
    timing, events = replayed(catalog, trials=[int(session.trials["trial"][3])])
    first, last = next(e for e in events if isinstance(e, StreamEvent)), events[-1]
    assert first.units == tuple(session.trials["unit"].values)
    assert (first.axes, first.lag_ms, first.decoder) == (session.axes, 100.0, "ridge")
    assert isinstance(last, StreamTimingEvent)
    assert last.n_bins == session.n_bins
    assert 0 < last.median_ms <= last.p99_ms <= last.max_ms
    assert last.n_late == int((timing.seconds > 0.02).sum())


def test_times_are_told_in_milliseconds_and_bins_that_came_late_are_counted():
    seconds = np.array([0.001] * 90 + [0.004] * 5 + [0.011] * 4 + [0.5])
    timing = StreamTiming(seconds, n_trials=7, bin_size_s=0.01)
    told = timing.event()
    assert (told.n_bins, told.n_trials, told.bin_ms) == (100, 7, 10.0)
    assert (told.median_ms, told.max_ms) == (1.0, 500.0)
    assert told.p99_ms == pytest.approx(np.percentile(seconds, 99) * 1e3, abs=1e-3)
    assert told.n_late == timing.n_late == 5


def test_trials_are_chosen_by_number_and_split_and_training_trials_are_said(catalog, session):
    ids = session.trials["trial"].values
    test = ids[session.split == "test"]
    _, events = replayed(catalog, split="test")
    assert sorted({one.trial for one in bins_of(events)}) == sorted(test)
    assert not [e for e in events if isinstance(e, NoteEvent)]
    wanted = [int(ids[5]), int(ids[2])]
    _, events = replayed(catalog, trials=wanted)
    assert list(dict.fromkeys(one.trial for one in bins_of(events))) == wanted
    _, events = replayed(catalog)
    (note,) = [e for e in events if isinstance(e, NoteEvent)]
    assert note.text.startswith(
        f"{int((session.split == 'train').sum())} of {len(ids)} trials are training trials"
    )
    with pytest.raises(DataError, match="no trial 999"):
        replayed(catalog, trials=[999])


def test_only_what_is_asked_for_is_given(catalog):
    _, events = replayed(catalog, settings=StreamSettings(velocity=False), split="test")
    begun = next(e for e in events if isinstance(e, StreamEvent))
    assert (begun.axes, begun.lag_ms, begun.decoder, begun.bin_ms) == ((), None, None, 20.0)
    assert all(one.velocity is None and one.rates is not None for one in bins_of(events))
    _, events = replayed(catalog, settings=StreamSettings(rates=False), split="test")
    assert all(one.velocity is not None and one.rates is None for one in bins_of(events))
    with pytest.raises(UsageError, match="neither rates nor velocity"):
        replayed(catalog, settings=StreamSettings(rates=False, velocity=False))


def test_a_decoder_of_several_bins_answers_once_it_has_them(catalog, session):
    settings = StreamSettings(decoder="wiener", decoder_settings={"wiener": {"history_bins": 3}})
    _, events = replayed(catalog, settings=settings, split="test")
    told = bins_of(events)
    assert all((one.velocity is None) == (one.bin < 2) for one in told)
    decoder = fit_streaming_decoder(
        load_run(catalog.parent / "runs" / "causal", device="cpu"), session, settings
    )
    trial = [np.array(one.rates) for one in told if one.trial == told[0].trial]
    expected = decoder.velocity.predict(np.concatenate(trial[4:7]))
    np.testing.assert_allclose(told[6].velocity, expected, rtol=1e-4, atol=1e-4)


def lines_of(session, row):
    return [json.dumps(counts.tolist()) for counts in session.trials["counts"].values[row]]


def test_counts_that_are_read_give_what_the_replay_gives(catalog, session):
    rows = [4, 9]
    ids = [int(session.trials["trial"][row]) for row in rows]
    _, replay = replayed(catalog, trials=ids)
    lines = ["", *lines_of(session, 4), "", "", *(line.strip("[]") for line in lines_of(session, 9))]
    _, read = replayed(catalog, lines=lines)
    assert [(one.rates, one.velocity) for one in bins_of(read)] == [
        (one.rates, one.velocity) for one in bins_of(replay)
    ]
    assert {one.trial for one in bins_of(read)} == {0, 1}


def test_every_line_is_answered_before_the_next_one_is_sent(catalog, session):
    words = [
        sys.executable,
        "-m",
        "nwb_latents.pipeline.cli.main",
        "run",
        "stream",
        "causal",
        "--session",
        SESSION,
    ]
    process = subprocess.Popen(
        [*words, "--catalog", str(catalog), "--from", "-", "--json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert json.loads(process.stdout.readline())["event"] == "stream"
    for k, line in enumerate(lines_of(session, 4)):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert (answer["event"], answer["trial"], answer["bin"]) == ("bin", 0, k)
        assert len(answer["rates"]) == session.n_units
    process.stdin.close()
    (last,) = [json.loads(line) for line in process.stdout]
    assert (last["event"], last["n_bins"]) == ("stream_timing", session.n_bins)
    assert process.wait() == 0
    assert process.stderr.read().count("Traceback") == 0
    process.stdout.close(), process.stderr.close()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 2 3", "line 2: 3 counts; the session has 6 units"),
        ("[1, 2, 3, 4, 5, -1]", "line 2: count -1 of unit 5"),
        ("1 2 NaN 4 5 6", "line 2: count NaN of unit 2"),
        ("[1, 2, NaN, 4, 5, 6]", "line 2: count NaN of unit 2"),
        ("[1, 2, Infinity, 4, 5, 6]", "line 2: count Infinity of unit 2"),
        ("1 2 0.5 4 5 6", "line 2: count 0.5 of unit 2"),
        ("[1, true, 3, 4, 5, 6]", "line 2: count true of unit 1"),
        ("[1, [2], 3, 4, 5, 6]", r"line 2: count \[2\] of unit 1"),
        ("[1, 2", "line 2: cannot be read as a JSON array"),
        ("one two three four five six", "line 2: count one of unit 0"),
        ('{"counts": [1, 2, 3, 4, 5, 6]}', "line 2: .* is no JSON array of counts"),
        ("[" * 5000, "line 2: cannot be read as a JSON array"),
        ("[1, 2, 3, 4, 5, 1e308]", "line 2: count 1e.308 of unit 5 .* 0 to 16777216"),
        ("1 2 3 4 5 1_0", "line 2: count 1_0 of unit 5"),
    ],
)
def test_a_line_that_is_no_bin_of_counts_is_refused_after_those_before_were_answered(catalog, line, says):
    events = []
    with pytest.raises(DataError, match=says):
        stream(catalog, "causal", session=SESSION, lines=["0 0 1 0 2 0", line], report=events.append)
    assert len(bins_of(events)) == 1
    assert isinstance(events[-1], StreamTimingEvent)


def test_a_unit_that_was_not_recorded_is_null():
    assert parse_counts("[0, null]", n_units=2, where="line 1").tolist() == pytest.approx(
        [0, np.nan], nan_ok=True
    )


def test_a_trial_longer_than_the_model_has_bins_for_is_refused_with_the_remedy(catalog, session):
    longest = load_run(catalog.parent / "runs" / "causal", device="cpu").model.encoder.max_bins
    with pytest.raises(
        DataError, match=rf"line {longest + 1}, bin {longest} .* An empty line begins a trial"
    ):
        replayed(catalog, lines=["0 0 1 0 2 0"] * (longest + 1))


def test_who_cannot_be_streamed_is_refused_with_who_can(catalog):
    model = {"name": "mdssm", "latent_dim": 2, "rank": 1, "dynamics_width": 8, "hyper_width": 8,
             "encoder_width": 8, "read_in": {"hidden": 8, "width": 4}}  # fmt: skip
    trained(catalog, "looks-back-and-forth", model=model)
    with pytest.raises(DataError, match=r"looks-back-and-forth: the model mdssm .*Choose a run of ndt"):
        replayed(catalog, "looks-back-and-forth")
    trained(catalog, "ahead", model={**CAUSAL, "context_forward": 1})
    with pytest.raises(DataError, match="context_forward"):
        replayed(catalog, "ahead")
    with pytest.raises(DataError, match="No run is called nobody"):
        replayed(catalog, "nobody")
    with pytest.raises(DataError, match=r"trained on none of the chosen sessions; it knows sub-A_ses-CO-1"):
        stream(catalog, "causal", session="sub-B_ses-CO-1")
    with pytest.raises(DataError, match="No session matches sub-X"):
        stream(catalog, "causal", session="sub-X")
    with pytest.raises(UsageError, match="a stream is of one session"):
        stream(catalog, "causal", session="*")
    with pytest.raises(UsageError, match="choose trials to replay"):
        replayed(catalog, lines=[], trials=[1])


@pytest.mark.parametrize(
    ("text", "n_bins", "is_said"),
    [
        ("[0, 0, 1, 0, 2, 0]\n[0, 0, 1, 0, 2, 0]\n", 2, False),
        ("[0, 0, 1, 0, 2, 0]\n[0, 0, 1, 0, 2, 0]", 2, False),
        ("0 0 1 0 2 0\n0 0 1 0 2 0\n", 2, False),
        ("0 0 1 0 2 0\n0 0 1 0 2 0", 2, True),
        ("\ufeff0 0 1 0 2 0\r\n\r\n0 0 1 0 2 0\r\n", 2, False),
    ],
)
def test_a_last_line_without_an_end_is_taken_and_said_where_it_may_be_torn(
    catalog, tmp_path, pipeline_command, text, n_bins, is_said
):
    counts = tmp_path / "counts.txt"
    counts.write_bytes(text.encode())
    words = ("run", "stream", "causal", "--session", SESSION, "--catalog", catalog, "--no-velocity")
    shown = pipeline_command(*words, "--from", counts)
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) == n_bins
    assert ("line 2, the last, does not end with a line break" in shown.stderr) == is_said


def test_the_command_prints_bins_alone_on_standard_output(catalog, session, pipeline_command):
    words = ("run", "stream", "causal", "--session", SESSION, "--catalog", catalog, "--split", "test")
    shown = pipeline_command(*words, "--no-rates")
    assert shown.returncode == 0, shown.stderr
    bins = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {one["event"] for one in bins} == {"bin"}
    assert "rates" not in bins[0]
    assert len(bins[0]["velocity"]) == 2
    assert "6 units, bins of 20 ms, velocity 100 ms later (ridge)" in shown.stderr
    assert "99th percentile" in shown.stderr
    assert pipeline_command(*words, "--quiet").stderr == ""
    assert pipeline_command("run", "stream", "causal").returncode == 2
    wrong = pipeline_command(*words, "--decoder", "rigde")
    assert (wrong.returncode, "did you mean ridge" in wrong.stderr) == (4, True)
    missing = pipeline_command(*words[:7], "--from", "nowhere.txt")
    assert (missing.returncode, "nowhere.txt" in missing.stderr) == (4, True)
