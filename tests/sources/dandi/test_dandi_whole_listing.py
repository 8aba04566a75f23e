"""A listing is whole, of the archive asked, and bounded, or there is none."""

from __future__ import annotations

import gzip
import itertools
import json

import pytest
from archive import body
from archive.sample import DANDISET, NWB, PATH, VERSION
from archive.shelf import ShelvedAsset

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.sources import archive_session, bodies
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

ASSETS = "/api/dandisets/*/assets/"


@pytest.fixture
def draft(open_archive):
    return open_archive({DANDISET: {"draft": {f"s{i:04d}.nwb": b"%d" % i for i in range(1500)}}})


def listed(archive, open_source):
    return [asset.path for asset in open_source(archive, f"{DANDISET}@draft").assets()]


def assets_of(archive):
    return archive.dandisets[DANDISET].versions["draft"]


def one(name):
    return ShelvedAsset.of(DANDISET, "draft", name, b"new")


@pytest.mark.parametrize(
    "edit",
    [
        lambda assets: assets.pop(0),
        lambda assets: assets.insert(0, one("r.nwb")),
        lambda assets: assets.__setitem__(0, one("s1499x.nwb")),
    ],
    ids=["removed", "added", "moved"],
)
def test_draft_that_is_edited_between_two_pages_is_listed_again(draft, open_source, edit):
    draft.after(f"{ASSETS}?*", lambda: edit(assets_of(draft)))
    assert listed(draft, open_source) == sorted(asset.path for asset in assets_of(draft))


def test_draft_that_is_edited_all_the_time_is_refused(draft, open_source):
    names = itertools.count()
    for _ in range(20):
        draft.after(f"{ASSETS}?*", lambda: assets_of(draft).insert(0, one(f"a{next(names)}.nwb")))
    with pytest.raises(MachineError, match=r"cannot be listed: .* on each of 5 listings.*Someone is editing"):
        listed(draft, open_source)


def test_listing_that_lacks_a_file_the_version_states_is_refused(archive, open_source):
    archive.tamper(ASSETS, lambda page: {**page, "results": page["results"][:-1]})
    with pytest.raises(
        MachineError, match=r"0 files were listed where 1 are stated.*report it to the archive"
    ):
        open_source(archive).assets()


def test_listing_that_has_one_file_twice_in_place_of_another_is_refused(open_archive, open_source):
    archive = open_archive({DANDISET: {VERSION: {"a.nwb": b"a", "b.nwb": b"b"}}})
    archive.tamper(ASSETS, lambda page: {**page, "results": page["results"][:1] * 2})
    with pytest.raises(MachineError, match=r"a file was listed twice"):
        open_source(archive).assets()


def test_page_that_follows_itself_is_an_error(archive, open_source):
    url = f"{archive.url}/api/dandisets/{DANDISET}/versions/{VERSION}/assets/"
    query = "?order=path&metadata=true&page_size=1000"
    archive.tamper(ASSETS, lambda page: {**page, "next": url + query})
    with pytest.raises(MachineError, match="goes in circles"):
        open_source(archive).assets()
    assert len(archive.requested(ASSETS)) == 1


@pytest.mark.parametrize(
    "link", ["http://localhost:1/api/x/", "https://evil.org/", "//evil.org/a", "http://[", "/"]
)
def test_page_that_goes_on_elsewhere_is_an_error(archive, open_source, link):
    archive.tamper(ASSETS, lambda page: {**page, "next": link})
    with pytest.raises(MachineError, match=r"next page would be at .* not this listing's address"):
        open_source(archive).assets()


def test_listing_without_end_is_bounded(archive, open_source):
    numbers, files = itertools.count(2), []

    def endless(page):
        files.extend(page["results"])
        link = f"{archive.url}/api/dandisets/{DANDISET}/versions/{VERSION}/assets/?page={next(numbers)}"
        return {**page, "next": link, "results": files[:1] * 100}

    archive.tamper(ASSETS, endless)
    with pytest.raises(MachineError, match="it lists more than 1001 files"):
        open_source(archive).assets()


def test_answer_that_unfolds_without_end_takes_no_memory(archive, open_source, monkeypatch):
    monkeypatch.setattr(archive_session, "MOST_ANSWER_BYTES", 1 << 22)
    bomb = gzip.compress(b" " * (1 << 27))
    archive.fault(ASSETS, body(bomb, Content_Encoding="gzip"), times=None)
    with pytest.raises(MachineError, match="it is larger than 4 MiB"):
        open_source(archive).assets()


def test_answer_compressed_twice_is_not_unfolded(archive, open_source):
    bomb = gzip.compress(gzip.compress(b"{}"))
    archive.fault(ASSETS, body(bomb, Content_Encoding="gzip, gzip"), times=None)
    with pytest.raises(MachineError, match="compressed as 'gzip, gzip', which was not asked for"):
        open_source(archive).assets()


