"""The loopback archive answers the `dandi` client as the archive does."""

import hashlib

import pytest
import requests

from archive import LoopbackArchive, short_body, wrong_etag

FILES = {f"sub-A/s{i:03d}.nwb": f"content {i}".encode() for i in range(130)}
DRAFT = {"sub-B/b.nwb": b"b"}


@pytest.fixture(scope="module")
def archive():
    with LoopbackArchive(
        {"000999": {"0.240101.0000": FILES, "draft": DRAFT}, "000001": {"draft": DRAFT}}
    ) as it:
        yield it


@pytest.fixture(scope="module")
def client(archive):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DANDI_NO_ET", "1")
        patch.setenv("NO_PROXY", "127.0.0.1")
        from dandi.dandiapi import DandiAPIClient

        with DandiAPIClient.for_dandi_instance(archive.url, token="good-token") as client:
            yield client


@pytest.fixture
def dandiset(client):
    return client.get_dandiset("000999", lazy=False)


def test_versions(client, dandiset):
    assert dandiset.version_id == "0.240101.0000"
    assert [version.identifier for version in dandiset.get_versions()] == ["draft", "0.240101.0000"]
    assert client.get_dandiset("000001", lazy=False).version_id == "draft"
    assert dandiset.get_raw_metadata()["version"] == "0.240101.0000"
    assert [d.identifier for d in client.get_dandisets()] == ["000999", "000001"]


def test_pages_count_on_the_first_only(archive, dandiset):
    assert [asset.path for asset in dandiset.get_assets(order="path")] == sorted(FILES)
    url = f"{archive.url}/api/dandisets/000999/versions/0.240101.0000/assets/"
    pages = [requests.get(url, params={"page": page}, timeout=5).json() for page in (1, 2, 3)]
    assert [page["count"] for page in pages] == [130, None, None]
    assert [len(page["results"]) for page in pages] == [100, 30, 0]
    assert pages[0]["next"].endswith("?page=2")


def test_choice_by_prefix_glob_and_path(dandiset):
    assert len(list(dandiset.get_assets_with_path_prefix("sub-A/s00"))) == 10
    assert len(list(dandiset.get_assets_by_glob("*/s*9.nwb"))) == 13
    assert dandiset.get_asset_by_path("sub-A/s005.nwb").size == len("content 5")


def test_metadata_and_content(dandiset, tmp_path):
    asset = dandiset.get_asset_by_path("sub-A/s005.nwb")
    assert asset.get_digest().value == hashlib.md5(hashlib.md5(b"content 5").digest()).hexdigest() + "-1"
    assert asset.get_raw_metadata()["contentSize"] == 9
    asset.download(tmp_path / "a.nwb")
    assert (tmp_path / "a.nwb").read_bytes() == b"content 5"
    assert b"".join(asset.get_download_file_iter()(4)) == b"ent 5"


@pytest.mark.parametrize(
    ("wanted", "status", "body"),
    [
        ("bytes=0-2", 206, b"con"),
        ("bytes=4-", 206, b"ent 5"),
        ("bytes=-3", 206, b"t 5"),
        ("bytes=4-400", 206, b"ent 5"),
        ("bytes=9-", 416, None),
        ("bytes=0-1,3-4", 200, b"content 5"),
    ],
)
def test_ranges_of_the_storage(dandiset, wanted, status, body):
    url = dandiset.get_asset_by_path("sub-A/s005.nwb").get_content_url(follow_redirects=1)
    answer = requests.get(url, headers={"Range": wanted}, timeout=5)
    assert answer.status_code == status
    assert body is None or answer.content == body


def test_fault_happens_as_often_as_ordered(archive, dandiset):
    asset = dandiset.get_asset_by_path("sub-A/s006.nwb")
    url = asset.get_content_url(follow_redirects=1)
    right = requests.head(url, timeout=5).headers["ETag"]
    archive.fault("/blob/*", short_body(by=2))
    archive.fault("/blob/*", wrong_etag())
    answers = [requests.get(url, timeout=5) for _ in range(3)]
    assert [answer.content for answer in answers] == [b"content", b"content 6", b"content 6"]
    assert [answer.headers["ETag"] == right for answer in answers] == [True, False, True]


def test_draft_of_a_published_dandiset_reads_published(dandiset):
    assert dandiset.for_version("draft").version.status.value == "Published"
    assert dandiset.version.status.value == "Valid"
