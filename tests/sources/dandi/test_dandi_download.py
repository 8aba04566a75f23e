"""Whatever goes wrong on the way, a file under its final name is the archive's file."""

import errno
import hashlib
import itertools
import json
import pickle
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from archive import (
    body,
    drop,
    flip_byte,
    ignore_range,
    reset,
    short_body,
    stall,
    status,
    too_many_requests,
    wrong_etag,
)
from archive.sample import DANDISET, NWB, PATH, VERSION

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.sources import bodies, disk
from nwb_latents.pipeline.sources import file_download as transfer
from nwb_latents.pipeline.sources.asset import Asset
from nwb_latents.pipeline.sources.checksums import verified_digest

if TYPE_CHECKING:
    from pathlib import Path

BLOB = "/blob/*"
SHA256 = hashlib.sha256(NWB).hexdigest()
MEGABYTE = 1 << 20


@pytest.fixture
def final(tmp_path):
    return tmp_path / "downloads" / DANDISET / VERSION / PATH


@pytest.fixture
def part(final):
    return final.with_name(f"{final.name}.part")


def fetch(source, progress=None):
    (asset,) = source.assets()
    return source.fetch(asset, progress)


def test_file_arrives_verified_under_its_path(archive, open_source, final, part):
    path = fetch(open_source(archive))
    assert path == final
    assert path.read_bytes() == NWB
    assert not part.exists()
    assert verified_digest(path) == f"sha256:{SHA256}"


@pytest.mark.parametrize(
    "fault",
    [
        status(503),
        status(500),
        status(429),
        too_many_requests(3),
        reset(),
        drop(after=MEGABYTE),
        drop(after=0),
        short_body(by=1000),
        flip_byte(at=MEGABYTE),
        wrong_etag(),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status or fault.n_bytes}",
)
def test_one_fault_of_the_storage_does_not_spoil_the_file(archive, open_source, fault):
    archive.fault(BLOB, fault)
    assert fetch(open_source(archive)).read_bytes() == NWB


def test_one_stall_of_the_storage_does_not_spoil_the_file(archive, open_source, impatient):
    archive.fault(BLOB, stall(after=MEGABYTE))
    assert fetch(open_source(archive, policy=impatient)).read_bytes() == NWB


@pytest.mark.parametrize("fault", [status(503), too_many_requests(3), reset()], ids=lambda f: f.kind)
def test_one_fault_of_the_redirect_does_not_spoil_the_file(archive, open_source, fault):
    archive.fault("/api/assets/*/download/", fault)
    assert fetch(open_source(archive)).read_bytes() == NWB


def test_interrupted_download_goes_on_where_it_broke_off(archive, open_source):
    archive.fault(BLOB, drop(after=MEGABYTE))
    fetch(open_source(archive))
    _, second = archive.requested(BLOB)
    resumed_at = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert second.status == 206
    assert MEGABYTE - transfer._BLOCK_BYTES <= resumed_at <= MEGABYTE
    assert second.n_bytes == len(NWB) - resumed_at


def test_later_run_goes_on_from_the_part_of_an_earlier_one(archive, open_source, final, part):
    archive.fault(BLOB, drop(after=MEGABYTE))
    archive.fault(BLOB, status(503), times=4)
    with pytest.raises(MachineError, match=r"broke off at byte \d+ of 2097152: .*status 503"):
        fetch(open_source(archive))
    assert not final.exists()
    kept = part.stat().st_size
    assert kept >= MEGABYTE - transfer._BLOCK_BYTES
    before = archive.bytes_sent(BLOB)
    fetch(open_source(archive))
    assert final.read_bytes() == NWB
    assert archive.bytes_sent(BLOB) - before == len(NWB) - kept


def test_part_of_another_file_is_thrown_away(archive, open_source, final, part):
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * MEGABYTE)
    fetch(open_source(archive))
    assert final.read_bytes() == NWB


def test_part_longer_than_the_file_is_thrown_away(archive, open_source, final, part):
    part.parent.mkdir(parents=True)
    part.write_bytes(NWB + b"x")
    assert fetch(open_source(archive)).read_bytes() == NWB


def test_complete_part_is_only_verified(archive, open_source, final, part):
    part.parent.mkdir(parents=True)
    part.write_bytes(NWB)
    assert fetch(open_source(archive)).read_bytes() == NWB
    assert archive.requested(BLOB) == []


def test_ignored_range_starts_over(archive, open_source, part):
    part.parent.mkdir(parents=True)
    part.write_bytes(NWB[:MEGABYTE])
    archive.fault(BLOB, ignore_range())
    assert fetch(open_source(archive)).read_bytes() == NWB
    assert archive.bytes_sent(BLOB) == len(NWB)


def test_server_that_ignores_ranges_and_drops_is_given_up(archive, open_source, final):
    archive.fault(BLOB, drop(after=MEGABYTE))
    archive.fault("/blob/*", drop(after=0), times=None)
    with pytest.raises(MachineError, match="without progress"):
        fetch(open_source(archive))
    assert not final.exists()


