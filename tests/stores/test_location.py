"""Where a store lies: below the catalog, elsewhere on this machine, on object storage."""

from pathlib import Path

import pytest

from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.stores.location import StoreLocation, store_path


@pytest.mark.parametrize(
    ("store", "found"),
    [
        ("stores/r/a.zarr", "/data/stores/r/a.zarr"),
        ("/elsewhere/a.zarr", "/elsewhere/a.zarr"),
        ("s3://lab/p/a.zarr", "s3://lab/p/a.zarr"),
    ],
)
def test_what_the_catalog_says_leads_there_and_back(store, found):
    place = store_path(Path("/data/catalog.yaml"), store)
    assert str(place) == found
    assert place.in_catalog(Path("/data/catalog.yaml")) == store


def test_store_below_a_catalog_reached_through_a_link_is_named_relative_to_it(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    place = StoreLocation.parse(tmp_path / "real" / "stores" / "a.zarr")
    assert place.in_catalog(tmp_path / "link" / "catalog.yaml") == "stores/a.zarr"


@pytest.mark.parametrize("text", ["s3://lab/p/a.zarr/", "s3://lab//p///a.zarr"])
def test_slashes_too_many_make_no_other_place(text):
    assert StoreLocation.parse(text) == StoreLocation.parse("s3://lab/p/a.zarr")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gs://lab/a.zarr", "s3://BUCKET/PREFIX"),
        ("https://host/lab/a.zarr", "s3://BUCKET/PREFIX"),
        ("s3://", "cannot be a bucket"),
        ("s3:///a.zarr", "cannot be a bucket"),
        ("s3://la b/a.zarr", "cannot be a bucket"),
        ("s3://lab/../other/a.zarr", "no '.' and '..'"),
    ],
)
def test_impossible_places_are_refused(text, complaint):
    with pytest.raises(SettingsError, match=complaint):
        StoreLocation.parse(text)


def test_joining_cannot_leave_the_prefix():
    with pytest.raises(SettingsError):
        _ = StoreLocation.parse("s3://lab/p") / "../q"


@pytest.mark.parametrize("root", ["s3://lab/p", "/data"])
def test_parts_of_a_place(root):
    place = StoreLocation.parse(root) / "r" / "sub-C.zarr"
    assert (place.name, place.stem, str(place.parent)) == ("sub-C.zarr", "sub-C", f"{root}/r")
    assert str(place.parent.parent) == root


def test_remote_place_is_no_path_of_this_machine():
    with pytest.raises(MachineError, match="needs a folder of this machine"):
        Path(StoreLocation.parse("s3://lab/a.zarr"))
    assert Path(StoreLocation.parse("/data/a.zarr")) == Path("/data/a.zarr")


@pytest.mark.parametrize("kind", ["folder", "remote"])
def test_store_exists_until_it_is_removed(kind, tmp_path, request, make_groups):
    from nwb_latents.pipeline.stores.trials import write_store

    root = StoreLocation.parse(tmp_path) if kind == "folder" else request.getfixturevalue("bucket")
    place, other = root / "s.zarr", root / "s.zarr2"
    assert not place.exists()
    assert place.modified() is None
    place.remove()
    write_store(place, *make_groups())
    write_store(other, *make_groups())
    assert place.exists()
    assert place.modified().tzinfo is not None
    place.remove()
    assert not place.exists()
    assert other.exists()
