"""A run is never given trials of another store than it was trained on: these may be trials it has seen."""

from __future__ import annotations

import warnings

import h5py
import pytest

import nwb_latents as nl
from nwb_latents.pipeline.errors import CatalogWarning, DataError, PipelineError

SMALL = {"model": "ndt", "max_steps": 2, "run_name": "small", "device": "cpu"}


@pytest.fixture
def changed(tmp_path, make_nwb, make_reaches):
    """Return a catalog whose only session was trained on, ingested with three more trials since."""
    path, catalog = tmp_path / "sub-T_ses-CO-1.nwb", tmp_path / "catalog.yaml"
    reaches = make_reaches(seed=1)
    make_nwb(path, reaches)
    with h5py.File(path, "r+") as file:
        columns = {name: file[f"intervals/trials/{name}"][()] for name in file["intervals/trials"]}
        for name, values in columns.items():
            del file[f"intervals/trials/{name}"]
            file[f"intervals/trials/{name}"] = values[:-3]
    nl.ingest(catalog, path)
    nl.train(catalog, **SMALL)
    with h5py.File(path, "r+") as file:
        for name, values in columns.items():
            del file[f"intervals/trials/{name}"]
            file[f"intervals/trials/{name}"] = values
    nl.ingest(catalog, path)
    return catalog


STAGES = {
    "decode": lambda catalog: nl.decode(catalog, runs="small"),
    "evaluate": lambda catalog: nl.evaluate(catalog, runs="small", baselines=()),
    "forecast": lambda catalog: nl.forecast(catalog, runs="small"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_stages_refuse_it_and_say_what_differs(changed, stage):
    with pytest.raises(PipelineError) as caught:
        STAGES[stage](changed)
    said = str(caught.value)
    assert "run small was trained on another store of 21 trials of this session" in said
    assert "Train it again" in said
    with warnings.catch_warnings(action="ignore", category=CatalogWarning):
        assert nl.scores(changed, runs="small").empty


def test_a_loaded_run_refuses_it_too(changed):
    run = nl.load_run(changed, "small")
    session = nl.open_session(changed, "sub-T_ses-CO-1")
    with pytest.raises(DataError, match="trained on another store"):
        run.reconstruct(session)


def test_trained_again_it_is_scored(changed):
    nl.train(changed, **SMALL, force=True)
    assert len(nl.decode(changed, runs="small")) > 0


@pytest.mark.parametrize("stage", [*STAGES, "load_run"])
def test_a_run_whose_files_are_of_another_one_than_the_catalog_says_is_refused(
    tmp_path, make_nwb, make_reaches, stage
):
    path, catalog = tmp_path / "sub-T_ses-CO-1.nwb", tmp_path / "catalog.yaml"
    make_nwb(path, make_reaches(seed=1))
    nl.ingest(catalog, path)
    entry = nl.train(catalog, **SMALL)
    catalog.write_text(catalog.read_text().replace(entry.run_key, "e" * len(entry.run_key)))
    uses = {**STAGES, "load_run": lambda catalog: nl.load_run(catalog, "small")}
    with pytest.raises(PipelineError, match=r"its files are of the run .* enters what is there"):
        uses[stage](catalog)
    assert nl.train(catalog, **SMALL).run_key == entry.run_key
    assert nl.load_run(catalog, "small").name == "small"