@pytest.mark.parametrize("fault", [flip_byte(at=MEGABYTE), short_body(by=1000)], ids=lambda f: f.kind)
def test_file_that_stays_corrupted_is_an_error_and_not_kept(archive, open_source, final, part, fault):
    archive.fault(BLOB, fault, times=None)
    with pytest.raises(DataError, match=r"corrupted.*nothing was kept") as caught:
        fetch(open_source(archive))
    assert not final.exists()
    assert not part.exists()
    assert "X-Amz-Signature" not in str(caught.value)
    assert len([r for r in archive.requested(BLOB) if "range" not in r.headers]) == 2


def test_body_longer_than_stated_is_not_read_to_its_end(archive, open_source, final):
    asset = archive.asset(DANDISET, VERSION, PATH)
    asset.content = NWB * 20
    with pytest.raises(DataError, match="more than the expected 2097152 bytes"):
        fetch(open_source(archive))
    assert not final.exists()


def test_file_with_a_right_etag_but_wrong_sha256_is_refused(archive, open_source, final):
    archive.asset(DANDISET, VERSION, PATH).sha256 = "0" * 64
    with pytest.raises(DataError, match=f"its sha256 is {SHA256}, expected 0000"):
        fetch(open_source(archive))
    assert not final.exists()


def test_dandi_etag_alone_verifies(archive, open_source, final):
    asset = archive.asset(DANDISET, VERSION, PATH)
    asset.sha256 = None
    (listed,) = open_source(archive).assets()
    assert listed.digest is None
    assert verified_digest(fetch(open_source(archive))) == f"sha256:{SHA256}"
    final.unlink()
    archive.fault(BLOB, flip_byte(at=5), times=None)
    with pytest.raises(DataError, match="its dandi-etag is"):
        fetch(open_source(archive))


def test_file_without_any_digest_is_refused(archive, open_source, final):
    asset = archive.asset(DANDISET, VERSION, PATH)
    asset.sha256 = asset.dandi_etag = None
    with pytest.raises(DataError, match="states no digest"):
        fetch(open_source(archive))
    assert not final.exists()


@pytest.mark.parametrize(("code", "kind", "asked"), [(403, MachineError, 2), (404, DataError, 1)])
def test_refusal_of_the_storage_is_told_as_such(archive, open_source, code, kind, asked):
    archive.fault(BLOB, status(code), times=None)
    with pytest.raises(kind, match=rf"{PATH}: the storage at 127.0.0.1:\d+ .*\(status {code}\)") as caught:
        fetch(open_source(archive))
    assert len(archive.requested(BLOB)) == asked
    assert "API_KEY" not in str(caught.value)
    assert "embargoed" not in str(caught.value)


def test_storage_names_its_reason(archive, open_source):
    denied = b"<Error><Code>RequestTimeTooSkewed</Code><Message>no</Message></Error>"
    archive.fault(BLOB, replace(body(denied, Content_Type="application/xml"), status=403), times=None)
    with pytest.raises(MachineError, match=r"status 403, RequestTimeTooSkewed.*its clock is right"):
        fetch(open_source(archive))


def test_expired_address_is_renewed(archive, open_source):
    archive.after("/api/assets/*/download/", archive.expire_urls)
    assert fetch(open_source(archive)).read_bytes() == NWB
    assert [request.status for request in archive.requested(BLOB)] == [403, 200]


