"""Conversation with one archive: its key for it alone, answers bounded, patience that is said.

The adapter is the last thing before the line, so every hop of a redirect passes it: the key is put on a
request there and nowhere else, and only where the address is the archive's own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter

from nwb_latents.pipeline.sources.archive_access import RefusedError
from nwb_latents.pipeline.sources.bodies import TooLargeError, bounded_body
from nwb_latents.pipeline.sources.interruptions import (
    TRANSIENT_ERRORS,
    TRANSIENT_STATUSES,
    InterruptedTransferError,
    patience,
    transient_failure,
    transient_status,
    without_query,
)
from nwb_latents.pipeline.sources.long_waits import said_if_long
from nwb_latents.pipeline.sources.redirects import RedirectedSession, join_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from nwb_latents.pipeline.sources.archive_access import Access
    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

Found = TypeVar("Found")

MOST_ANSWER_BYTES = 1 << 27
"""Bound on one answer in JSON, unfolded; a page of 1,000 files takes a few MiB."""

_JSON_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}


class ArchiveSession:
    """A connection to an archive that is kept open.

    Parameters
    ----------
    access
        Which archive, and with which key.
    policy
        Patience.

    Attributes
    ----------
    requests
        Session of `requests` for bytes; it sends the key to the archive's own address only.
    """

    def __init__(self, access: Access, *, policy: RetryPolicy) -> None:
        self._access = access
        self._policy = policy
        self.requests = RedirectedSession()
        for scheme in ("http://", "https://"):
            self.requests.mount(scheme, _ArchiveAdapter(access, policy))

    def get_json(
        self, url: str, params: Mapping[str, str] | None = None, *, what: str, attempts: int | None = None
    ) -> Any:
        """Return what an address of the archive answers.

        Parameters
        ----------
        url
            Address at the archive.
        params
            Query.
        what
            What is asked for, for messages.
        attempts
            After so many it is given up; default: as the policy says.

        Raises
        ------
        RefusedError
            If the archive refuses it.
        InterruptedTransferError
            If it stays out of order or out of reach.
        MachineError
            If the answer is none of an archive.
        """

        def ask() -> Any:
            with self.requests.get(url, params=params, headers=_JSON_HEADERS, stream=True) as response:
                self._require_own(response, what)
                if response.status_code in TRANSIENT_STATUSES:
                    raise transient_status(response)
                if response.status_code != 200:
                    raise RefusedError(response.status_code)
                return self._parsed(response, what)

        return self._patiently(ask, what=what, attempts=attempts)

    def location(self, url: str, params: Mapping[str, str] | None = None, *, what: str) -> str:
        """Return where an address of the archive sends those who want the bytes.

        Raises
        ------
        RefusedError, InterruptedTransferError, MachineError
            As `get_json`.
        """

        def ask() -> str:
            with self.requests.head(url, params=params, allow_redirects=False) as response:
                if response.status_code in TRANSIENT_STATUSES:
                    raise transient_status(response)
                if response.status_code == 200:
                    return str(response.url)
                if not response.is_redirect:
                    raise RefusedError(response.status_code)
                target = join_address(str(response.url), response.headers["Location"])
                if urlsplit(target).scheme not in {"http", "https"}:
                    raise self._access.not_understood(what, f"it sends to {without_query(target)[:80]!a}")
                return target

        return self._patiently(ask, what=what)

    def _patiently(self, ask: Callable[[], Found], *, what: str, attempts: int | None = None) -> Found:
        failures = 0

        def attempt() -> Found:
            nonlocal failures
            try:
                with said_if_long(f"{what}: waiting for the archive {self._access.address.given}"):
                    return self._without_refused_key(ask)
            except TRANSIENT_ERRORS as error:
                failures += 1
                raise transient_failure(error) from error
            except InterruptedTransferError:
                failures += 1
                raise

        again = patience(self._policy, name=what, failures=lambda: failures, attempts=attempts)
        return again(attempt)

    def _without_refused_key(self, ask: Callable[[], Found]) -> Found:
        """Ask once more without the key where it is refused: what is public is shown to anyone."""
        try:
            return ask()
        except RefusedError as error:
            if error.status != 401 or self._access.key is None:
                raise
            self._access.go_on_without_key()
            return ask()

    def _require_own(self, response: requests.Response, what: str) -> None:
        if not self._access.address.is_own(str(response.url)):
            raise self._access.not_understood(
                what,
                f"it sends to {without_query(str(response.url))[:120]!a}, which is not the archive's own",
            )

    def _parsed(self, response: requests.Response, what: str) -> Any:
        try:
            body = bounded_body(response, policy=self._policy, name=what, most=MOST_ANSWER_BYTES)
        except TooLargeError as error:
            raise self._access.not_understood(what, str(error)) from error
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        try:
            return json.loads(body)
        except RecursionError as error:
            raise self._access.not_understood(what, "its JSON is nested too deeply") from error
        except ValueError as error:
            if kind == "application/json":
                # A proxy that was cut off states the length of what it had.
                raise InterruptedTransferError(f"its answer is no whole JSON ({error})") from error
            raise self._access.not_understood(
                what, f"it is no JSON but {kind[:40] or 'unnamed'!a}"
            ) from error


class _ArchiveAdapter(HTTPAdapter):
    """Puts the key on requests to the archive's own address, takes it off others, and limits times."""

    def __init__(self, access: Access, policy: RetryPolicy) -> None:
        super().__init__()
        self._access = access
        self._timeout = policy.timeout

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        # The request itself is what a redirect is made of, so the key goes on a copy.
        sent = request.copy()
        key = self._access.key
        if key is not None and self._access.address.is_own(str(request.url)):
            sent.headers["Authorization"] = f"token {key}"
        return super().send(sent, *args, **kwargs)
