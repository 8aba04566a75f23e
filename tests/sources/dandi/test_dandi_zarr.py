"""NWB in Zarr: whatever goes wrong on the way, a folder under its final name is the archive's folder."""

import hashlib
import pickle
import re
import shutil
import threading
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from archive import ZARR, drop, flip_byte, reset, short_body, stall, status, too_many_requests
from archive.sample import DANDISET, VERSION
from archive.shelf import checksum_of

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError
from nwb_latents.pipeline.sources import disk, zarr_download
from nwb_latents.pipeline.sources.checksums import digest_file, verified_digest
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

PATH = "sub-A/sub-A_ses-1.nwb.zarr"
ENTRIES = "/zarr/*"
LARGE = "units/waveforms/0.0"
MEGABYTE = 1 << 20
CONTENT = {
    ".zgroup": b'{"zarr_format": 2}',
    ".zattrs": b"{}",
    **{f"units/spike_times/{i}": bytes([i]) * (100 + i) for i in range(12)},
    "units/spike times+/0": b"a name that must be quoted",
    "units/empty/0": b"",
    LARGE: bytes(range(256)) * 8192,
}
N_ASKED = len(CONTENT) - 1
"""Files that bytes are asked for; the empty one needs none."""


@pytest.fixture
def folder(tmp_path):
    for name, content in CONTENT.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "made"


@pytest.fixture
def archive(open_archive, folder):
    return open_archive({DANDISET: {VERSION: {PATH: folder}}})


@pytest.fixture
def final(tmp_path):
    return tmp_path / "downloads" / DANDISET / VERSION / PATH


@pytest.fixture
def part(final):
    return final.with_name(f"{final.name}.part")


@pytest.fixture
def one_at_a_time(monkeypatch):
    monkeypatch.setattr(zarr_download, "_AT_ONCE", 1)


def fetch(source, progress=None):
    (asset,) = source.assets()
    return source.fetch(asset, progress)


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def downloading_threads():
    """Threads of the download; zarr, which other tests use in the same process, keeps one of its own."""
    return [thread for thread in threading.enumerate() if re.fullmatch(r"zarr_\d+", thread.name)]


def stored(archive):
    return archive.asset(DANDISET, VERSION, PATH)


def asked(archive):
    """Return the files whose bytes were asked for, in order."""
    return [unquote(request.path).split("/", 3)[3] for request in archive.requested(ENTRIES)]


def test_folder_arrives_verified_under_its_path(archive, open_source, folder, final, part):
    (asset,) = open_source(archive).assets()
    assert (asset.is_zarr, asset.size, asset.digest) == (True, sum(map(len, CONTENT.values())), None)
    assert asset.zarr_checksum == stored(archive).zarr_checksum
    assert fetch(open_source(archive)) == final
    assert content(final) == CONTENT
    assert not part.exists()
    assert len(asked(archive)) == len(set(asked(archive))) == N_ASKED


def test_a_download_has_the_digest_that_the_same_folder_has_on_disk(archive, open_source, folder, final):
    fetch(open_source(archive))
    assert verified_digest(final) == digest_file(final) == digest_file(folder)
    (listed,) = open_source(archive).assets()
    assert listed.digest == digest_file(folder)


def test_all_pages_of_files_are_fetched(archive, open_source, final):
    archive.entries_page_size = 5
    fetch(open_source(archive))
    assert content(final) == CONTENT
    pages = [r for r in archive.requested("/api/zarr/*/files/") if "download" not in r.query]
    assert [page.query.get("after") for page in pages] == [None, *sorted(CONTENT)[4::5][: len(pages) - 1]]
    assert len(pages) == 4


@pytest.mark.parametrize(
    "fault",
    [
        status(503),
        status(429),
        reset(),
        drop(after=MEGABYTE),
        drop(after=0),
        short_body(by=1000),
        flip_byte(at=MEGABYTE),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status or fault.n_bytes}",
)
def test_one_fault_of_the_storage_does_not_spoil_the_folder(archive, open_source, final, fault):
    archive.fault(f"/zarr/*/{LARGE}", fault)
    fetch(open_source(archive))
    assert content(final) == CONTENT
    assert asked(archive).count(LARGE) == 2
    assert len(asked(archive)) == N_ASKED + 1


