"""Downloading, streaming, and the choice between them."""

from __future__ import annotations

import pickle

import pytest
from archive import ignore_range, status, wrong_etag
from archive.sample import DANDISET, PATH, VERSION

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.remote_file import RemoteFile, StreamRefusedError
from nwb_latents.schemas.recipe import IngestRecipe

BLOB = "/blob/*"
RECIPE = IngestRecipe()


@pytest.fixture
def need(monkeypatch):
    """Return a function that says how many bytes of a file a recipe needs."""

    def say(n_bytes):
        def bytes_needed(source, recipe):
            assert recipe is RECIPE
            source.seek(0)
            source.read(8)
            return n_bytes, source.size

        monkeypatch.setattr("nwb_latents.pipeline.nwb.read.bytes_needed", bytes_needed, raising=False)

    return say


@pytest.fixture
def opened(archive, open_source):
    """Return a function that reads the whole file in one of the modes."""

    def read(mode, source=None, progress=None):
        source = source or open_source(archive)
        (asset,) = source.assets()
        with source.open(asset, mode=mode, recipe=RECIPE, progress=progress) as (content, digest):
            is_stream = isinstance(content, RemoteFile)
            found = content.readall() if is_stream else content.read_bytes()
        return found, digest, is_stream

    return read


@pytest.fixture
def stated(archive):
    return f"sha256:{archive.asset(DANDISET, VERSION, PATH).sha256}"


@pytest.mark.parametrize(("mode", "is_stream"), [("download", False), ("stream", True)])
def test_either_mode_gives_content_and_digest(opened, content, stated, tmp_path, mode, is_stream):
    assert opened(mode) == (content, stated, is_stream)
    assert (tmp_path / "downloads").exists() is not is_stream


@pytest.mark.parametrize(("share", "is_stream"), [(0.0, True), (0.5, True), (0.51, False), (1.0, False)])
def test_auto_streams_where_at_most_half_is_needed(opened, content, stated, need, share, is_stream):
    need(share * len(content))
    assert opened("auto") == (content, stated, is_stream)


@pytest.mark.parametrize("fault", [ignore_range(), wrong_etag()], ids=lambda fault: fault.kind)
def test_auto_downloads_where_the_storage_cannot_be_streamed(archive, opened, content, stated, need, fault):
    need(0)
    archive.fault(BLOB, fault)
    assert opened("auto") == (content, stated, False)


@pytest.mark.parametrize("mode", ["stream", "auto"])
def test_a_file_without_sha256_can_only_be_downloaded(archive, opened, content, stated, need, mode):
    need(0)
    archive.asset(DANDISET, VERSION, PATH).sha256 = None
    if mode == "auto":
        assert opened("auto") == (content, stated, False)
    else:
        with pytest.raises(StreamRefusedError, match=r"has not computed the SHA-256.*--download"):
            opened("stream")


def test_auto_does_not_hide_that_the_file_is_no_recording(archive, opened, monkeypatch, tmp_path):
    def bytes_needed(*_):
        raise DataError("not an NWB file")

    monkeypatch.setattr("nwb_latents.pipeline.nwb.read.bytes_needed", bytes_needed, raising=False)
    with pytest.raises(DataError, match="not an NWB file"):
        opened("auto")
    assert not (tmp_path / "downloads").exists()


@pytest.mark.parametrize("mode", ["stream", "auto"])
def test_a_verified_copy_that_is_here_is_used(archive, opened, open_source, content, stated, mode):
    opened("download")
    n_sent = archive.bytes_sent(BLOB)
    assert opened(mode) == (content, stated, False)
    assert archive.bytes_sent(BLOB) == n_sent


def test_a_failure_the_reader_overlooked_is_raised_at_the_end(archive, open_source):
    source = open_source(archive)
    (asset,) = source.assets()
    archive.fault(BLOB, status(503), times=None)
    reached = []
    with pytest.raises(MachineError, match="status 503"):  # noqa: PT012, SIM117
        with source.open(asset, mode="stream", recipe=RECIPE) as (content, _):
            try:
                content.read(10)
            except MachineError:
                reached.append("overlooked")
    assert reached == ["overlooked"]


def test_a_failure_the_reader_renamed_keeps_its_name(archive, open_source):
    source = open_source(archive)
    (asset,) = source.assets()
    archive.fault(BLOB, status(503), times=None)
    with pytest.raises(MachineError, match="status 503"):  # noqa: PT012, SIM117
        with source.open(asset, mode="stream", recipe=RECIPE) as (content, _):
            try:
                content.read(10)
            except MachineError as error:
                raise DataError("damaged") from error


def test_the_stream_is_closed_after_the_block(archive, open_source):
    source = open_source(archive)
    with source.open(source.assets()[0], mode="stream", recipe=RECIPE) as (content, _):
        content.read(10)
    assert content.closed


def test_progress_goes_up_and_arrives(opened, content):
    seen = []
    opened("stream", progress=lambda *now: seen.append(now))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == ((0, len(content)), (len(content), len(content)))
    assert len(seen) > 2


def test_a_source_in_another_process_streams(archive, opened, open_source, content, stated):
    assert opened("stream", pickle.loads(pickle.dumps(open_source(archive)))) == (content, stated, True)


def test_a_file_replaced_since_it_was_listed_is_not_streamed(archive, open_source):
    source = open_source(archive)
    (asset,) = source.assets()
    archive.asset(DANDISET, VERSION, PATH).sha256 = "0" * 64
    with pytest.raises(DataError, match="was replaced in the archive"):
        source.open_stream(asset)


@pytest.mark.parametrize("mode", ["download", "stream", "auto"])
def test_a_folder_gives_its_file_in_any_mode(small_nwb, mode):
    source = FolderSource([small_nwb])
    with source.open(source.assets()[0], mode=mode, recipe=RECIPE) as (path, digest):
        assert path == small_nwb
    assert digest.startswith("sha256:")
