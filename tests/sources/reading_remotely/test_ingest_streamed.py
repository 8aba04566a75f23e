"""Ingest makes the same store from a stream as from a download, or none."""

from __future__ import annotations

import h5py
import pytest
from archive import drop, status, wrong_etag

from nwb_latents.pipeline.errors import PipelineError
from nwb_latents.pipeline.sources.byte_ranges import ByteRanges
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.provenance import UNVERIFIED
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.trials import read_attributes

BLOB = "/blob/*"


MANIFESTS = ("zarr.json", "manifest.json")


def ingested(folder, source, mode):
    """Return the key of a store, its files of numbers, and what its groups say but what was verified."""
    (entry,) = ingest(folder / mode / "catalog.yaml", source, mode=mode)
    store = folder / mode / entry.store
    files = [path for path in store.rglob("*") if path.is_file() and path.name not in MANIFESTS]
    numbers = {path.relative_to(store).as_posix(): path.read_bytes() for path in sorted(files)}
    attributes = read_attributes(store_path(folder / mode / "catalog.yaml", entry.store))
    origin = attributes.provenance
    warnings = tuple(warning for warning in origin.warnings if warning != UNVERIFIED)
    same = origin.model_copy(update={"verification": None, "archive": None, "warnings": warnings})
    return entry.store_key, numbers, attributes.model_copy(update={"provenance": same})


def verification_of(catalog, entry):
    return read_attributes(store_path(catalog, entry.store)).provenance.verification


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
    assert len(streamed[1]) > 30
    assert streamed == ingested(tmp_path, source(), "download")


def test_a_file_that_changes_while_it_is_read_makes_no_store(source, tmp_path):
    # A connection that is to break after more bytes than there are does not break: three answers are right.
    waiting = (drop(after=1 << 40), drop(after=1 << 40), drop(after=1 << 40))
    with pytest.raises(PipelineError):
        ingest(tmp_path / "catalog.yaml", source(*waiting, wrong_etag()), mode="stream")
    assert not list(tmp_path.rglob("*.zarr"))
    assert not list(tmp_path.rglob("zarr.json"))


@pytest.fixture
def catalog(tmp_path):
    return tmp_path / "catalog.yaml"


def test_a_store_says_whether_its_bytes_were_verified(source, catalog):
    events = []
    (entry,) = ingest(catalog, source(), mode="stream", report=events.append)
    assert verification_of(catalog, entry) == "none"
    (read,) = [event for event in events if event.event == "read"]
    assert UNVERIFIED in read.warnings
    assert UNVERIFIED in read_attributes(store_path(catalog, entry.store)).provenance.warnings


def test_a_later_download_replaces_a_store_of_unverified_bytes(source, catalog):
    origin = source()
    (streamed,) = ingest(catalog, origin, mode="stream")
    events = []
    (again,) = ingest(catalog, origin, mode="stream", report=events.append)
    assert next(e for e in events if e.event == "session").status == "skipped"
    events = []
    (downloaded,) = ingest(catalog, origin, report=events.append)
    (made,) = [event for event in events if event.event == "session"]
    assert (made.status, made.reason) == ("done", "made again, of verified bytes")
    assert downloaded.store_key == streamed.store_key == again.store_key
    assert verification_of(catalog, downloaded) == "digest"
    events = []
    ingest(catalog, origin, report=events.append)
    assert next(e for e in events if e.event == "session").status == "skipped"


def test_bytes_over_https_are_protected_on_the_way(source, catalog, monkeypatch):
    monkeypatch.setattr(ByteRanges, "is_protected", property(lambda _: True, lambda *_: None), raising=False)
    (entry,) = ingest(catalog, source(), mode="stream")
    assert verification_of(catalog, entry) == "connection"
    events = []
    ingest(catalog, source(), report=events.append)
    assert next(e for e in events if e.event == "session").status == "skipped"


def test_what_is_held_against_the_digest_is_verified(source, catalog):
    origin = source()
    origin.verifies_streams = True
    (entry,) = ingest(catalog, origin, mode="stream")
    assert verification_of(catalog, entry) == "digest"
    assert not (catalog.parent / "downloads").exists()


def flipping_once(monkeypatch, *, at):
    """Let the first reading of a byte bring another one, as a bad line does."""
    inherited, flipped = ByteRanges.read_into, []

    def read_into(ranges, target, start):
        inherited(ranges, target, start)
        if start <= at < start + len(target) and not flipped:
            flipped.append(at)
            target[at - start] ^= 0xFF

    monkeypatch.setattr(ByteRanges, "read_into", read_into)
    return flipped


def test_a_byte_that_flips_on_the_way_is_found_where_all_is_verified(
    waveforms_nwb, open_archive, open_source, catalog, monkeypatch
):
    content = waveforms_nwb.read_bytes()
    with h5py.File(waveforms_nwb) as h5:
        first = h5["units/spike_times"][:4].tobytes()
        is_chunked = h5["units/spike_times"].chunks is not None
        chunk = h5["units/spike_times"].id.get_chunk_info(0).byte_offset if is_chunked else None
    at = content.index(first) if chunk is None else chunk
    flipped = flipping_once(monkeypatch, at=at + 1)
    origin = open_source(open_archive(waveforms_nwb.name, waveforms_nwb))
    origin.verifies_streams = True
    with pytest.raises(PipelineError) as caught:
        ingest(catalog, origin, mode="stream")
    assert flipped
    ((_, reason),) = caught.value.failures
    assert "came otherwise when they were read again" in reason
    assert "--download" in reason
    assert not list(catalog.parent.rglob("*.zarr"))
