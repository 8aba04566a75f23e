"""The task on plain arrays: what is held out, what follows the window, which trials are whose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.signals.task import (
    bins_after_window,
    counts_after,
    heldout_units,
    rates_before,
    rows_in,
    whole_bins,
)


@given(st.integers(1, 60), st.floats(0.0, 1.0), st.integers(0, 5))
def test_a_draw_holds_out_the_share_and_always_leaves_a_unit(n_units, fraction, seed):
    drawn = heldout_units(np.zeros(n_units, bool), fraction=fraction, seed=seed, session="s")
    assert drawn.shape == (n_units,)
    assert drawn.sum() == min(round(fraction * n_units), n_units - 1)


def test_the_draw_is_the_one_that_was_always_made():
    drawn = heldout_units(np.zeros(12, bool), fraction=0.25, seed=0, session="sub-A_ses-CO-1")
    assert np.flatnonzero(drawn).tolist() == [1, 8, 11]


@pytest.mark.parametrize(("ms", "bins"), [(0.0, 0), (20.0, 1), (700.0, 35)])
def test_bins_after_the_window_are_whole_and_no_more_than_it_has(ms, bins):
    assert bins_after_window(ms, bin_size_s=0.02, n_bins=35) == bins
    assert whole_bins(ms, bin_size_s=0.02, name="forward_ms") == bins
    with pytest.raises(SettingsError, match=r"forward_ms 720 is longer than the trial window of 700 ms"):
        bins_after_window(720.0, bin_size_s=0.02, n_bins=35)


def test_rows_are_those_of_any_of_the_splits():
    split = np.array(["test", "train", "val", "train"], dtype=object)
    assert rows_in(split, ["train", "test"]).tolist() == [0, 1, 3]
    assert rows_in(split, []).tolist() == []


@given(st.data())
def test_a_bin_after_a_window_is_handed_on_once_or_not_at_all(data):
    length, n_bins = 4, data.draw(st.integers(1, 4))
    start = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True))
    mine = data.draw(st.lists(st.integers(0, len(start) - 1), min_size=1, unique=True))
    observed = np.array(data.draw(st.lists(st.booleans(), min_size=40, max_size=40)))
    counts = np.arange(40)[:, None]
    found = counts_after(counts, observed, start_bin=start, window_bins=length, rows=mine, n_bins=n_bins)
    taken = {start[k] + b for k in range(len(start)) if k not in mine for b in range(length)}
    for row, trial in enumerate(mine):
        for k in range(n_bins):
            there = start[trial] + length + k
            handed_on = there < 40 and observed[there] and there not in taken
            assert np.array_equal(found[row, k, 0], there if handed_on else np.nan, equal_nan=True)


@given(st.data())
def test_the_past_is_read_where_it_was_recorded_and_no_trial_of_another_split_lies(data):
    length, n_bins = 3, data.draw(st.integers(1, 4))
    start = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=5, unique=True))
    split = data.draw(st.lists(st.sampled_from(["train", "test"]), min_size=len(start), max_size=len(start)))
    observed = np.array(data.draw(st.lists(st.booleans(), min_size=25, max_size=25)))
    found = rates_before(
        np.arange(25.0)[:, None], observed, start_bin=start, split=split, window_bins=length, n_bins=n_bins
    )
    for row, (first, name) in enumerate(zip(start, split, strict=True)):
        others = {
            s + b for s, other in zip(start, split, strict=True) if other != name for b in range(length)
        }
        for k, there in enumerate(range(first - n_bins, first)):
            known = there >= 0 and observed[there] and there not in others
            assert np.array_equal(found[row, k, 0], there if known else np.nan, equal_nan=True)
