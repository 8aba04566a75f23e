"""A recording read where it lies is the recording of the downloaded file, for a fraction of its bytes."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import weakref

import numpy as np
import pytest
from archive import drop, reset, status, wrong_etag

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.nwb.read import bytes_needed, read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.remote_file import RemoteFile
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
from nwb_latents.pipeline.stores.trials import to_dataset, write_store
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import Provenance, StoreAttributes

BLOB = "/blob/*"
RECIPE = IngestRecipe()


def make_store(content, digest, store):
    recording = read_recording(content, RECIPE)
    made = make_trials(recording, RECIPE)
    attributes = StoreAttributes(
        store_key=digest,
        session=recording.session,
        subject=recording.subject,
        task=recording.task,
        bin_size_s=RECIPE.bin_size_s,
        n_event_bins=-RECIPE.window_bins[0],
        recipe=RECIPE,
        provenance=Provenance(
            source=content.name,
            asset_digest=digest,
            layout=recording.layout,
            warnings=(*recording.warnings, *made.notes),
        ),
        dropped=made.dropped,
    )
    write_store(
        store,
        to_dataset("trials", made.trials, attributes),
        to_dataset("continuous", made.continuous, attributes),
    )
    return recording, made


def content_of(store):
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def assert_same(first, second):
    """Compare dataclasses of arrays, dictionaries and plain values."""
    if dataclasses.is_dataclass(first):
        for field in dataclasses.fields(first):
            assert_same(getattr(first, field.name), getattr(second, field.name))
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert_same(value, second[key])
    else:
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("which", "most"), [("waveforms_nwb", 0.15), ("lfp_nwb", 0.03)], ids=["000688", "000070"]
)
def test_stream_brings_the_same_store_for_few_bytes(
    request, open_archive, open_source, tmp_path, which, most
):
    path = request.getfixturevalue(which)
    archive = open_archive(f"sub-A/{path.name}", path)
    source = open_source(archive, policy=RetryPolicy())
    (asset,) = source.assets()
    with source.open(asset, mode="stream", recipe=RECIPE) as (content, digest):
        streamed, streamed_trials = make_store(content, digest, tmp_path / "streamed.zarr")
        fetched = content.bytes_fetched
    assert not (tmp_path / "downloads").exists()
    assert fetched == archive.bytes_sent(BLOB)
    assert fetched <= most * path.stat().st_size
    assert len(archive.requested(BLOB)) <= 30
    with source.open(asset, mode="download", recipe=RECIPE) as (content, digest):
        downloaded, downloaded_trials = make_store(content, digest, tmp_path / "downloaded.zarr")
    assert_same(streamed, downloaded)
    assert_same(streamed_trials, downloaded_trials)
    assert content_of(tmp_path / "streamed.zarr") == content_of(tmp_path / "downloaded.zarr")


def test_a_failure_at_any_read_is_never_taken_for_something_missing(small_lfp_nwb, read_locally):
    n_reads = read_locally(small_lfp_nwb, lambda file: read_recording(file, RECIPE)).n_reads
    assert n_reads > 50
    for failing in range(n_reads):
        with pytest.raises(MachineError, match=f"read {failing} failed"):
            read_locally(small_lfp_nwb, lambda file: read_recording(file, RECIPE), failing=failing)


def test_faults_on_the_way_leave_no_trace_in_the_recording(small_lfp_nwb, open_archive, open_source):
    archive = open_archive(small_lfp_nwb.name, small_lfp_nwb)
    source = open_source(archive)
    (asset,) = source.assets()
    for fault in (
        status(503),
        drop(after=100),
        reset(),
        drop(after=300_000),
        status(429),
        drop(after=400_000),
    ):
        archive.fault(BLOB, fault)
    with source.open(asset, mode="stream", recipe=RECIPE) as (content, _):
        streamed = read_recording(content, RECIPE)
    assert_same(streamed, read_recording(small_lfp_nwb, RECIPE))


def test_another_etag_in_any_answer_ends_the_reading(small_lfp_nwb, open_archive, open_source):
    archive = open_archive(small_lfp_nwb.name, small_lfp_nwb)
    source = open_source(archive)
    (asset,) = source.assets()
    with source.open(asset, mode="stream", recipe=RECIPE) as (content, _):
        read_recording(content, RECIPE)
        n_answers = content.n_requests
    assert n_answers > 8
    for n_good in range(1, n_answers):
        # A connection that is to break after more bytes than there are does not break.
        archive.fault(BLOB, drop(after=1 << 40), times=n_good)
        archive.fault(BLOB, wrong_etag())
        with pytest.raises(DataError, match="changed in the archive while it was read"):  # noqa: SIM117
            with source.open(asset, mode="stream", recipe=RECIPE) as (content, _):
                read_recording(content, RECIPE)


@pytest.mark.parametrize("n_good", [1, 2, 5])
def test_a_file_that_failed_is_freed(small_lfp_nwb, open_archive, open_source, n_good):
    archive = open_archive(small_lfp_nwb.name, small_lfp_nwb)
    source = open_source(archive)
    opened = []
    archive.fault(BLOB, drop(after=1 << 40), times=n_good)
    archive.fault(BLOB, wrong_etag())

    def read():
        with source.open(source.assets()[0], mode="stream", recipe=RECIPE) as (content, _):
            opened.append(weakref.ref(content))
            read_recording(content, RECIPE)

    with pytest.raises(DataError, match="changed in the archive"):
        read()
    gc.collect()
    assert opened[0]() is None


def test_auto_streams_a_file_of_which_little_is_needed(waveforms_nwb, open_archive, open_source):
    source = open_source(open_archive(waveforms_nwb.name, waveforms_nwb))
    with source.open(source.assets()[0], mode="auto", recipe=RECIPE) as (content, _):
        assert isinstance(content, RemoteFile)
        needed, total = bytes_needed(content, RECIPE)
        read_recording(content, RECIPE)
        assert total == waveforms_nwb.stat().st_size
        assert needed <= content.bytes_fetched <= needed + 1_500_000


def test_auto_downloads_a_file_that_is_needed_nearly_whole(small_nwb, open_archive, open_source):
    source = open_source(open_archive(small_nwb.name, small_nwb))
    with source.open(source.assets()[0], mode="auto", recipe=RECIPE) as (content, _):
        assert content.read_bytes() == small_nwb.read_bytes()
