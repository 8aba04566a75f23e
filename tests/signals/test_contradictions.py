"""Where position and velocity contradict each other: nowhere in what is whole, and each lost stretch once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, filtfilt, lfilter

from nwb_latents.pipeline.signals.contradictions import contradictions
from nwb_latents.pipeline.signals.recording import Series

RATE = 100.0


def reaches(length_s=120.0, *, seed=0):
    """Return time, position and velocity of reaches out and back in two directions, 2 s apart."""
    time = np.arange(int(length_s * RATE)) / RATE
    velocity = np.zeros((len(time), 2))
    drawn = np.random.default_rng(seed)
    for number, start in enumerate(np.arange(0.5, length_s - 1.0, 2.0)):
        if number % 2 == 0:
            angle = drawn.uniform(0, 2 * np.pi)
        side = 1.0 if number % 2 == 0 else -1.0
        bell = np.exp(-0.5 * np.square((time - start - 0.4) / 0.1))
        velocity += side * 32.0 * bell[:, None] * [np.cos(angle), np.sin(angle)]
    return time, 1.5 + np.cumsum(velocity, axis=0) / RATE, velocity


def noisy(values, size):
    return values + np.random.default_rng(1).normal(0, size, values.shape)


def later(values, seconds):
    return np.roll(values, int(seconds * RATE), axis=0)


def turned(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s], [-s, c]])


@pytest.mark.parametrize(
    "change",
    [
        lambda p, v: (p, v),
        lambda p, v: (noisy(p, 0.05), noisy(v, 2.0)),
        lambda p, v: (p, later(v, 0.15)),
        lambda p, v: (noisy(p, 0.05), noisy(later(v, -0.15), 2.0)),
        lambda p, v: (p, 0.7 * v),
        lambda p, v: (p, v * [1.0, 0.7]),
        lambda p, v: (p, filtfilt(*butter(2, 4.0, fs=RATE), v, axis=0)),
        lambda p, v: (noisy(p, 0.2), noisy(lfilter(*butter(2, 6.0, fs=RATE), v, axis=0), 10.0)),
        lambda p, v: (np.round(p * 2) / 2, v),
        lambda p, v: (p + np.linspace(0, 50, len(p))[:, None], v + 1.0),
        lambda p, v: (p, v @ turned(20)),
        lambda p, v: (p, v[:, :1]),
        lambda p, v: (p * 0 + 3, v),
        lambda p, v: (np.where(np.arange(len(p))[:, None] // 500 % 3 == 1, np.nan, p), v),
    ],
    ids=[
        *("whole", "noise", "a filter that delays", "noise, and too early", "another unit", "two units"),
        *("smoothed", "smoothed by a filter that delays", "steps of 5 mm", "drift", "turned a little"),
        *("one axis", "standstill", "gaps"),
    ],
)
def test_nothing_is_said_of_what_agrees_or_cannot_be_compared(change):
    time, position, velocity = reaches()
    p, v = change(position, velocity)
    assert contradictions(Series(time, p), Series(time, v)) == []


@pytest.mark.parametrize("which", ["position", "velocity"])
def test_a_stretch_that_was_zeroed_is_found_where_it_lies(which):
    time, position, velocity = reaches()
    lost = (time >= 40.4) & (time < 41.4)
    (position if which == "position" else velocity)[lost] = 0.0
    found = contradictions(Series(time, position), Series(time, velocity))
    assert found
    assert all(40.0 <= one.start_s < one.stop_s <= 41.8 for one in found)
    # A position that was zeroed jumps, too; a velocity only says less.
    assert which == "position" or all(one.velocity < one.position for one in found)


@pytest.mark.parametrize(("share", "size"), [(0.08, 0.0), (0.08, 1.0), (0.2, 1.0), (0.38, 1.0)])
@pytest.mark.parametrize(
    "change",
    [
        lambda v: -v,
        lambda v: v * [-1, 1],
        lambda v: v[:, ::-1],
        lambda v: v @ turned(90),
        lambda v: 10 * v,
        lambda v: v / 10,
        lambda v: 0 * v,
        lambda v: np.roll(v, 50, axis=0),
    ],
    ids=[
        "reversed",
        "mirrored",
        "exchanged axes",
        "turned",
        "tenfold",
        "a tenth",
        "none",
        "half a second late",
    ],
)
def test_what_moves_elsewhere_or_by_other_ways_for_a_while_is_found_there(change, share, size):
    time, position, velocity = reaches(240.0)
    changed = slice(int(0.4 * len(time)), int((0.4 + share) * len(time)))
    velocity[changed] = change(velocity[changed])
    found = contradictions(
        Series(time, noisy(position, 0.05 * size)), Series(time, noisy(velocity, 2.0 * size))
    )
    # Most of the reaches in it, and none outside.
    assert len(found) >= 0.4 * share * 240.0 / 2
    start, stop = time[changed][[0, -1]]
    assert all(start - 0.5 <= one.start_s < one.stop_s <= stop + 0.5 for one in found)


def test_series_of_other_rates_and_clocks_are_compared_on_the_time_they_share():
    time, position, velocity = reaches()
    velocity[(time >= 40.4) & (time < 41.4)] = 0.0
    shared = time >= 20.0
    found = contradictions(Series(time[::2], position[::2]), Series(time[shared], velocity[shared]))
    assert len(found) == 1
    assert 40.0 <= found[0].start_s < 41.4


def test_long_recordings_and_long_gaps_are_gone_through_in_blocks():
    time, position, velocity = reaches(2500.0)
    # Over the edge of the first block of twenty minutes.
    velocity[(time >= 1199.9) & (time < 1201.4)] = 0.0
    (found,) = contradictions(Series(time, position), Series(time, velocity))
    assert 1199.0 < found.start_s < 1201.0
    far = np.where(time >= 1300.0, time + 1e9, time)
    (again,) = contradictions(Series(far, position), Series(far, velocity))
    assert (again.start_s, again.stop_s) == (found.start_s, found.stop_s)
