"""One writer of a store at a time: a file lock on a disk, a lease on object storage.

A lease is an object beside the store that is made only if it is not there yet, and renewed by its writer for
as long as that lives. Who finds one waits until it goes, or takes it over once it has not been renewed for
its whole length, as seen by the waiting clock alone: clocks of different machines are never compared.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stores.atomic import machine_error, put_back
from nwb_latents.pipeline.stores.disk_names import make_folder
from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.pipeline.stores.plain_files import behind_links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nwb_latents.pipeline.stores.object_storage import ObjectFolder, StoredObject

logger = logging.getLogger(__name__)

WAIT_S = 3600.0
LEASE_S = 60.0


@contextmanager
def one_writer(
    where: Path | StoreLocation | str, *, wait_s: float = WAIT_S, lease_s: float = LEASE_S
) -> Iterator[Callable[[], None]]:
    """Keep other writers of a store out for as long as the ``with`` block lasts.

    Parameters
    ----------
    where
        The store.
    wait_s
        How long to wait for another writer, s.
    lease_s
        How long the lease of a writer that died keeps others out, s (object storage).

    Yields
    ------
    confirm
        For `write_store`: raises `MachineError` if the right to write has been lost meanwhile.

    Raises
    ------
    MachineError
        If another writer does not end, or the disk or storage refuses.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, one_writer(f"{folder}/a.zarr") as confirm:
    ...     confirm()
    """
    location = StoreLocation.parse(where)
    if not location.is_remote:
        with _file_lock(location, wait_s):
            yield _nothing
        return
    lease = Lease(location.parent.objects, f".{location.stem}.lock", lease_s=lease_s)
    lease.acquire(wait_s)
    try:
        yield lease.confirm
    finally:
        lease.release()


class Lease:
    """The right to write, kept as an object that is renewed in the background.

    A server that does not know conditional writes gives no lease: that is logged, and one writer at a time
    is then the user's business.

    Parameters
    ----------
    folder
        Where the object lies.
    name
        Its name.
    lease_s
        How long it lasts without being renewed, s.
    """

    def __init__(self, folder: ObjectFolder, name: str, *, lease_s: float = LEASE_S) -> None:
        self._folder = folder
        self._name = name
        self._lease_s = lease_s
        self._owner = {"machine": platform.node(), "process": os.getpid(), "id": uuid.uuid4().hex}
        self._tag: str | None = None
        self._renewals = 0
        self._valid_until = 0.0
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, wait_s: float) -> None:
        """Get the lease, waiting for another writer if need be.

        Raises
        ------
        MachineError
            If the other writer does not end in time, or the storage refuses.
        """
        deadline = time.monotonic() + wait_s
        seen: tuple[str, float] | None = None
        while self._tag is None:
            asked = time.monotonic()
            self._tag = self._folder.create(self._name, self._content())
            there = None if self._tag else self._folder.read(self._name)
            if there is not None and there.content == self._content():
                # The answer to our own request was lost on the way, and it was sent again.
                self._tag = there.tag
            elif there is not None:
                if seen is None or seen[0] != there.tag:
                    seen = there.tag, time.monotonic()
                if self._is_dead(there) or time.monotonic() - seen[1] > self._lease_s:
                    asked = time.monotonic()
                    self._tag = self._folder.replace(self._name, self._content(), tag=there.tag)
            if self._tag is None:
                if time.monotonic() > deadline:
                    raise self._taken(wait_s)
                time.sleep(min(2.0, self._lease_s / 10))
        self._valid_until = asked + self._lease_s
        if self._folder.create(self._name, self._content()) is not None:
            logger.warning(
                "%s: this storage does not know conditional writes, so writers are not kept apart. Run one "
                "at a time.",
                self._folder.url,
            )
            self._tag = None
            self._folder.delete([self._name])
            return
        self._thread = threading.Thread(target=self._keep, daemon=True, name="lease")
        self._thread.start()

    def confirm(self) -> None:
        """Renew the lease.

        Raises
        ------
        MachineError
            If another writer has taken it over, or it ran out while the storage was out of reach.
        """
        with self._turn:
            if self._thread is None:
                return
            if self._tag is not None:
                self._renew()
            if self._tag is None or time.monotonic() > self._valid_until:
                raise MachineError(
                    f"{self._folder.url}/{self._name}: another writer has taken over this store. Nothing was "
                    "made visible here; run the same command again when the other has ended."
                )

    def release(self) -> None:
        """Give the lease back, if it is still ours. A storage out of reach lets it run out instead."""
        self._stop.set()
        if self._thread is None:
            return
        self._thread.join()
        with self._turn:
            tag, self._tag = self._tag, None
        try:
            there = self._folder.read(self._name) if tag else None
            if there is not None and there.tag == tag:
                self._folder.delete([self._name])
        except MachineError as error:
            logger.warning("the lease runs out by itself: %s", error)

    def _keep(self) -> None:
        while not self._stop.wait(self._lease_s / 4):
            with self._turn:
                if self._tag is None:
                    return
                try:
                    self._renew()
                except MachineError as error:
                    logger.warning("the lease could not be renewed: %s", error)

    def _renew(self) -> None:
        if self._tag is None:
            return
        asked = time.monotonic()
        self._renewals += 1
        self._tag = self._folder.replace(self._name, self._content(), tag=self._tag)
        if self._tag is None:
            there = self._folder.read(self._name)
            self._tag = there.tag if there is not None and there.content == self._content() else None
        self._valid_until = asked + self._lease_s

    def _content(self) -> bytes:
        return json.dumps({**self._owner, "renewals": self._renewals}).encode()

    def _is_dead(self, there: StoredObject) -> bool:
        """Whether the lease's writer ran on this machine and has ended: no need to wait then."""
        try:
            owner = json.loads(there.content)
            if owner["machine"] != platform.node():
                return False
            os.kill(int(owner["process"]), 0)
        except ProcessLookupError:
            return True
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return False

    def _taken(self, wait_s: float) -> MachineError:
        return MachineError(
            f"{self._folder.url}/{self._name}: another process has been writing this store for "
            f"{wait_s / 60:g} minutes. Wait for it or end it."
        )


@contextmanager
def _file_lock(location: StoreLocation, wait_s: float) -> Iterator[None]:
    try:
        store = behind_links(location.path)
    except OSError as error:
        raise machine_error(error, location.path, doing="write this store") from error
    lock = FileLock(store.with_name(f".{store.stem}.lock"), timeout=wait_s)
    try:
        make_folder(store.parent)
        lock.acquire()
        put_back(store)
    except Timeout as error:
        raise MachineError(
            f"{store}: another process has been writing this store for {wait_s / 60:g} minutes. Wait for it "
            "or end it."
        ) from error
    except OSError as error:
        raise machine_error(error, store, doing="write this store") from error
    try:
        yield
    finally:
        lock.release()


def _nothing() -> None:
    """Confirm what a file lock already assures."""
