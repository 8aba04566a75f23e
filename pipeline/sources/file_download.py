"""One file over HTTP, resumed where it broke off and kept only when its content is what was promised.

The bytes go to ``NAME.part``. A connection that breaks, stalls or is put off is taken up again where it
ended; a body that turns out wrong is thrown away and asked for once more from its first byte. Only a part
whose size and digests are right gets its final name, so a file under that name is whole.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.sources.archive_access import RefusedError
from nwb_latents.pipeline.sources.bodies import BLOCK_BYTES, pieces
from nwb_latents.pipeline.sources.checksums import ContentDigester, Digests, forget_file
from nwb_latents.pipeline.sources.disk import no_space, put_in_place, require_space
from nwb_latents.pipeline.sources.interruptions import (
    TRANSIENT_ERRORS,
    TRANSIENT_STATUSES,
    InterruptedTransferError,
    TooSlowError,
    patience,
    transient_failure,
    transient_status,
    without_query,
)
from nwb_latents.pipeline.sources.long_waits import said_if_long

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    import requests

    from nwb_latents.pipeline.sources.archive_promise import Expected
    from nwb_latents.pipeline.sources.asset import BytesProgress
    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

logger = logging.getLogger(__name__)

_BLOCK_BYTES = BLOCK_BYTES
_EXPIRED = frozenset({400, 401, 403})
_TRIES_FROM_SCRATCH = 2
LARGEST_BYTES = 5 << 40
"""S3 holds no larger object."""


class _WrongContentError(Exception):
    pass


def part_path(path: Path) -> Path:
    """Return where the bytes of a file gather before it is whole.

    Examples
    --------
    >>> from pathlib import Path
    >>> part_path(Path("sub-C/a.nwb")).name
    'a.nwb.part'
    """
    return path.with_name(f"{path.name}.part")


def download(
    session: requests.Session,
    url: str,
    *,
    path: Path,
    expected: Expected,
    policy: RetryPolicy,
    progress: BytesProgress | None = None,
    name: str | None = None,
    stopped: threading.Event | None = None,
) -> Digests:
    """Fetch a file under its final name, or leave nothing there.

    Parameters
    ----------
    session
        Carries the headers of the archive's client.
    url
        Where the file is; redirects are followed.
    path
        Final name. Its folder exists.
    expected
        Size and digests to hold the file against.
    policy
        Patience.
    progress
        Called with bytes done and bytes in all.
    name
        What to call the file in messages; default: its file name.
    stopped
        Once it is set, no further attempt is waited for.

    Raises
    ------
    DataError
        If the content is wrong twice when asked for from the first byte, or the size is none a file can have.
        Nothing is kept.
    MachineError
        If the connection keeps failing or the disk is full. The part is kept, and the next call goes on
        from it.
    RefusedError
        If the server refuses: no access, no such file.

    Examples
    --------
    >>> import requests
    >>> from pathlib import Path
    >>> from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
    >>> policy = RetryPolicy(attempts=1)
    >>> from nwb_latents.pipeline.sources.archive_promise import Expected
    >>> expected = Expected(size=3)
    >>> with requests.Session() as session:
    ...     download(session, "http://127.0.0.1:9/a", path=Path("a.nwb"), expected=expected, policy=policy)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.MachineError: a.nwb: download broke off at byte 0 of 3: ...
    """
    part, name = part_path(path), name or path.name
    if expected.size > LARGEST_BYTES:
        raise DataError(
            f"{name}: a size of {expected.size:,} bytes is stated, and no storage of an archive holds a file "
            f"of more than {LARGEST_BYTES:,}: the archive's answer is wrong. Tell the archive, or leave the "
            "file out with --exclude."
        )
    from_scratch = 0
    if part.is_dir():
        forget_file(part)
    while True:
        # A part left by an earlier run may belong to other content; it does not count as a try.
        from_scratch += 0 if part.exists() else 1
        try:
            digests = _Transfer(
                session,
                url,
                part=part,
                expected=expected,
                policy=policy,
                progress=progress,
                name=name,
                stopped=stopped,
            ).run()
            complaint = expected.complaint(digests)
        except _WrongContentError as error:
            complaint = str(error)
        else:
            if complaint is None:
                put_in_place(part, path)
                return digests
        part.unlink(missing_ok=True)
        if from_scratch >= _TRIES_FROM_SCRATCH:
            raise DataError(
                f"{name}: the archive delivers a corrupted file: {complaint}, on each of {from_scratch} "
                f"downloads from {without_query(url)}; nothing was kept. Try again later; if it stays so, "
                "report it to the archive."
            )
        logger.warning("%s: %s; downloading it again from the start", name, complaint)


class _Transfer:
    """One gathering of a part, over as many connections as it takes."""

    def __init__(
        self,
        session: requests.Session,
        url: str,
        *,
        part: Path,
        expected: Expected,
        policy: RetryPolicy,
        progress: BytesProgress | None,
        name: str,
        stopped: threading.Event | None,
    ) -> None:
        self._session = session
        self._url = url
        self._part = part
        self._size = expected.size
        self._with_md5 = expected.md5 is not None
        self._name = name
        self._stopped = stopped
        self._policy = policy
        self._progress = progress
        self._digester = self._new_digester()
        self._furthest = 0
        self._failures = 0

    def run(self) -> Digests:
        """Gather the whole file and return its digests."""
        self._take_up_part()
        self._furthest = self._digester.size
        require_space(self._part.parent, self._size - self._digester.size, name=self._name)
        again = patience(
            self._policy, name=self._name, failures=lambda: self._failures, stopped=self._stopped
        )
        try:
            again(self._attempt)
        except InterruptedTransferError as error:
            raise MachineError(
                f"{self._name}: download broke off at byte {self._digester.size} of {self._size}: "
                f"{error}{_wish(error)}. It was given up after {self._failures} attempts without progress. "
                "Check the network and run the same command again; it goes on from there."
            ) from error
        return self._digester.digests()

    def _attempt(self) -> None:
        start = self._furthest
        try:
            self._stream()
        except TRANSIENT_ERRORS as error:
            self._count(start)
            raise transient_failure(error) from error
        except InterruptedTransferError as error:
            self._count(start, is_slow=isinstance(error, TooSlowError))
            raise

    def _count(self, start: int, *, is_slow: bool = False) -> None:
        # Only bytes never held before are progress: a server that ignores ranges and drops would
        # otherwise be asked for ever. So would one that sends a few bytes each time.
        is_progress = self._furthest - start > self._policy.least_progress and not is_slow
        self._failures = 0 if is_progress else self._failures + 1

    def _stream(self) -> None:
        offset = self._digester.size
        if offset == self._size:
            self._part.touch()
            return
        with self._answer(offset) as response:
            if offset and not _continues(response, offset):
                logger.info("%s: the server does not resume; starting over", self._name)
                self._start_over()
            with self._part.open("ab", buffering=0) as file:
                for block in pieces(response, policy=self._policy, name=self._name):
                    self._append(file, block)
        if self._digester.size < self._size:
            raise InterruptedTransferError("the server closed the connection early")

    def _answer(self, offset: int) -> requests.Response:
        """Return an answer with bytes; a storage that refuses an address is asked at another one, once."""
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        is_renewed = False
        while True:
            with said_if_long(f"{self._name}: waiting for an answer of the storage"):
                response = self._session.get(
                    self._url, stream=True, headers=headers, timeout=self._policy.timeout
                )
            if response.status_code in {200, 206}:
                return response
            with response:
                is_expired = bool(response.history) and response.status_code in _EXPIRED
                if is_renewed or not is_expired:
                    raise self._refusal(response)
            is_renewed = True
            logger.info("%s: its address has expired; asking for another", self._name)

    def _append(self, file: IO[bytes], block: bytes) -> None:
        if self._digester.size + len(block) > self._size:
            raise _WrongContentError(f"it has more than the expected {self._size} bytes")
        try:
            _write_all(file, block)
        except OSError as error:
            raise self._disk_error(error) from error
        self._digester.update(block)
        self._furthest = max(self._furthest, self._digester.size)
        if self._progress:
            self._progress(self._digester.size, self._size)

    def _refusal(self, response: requests.Response) -> Exception:
        status = response.status_code
        if status == 416:
            return _WrongContentError(f"it ends before byte {self._digester.size} of {self._size}")
        if status in TRANSIENT_STATUSES:
            return transient_status(response)
        # Who was redirected is refused by the storage, which knows no keys.
        storage = urlsplit(str(response.url)).netloc if response.history else ""
        return RefusedError(status, storage=storage, code=code_of(response) if storage else "")

    def _take_up_part(self) -> None:
        if not self._part.exists():
            return
        if self._part.stat().st_size > self._size:
            self._start_over()
            return
        with self._part.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                self._digester.update(block)
                if self._progress:
                    self._progress(self._digester.size, self._size)

    def _start_over(self) -> None:
        self._part.unlink(missing_ok=True)
        self._digester = self._new_digester()

    def _new_digester(self) -> ContentDigester:
        return ContentDigester(self._size, with_md5=self._with_md5)

    def _is_stopped(self) -> bool:
        return self._stopped is not None and self._stopped.is_set()

    def _disk_error(self, error: OSError) -> MachineError:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            # A block may have been written in part; what is not in the digest must not be resumed from.
            os.truncate(self._part, self._digester.size)
            folder, missing = self._part.parent, self._size - self._digester.size
            return no_space(folder, missing, free=shutil.disk_usage(folder).free, name=self._name)
        return MachineError(
            f"{self._part}: cannot be written: {error.strerror or error}. "
            "Check the disk and the folder's permissions."
        )


def _wish(error: InterruptedTransferError) -> str:
    return f" and asks to wait {error.retry_after_s:.0f} s" if error.retry_after_s else ""


def code_of(response: requests.Response) -> str:
    """Return what a storage calls the reason it refuses for, of the first bytes of its answer."""
    try:
        start = response.raw.read1(4096, decode_content=False)
    except (OSError, urllib3.exceptions.HTTPError):
        return ""
    found = re.search(rb"<Code>(\w{1,60})</Code>", start)
    return found[1].decode() if found else ""


def _continues(response: requests.Response, offset: int) -> bool:
    stated = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return response.status_code == 206 and stated is not None and int(stated[1]) == offset


def _write_all(file: IO[bytes], block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]
