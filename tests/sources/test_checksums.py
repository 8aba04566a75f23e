"""Digests of files, and what is remembered of them."""

import os

import pytest
from dandischema.digests import dandietag
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.sources.checksums import (
    ContentDigester,
    digest_content,
    digest_file,
    digest_of_folder,
    forget_file,
    recall_digests,
    remember_digests,
    verified_digest,
)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 7 bytes instead of 64 MiB."""
    monkeypatch.setattr(dandietag.PartGenerator, "DEFAULT_PART_SIZE", 7)
    monkeypatch.setattr(dandietag.PartGenerator, "MIN_PART_SIZE", 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(pieces=st.lists(st.binary(max_size=30), max_size=8))
def test_dandi_etag_is_the_archives_whatever_the_pieces(small_parts, pieces):
    content = b"".join(pieces)
    theirs = dandietag.DandiETag(file_size=len(content))
    for part in theirs.get_parts():
        theirs.update(content[part.offset : part.offset + part.size])
    ours = ContentDigester(len(content))
    for piece in pieces:
        ours.update(piece)
    assert ours.digests().dandi_etag == theirs.as_str()


def test_dandi_etag_of_a_real_asset():
    """MD5 of the MD5s: for one part, of the single MD5."""
    ours = ContentDigester(3)
    ours.update(b"abc")
    assert ours.digests().dandi_etag == "af5da9f45af7a300e3aded972f8ff687-1"


def test_the_digest_of_a_folder_is_of_names_and_contents_whatever_their_order():
    files = {"b": "sha256:01", "a/c": "sha256:00", "a": "sha256:02"}
    turned = dict(reversed(files.items()))
    assert digest_of_folder(files) == digest_of_folder(turned)
    others = [{**files, "b": "sha256:03"}, {"x" if k == "b" else k: v for k, v in files.items()}]
    assert len({digest_of_folder(each) for each in (files, *others)}) == 3


def test_remembered_digests_hold_until_the_file_changes(tmp_path):
    path = tmp_path / "a.nwb"
    path.write_bytes(b"abc")
    digests = digest_content(path)
    remember_digests(path, digests)
    assert recall_digests(path) == digests
    path.write_bytes(b"abcd")
    os.utime(path, ns=(0, 0))
    assert recall_digests(path) is None
    assert verified_digest(path) == digest_file(path)


def test_remembered_digest_spares_the_reading(tmp_path):
    path = tmp_path / "a.nwb"
    path.write_bytes(b"abc")
    remember_digests(path, digest_content(path))
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"xyz")
    os.utime(path, ns=(stamp, stamp))
    assert verified_digest(path) != digest_file(path)


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"size": 3}', "\0", '{"size": "3", "mtime_ns": null}'])
def test_damaged_note_is_worth_nothing(tmp_path, note):
    path = tmp_path / "a.nwb"
    path.write_bytes(b"abc")
    (tmp_path / "a.nwb.verified").write_text(note)
    assert recall_digests(path) is None
    assert verified_digest(path) == digest_file(path)


def test_forgotten_file_leaves_nothing(tmp_path):
    path = tmp_path / "a.nwb"
    path.write_bytes(b"abc")
    remember_digests(path, digest_content(path))
    forget_file(path)
    forget_file(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("digest", [digest_file, digest_content, verified_digest])
def test_missing_file_is_told(tmp_path, digest):
    with pytest.raises(DataError, match="cannot be read"):
        digest(tmp_path / "nothing.nwb")
