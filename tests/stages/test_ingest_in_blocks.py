"""Stores do not depend on how much memory an ingest may take: to the byte, whatever the recording is like."""

from __future__ import annotations

import dataclasses
import hashlib
import tracemalloc

import h5py
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nwb_latents.pipeline.errors import PartialFailure, SettingsError
from nwb_latents.pipeline.scratch import Scratch
from nwb_latents.pipeline.signals.recording import Series
from nwb_latents.pipeline.signals.rows import MemoryShelf, put
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import session_shelf
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.pipeline.stores.shards import shard_shelf
from nwb_latents.pipeline.stores.trials import read_continuous, read_trials
from nwb_latents.schemas.recipe import IngestRecipe

RECIPES = {
    "default": (),
    "fine bins": ("bin_size_s=0.001", "smooth_kernel=causal"),
    "wide kernel": ("smooth_sigma_s=0.5",),
    "overlapping trials": ("trials.allow_overlap=true", "window_s=[-1.0, 2.0]"),
    "windows of continuous time": ("chop.enabled=true",),
    "reaches found from the speed": ("trials.source=speed",),
    "all rules for units": (
        "units.min_presence=0.5",
        "units.max_refractory_violations=0.9",
        "units.max_coincidence=0.9",
        "units.order=id",
    ),
    "spikes smoothed at 1 ms": ("psth_sigma_s=0.05",),
    "observed by the first ms": ("observed_by=first_ms",),
}
ODD = {
    "whole": lambda h5: None,
    "gaps": lambda h5: observed(h5, [[0.0, 20.0], [24.005, 31.0], [40.0, 70.0]]),
    "one trial": lambda h5: rows(h5, slice(5, 6)),
    "trials out of order": lambda h5: rows(h5, slice(None, None, -1)),
    "counts beyond 255": lambda h5: burst(h5, 300),
    "counts beyond 65535": lambda h5: burst(h5, 70_000),
}


def observed(h5, intervals):
    n = len(h5["units/id"])
    h5["units/obs_intervals"] = np.tile(intervals, (n, 1))
    h5["units/obs_intervals_index"] = len(intervals) * np.arange(1, n + 1)
    h5["units"].attrs["colnames"] = np.array(["spike_times", "obs_intervals"], dtype=h5py.string_dtype())


def rows(h5, kept):
    table = h5["intervals/trials"]
    for name in list(table):
        values, attributes = table[name][()], dict(table[name].attrs)
        del table[name]
        table[name] = values[kept]
        table[name].attrs.update(attributes)


def burst(h5, n):
    """Let the first unit fire so often within a millisecond."""
    times, index = h5["units/spike_times"][()], h5["units/spike_times_index"][()]
    own = np.sort(np.r_[times[: index[0]], 12.0 + np.arange(n) * 0.0009 / n])
    del h5["units/spike_times"], h5["units/spike_times_index"]
    h5["units/spike_times"] = np.r_[own, times[index[0] :]]
    h5["units/spike_times_index"] = index + n


def stored(folder, path, recipe, *, memory, monkeypatch):
    """Return the digest of every file of a store, or why there is none."""
    monkeypatch.setattr(session_shelf, "_memory_bytes", lambda job: memory)
    try:
        (entry,) = ingest(folder / "catalog.yaml", FolderSource([path]), recipe)
    except PartialFailure as failure:
        return failure.failures[0][1]
    store = folder / entry.store
    assert not list(store.parent.glob(".*.tmp")), "something was left beside the store"
    return {
        file.relative_to(store).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in store.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def odd(make_nwb, make_reaches, tmp_path):
    def write(name):
        path = make_nwb(tmp_path / "nwb" / "sub-T_ses-CO-1.nwb", make_reaches(n_trials=30))
        with h5py.File(path, "r+") as h5:
            ODD[name](h5)
        return path

    return write


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("title", ["default", "fine bins"])
def test_a_store_is_the_same_to_the_byte_of_any_recording(odd, tmp_path, monkeypatch, name, title):
    path, recipe = odd(name), settings_from(IngestRecipe, words=[*RECIPES[title], "on_repeated_spikes=keep"])
    whole = stored(tmp_path / "a", path, recipe, memory=1 << 40, monkeypatch=monkeypatch)
    assert stored(tmp_path / "b", path, recipe, memory=1 << 20, monkeypatch=monkeypatch) == whole
    assert isinstance(whole, dict), whole


@pytest.mark.parametrize("title", RECIPES)
def test_a_store_is_the_same_to_the_byte_with_any_recipe(odd, tmp_path, monkeypatch, title):
    path, recipe = odd("gaps"), settings_from(IngestRecipe, words=RECIPES[title])
    whole = stored(tmp_path / "a", path, recipe, memory=1 << 40, monkeypatch=monkeypatch)
    assert stored(tmp_path / "b", path, recipe, memory=300_000, monkeypatch=monkeypatch) == whole
    assert isinstance(whole, dict), whole


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.integers(500, 60_000),
    bin_size_s=st.sampled_from([0.02, 0.1]),
    holes=st.lists(st.tuples(st.floats(0, 60), st.floats(0.001, 5)), max_size=4),
)
def test_not_a_bit_depends_on_the_size_of_the_blocks(recording, cells, bin_size_s, holes):
    """From some bins to everything, with gaps wherever they fall."""
    edges = sorted((begin, begin + length) for begin, length in holes)
    bounds = [recording.observed[0, 0], *np.ravel(edges), recording.observed[0, 1]]
    odd = dataclasses.replace(
        recording, observed=np.array([pair for pair in np.reshape(bounds, (-1, 2)) if pair[1] > pair[0]])
    )
    recipe = IngestRecipe(bin_size_s=bin_size_s, window_s=(-0.3, 0.5))
    whole = make_trials(odd, recipe, shelf=MemoryShelf(block_cells=1 << 30))
    parts = make_trials(odd, recipe, shelf=MemoryShelf(Scratch(most_bytes=0), block_cells=cells))
    for one, other in ((whole.trials, parts.trials), (whole.continuous, parts.continuous)):
        for name in one:
            assert one[name].dtype == other[name].dtype, name
            assert one[name].tobytes() == other[name].tobytes() or one[name].dtype == object, name
    assert (whole.quality, whole.dropped, whole.notes) == (parts.quality, parts.dropped, parts.notes)


