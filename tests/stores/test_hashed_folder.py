"""Stores that sum up what is written to them: the digests are those of the files that are there."""

import asyncio

import numpy as np
import pytest
import zarr
from zarr.core.buffer.cpu import Buffer

from nwb_latents.pipeline.stores import hashed_folder as room
from nwb_latents.pipeline.stores.hashed_folder import hashed_folder
from nwb_latents.pipeline.stores.manifest import file_digest, manifest_of


def write(store, key, content, *, only_new=False):
    put = store.set_if_not_exists if only_new else store.set
    asyncio.run(put(key, Buffer.from_bytes(content)))


def test_they_are_those_of_the_files(tmp_path):
    with hashed_folder(tmp_path) as store:
        array = zarr.create_array(
            store, name="a/x", shape=(300, 7), chunks=(10, 7), shards=(300, 7), dtype=float
        )
        array[:] = np.random.default_rng(0).normal(size=(300, 7))
        found = store.digests()
    assert {"a/x/zarr.json", "a/x/c/0/0"} <= set(found)
    assert all(file_digest(tmp_path / name) == digest for name, digest in found.items())


def test_a_file_written_again_has_the_digest_of_its_last_content(tmp_path):
    with hashed_folder(tmp_path) as store:
        write(store, "a", b"first")
        write(store, "a", b"other")
        found = store.digests()
    assert found["a"] == file_digest(tmp_path / "a")


def test_what_was_written_in_another_way_is_read_for_the_manifest(tmp_path):
    with hashed_folder(tmp_path) as store:
        write(store, "a", b"old")
        (tmp_path / "a").unlink()
        write(store, "a", b"new", only_new=True)
        (tmp_path / "b").write_bytes(b"beside it")
        manifest = manifest_of(tmp_path, known=store.digests())
    assert manifest == manifest_of(tmp_path)


def test_a_file_cut_short_beside_the_store_is_read_for_the_manifest(tmp_path):
    with hashed_folder(tmp_path) as store:
        write(store, "a", b"0123456789")
        (tmp_path / "a").write_bytes(b"0")
        assert manifest_of(tmp_path, known=store.digests()) == manifest_of(tmp_path)


def test_a_large_file_that_cannot_be_brought_to_the_disk_is_an_error(tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(room, "flush_file", refuse)
    monkeypatch.setattr(room, "FLUSHED_AT_ONCE_BYTES", 4)
    with hashed_folder(tmp_path) as store:
        write(store, "small", b"123")
        store.digests()
        write(store, "large", b"1234")
        with pytest.raises(OSError, match="Input/output"):
            store.digests()
