"""Unit selection: each rule drops what it names, counts it, and is off by default."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.spike_bins import SpikeBins
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.signals.units import (
    coincidence,
    duplicates,
    presence_ratio,
    refractory_violations,
    unit_reasons,
)
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import UnitSelection


def with_unit(recording, spikes, unit_id=999):
    """Return the recording with one more unit."""
    units = recording.units
    return dataclasses.replace(
        recording,
        spike_times=np.concatenate([recording.spike_times, spikes]),
        spike_index=np.append(recording.spike_index, len(recording.spike_times) + len(spikes)),
        units=dataclasses.replace(
            units,
            ids=np.append(units.ids, unit_id),
            area=np.append(units.area, "M1"),
            heldout=np.append(units.heldout, False),
        ),
    )


def made(recording, **rules):
    return make_trials(recording, IngestRecipe(units=UnitSelection(**rules)))


def test_a_unit_that_is_lost_halfway_is_dropped_for_its_presence(recording):
    steady = np.linspace(1.0, 20.0, 200)
    lost = with_unit(recording, steady)
    assert 999 in made(lost).trials["unit"]
    result = made(lost, min_presence=0.9, presence_s=5.0)
    assert 999 not in result.trials["unit"]
    assert result.dropped.units == {"low_presence": 1}
    assert result.quality.dropped_units == {"low_presence": 1}


def test_a_unit_of_several_neurons_is_dropped_for_refractory_violations(recording):
    pairs = np.sort(np.concatenate([np.arange(1, 60, 0.2), np.arange(1, 60, 0.2) + 0.0004]))
    result = made(with_unit(recording, pairs), max_refractory_violations=0.2)
    assert result.dropped.units == {"refractory_violations": 1}
    assert 999 not in result.trials["unit"]


def test_of_a_unit_listed_twice_the_quieter_copy_is_dropped(recording):
    copy = recording.spike_times[: recording.spike_index[0]][::2] + 0.0002
    result = made(with_unit(recording, copy), max_coincidence=0.5)
    assert result.dropped.units == {"duplicate": 1}
    assert list(result.trials["unit"]) == list(recording.units.ids)


def test_independent_units_are_no_duplicates(recording):
    share = coincidence(recording.spike_times, recording.spike_index, within_s=0.0005)
    assert share.max() < 0.1


def test_reasons_add_up_and_the_first_that_applies_counts(recording):
    silent_and_short = with_unit(recording, np.array([1.0, 1.0002]))
    result = made(silent_and_short, min_presence=0.9, presence_s=5.0, max_refractory_violations=0.1)
    assert result.dropped.units == {"below_min_rate": 1}


def test_no_unit_left_names_the_reasons(recording):
    with pytest.raises(DataError, match=r"none of 12 units of /units is kept \(refractory_violations 12\)"):
        made(recording, max_refractory_violations=0.0, refractory_s=10.0)


@given(st.lists(st.lists(st.floats(0, 1), max_size=30), min_size=1, max_size=5))
def test_coincidence_is_what_comparing_all_spikes_gives(units):
    units = [np.sort(np.round(u, 3)) for u in units]
    times, index = np.concatenate(units), np.cumsum([len(u) for u in units])
    share = coincidence(times, index, within_s=0.002)
    for i, a in enumerate(units):
        for j, b in enumerate(units):
            gaps = np.abs(np.rint(a * 1e9)[:, None] - np.rint(b * 1e9))
            pairs = int((gaps <= 2_000_000).sum())
            expected = 0.0 if i == j else min(1.0, pairs / max(1, min(len(a), len(b))))
            assert share[i, j] == pytest.approx(expected)


def test_of_three_copies_one_is_kept():
    share = np.full((3, 3), 0.9) - 0.9 * np.eye(3)
    assert duplicates(share, np.array([4, 9, 4]), np.ones(3, bool), 0.5).tolist() == [True, False, True]


def test_intervals_between_units_are_no_violations():
    assert refractory_violations(np.array([0.1, 0.1]), np.array([1, 2]), refractory_s=0.01).tolist() == [0, 0]


def test_presence_does_not_count_unobserved_time():
    counts = np.array([[1, 0, 0, 1]], np.uint8)
    observed = np.array([True, False, False, True])
    spikes = SpikeBins.of_counts(counts)
    assert presence_ratio(spikes, observed, stretch_bins=1).tolist() == [1.0]
    assert presence_ratio(spikes, np.zeros(4, bool), stretch_bins=1).tolist() == [0.0]


@given(st.integers(1, 40), st.integers(1, 9), st.randoms(use_true_random=False))
def test_presence_is_that_of_a_loop_over_stretches(n_bins, stretch_bins, random):
    counts = np.array([[random.random() < 0.1 for _ in range(n_bins)] for _ in range(3)], np.uint8)
    # Whole stretches, and what is left: a stretch of its own from half of one on, else part of the last.
    edges = list(range(0, n_bins, stretch_bins))
    if len(edges) > 1 and n_bins - edges[-1] < stretch_bins / 2:
        edges.pop()
    parts = [counts[:, a:b] for a, b in zip(edges, [*edges[1:], n_bins], strict=True)]
    expected = np.mean([part.any(axis=1) for part in parts], axis=0)
    found = presence_ratio(SpikeBins.of_counts(counts), np.ones(n_bins, bool), stretch_bins=stretch_bins)
    assert found == pytest.approx(expected)


@given(st.lists(st.lists(st.integers(0, 60), max_size=12), min_size=1, max_size=4))
def test_refractory_violations_are_those_of_a_loop(units):
    units = [sorted(ms) for ms in units]
    times = np.array([ms / 1e3 for unit in units for ms in unit])
    found = refractory_violations(times, np.cumsum([len(unit) for unit in units]), refractory_s=0.003)
    for share, unit in zip(found, units, strict=True):
        steps = np.diff(unit)
        # An interval of just the refractory period is none too short.
        assert share == pytest.approx((steps < 3).mean() if len(steps) else 0.0)


def test_a_unit_on_a_threshold_is_kept_and_one_beyond_it_dropped():
    """Four units of 20 s: one spike in every 5 s, in three of four, pairs, and a copy of the first."""
    steady, absent = [2.0, 7.0, 12.0, 17.0], [2.1, 7.1, 7.6, 12.1]
    pairs = [1.0, 1.001, 6.0, 11.0, 16.0]
    copy = [2.0002, 7.0002, 12.5, 17.5]
    units = [steady, absent, pairs, copy]
    recording = SimpleNamespace(
        spike_times=np.concatenate(units), spike_index=np.cumsum([len(unit) for unit in units])
    )
    counts = np.stack([np.histogram(unit, bins=np.arange(0, 20.1, 0.5))[0] for unit in units]).astype(
        np.uint8
    )
    rates = counts.sum(axis=1) / 20

    def reasons(min_rate_hz=0.0, **rules):
        recipe = IngestRecipe(
            bin_size_s=0.5, window_s=(-0.5, 0.5), min_rate_hz=min_rate_hz, units=UnitSelection(**rules)
        )
        spikes = SpikeBins.of_counts(counts)
        return unit_reasons(
            recording, recipe, spikes=spikes, observed=np.ones(40, bool), mean_rate=rates
        ).tolist()

    nothing = [""] * 4
    assert reasons() == nothing
    assert reasons(min_rate_hz=0.2) == nothing
    assert reasons(min_rate_hz=0.21) == ["below_min_rate", "below_min_rate", "", "below_min_rate"]
    assert reasons(min_presence=0.75, presence_s=5.0) == nothing
    assert reasons(min_presence=0.76, presence_s=5.0) == ["", "low_presence", "", ""]
    assert reasons(max_refractory_violations=0.25, refractory_s=0.002) == nothing
    assert reasons(max_refractory_violations=0.24, refractory_s=0.002) == [
        "",
        "",
        "refractory_violations",
        "",
    ]
    # Half of the spikes of the copy stand beside one of the first.
    assert reasons(max_coincidence=0.5, coincidence_s=0.0005) == nothing
    assert reasons(max_coincidence=0.49, coincidence_s=0.0005) == ["", "", "", "duplicate"]
    # The first reason is told, and a unit that is left out is no unit another repeats.
    assert reasons(min_rate_hz=0.21, min_presence=1.0, presence_s=5.0, max_coincidence=0.1) == [
        "below_min_rate", "below_min_rate", "", "below_min_rate",
    ]  # fmt: skip
