"""Bins: conservation, half-open edges, integer time base."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.binning import bin_spikes, mean_rates, merge_intervals, observed_fraction
from nwb_latents.pipeline.signals.timebase import Grid, to_ns

BIN_NS = 20_000_000

spike_lists = st.lists(st.lists(st.integers(0, 200_000_000_000), max_size=60), min_size=1, max_size=5)


@given(spike_lists)
def test_every_spike_is_counted_once_to_the_last(units):
    times = np.concatenate([np.sort(np.array(u, float)) for u in units]) / 1e9
    index = np.cumsum([len(u) for u in units])
    last = times.max() if len(times) else 0.0
    counts = bin_spikes(times, index, Grid.covering(0.0, last, BIN_NS))
    assert counts.sum(axis=1, dtype=int).tolist() == [len(u) for u in units]


@given(spike_lists, st.integers(-500, 500))
def test_shifting_spikes_by_whole_bins_shifts_counts(units, shift):
    times = np.concatenate([np.sort(np.array(u, float)) for u in units]) / 1e9
    index = np.cumsum([len(u) for u in units])
    grid = Grid(0, 10_001, BIN_NS)
    moved = Grid(shift, 10_001, BIN_NS)
    assert np.array_equal(
        bin_spikes(times, index, grid), bin_spikes(times + shift * BIN_NS / 1e9, index, moved)
    )


@given(st.integers(-(10**6), 10**6), st.sampled_from([1_000_000, 5_000_000, 20_000_000, 50_000_000]))
def test_a_spike_on_an_edge_belongs_to_the_bin_that_begins_there(k, bin_ns):
    grid = Grid(k - 1, 3, bin_ns)
    on_edge = k * bin_ns / 1e9
    assert grid.bin_of(np.array([on_edge, on_edge - 1e-9, on_edge + 1e-9])).tolist() == [1, 0, 1]


@given(st.floats(0, 10_000), st.integers(1, 200))
def test_a_window_has_the_same_number_of_bins_wherever_it_starts(start, n):
    grid = Grid.covering(start, start + 1e-9, BIN_NS)
    edges = (grid.first + np.arange(n + 1)) * BIN_NS
    assert len(edges) == n + 1
    assert (np.diff(edges) == BIN_NS).all()


def test_counts_widen_instead_of_wrapping():
    times = np.full(70_000, 0.001)
    assert bin_spikes(times[:255], np.array([255]), Grid(0, 1, BIN_NS)).dtype == np.uint8
    assert bin_spikes(times[:256], np.array([256]), Grid(0, 1, BIN_NS))[0, 0] == 256
    assert bin_spikes(times, np.array([70_000]), Grid(0, 1, BIN_NS))[0, 0] == 70_000


def test_spikes_outside_the_grid_are_an_error():
    with pytest.raises(DataError, match="1 of 2 spikes"):
        bin_spikes(np.array([0.0, 1.0]), np.array([2]), Grid(0, 2, BIN_NS))


def test_times_that_are_not_finite_are_an_error():
    with pytest.raises(DataError, match="not finite"):
        to_ns(np.array([0.0, np.nan]))


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10**8)), max_size=20),
)
def test_observed_fractions_add_up_to_the_observed_time(parts):
    intervals = merge_intervals(np.array([(a / 1e9, (a + d) / 1e9) for a, d in parts]).reshape(-1, 2))
    grid = Grid(0, 60, BIN_NS)
    fraction = observed_fraction(intervals, grid)
    assert ((fraction >= 0) & (fraction <= 1)).all()
    assert fraction.sum() * 0.02 == pytest.approx(np.diff(intervals, axis=1).sum(), abs=1e-6)


def test_observed_fraction_equals_a_count_on_a_fine_grid():
    rng = np.random.default_rng(0)
    starts = np.sort(rng.integers(0, 900, 6)) / 1000
    intervals = merge_intervals(np.column_stack([starts, starts + rng.integers(1, 120, 6) / 1000]))
    fine = np.zeros(1200, bool)
    for a, b in intervals:
        fine[round(a * 1000) : round(b * 1000)] = True
    expected = fine.reshape(-1, 20).mean(axis=1)
    assert observed_fraction(intervals, Grid(0, 60, BIN_NS)) == pytest.approx(expected)


def test_mean_rate_is_taken_over_observed_time_only():
    counts = np.array([[1, 1, 0, 0]], np.uint8)
    assert mean_rates(counts, np.array([True, True, False, False]), 0.02)[0] == pytest.approx(50)
