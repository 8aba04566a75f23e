"""Trial stores: readable with plain xarray, whole or not at all, few files."""

import json

import numpy as np
import pytest
import xarray as xr
import zarr

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.stores.group_checks import check_group
from nwb_latents.pipeline.stores.trials import (
    read_attributes,
    read_continuous,
    read_trials,
    to_dataset,
    trial_sizes,
    write_store,
)
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import CONTINUOUS_ARRAYS, TRIALS_ARRAYS, Provenance, StoreAttributes, specs_of

ATTRIBUTES = StoreAttributes(
    store_key="k", session="s", subject="T", task="CO", bin_size_s=0.02, n_event_bins=13,
    recipe=IngestRecipe(),
    provenance=Provenance(source="x.nwb", asset_digest="sha256:0", layout="generic"), dropped={},
)  # fmt: skip


@pytest.fixture
def groups(recording):
    made = make_trials(recording, IngestRecipe())
    return to_dataset("trials", made.trials, ATTRIBUTES), to_dataset(
        "continuous", made.continuous, ATTRIBUTES
    )


def test_plain_xarray_reads_what_was_written(tmp_path, groups):
    path = tmp_path / "s.zarr"
    write_store(path, *groups)
    with xr.open_zarr(path, group="trials") as trials:
        assert set(trials.variables) == set(specs_of("trials", groups[0].variables))
        for name, spec in specs_of("trials", groups[0].variables).items():
            assert trials[name].dims == spec.dims
            assert trials[name].attrs.get("units", "") == spec.units
            assert np.array_equal(trials[name].values, groups[0][name].values, equal_nan=spec.kinds == "f")
        assert json.loads(trials.attrs["recipe"])["bin_size_s"] == 0.02
        assert (trials.sel(time=0.0, method="nearest").counts.dims) == ("trial", "unit")
        assert (trials.split == "train").sum() > 0
    with xr.open_zarr(path, group="continuous") as continuous:
        assert set(continuous.variables) == set(specs_of("continuous", groups[1].variables))


def test_sizes_are_told_from_the_metadata_alone(tmp_path, groups):
    write_store(tmp_path / "s.zarr", *groups)
    sizes = groups[0].sizes
    assert len({sizes["trial"], sizes["time"], sizes["unit"]}) == 3
    assert trial_sizes(tmp_path / "s.zarr") == {name: sizes[name] for name in ("trial", "time", "unit")}


def test_it_is_zarr_v3_with_one_shard_per_array(tmp_path, groups):
    path = tmp_path / "s.zarr"
    write_store(path, *groups)
    counts = zarr.open_group(path, mode="r")["trials/counts"]
    assert counts.metadata.zarr_format == 3
    assert counts.shards is not None
    assert all(shard >= size for shard, size in zip(counts.shards, counts.shape, strict=True))
    n_arrays = len(TRIALS_ARRAYS) + len(CONTINUOUS_ARRAYS)
    assert sum(1 for p in path.rglob("*") if p.is_file()) <= 2 * n_arrays + 3


def test_attributes_come_back_as_they_were(tmp_path, groups):
    write_store(tmp_path / "s.zarr", *groups)
    assert read_attributes(tmp_path / "s.zarr") == ATTRIBUTES


def test_a_store_made_before_the_subject_was_kept_still_opens(tmp_path, groups):
    write_store(tmp_path / "s.zarr", *groups)
    path = tmp_path / "s.zarr" / "trials" / "zarr.json"
    content = json.loads(path.read_text())
    provenance = json.loads(content["attributes"]["provenance"])
    kept = {name: value for name, value in provenance.items() if name not in {"species", "sex", "age"}}
    assert len(kept) == len(provenance) - 3
    content["attributes"]["provenance"] = json.dumps(kept)
    path.write_text(json.dumps(content))
    assert read_attributes(tmp_path / "s.zarr") == ATTRIBUTES


def test_reading_what_is_not_there_or_not_whole(tmp_path, groups):
    with pytest.raises(DataError, match="no complete trial store"):
        read_trials(tmp_path / "none.zarr")
    path = tmp_path / "s.zarr"
    write_store(path, *groups)
    (path / "trials" / "zarr.json").unlink()
    with pytest.raises(DataError, match="no complete trial store"):
        read_trials(path)


def test_a_failed_write_leaves_the_old_store_and_nothing_else(tmp_path, groups, monkeypatch):
    path = tmp_path / "s.zarr"
    write_store(path, *groups)
    before = read_trials(path).counts.values

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_zarr", fail)
    with pytest.raises(KeyboardInterrupt):
        write_store(path, *groups)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]
    assert np.array_equal(read_trials(path).counts.values, before)


def test_leftovers_of_a_killed_writer_are_cleared(tmp_path, groups):
    stale = tmp_path / ".s.zarr.0123.tmp"
    (stale / "trials").mkdir(parents=True)
    write_store(tmp_path / "s.zarr", *groups)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_arrays_that_do_not_fit_the_schema_are_refused(tmp_path, groups):
    trials, continuous = groups
    with pytest.raises(DataError, match=r"trials/counts: expected dtype kind u, found float64"):
        write_store(
            tmp_path / "s.zarr",
            trials.assign(counts=trials.counts.astype(float).assign_attrs(trials.counts.attrs)),
            continuous,
        )
    with pytest.raises(DataError, match="has no array 'rates'"):
        write_store(tmp_path / "s.zarr", trials.drop_vars("rates"), continuous)
    assert not list(tmp_path.iterdir())


def test_nan_where_none_is_allowed_is_found(groups):
    trials = groups[0].copy(deep=True)
    trials.rates.values[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="trials/rates holds NaN"):
        check_group(trials, "trials", where="x", values=True)


def test_one_trial_is_read_lazily(tmp_path, groups):
    write_store(tmp_path / "s.zarr", *groups)
    continuous = read_continuous(tmp_path / "s.zarr")
    assert continuous.sizes["unit"] == groups[0].sizes["unit"]
