"""Rates and velocity bin by bin are those of the whole trial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.online_decoding import StreamingDecoder, fit_streaming_decoder
from nwb_latents.schemas.online_decoding import StreamSettings
from nwb_latents.schemas.training import TrainSettings

SESSION = "sub-A_ses-CO-1"
CAUSAL = {"name": "ndt", "layers": 2, "hidden": 8, "context_back": 6, "context_forward": 0,
          "read_in": {"hidden": 8, "width": 8}}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory, make_reaches, as_recording, enter_recording):
    path = tmp_path_factory.mktemp("stream") / "catalog.yaml"
    recording = as_recording(make_reaches(n_trials=30, n_units=6, seed=0))
    enter_recording(path, recording, subject="A")
    (entry,) = select_sessions(read_catalog(path), [SESSION])
    location = path.parent / entry.store
    return path, open_session(location).loaded()


def trained(path, name, **changes):
    settings = TrainSettings.model_validate({
        "model": CAUSAL, "batch": {"trials_per_session": 8}, "device": "cpu", "max_steps": 3, **changes,
    })  # fmt: skip
    train(path, settings, sessions=[SESSION], run_name=name)
    return load_run(path.parent / "runs" / name, device="cpu")


def test_bins_one_by_one_are_the_whole_trial(store) -> None:
    path, session = store
    trials = session.trials
    run = trained(path, "causal")
    decoder = fit_streaming_decoder(run, session)
    assert decoder.lag_s == pytest.approx(0.1)
    whole = run.reconstruct(session)
    for trial in (0, 7):
        decoder.reset()
        made = [decoder.step(counts) for counts in trials["counts"].values[trial]]
        np.testing.assert_allclose([each.rates for each in made], whole[trial], rtol=1e-5)
        expected = decoder.velocity.predict(whole[trial])
        np.testing.assert_allclose([each.velocity for each in made], expected, rtol=1e-3, atol=1e-3)


def test_the_decoder_is_that_of_the_training_trials_alone(store) -> None:
    path, session = store
    run = trained(path, "fitted")
    rates = run.reconstruct(session)
    whole, alone = (
        fit_streaming_decoder(run, each).velocity.predict(rates)
        for each in (session, session.select(session.rows("train", purpose="a test")))
    )
    assert np.array_equal(whole, alone)


def test_a_decoder_of_several_bins_reads_those_of_the_trial_in_their_order(store) -> None:
    path, session = store
    run = trained(path, "history")
    settings = StreamSettings(decoder="wiener", decoder_settings={"wiener": {"history_bins": 3}})
    decoder = fit_streaming_decoder(run, session, settings)
    whole = run.reconstruct(session)
    for trial in (0, 7):
        decoder.reset()
        made = [decoder.step(counts) for counts in session.trials["counts"].values[trial]]
        # Of bins of the trial before nothing is decoded.
        assert [each.velocity is None for each in made[:3]] == [True, True, False]
        read = np.concatenate([whole[trial, :-2], whole[trial, 1:-1], whole[trial, 2:]], axis=1)
        expected = decoder.velocity.predict(read)
        np.testing.assert_allclose([each.velocity for each in made[2:]], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("lag_ms", "lag_bins"), [(0, 0), (60, 3), (-40, -2)])
def test_the_velocity_is_that_of_the_lag_after_the_bin(store, lag_ms, lag_bins) -> None:
    """Rates that are the velocity some bins later, so that this velocity alone can be told of them."""
    path, session = store
    start = session.trials["start_bin"].values[:, None]
    later = session.continuous["velocity"].values[start + np.arange(session.n_bins) + lag_bins]
    told = np.tile(later, 3).astype(np.float32) + np.float32(100)
    run = replace(trained(path, "lagged"), name="told")
    rows = dict(zip(session.trials["trial"].values.tolist(), told, strict=True))
    reconstruct = lambda shown: np.stack([rows[n] for n in shown.trials["trial"].values.tolist()])  # noqa: E731
    object.__setattr__(run, "reconstruct", reconstruct)
    decoder = fit_streaming_decoder(run, session, StreamSettings(lag_ms=lag_ms))
    assert decoder.lag_s == pytest.approx(lag_ms / 1000)
    decoded = decoder.velocity.predict(told.reshape(-1, 6))
    off = np.abs(decoded - later.reshape(-1, 2)).max()
    assert off < 0.02 * np.abs(later).max()


def test_what_cannot_be_streamed_is_refused(store) -> None:
    path, _ = store
    run = trained(path, "looks_ahead", model={**CAUSAL, "context_forward": 1})
    with pytest.raises(DataError, match="looks_ahead: a stream needs a causal model"):
        StreamingDecoder(run, SESSION)
    run = trained(path, "causal_again")
    with pytest.raises(DataError, match="was not trained on nobody"):
        StreamingDecoder(run, "nobody")
    with pytest.raises(DataError, match="trained with hidden units"):
        StreamingDecoder(
            replace(run, settings=run.settings.model_copy(update={"co_smoothing": True})), SESSION
        )
    with pytest.raises(DataError, match="expected one for each of 6 units"):
        StreamingDecoder(run, SESSION).step(np.zeros(5))
    smooth = trained(path, "smooth", signal="rates")
    with pytest.raises(
        DataError, match="trained on smoothed rates: those of a bin change with every bin after it"
    ):
        StreamingDecoder(smooth, SESSION)


def test_hidden_and_missing_units_change_nothing(store) -> None:
    path, session = store
    run = trained(path, "some_hidden")
    counts = session.trials["counts"].values[0, 0].astype(np.float32)
    missing, other = counts.copy(), counts.copy()
    missing[2], other[2] = np.nan, counts[2] + 5
    hidden = np.arange(6) == 2
    hides, sees = StreamingDecoder(run, SESSION, hidden=hidden), StreamingDecoder(run, SESSION)
    expected = sees.step(missing).rates
    assert np.array_equal(hides.step(other).rates, expected)
    sees.reset()
    assert not np.array_equal(sees.step(other).rates, expected)
