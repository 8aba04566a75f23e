"""Chopping: overlapping windows, and no sample within reach of two splits."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.chop import chop
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import ChopSettings, SplitSettings


def recipe(**changes):
    return IngestRecipe(chop=ChopSettings(enabled=True, **changes))


def bins_of(start, split, chosen, n_bins):
    """Return the distinct bins of all windows of the splits `chosen`."""
    windows = start[np.isin(split, chosen)][:, None] + np.arange(n_bins)
    return np.unique(windows)


@st.composite
def sessions(draw):
    """Observed bins with gaps."""
    lengths = draw(st.lists(st.integers(1, 900), min_size=1, max_size=8))
    parts = [np.full(length, i % 2 == 0) for i, length in enumerate(lengths)]
    return np.concatenate(parts)


@given(
    observed=sessions(),
    seed=st.integers(0, 5),
    guard_s=st.sampled_from([0.2, 0.3, 0.5]),
    overlap_s=st.sampled_from([0.0, 0.2, 0.58]),
)
@settings(deadline=None)
def test_no_bin_is_within_reach_of_two_splits(observed, seed, guard_s, overlap_s):
    chosen = recipe(guard_s=guard_s, overlap_s=overlap_s, block_s=2.0).model_copy(
        update={"split": SplitSettings(seed=seed)}
    )
    start, split = chop(observed, chosen, session="s")
    names = ("train", "val", "test")
    reach = chosen.filter_bins
    touched = []
    for name in names:
        mine = bins_of(start, split, [name], chosen.n_bins)
        assert observed[mine].all()
        touched.append(np.unique(mine[:, None] + np.arange(-reach, reach + 1)))
    for a, one in enumerate(touched):
        for other in touched[a + 1 :]:
            assert not np.intersect1d(one, other).size


@given(observed=sessions(), seed=st.integers(0, 5))
@settings(deadline=None)
def test_a_spike_changes_the_rates_of_one_split_at_most(observed, seed):
    chosen = recipe(block_s=1.0).model_copy(update={"split": SplitSettings(seed=seed)})
    start, split = chop(observed, chosen, session="s")
    spike = int(np.random.default_rng(seed).integers(len(observed)))
    near = (start - chosen.filter_bins <= spike) & (spike < start + chosen.n_bins + chosen.filter_bins)
    assert len(set(split[near])) <= 1


def test_shares_hold_in_a_long_session_and_little_time_is_lost():
    start, split = chop(np.ones(60_000, bool), recipe(), session="s")
    total = len(start)
    for name, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert (split == name).sum() / total == pytest.approx(share, abs=0.02)
    covered = len(bins_of(start, split, ["train", "val", "test"], 30))
    assert covered > 0.95 * 60_000


def test_short_sessions_still_have_all_splits():
    start, split = chop(np.ones(1500, bool), recipe(), session="s")
    assert set(split) == {"train", "val", "test"}
    assert (np.diff(start) > 0).all()


def test_the_draw_is_seeded_by_the_session():
    observed = np.ones(20_000, bool)
    first = chop(observed, recipe(), session="s")
    again, other = chop(observed, recipe(), session="s"), chop(observed, recipe(), session="t")
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert len(first[1]) != len(other[1]) or (first[1] != other[1]).any()


def test_a_benchmarks_blocks_keep_their_split():
    hint = np.full(6000, "train", dtype=object)
    hint[3000:4500] = "val"
    hint[5500:] = ""
    chosen = recipe()
    start, split = chop(np.ones(6000, bool), chosen, session="s", hint=hint)
    assert set(split) == {"train", "val", "test"}
    is_test = split == "test"
    assert ((start[is_test] >= 3000) & (start[is_test] + chosen.n_bins <= 4500)).all()
    tested, others = (bins_of(start, split, names, 30) for names in (["test"], ["train", "val"]))
    assert np.abs(tested[:, None] - others).min() > 15
    assert (start + chosen.n_bins <= 5500).all()


def test_pseudo_trials_of_a_benchmark_file_keep_their_side(recording):
    start = np.arange(0.0, 72.0, 0.6)
    split = np.where(np.arange(len(start)) % 6 == 2, "val", "train").astype(object)
    n = len(start)
    table = dataclasses.replace(
        recording.trials,
        row=np.arange(n),
        events={"start": start, "stop": start + 0.6},
        success=np.ones(n, bool),
        valid=np.ones(n, bool),
        target_dir=np.full(n, np.nan),
        condition=np.full(n, "", object),
        split=split,
    )
    made = make_trials(dataclasses.replace(recording, trials=table), recipe(overlap_s=0.0)).trials
    row = np.searchsorted(start, made["event_time"] + 0.3) - 1
    is_test = made["split"] == "test"
    assert (split[row[is_test]] == "val").all()
    assert is_test.sum() == 20
    assert (split[row[~is_test]] == "train").all()
    assert set(made["split"]) == {"train", "val", "test"}


def test_windows_of_a_recording_are_slices_with_all_coordinates(recording):
    made = make_trials(recording, recipe())
    start = made.trials["start_bin"]
    assert made.trials["rates"].shape[1] == 30
    assert made.trials["time"][0] == 0.0
    assert np.array_equal(made.trials["rates"][3], made.continuous["rates"][start[3] : start[3] + 30])
    assert np.isnan(made.trials["go_cue"]).all()
    assert set(made.trials["condition"]) == {"chop"}
    assert made.trials["event_time"] == pytest.approx(made.continuous["time"][start])
    assert set(made.events["reason"]) == {"chopped"}
    assert len(made.events["row"]) == 24


def test_a_session_without_movement_can_be_chopped(recording):
    still = dataclasses.replace(recording, trials=None, velocity=None, position=None)
    made = make_trials(still, recipe())
    assert len(made.trials["trial"]) > 50
    assert made.quality.flags == ("no_decodability",)


def test_nothing_long_enough_is_an_error_with_a_remedy(recording):
    with pytest.raises(DataError, match=r"chop.length_s = 100 s.*--set chop.length_s"):
        make_trials(recording, recipe(length_s=100.0))


def test_settings_that_would_leak_or_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match=r"chop.guard_s 0.1 is shorter .* use at least 0.2"):
        recipe(guard_s=0.1)
    with pytest.raises(ValidationError, match=r"length_s 0.61 is not a whole number .* nearest: 0.6"):
        recipe(length_s=0.61)
    with pytest.raises(ValidationError, match="overlap_s must be shorter"):
        recipe(overlap_s=0.6)
    with pytest.raises(ValidationError, match="chopped time has one split"):
        IngestRecipe(chop=ChopSettings(enabled=True), extra_splits=(SplitSettings(name="b"),))


def test_the_reach_of_the_kinematics_filter_is_what_the_recipe_says():
    from nwb_latents.pipeline.signals.resample import CUTOFF, ZERO_CROSSINGS
    from nwb_latents.schemas.recipe import KINEMATIC_FILTER_BINS

    assert ZERO_CROSSINGS / CUTOFF <= KINEMATIC_FILTER_BINS
