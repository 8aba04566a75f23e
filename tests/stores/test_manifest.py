"""The manifest of a store: it lists every file, and no reader takes a damaged file for numbers."""

import hashlib
import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from nwb_latents.pipeline.errors import DataError, NewerFileError
from nwb_latents.pipeline.stages.unforeseen import unforeseen_words
from nwb_latents.pipeline.stores.damaged_chunk import damaged_chunk
from nwb_latents.pipeline.stores.location import COMPLETE_WHEN
from nwb_latents.pipeline.stores.manifest import MANIFEST, file_faults, read_manifest, require_whole
from nwb_latents.pipeline.stores.trials import (
    read_attributes,
    read_continuous,
    read_trials,
    write_store,
)

SHARD = "trials/rates/c/0/0/0"


@pytest.fixture(params=["disk", "object storage"])
def where(request, tmp_path):
    """Return where a store is written: both kinds of place keep the same promises."""
    if request.param == "disk":
        return tmp_path / "stores" / "s.zarr"
    return request.getfixturevalue("bucket") / "stores" / "s.zarr"


@pytest.fixture
def store(tmp_path, make_groups):
    path = tmp_path / "s.zarr"
    write_store(path, *make_groups())
    return path


def change(where, name, content):
    """Write a file of a store as something else would."""
    if hasattr(where, "objects"):
        where.objects.write_all({name: content})
    else:
        (where / name).write_bytes(content)


def content_of(where, name):
    return where.read(name) if hasattr(where, "objects") else (where / name).read_bytes()


def test_it_lists_every_file_with_its_size_and_digest(store):
    listed = json.loads((store / MANIFEST).read_text())["files"]
    files = {p.relative_to(store).as_posix(): p for p in store.rglob("*") if p.is_file()}
    assert set(listed) == set(files) - {MANIFEST}
    for name, said in listed.items():
        content = files[name].read_bytes()
        assert said == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}, name


def test_the_same_store_has_the_same_manifest(tmp_path, make_groups):
    for name in "ab":
        write_store(tmp_path / name, *make_groups())
    assert (tmp_path / "a" / MANIFEST).read_bytes() == (tmp_path / "b" / MANIFEST).read_bytes()


