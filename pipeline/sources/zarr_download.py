"""One NWB in Zarr of the archive: a folder of many small files, put in place only when all of it is right.

The files gather in ``NAME.part``, a few at a time, each with the patience and checks of a single download.
What is there already and right is not fetched again. The folder gets its final name when every file has the
MD5 that the archive lists and all together make the zarr checksum that the archive promises.
"""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.sources.archive_api import MOST_LISTED, PAGE_SIZE
from nwb_latents.pipeline.sources.archive_paths import local_path
from nwb_latents.pipeline.sources.archive_promise import Expected
from nwb_latents.pipeline.sources.checksums import (
    Digests,
    digest_content,
    digest_of_folder,
    forget_digests,
    forget_file,
    remember_digests,
)
from nwb_latents.pipeline.sources.disk import put_in_place, require_space
from nwb_latents.pipeline.sources.file_download import download, part_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nwb_latents.pipeline.sources.archive_answers import AssetAnswer, ZarrEntry
    from nwb_latents.pipeline.sources.archive_api import ArchiveApi
    from nwb_latents.pipeline.sources.asset import BytesProgress
    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

logger = logging.getLogger(__name__)

_AT_ONCE = 8
# Enough tasks wait for a thread to fall free; a failure leaves the others unasked.
_QUEUED = 4 * _AT_ONCE
_REPORT_EVERY_S = 0.5


def fetch_zarr(
    api: ArchiveApi,
    remote: AssetAnswer,
    *,
    path: Path,
    expected: Expected,
    name: str,
    policy: RetryPolicy,
    progress: BytesProgress | None = None,
) -> Digests:
    """Put a Zarr of the archive under its final name, verified, or leave nothing there.

    Parameters
    ----------
    api
        The interface of the archive.
    remote
        The Zarr, as the archive answers of it.
    path
        Final name. Its folder exists. A folder there that is not known to be right is taken up as a part.
    expected
        Size and zarr checksum to hold the content against.
    name
        What to call it in messages.
    policy
        Patience, for each file.
    progress
        Called, in this thread, with bytes done and bytes in all.

    Returns
    -------
    digests
        Its digests, which are also remembered beside it.

    Raises
    ------
    DataError
        If what the archive lists is not what it promises, or a file stays corrupted. The folder is not put in
        place; what is right of it is kept for the next call.
    MachineError
        If the connection keeps failing or the disk is full. The part is kept, and the next call goes on from
        it.
    RefusedError
        If the server refuses: no access, no such file.

    Examples
    --------
    >>> import inspect
    >>> list(inspect.signature(fetch_zarr).parameters)[:4]
    ['api', 'remote', 'path', 'expected']
    """
    zarr_id = str(remote.zarr)
    listed = api.zarr_entries(zarr_id, most=_most_files(expected), what=name)
    entries = {entry.key: entry for entry in listed}
    if len(entries) != len(listed):
        raise DataError(
            f"{name}: the archive lists a file of it twice. Someone may be changing it: try again later; if "
            "it stays so, report it to the archive."
        )
    if not entries:
        raise DataError(f"{name}: the archive lists no file of it. Leave the session out.")
    stated = _checksum((entry, file.digest, file.size) for entry, file in entries.items())
    _require(stated, sum(file.size for file in entries.values()), expected, name=name, doing="lists")
    part = part_path(path)
    _take_up(path, part)
    part.mkdir(exist_ok=True)
    _sweep(part, {kept for entry in entries for kept in (entry, f"{entry}.part")})
    gathering = _Gathering(api, zarr_id, entries, part=part, name=name, policy=policy, progress=progress)
    found = gathering.run()
    _sweep(part, set(entries))
    _require_complete(part, found, name=name)
    checksum = _checksum((entry, entries[entry].digest, digests.size) for entry, digests in found.items())
    size = sum(digests.size for digests in found.values())
    _require(checksum, size, expected, name=name, doing="delivers")
    put_in_place(part, path)
    digests = Digests(
        size=size,
        sha256=digest_of_folder({entry: f"sha256:{digests.sha256}" for entry, digests in found.items()}),
        zarr_checksum=checksum,
    )
    remember_digests(path, digests)
    return digests


