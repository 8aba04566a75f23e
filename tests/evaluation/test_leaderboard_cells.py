"""Spread over seeds where each session has runs of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nwb_latents.pipeline.evaluation.leaderboard_cells import cells_of


def cell(rows):
    found = pd.DataFrame(rows, columns=["owner", "session", "seed", "value"])
    (made,) = cells_of(found.assign(low=np.nan, high=np.nan), np.zeros(len(found), dtype=int))
    return made


def aligned(seeds=(0, 1, 2), sessions="st", value=lambda seed, session: seed + 10 * ord(session)):
    return [(f"{s}-{seed}", s, seed, value(seed, s)) for s in sessions for seed in seeds]


def test_runs_of_one_seed_in_all_sessions_are_one_repetition():
    made = cell(aligned())
    assert made.seed_sd == pytest.approx(1)
    assert made.n_sessions == 2
    shuffled = cell(list(reversed(aligned())))
    assert shuffled == made or np.isnan(made.low)
    assert shuffled.seed_sd == made.seed_sd


def test_seeds_that_not_all_sessions_have_are_no_repetition():
    rows = aligned()
    assert cell([row for row in rows if row[:2] != ("t-2", "t")]).seed_sd == pytest.approx(
        np.std([0, 1], ddof=1)
    )
    assert np.isnan(cell([row for row in rows if row[2] == 0 or row[1] == "s"]).seed_sd)


def test_two_runs_of_a_session_with_one_seed_are_not_told_apart():
    twice = [*aligned(seeds=(0,)), *[(f"other-{s}", s, 0, 5.0) for s in "st"]]
    assert np.isnan(cell(twice).seed_sd)


def test_runs_of_many_sessions_are_repetitions_whatever_their_seed():
    rows = [(owner, s, None, value) for owner, value in (("a", 1.0), ("b", 3.0)) for s in "st"]
    assert cell(rows).seed_sd == pytest.approx(np.sqrt(2))
