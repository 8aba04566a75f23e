"""The catalog: nothing lost when many write, selection by pattern and recipe."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest
from filelock import FileLock

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stores import catalog as catalog_module
from nwb_latents.pipeline.stores.catalog import (
    add_run,
    add_session,
    read_catalog,
    select_sessions,
)
from nwb_latents.schemas.catalog import RunEntry, SessionEntry


def entry(session: str, recipe: str = "20ms-a") -> SessionEntry:
    return SessionEntry(
        session=session, subject="T", task="CO", recipe_id=recipe, store=f"stores/{recipe}/{session}.zarr",
        store_key="0" * 64, source="x.nwb", n_trials=10, n_units=5, n_bins=36, bin_size_s=0.02,
        created="2026-01-01T00:00:00",
    )  # fmt: skip


def add_many(path: Path, names: list[str]) -> None:
    for name in names:
        add_session(path, entry(name))


def test_what_was_written_is_read_back(tmp_path):
    path = tmp_path / "catalog.yaml"
    add_session(path, entry("sub-A_ses-1"))
    run = RunEntry(
        run="r",
        model="mdssm",
        path="runs/r",
        run_key="k",
        recipe_id="20ms-a",
        sessions=("sub-A_ses-1",),
        steps=3,
        created="x",
    )
    add_run(path, run)
    catalog = read_catalog(path)
    assert catalog.sessions["sub-A_ses-1@20ms-a"] == entry("sub-A_ses-1")
    assert catalog.runs == {"r": run}


def test_processes_writing_at_once_lose_nothing(tmp_path):
    path = tmp_path / "catalog.yaml"
    names = [[f"sub-{p}_ses-{i}" for i in range(6)] for p in range(4)]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=add_many, args=(path, mine)) for mine in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {e.session for e in read_catalog(path).sessions.values()} == {n for mine in names for n in mine}


def test_selection_by_pattern_and_by_the_recipe_ingested_last(tmp_path):
    path = tmp_path / "catalog.yaml"
    for one in (entry("sub-A_ses-1"), entry("sub-B_ses-1"), entry("sub-A_ses-1", "50ms-b")):
        add_session(path, one)
    catalog = read_catalog(path)
    said: list[str] = []
    assert [e.recipe_id for e in select_sessions(catalog, say=said.append)] == ["50ms-b"]
    assert len(said) == 1
    assert "50ms-b is taken" in said[0]
    assert "--recipe-id: 20ms-a" in said[0]
    select_sessions(catalog, recipe_id="20ms", say=said.append)
    select_sessions(catalog, ["sub-B*"], say=said.append)
    assert len(said) == 1
    assert [e.session for e in select_sessions(catalog, recipe_id="20ms")] == ["sub-A_ses-1", "sub-B_ses-1"]
    assert [e.session for e in select_sessions(catalog, ["sub-B*"])] == ["sub-B_ses-1"]
    add_session(path, entry("sub-B_ses-1"))
    assert {e.recipe_id for e in select_sessions(read_catalog(path))} == {"50ms-b"}
    # What is ingested anew is the latest again, and stands there once.
    add_session(path, entry("sub-A_ses-1").model_copy(update={"n_trials": 11}))
    assert {e.recipe_id for e in select_sessions(read_catalog(path))} == {"20ms-a"}
    assert list(read_catalog(path).sessions) == [
        "sub-B_ses-1@20ms-a",
        "sub-A_ses-1@50ms-b",
        "sub-A_ses-1@20ms-a",
    ]


def test_selections_that_find_nothing_say_what_there_is(tmp_path):
    path = tmp_path / "catalog.yaml"
    with pytest.raises(DataError, match="Run `pipeline run ingest"):
        select_sessions(read_catalog(path))
    for one in (entry("sub-A_ses-1", "20ms-a"), entry("sub-A_ses-1", "20ms-b")):
        add_session(path, one)
    catalog = read_catalog(path)
    with pytest.raises(DataError, match=r"No session matches sub-X\*. The catalog holds: sub-A_ses-1"):
        select_sessions(catalog, ["sub-X*"])
    with pytest.raises(DataError, match="There are: 20ms-a, 20ms-b"):
        select_sessions(catalog, recipe_id="5ms")
    with pytest.raises(SettingsError, match="not unique"):
        select_sessions(catalog, recipe_id="20ms")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError, match="may write to"):
        add_session(tmp_path / "catalog.yaml", entry("a"))


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot write the catalog"):
        add_session(tmp_path / "file" / "catalog.yaml", entry("a"))


def hold_lock(path: Path, writes: int, held) -> None:
    """Hold the lock of a catalog while it is written to every quarter of a second, and a second more."""
    with FileLock(path.with_name(path.name + ".lock")):
        held.set()
        for _ in range(writes):
            time.sleep(0.25)
            os.utime(path)
        time.sleep(1)


@pytest.mark.parametrize("writes", [16, 0])
def test_the_lock_is_waited_for_as_long_as_others_get_on(tmp_path, monkeypatch, writes):
    path = tmp_path / "catalog.yaml"
    add_session(path, entry("a"))
    monkeypatch.setattr(catalog_module, "LOCK_SECONDS", 2.5 if writes else 0.5)
    context = multiprocessing.get_context("fork")
    held = context.Event()
    other = context.Process(target=hold_lock, args=(path, writes, held))
    other.start()
    held.wait(20)
    if writes:
        add_session(path, entry("b"))
        assert len(read_catalog(path).sessions) == 2
    else:
        with pytest.raises(MachineError, match=r"has held the catalog's lock for 0\.5 s"):
            add_session(path, entry("b"))
    other.join()
