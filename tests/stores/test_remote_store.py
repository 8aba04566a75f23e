"""Trial stores on object storage: a folder's numbers, whole or not at all, errors that say what to do."""

import builtins
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import numpy as np
import pytest
import requests
import xarray as xr

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stores.group_checks import check_group
from nwb_latents.pipeline.stores.location import COMPLETE_WHEN, StoreLocation
from nwb_latents.pipeline.stores.object_storage import ObjectFolder
from nwb_latents.pipeline.stores.trials import (
    read_attributes,
    read_continuous,
    read_trials,
    write_store,
)


@pytest.fixture
def where(bucket):
    return bucket / "stores" / "20ms" / "s.zarr"


def values(dataset):
    return {name: dataset[name].values for name in dataset.variables}


def same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[n], other[n], equal_nan=one[n].dtype.kind == "f") for n in one
    )


@contextmanager
def refusing(server):
    """Let the loopback server look at keys, which it does after so many requests."""
    requests.post(f"{server}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
    try:
        yield
    finally:
        requests.post(f"{server}/moto-api/reset-auth", data=b"inf", timeout=10)


def test_remote_store_holds_the_bytes_of_a_folder(where, tmp_path, make_groups):
    write_store(where, *make_groups())
    write_store(tmp_path / "s.zarr", *make_groups())
    files = {
        p.relative_to(tmp_path / "s.zarr").as_posix(): p.read_bytes()
        for p in (tmp_path / "s.zarr").rglob("*")
        if p.is_file()
    }
    assert set(where.objects.sizes()) == set(files)
    for name, content in files.items():
        assert where.read(name) == content, name


def test_remote_store_is_read_as_a_folder_is(where, tmp_path, make_groups):
    for place in (where, tmp_path / "s.zarr"):
        write_store(place, *make_groups())
    for read, group in ((read_trials, "trials"), (read_continuous, "continuous")):
        assert same(values(read(where)), values(read(tmp_path / "s.zarr")))
        check_group(read(str(where)), group, where=str(where), values=True)
    assert read_attributes(where) == read_attributes(tmp_path / "s.zarr")
    part = read_trials(where).counts.isel(trial=3, unit=slice(1, 3)).values
    assert np.array_equal(part, make_groups()[0].counts.values[3, :, 1:3])


def test_plain_xarray_reads_a_remote_store(where, make_groups):
    pytest.importorskip("s3fs")
    write_store(where, *make_groups())
    with xr.open_zarr(str(where), group="trials") as trials:
        assert same(
            {n: v for n, v in values(trials).items() if v.dtype.kind in "iuf"},
            {n: v for n, v in values(make_groups()[0]).items() if v.dtype.kind in "iuf"},
        )


def test_rewritten_store_holds_nothing_of_the_old_one(where, make_groups):
    trials, continuous = make_groups(key="old", seed=1)
    write_store(where, trials, continuous)
    where.objects.write_all({"continuous/rates/c/9/9": b"left over"})
    write_store(where, *make_groups(key="new", seed=2))
    assert read_attributes(where).store_key == "new"
    assert same(values(read_trials(where)), values(make_groups(seed=2)[0]))
    assert "continuous/rates/c/9/9" not in where.objects.sizes()


KILLED = """
import os, signal, sys
import obstore
from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.pipeline.stores.trials import read_continuous, read_trials, write_store

put, left = obstore.put, [int(sys.argv[3])]

def counted(*args, **words):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return put(*args, **words)

obstore.put = counted
groups = read_trials(sys.argv[1]).load(), read_continuous(sys.argv[1]).load()
write_store(StoreLocation.parse(sys.argv[2]), *groups)
"""


@pytest.mark.parametrize("n_objects", [0, 5, 40, "all but one"])
@pytest.mark.parametrize("is_there", [False, True], ids=["first", "again"])
def test_killed_writer_leaves_no_complete_store(where, tmp_path, make_groups, n_objects, is_there):
    write_store(tmp_path / "s.zarr", *make_groups(key="new"))
    n_files = sum(p.is_file() for p in (tmp_path / "s.zarr").rglob("*"))
    if is_there:
        write_store(where, *make_groups(key="old"))
    count = n_files - 1 if n_objects == "all but one" else n_objects
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), tmp_path / "s.zarr", str(where), str(count)],
        env=os.environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_attributes(where) is None
    assert where.read(COMPLETE_WHEN) is None
    with pytest.raises(DataError, match="no complete trial store"):
        read_trials(where)
    write_store(where, *make_groups(key="new"))
    assert same(values(read_trials(where)), values(make_groups()[0]))
    assert len(where.objects.sizes()) == n_files