def test_one_stall_of_the_storage_does_not_spoil_the_folder(archive, open_source, final, impatient):
    archive.fault(f"/zarr/*/{LARGE}", stall(after=MEGABYTE))
    fetch(open_source(archive, policy=impatient))
    assert content(final) == CONTENT


@pytest.mark.parametrize("query", ["download=true", "", "after="])
@pytest.mark.parametrize("fault", [status(503), reset()], ids=lambda f: f.kind)
def test_one_fault_of_the_interface_does_not_spoil_the_folder(archive, open_source, final, fault, query):
    archive.entries_page_size = 10
    archive.fault(f"/api/zarr/*/files/?*{query}*" if query else "/api/zarr/*/files/", fault)
    fetch(open_source(archive))
    assert content(final) == CONTENT


def test_retry_after_is_obeyed(archive, open_source, waits):
    archive.fault(ENTRIES, too_many_requests(7))
    fetch(open_source(archive))
    assert waits == [7.0]


@pytest.mark.parametrize("fault", [flip_byte(at=50), short_body(by=10)], ids=lambda f: f.kind)
def test_file_that_stays_corrupted_is_an_error_and_the_folder_not_put_in_place(
    archive, open_source, final, part, fault
):
    name = "units/spike_times/7"
    archive.fault(f"/zarr/*/{name}", fault, times=None)
    with pytest.raises(DataError, match=f"{PATH}/{name}: .* a corrupted file.*nothing was kept"):
        fetch(open_source(archive))
    assert not final.exists()
    assert not (part / name).exists()
    from_scratch = [r for r in archive.requested(f"/zarr/*/{name}") if "range" not in r.headers]
    assert len(from_scratch) == 2
    assert not downloading_threads()


@pytest.mark.usefixtures("one_at_a_time")
def test_later_run_fetches_only_what_is_missing(archive, open_source, final, part):
    name = "units/spike_times/5"
    archive.fault(f"/zarr/*/{name}", status(503), times=4)
    with pytest.raises(MachineError, match=f"{PATH}/{name}: download broke off at byte 0 of 105: .*503"):
        fetch(open_source(archive))
    assert not final.exists()
    n_asked = len(asked(archive))
    kept = {path for path in content(part) if not path.endswith(".part")} - {"units/empty/0"}
    assert len(kept) > 5
    fetch(open_source(archive))
    assert content(final) == CONTENT
    later = asked(archive)[n_asked:]
    assert name in later
    assert len(later) == len(set(later))
    assert not kept & set(later)


def test_large_file_goes_on_where_it_broke_off(archive, open_source, final):
    archive.fault(f"/zarr/*/{LARGE}", drop(after=MEGABYTE))
    archive.fault(f"/zarr/*/{LARGE}", status(503), times=4)
    with pytest.raises(MachineError, match=r"broke off at byte \d+ of 2097152"):
        fetch(open_source(archive))
    fetch(open_source(archive))
    assert content(final) == CONTENT
    last = archive.requested(f"/zarr/*/{LARGE}")[-1]
    assert (last.status, last.n_bytes < 1.5 * MEGABYTE) == (206, True)


