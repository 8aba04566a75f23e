"""Ingest makes the same store from a stream as from a download, or none."""

from __future__ import annotations

import pytest
from archive import drop, status, wrong_etag

from nwb_latents.pipeline.errors import PipelineError
from nwb_latents.pipeline.stages.ingest import ingest

BLOB = "/blob/*"


def ingested(folder, source, mode):
    (entry,) = ingest(folder / mode / "catalog.yaml", source, mode=mode)
    store = folder / mode / entry.store
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return entry.store_key, {path.relative_to(store).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def source(waveforms_nwb, open_archive, open_source):
    def make(*faults):
        archive = open_archive(f"sub-SimA/{waveforms_nwb.name}", waveforms_nwb)
        for fault in faults:
            archive.fault(BLOB, fault)
        return open_source(archive)

    return make


def test_store_and_key_do_not_depend_on_the_mode(source, tmp_path):
    faults = (status(503), drop(after=1000), status(403), drop(after=200_000))
    streamed = ingested(tmp_path, source(*faults), "stream")
    assert len(streamed[1]) > 50
    assert streamed == ingested(tmp_path, source(), "download")


def test_a_file_that_changes_while_it_is_read_makes_no_store(source, tmp_path):
    # A connection that is to break after more bytes than there are does not break: three answers are right.
    waiting = (drop(after=1 << 40), drop(after=1 << 40), drop(after=1 << 40))
    with pytest.raises(PipelineError):
        ingest(tmp_path / "catalog.yaml", source(*waiting, wrong_etag()), mode="stream")
    assert not list(tmp_path.rglob("*.zarr"))
    assert not list(tmp_path.rglob("zarr.json"))
