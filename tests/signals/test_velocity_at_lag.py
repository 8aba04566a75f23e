"""Velocity at a lag: which sample belongs to which neural bin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.signals.task import whole_bins
from nwb_latents.pipeline.signals.velocity_at_lag import pair_velocity


def recording(n_time=50):
    """Return velocity and observed bins of a whole session."""
    return np.stack([np.arange(n_time), -np.arange(n_time)], axis=1).astype(float), np.ones(n_time, bool)


def paired_with(velocity, observed, *, start, lag):
    return pair_velocity(velocity, observed, start_bin=start, window_bins=6, lag_bins=lag)


@settings(deadline=None)
@given(lag=st.integers(-8, 8), start=st.lists(st.integers(10, 30), min_size=1, max_size=5))
def test_bin_k_goes_with_the_session_bin_a_lag_later(lag, start):
    paired = paired_with(*recording(), start=start, lag=lag)
    expected = np.asarray(start)[:, None] + np.arange(6) + lag
    assert (paired.velocity[..., 0] == expected).all()
    assert (paired.velocity[..., 1] == -expected).all()
    assert paired.valid.all()


def test_last_bins_take_real_samples_from_after_the_window():
    paired = paired_with(*recording(), start=[10], lag=5)
    assert paired.velocity[0, :, 0].tolist() == [15, 16, 17, 18, 19, 20]


def test_missing_velocity_is_masked_never_filled():
    velocity, observed = recording()
    velocity[17, 1] = np.nan
    paired = paired_with(velocity, observed, start=[10], lag=5)
    assert paired.valid[0].tolist() == [True, True, False, True, True, True]
    assert np.isnan(paired.velocity[0, 2]).all()


def test_bins_not_recorded_are_masked_on_either_side_of_the_pair():
    velocity, observed = recording()
    observed[[12, 19]] = False
    paired = paired_with(velocity, observed, start=[10], lag=5)
    assert paired.valid[0].tolist() == [True, True, False, True, False, True]


@pytest.mark.parametrize(("start", "lag", "expected"), [(44, 2, 4), (2, -4, 4), (44, 100, 0)])
def test_bins_outside_the_session_are_masked_not_wrapped(start, lag, expected):
    paired = paired_with(*recording(), start=[start], lag=lag)
    assert paired.valid.sum() == expected
    assert np.isnan(paired.velocity[~paired.valid]).all()


@pytest.mark.parametrize(
    ("lag_ms", "bin_size_s", "bins"),
    [
        (100.0, 0.02, 5),
        (0.0, 0.02, 0),
        (-60.0, 0.02, -3),
        (100.0, 0.001, 100),
        (120.0, 0.005, 24),
        (30.0, 0.01, 3),
    ],
)
def test_whole_lags(lag_ms, bin_size_s, bins):
    assert whole_bins(lag_ms, bin_size_s=bin_size_s, name="lag_ms") == bins


@pytest.mark.parametrize(
    ("lag_ms", "nearest"),
    [(90.0, "80 and 100"), (-90.0, "-100 and -80"), (100.1, "100 and 120"), (5.0, "0 and 20")],
)
def test_other_lags_are_refused_with_the_nearest_that_fit(lag_ms, nearest):
    with pytest.raises(SettingsError, match=f"whole number of 20 ms bins.*{nearest}"):
        whole_bins(lag_ms, bin_size_s=0.02, name="lag_ms")


@pytest.mark.parametrize("lag_ms", [float("nan"), float("inf")])
def test_a_lag_that_is_no_time_is_refused(lag_ms):
    with pytest.raises(SettingsError, match="is no time"):
        whole_bins(lag_ms, bin_size_s=0.02, name="lag_ms")
