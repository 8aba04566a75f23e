"""A session: what a store holds, in one object that whoever trains, scores or exports is given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.stores import session as module
from nwb_latents.pipeline.stores.session import open_session, session_in_memory
from nwb_latents.pipeline.stores.trials import read_continuous, read_trials, to_dataset, write_store
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import Provenance, StoreAttributes

ATTRIBUTES = StoreAttributes(
    store_key="k", session="sub-T_ses-1", subject="T", task="CO", bin_size_s=0.02, n_event_bins=13,
    recipe=IngestRecipe(),
    provenance=Provenance(source="x.nwb", asset_digest="sha256:0", layout="generic"), dropped={},
)  # fmt: skip


@pytest.fixture
def store(tmp_path, recording):
    made = make_trials(recording, IngestRecipe())
    groups = (
        to_dataset("trials", made.trials, ATTRIBUTES),
        to_dataset("continuous", made.continuous, ATTRIBUTES),
    )
    write_store(tmp_path / "s.zarr", *groups)
    return tmp_path / "s.zarr"


def test_it_says_what_the_store_says(store):
    session, trials = open_session(store), read_trials(store)
    assert session.attributes == ATTRIBUTES
    assert (session.name, session.subject, session.store_key) == ("sub-T_ses-1", "T", "k")
    assert (session.bin_size_s, session.recipe_id) == (0.02, IngestRecipe().recipe_id)
    assert (session.n_trials, session.n_bins, session.n_units) == tuple(trials["counts"].shape)
    assert session.axes == tuple(trials["axis"].values)
    assert np.array_equal(session.time_s, trials["time"].values)
    assert session.where == str(store)


def test_trials_start_where_their_first_bin_does(store):
    """The event lies so many bins after the start, and as far into its bin as its offset says."""
    session = open_session(store)
    event = session.start_s + 13 * 0.02 + session.trials["event_offset"].values
    np.testing.assert_allclose(event, session.trials["event_time"].values, atol=1e-9)


def test_the_continuous_group_is_opened_when_it_is_asked_for_and_once(store, monkeypatch):
    opened = []
    monkeypatch.setattr(
        module, "read_continuous", lambda where: opened.append(where) or read_continuous(where)
    )
    session = open_session(store).loaded()
    session.rows("train")
    assert not opened
    session.velocity(100.0)
    session.select(session.rows("test")).velocity(100.0)
    assert len(opened) == 1


def test_arrays_are_read_when_they_are_used(store):
    session = open_session(store)
    assert not session.trials["counts"].variable._in_memory
    assert not session.continuous["counts"].variable._in_memory
    loaded = session.loaded()
    assert loaded.trials["counts"].variable._in_memory
    assert not loaded.continuous["counts"].variable._in_memory


def test_it_cannot_be_changed(store):
    session = open_session(store)
    with pytest.raises(dataclasses.FrozenInstanceError):
        session.trials = session.trials.isel(trial=[0])
    fewer = session.select(np.array([1, 0]))
    assert (fewer.n_trials, fewer.attributes) == (2, session.attributes)
    assert fewer.trials["trial"].values.tolist() == session.trials["trial"].values[[1, 0]].tolist()
    assert session.n_trials > 2


def test_rows_of_splits(store):
    session = open_session(store)
    split = session.trials["split"].values.astype(str)
    assert np.array_equal(session.rows("train"), np.flatnonzero(split == "train"))
    assert np.array_equal(session.rows(("train", "val")), np.flatnonzero(split != "test"))
    only = dataclasses.replace(session, trials=session.trials.isel(trial=session.rows("train")))
    assert only.rows("test").tolist() == []
    with pytest.raises(
        DataError, match=r"sub-T_ses-1: no trial is in the split test, .* for scoring .*--set"
    ):
        only.rows("test", purpose="scoring")


@pytest.mark.parametrize("lag_ms", [-60.0, 0.0, 100.0])
def test_velocity_at_a_lag_is_the_recorded_sample_that_much_later(store, lag_ms):
    session = open_session(store)
    whole, lag = read_continuous(store), round(lag_ms / 20)
    paired = session.velocity(lag_ms)
    assert paired.velocity.shape == (session.n_trials, session.n_bins, len(session.axes))
    for row, start in enumerate(session.trials["start_bin"].values):
        for k in range(session.n_bins):
            there = start + k + lag
            if paired.valid[row, k]:
                assert np.array_equal(paired.velocity[row, k], whole["velocity"].values[there])
            elif 0 <= there < whole.sizes["time"]:
                assert not (
                    whole["observed"].values[[start + k, there]].all()
                    and np.isfinite(whole["velocity"].values[there]).all()
                )
    assert paired.valid.any()


def test_a_lag_or_a_time_ahead_that_is_no_whole_number_of_bins_is_refused(store):
    session = open_session(store)
    with pytest.raises(SettingsError, match=r"lag_ms 90 is not a whole number of 20 ms bins.*80 and 100"):
        session.velocity(90.0)
    with pytest.raises(SettingsError, match=r"forward_ms 30 .*20 and 40"):
        session.forward_bins(30.0)
    with pytest.raises(SettingsError, match="forward_ms 2000 is longer than the trial window"):
        session.forward_bins(2000.0)
    assert session.forward_bins(200.0) == 10


def test_units_marked_in_the_store_are_the_ones_held_out():
    marked = np.array([False, True, False, True])
    trials = xr.Dataset(coords={"heldout": ("unit", marked)}, attrs={"session": "s"})
    assert np.array_equal(session_in_memory(trials).heldout(fraction=0.9), marked)


def test_units_drawn_depend_on_session_and_seed_alone():
    def drawn(name, seed):
        trials = xr.Dataset(coords={"heldout": ("unit", np.zeros(40, bool))}, attrs={"session": name})
        return session_in_memory(trials).heldout(fraction=0.25, seed=seed)

    assert drawn("a", 0).sum() == 10
    assert np.array_equal(drawn("a", 0), drawn("a", 0))
    assert not np.array_equal(drawn("a", 0), drawn("b", 0))
    assert not np.array_equal(drawn("a", 0), drawn("a", 1))


def test_bins_after_a_window_belong_to_the_trial_that_holds_them():
    trials = xr.Dataset(
        {"start_bin": ("trial", [0, 3])}, coords={"time": [0.0, 0.02]}, attrs={"session": "s"}
    )
    whole = xr.Dataset(
        {"counts": (("time", "unit"), np.arange(6)[:, None]), "observed": ("time", [True] * 6)}
    )
    session = session_in_memory(trials, whole)
    found = session.counts_after(np.array([0, 1]), n_bins=2)[..., 0]
    assert np.array_equal(found, [[2, 3], [5, np.nan]], equal_nan=True)
    alone = session.counts_after(np.array([0]), n_bins=2)[..., 0]
    assert np.array_equal(alone, [[2, np.nan]], equal_nan=True)


def test_an_extra_split_takes_the_place_of_the_own_one():
    splits = {"split": ("trial", ["train", "test"]), "split_b": ("trial", ["test", "train"])}
    session = session_in_memory(xr.Dataset(coords=splits, attrs={"session": "s"}))
    assert session.with_split(None).rows("train").tolist() == [0]
    assert session.with_split("b").rows("train").tolist() == [1]
    with pytest.raises(SettingsError, match="s: has no extra split 'c'; it has: b"):
        session.with_split("c")


def test_a_session_in_memory_says_what_it_was_given(make_groups):
    trials, continuous = make_groups(key="mine")
    session = session_in_memory(trials, continuous)
    assert (session.store_key, session.name, session.attributes.task) == ("mine", "s", "CO")
    other = session_in_memory(trials, continuous, ATTRIBUTES)
    assert other.attributes is ATTRIBUTES


def test_a_session_in_memory_without_its_continuous_group_says_so():
    session = session_in_memory(xr.Dataset(attrs={"session": "s"}))
    with pytest.raises(DataError, match="s: made in memory without its continuous group"):
        session.continuous.load()


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(DataError, match="no complete trial store"):
        open_session(tmp_path)


def test_a_split_there_is_not_is_refused(store):
    session = open_session(store)
    with pytest.raises(SettingsError, match="no split is called 'tset'; expected one of test, train, val"):
        session.rows("tset")
    with pytest.raises(SettingsError, match="'all'"):
        session.rows(["train", "all"])
