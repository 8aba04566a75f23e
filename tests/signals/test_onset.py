"""Movement onset: accuracy over speeds, durations and sampling rates; failures are said, never raised."""

import numpy as np
import pytest

from nwb_latents.pipeline.signals.onset import find_onset, speed_of
from nwb_latents.pipeline.signals.recording import Series
from nwb_latents.schemas.recipe_parts import OnsetSettings

TRUE_ONSET = 1.0


def reach(
    duration: float, rate_hz: float, *, noise: float = 0.3, seed: int = 0, distance: float = 8.0
) -> Series:
    """Return the velocity of one minimum-jerk reach in cm/s with hold noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(0, 3, 1 / rate_hz)
    tau = np.clip((time - TRUE_ONSET) / duration, 0, 1)
    speed = distance / duration * 30 * tau**2 * (1 - tau) ** 2
    noise_xy = rng.normal(0, noise, (len(time), 2)) * np.sqrt(min(1.0, 100 / rate_hz))
    return Series(time, np.column_stack([speed, np.zeros_like(speed)]) + noise_xy)


def error_ms(velocity: Series, settings: OnsetSettings) -> float:
    found = find_onset(speed_of(velocity, settings.smooth_s), 0.8, 2.8, settings, from_s=0.7)
    return (found.onset - TRUE_ONSET) * 1e3


@pytest.mark.parametrize("rate_hz", [100.0, 1000.0])
@pytest.mark.parametrize("duration", [0.35, 0.5, 0.7, 0.9])
def test_the_default_rule_is_within_20_ms_whatever_the_rate_and_speed(rate_hz, duration):
    errors = [error_ms(reach(duration, rate_hz, seed=s), OnsetSettings()) for s in range(30)]
    assert (np.abs(errors) <= 20).mean() >= 0.95


def test_without_extrapolation_the_onset_is_late_by_a_share_of_the_duration():
    plain = OnsetSettings(extrapolate=False)
    errors = {
        d: np.median([error_ms(reach(d, 1000.0, seed=s), plain) for s in range(10)]) for d in (0.4, 0.9)
    }
    assert 10 < errors[0.4] < 35
    assert 35 < errors[0.9] < 65


@pytest.mark.parametrize("method", ["accel_half_peak", "threshold"])
def test_the_other_rules_find_the_reach_too(method):
    errors = [error_ms(reach(0.5, 100.0, seed=s), OnsetSettings(method=method)) for s in range(20)]
    assert np.abs(errors).max() < 120


def test_no_movement_is_said():
    still = Series(np.arange(0, 3, 0.01), np.full((300, 2), 0.1))
    found = find_onset(speed_of(still, 0.01), 0.5, 2.5, OnsetSettings(), from_s=0.4)
    assert not found.is_found
    assert found.quality == "no_movement"


def test_a_gap_before_the_peak_is_said():
    velocity = reach(0.5, 100.0)
    hole = (velocity.time > 0.9) & (velocity.time < 1.1)
    cut = Series(velocity.time[~hole], velocity.values[~hole])
    found = find_onset(speed_of(cut, 0.01), 0.5, 2.5, OnsetSettings(), from_s=0.4)
    assert found.quality == "unobserved"
    assert not found.is_found


def test_a_window_without_samples_is_said():
    assert (
        find_onset(speed_of(reach(0.5, 100.0), 0.01), 8, 9, OnsetSettings(), from_s=7).quality == "unobserved"
    )


def test_moving_from_the_very_beginning_is_no_crossing():
    fast = Series(
        np.arange(0, 1, 0.01), np.column_stack([10 + 10 * np.sin(np.arange(100) / 20), np.zeros(100)])
    )
    assert find_onset(speed_of(fast, 0.0), 0.0, 1.0, OnsetSettings(), from_s=0.0).quality == "no_crossing"


def test_a_later_return_movement_does_not_move_the_onset():
    out, back = reach(0.5, 100.0, seed=3), reach(0.4, 100.0, seed=4, distance=10)
    shifted = np.roll(back.values, 100, axis=0)
    both = Series(out.time, out.values + shifted)
    found = find_onset(speed_of(both, 0.01), 0.8, 2.8, OnsetSettings(), from_s=0.7)
    assert abs(found.onset - TRUE_ONSET) < 0.02
    assert found.quality == "several_peaks"