def test_wait_of_more_than_ten_seconds_is_said(archive, open_source, waits, caplog):
    archive.fault(BLOB, too_many_requests(9))
    archive.fault(BLOB, too_many_requests(57))
    fetch(open_source(archive))
    assert waits == [9.0, 57.0]
    (said,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert "status 429; waiting 57 s before asking again" in said
    assert PATH.rpartition("/")[2] in said


def test_server_that_asks_for_an_hour_is_not_waited_for(archive, open_source, waits):
    archive.fault(BLOB, too_many_requests(3600))
    with pytest.raises(MachineError, match=r"status 429.*asks to wait 3600 s"):
        fetch(open_source(archive))
    assert waits == []


def test_body_that_trickles_is_given_up(archive, open_source, monkeypatch):
    source = open_source(archive)
    (asset,) = source.assets()
    seconds = itertools.count(0, 31)

    def trickling(*args, **kwargs):
        monkeypatch.setattr(bodies, "monotonic", lambda: next(seconds))
        monkeypatch.setattr(bodies, "BLOCK_BYTES", 100)
        return transfer.download(*args, **kwargs)

    monkeypatch.setattr("nwb_latents.pipeline.sources.dandi_archive.download", trickling)
    with pytest.raises(MachineError, match=r"sent \d+ bytes in \d+ s, less than 1000 a second.*4 attempts"):
        source.fetch(asset)


def test_server_that_sends_a_few_bytes_at_a_time_is_given_up(archive, open_source):
    archive.fault(BLOB, drop(after=5), times=None)
    with pytest.raises(MachineError, match="4 attempts without progress"):
        fetch(open_source(archive))


def test_retry_after_is_obeyed(archive, open_source, waits):
    archive.fault(BLOB, too_many_requests(7))
    fetch(open_source(archive))
    assert waits == [7.0]


def test_pauses_grow(archive, open_source, waits):
    archive.fault(BLOB, status(503), times=3)
    fetch(open_source(archive))
    assert waits == pytest.approx([0.01, 0.02, 0.04])


def test_second_run_asks_for_nothing_and_hashes_nothing(archive, open_source, monkeypatch):
    (asset,) = open_source(archive).assets()
    open_source(archive).fetch(asset)
    n_requests = len(archive.requests)
    monkeypatch.setattr("nwb_latents.pipeline.sources.local_copies.digest_content", None)
    path = open_source(archive).fetch(asset)
    assert path.read_bytes() == NWB
    assert len(archive.requests) == n_requests


def test_changed_file_is_downloaded_again(archive, open_source, final):
    fetch(open_source(archive))
    final.write_bytes(NWB[:-1] + b"x")
    assert fetch(open_source(archive)).read_bytes() == NWB


def test_changed_file_does_not_stay_while_the_archive_is_away(archive, open_source, final):
    fetch(open_source(archive))
    final.write_bytes(NWB[:-1] + b"x")
    archive.fault(BLOB, status(503), times=None)
    with pytest.raises(MachineError, match="status 503"):
        fetch(open_source(archive))
    assert not final.exists()


def test_touched_file_is_hashed_and_kept(archive, open_source, final):
    fetch(open_source(archive))
    final.touch()
    n_blobs = len(archive.requested(BLOB))
    fetch(open_source(archive))
    assert len(archive.requested(BLOB)) == n_blobs
    assert json.loads(final.with_name(f"{final.name}.verified").read_text())["sha256"] == SHA256


def test_file_put_there_by_hand_is_verified(archive, open_source, final):
    final.parent.mkdir(parents=True)
    final.write_bytes(NWB)
    fetch(open_source(archive))
    assert archive.requested(BLOB) == []


def test_progress_ends_at_the_size(archive, open_source):
    seen = []
    fetch(open_source(archive), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(NWB), len(NWB))
    assert len(seen) > 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_size_no_file_can_have_is_told_and_nothing_is_fetched(archive, open_source, final, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 60))
    asset = archive.asset(DANDISET, VERSION, PATH)
    asset.size = 10**15
    with pytest.raises(DataError, match=r"size of 1,000,000,000,000,000 bytes is stated.*answer is wrong"):
        fetch(open_source(archive))
    assert archive.requested(BLOB) == []
    assert not final.exists()


def test_full_disk_is_told_before_anything_is_written(archive, open_source, final, part, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(MachineError, match="2097152 bytes more are needed, 1000 are free"):
        fetch(open_source(archive))
    assert archive.requested(BLOB) == []


def test_disk_that_fills_up_keeps_a_part_to_go_on_from(archive, open_source, final, part, monkeypatch):
    write = transfer._write_all

    def full_after_a_megabyte(file, block):
        if file.tell() >= MEGABYTE:
            file.write(block[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, block)

    monkeypatch.setattr(transfer, "_write_all", full_after_a_megabyte)
    with pytest.raises(MachineError, match=f"{len(NWB) - MEGABYTE} bytes more are needed"):
        fetch(open_source(archive))
    assert part.read_bytes() == NWB[:MEGABYTE]
    assert not final.exists()
    monkeypatch.setattr(transfer, "_write_all", write)
    assert fetch(open_source(archive)).read_bytes() == NWB


def test_two_at_once_download_once(archive, open_source):
    (asset,) = open_source(archive).assets()
    archive.fault(BLOB, drop(after=MEGABYTE))
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(open_source(archive).fetch(asset))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    assert len(archive.requested(BLOB)) == 2


def test_source_works_in_another_process(archive, open_source):
    source = open_source(archive)
    (asset,) = source.assets()
    assert pickle.loads(pickle.dumps(source)).fetch(asset).read_bytes() == NWB


def test_download_folder_that_is_a_file_is_told(archive, open_source, tmp_path):
    (tmp_path / "downloads").write_text("")
    with pytest.raises(MachineError, match="Check that the download folder"):
        fetch(open_source(archive))


def test_hostile_path_in_a_catalog_is_refused(archive, open_source, tmp_path):
    asset = Asset(path="../../../evil.nwb", size=1, asset_id="x")
    with pytest.raises(DataError, match=r"'\.\.' part"):
        open_source(archive, version=VERSION).fetch(asset)


def test_content_url_serves_ranges(archive, open_source):
    import requests

    source = open_source(archive)
    (asset,) = source.assets()
    url = source.content_url(asset)
    assert url.startswith(archive.storage_url)
    answer = requests.get(url, headers={"Range": "bytes=256-259"}, timeout=5)
    assert (answer.status_code, answer.content) == (206, NWB[256:260])


def test_verified_file_is_read_from_a_folder_that_cannot_be_written_to(archive, open_source, final):
    (asset,) = open_source(archive).assets()
    open_source(archive).fetch(asset)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in final.parent.iterdir())
    final.with_name(f".{final.name}.lock").unlink()
    assert open_source(archive).fetch(asset) == final
    assert sorted((p.name, p.stat().st_mtime_ns) for p in final.parent.iterdir()) == before[1:]
