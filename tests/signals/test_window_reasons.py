"""Why a window is not cut: bins outside the session, bins not observed, bins of the window before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.pipeline.signals.candidates import touches, window_reasons


def reasons_of(start, stop, *, n_bins=20, unobserved=(), reason=None, guard_bins=0):
    observed = np.ones(n_bins, bool)
    observed[list(unobserved)] = False
    start, stop = np.array(start), np.array(stop)
    reason = np.full(len(start), "", dtype=object) if reason is None else np.array(reason, dtype=object)
    return window_reasons(start, stop, reason, observed=observed, guard_bins=guard_bins).tolist()


@pytest.mark.parametrize(
    ("hole", "expected"),
    [(4, ""), (5, "unobserved"), (7, "unobserved"), (9, "unobserved"), (10, "")],
    ids=["the bin before", "its first bin", "one within", "its last bin", "the bin after"],
)
def test_a_window_has_to_be_observed_from_its_first_to_its_last_bin(hole, expected):
    assert reasons_of([5], [10], unobserved=[hole]) == [expected]


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(0, 20, ""), (-1, 19, "outside_recording"), (1, 21, "outside_recording"), (19, 20, "")],
)
def test_a_window_has_to_lie_in_the_session(start, stop, expected):
    assert reasons_of([start], [stop]) == [expected]


@pytest.mark.parametrize(("guard_bins", "second"), [(0, 10), (3, 13)])
def test_two_windows_are_apart_by_the_guard(guard_bins, second):
    near = reasons_of([5, second - 1], [10, second + 4], guard_bins=guard_bins)
    assert near == ["", "overlaps_previous"]
    assert reasons_of([5, second], [10, second + 5], guard_bins=guard_bins) == ["", ""]
    assert reasons_of([5, 5], [10, 10], guard_bins=None) == ["", ""]


def test_the_earlier_window_is_kept_whatever_their_order_and_one_left_out_is_in_nobodys_way():
    assert reasons_of([7, 5], [12, 10]) == ["overlaps_previous", ""]
    assert reasons_of([5, 7], [10, 12], reason=["too_short", ""]) == ["too_short", ""]
    # A window that overlaps is not there, and so in nobody's way either.
    assert reasons_of([0, 4, 6], [5, 9, 11]) == ["", "overlaps_previous", ""]


def test_the_first_reason_is_told():
    assert reasons_of([-1], [5], unobserved=[2]) == ["outside_recording"]
    assert reasons_of([0, 3], [5, 8], unobserved=[4]) == ["unobserved", "unobserved"]


@given(
    marked=st.lists(st.booleans(), max_size=12),
    start=st.integers(-4, 14),
    length=st.integers(0, 6),
)
def test_touching_is_that_of_a_loop(marked, start, length):
    inside = [marked[i] for i in range(start, start + length) if 0 <= i < len(marked)]
    found = touches(np.array([start]), np.array([start + length]), np.array(marked, dtype=bool))
    assert found.tolist() == [any(inside)]
