"""Bins of history: put together as they were recorded, and never from another split."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.history import has_history, with_history
from nwb_latents.pipeline.evaluation.decoding.ridge import fit_ridge
from nwb_latents.pipeline.evaluation.decoding.session_decoder import decode_session, fit_session_decoder
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.decoding import DecodeSettings

SETTINGS = DecodeSettings(history_bins=4)


@pytest.fixture
def session(make_session):
    return make_session()


def rows(trials, split):
    return np.flatnonzero(trials["split"].values == split)


@pytest.mark.parametrize("bins", [1, 2, 5, 9])
def test_history_is_that_of_a_loop(bins):
    rng = np.random.default_rng(0)
    rates, before = rng.normal(size=(3, 6, 4)), rng.normal(size=(3, bins - 1, 4))
    whole = np.concatenate([before, rates], axis=1)
    features = with_history(rates, bins=bins, before=before)
    for trial in range(3):
        for t in range(6):
            expected = np.concatenate([whole[trial, t + k] for k in range(bins)])
            assert (features[trial, t] == expected).all()
    assert has_history(3, 6, bins=bins, before=before).all()


def test_without_a_past_the_first_bins_are_not_known():
    assert has_history(2, 4, bins=3).tolist() == [[False, False, True, True]] * 2
    past = np.full((2, 2, 5), 1.0)
    past[1, 1, 3] = np.nan
    assert has_history(2, 4, bins=3, before=past).tolist() == [[True] * 4, [False, False, True, True]]


def test_the_past_is_the_recording_where_it_was_recorded(session):
    trials, continuous = session
    continuous = continuous.copy(deep=True)
    first = trials["start_bin"].values
    continuous["observed"][first[3] - 2] = False
    past = session_in_memory(trials, continuous).rates_before(n_bins=3)
    assert (past[0] == continuous["rates"].values[first[0] - 3 : first[0]]).all()
    assert np.isnan(past[3]).all(axis=-1).tolist() == [False, True, False]
    at_start = trials.assign_coords(start_bin=("trial", first - first[0] + 1))
    assert np.isnan(session_in_memory(at_start, continuous).rates_before(n_bins=3)[0]).all(
        axis=-1
    ).tolist() == [
        True,
        True,
        False,
    ]


def test_the_past_is_not_read_from_trials_of_another_split(make_session):
    trials, continuous = make_session(gap_bins=0)
    past = session_in_memory(trials, continuous).rates_before(n_bins=3)
    split = trials["split"].values
    known = np.isfinite(past).all(axis=(1, 2))
    assert known[1:].tolist() == (split[1:] == split[:-1]).tolist()


def test_the_wiener_decoder_equals_a_ridge_written_out(session):
    trials, continuous = session
    decoded = decode_session(session_in_memory(trials, continuous), SETTINGS, decoder="wiener")
    velocity = session_in_memory(trials, continuous).velocity(100.0).velocity
    rates = continuous["rates"].values.astype(float)
    bins = trials["start_bin"].values[:, None] + np.arange(36)
    features = np.concatenate([rates[bins - k] for k in (3, 2, 1, 0)], axis=-1)
    train, test = rows(trials, "train"), rows(trials, "test")
    fit = fit_ridge(
        features[train].reshape(-1, 80), velocity[train].reshape(-1, 2), alpha=decoded.decoder.fitted.alpha
    )
    assert decoded.signals[0].velocity == pytest.approx(fit.predict(features[test]), abs=1e-8)
    [score] = decoded.scores
    assert (score.decoder, score.n_samples, score.n_trials) == ("wiener", 8 * 36, 8)
    error = np.square(velocity[test] - fit.predict(features[test])).sum((0, 1))
    total = np.square(velocity[test] - velocity[test].mean((0, 1))).sum((0, 1))
    assert score.per_axis == pytest.approx(1 - error / total, abs=1e-9)


def test_history_helps_where_one_bin_is_noisy(make_session):
    trials, continuous = make_session(noise_hz=20.0, n_trials=80)
    settings = DecodeSettings(lag_ms=60.0)
    value = {
        name: decode_session(session_in_memory(trials, continuous), settings, decoder=name).scores[0].value
        for name in ("ridge", "wiener")
    }
    assert value["wiener"] > value["ridge"] + 0.1


@pytest.mark.parametrize("gap_bins", [20, 0])
def test_only_training_trials_influence_the_wiener_decoder(make_session, gap_bins):
    trials, continuous = make_session(gap_bins=gap_bins)
    before = fit_session_decoder(session_in_memory(trials, continuous), SETTINGS, decoder="wiener")
    trials, continuous = trials.copy(deep=True), continuous.copy(deep=True)
    test = rows(trials, "test")
    rng = np.random.default_rng(1)
    trials["rates"][test] = rng.normal(size=trials["rates"][test].shape) * 1e3
    inside = (trials["start_bin"].values[test, None] + np.arange(36)).ravel()
    continuous["rates"][inside] = rng.normal(size=(inside.size, 20)) * 1e3
    after = fit_session_decoder(session_in_memory(trials, continuous), SETTINGS, decoder="wiener")
    assert after.fitted.coefficients.tobytes() == before.fitted.coefficients.tobytes()
    assert after.fitted.cv_r2 == before.fitted.cv_r2


def test_a_models_signal_is_decoded_from_the_first_bin_with_its_history(session):
    trials, continuous = session
    test = rows(trials, "test")
    rates = trials["rates"].values[test]
    of_data, rebuilt, ahead = decode_session(
        session_in_memory(trials, continuous),
        SETTINGS,
        reconstruction=rates,
        forecast=rates[:, 13:33],
        run="m",
        decoder="wiener",
    ).signals
    assert (rebuilt.first_bin, rebuilt.velocity.shape[1], rebuilt.score.n_samples) == (3, 33, 8 * 33)
    assert (ahead.first_bin, ahead.velocity.shape[1]) == (16, 17)
    assert np.isfinite(rebuilt.velocity).all()
    assert rebuilt.velocity == pytest.approx(of_data.velocity[:, 3:], abs=1e-9)
    assert ahead.velocity == pytest.approx(of_data.velocity[:, 16:33], abs=1e-9)


def test_rates_whose_past_was_not_recorded_are_not_scored(session):
    trials, continuous = session
    continuous = continuous.copy(deep=True)
    first = trials["start_bin"].values[rows(trials, "test")[0]]
    continuous["observed"][first - 1] = False
    [score] = decode_session(session_in_memory(trials, continuous), SETTINGS, decoder="wiener").scores
    assert score.n_samples == 8 * 36 - 3
    [score] = decode_session(
        session_in_memory(trials, continuous.drop_vars("rates")), SETTINGS, decoder="wiener"
    ).scores
    assert score.n_samples == 8 * 33


def test_broken_rates_are_refused_not_left_out(session):
    trials, continuous = session
    rates = trials["rates"].values[rows(trials, "test")].copy()
    rates[2, 10, 4] = np.nan
    with pytest.raises(DataError, match=r"reconstruction of m: .*not finite in 4 of 264 bins"):
        decode_session(
            session_in_memory(trials, continuous), SETTINGS, reconstruction=rates, run="m", decoder="wiener"
        )


def test_a_history_longer_than_the_trial_is_refused(session):
    with pytest.raises(
        SettingsError, match=r"reads 40 bins, more than the 36 there are.*at most 36.*history_bins"
    ):
        decode_session(session_in_memory(*session), DecodeSettings(history_bins=40), decoder="wiener")
