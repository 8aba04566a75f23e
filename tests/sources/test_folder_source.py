"""Files that already lie on this machine."""

import hashlib
import os
import platform
import shutil

import pytest

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.sources.asset import Asset
from nwb_latents.pipeline.sources.folder import FolderSource, digest_file


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def paths(*places):
    return [asset.path for asset in FolderSource(places).assets()]


def test_folder_is_searched_to_the_bottom_and_sorted(tmp_path):
    put(tmp_path, "sub-B/b.nwb", "a.nwb", "sub-A/x/c.NWB", "notes.txt", "d.nwb.part")
    assert paths(tmp_path) == ["a.nwb", "sub-A/x/c.NWB", "sub-B/b.nwb"]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    put(tmp_path, "a.nwb", ".b.nwb", ".git/annex/c.nwb")
    assert paths(tmp_path) == ["a.nwb"]


def test_file_is_fetched_in_place(tmp_path):
    source = FolderSource([put(tmp_path, "sub-A/a.nwb")])
    (asset,) = source.assets()
    assert asset == Asset(path="sub-A/a.nwb", size=len("sub-A/a.nwb"))
    seen = []
    assert source.fetch(asset, lambda *progress: seen.append(progress)) == tmp_path / "sub-A/a.nwb"
    assert seen == [(asset.size, asset.size)]


def test_fetch_in_another_process_needs_no_listing(tmp_path):
    put(tmp_path, "a.nwb")
    assert FolderSource([tmp_path]).fetch(Asset("a.nwb", 5)) == tmp_path / "a.nwb"


def test_file_given_by_name_is_taken_whatever_its_name(tmp_path):
    put(tmp_path, "recording.h5")
    assert paths(tmp_path / "recording.h5") == ["recording.h5"]


def test_file_reached_twice_is_listed_once(tmp_path):
    put(tmp_path, "sub-A/a.nwb")
    assert paths(tmp_path, tmp_path / "sub-A", tmp_path / "sub-A/a.nwb") == ["sub-A/a.nwb"]


def test_files_of_the_same_name_stay_apart(tmp_path):
    put(tmp_path, "one/a.nwb", "two/a.nwb")
    source = FolderSource([tmp_path / "one", tmp_path / "two"])
    assets = source.assets()
    assert len({asset.path for asset in assets}) == 2
    assert {source.fetch(asset) for asset in assets} == {tmp_path / "one/a.nwb", tmp_path / "two/a.nwb"}


def test_missing_path_is_told(tmp_path):
    with pytest.raises(DataError, match=r"no such file or folder\. Check the path"):
        paths(tmp_path / "nothing")


@pytest.mark.parametrize("places", [0, 1])
def test_no_file_at_all_is_told(tmp_path, places):
    with pytest.raises(DataError, match=r"No NWB file in .*named \*\.nwb"):
        paths(*[tmp_path] * places)


def test_link_without_target_and_zarr_folder_are_noted(tmp_path):
    put(tmp_path, "a.nwb", "zarr.nwb/inner.nwb")
    (tmp_path / "annexed.nwb").symlink_to(tmp_path / "gone")
    source = FolderSource([tmp_path])
    assert [asset.path for asset in source.assets()] == ["a.nwb"]
    assert len(source.notes) == 2
    with pytest.raises(DataError, match="datalad get"):
        paths(tmp_path / "annexed.nwb")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads every folder")
def test_unreadable_folder_is_told(tmp_path):
    put(tmp_path, "a.nwb", "closed/b.nwb")
    (tmp_path / "closed").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        paths(tmp_path)


def test_file_that_vanished_is_told(tmp_path):
    source = FolderSource([put(tmp_path, "a.nwb")])
    (asset,) = source.assets()
    (tmp_path / "a.nwb").unlink()
    with pytest.raises(DataError, match="gone since it was listed"):
        source.fetch(asset)


def test_a_machine_that_does_not_see_the_folder_says_which_it_is(tmp_path):
    source = FolderSource([put(tmp_path / "nwb", "a.nwb")])
    (asset,) = source.assets()
    shutil.rmtree(tmp_path / "nwb")
    with pytest.raises(MachineError, match=f"{platform.node()} does not see its folder"):
        source.fetch(asset)


def test_digest_is_that_of_the_content(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a.nwb").write_bytes(content)
    seen = []
    digest = digest_file(tmp_path / "a.nwb", lambda *progress: seen.append(progress))
    assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert seen[-1] == (len(content), len(content))
