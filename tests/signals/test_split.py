"""Splits: every trial in one, shares kept overall and within conditions, stable."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nwb_latents.pipeline.signals.split import stratified_split
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import SplitSettings

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


def hinted(recording, names):
    split = np.array(names, dtype=object)
    return dataclasses.replace(recording, trials=dataclasses.replace(recording.trials, split=split))


def test_trials_of_a_benchmark_file_keep_their_side(recording):
    names = ["train"] * 16 + ["val"] * 8
    made = make_trials(hinted(recording, names), IngestRecipe()).trials
    is_validation = made["trial"] >= 16
    assert set(made["split"][is_validation]) == {"test"}
    assert set(made["split"][~is_validation]) == {"train", "val"}


def test_extra_splits_are_further_coordinates_of_the_same_trials(recording):
    extra = (SplitSettings(name="other", seed=7), SplitSettings(name="half", train=0.5, val=0.0, test=0.5))
    plain = make_trials(recording, IngestRecipe()).trials
    made = make_trials(recording, IngestRecipe(extra_splits=extra)).trials
    assert (made["split"] == plain["split"]).all()
    assert (made["split_other"] != made["split"]).any()
    assert (made["split_half"] == "train").sum() == (made["split_half"] == "test").sum() == 12
    names = ["train"] * 16 + ["test"] * 8
    benchmark = make_trials(hinted(recording, names), IngestRecipe(extra_splits=extra)).trials
    assert set(benchmark["split_other"][benchmark["trial"] >= 16]) == {"test"}


def test_extra_splits_need_names_of_their_own():
    with pytest.raises(ValidationError, match="a name of its own"):
        IngestRecipe(extra_splits=(SplitSettings(name="b"), SplitSettings(name="b")))
    with pytest.raises(ValidationError, match="a name of its own"):
        IngestRecipe(extra_splits=(SplitSettings(),))
    with pytest.raises(ValidationError, match="lower-case letters"):
        IngestRecipe(extra_splits=(SplitSettings(name="a/b"),))
