"""The catalog is written now and then, and loses nothing by it."""

import pytest
from filelock import FileLock

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stages import catalog_batch
from nwb_latents.pipeline.stages.catalog_batch import CatalogBatch
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.catalog import Catalog, SessionEntry


def entry(number, **words):
    return SessionEntry(
        session=f"s{number}", subject="A", task="CO", recipe_id="r", store=f"s{number}.zarr", store_key="k",
        source=f"s{number}.nwb", n_trials=1, n_units=1, n_bins=1, bin_size_s=0.02, created="", **words,
    )  # fmt: skip


@pytest.fixture
def writes(monkeypatch):
    """Count how often the catalog is written."""
    counted = []
    original = catalog_batch.update_catalog

    def count(path, change):
        counted.append(path)
        return original(path, change)

    monkeypatch.setattr(catalog_batch, "update_catalog", count)
    return counted


def test_many_entries_take_few_writes_and_the_first_is_there_at_once(tmp_path, writes):
    path = tmp_path / "catalog.yaml"
    with CatalogBatch(path, Catalog()) as batch:
        batch.add(entry(0))
        assert len(read_catalog(path).sessions) == 1
        for number in range(1, 500):
            batch.add(entry(number))
        assert len(writes) <= 3
    assert list(read_catalog(path).sessions) == [f"s{number}@r" for number in range(500)]


def test_entries_are_written_when_the_run_is_interrupted(tmp_path):
    path = tmp_path / "catalog.yaml"
    batch = CatalogBatch(path, Catalog())
    batch.add(entry(0))
    batch.add(entry(1))
    batch.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert len(read_catalog(path).sessions) == 2


def test_what_is_in_the_catalog_needs_no_write(tmp_path, writes):
    path = tmp_path / "catalog.yaml"
    with CatalogBatch(path, Catalog()) as batch:
        batch.add(entry(0))
    with CatalogBatch(path, read_catalog(path)) as batch:
        batch.add(entry(0))
    assert len(writes) == 1


def test_a_lock_that_others_hold_postpones_the_write(tmp_path, monkeypatch):
    path = tmp_path / "catalog.yaml"
    monkeypatch.setattr("nwb_latents.pipeline.stores.catalog.LOCK_SECONDS", 0.05)
    monkeypatch.setattr(catalog_batch, "MOST_WAITS", 2)
    lock = FileLock(path.with_name("catalog.yaml.lock"))
    with CatalogBatch(path, Catalog()) as batch:
        with lock:
            batch.add(entry(0))
            assert not path.exists()
        batch.add(entry(1))
    assert len(read_catalog(path).sessions) == 2
    with (
        lock,
        pytest.raises(MachineError, match="held the catalog's lock"),
        CatalogBatch(path, Catalog()) as b,
    ):
        b.add(entry(2))
