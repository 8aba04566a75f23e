"""`RemoteFile` reads what a local file would, and fetches little of the rest."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from archive.sample import DANDISET, PATH, VERSION
from hypothesis import given, settings
from hypothesis import strategies as st

from nwb_latents.pipeline.sources.block_cache import BlockCache, ReadAhead
from nwb_latents.pipeline.sources.remote_file import BLOCK_BYTES, RemoteFile

BLOB = "/blob/*"
MEGABYTE = 1 << 20
CONTENT = np.random.default_rng(0).bytes(100_003)


class LocalRanges:
    """Ranges of bytes in memory."""

    bytes_fetched = 0

    def read_into(self, target, start):
        assert start >= 0
        assert start + len(target) <= len(CONTENT)
        target[:] = CONTENT[start : start + len(target)]
        self.bytes_fetched += len(target)

    def close(self):
        pass


reads = st.lists(st.tuples(st.integers(0, len(CONTENT) + 100), st.integers(0, 40_000)), max_size=30)


@settings(max_examples=50, deadline=None)
@given(reads=reads, block_size=st.sampled_from([1, 100, 1024, 70_000]), n_blocks=st.integers(1, 20))
def test_any_sequence_of_reads_gives_the_bytes_of_the_file(reads, block_size, n_blocks):
    cache = BlockCache(block_size=block_size, max_bytes=n_blocks * block_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nwb_latents.pipeline.sources.remote_file.ByteRanges", lambda *_, **__: LocalRanges())
        patch.setattr("nwb_latents.pipeline.sources.remote_file._DIRECT_BYTES", 5000)
        patch.setattr("nwb_latents.pipeline.sources.remote_file._AHEAD_BYTES", 30_000)
        file = RemoteFile(lambda: "", size=len(CONTENT), etag=None, policy=None, cache=cache)
    local = io.BytesIO(CONTENT)
    for position, n_bytes in reads:
        assert file.seek(position) == local.seek(position)
        assert file.read(n_bytes) == local.read(n_bytes)
        assert file.tell() == local.tell()


def test_it_is_a_binary_file(stream, content):
    assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)
    assert stream.name == PATH.rpartition("/")[2]
    assert stream.seek(-3, io.SEEK_END) == len(content) - 3
    assert stream.read() == content[-3:]
    assert stream.read(5) == b""
    assert (stream.seek(7), stream.seek(-2, io.SEEK_CUR)) == (7, 5)
    buffer = np.zeros(4, np.uint64)
    stream.seek(8)
    assert stream.readinto(buffer) == 32
    np.testing.assert_array_equal(buffer, [1, 2, 3, 4])
    stream.close()
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_nothing_is_fetched_before_it_is_read(archive, stream):
    stream.seek(1000)
    assert (stream.bytes_fetched, archive.requested(BLOB)) == (0, [])


def test_neighbouring_small_reads_share_one_request(archive, stream, content):
    for position in (0, 10_000, 500, 60_000):
        stream.seek(position)
        assert stream.read(100) == content[position : position + 100]
    assert len(archive.requested(BLOB)) == stream.n_requests == 1
    assert stream.bytes_fetched == BLOCK_BYTES


def test_a_large_read_is_one_request_for_no_more_than_it(stream, content):
    stream.seek(12_345)
    assert stream.read(MEGABYTE) == content[12_345 : 12_345 + MEGABYTE]
    assert (stream.n_requests, stream.bytes_fetched) == (1, MEGABYTE)


def test_many_small_reads_in_a_row_take_few_requests(stream, content):
    pieces = [stream.read(16_384) for _ in range(len(content) // 16_384)]
    assert b"".join(pieces) == content
    assert stream.n_requests <= 10
    assert stream.bytes_fetched == len(content)


def test_rows_that_take_turns_are_both_read_ahead():
    ahead = ReadAhead(max_bytes=1 << 30, block_size=10)
    first, second, sizes = 0, 1_000_000, []
    for _ in range(5):
        first, begin = ahead.stop(first, first + 100), first
        second = ahead.stop(second, second + 100)
        sizes.append(first - begin)
    assert sizes == [100, 100, 100, 200, 400]


def test_memory_is_bounded():
    cache = BlockCache(block_size=1000, max_bytes=10_000)
    for start in range(0, 1_000_000, 5000):
        cache.put(start, bytes(5000))
    assert sum(cache.after(start) is not None for start in range(0, 1_000_000, 1000)) == 10


def test_one_connection_serves_all_requests(stream, monkeypatch):
    import urllib3

    opened = itertools.count()
    connect = urllib3.connection.HTTPConnection.connect
    monkeypatch.setattr(
        urllib3.connection.HTTPConnection, "connect", lambda self: (next(opened), connect(self))[1]
    )
    for position in (0, MEGABYTE, MEGABYTE // 2, 3 * MEGABYTE // 2):
        stream.seek(position)
        stream.read(10)
    assert (stream.n_requests, next(opened)) == (4, 1)


def test_the_key_stays_with_the_archive(open_archive, open_source, content):
    archive = open_archive(PATH, content, embargoed={DANDISET}, tokens={"good-token"})
    source = open_source(archive, token="good-token")
    with source.open_stream(source.assets()[0]) as stream:
        assert stream.read(3) == content[:3]
    (request,) = archive.requested(BLOB)
    assert "authorization" not in request.headers
    assert request.headers["if-match"] == f'"{archive.asset(DANDISET, VERSION, PATH).dandi_etag}"'


def test_the_address_is_asked_for_once(archive, stream):
    for position in (0, MEGABYTE):
        stream.seek(position)
        stream.read(10)
    assert len(archive.requested("/api/assets/*/download/")) == 1
