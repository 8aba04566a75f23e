"""The lag pairs recorded samples exactly: no bin is moved, lost or made up."""

import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.signals.task import whole_bins
from nwb_latents.pipeline.stores.session import session_in_memory

N_BINS = 7


@st.composite
def sessions(draw):
    """Return the two groups of a session with gaps in what was recorded."""
    n_time = draw(st.integers(N_BINS, 60))
    start = draw(st.lists(st.integers(0, n_time - N_BINS), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    velocity = rng.normal(size=(n_time, 2))
    velocity[rng.random((n_time, 2)) < draw(st.sampled_from([0.0, 0.2]))] = np.nan
    observed = rng.random(n_time) >= draw(st.sampled_from([0.0, 0.3]))
    continuous = xr.Dataset({"velocity": (("time", "axis"), velocity), "observed": ("time", observed)})
    trials = xr.Dataset({"start_bin": ("trial", start)}, coords={"time": 0.02 * np.arange(N_BINS)})
    return trials, continuous


@given(sessions(), st.integers(-70, 70))
def test_every_bin_is_paired_with_the_sample_a_lag_later_or_masked(session, lag):
    trials, continuous = session
    paired = session_in_memory(trials, continuous).velocity(20.0 * (lag))
    velocity, observed = continuous["velocity"].values, continuous["observed"].values
    for row, start in enumerate(trials["start_bin"].values):
        for k in range(N_BINS):
            here, there = start + k, start + k + lag
            known = 0 <= there < len(observed) and observed[here] and observed[there]
            known = bool(known and np.isfinite(velocity[there]).all())
            assert paired.valid[row, k] == known
            if known:
                assert np.array_equal(paired.velocity[row, k], velocity[there])
            else:
                assert np.isnan(paired.velocity[row, k]).all()


@given(sessions(), st.integers(-5, 5), st.integers(-5, 5))
def test_a_session_whose_behaviour_was_recorded_later_needs_so_much_more_lag(session, lag, delay):
    trials, continuous = session
    whole = continuous.assign(observed=("time", np.ones(continuous.sizes["time"], bool)))
    late = whole.assign(velocity=whole["velocity"].shift(time=delay))
    a = session_in_memory(trials, whole).velocity(20.0 * (lag))
    b = session_in_memory(trials, late).velocity(20.0 * (lag + delay))
    inside = a.valid & b.valid
    assert np.array_equal(a.velocity[inside], b.velocity[inside])
    # Only bins that the delay pushed over an end of the session are lost.
    bins = trials["start_bin"].values[:, None] + np.arange(N_BINS) + lag + delay
    assert not (a.valid & ~b.valid & (bins >= 0) & (bins < whole.sizes["time"])).any()


@given(st.integers(-10_000, 10_000), st.integers(1, 200))
def test_a_whole_number_of_bins_is_that_number(bins, width_ms):
    assert whole_bins(bins * width_ms, bin_size_s=width_ms / 1e3, name="lag_ms") == bins


@given(st.integers(-10_000, 10_000), st.integers(2, 200), st.data())
def test_any_other_lag_is_refused_with_the_two_beside_it(bins, width_ms, data):
    rest = data.draw(st.integers(1, width_ms - 1))
    with pytest.raises(SettingsError) as caught:
        whole_bins(bins * width_ms + rest, bin_size_s=width_ms / 1e3, name="lag_ms")
    below, above = (float(n) for n in re.search(r"are: (\S+) and (\S+)$", str(caught.value)).groups())
    assert (below, above) == pytest.approx((bins * width_ms, (bins + 1) * width_ms), rel=1e-5)