class _Gathering:
    """The files of one Zarr, gathered in a folder by a few threads."""

    def __init__(
        self,
        api: ArchiveApi,
        zarr_id: str,
        entries: dict[str, ZarrEntry],
        *,
        part: Path,
        name: str,
        policy: RetryPolicy,
        progress: BytesProgress | None,
    ) -> None:
        self._api = api
        self._zarr_id = zarr_id
        self._entries = entries
        self._part = part
        self._name = name
        self._policy = policy
        self._progress = progress
        self._total = sum(entry.size for entry in entries.values())
        self._under_way: dict[str, int] = {}
        self._done = self._shown = 0
        self._stopped = threading.Event()

    def run(self) -> dict[str, Digests]:
        """Return the digests of all files, each verified."""
        targets = {name: local_path(self._part, name) for name in self._entries}
        here = sum(path.stat().st_size for path in targets.values() if path.is_file())
        require_space(self._part, self._total - here, name=self._name)
        found: dict[str, Digests] = {}
        waiting = iter(targets.items())
        running: dict[Future[Digests], str] = {}
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="zarr")
        try:
            while len(found) < len(targets):
                self._submit(pool, waiting, running)
                for future in wait(running, timeout=_REPORT_EVERY_S, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    found[name] = future.result()
                    self._under_way.pop(name, None)
                    self._done += found[name].size
                self._report()
        finally:
            # Whatever ends this, no thread may write into the folder after it.
            self._stopped.set()
            pool.shutdown(cancel_futures=True)
        return found

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        waiting: Iterator[tuple[str, Path]],
        running: dict[Future[Digests], str],
    ) -> None:
        while len(running) < _QUEUED:
            following = next(waiting, None)
            if following is None:
                return
            name, path = following
            running[pool.submit(self._fetch, name, path)] = name

    def _fetch(self, name: str, path: Path) -> Digests:
        entry = self._entries[name]
        expected = _promise(entry)
        if path.is_file():
            digests = digest_content(path, with_md5=True)
            if expected.complaint(digests) is None:
                return digests
            path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        return download(
            self._api.session.requests,
            self._api.zarr_file_url(self._zarr_id, name),
            path=path,
            expected=expected,
            policy=self._policy,
            progress=lambda done, _: self._note(name, done),
            name=f"{self._name}/{name}",
            stopped=self._stopped,
        )

    def _note(self, name: str, done: int) -> None:
        if self._stopped.is_set():
            raise _StoppedError
        self._under_way[name] = done

    def _report(self) -> None:
        """Say how far it is, never less than before: a file that starts over does not count backwards."""
        under_way = sum(list(self._under_way.values()))
        self._shown = max(self._shown, min(self._done + under_way, self._total))
        if self._progress:
            self._progress(self._shown, self._total)


class _StoppedError(Exception):
    """Another file failed, or the user ended it."""


def _take_up(path: Path, part: Path) -> None:
    """Make a part of what lies under the final name, so that only what is wrong of it is fetched."""
    if not part.is_dir():
        forget_file(part)
    if not path.is_dir():
        forget_file(path)
        return
    logger.warning("%s: not known to be the folder of the archive; its files are checked one by one", path)
    forget_digests(path)
    forget_file(part)
    path.replace(part)


def _sweep(folder: Path, kept: set[str]) -> None:
    """Remove all files of a folder but those of these names, and folders that are left empty."""
    for place, folders, files in os.walk(folder, topdown=False):
        here = Path(place)
        for name in (*files, *(name for name in folders if (here / name).is_symlink())):
            if (here / name).relative_to(folder).as_posix() not in kept:
                (here / name).unlink()
        if here != folder and not any(here.iterdir()):
            here.rmdir()


def _require_complete(folder: Path, found: dict[str, Digests], *, name: str) -> None:
    for entry, digests in found.items():
        path = folder / entry
        if not path.is_file() or path.stat().st_size != digests.size:
            raise MachineError(
                f"{name}: its file {entry} is not on the disk as it was written. Check that no other program "
                f"writes into {folder}, and run the same command again."
            )


def _require(checksum: str, size: int, expected: Expected, *, name: str, doing: str) -> None:
    # The folder's SHA-256 is the store's business: the archive knows none.
    promise = Expected(expected.size, zarr_checksum=expected.zarr_checksum)
    complaint = promise.complaint(Digests(size=size, sha256="", zarr_checksum=checksum))
    if complaint is not None:
        raise DataError(
            f"{name}: what the archive {doing} is not the Zarr it promises: {complaint}; nothing was put in "
            "place. Someone may be changing it: try again later; if it stays so, report it to the archive."
        )


def _promise(entry: ZarrEntry) -> Expected:
    etag = entry.digest
    # A large file that was uploaded in parts has the ETag of files that are assets of their own.
    is_in_parts = "-" in etag
    return Expected(entry.size, dandi_etag=etag if is_in_parts else None, md5=None if is_in_parts else etag)


def _most_files(expected: Expected) -> int:
    """Return how many files are listed at most: a zarr checksum ends in their number and bytes."""
    if expected.zarr_checksum is None:
        return MOST_LISTED
    return min(int(expected.zarr_checksum.split("-")[1]) + PAGE_SIZE, MOST_LISTED)


def _checksum(files: Iterable[tuple[str, str, int]]) -> str:
    from zarr_checksum.tree import ZarrChecksumTree  # noqa: PLC0415 - comes with dandi, and is heavy

    tree: Any = ZarrChecksumTree()
    for name, etag, size in files:
        tree.add_leaf(path=Path(name), size=size, digest=etag)
    return str(tree.process())
