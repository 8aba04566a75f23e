"""The truth of a lifelike session says how its rates came about, day by day."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nwb_latents.pipeline.sources.simulator import ReachingTruth, SimulatedSession, simulate_session
from nwb_latents.pipeline.sources.simulator.hand_kinematics import movement_velocity
from nwb_latents.pipeline.sources.simulator.lifelike.dynamics import dynamics_of
from nwb_latents.pipeline.sources.simulator.reach_course import Course
from nwb_latents.pipeline.sources.simulator.trial_script import Movement
from nwb_latents.schemas.simulation import SimulateSettings

FEW: dict[str, Any] = {"n_units": (20, 24), "n_trials": 24, "seed": 5}


def session(*, subject: int = 0, day: int = 0, **changes: Any) -> SimulatedSession:
    return simulate_session(SimulateSettings.model_validate({**FEW, **changes}), subject=subject, session=day)


def known(**where: Any) -> ReachingTruth:
    reaching = session(**where).truth.reaching
    assert reaching is not None
    return reaching


def test_rates_follow_from_latents_and_tuning() -> None:
    made = session()
    truth, tuning = made.truth, known().tuning
    raw = np.exp(tuning.log_rates(truth.latents, truth.latent_time_s))
    np.testing.assert_allclose(raw / (1 + raw / 150), truth.rates_hz, rtol=1e-3)
    np.testing.assert_allclose(truth.rates_hz.mean(axis=0), tuning.mean_hz, rtol=5e-3)
    assert tuning.mean_hz.mean() == pytest.approx(12.0)
    assert (tuning.mean_hz < 0.1).sum() == 2


def test_log_rates_are_no_linear_function_of_the_latents() -> None:
    truth = session().truth
    log_rates = np.log(truth.rates_hz.astype(np.float64))
    design = np.column_stack([truth.latents, np.ones(len(truth.latents))])
    left = log_rates - design @ np.linalg.lstsq(design, log_rates, rcond=None)[0]
    unexplained = (left**2).sum(axis=0) / ((log_rates - log_rates.mean(axis=0)) ** 2).sum(axis=0)
    assert np.median(unexplained) > 0.1
    classic = session(preset="classic").truth
    log_rates = np.log(classic.rates_hz.astype(np.float64))
    design = np.column_stack([classic.latents, np.ones(len(classic.latents))])
    left = log_rates - design @ np.linalg.lstsq(design, log_rates, rcond=None)[0]
    assert np.median((left**2).sum(axis=0) / log_rates.var(axis=0) / len(left)) < 0.02


def test_movements_are_those_of_the_hand() -> None:
    made, moved = session(), known().movements
    assert len(moved.onset_s) == len(made.script.movements)
    reached = np.isin(moved.onset_s, made.truth.onset_s)
    assert reached.sum() == np.isfinite(made.truth.onset_s).sum()
    first, last = (
        np.round(1000 * edge).astype(int) for edge in (moved.onset_s, moved.onset_s + moved.duration_s)
    )
    went = made.kinematics.position[last] - made.kinematics.position[first]
    np.testing.assert_allclose(went[~moved.is_fidget], moved.displacement_cm[~moved.is_fidget], atol=0.15)
    assert np.isfinite(moved.rise[reached]).all()
    assert set(np.sign(moved.second_share[reached])) == {0.0, 1.0}


def test_a_course_the_settings_name_is_that_of_every_reach() -> None:
    named = known(reach_profile="late")
    assert np.isnan(named.movements.rise).all()
    distances = np.hypot(*named.movements.displacement_cm[~named.movements.is_fidget].T)
    assert distances.max() > 1.8 * distances[distances > 1].min()


@pytest.mark.parametrize("course", [Course(), Course(1.6, 2.6), Course(2.6, 1.6, 0.3, 0.5)])
def test_a_course_leads_where_the_movement_goes(course: Course) -> None:
    reach = Movement(0.0, 1.0, 0.6, np.array([3.0, 4.0]), bow_cm=1.0, course=course)
    velocity = movement_velocity(reach)
    path = np.cumsum(velocity, axis=0) / 1000
    np.testing.assert_allclose(path[-1], [3.0, 4.0], atol=1e-2)
    assert np.hypot(*velocity[[0, -1]].T).max() < 1e-9
    assert (path @ [-0.8, 0.6]).max() == pytest.approx(1.0, abs=0.02)


def test_a_subject_has_its_dynamics_on_all_its_days() -> None:
    first, other_day, other = known(), known(day=3), known(subject=1)
    assert first.dynamics == other_day.dynamics
    for name, value in first.dynamics.items():
        if name != "kick_rad":
            assert abs(np.log(value / other.dynamics[name])) > 0.3, name


def test_random_targets_have_faster_dynamics_of_the_same_subject() -> None:
    reaching, random = known().dynamics, known(task="RT").dynamics
    assert random["rotation_hz"] == pytest.approx(reaching["rotation_hz"] * np.exp(0.3))
    assert random["preparation_tau_s"] < reaching["preparation_tau_s"]
    assert random["kick_rad"] == reaching["kick_rad"]


def test_no_spread_is_no_difference() -> None:
    settings = SimulateSettings(dynamics_spread=0.0)
    random = settings.model_copy(update={"task": "RT"})
    assert dynamics_of(settings, subject=0) == dynamics_of(random, subject=7)


def test_most_neurons_are_found_again_and_drift_slowly() -> None:
    days = [known(day=day).tuning for day in (0, 1, 8)]

    def moved(later: int) -> tuple[float, float]:
        _, one, other = np.intersect1d(days[0].neuron, days[later].neuron, return_indices=True)
        turned = days[0].preferred_rad[one] - days[later].preferred_rad[other]
        return len(one) / len(days[0]), float(np.abs(np.angle(np.exp(1j * turned))).mean())

    (kept, turned), (kept_long, turned_long) = moved(1), moved(2)
    assert kept > kept_long
    assert 0.02 < turned < turned_long


def test_without_drift_units_stay_as_they_are() -> None:
    one, other = (known(day=day, drift=0.0, n_units=(24, 24)).tuning for day in (0, 5))
    for name in ("neuron", "preferred_rad", "width", "depth", "linear"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert not one.drift_rad.any()
    assert not one.drift_log_gain.any()
    np.testing.assert_allclose(np.log(replace(one, neuron=other.neuron).mean_hz).std(), 0.65, atol=2.5)


def test_the_size_of_the_dandiset_and_the_layout_decide_nothing() -> None:
    once, again = session(day=1), session(day=1, n_sessions=9, n_subjects=4, layout="nlb")
    np.testing.assert_array_equal(once.spike_times, again.spike_times)
    np.testing.assert_array_equal(once.truth.latents, again.truth.latents)


def test_reaches_are_near_and_far_and_some_go_at_once() -> None:
    truth = session(n_trials=150, failure_rate=0.0).truth
    delay = truth.go_cue_s - truth.target_on_s
    assert 0.05 < (delay <= 0.1).mean() < 0.3
    assert delay.max() > 1.0
    trials = session(n_trials=24, failure_rate=0.0).script.trials
    distances = {round(float(np.hypot(*trial.target_cm[0])), 3) for trial in trials}
    assert distances == {3.0, 5.5, 8.5}
    assert len({trial.target_id[0] for trial in trials}) == 24


def test_wrong_targets_lie_in_another_direction() -> None:
    made = session(n_trials=120, failure_rate=0.5)
    truth = made.truth
    wrong = np.array([trial.result == "F" for trial in made.script.trials])
    ends = truth.position[np.round(100 * truth.move_end_s[wrong]).astype(int)]
    miss = np.angle(np.exp(1j * (np.arctan2(ends[:, 1], ends[:, 0]) - truth.target_dir_rad[wrong])))
    assert np.abs(miss).min() > np.deg2rad(15)
