from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.sources.simulator import SimulatedSession, simulate_session
from nwb_latents.schemas.simulation import SimulateSettings


def test_reaches_have_the_speeds_and_times_of_real_ones(centre_out: SimulatedSession) -> None:
    truth = centre_out.truth
    made = np.isfinite(truth.onset_s)
    reaction = truth.onset_s[made] - truth.go_cue_s[made]
    duration = truth.move_end_s[made] - truth.onset_s[made]
    assert reaction.min() > 0.179
    assert reaction.max() < 0.601
    assert 0.25 < np.median(reaction) < 0.36
    assert duration.min() > 0.349
    assert duration.max() < 0.701
    assert duration.std() > 0.03
    assert truth.peak_speed_cm_s[made].min() > 15
    assert truth.peak_speed_cm_s[made].max() < 55


def test_rewarded_reaches_end_on_their_target(centre_out: SimulatedSession) -> None:
    truth = centre_out.truth
    rewarded = truth.success
    ends = truth.position[np.round(truth.move_end_s[rewarded] * 100).astype(int)]
    direction = truth.target_dir_rad[rewarded]
    targets = 8 * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    assert np.hypot(*(ends - targets).T).max() < 2.0


def test_speed_is_bell_shaped_with_its_peak_half_way(centre_out: SimulatedSession) -> None:
    truth = centre_out.truth
    speed = centre_out.kinematics.speed()
    for onset, end in zip(truth.onset_s[truth.success], truth.move_end_s[truth.success], strict=True):
        reach = speed[round(onset * 1000) : round(end * 1000)]
        assert 0.4 < np.argmax(reach) / len(reach) < 0.6
        assert max(reach[0], reach[-1]) < 0.1 * reach.max()


def test_hand_is_still_but_for_tremor_before_the_onset(centre_out: SimulatedSession) -> None:
    truth = centre_out.truth
    speed = centre_out.kinematics.speed()
    before = [
        speed[round(onset * 1000) - 200 : round(onset * 1000)] for onset in truth.onset_s[truth.success]
    ]
    assert np.max(before) < 1.5
    assert 0.1 < np.sqrt(np.mean(np.square(before))) < 0.3


def test_position_is_the_integral_of_velocity(centre_out: SimulatedSession) -> None:
    truth, hand = centre_out.truth, centre_out.kinematics
    fine = np.cumsum(hand.velocity[1:] + hand.velocity[:-1], axis=0) / 2000
    np.testing.assert_allclose(hand.position[1:], fine, atol=1e-9)
    coarse = np.cumsum(truth.velocity[1:] + truth.velocity[:-1], axis=0) / 200
    np.testing.assert_allclose(truth.position[1:], coarse, atol=0.05)


def test_acceleration_is_the_derivative_of_velocity(centre_out: SimulatedSession) -> None:
    hand = centre_out.kinematics
    change = np.cumsum(hand.acceleration[1:-1], axis=0) / 1000
    np.testing.assert_allclose(hand.velocity[1:-1] - hand.velocity[1], change - change[0], atol=0.5)


def test_failed_trials_fail_in_the_way_their_result_says(centre_out: SimulatedSession) -> None:
    truth = centre_out.truth
    results = np.array([trial.result for trial in centre_out.script.trials])
    assert set(results) == {"R", "A", "F", "I"}
    np.testing.assert_array_equal(truth.success, results == "R")
    assert np.isnan(truth.go_cue_s[results == "A"]).all()
    assert np.isfinite(truth.go_cue_s[results == "I"]).all()
    assert np.isnan(truth.onset_s[np.isin(results, ["A", "I"])]).all()
    wrong = results == "F"
    path = truth.position[np.round(truth.move_end_s[wrong] * 100).astype(int)]
    miss = np.angle(np.exp(1j * (np.arctan2(path[:, 1], path[:, 0]) - truth.target_dir_rad[wrong])))
    assert np.abs(miss).min() > np.deg2rad(25)


def test_every_block_shows_every_target_once() -> None:
    simulated = simulate_session(
        SimulateSettings(
            preset="classic", n_trials=12, n_targets=3, failure_rate=0, n_units=(2, 2), silent_units=0
        )
    )
    targets = [trial.target_id[0] for trial in simulated.script.trials]
    assert all(set(targets[first : first + 3]) == {0, 1, 2} for first in range(0, 12, 3))
    expected = np.angle(np.exp(2j * np.pi * np.arange(3) / 3))
    np.testing.assert_allclose(simulated.truth.target_dir_rad, expected[targets], atol=1e-12)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_few_targets_still_have_wrong_ones(n_targets: int) -> None:
    settings = SimulateSettings(
        preset="classic", n_trials=30, n_targets=n_targets, failure_rate=0.6, n_units=(3, 3)
    )
    results = {trial.result for trial in simulate_session(settings).script.trials}
    assert "F" in results


def test_some_trial_succeeds_however_often_they_fail() -> None:
    settings = SimulateSettings(preset="classic", n_trials=1, failure_rate=0.99, n_units=(3, 3))
    assert simulate_session(settings).truth.success.any()


def test_random_target_trials_have_four_reaches_within_the_workspace(random_target: SimulatedSession) -> None:
    truth = random_target.truth
    for number, trial in enumerate(random_target.script.trials):
        of_trial = truth.trial == number
        if trial.result == "R":
            assert of_trial.sum() == 4
            assert np.isfinite(truth.onset_s[of_trial]).all()
    assert np.abs(truth.position).max() < 10
    later = truth.reach > 0
    assert (truth.go_cue_s[later] > truth.move_end_s[np.flatnonzero(later) - 1]).all()


def test_direction_of_a_random_target_is_that_of_its_reach(random_target: SimulatedSession) -> None:
    truth = random_target.truth
    rewarded = truth.success
    first, last = (
        np.round(moment[rewarded] * 100).astype(int) for moment in (truth.onset_s, truth.move_end_s)
    )
    went = truth.position[last] - truth.position[first]
    off = np.angle(np.exp(1j * (np.arctan2(went[:, 1], went[:, 0]) - truth.target_dir_rad[rewarded])))
    assert np.abs(off).max() < np.deg2rad(20)
