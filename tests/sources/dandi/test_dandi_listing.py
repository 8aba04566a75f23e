"""Which version of a dandiset is read, and which files of it."""

import hashlib
from dataclasses import replace

import pytest
from archive import ZARR, LoopbackArchive, body, drop, reset, status
from archive.sample import DANDISET, NWB, PATH, VERSION

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.sources.archive_paths import local_path, parse_dandiset
from nwb_latents.schemas.catalog import AssetPin, DandisetEntry

OLD, NEW = "0.230101.0000", "0.250101.0000"


def known(version, *pins):
    return DandisetEntry(title="t", version=version, layout="000688", tasks=("CO",), pins=pins)


def pin_of(archive, path, **changes):
    asset = archive.asset(DANDISET, "draft", path)
    fields = {"path": path, "asset_id": asset.asset_id, "sha256": asset.sha256, "size": asset.size}
    return AssetPin(**{**fields, **changes})


@pytest.fixture
def versions(open_archive):
    return open_archive(
        {DANDISET: {OLD: {"old.nwb": b"old"}, NEW: {"new.nwb": b"new"}, "draft": {"draft.nwb": b"draft"}}}
    )


@pytest.fixture
def draft(open_archive):
    return open_archive({DANDISET: {"draft": {PATH: NWB, "sub-B/b.nwb": b"b"}}})


def paths(source):
    return [asset.path for asset in source.assets()]


def test_most_recent_published_version_is_read_by_default(versions, open_source):
    source = open_source(versions)
    assert paths(source) == ["new.nwb"]
    assert source.version == NEW


def test_versions_of_one_day_are_ordered_by_the_minute_not_as_text(open_archive, open_source):
    early, late = "0.230101.900", "0.230101.1000"
    archive = open_archive({DANDISET: {late: {"late.nwb": b"1"}, early: {"early.nwb": b"2"}}})
    source = open_source(archive)
    assert (paths(source), source.version) == (["late.nwb"], late)
    with pytest.raises(DataError, match=f"Published versions: {early}, {late};"):
        open_source(archive, version="0.1.1").assets()


def test_pinned_version_is_preferred_to_the_most_recent(versions, open_source):
    source = open_source(versions, known=known(OLD))
    assert paths(source) == ["old.nwb"]
    assert source.notes == (f"Version {OLD} is read; the latest published one is {NEW}.",)


@pytest.mark.parametrize(("dandiset", "version"), [(f"{DANDISET}@{OLD}", None), (DANDISET, OLD)])
def test_explicit_version_is_preferred_to_the_pinned(versions, open_source, dandiset, version):
    assert paths(open_source(versions, dandiset, version=version, known=known(NEW))) == ["old.nwb"]


def test_draft_is_read_only_when_asked_for(versions, open_source):
    source = open_source(versions, f"{DANDISET}@draft", known=known(NEW))
    assert paths(source) == ["draft.nwb"]
    assert source.notes == ("The draft can change at any time; its files are not pinned.",)


def test_dandiset_with_only_a_draft_is_refused(draft, open_source):
    with pytest.raises(DataError, match=f"only a draft.*explicitly: {DANDISET}@draft"):
        open_source(draft).assets()


def test_unknown_version_names_the_published_ones(versions, open_source):
    with pytest.raises(DataError, match=f"no version 0.1.1. Published versions: {OLD}, {NEW}"):
        open_source(versions, version="0.1.1").assets()


def test_empty_version_names_the_published_ones(open_archive, open_source):
    archive = open_archive({DANDISET: {VERSION: {PATH: NWB}, "draft": {}}})
    with pytest.raises(DataError, match=f"@draft holds no files. Published versions: {VERSION}"):
        open_source(archive, version="draft").assets()


def test_unknown_dandiset_is_bad_data(archive, open_source):
    with pytest.raises(DataError, match="Dandiset 000123: not found in the archive") as caught:
        open_source(archive, "000123").assets()
    assert caught.value.exit_code == 4


def test_all_pages_are_listed_with_their_digests(open_archive, open_source):
    files = {f"sub-A/s{i:04d}.nwb": f"{i}".encode() for i in range(2300)}
    archive = open_archive({DANDISET: {VERSION: files}})
    assets = open_source(archive).assets()
    assert [asset.path for asset in assets] == sorted(files)
    assert assets[7].digest == f"sha256:{hashlib.sha256(b'7').hexdigest()}"
    pages = [request.query.get("page", "1") for request in archive.requested("*/assets/")]
    assert pages == ["1", "2", "3"]
    assert {request.query["page_size"] for request in archive.requested("*/assets/")} == {"1000"}


@pytest.mark.parametrize(
    "fault",
    [status(503), status(429, Retry_After="0"), reset(), drop(after=1000), body(b'{"results": [{"pa')],
    ids=lambda f: f.kind,
)
def test_listing_survives_a_fault_on_a_later_page(open_archive, open_source, fault):
    archive = open_archive({DANDISET: {VERSION: {f"{i:04d}.nwb": b"a" for i in range(1500)}}})
    archive.fault("*/assets/?*page=2*", fault)
    assert len(open_source(archive).assets()) == 1500
    assert [r.status for r in archive.requested("*/assets/") if r.query.get("page") == "2"][-1] == 200
    assert len(archive.requested("*/assets/")) == 3


