"""Files that are no NWB 2, links out of files, arrays compressed by what is not installed: told apart."""

import io
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
from nwb.odd_files import BEHAVIOUR, SERIES, TRIALS, changed, read, write_plain

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.schemas.recipe import IngestRecipe

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n"

NOT_HDF5 = {
    "nothing": (b"", "found an empty file"),
    "zeros": (bytes(600), "nothing but zeros"),
    "a page to log in": (b"\n<!DOCTYPE html><html></html>", r"a web page \(HTML\)"),
    "an error of S3": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "found XML"),
    "an error of the archive": (b'{"detail": "Not found."}', "found JSON"),
    "a ZIP archive": (b"PK\x03\x04....", "a ZIP archive. Unpack it first"),
    "a gzip archive": (b"\x1f\x8b\x08....", "a gzip archive. Unpack it first"),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a MATLAB file. Convert it"),
    "any other text": (b"trial,start,stop\n", "found something HDF5 cannot open .*fetch it again"),
    "Git LFS": (POINTER, "a pointer to it.*git lfs pull"),
    "Git LFS with lines of Windows": (POINTER.replace(b"\n", b"\r\n"), "a pointer to it"),
    "Git LFS with a mark of its encoding": (b"\xef\xbb\xbf" + POINTER, "a pointer to it"),
    "Git LFS before it was called so": (POINTER.replace(b"git-lfs", b"hawser"), "a pointer to it"),
    "git-annex": (b"../.git/annex/objects/xx/MD5E-s12--ab.nwb\n", "a pointer to it.*datalad get"),
}


@pytest.mark.parametrize("name", NOT_HDF5)
def test_a_file_that_is_no_hdf5_is_called_what_it_is(name, tmp_path):
    content, said = NOT_HDF5[name]
    path = tmp_path / "odd.nwb"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"odd\.nwb: .*{said}"):
        read(path)
    with pytest.raises(DataError, match=rf"odd\.nwb: .*{said}"):
        read_recording(io.BytesIO(content), IngestRecipe(), name="odd.nwb")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.99999])
def test_a_file_cut_short_is_to_be_fetched_again(share, tmp_path):
    path = write_plain(tmp_path / "odd.nwb")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"truncated file.*fetch it again"):
        read(path)


def test_a_file_whose_root_is_destroyed_is_damaged(tmp_path):
    path = write_plain(tmp_path / "odd.nwb")
    whole = bytearray(path.read_bytes())
    whole[512 : 512 + 4096] = bytes(4096)
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"odd\.nwb: damaged: .*Fetch the file again"):
        read(path)


def _of_nwb_1(h5: h5py.File) -> None:
    h5.attrs.__delitem__("nwb_version")
    for name in ("units", "intervals"):
        del h5[name]
    h5["epochs/trial_1/start_time"] = 1.0
    h5["processing/shank/UnitTimes/1/times"] = np.arange(5.0)


@pytest.mark.parametrize(
    ("name", "version", "is_attribute"),
    [
        ("nwb_version", "NWB-1.0.6", False),
        ("nwb_version", np.array([b"NWB-1.0.5_beta"]), False),
        ("neurodata_version", "NWB-0.8.2", False),
        ("nwb_version", "1.0.6", True),
        ("nwb_version", "NWB-2.0b", True),
        ("nwb_version", np.array([b"2.0.0-alpha"]), True),
    ],
)
def test_versions_before_2_are_named_wherever_they_say_so(name, version, is_attribute, tmp_path):
    def change(h5: h5py.File) -> None:
        _of_nwb_1(h5)
        (h5.attrs if is_attribute else h5)[name] = version

    text = np.atleast_1d(version)[0]
    text = text.decode() if isinstance(text, bytes) else text
    with pytest.raises(DataError, match=rf"a file of {text} .*only NWB 2 is read. Convert it"):
        read(changed(tmp_path, change))


def _in_other_file(h5: h5py.File, make) -> None:
    for path in SERIES:
        del h5[path]
        h5[path] = h5py.ExternalLink("other", "/" + path.rsplit("/", 1)[-1])
    make(Path(h5.filename).with_name("other"), Path(h5.filename).name)


def _back(other: Path, name: str) -> None:
    with h5py.File(other, "w") as h5:
        for path in SERIES:
            h5[path.rsplit("/", 1)[-1]] = h5py.ExternalLink(name, f"/{path}")


LINKS = {
    "a Zarr directory": (lambda other, _: other.mkdir(), r"in the file other \(a folder, .*be it Zarr\)"),
    "a pointer": (
        lambda other, _: other.write_bytes(POINTER),
        r"in the file other \(no HDF5 file: a pointer",
    ),
    "a file that links back": (_back, "in the file other;"),
    "nothing": (lambda *_: None, "in the file other;"),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_out_of_the_file_says_what_lies_at_its_end(name, tmp_path):
    make, said = LINKS[name]
    with pytest.raises(DataError, match=f"hand_pos is a link to /hand_pos {said}.*put the file"):
        read(changed(tmp_path, lambda h5: _in_other_file(h5, make)))


def test_a_link_in_place_of_all_processing_is_named(tmp_path):
    def change(h5: h5py.File) -> None:
        del h5["processing"]
        h5["processing"] = h5py.ExternalLink("gone.h5", "/processing")

    with pytest.raises(DataError, match=r"/processing is a link to /processing in the file gone\.h5"):
        read(changed(tmp_path, change))


def _compressed(path: Path, dataset: str, code: int) -> Path:
    """Compress an array, and say it was another filter that did it."""
    write_plain(path)
    with h5py.File(path, "r+") as h5:
        values, attributes = h5[dataset][()], dict(h5[dataset].attrs)
        del h5[dataset]
        h5.create_dataset(dataset, data=values, compression="gzip", chunks=True).attrs.update(attributes)
    deflate = struct.pack("<HHHH", 1, 8, 1, 1) + b"deflate\0"
    whole = path.read_bytes()
    assert whole.count(deflate) == 1
    path.write_bytes(whole.replace(deflate, struct.pack("<HHHH", code, 8, 1, 1) + b"deflate\0"))
    return path


@pytest.mark.parametrize(
    ("dataset", "code", "said"),
    [
        ("units/spike_times", 32999, "HDF5 filter 32999"),
        ("units/spike_times_index", 40001, "HDF5 filter 40001"),
        (f"{SERIES[0]}/data", 32999, "HDF5 filter 32999"),
        (f"{BEHAVIOUR}/hand_vel/timestamps", 32999, "HDF5 filter 32999"),
        (f"{TRIALS}/go_cue_time", 32999, "HDF5 filter 32999"),
    ],
)
def test_what_is_compressed_by_a_filter_not_installed_is_not_called_damaged(dataset, code, said, tmp_path):
    path = _compressed(tmp_path / "odd.nwb", dataset, code)
    with pytest.raises(DataError, match=rf"/{dataset} is compressed with {said}.*pip install hdf5plugin"):
        read(path)
