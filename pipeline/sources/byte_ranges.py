"""Ranges of one file over HTTP, all of the same content, whatever happens on the way.

An answer counts only if it is the range that was asked for, of a file of the expected size, with the
expected ETag. What breaks, stalls or is put off is asked for again from the byte where it ended.
"""

from __future__ import annotations

import logging
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.sources.archive_access import GONE
from nwb_latents.pipeline.sources.bodies import pieces
from nwb_latents.pipeline.sources.file_download import code_of
from nwb_latents.pipeline.sources.interruptions import (
    TRANSIENT_ERRORS,
    TRANSIENT_STATUSES,
    InterruptedTransferError,
    TooSlowError,
    patience,
    transient_failure,
    transient_status,
)
from nwb_latents.pipeline.sources.long_waits import said_if_long
from nwb_latents.pipeline.sources.redirects import RedirectedSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

logger = logging.getLogger(__name__)

_EXPIRED = frozenset({400, 401, 403})


class StreamRefusedError(MachineError):
    """The storage cannot be read in parts with confidence; a download can still be."""


class ByteRanges:
    """Reads ranges of one file into memory over one connection that is kept open.

    Parameters
    ----------
    url_resolver
        Returns the address of the file; asked again when an address has expired.
    name
        Name of the file, for messages.
    size
        Bytes the file has.
    etag
        Its ETag without quotes; None: that of the first answer.
    policy
        Patience.

    Attributes
    ----------
    bytes_fetched
        Bytes of content received, those of answers that broke off included.
    n_requests
        Requests sent.
    is_protected
        Whether every byte so far came over https, which lets none be changed on the way.
    """

    def __init__(
        self,
        url_resolver: Callable[[], str],
        *,
        name: str,
        size: int,
        etag: str | None,
        policy: RetryPolicy,
    ) -> None:
        self.bytes_fetched = 0
        self.n_requests = 0
        self.is_protected = True
        self._resolve = url_resolver
        self._name = name
        self._size = size
        self._etag = etag
        self._policy = policy
        self._session = RedirectedSession()
        self._url: str | None = None
        self._has_answered = False
        self._renewals = 0

    def read_into(self, target: memoryview, start: int) -> None:
        """Fill `target` with the bytes of the file from `start` on.

        Raises
        ------
        DataError
            If the file is gone, or is not the same any more.
        StreamRefusedError
            If the storage does not serve ranges, or the file it holds is not the one expected.
        MachineError
            If the connection keeps failing or access is refused.
        """
        done = failures = 0

        def attempt() -> None:
            nonlocal done, failures
            before = done
            try:
                for piece in self._pieces(start + done, start + len(target)):
                    target[done : done + len(piece)] = piece
                    done += len(piece)
            except (requests.RequestException, InterruptedTransferError) as error:
                is_progress = done - before > self._policy.least_progress
                failures = 0 if is_progress and not isinstance(error, TooSlowError) else failures + 1
                if isinstance(error, TRANSIENT_ERRORS):
                    raise transient_failure(error) from error
                raise

        try:
            patience(self._policy, name=self._name, failures=lambda: failures)(attempt)
        except requests.RequestException as error:
            raise MachineError(
                f"{self._name}: the storage cannot be asked for it ({type(error).__name__}). Check the "
                "network and the proxy settings, or fetch the file with --download."
            ) from error
        except InterruptedTransferError as error:
            raise MachineError(
                f"{self._name}: reading it in the archive broke off at byte {start + done} of {self._size}: "
                f"{error}. It was given up after {failures} attempts without progress. Check the "
                "network and run the same command again, or fetch the whole file with --download, which "
                "goes on where it broke off."
            ) from error

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Ask once for a range, and yield what comes of it."""
        with self._ask(start, stop) as response:
            position = start
            for piece in pieces(response, policy=self._policy, name=self._name):
                self.bytes_fetched += len(piece)
                if len(piece) > stop - position:
                    raise InterruptedTransferError("the server sent more than was asked for")
                yield piece
                position += len(piece)
        if position < stop:
            raise InterruptedTransferError("the server closed the connection early")

    def _ask(self, start: int, stop: int) -> requests.Response:
        """Return an answer that is known to hold the range, before its content is read."""
        while True:
            self._url = self._url or self._resolve()
            with said_if_long(f"{self._name}: waiting for an answer of the storage"):
                response = self._session.get(
                    self._url, stream=True, headers=self._headers(start, stop), timeout=self._policy.timeout
                )
            self.n_requests += 1
            hops = (*response.history, response)
            self.is_protected &= all(str(hop.url).startswith("https://") for hop in hops)
            if response.status_code == 206:
                break
            with response:
                self._check_status(response)
            logger.info("%s: its address has expired; asking for another", self._name)
        with ExitStack() as undo:
            undo.callback(response.close)
            self._check_content(response, start, stop)
            undo.pop_all()
        self._renewals = 0
        self._has_answered = True
        return response

    def _headers(self, start: int, stop: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
        if self._etag is not None and not self._etag.startswith("W/"):
            headers["If-Match"] = f'"{self._etag}"'
        return headers

    def _check_status(self, response: requests.Response) -> None:
        """Raise, unless another address may help."""
        status = response.status_code
        if status in TRANSIENT_STATUSES:
            raise transient_status(response)
        if status in _EXPIRED and not self._renewals:
            self._renewals += 1
            self._url = None
            return
        if status in {412, 416}:
            raise self._other_content(f"it answers with status {status} to a request for the expected file")
        if status == 200:
            raise StreamRefusedError(
                f"{self._name}: the storage sends the whole file where a part is asked for (status 200 "
                "instead of 206), so it cannot be streamed. Fetch the file with --download."
            )
        storage, code = urlsplit(str(response.url)).netloc, code_of(response)
        said = f"status {status}" + (f", {code}" if code else "")
        if status in GONE:
            raise DataError(
                f"{self._name}: the storage at {storage} has no such file any more ({said}). List the files "
                "of the dandiset again; drafts change and their files can be removed."
            )
        raise MachineError(
            f"{self._name}: the storage at {storage} refuses to be read ({said}), also at an address asked "
            f"for afresh; your key plays no part in it. Check that this machine may reach {storage} (proxy, "
            "firewall) and that its clock is right, and try again later."
        )

    def _check_content(self, response: requests.Response, start: int, stop: int) -> None:
        headers = response.headers
        etag = headers.get("ETag", "").replace('"', "")
        stated = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", ""))
        if not etag or headers.get("Content-Encoding", "identity") != "identity":
            lacking = "compresses what it sends" if etag else "states no ETag"
            raise StreamRefusedError(
                f"{self._name}: the storage {lacking}, so that parts of the file cannot be held together. "
                "Fetch the file with --download."
            )
        if stated is None or (int(stated[1]), int(stated[2])) != (start, stop - 1):
            if stated is None or stated[3] in {"*", str(self._size)}:
                raise InterruptedTransferError("the server sent another range than was asked for")
        elif self._etag in {None, etag} and stated[3] in {"*", str(self._size)}:
            self._etag = etag
            return
        raise self._other_content(
            f"expected ETag {self._etag} and {self._size} bytes, found {etag} and {stated[3]}"
        )

    def _other_content(self, found: str) -> DataError | MachineError:
        if self._has_answered:
            return DataError(
                f"{self._name}: the file changed in the archive while it was read: {found}. Nothing was made "
                "of it. List the files of the dandiset again, or pin its version."
            )
        return StreamRefusedError(
            f"{self._name}: the storage holds another file than the archive states: {found}. Fetch it with "
            "--download, which verifies every byte."
        )