def test_only_nwb_files_are_listed(open_archive, open_source):
    files = {"a.nwb": b"a", "movie.mp4": b"m", "dataset.json": b"{}", "b.nwb.zarr": b"not a folder"}
    files |= {"z.nwb": ZARR, "y.NWB.zarr": ZARR, "cells.ome.zarr": ZARR, "x.zarr": ZARR}
    source = open_source(open_archive({DANDISET: {VERSION: files}}))
    assert {asset.path: asset.is_zarr for asset in source.assets()} == {
        "a.nwb": False,
        "y.NWB.zarr": True,
        "z.nwb": True,
    }
    note = "2 Zarr assets are not named .nwb or .nwb.zarr and left out: cells.ome.zarr, x.zarr."
    assert source.notes == (note,)


def test_version_without_nwb_files_is_told(open_archive, open_source):
    with pytest.raises(DataError, match="holds 1 files, none of them an NWB file"):
        open_source(open_archive({DANDISET: {VERSION: {"movie.mp4": b"m"}}})).assets()


@pytest.mark.parametrize(
    "path",
    [
        *["/etc/a.nwb", "../a.nwb", "sub-A/../../a.nwb", "a//b.nwb", "./a.nwb"],
        *["C:/a.nwb", "C:a.nwb", "a\\..\\b.nwb", "a\0.nwb", "a" * 300 + ".nwb"],
    ],
)
def test_hostile_path_is_refused(open_archive, open_source, path):
    with pytest.raises(DataError, match=r"The archive lists a file at .* nothing was written"):
        open_source(open_archive({DANDISET: {VERSION: {path: b"a"}}})).assets()


def test_path_through_a_link_out_of_the_folder_is_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "sub-A").symlink_to(tmp_path)
    with pytest.raises(DataError, match="leads out of"):
        local_path(root, "sub-A/a.nwb")


def test_pinned_files_of_a_draft_are_read(draft, open_source):
    source = open_source(draft, known=known("draft", pin_of(draft, PATH)))
    (asset,) = source.assets()
    assert source.fetch(asset).read_bytes() == NWB
    assert source.notes == ("1 files of the draft are not pinned and left out: sub-B/b.nwb.",)


def test_replaced_file_of_a_draft_is_an_error(draft, open_source):
    entry = known("draft", pin_of(draft, PATH))
    draft.replace(DANDISET, "draft", PATH, b"other")
    source = open_source(draft, known=entry)
    (asset,) = source.assets()
    assert f"{PATH} was replaced in the draft since it was pinned." in source.notes
    with pytest.raises(DataError, match=rf"pinned file .*{entry.pins[0].sha256}.*no longer in the archive"):
        source.fetch(asset)
    assert draft.requested("/blob/*") == []


def test_pinned_file_that_was_replaced_is_still_read_while_the_archive_has_it(draft, open_source):
    entry = known("draft", pin_of(draft, PATH))
    old = draft.asset(DANDISET, "draft", PATH)
    draft.replace(DANDISET, "draft", PATH, b"other")
    draft.dandisets[DANDISET].versions["0.1.0"] = [old]
    source = open_source(draft, known=entry)
    assert source.fetch(source.assets()[0]).read_bytes() == NWB


def test_asset_that_differs_from_its_pin_is_an_error(draft, open_source):
    entry = known("draft", pin_of(draft, PATH, sha256="a" * 64))
    source = open_source(draft, known=entry)
    (asset,) = source.assets()
    with pytest.raises(DataError, match=f"replaced in the archive since it was pinned: pinned {'a' * 64}"):
        source.fetch(asset)
    assert draft.requested("/blob/*") == []


def test_pin_is_held_against_the_bytes_when_the_archive_states_no_sha256(draft, open_source):
    entry = known("draft", pin_of(draft, PATH))
    asset = draft.asset(DANDISET, "draft", PATH)
    asset.content, asset.sha256 = b"x" * len(NWB), None
    asset.dandi_etag = type(asset).of(DANDISET, "draft", PATH, asset.content).dandi_etag
    source = open_source(draft, known=entry)
    with pytest.raises(DataError, match="its sha256 is"):
        source.fetch(source.assets()[0])


def test_asset_that_only_got_another_id_is_read(draft, open_source):
    entry = known("draft", pin_of(draft, PATH, asset_id="00000000-0000-0000-0000-000000000000"))
    source = open_source(draft, known=entry)
    assert source.fetch(source.assets()[0]).read_bytes() == NWB


@pytest.mark.parametrize("name", ["688", "000688@", "000688@latest", "../000688", "000688@0.1/..", ""])
def test_name_that_is_no_dandiset_is_refused(name):
    with pytest.raises(SettingsError, match="is not a dandiset"):
        parse_dandiset(name)


def test_source_asks_nothing_before_it_is_used(archive: LoopbackArchive, open_source):
    open_source(archive)
    assert archive.requests == []


def test_a_file_known_by_its_path_alone_is_that_of_exactly_this_path(open_archive, open_source):
    files = {"SUB-A/a.nwb": b"upper case", "sub-A/a.nwb.nwb": b"longer", "sub-A/a.nwb": NWB}
    source = open_source(open_archive({DANDISET: {VERSION: files}}))
    (asset,) = [each for each in source.assets() if each.path == "sub-A/a.nwb"]
    assert source.fetch(replace(asset, asset_id=None)).read_bytes() == NWB


def test_a_file_known_by_its_path_alone_that_is_gone_is_not_another_of_like_name(open_archive, open_source):
    archive = open_archive({DANDISET: {"draft": {"sub-A/a.nwb": NWB, "sub-A/a.nwb.nwb": b"longer"}}})
    source = open_source(archive, f"{DANDISET}@draft")
    asset = replace(source.assets()[0], asset_id=None)
    del archive.dandisets[DANDISET].versions["draft"][0]
    with pytest.raises(DataError, match="not found in the archive"):
        source.fetch(asset)
