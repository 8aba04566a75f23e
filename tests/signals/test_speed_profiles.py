"""Onsets by the profile of the speed: whatever shape it has, and however the hand drifts."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import Reaches, recording_of
from scipy.ndimage import gaussian_filter1d

from nwb_latents.pipeline.signals.movements import find_candidates
from nwb_latents.pipeline.signals.onset import profile_onsets
from nwb_latents.pipeline.signals.recording import Series, TrialTable
from nwb_latents.pipeline.signals.rises import measure_rises
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import OnsetSettings


def power(a, b):
    return lambda tau: np.clip(tau, 0, 1) ** a * np.clip(1 - tau, 0, 1) ** b


def lognormal(sigma):
    def profile(tau):
        after = np.clip(tau, 1e-9, None)
        value = np.exp(-((np.log(after) / sigma + 3.09) ** 2) / 2) / after
        return np.where(tau > 0, value, 0.0)

    return profile


def cosine(tau):
    """A whole period of a cosine: begins like minimum jerk, but is blunter."""
    return 1 - np.cos(2 * np.pi * np.clip(tau, 0, 1))


def two(delay, height, lasts=0.7):
    first = power(2, 2)
    return lambda tau: first(tau) + height * first((tau - delay) / lasts)


SHAPES = {
    "minimum jerk": power(2, 2),
    "skewed early": power(1.8, 3.4),
    "skewed late": power(2.8, 1.8),
    "late peak": power(4.2, 2.1),
    "at once up": power(1, 2),
    "late, at once down": power(3, 1),
    "early, at once down": power(1.5, 1),
    "very late": power(5, 1.2),
    "cosine": cosine,
    "lognormal, narrow": lognormal(0.32),
    "lognormal, wide": lognormal(0.47),
    "two peaks, apart": two(0.75, 0.45),
    "two peaks, merged": two(0.55, 0.6),
    "a low second peak": two(0.67, 0.3, lasts=0.8),
    "a late second peak": two(0.85, 0.5, lasts=0.6),
}


def session(shape, rate_hz, *, drift_cm_s=0.0, noise_cm_s=0.3, n_trials=40, seed=0):
    """Return the velocity of a session of 8 cm reaches, the go cues and the true onsets."""
    rng = np.random.default_rng(seed)
    go = 1.0 + 3.0 * np.arange(n_trials)
    onset = go + rng.uniform(0.18, 0.45, n_trials)
    duration = rng.uniform(0.35, 0.8, n_trials)
    angle = rng.uniform(0, 2 * np.pi, n_trials)
    time = np.arange(0.0, go[-1] + 3.0, 1 / rate_hz)
    tau = np.linspace(-0.5, 3, 7001)
    length = np.trapezoid(SHAPES[shape](tau), tau)
    velocity = np.zeros((len(time), 2))
    for start, lasts, towards in zip(onset, duration, angle, strict=True):
        speed = 8.0 * SHAPES[shape]((time - start) / lasts) / (length * lasts)
        velocity += speed[:, None] * [np.cos(towards), np.sin(towards)]
    # The drift turns slowly, so that it is another one in every trial.
    velocity += drift_cm_s * np.column_stack([np.sin(0.05 * time), np.cos(0.05 * time)])
    noise = gaussian_filter1d(rng.standard_normal(velocity.shape), 0.005 * rate_hz, axis=0)
    return Series(time, velocity + noise * (noise_cm_s / noise.std())), go, onset


def test_a_movement_before_the_go_cue_is_not_the_one_of_the_trial():
    velocity, go, onset = session("minimum jerk", 200)
    n, text = len(go), np.full(len(go), "", dtype=object)
    # Each trial begins before the movement of the one before.
    table = TrialTable(
        row=np.arange(n),
        events={"start": go - 3.0, "stop": go + 1.8, "go_cue": go},
        success=np.ones(n, bool), valid=np.ones(n, bool), target_dir=np.zeros(n), condition=text, split=text,
    )  # fmt: skip
    found = find_candidates(replace(recording_of(Reaches()), trials=table), IngestRecipe(), velocity=velocity)
    assert 1e3 * np.abs(found.events["move_onset"] - onset).max() < 40


def errors_ms(shape, rate_hz, **how):
    velocity, go, onset = session(shape, rate_hz, **how)
    found = profile_onsets(velocity, [(g, g + 0.1, g + 1.8) for g in go], OnsetSettings())
    return 1e3 * (np.array([each.onset for each in found]) - onset)


@pytest.mark.parametrize("drift_cm_s", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("rate_hz", [100.0, 1000.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_onsets_are_within_10_ms_of_the_truth_in_the_median_and_9_in_10_within_30(shape, rate_hz, drift_cm_s):
    error = errors_ms(shape, rate_hz, drift_cm_s=drift_cm_s)
    assert np.isfinite(error).all()
    assert abs(np.median(error)) <= 10
    assert np.quantile(np.abs(error), 0.9) <= 30


@pytest.mark.parametrize("seed", range(3))
def test_a_noisy_session_is_smoothed_more(seed):
    error = errors_ms("minimum jerk", 100.0, noise_cm_s=1.5, seed=seed)
    assert abs(np.median(error)) <= 20
    assert np.quantile(np.abs(error), 0.9) <= 60


def test_a_single_movement_is_found_too():
    assert abs(errors_ms("minimum jerk", 1000.0, n_trials=1)[0]) <= 15


def test_the_end_of_the_movement_before_is_no_drift():
    """The hand still slows down at the go cue: what it does then is no drift, and is not taken off."""
    velocity, go, onset = session("minimum jerk", 100.0)
    for g in go:
        velocity.values[:, 0] += 30 * np.exp(-(((velocity.time - g + 0.25) / 0.1) ** 2))
    found = profile_onsets(velocity, [(g, g + 0.1, g + 1.8) for g in go], OnsetSettings())
    error = 1e3 * (np.array([each.onset for each in found]) - onset)
    assert abs(np.median(error)) <= 15


def test_without_movement_nothing_is_found():
    still = Series(np.arange(0, 3, 0.01), np.full((300, 2), 0.1))
    [found] = profile_onsets(still, [(0.4, 0.5, 2.5)], OnsetSettings())
    assert (found.quality, found.is_found) == ("no_movement", False)


def test_a_gap_on_the_way_up_is_said():
    velocity, go, onset = session("minimum jerk", 100.0, n_trials=1)
    hole = np.abs(velocity.time - onset[0] - 0.1) < 0.05
    cut = Series(velocity.time[~hole], velocity.values[~hole])
    [found] = profile_onsets(cut, [(go[0], go[0] + 0.1, go[0] + 1.8)], OnsetSettings())
    assert (found.quality, found.is_found) == ("unobserved", False)


def test_movement_from_the_very_beginning_has_no_onset():
    fast = Series(
        np.arange(0, 1, 0.01), np.column_stack([10 + 9 * np.sin(np.arange(100) / 20), np.zeros(100)])
    )
    [found] = profile_onsets(fast, [(0.0, 0.0, 1.0)], OnsetSettings())
    assert (found.quality, found.is_found) == ("no_crossing", False)


def test_a_window_without_samples_is_said():
    velocity, _, _ = session("minimum jerk", 100.0, n_trials=1)
    [found] = profile_onsets(velocity, [(70.0, 80.0, 90.0)], OnsetSettings())
    assert found.quality == "unobserved"


def test_a_movement_is_timed_as_if_it_were_alone():
    """Windows with samples and stamps that are lost, of one length or several, do not touch each other."""
    velocity, go, _ = session("skewed late", 200.0, drift_cm_s=1.5, noise_cm_s=1.0)
    rng = np.random.default_rng(3)
    values = velocity.values.copy()
    values[rng.random(len(values)) < 0.004] = np.nan
    kept = rng.random(len(values)) >= 0.002
    series = Series(velocity.time[kept], values[kept])
    windows = [(g, g + 0.1, g + rng.uniform(0.3, 2.0)) for g in go] + [(-9.0, -9.0, -8.0), (1e4, 1e4, 1e4)]
    together = measure_rises(series, windows, min_peak_cm_s=3.0)
    assert {rise.fault for rise in together} == {"", "no_movement", "unobserved"}
    for window, rise in zip(windows, together, strict=True):
        (alone,) = measure_rises(series, [window], min_peak_cm_s=3.0)
        assert repr(alone) == repr(rise)


def test_the_noise_before_a_movement_is_the_standard_deviation_of_the_hold():
    time = np.arange(0, 2, 0.01)
    tau = np.clip((time - 1.0) / 0.4, 0, 1)
    shaken = np.where(time < 0.9, np.tile([0.5, 0.0, -0.5, 0.0], 50), 0.0)
    along = 600 * tau**2 * (1 - tau) ** 2 + shaken
    series = Series(time, np.outer(along, [1.0, 0.0]))
    (rise,) = measure_rises(series, [(0.905, 0.905, 1.905)], min_peak_cm_s=3.0)
    assert rise.peak_speed == pytest.approx(37.5)
    assert rise.noise == pytest.approx(np.std(along[(time > 0.605) & (time < 0.905)]) / 37.5)
