"""Schedules of learning rates and weights: their ends, their middle, and what lies beyond."""

import pytest

from nwb_latents.models.losses.schedules import cosine, horizon, linear_ramp, warmup_cosine


def test_a_warm_up_rises_in_equal_parts_and_the_cosine_falls_to_its_final_value():
    at = warmup_cosine(2.0, 110, warmup=10, final=0.5)
    assert [at(step) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    # A quarter, the half, three quarters of a half cosine, its end and beyond.
    found = [at(step) for step in (10, 35, 60, 85, 110, 111, 10_000)]
    half = 2**-0.5
    assert found == pytest.approx([2.0, 1.25 + 0.75 * half, 1.25, 1.25 - 0.75 * half, 0.5, 0.5, 0.5])


def test_a_cosine_is_one_without_a_warm_up():
    assert [cosine(2.0, 100, final=0.5)(step) for step in (0, 50, 100, 200)] == pytest.approx(
        [2, 1.25, 0.5, 0.5]
    )
    assert warmup_cosine(2.0, 0, warmup=0, final=0.5)(7) == 0.5


def test_a_ramp_rises_from_its_start_to_its_final_value():
    ramp = linear_ramp(10, 20, final=3.0)
    assert [ramp(step) for step in (0, 10, 15, 25, 30, 99)] == pytest.approx([0, 0, 0.75, 2.25, 3, 3])
    assert [linear_ramp(10, 0, final=3.0)(step) for step in (10, 11)] == [0.0, 3.0]


def test_a_horizon_grows_in_blocks_up_to_the_longest():
    at = horizon(5, 150, longest=12)
    assert [at(step) for step in (0, 149, 150, 299, 300, 9000)] == [5, 5, 10, 10, 12, 12]