@pytest.mark.parametrize("shape", [(1, 1), (1000, 3), (70_000, 9), (5, 7, 11), (3, 300, 1000)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_shard_is_that_of_zarr_to_the_byte(tmp_path, shape, dtype):
    from nwb_latents.pipeline.stores.shards import ZSTD_LEVEL, chunk_rows

    values = np.random.default_rng(0).poisson(0.2, shape).astype(dtype)
    with shard_shelf(tmp_path / "a", Scratch(), block_cells=1000) as shelf:
        made = put(values, "trials/counts", shelf)
        assert made.shape == shape
        assert (made[0 : len(made)] == values).all()
        pick = np.random.default_rng(1).integers(0, shape[0], (4, 3))
        assert (made[pick] == values[pick]).all()
        ((place, shard),) = shelf.shards().items()
        packed = shard.path.read_bytes()
    rows_of_chunk = chunk_rows(shape, dtype)
    n_rows = -(-shape[0] // rows_of_chunk) * rows_of_chunk
    array = zarr.create_array(
        tmp_path / "zarr",
        name="trials/counts",
        shape=shape,
        chunks=(rows_of_chunk, *shape[1:]),
        shards=(n_rows, *shape[1:]),
        dtype=dtype,
        compressors=zarr.codecs.ZstdCodec(level=ZSTD_LEVEL, checksum=True),
        fill_value=np.nan if dtype == "f4" else 0,
        config={"write_empty_chunks": True},
    )
    array[...] = values
    assert packed == (tmp_path / "zarr" / place).read_bytes()
    assert (shard.digest.size, shard.digest.sha256) == (len(packed), hashlib.sha256(packed).hexdigest())


def test_what_fails_halfway_leaves_nothing_beside_the_store(odd, tmp_path, monkeypatch):
    reason = stored(
        tmp_path,
        odd("whole"),
        IngestRecipe(onset={"min_peak_cm_s": 1e4}),
        memory=1 << 20,
        monkeypatch=monkeypatch,
    )
    assert "none of 30 trials is valid" in reason
    (folder,) = (tmp_path / "stores").iterdir()
    assert not list(folder.glob("*.zarr"))
    assert not list(folder.glob(".*.tmp"))


def long_recording(recording, hours):
    """Return a recording of 40 units at 5 Hz and slow kinematics, with the trials of another one."""
    rng, n_units, seconds = np.random.default_rng(0), 40, 3600 * hours
    n = int(5 * seconds)
    time = np.arange(0, seconds, 0.5)
    values = np.column_stack([np.sin(time), np.cos(time)])
    return dataclasses.replace(
        recording,
        spike_times=np.sort(rng.uniform(0, seconds, (n_units, n))).ravel(),
        spike_index=n * np.arange(1, n_units + 1),
        units=dataclasses.replace(
            recording.units,
            ids=np.arange(n_units),
            area=np.full(n_units, "M1", dtype=object),
            heldout=np.zeros(n_units, bool),
        ),
        observed=np.array([[0.0, seconds]]),
        position=Series(time, values),
        velocity=Series(time, values),
    )


def test_memory_does_not_grow_with_units_and_bins(recording, tmp_path):
    """Counts and rates of an hour of 40 units in bins of 5 ms are 144 MB; the rest grows with bins alone."""
    recipe = IngestRecipe(bin_size_s=0.005, align_to="go_cue")
    session = long_recording(recording, hours=1.0)
    with shard_shelf(tmp_path / "a", Scratch(most_bytes=1 << 20), block_cells=1 << 17) as shelf:
        tracemalloc.start()
        made = make_trials(session, recipe, shelf=shelf)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    n_bins, n_units = made.continuous["rates"].shape
    assert 5 * n_bins * n_units > 140e6
    assert peak < 20e6 + 30 * n_bins


def test_memory_below_that_of_the_program_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"--memory-gb 0.1.*at least 0.3 GB"):
        ingest(tmp_path / "catalog.yaml", FolderSource([tmp_path]), memory_gb=0.1)


def test_stores_made_in_blocks_are_read_like_any_other(odd, tmp_path, monkeypatch):
    stored(tmp_path, odd("whole"), IngestRecipe(), memory=1 << 20, monkeypatch=monkeypatch)
    (store,) = (tmp_path / "stores").rglob("*.zarr")
    trials, continuous = read_trials(StoreLocation.parse(store)), read_continuous(store)
    first = int(trials["start_bin"][3])
    assert (trials["rates"][3].values == continuous["rates"][first : first + 36].values).all()
