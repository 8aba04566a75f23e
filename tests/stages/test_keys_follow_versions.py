"""Whatever decides the numbers of a store or run is in its key: file, recipe, versions; settings, stores."""

from types import SimpleNamespace

import pytest

from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import import_lfads, ingest_session
from nwb_latents.pipeline.stages.import_lfads import import_key
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.ingest_session import store_key
from nwb_latents.pipeline.stages.train import run_key
from nwb_latents.pipeline.stores.trials import read_attributes
from nwb_latents.schemas.imports import LfadsH5Import
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import STORE_SCHEMA_VERSION, TRANSFORM_VERSION
from nwb_latents.schemas.training import TrainSettings

VERSIONS = ("STORE_SCHEMA_VERSION", "TRANSFORM_VERSION")


def store(key, *, session="s", bin_size_s=0.02):
    return SimpleNamespace(session=session, store_key=key, bin_size_s=bin_size_s)


@pytest.mark.parametrize("name", VERSIONS)
def test_a_version_is_in_the_key_of_a_store(monkeypatch, name):
    before = store_key("sha256:0", IngestRecipe())
    imported = import_key("sha256:0", LfadsH5Import(), IngestRecipe())
    for stage in (ingest_session, import_lfads):
        monkeypatch.setattr(stage, name, getattr(stage, name) + 1)
    assert store_key("sha256:0", IngestRecipe()) != before
    assert import_key("sha256:0", LfadsH5Import(), IngestRecipe()) != imported


def test_the_two_versions_are_not_taken_for_each_other():
    here = (STORE_SCHEMA_VERSION, TRANSFORM_VERSION)
    keys = {store_key("sha256:0", IngestRecipe(), versions=v) for v in (here, (1, 2), (2, 1), (12, 1))}
    assert len(keys) == 4
    assert store_key("sha256:0", IngestRecipe()) == store_key("sha256:0", IngestRecipe(), versions=here)


def test_the_file_is_in_the_key_of_a_store():
    assert store_key("sha256:0", IngestRecipe()) != store_key("sha256:1", IngestRecipe())


def test_stores_are_in_the_key_of_a_run_whatever_their_order():
    one = run_key(TrainSettings(), [store("k1")])
    assert one != run_key(TrainSettings(), [store("k2")])
    both = run_key(TrainSettings(), [store("k1"), store("k2")])
    assert both != one
    assert both == run_key(TrainSettings(), [store("k2"), store("k1")])


@pytest.mark.parametrize("name", VERSIONS)
def test_a_store_of_another_version_is_made_again(monkeypatch, small_nwb, tmp_path, name):
    said = []
    words = {"catalog_path": tmp_path / "catalog.yaml", "source": FolderSource([small_nwb.parent])}

    def status():
        said.clear()
        [entry] = ingest(words["catalog_path"], words["source"], report=said.append)
        [event] = [e for e in said if e.event == "session"]
        return event.status, entry.store_key

    made, again = status(), status()
    assert (made[0], again[0]) == ("done", "skipped")
    assert made[1] == again[1] == read_attributes(next(tmp_path.glob("stores/*/*.zarr"))).store_key
    monkeypatch.setattr(ingest_session, name, getattr(ingest_session, name) + 1)
    raised = status()
    assert raised[0] == "done"
    assert raised[1] != made[1]
