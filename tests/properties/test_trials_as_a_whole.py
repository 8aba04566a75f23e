"""What holds for every session that is made into trials, wherever it starts and whatever was recorded."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nwb_latents.pipeline.signals.timebase import to_ns
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.schemas.recipe import IngestRecipe

BIN_NS = 20_000_000
MOST_NS = 76 * 10**9
ALL_UNITS = IngestRecipe(min_rate_hz=0.0)

per_session = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
spike_ns = st.lists(st.integers(0, MOST_NS), min_size=1, max_size=80)
gaps_ns = st.lists(
    st.tuples(st.integers(0, MOST_NS), st.integers(1, 5 * 10**8)), max_size=4
)  # start and length of what was not recorded


def outside(gaps, start_s, stop_s):
    """Return the observed intervals that leave the gaps, in seconds."""
    edges, at, stop = [], round(start_s * 1e9), round(stop_s * 1e9)
    for start, length in [*sorted(gaps), (stop, 0)]:
        if min(start, stop) > at:
            edges.append((at, min(start, stop)))
        at = max(at, start + length)
    return np.array(edges) / 1e9


@per_session
@given(units=st.lists(spike_ns, min_size=1, max_size=3), gaps=gaps_ns)
def test_every_spike_in_a_whole_bin_is_counted_and_no_other(recording, with_spikes, units, gaps):
    stop = float(recording.observed[-1, 1])
    observed = outside(gaps, 0.0, stop)
    # A session whose windows hold no spike at all is refused; one unit more fires throughout.
    throughout = np.arange(0.0, stop, 0.05)
    session = with_spikes(recording, [*(np.array(unit) / 1e9 for unit in units), throughout])
    made = make_trials(dataclasses.replace(session, observed=observed), ALL_UNITS).continuous
    first = round(made["time"][0] * 1e9) // BIN_NS
    left = (first + np.arange(len(made["time"]))) * BIN_NS
    bounds = np.round(observed * 1e9).astype(np.int64)
    is_whole = ((left[:, None] >= bounds[:, 0]) & (left[:, None] + BIN_NS <= bounds[:, 1])).any(axis=1)
    assert np.array_equal(made["observed"], is_whole)
    for column, unit in enumerate(units):
        mine = [k // BIN_NS - first for k in unit]
        # Spikes do not widen the session: those beyond it are in no bin.
        expected = sum(0 <= k < len(is_whole) and bool(is_whole[k]) for k in mine)
        assert made["counts"][:, column].sum(dtype=int) == expected


@per_session
@given(n_bins=st.integers(-200_000, 2_000_000))
def test_moving_a_session_by_whole_bins_moves_its_times_and_changes_nothing_else(whole_us, moved, n_bins):
    by_s = n_bins * 0.02
    here, there = make_trials(whole_us, ALL_UNITS), make_trials(moved(whole_us, by_s), ALL_UNITS)
    for group in ("trials", "continuous"):
        a, b = getattr(here, group), getattr(there, group)
        assert np.array_equal(a["counts"], b["counts"])
        assert np.array_equal(a["rates"], b["rates"], equal_nan=True)
        for name in ("position", "velocity"):
            # Resampling weights see the clock to 1e-4 of a sample.
            assert a[name] == pytest.approx(b[name], abs=2e-2, nan_ok=True)
    for name in ("trial", "start_bin", "split", "condition", "onset_quality", "unit"):
        assert np.array_equal(here.trials[name], there.trials[name])
    for name in ("event_time", "go_cue", "move_onset", "peak_time"):
        assert there.trials[name] - by_s == pytest.approx(here.trials[name], abs=1e-6)
    assert there.continuous["time"] - by_s == pytest.approx(here.continuous["time"], abs=1e-6)
    assert here.dropped == there.dropped


@per_session
@given(offset_ns=st.integers(0, 10**12))
def test_windows_hold_the_spikes_between_their_edges_wherever_a_session_starts(whole_us, moved, offset_ns):
    session = moved(whole_us, offset_ns / 1e9)
    made = make_trials(session, ALL_UNITS)
    times = to_ns(session.spike_times)
    bounds = np.concatenate([[0], session.spike_index])
    first = round(made.continuous["time"][0] * 1e9) // BIN_NS
    assert np.array_equal(
        np.round(made.continuous["time"] * 1e9).astype(np.int64),
        (first + np.arange(len(made.continuous["time"]))) * BIN_NS,
    )
    for row, start in enumerate(made.trials["start_bin"]):
        assert (
            (first + start + 13) * BIN_NS
            <= to_ns(made.trials["event_time"][row])
            < (first + start + 14) * BIN_NS
        )
        edges = (first + start + np.arange(37)) * BIN_NS
        for unit in range(len(session.spike_index)):
            mine = times[bounds[unit] : bounds[unit + 1]]
            expected = np.diff(np.searchsorted(mine, edges, side="left"))
            assert np.array_equal(made.trials["counts"][row, :, unit], expected)


@per_session
@given(order=st.permutations(range(12)))
def test_the_order_of_units_does_not_matter(recording, order):
    bounds = np.concatenate([[0], recording.spike_index])
    trains = [recording.spike_times[bounds[unit] : bounds[unit + 1]] for unit in order]
    units = dataclasses.replace(recording.units, ids=recording.units.ids[list(order)])
    other = dataclasses.replace(
        recording,
        spike_times=np.concatenate(trains),
        spike_index=np.cumsum([len(train) for train in trains]),
        units=units,
    )
    a, b = make_trials(recording, ALL_UNITS).trials, make_trials(other, ALL_UNITS).trials
    assert np.array_equal(a["counts"][:, :, list(order)], b["counts"])
    assert np.array_equal(a["rates"][:, :, list(order)], b["rates"])
    assert np.array_equal(a["split"], b["split"])


@per_session
@given(gaps=gaps_ns, per_bin=st.integers(1, 3), sigma_s=st.sampled_from([0.0, 0.025, 0.1]))
def test_a_constant_rate_is_constant_at_the_ends_of_a_session_and_across_gaps(
    recording, with_spikes, gaps, per_bin, sigma_s
):
    stop = float(recording.observed[-1, 1])
    n_bins = int(stop / 0.02)
    centres = np.repeat((np.arange(n_bins) + 0.5) * 0.02, per_bin)
    session = dataclasses.replace(
        with_spikes(recording, [centres]), observed=outside(gaps, 0.0, n_bins * 0.02)
    )
    made = make_trials(session, IngestRecipe(smooth_sigma_s=sigma_s))
    observed = made.continuous["observed"]
    assert made.continuous["rates"][observed] == pytest.approx(per_bin * 50.0, rel=1e-5)
    assert np.isnan(made.continuous["rates"][~observed]).all()
    assert made.trials["rates"] == pytest.approx(per_bin * 50.0, rel=1e-5)