def test_readers_of_zarr_do_not_see_it(store):
    """It says nothing of arrays, so what other programs read is what it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(store / "trials", mode="r")
        assert "counts" in group
        with xr.open_zarr(store, group="continuous") as dataset:
            assert dataset.sizes["time"] > 0


def test_on_object_storage_what_is_visible_has_its_manifest(bucket, make_groups, monkeypatch):
    where = bucket / "s.zarr"
    kind, sent = type(where.objects), []
    write_all = kind.write_all

    def seen(self, contents):
        sent.append(sorted(contents))
        write_all(self, contents)

    monkeypatch.setattr(kind, "write_all", seen)
    write_store(where, *make_groups())
    assert sent[-2:] == [[MANIFEST], [COMPLETE_WHEN]]
    assert set(read_manifest(where, remedy="").files) == {name for names in sent for name in names} - {
        MANIFEST
    }


def test_zarr_takes_a_file_of_no_bytes_for_zeros_and_this_program_does_not(where, make_groups):
    write_store(where, *make_groups())
    shard = "trials/counts/c/0/0/0"
    change(where, shard, b"")
    if not hasattr(where, "objects"):
        taken = zarr.open_group(where, mode="r")["trials/counts"][...]
        assert np.array_equal(taken, np.zeros_like(taken)), "this is what the numbers would have been"
    with pytest.raises(DataError) as refused:
        _ = read_trials(where)["counts"].values
    said = str(refused.value)
    assert f"{shard} has 0 bytes, expected " in said
    assert "--force" in said


@pytest.mark.parametrize("had_manifest", [True, False])
def test_a_file_of_no_bytes_is_refused_in_stores_without_a_manifest_too(store, had_manifest):
    if not had_manifest:
        (store / MANIFEST).unlink()
    (store / SHARD).write_bytes(b"")
    with pytest.raises(DataError, match=r"rates/c/0/0/0 has 0 bytes"):
        _ = read_trials(store)["rates"].values


@pytest.mark.parametrize("name", ["trials/rates", "trials/condition"])
def test_a_chunk_that_cannot_be_unpacked_is_told_as_damage_in_stores_without_a_manifest(store, name):
    (store / MANIFEST).unlink()
    chunk = next(path for path in (store / name / "c").rglob("*") if path.is_file())
    content = chunk.read_bytes()
    chunk.write_bytes(content[:3] + bytes(len(content) - 3))
    with pytest.raises((DataError, RuntimeError, ValueError)) as refused:
        _ = read_trials(store)[name.split("/")[1]].values
    # Whatever is read later than the store is opened is told by whoever tells of errors.
    said = str(refused.value) if isinstance(refused.value, DataError) else damaged_chunk(refused.value)
    assert "damaged" in said or "cannot be unpacked" in said
    assert "--force" in said
    assert "cannot be unpacked" in unforeseen_words("s", refused.value) or name in said


DAMAGE = {
    "short": (lambda content: content[:-1], r"has [\d,]+ bytes, expected [\d,]+: it was cut short"),
    "long": (lambda content: content + b"\0", r"has [\d,]+ bytes, expected [\d,]+: something else wrote"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [SHARD, "trials/unit/c/0", "trials/split/c/0", "trials/zarr.json"])
def test_a_file_of_another_length_is_refused_when_it_is_read(store, name, damage):
    spoil, expected = DAMAGE[damage]
    (store / name).write_bytes(spoil((store / name).read_bytes()))
    with pytest.raises(DataError, match=f"{re.escape(name)} {expected}.*force"):
        _ = read_trials(store)["rates"].values


def test_a_file_that_is_gone_is_refused_when_it_is_read(where, make_groups):
    write_store(where, *make_groups())
    if hasattr(where, "objects"):
        where.objects.delete([SHARD])
    else:
        (where / SHARD).unlink()
    with pytest.raises(DataError, match=rf"{SHARD} is not there.*--force"):
        _ = read_trials(where)["rates"].values


def test_what_is_not_read_is_not_asked_for(store, monkeypatch):
    """A thousand sessions are opened for training: only files that are read may cost a call."""
    asked, stat = [], Path.stat

    def seen(self, **words):
        asked.append(str(self))
        return stat(self, **words)

    monkeypatch.setattr(Path, "stat", seen)
    trials = read_trials(store)
    mine = [path for path in asked if path.startswith(str(store) + "/")]
    assert not [path for path in mine if "/rates/" in path or "/continuous/" in path]
    for _ in range(2):
        _ = trials["rates"].isel(trial=[0]).values
    assert sum(path.endswith(SHARD) for path in asked) == 1


def test_a_store_without_a_manifest_is_read_as_it_was(store, make_groups):
    (store / MANIFEST).unlink()
    trials, continuous = make_groups()
    assert read_attributes(store) is not None
    assert np.array_equal(read_trials(store)["counts"].values, trials["counts"].values)
    assert np.array_equal(read_continuous(store)["counts"].values, continuous["counts"].values)
    require_whole(store, [SHARD], remedy="")


@pytest.mark.parametrize(
    "written", [b"", b"{", b"[]", b'{"files": 3}', b'{"files": {"a": {"size": -1}}}', b"\xff"]
)
def test_a_damaged_manifest_is_refused(store, written):
    (store / MANIFEST).write_bytes(written)
    with pytest.raises(DataError, match=r"manifest\.json.*--force"):
        read_trials(store)


def test_a_manifest_of_a_newer_version_says_so(store):
    (store / MANIFEST).write_text('{"schema_version": 2, "files": [1]}')
    with pytest.raises(NewerFileError, match="Update it"):
        read_trials(store)


def test_faults_are_all_told_and_quick_looks_at_sizes_alone(where, make_groups):
    write_store(where, *make_groups())
    flipped = bytearray(content_of(where, SHARD))
    flipped[len(flipped) // 2] ^= 1
    change(where, SHARD, bytes(flipped))
    change(where, "continuous/counts/c/0/0", b"")
    manifest = read_manifest(where, remedy="")
    found = {fault.name: fault.kind for fault in file_faults(where, manifest)}
    assert found == {SHARD: "content", "continuous/counts/c/0/0": "size"}
    quick = {fault.name: fault.kind for fault in file_faults(where, manifest, sizes_only=True)}
    assert quick == {"continuous/counts/c/0/0": "size"}


def test_a_store_that_was_removed_lists_all_its_files_as_missing(store):
    manifest = read_manifest(store, remedy="")
    shutil.rmtree(store)
    assert {fault.kind for fault in file_faults(store, manifest)} == {"missing"}
    assert len(list(file_faults(store, manifest))) == len(manifest.files)


@pytest.mark.parametrize("name", ["trials/zarr.json", "trials/unit/c/0", "trials/rates/c/0/0/0"])
def test_a_file_of_another_content_is_refused_when_it_is_read(store, name):
    path = store / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if name != "trials/zarr.json" else path.read_bytes().replace(b"0.02", b"0.05"))
    with pytest.raises(DataError, match=rf"{name} has another content.*ingest again"):
        read_trials(store).load()


def test_files_exchanged_are_refused_though_each_is_whole(store):
    one, other = store / "trials/position/c/0/0/0", store / "trials/velocity/c/0/0/0"
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    with pytest.raises(DataError, match=r"trials/(position|velocity)/c/0/0/0 has"):
        read_trials(store).load()


def test_a_link_to_itself_is_a_file_that_is_missing(store):
    path = store / "trials/rates/c/0/0/0"
    path.unlink()
    path.symlink_to(path.name)
    faults = list(file_faults(store, read_manifest(store, remedy="")))
    assert [(fault.name, fault.kind) for fault in faults] == [("trials/rates/c/0/0/0", "missing")]
