"""Decoders carried from session to session: high where states mean the same, low where they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.across_sessions import (
    mean_by_relation,
    relation,
    session_states,
    transfer_scores,
)
from nwb_latents.pipeline.evaluation.decoding.ridge import fit_ridge
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.decoding import DecodeSettings

SETTINGS = DecodeSettings(n_permutations=19)
SUBJECTS = {"a": "A", "b": "A", "c": "C"}
TURN = np.array([[0.0, 1.0], [-1.0, 0.0]])


@pytest.fixture(scope="module")
def sessions(make_session):
    """Sessions a and b have one code of velocity; that of c is turned by a quarter."""
    found = []
    for seed, name in enumerate(SUBJECTS):
        trials, continuous = make_session(session=name, seed=seed)
        velocity = session_in_memory(trials, continuous).velocity(100.0).velocity
        noise = np.random.default_rng(seed).normal(scale=0.5, size=velocity.shape)
        code = (velocity + noise) @ (TURN if name == "c" else np.eye(2))
        whole = trials.assign(code=(("trial", "time", "state"), code))
        states = lambda part: part.trials["code"].values  # noqa: E731
        found.append(session_states(session_in_memory(whole, continuous), SETTINGS, states=states))
    return found


def by_pair(scores):
    return {(score.fitted_sessions, score.session): score for score in scores}


def test_states_that_mean_the_same_carry_the_decoder(sessions):
    scores = by_pair(transfer_scores(sessions, SETTINGS, run="m"))
    assert len(scores) == 9 + 3
    for trained_on, decoded in [("a", "a"), ("a", "b"), ("b", "a"), ("c", "c")]:
        assert scores[(trained_on,), decoded].value > 0.9
        assert scores[(trained_on,), decoded].p_value == 1 / 20
    for trained_on, decoded in [("a", "c"), ("c", "a"), ("b", "c")]:
        assert scores[(trained_on,), decoded].value < 0
    assert scores[("b", "c"), "a"].value < scores[("b",), "a"].value
    one = scores[("a",), "b"]
    assert (one.name, one.source, one.definition) == ("transfer_velocity_r2", "latents", "r2_uniform")
    assert (one.split, one.n_trials, one.n_samples) == ("test", 8, 8 * 36)
    assert len({score.key for score in scores.values()}) == 12


def test_each_score_is_a_ridge_written_out(sessions):
    scores = by_pair(transfer_scores(sessions, SETTINGS, run="m"))
    for trained_on, decoded in [((0,), 1), ((0, 2), 1)]:
        score = scores[tuple(sessions[n].session for n in trained_on), sessions[decoded].session]
        x = np.concatenate([sessions[n].train_states.reshape(-1, 2) for n in trained_on])
        y = np.concatenate([sessions[n].train_velocity.reshape(-1, 2) for n in trained_on])
        guess = fit_ridge(x, y, alpha=score.decoder_settings["alpha"]).predict(sessions[decoded].test_states)
        true = sessions[decoded].test_velocity
        error, total = (np.square(d).sum((0, 1)) for d in (true - guess, true - true.mean((0, 1))))
        assert score.per_axis == pytest.approx(1 - error / total, abs=1e-9)


def test_test_trials_of_no_session_have_a_part_in_a_decoder(sessions):
    before = by_pair(transfer_scores(sessions, SETTINGS, run="m"))
    wild = np.random.default_rng(0).normal(size=sessions[0].test_states.shape) * 1e3
    changed = [replace(sessions[0], test_states=wild), *sessions[1:]]
    after = by_pair(transfer_scores(changed, SETTINGS, run="m"))
    for key, score in before.items():
        assert after[key].decoder_settings == score.decoder_settings
        assert (after[key] == score) == (score.session != "a")


def test_states_of_training_and_test_trials_are_asked_for_apart(make_session):
    trials, continuous = make_session()
    asked = []

    def states(part):
        asked.append(set(part.split.tolist()))
        return part.trials["rates"].values

    session_states(session_in_memory(trials, continuous), SETTINGS, states=states)
    assert asked == [{"train"}, {"test"}]


def test_of_two_sessions_all_others_are_the_other_one(sessions):
    scores = transfer_scores(sessions[:2], SETTINGS, run="m")
    assert [(s.fitted_sessions, s.session) for s in scores] == [
        (("a",), "a"), (("a",), "b"), (("b",), "a"), (("b",), "b")
    ]  # fmt: skip


def test_the_wiener_decoder_reads_the_bins_before(sessions):
    settings = DecodeSettings(history_bins=3, n_permutations=0)
    scores = transfer_scores(sessions, settings, run="m", decoder="wiener")
    assert {(s.decoder, s.n_samples, s.p_value) for s in scores} == {("wiener", 8 * 34, None)}
    with pytest.raises(
        SettingsError, match="a: the Wiener decoder of 40 bins reads 40 bins, more than the 36"
    ):
        transfer_scores(sessions, DecodeSettings(history_bins=40), run="m", decoder="wiener")


def test_scores_are_told_apart_by_whose_decoder_it_is(sessions):
    scores = transfer_scores(sessions, SETTINGS, run="m")
    found = {(s.fitted_sessions, s.session): relation(s, SUBJECTS) for s in scores}
    assert found[("a",), "a"] == "same session"
    assert found[("a",), "b"] == "same subject"
    assert found[("a",), "c"] == "other subject"
    assert found[("b", "c"), "a"] == "all others"
    means = mean_by_relation(scores, SUBJECTS)
    assert {name: number for name, (_, number) in means.items()} == {
        "same session": 3, "same subject": 2, "other subject": 4, "all others": 3
    }  # fmt: skip
    assert means["same subject"][0] == pytest.approx(
        np.mean([s.value for s in scores if relation(s, SUBJECTS) == "same subject"])
    )


def test_axes_that_mean_something_else_are_refused(sessions, make_session):
    with pytest.raises(DataError, match=r"x \(cm/s\), y \(cm/s\) in a, but x \(m/s\), y \(m/s\) in b"):
        transfer_scores([sessions[0], replace(sessions[1], axes=("x (m/s)", "y (m/s)"))], SETTINGS, run="m")
    trials, continuous = make_session()
    continuous["velocity"].attrs["units"] = "m/s"
    other = session_states(
        session_in_memory(trials, continuous),
        SETTINGS,
        states=lambda part: part.trials["rates"].values,
    )
    assert other.axes == ("x (m/s)", "y (m/s)")


def test_what_cannot_be_carried_is_refused(sessions):
    with pytest.raises(DataError, match="run m: 1 session with states"):
        transfer_scores(sessions[:1], SETTINGS, run="m")
    blind = replace(sessions[1], train_velocity=np.full_like(sessions[1].train_velocity, np.nan))
    with pytest.raises(DataError, match="b: none of the 28 training trials"):
        transfer_scores([sessions[0], blind], SETTINGS, run="m")
