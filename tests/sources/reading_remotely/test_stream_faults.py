"""Whatever goes wrong, what is read where it lies is right, or the reading ends with an error."""

from __future__ import annotations

import pytest
from archive import (
    drop,
    ignore_range,
    no_etag,
    reset,
    short_body,
    stall,
    status,
    surplus,
    too_many_requests,
    wrong_etag,
    wrong_range,
)
from archive.sample import DANDISET, PATH, VERSION

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.sources.remote_file import RemoteFile, StreamRefusedError
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

BLOB = "/blob/*"
MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    "fault",
    [
        status(503),
        status(500),
        status(429),
        too_many_requests(3),
        reset(),
        drop(after=MEGABYTE // 2),
        drop(after=0),
        wrong_range(),
        surplus(n_bytes=1000),
        status(403),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status or fault.n_bytes}",
)
@pytest.mark.parametrize("n_bytes", [100, MEGABYTE])
def test_one_fault_is_made_good(archive, stream, content, fault, n_bytes):
    stream.seek(999)
    archive.fault(BLOB, fault)
    assert stream.read(n_bytes) == content[999 : 999 + n_bytes]
    assert stream.failure is None


def test_a_stall_is_made_good(archive, open_source, content, impatient):
    source = open_source(archive, policy=impatient)
    with source.open_stream(source.assets()[0]) as stream:
        archive.fault(BLOB, stall(after=MEGABYTE // 2))
        assert stream.read(MEGABYTE) == content[:MEGABYTE]
    assert len(archive.requested(BLOB)) > 1


def test_a_broken_range_goes_on_where_it_ended(archive, stream, content):
    archive.fault(BLOB, drop(after=MEGABYTE // 2))
    assert stream.read(MEGABYTE) == content[:MEGABYTE]
    first, second = archive.requested(BLOB)
    assert first.headers["range"] == f"bytes=0-{MEGABYTE - 1}"
    assert second.headers["range"] == f"bytes={MEGABYTE // 2}-{MEGABYTE - 1}"
    assert stream.bytes_fetched == MEGABYTE


def test_progress_renews_patience(archive, stream, content):
    archive.fault(BLOB, drop(after=300_000), times=5)
    assert stream.read() == content
    assert len(archive.requested(BLOB)) > 5


@pytest.mark.parametrize("fault", [status(503), reset(), drop(after=0), wrong_range()], ids=lambda f: f.kind)
def test_a_fault_that_stays_is_the_environment(archive, stream, fault):
    archive.fault(BLOB, fault, times=None)
    with pytest.raises(MachineError, match=r"broke off at byte 0 of 2097152: .*4 attempts.*--download"):
        stream.read(10)
    assert len(archive.requested(BLOB)) == 4


def test_the_server_is_obeyed_and_not_pressed(archive, stream, waits):
    archive.fault(BLOB, too_many_requests(7))
    archive.fault(BLOB, status(503), times=2)
    stream.read(10)
    assert waits == pytest.approx([7.0, 0.02, 0.04])


def test_an_expired_address_is_asked_for_again(archive, stream, content):
    assert stream.read(10) == content[:10]
    for position in (MEGABYTE, 3 * MEGABYTE // 2):
        archive.expire_urls()
        stream.seek(position)
        assert stream.read(10) == content[position : position + 10]
    assert len(archive.requested("/api/assets/*/download/")) == 3


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_that_stays_is_told_without_the_signature(archive, stream, code):
    archive.fault(BLOB, status(code), times=None)
    with pytest.raises(MachineError, match=rf"status {code}\), also at an address") as caught:
        stream.read(10)
    assert len(archive.requested(BLOB)) == 2
    assert "X-Amz" not in str(caught.value)


def test_a_file_that_is_gone_is_told(archive, stream):
    archive.fault(BLOB, status(404), times=None)
    with pytest.raises(DataError, match=r"no such file any more \(status 404\)"):
        stream.read(10)


def test_a_storage_without_ranges_is_not_read_whole(archive, stream):
    archive.fault(BLOB, ignore_range(), times=None)
    with pytest.raises(StreamRefusedError, match=r"cannot be streamed\. Fetch the file with --download"):
        stream.read(10)
    assert stream.bytes_fetched == 0
    assert len(archive.requested(BLOB)) == 1


def replaced(archive, content):
    asset = archive.asset(DANDISET, VERSION, PATH)
    asset.content = bytes(reversed(content))
    asset.dandi_etag = "f" * 32 + "-1"


def shortened(archive, content):
    archive.asset(DANDISET, VERSION, PATH).content = content[:-1]


def cut_off(archive, content):
    archive.asset(DANDISET, VERSION, PATH).content = content[:1000]


def restated(archive, content):
    archive.fault(BLOB, wrong_etag(), times=None)


@pytest.mark.parametrize("change", [replaced, shortened, cut_off, restated])
def test_a_file_that_changes_while_it_is_read_is_an_error(archive, stream, content, change):
    assert stream.read(10) == content[:10]
    change(archive, content)
    stream.seek(MEGABYTE)
    with pytest.raises(DataError, match="the file changed in the archive while it was read"):
        stream.read(10)


@pytest.mark.parametrize("change", [replaced, shortened, restated])
def test_another_file_than_the_archive_states_is_not_read(archive, stream, content, change):
    change(archive, content)
    with pytest.raises(StreamRefusedError, match="holds another file than the archive states"):
        stream.read(10)
    assert stream.bytes_fetched == 0


def test_a_change_in_the_middle_of_a_range_is_an_error(archive, stream):
    archive.fault(BLOB, drop(after=MEGABYTE // 2))
    archive.fault(BLOB, wrong_etag())
    with pytest.raises(DataError, match="changed in the archive"):
        stream.read(MEGABYTE)


def test_a_short_file_is_told(archive, stream):
    archive.fault(BLOB, short_body(by=5), times=None)
    with pytest.raises(StreamRefusedError, match=r"2097152 bytes, found .* and 2097147"):
        stream.read(10)


def test_after_a_failure_nothing_more_is_read(archive, stream, content):
    assert stream.read(10) == content[:10]
    archive.fault(BLOB, status(404))
    stream.seek(MEGABYTE)
    with pytest.raises(DataError) as first:
        stream.read(10)
    stream.seek(0)
    with pytest.raises(DataError) as second:
        stream.read(10)
    assert str(second.value) == str(first.value) == str(stream.failure)


def test_a_storage_without_etags_is_not_trusted(archive, stream):
    archive.fault(BLOB, no_etag())
    with pytest.raises(StreamRefusedError, match="states no ETag"):
        stream.read(10)


def test_without_a_stated_etag_that_of_the_first_answer_counts(archive, content):
    asset = archive.asset(DANDISET, VERSION, PATH)
    with RemoteFile(
        lambda: f"{archive.storage_url}/blob/{asset.blob_id}",
        size=len(content),
        etag=None,
        policy=RetryPolicy(),
    ) as file:
        assert file.read(10) == content[:10]
        asset.dandi_etag = "f" * 32 + "-1"
        file.seek(MEGABYTE)
        with pytest.raises(DataError, match="changed in the archive"):
            file.read(10)


@pytest.mark.parametrize("address", ["no address", "http://127.0.0.1:99999/a", "gopher://archive/a"])
def test_an_address_that_is_none_is_the_environment(address):
    with RemoteFile(lambda: address, size=9, etag=None, policy=RetryPolicy(attempts=1)) as file:  # noqa: SIM117
        with pytest.raises(MachineError, match="cannot be asked for it"):
            file.read(1)
