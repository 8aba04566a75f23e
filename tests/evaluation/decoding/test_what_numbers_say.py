"""What a number of a decoder says of itself: its settings, its seed, its p-value, its count."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.evaluation.decoding.across_sessions import mean_by_relation
from nwb_latents.pipeline.evaluation.decoding.measured import settings_digest
from nwb_latents.pipeline.evaluation.decoding.session_decoder import decode_session, fit_session_decoder
from nwb_latents.pipeline.evaluation.metrics.permutation import permutation_p_value
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.measurement import Measurement
from nwb_latents.schemas.task import ForecastWindow


def test_the_settings_of_the_fit_are_those_asked_for(make_session):
    settings = DecodeSettings(seed=7, folds=4, alphas=(0.5, 50.0), history_bins=3, decoders=("wiener",))
    session = session_in_memory(*make_session())
    [score] = decode_session(session, settings, decoder="wiener").scores
    said = score.decoder_settings
    assert (said["seed"], said["folds"], said["history_bins"]) == (7, 4, 3)
    assert tuple(said["alphas"]) == (0.5, 50.0)
    assert said["alpha"] in (0.5, 50.0)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_p_value_is_that_of_the_seed(make_session, seed):
    session = session_in_memory(*make_session(n_trials=40))
    settings = DecodeSettings(seed=seed, n_permutations=37)
    fitted = fit_session_decoder(session, settings)
    # Of noise, so that the p-value is not the least there is, and another seed gives another.
    guess = np.random.default_rng(1).gamma(2.0, 5.0, size=(8, 36, 20))
    signal = fitted.decode(guess, source="reconstruction", run="m")
    found = {
        of: permutation_p_value(fitted.velocity, signal.velocity, n_permutations=37, seed=of)
        for of in (seed, 0)
    }
    assert signal.score.p_value == found[seed] != found[0]


def test_a_forecast_says_the_bins_it_saw_and_those_it_made(make_session):
    session = session_in_memory(*make_session())
    settings = DecodeSettings(sources=("forecast",), forecast=ForecastWindow(seen_bins=20, bins=9))
    ahead = session.trials["rates"].values[session.rows("test")][:, 20:29]
    for decoder in ("ridge", "wiener"):
        [score] = decode_session(session, settings, forecast=ahead, run="m", decoder=decoder).scores
        assert (score.seen_bins, score.bins) == (20, 9)


@pytest.mark.parametrize(
    "change",
    [{"lag_ms": 60.0}, {"seed": 1}, {"folds": 4}, {"alphas": (1.0,)}, {"history_bins": 3},
     {"n_permutations": 19}, {"forecast": ForecastWindow(seen_bins=9)}],
    ids=str,
)  # fmt: skip
def test_numbers_of_other_settings_do_not_replace_each_other(change):
    assert settings_digest(DecodeSettings(**change)) != settings_digest(DecodeSettings())


@pytest.mark.parametrize(
    "change",
    [{"sources": ("rates",)}, {"decoders": ("wiener",)}, {"lag_scan_ms": (0.0, 20.0)}, {"transfer": True}],
    ids=str,
)
def test_the_same_number_is_the_same_whatever_else_was_asked_for(change):
    assert settings_digest(DecodeSettings(**change)) == settings_digest(DecodeSettings())


def test_means_over_relations_count_the_scores_that_are_defined():
    about = {"recipe_id": "r", "name": "transfer_velocity_r2", "source": "latents", "split": "test"}
    scores = [
        Measurement(session=session, fitted_sessions=tuple(fitted), value=value, n_trials=1, **about)
        for fitted, session, value in (
            ("a", "a", 0.9), ("b", "b", 0.7), ("a", "b", 0.5), ("b", "a", None), ("a", "c", 0.1),
            ("b", "c", 0.3), ("c", "a", -0.7), ("bc", "a", 0.4),
        )
    ]  # fmt: skip
    found = mean_by_relation(scores, {"a": "A", "b": "A", "c": "C"})
    assert found == {
        "same session": (pytest.approx(0.8), 2),
        "same subject": (0.5, 1),
        "other subject": (pytest.approx(-0.1), 3),
        "all others": (0.4, 1),
    }
    assert list(found) == ["same session", "same subject", "other subject", "all others"]
