"""Splits: every trial in one, shares kept overall and within conditions, stable."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.signals.split import stratified_split
from schemas.recipe import SplitSettings

conditions = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=300)


@given(conditions)
def test_shares_hold_to_within_one_trial(names):
    split = stratified_split(np.array(names, object), SplitSettings(), session="s")
    for name, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert abs((split == name).sum() - share * len(names)) <= 1.0 + 1e-9
    assert set(split) <= {"train", "val", "test"}


@given(conditions)
def test_every_condition_gets_its_share(names):
    condition = np.array(names, object)
    split = stratified_split(condition, SplitSettings(), session="s")
    for one in set(names):
        mine = split[condition == one]
        assert abs((mine == "train").sum() - 0.7 * len(mine)) <= 2.0


def test_the_same_seed_gives_the_same_split_and_another_session_another():
    condition = np.array(["a", "b"] * 60, object)
    first = stratified_split(condition, SplitSettings(), session="s")
    assert (first == stratified_split(condition, SplitSettings(), session="s")).all()
    assert (first != stratified_split(condition, SplitSettings(), session="t")).any()
    assert (first != stratified_split(condition, SplitSettings(seed=1), session="s")).any()


def test_a_benchmarks_own_split_is_honoured():
    hint = np.array(["train"] * 80 + ["val"] * 20, object)
    split = stratified_split(np.full(100, "a", object), SplitSettings(), session="s", hint=hint)
    assert (split[80:] == "test").all()
    assert set(split[:80]) == {"train", "val"}
    assert (split == "val").sum() == 10