def test_store_stays_invisible_when_the_right_to_write_is_lost(where, make_groups):
    def confirm():
        raise MachineError("lost")

    with pytest.raises(MachineError, match="lost"):
        write_store(where, *make_groups(), confirm=confirm)
    assert read_attributes(where) is None
    assert len(where.objects.sizes()) > 10


def test_foreign_object_that_turns_up_while_writing_keeps_the_store_invisible(
    where, make_groups, monkeypatch
):
    sizes = ObjectFolder.sizes
    monkeypatch.setattr(ObjectFolder, "sizes", lambda self: {**sizes(self), "trials/rates/c/7": 1})
    with pytest.raises(MachineError, match="holds other objects than were written"):
        write_store(where, *make_groups())
    assert read_attributes(where) is None


def test_arrays_that_do_not_fit_are_refused_before_anything_is_asked(make_groups, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    trials, continuous = make_groups()
    with pytest.raises(DataError, match="has no array 'rates'"):
        write_store("s3://lab/s.zarr", trials.drop_vars("rates"), continuous)


def test_missing_bucket_is_told(s3_environment, make_groups):
    where = StoreLocation.parse("s3://nobody-has-this/s.zarr")
    for act in (lambda: write_store(where, *make_groups()), lambda: read_attributes(where), where.remove):
        with pytest.raises(MachineError, match=r"has no bucket 'nobody-has-this'. Create it"):
            act()


def test_storage_out_of_reach_is_not_taken_for_a_missing_store(where, monkeypatch, make_groups):
    write_store(where, *make_groups())
    opened = read_trials(where)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(MachineError, match=r":9 cannot be reached.*AWS_ENDPOINT_URL") as caught:
        read_attributes(where)
    assert caught.value.exit_code == 5
    with pytest.raises(MachineError, match="cannot be reached"):
        write_store(where, *make_groups())
    assert opened.rates.values.shape[0] == make_groups()[0].sizes["trial"]


@pytest.mark.parametrize("kind", ["folder", "remote"])
def test_store_removed_after_it_was_opened_is_not_read_as_zeros(kind, tmp_path, request, make_groups):
    place = StoreLocation.parse(tmp_path / "s.zarr") if kind == "folder" else request.getfixturevalue("where")
    write_store(place, *make_groups())
    opened = read_trials(place)
    place.remove()
    for name in ("counts", "rates"):
        with pytest.raises(DataError, match=r"trials/\w+/c/\S+ is not there: .*Run the same"):
            opened[name].load()


def test_counts_of_nothing_but_zeros_are_read_as_such(where, tmp_path, make_groups):
    trials, continuous = make_groups()
    trials["counts"][:] = 0
    for place in (where, tmp_path / "s.zarr"):
        write_store(place, trials, continuous)
        assert not read_trials(place).counts.values.any()


def test_storage_that_refuses_after_a_store_was_opened_is_told(where, make_groups, s3_environment):
    write_store(where, *make_groups())
    opened = read_trials(where)
    with refusing(s3_environment), pytest.raises(MachineError, match="cannot read: the storage refuses"):
        opened.rates.load()


@pytest.mark.parametrize("keys", [("nobody", "secret"), ("", "")], ids=["wrong", "none"])
def test_refused_keys_are_told(bucket, s3_environment, monkeypatch, make_groups, keys):
    where = bucket / "s.zarr"
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), keys, strict=True):
        monkeypatch.setenv(name, value)
    for act in (lambda: read_attributes(where), lambda: write_store(where, *make_groups())):
        with (
            refusing(s3_environment),
            pytest.raises(MachineError, match=r"Check AWS_ACCESS_KEY_ID|Set AWS_ACCESS_KEY_ID"),
        ):
            act()


def test_server_without_encryption_has_to_be_allowed(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(MachineError, match=r"is not encrypted.*AWS_ALLOW_HTTP=true"):
        read_attributes(bucket / "s.zarr")


def test_missing_package_names_the_extra(monkeypatch):
    genuine = builtins.__import__

    def without(name, *args, **words):
        if name.partition(".")[0] == "obstore":
            raise ModuleNotFoundError(name)
        return genuine(name, *args, **words)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MachineError, match=r"pip install 'nwb-latents\[s3\]'"):
        read_attributes("s3://lab/s.zarr")


def test_keys_of_a_profile_are_used(bucket, s3_environment, monkeypatch, tmp_path):
    from nwb_latents.pipeline.stores.object_storage import _profile_credentials

    pytest.importorskip("botocore")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = mine\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert _profile_credentials()()["access_key_id"] == "mine"
    assert read_attributes(bucket / "s.zarr") is None


def test_location_goes_to_another_process_and_back(where, make_groups):
    write_store(where, *make_groups())
    there = pickle.loads(pickle.dumps(where))
    assert there == where
    assert read_attributes(there).store_key == "k"