def test_listing_that_trickles_is_given_up(archive, open_source, monkeypatch):
    seconds = itertools.count(0, 31)
    monkeypatch.setattr(bodies, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(bodies, "BLOCK_BYTES", 10)
    with pytest.raises(MachineError, match=r"cannot be reached \(the server sent \d+ bytes in 62 s"):
        open_source(archive).assets()


def test_wait_of_more_than_ten_seconds_is_said(archive, open_source, waits, caplog):
    archive.fault(ASSETS, replace_after(57))
    open_source(archive).assets()
    assert waits == [57.0]
    (said,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert f"Dandiset {DANDISET}@{VERSION}: the server answered with status 429; waiting 57 s" in said


def test_an_hour_is_not_waited_for(archive, open_source, waits):
    archive.fault(ASSETS, replace_after(3600))
    with pytest.raises(MachineError, match="answered with status 429 and asks to wait 3600 s"):
        open_source(archive).assets()
    assert waits == []


def replace_after(seconds):
    from archive import too_many_requests

    return too_many_requests(seconds)


def changed(**values):
    def change(page):
        page["results"][0].update(values)
        return page

    return change


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"size": None}, rf"at results.0.size \(of {PATH}\): found None"),
        ({"size": "12"}, r"at results.0.size .*found '12'"),
        ({"size": -1}, r"at results.0.size .*found -1"),
        ({"size": True}, r"at results.0.size .*found True"),
        ({"size": 1e400}, r"at results.0.size .*found inf"),
        ({"path": None}, r"at results.0.path: found None"),
        ({"path": ""}, r"at results.0.path: found ''"),
        ({"path": "a\ud800.nwb"}, r"at results.0.path .*found 'a\\ud800.nwb'"),
        ({"asset_id": "../../evil"}, r"at results.0.asset_id .*found '../../evil'"),
        ({"asset_id": 3}, r"at results.0.asset_id .*found 3"),
        ({"zarr": {"a": 1}}, r"at results.0.zarr .*found a mapping of 1"),
        ({"metadata": "abc"}, r"at results.0.metadata .*found 'abc'"),
        ({"metadata": {"digest": "abc"}}, r"at results.0.metadata.digest .*found 'abc'"),
        ({"metadata": {"digest": {"dandi:sha2-256": "abc"}}}, r"at results.0.metadata.digest.dandi:sha2-256"),
        (
            {"metadata": {"digest": {"dandi:sha2-256": 7}}},
            r"at results.0.metadata.digest.dandi:sha2-256 .*found 7",
        ),
    ],
    ids=str,
)
def test_malformed_file_is_told_with_its_place(archive, open_source, values, says):
    archive.tamper(ASSETS, changed(**values))
    with pytest.raises(MachineError, match=f"is not understood: {says}") as caught:
        open_source(archive).assets()
    assert "--instance URL" in str(caught.value)
    str(caught.value).encode("ascii")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"results": 3}', "at results: found 3"),
        (b'{"results": [null]}', "at results.0: found None"),
        (b'{"results": [], "next": 7}', "at next: found 7"),
        (b"[]", "at its top: found a list of 0"),
        (b"null", "at its top: found None"),
        (b'{"results": [], "count": ' + b"9" * 6000 + b"}", "no whole JSON"),
        (b"\xff\xfe{", "no whole JSON"),
        (b"", "no whole JSON"),
    ],
    ids=range(9),
)
def test_malformed_page_is_told(archive, open_source, content, says):
    archive.fault(ASSETS, body(content), times=None)
    with pytest.raises(MachineError, match=says):
        open_source(archive).assets()


@pytest.mark.parametrize("where", ["/api/dandisets/*/", "/api/assets/*/info/"])
@pytest.mark.parametrize(
    "content",
    [b"[]", b"7", b'{"version": 3, "identifier": null, "path": null}', b"[" * 100_000],
    ids=range(4),
)
def test_no_malformed_answer_is_a_traceback(archive, open_source, where, content):
    source = open_source(archive)
    archive.fault(where, body(content), times=None)
    with pytest.raises(MachineError, match="is not understood"):
        source.fetch(source.assets()[0])


@pytest.mark.parametrize("content", [b"[]", b"7", b"null", b"[" * 100_000], ids=range(4))
def test_server_that_does_not_say_what_it_is_is_none_of_ours(archive, open_source, content):
    archive.fault("/api/info/", body(content), times=None)
    with pytest.raises(MachineError, match=r"Archive: .* is not understood"):
        open_source(archive).assets()


def test_answers_of_other_fields_are_read(archive, open_source):
    archive.tamper(ASSETS, changed(novelty=json.loads("[1, {}]")))
    source = open_source(archive, policy=RetryPolicy(attempts=1))
    assert source.fetch(source.assets()[0]).read_bytes() == NWB