def test_ended_by_the_user_it_goes_on_later(archive, open_source, final, part):
    def progress(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(open_source(archive), progress)
    assert not downloading_threads()
    assert not final.exists()
    fetch(open_source(archive))
    assert content(final) == CONTENT


def test_what_the_user_ends_does_not_go_on_asking(archive, open_source):
    def progress(done, total):
        raise KeyboardInterrupt

    archive.fault("/zarr/*/.zattrs", status(503), times=None)
    source = open_source(archive, policy=RetryPolicy(attempts=1000, retry_wait_s=0.01))
    with pytest.raises(KeyboardInterrupt):
        fetch(source, progress)
    assert len(archive.requested("/zarr/*/.zattrs")) < 500


def test_part_of_another_zarr_gives_what_is_the_same_and_no_more(archive, open_source, final, part):
    shutil.copytree(stored(archive).content, part)
    (part / "units" / "spike_times" / "3").write_bytes(b"x" * 103)
    (part / ".zgroup.part").write_bytes(b"of a download that was killed")
    (part / "units" / "other" / "deep").mkdir(parents=True)
    (part / "units" / "other" / "deep" / "0").write_bytes(b"of another version")
    shutil.rmtree(part / "units" / "spike times+")
    (part / "units" / "spike times+").write_bytes(b"a file where a folder belongs")
    fetch(open_source(archive))
    assert content(final) == CONTENT
    assert not (final / "units" / "other").exists()
    assert sorted(asked(archive)) == ["units/spike times+/0", "units/spike_times/3"]


def test_wrong_promise_is_refused_before_anything_is_fetched(archive, open_source, final, part):
    promise = stored(archive).zarr_checksum
    stored(archive).zarr_checksum = "0" * 32 + promise[32:]
    with pytest.raises(DataError, match=f"not the Zarr it promises: its zarr checksum is {promise}"):
        fetch(open_source(archive))
    assert asked(archive) == []
    assert not final.exists()
    assert not part.exists()


def test_file_missing_from_the_listing_is_noticed(archive, open_source, final):
    stored(archive).entries.pop()
    with pytest.raises(DataError, match=r"is not the Zarr it promises: it has \d+ bytes"):
        fetch(open_source(archive))
    assert not final.exists()


def test_content_other_than_the_listing_is_refused(archive, open_source, final):
    entries = stored(archive).entries
    entries[3].dandi_etag = "0" * 32
    stored(archive).zarr_checksum = checksum_of(entries)
    with pytest.raises(DataError, match=f"its md5 is .*expected {'0' * 32}"):
        fetch(open_source(archive))
    assert not final.exists()


def test_file_uploaded_in_parts_is_held_against_the_etag_of_its_parts(archive, open_source, final):
    entry = next(entry for entry in stored(archive).entries if entry.key == LARGE)
    entry.dandi_etag = hashlib.md5(hashlib.md5(CONTENT[LARGE]).digest()).hexdigest() + "-1"
    stored(archive).zarr_checksum = checksum_of(stored(archive).entries)
    archive.fault(f"/zarr/*/{LARGE}", flip_byte(at=5))
    fetch(open_source(archive))
    assert content(final) == CONTENT


def test_zarr_without_a_checksum_is_refused(archive, open_source, final):
    stored(archive).zarr_checksum = None
    with pytest.raises(DataError, match="states no digest"):
        fetch(open_source(archive))
    assert not final.exists()


def test_zarr_without_files_is_refused(open_archive, open_source):
    archive = open_archive({DANDISET: {VERSION: {PATH: ZARR}}})
    archive.asset(DANDISET, VERSION, PATH).zarr_checksum = checksum_of([])
    with pytest.raises(DataError, match="lists no file of it"):
        fetch(open_source(archive))


@pytest.mark.parametrize("key", ["../evil", "/etc/evil", "units/../../evil", "C:/evil", "a//b"])
def test_hostile_name_of_a_file_is_refused(archive, open_source, tmp_path, key):
    stored(archive).entries[0].key = key
    stored(archive).zarr_checksum = checksum_of(stored(archive).entries)
    with pytest.raises(DataError, match=r"The archive lists a file at .* nothing was written"):
        fetch(open_source(archive))
    assert not list(tmp_path.rglob("evil"))
    assert asked(archive) == []


@pytest.mark.parametrize(("code", "asked_for"), [(403, 2), (404, 1)])
def test_refusal_of_the_storage_is_not_retried_but_at_a_fresh_address(archive, open_source, code, asked_for):
    archive.fault("/zarr/*/units/spike_times/7", status(code), times=None)
    with pytest.raises(PipelineError, match=rf"the storage at 127.0.0.1:\d+ .*\(status {code}\)"):
        fetch(open_source(archive))
    assert asked(archive).count("units/spike_times/7") == asked_for


def test_pages_ask_for_as_many_files_as_the_archive_gives(archive, open_source, final):
    fetch(open_source(archive))
    (page,) = [r for r in archive.requested("/api/zarr/*/files/") if "download" not in r.query]
    assert page.query["limit"] == "1000"


@pytest.mark.parametrize("what", ["Size", "Key", "ETag"])
def test_malformed_entry_of_a_zarr_is_told_with_its_place(archive, open_source, what):
    def spoil(page):
        page["results"][2][what] = None
        return page

    archive.tamper("/api/zarr/*/files/", spoil)
    with pytest.raises(MachineError, match=rf"is not understood: at results.2.{what}: found None"):
        fetch(open_source(archive))


def test_zarr_with_more_files_than_its_checksum_states_is_not_listed_for_ever(archive, open_source):
    def endless(page):
        last = int(page["results"][-1].get("n", 0))
        entries = [{**page["results"][0], "Key": f"k{last + i}", "n": last + i + 1} for i in range(1000)]
        url = f"{archive.url}/api/zarr/{stored(archive).blob_id}/files/"
        return {"next": f"{url}?limit=1000&after={len(archive.requests)}", "results": entries}

    archive.tamper("/api/zarr/*/files/", endless)
    with pytest.raises(MachineError, match=f"it lists more than {1000 + len(CONTENT)} files"):
        fetch(open_source(archive))


def test_second_run_asks_for_nothing_and_hashes_nothing(archive, open_source, monkeypatch):
    (asset,) = open_source(archive).assets()
    open_source(archive).fetch(asset)
    n_requests = len(archive.requests)
    monkeypatch.setattr(zarr_download, "digest_content", None)
    source = pickle.loads(pickle.dumps(open_source(archive)))
    assert content(source.fetch(asset)) == CONTENT
    assert source.local_copy(asset) is not None
    assert len(archive.requests) == n_requests


@pytest.mark.parametrize("change", ["changed", "removed", "added"])
def test_folder_that_was_tampered_with_is_mended(archive, open_source, final, change):
    fetch(open_source(archive))
    name = "units/spike_times/2"
    n_asked = len(asked(archive))
    if change == "added":
        (final / "units" / "spike_times" / "99").write_bytes(b"more")
    elif change == "removed":
        (final / name).unlink()
    else:
        (final / name).write_bytes(b"x" * 102)
    (asset,) = open_source(archive).assets()
    assert open_source(archive).local_copy(asset) is None
    open_source(archive).fetch(asset)
    assert content(final) == CONTENT
    assert asked(archive)[n_asked:] == ([] if change == "added" else [name])


def test_tampered_folder_does_not_stay_while_the_archive_is_away(archive, open_source, final):
    fetch(open_source(archive))
    (final / ".zattrs").write_bytes(b"xx")
    archive.fault(ENTRIES, status(503), times=None)
    with pytest.raises(MachineError, match="status 503"):
        fetch(open_source(archive))
    assert not final.exists()


def test_folder_in_the_place_of_a_file_and_the_other_way_round(archive, open_source, final, part):
    final.parent.mkdir(parents=True)
    for path in (final, part):
        path.write_bytes(b"an earlier version was a file")
    fetch(open_source(archive))
    assert content(final) == CONTENT
    asset = archive.replace(DANDISET, VERSION, PATH.removesuffix(".zarr"), b"nwb")
    for name in ("sub-A_ses-1.nwb", "sub-A_ses-1.nwb.part"):
        shutil.copytree(final, final.with_name(name))
    (found,) = [a for a in open_source(archive).assets() if a.path == asset.path]
    assert open_source(archive).fetch(found).read_bytes() == b"nwb"


def test_two_at_once_download_once(archive, open_source):
    (asset,) = open_source(archive).assets()
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(open_source(archive).fetch(asset))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 3
    assert len(asked(archive)) == N_ASKED


def test_progress_counts_bytes_up_to_the_size(archive, open_source):
    seen = []
    archive.fault(f"/zarr/*/{LARGE}", flip_byte(at=MEGABYTE))
    fetch(open_source(archive), lambda *now: seen.append(now))
    size = sum(map(len, CONTENT.values()))
    assert seen[-1] == (size, size)
    assert seen == sorted(seen)
    assert len(seen) > 2


def test_file_that_another_program_takes_away_is_noticed(archive, open_source, final, part):
    def progress(done, total):
        if done == total:
            (part / ".zgroup").unlink(missing_ok=True)

    with pytest.raises(MachineError, match=r"its file .zgroup is not on the disk"):
        fetch(open_source(archive), progress)
    assert not final.exists()


def test_full_disk_is_told_before_anything_is_fetched(archive, open_source, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(MachineError, match=rf"{PATH}: .* bytes more are needed, 1000 are free"):
        fetch(open_source(archive))
    assert asked(archive) == []


def test_key_stays_with_the_archive(open_archive, open_source, folder):
    archive = open_archive({DANDISET: {VERSION: {PATH: folder}}}, embargoed={DANDISET}, tokens={"good-token"})
    assert content(fetch(open_source(archive, token="good-token"))) == CONTENT
    assert all("authorization" not in request.headers for request in archive.requested(ENTRIES))
