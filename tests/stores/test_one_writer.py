"""One writer of a store at a time, on a disk and on object storage."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stores import one_writer as module
from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.pipeline.stores.object_storage import ObjectFolder
from nwb_latents.pipeline.stores.one_writer import one_writer
from nwb_latents.pipeline.stores.trials import read_attributes, write_store


@pytest.fixture(params=["folder", "remote"])
def where(request, tmp_path):
    root = StoreLocation.parse(tmp_path) if request.param == "folder" else request.getfixturevalue("bucket")
    return root / "stores" / "s.zarr"


@pytest.fixture
def remote(bucket):
    return bucket / "stores" / "s.zarr"


def test_second_writer_waits_for_the_first(where):
    order = []

    def second():
        with one_writer(where, lease_s=1.0):
            order.append("second")

    with one_writer(where, lease_s=1.0):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(1.5)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_writer_that_does_not_end_is_told(where):
    with (
        one_writer(where),
        pytest.raises(MachineError, match=r"another process has been writing this store.*Wait for it"),
        one_writer(where, wait_s=0.3),
    ):
        pass


@pytest.mark.parametrize("is_there", [False, True], ids=["first", "again"])
def test_writer_on_a_disk_that_may_no_longer_write_leaves_what_was_there(tmp_path, make_groups, is_there):
    def confirm():
        raise MachineError("lost")

    where = tmp_path / "s.zarr"
    if is_there:
        write_store(where, *make_groups(key="old"))
    with pytest.raises(MachineError, match="lost"):
        write_store(where, *make_groups(key="new"), confirm=confirm)
    found = read_attributes(where)
    assert (found and found.store_key) == ("old" if is_there else None)
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"] * is_there


def test_lease_leaves_nothing_behind(remote, make_groups):
    with one_writer(remote) as confirm:
        write_store(remote, *make_groups(), confirm=confirm)
    assert read_attributes(remote) is not None
    assert {name.partition("/")[0] for name in remote.parent.objects.sizes()} == {"s.zarr"}


HOLDER = """
import sys, time
from nwb_latents.pipeline.stores.object_storage import ObjectFolder
from nwb_latents.pipeline.stores.one_writer import one_writer
with one_writer(sys.argv[1], lease_s=2.0):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("is_other_machine", [False, True], ids=["this machine", "another machine"])
def test_lease_of_a_killed_writer_is_taken_over(remote, monkeypatch, is_other_machine):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(remote)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    holder.stdout.close()
    if is_other_machine:
        monkeypatch.setattr(module.platform, "node", lambda: "elsewhere")
        begin = time.monotonic()
        with one_writer(remote, wait_s=60, lease_s=2.0) as confirm:
            confirm()
        assert time.monotonic() - begin > 1.9, "whether it still writes cannot be known before its lease ends"
    else:
        # Known at once: neither the lease, of 600 s here, nor any wait is needed.
        with one_writer(remote, wait_s=0, lease_s=600.0) as confirm:
            confirm()


def test_writer_whose_lease_was_taken_over_makes_nothing_visible(remote, make_groups):
    with one_writer(remote) as confirm:
        remote.parent.objects.write_all({".s.lock": b"another writer's"})
        with pytest.raises(MachineError, match="another writer has taken over this store"):
            write_store(remote, *make_groups(), confirm=confirm)
        assert read_attributes(remote) is None
    # The other's lease is not ours to give back.
    assert remote.parent.objects.read(".s.lock").content == b"another writer's"


def test_lease_is_renewed_while_the_writer_lives(remote):
    with one_writer(remote, lease_s=0.4) as confirm:
        first = remote.parent.objects.read(".s.lock").tag
        time.sleep(1.0)
        assert remote.parent.objects.read(".s.lock").tag != first
        confirm()


@pytest.mark.parametrize("answer", ["ignores", "refuses"])
def test_storage_without_conditional_writes_is_told(remote, monkeypatch, caplog, make_groups, answer):
    import obstore
    from obstore.exceptions import GenericError

    genuine = obstore.put

    def put(client, name, content, **words):
        if answer == "refuses" and words.get("mode"):
            raise GenericError("status code: 501 Not Implemented: <Code>NotImplemented</Code>")
        return genuine(client, name, content)

    monkeypatch.setattr(obstore, "put", put)
    with caplog.at_level(logging.WARNING), one_writer(remote) as confirm:
        write_store(remote, *make_groups(), confirm=confirm)
    assert "does not know conditional writes" in caplog.text
    assert read_attributes(remote) is not None
    assert remote.parent.objects.read(".s.lock") is None


def test_request_whose_answer_was_lost_costs_no_lease(remote, monkeypatch):
    for name in ("create", "replace"):
        genuine = getattr(ObjectFolder, name)

        def unanswered(self, *args, genuine=genuine, **words):
            genuine(self, *args, **words)

        monkeypatch.setattr(ObjectFolder, name, unanswered)
    with one_writer(remote, wait_s=0.5) as confirm:
        confirm()
    assert remote.parent.objects.read(".s.lock") is None
