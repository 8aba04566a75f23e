"""Comparison of lags: on equal bins, chosen on training trials alone."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.lag_scan import scan_lags
from nwb_latents.pipeline.evaluation.decoding.session_decoder import decode_session
from nwb_latents.pipeline.evaluation.decoding.velocity import fit_velocity_decoder, hand_velocity_r2
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.decoding import DecodeSettings

LAGS = (0.0, 40.0, 80.0, 100.0, 120.0, 200.0)


def rows(trials, split):
    return np.flatnonzero(trials["split"].values == split)


@pytest.mark.parametrize("lag_bins", [2, 4, 6])
@pytest.mark.parametrize("decoder", ["ridge", "wiener"])
def test_the_lag_of_the_session_is_found(make_session, lag_bins, decoder):
    trials, continuous = make_session(lag_bins=lag_bins, noise_hz=0.5, n_trials=120)
    scan = scan_lags(
        session_in_memory(trials, continuous),
        DecodeSettings(lag_scan_ms=LAGS, history_bins=2),
        decoder=decoder,
    )
    shift = {"ridge": (0.0,), "wiener": (0.0, -20.0)}[decoder]
    assert scan.best_lag_ms in {20.0 * lag_bins + ms for ms in shift}
    assert max(scan.cv_r2) > 0.9


def test_each_lag_is_the_decoder_of_that_lag_on_bins_known_at_all(make_session):
    trials, continuous = make_session()
    continuous = continuous.copy(deep=True)
    hole = int(trials["start_bin"][rows(trials, "test")[0]]) + 20
    continuous["velocity"][hole] = np.nan
    scan = scan_lags(session_in_memory(trials, continuous), DecodeSettings(lag_scan_ms=LAGS))
    rates = trials["rates"].values
    scores = scan.decode(rates[scan.test], source="rates")
    train = rows(trials, "train")
    unknown = [20 - round(lag / 20) for lag in LAGS]
    for lag, score in zip(LAGS, scores, strict=True):
        velocity = session_in_memory(trials, continuous).velocity(lag).velocity
        alone = fit_velocity_decoder(rates[train], velocity[train], alphas=DecodeSettings().alphas)
        tested = velocity[scan.test].copy()
        tested[0, unknown] = np.nan
        expected = hand_velocity_r2(alone, rates[scan.test], tested)
        assert score.value == pytest.approx(expected.value, abs=1e-9)
        assert score.n_samples == 8 * 36 - len(LAGS)
        assert (score.name, score.lag_ms, score.split) == ("lag_scan_velocity_r2", lag, "test")
    assert len({score.key for score in scores}) == len(LAGS)


def test_training_scores_are_those_of_the_cross_validation(make_session):
    trials, continuous = make_session()
    scan = scan_lags(session_in_memory(trials, continuous), DecodeSettings(lag_scan_ms=LAGS))
    scores = scan.training_scores()
    assert [s.value for s in scores] == list(scan.cv_r2) == [max(r.cv_r2) for r in scan.fitted]
    assert {(s.name, s.split, s.n_trials) for s in scores} == {("lag_scan_cv_velocity_r2", "train", 28)}
    assert scan.best_lag_ms == LAGS[int(np.argmax(scan.cv_r2))]


def test_test_trials_choose_nothing(make_session):
    trials, continuous = make_session(lag_bins=4)
    settings = DecodeSettings(lag_scan_ms=LAGS)
    before = scan_lags(session_in_memory(trials, continuous), settings)
    trials, continuous = trials.copy(deep=True), continuous.copy(deep=True)
    test = rows(trials, "test")
    trials["rates"][test] = np.random.default_rng(1).normal(size=trials["rates"][test].shape)
    bins = (trials["start_bin"].values[test, None] + np.arange(36 + 10)).ravel()
    continuous["velocity"][bins] = np.random.default_rng(2).normal(size=(bins.size, 2))
    after = scan_lags(session_in_memory(trials, continuous), settings)
    assert (after.best_lag_ms, after.cv_r2) == (before.best_lag_ms, before.cv_r2)
    for one, other in zip(before.fitted, after.fitted, strict=True):
        assert one.coefficients.tobytes() == other.coefficients.tobytes()


def test_a_models_signal_is_scored_at_every_lag(make_session):
    trials, continuous = make_session()
    settings = DecodeSettings(lag_scan_ms=LAGS)
    rates = trials["rates"].values[rows(trials, "test")]
    scan = scan_lags(session_in_memory(trials, continuous), settings, decoder="wiener")
    ahead = scan.decode(rates[:, 13:33], source="forecast_decoded", run="m", first_bin=13)
    assert {(s.run, s.source, s.decoder, s.n_samples) for s in ahead} == {
        ("m", "forecast_decoded", "wiener", 8 * 16)
    }
    one = decode_session(
        session_in_memory(trials, continuous), settings, forecast=rates[:, 13:33], run="m", decoder="wiener"
    )
    assert ahead[3].value == pytest.approx(one.scores[1].value, abs=1e-9)
    with pytest.raises(DataError, match=r"forecast_decoded of m: .* within 36 bins"):
        scan.decode(rates, source="forecast_decoded", run="m", first_bin=1)
    with pytest.raises(DataError, match=r"reconstruction of m, 0 ms: rates have shape \(3, 32"):
        scan.decode(rates[:3], source="reconstruction", run="m")


def test_what_cannot_be_compared_is_refused(make_session):
    trials, continuous = make_session()
    with pytest.raises(SettingsError, match="80 and 100"):
        scan_lags(session_in_memory(trials, continuous), DecodeSettings(lag_scan_ms=(0.0, 90.0)))
    blind = continuous.assign(velocity=continuous["velocity"] * np.nan)
    with pytest.raises(DataError, match="lags compared: none of the 28 training trials"):
        scan_lags(session_in_memory(trials, blind), DecodeSettings(lag_scan_ms=LAGS))


@pytest.mark.parametrize(
    ("lags", "kept"), [((40.0, 0.0, 40.0), (0.0, 40.0)), ((), ()), ((-20.0, 20.0), (-20.0, 20.0))]
)
def test_lags_are_distinct_and_ascending(lags, kept):
    assert DecodeSettings(lag_scan_ms=lags).lag_scan_ms == kept


def test_one_lag_is_no_comparison():
    with pytest.raises(ValueError, match="at least two lags"):
        DecodeSettings(lag_scan_ms=(100.0, 100.0))


def test_settings_without_what_was_added_have_the_digest_they_had():
    before = "afddf485db170fccfeb153ccfa2c85005005f78de44b9ef9fac9d4fb6a3f79a3"
    assert DecodeSettings().digest() == before
    for added in (
        {"decoders": ("wiener",)},
        {"lag_scan_ms": LAGS},
        {"transfer": True},
        {"n_permutations": 9},
    ):
        assert DecodeSettings(**added).digest() != before
