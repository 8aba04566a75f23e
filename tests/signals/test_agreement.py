"""A velocity held against the position beside it: the lag is the one an exhaustive search would find."""

import numpy as np
import pytest

from nwb_latents.pipeline.signals.agreement import _at_lag, _fast, _lag, compare
from nwb_latents.pipeline.signals.displacements import Displacements
from nwb_latents.pipeline.signals.recording import Series


def displaced(seed, *, lag, n=4000, n_axes=2, noise=0.3, lost=0.0, still=False):
    """Return displacements of a velocity that comes so many windows late, noisy and with gaps."""
    rng = np.random.default_rng(seed)
    way = np.stack([np.convolve(x, np.ones(8) / 8, "same") for x in rng.standard_normal((n_axes, n))], axis=1)
    if still:
        # Most of the time nothing moves at all, so that most lags compare movement with rest.
        way[(np.arange(n) % 80) > 12] = 0.0
    said = np.roll(way, lag, axis=0) + noise * way.std() * rng.standard_normal(way.shape) * (way != 0)
    has = rng.random((2, n)) >= lost
    said[~has[1]] = np.nan
    return Displacements(way, said, has[0], has[1], 0.05)


def searched(moved, axes):
    """Try one lag after the other, the shortest first."""
    windows = _fast(moved, axes)
    windows = windows[:: max(1, len(windows) // 2000)]
    farthest = int(min(30.0 / moved.step_s, len(moved.position) // 2))
    best, at = -1.0, 0
    for lag in sorted(range(-farthest, farthest + 1), key=abs):
        found = _at_lag(moved, axes, windows, lag=lag)
        if found > best + 0.01:
            best, at = found, lag
    return at * moved.step_s, best


@pytest.mark.parametrize(
    "how",
    [
        {"lag": 0},
        {"lag": 37},
        {"lag": -200, "noise": 2.0},
        {"lag": 12, "lost": 0.4},
        {"lag": 5, "lost": 0.995},
        {"lag": 90, "n": 130},
        {"lag": 3, "still": True},
        {"lag": 11, "n_axes": 3, "noise": 50.0},
        {"lag": 30_000, "n": 60_000},
    ],
)
def test_the_lag_is_that_of_an_exhaustive_search(how):
    for seed in range(3):
        moved = displaced(seed, **how)
        axes = np.arange(moved.position.shape[1])
        with np.errstate(invalid="ignore"):
            assert _lag(moved, axes) == searched(moved, axes)


def test_a_velocity_that_comes_late_is_known_by_its_lag():
    rng = np.random.default_rng(0)
    time = np.arange(20_000) * 0.01
    velocity = np.stack([np.convolve(x, np.hanning(40), "same") for x in rng.standard_normal((2, 20_000))])
    position = np.cumsum(velocity, axis=1).T * 0.01
    found = compare(Series(time, position), Series(time, np.roll(velocity.T, 150, axis=0)))
    assert found is not None
    assert found.relation == "comes about 1.5 s after the position's derivative"
