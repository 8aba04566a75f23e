"""The catalog: nothing lost when many write, selection by pattern and recipe."""

import multiprocessing
import os
from pathlib import Path

import pytest

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stores.catalog import (
    add_results,
    add_run,
    add_session,
    read_catalog,
    select_sessions,
)
from nwb_latents.schemas.catalog import RunEntry, SessionEntry
from nwb_latents.schemas.results import Score


def entry(session: str, recipe: str = "20ms-a") -> SessionEntry:
    return SessionEntry(
        session=session, subject="T", task="CO", recipe_id=recipe, store=f"stores/{recipe}/{session}.zarr",
        store_key="0" * 64, source="x.nwb", n_trials=10, n_units=5, n_bins=36, bin_size_s=0.02,
        created="2026-01-01T00:00:00",
    )  # fmt: skip


def score(value: float, session: str = "a") -> Score:
    return Score(
        session=session, recipe_id="20ms-a", metric="velocity_r2", source="rates", lag_ms=100, value=value,
        definition="r2_uniform", split="test", n_trials=3, n_samples=30, alpha=1.0,
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
    add_results(path, [score(0.5)])
    catalog = read_catalog(path)
    assert catalog.sessions["sub-A_ses-1@20ms-a"] == entry("sub-A_ses-1")
    assert catalog.runs == {"r": run}
    assert catalog.results == (score(0.5),)


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


def test_a_score_of_the_same_measurement_replaces_the_earlier(tmp_path):
    path = tmp_path / "catalog.yaml"
    add_results(path, [score(0.1), score(0.2, "b")])
    add_results(path, [score(0.3)])
    assert sorted(s.value for s in read_catalog(path).results) == [0.2, 0.3]


def test_scores_of_other_decoders_and_of_other_sessions_decoders_stand_beside_it(tmp_path):
    path = tmp_path / "catalog.yaml"
    wiener = score(0.2).model_copy(update={"decoder": "wiener"})
    carried = score(0.3).model_copy(update={"trained_on": ("b",), "source": "latents", "p_value": 0.005})
    from_two = carried.model_copy(update={"trained_on": ("b", "c")})
    add_results(path, [score(0.1), wiener, carried, from_two])
    assert read_catalog(path).results == (score(0.1), wiener, carried, from_two)


def test_scores_written_before_there_were_decoders_are_those_of_the_ridge(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(
        "schema_version: 1\nresults:\n- {session: a, recipe_id: 20ms-a, metric: velocity_r2, source: rates, "
        "lag_ms: 100.0, value: 0.4, definition: r2_uniform, split: test, n_trials: 3, n_samples: 30, "
        "alpha: 1.0, per_axis: [0.4]}\n"
    )
    [old] = read_catalog(path).results
    assert (old.decoder, old.trained_on, old.p_value) == ("ridge", (), None)
    add_results(path, [score(0.3)])
    assert read_catalog(path).results == (score(0.3),)


def test_selection_by_pattern_and_by_the_recipe_ingested_last(tmp_path):
    path = tmp_path / "catalog.yaml"
    for one in (entry("sub-A_ses-1"), entry("sub-B_ses-1"), entry("sub-A_ses-1", "50ms-b")):
        add_session(path, one)
    catalog = read_catalog(path)
    assert [e.recipe_id for e in select_sessions(catalog)] == ["50ms-b"]
    assert [e.session for e in select_sessions(catalog, recipe_id="20ms")] == ["sub-A_ses-1", "sub-B_ses-1"]
    assert [e.session for e in select_sessions(catalog, ["sub-B*"])] == ["sub-B_ses-1"]
    add_session(path, entry("sub-B_ses-1"))
    assert {e.recipe_id for e in select_sessions(read_catalog(path))} == {"50ms-b"}


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
