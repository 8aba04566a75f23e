"""Kinematics on the bins: unit gain, no aliasing, nothing across gaps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.pipeline.signals.recording import Series
from nwb_latents.pipeline.signals.resample import differentiate, resample

CENTRES = np.arange(100) * 0.02 + 0.01


def series(rate_hz: float, f, stop: float = 2.0, start: float = 0.0) -> Series:
    time = start + np.arange(round((stop - start) * rate_hz)) / rate_hz
    return Series(time, f(time)[:, None])


@pytest.mark.parametrize("rate_hz", [20.0, 50.0, 100.0, 130.0, 250.0, 1000.0])
@given(st.floats(-50, 50))
def test_a_constant_keeps_its_value_exactly(rate_hz, level):
    out = resample(series(rate_hz, lambda t: np.full_like(t, level)), CENTRES, bin_size_s=0.02)[:, 0]
    assert out[np.isfinite(out)] == pytest.approx(level, abs=1e-9)
    assert np.isfinite(out).mean() > 0.95


@pytest.mark.parametrize("rate_hz", [100.0, 130.0, 1000.0])
def test_a_straight_line_stays_straight_to_the_ends(rate_hz):
    out = resample(series(rate_hz, lambda t: 3 * t), CENTRES, bin_size_s=0.02)[:, 0]
    known = np.isfinite(out)
    assert known.sum() >= 99
    # Point reflection keeps the slope; the last centres lie up to half a sample past the end.
    assert out[known] == pytest.approx(3 * CENTRES[known], abs=0.02)
    assert out[10:-10] == pytest.approx(3 * CENTRES[10:-10], abs=1e-6)


@pytest.mark.parametrize("rate_hz", [100.0, 1000.0])
def test_slow_signals_pass_and_fast_ones_do_not_alias(rate_hz):
    slow = resample(series(rate_hz, lambda t: np.sin(2 * np.pi * 3 * t)), CENTRES, bin_size_s=0.02)[10:-10, 0]
    assert slow == pytest.approx(np.sin(2 * np.pi * 3 * CENTRES[10:-10]), abs=0.02)
    fast = resample(series(rate_hz, lambda t: np.sin(2 * np.pi * 41 * t)), CENTRES, bin_size_s=0.02)[
        10:-10, 0
    ]
    assert np.abs(fast).max() < 0.05


@given(st.integers(0, 4))
def test_delaying_the_signal_by_whole_bins_delays_the_result(bins):
    wave = lambda t: np.sin(2 * np.pi * 2 * t) + t  # noqa: E731
    a = resample(series(100.0, wave, stop=3.0), CENTRES, bin_size_s=0.02)
    shifted = series(100.0, wave, stop=3.0)
    b = resample(Series(shifted.time + bins * 0.02, shifted.values), CENTRES + bins * 0.02, bin_size_s=0.02)
    assert a == pytest.approx(b, abs=1e-9)


def test_nothing_crosses_a_gap():
    time = np.concatenate([np.arange(0, 0.5, 0.01), np.arange(1.0, 1.5, 0.01)])
    values = np.where(time < 0.9, 0.0, 100.0)[:, None]
    out = resample(Series(time, values), CENTRES, bin_size_s=0.02)[:, 0]
    inside = (CENTRES > 0.51) & (CENTRES < 0.98)
    assert np.isnan(out[inside]).all()
    assert set(np.round(out[np.isfinite(out)], 9)) == {0.0, 100.0}
    slope = differentiate(Series(time, values)).values
    assert slope == pytest.approx(0.0)


def test_missing_samples_cut_the_series():
    time = np.arange(10) * 0.01
    values = np.ones((10, 2))
    values[4, 1] = np.nan
    parts = Series(time, values).segments
    assert [len(p.time) for p in parts] == [4, 5]


def test_derivative_of_a_parabola_is_exact():
    time = np.sort(np.random.default_rng(0).uniform(0, 0.008, 50) + np.arange(50) * 0.02)
    slope = differentiate(Series(time, (time**2)[:, None])).values[:, 0]
    assert slope == pytest.approx(2 * time, abs=1e-9)


@pytest.mark.parametrize(
    ("n_samples", "step_s"),
    [(400_000, 0.001), (40_000, 0.0101), (60, 0.001), (25, 0.001), (11, 0.004), (6, 0.01), (100_000, 0.0033)],
)
def test_a_long_series_is_resampled_as_if_it_were_copied_whole(n_samples, step_s):
    """Beyond the ends samples are reflected, forth and back where a series is shorter than the filter."""
    values = np.random.default_rng(n_samples).normal(size=(n_samples, 2)).cumsum(axis=0)
    series = Series(step_s * np.arange(n_samples), values)
    at = 0.01 + 0.02 * np.arange(int(n_samples * step_s / 0.02))
    at = at[at < series.time[-1]]
    half_s = 4 / (2 * 0.8 / (2 * 0.02))
    n_side = int(np.ceil(half_s / step_s))
    padded = np.pad(values, ((n_side + 1, n_side + 1), (0, 0)), mode="reflect", reflect_type="odd")
    found = resample(series, at, bin_size_s=0.02)
    for row in {0, 1, len(at) // 2, 8191, 8192, len(at) - 2, len(at) - 1}:
        if not 0 <= row < len(at):
            continue
        nearest = int(np.rint(at[row] / step_s))
        taps = (np.arange(-n_side, n_side + 1) - np.round(at[row] / step_s - nearest, 4)) * step_s
        weights = np.sinc(2 * 0.8 / 0.04 * taps) * np.where(
            np.abs(taps) < half_s, np.cos(np.pi * taps / (2 * half_s)) ** 2, 0.0
        )
        around = padded[nearest + 1 : nearest + 2 + 2 * n_side]
        assert found[row] == pytest.approx(weights / weights.sum() @ around, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("n_samples", [2, 3, 16_384, 16_385, 16_386, 40_000])
def test_gaps_are_found_wherever_they_lie(n_samples):
    """At the first and the last step, and where one block of samples ends and the next begins."""
    steps = np.full(n_samples - 1, 0.01)
    steps[[i for i in (0, 16_382, 16_383, 16_384, n_samples - 2) if i < n_samples - 1]] = 0.5
    series = Series(np.concatenate([[0.0], np.cumsum(steps)]), np.zeros((n_samples, 2)))
    long = np.flatnonzero(np.diff(series.time) > series.longest_step_s) + 1
    assert series.gaps.tolist() == long.tolist()
    assert len(long) or n_samples < 4
    assert sum(len(segment.time) for segment in series.segments) <= n_samples
    assert series.with_values(np.ones((n_samples, 2))).gaps is series.gaps
