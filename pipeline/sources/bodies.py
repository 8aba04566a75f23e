"""The body of an answer, piece by piece: at no less than a least rate, and no more than is allowed.

A server that sends a byte now and then keeps no time limit of a connection from starting anew, and a few
kilobytes can unfold into gigabytes. Both end here, whatever is downloaded, streamed or listed.
"""

from __future__ import annotations

import zlib
from time import monotonic
from typing import TYPE_CHECKING

import requests
import urllib3

from nwb_latents.pipeline.sources.interruptions import (
    InterruptedTransferError,
    TooSlowError,
    transient_failure,
)
from nwb_latents.pipeline.sources.long_waits import said_if_long

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

BLOCK_BYTES = 1 << 18
"""Pieces of a body are at most so large."""

_UNFOLDED_AT_ONCE = 1 << 20
_CODINGS = {"": None, "identity": None, "gzip": 31, "x-gzip": 31, "deflate": 47}


class TooLargeError(Exception):
    """An answer is larger than any honest one."""


def pieces(response: requests.Response, *, policy: RetryPolicy, name: str) -> Iterator[bytes]:
    """Yield the bytes of a body as they come over the line, none of them lost when it breaks.

    Parameters
    ----------
    response
        Answer whose body was not read; made with ``stream=True``.
    policy
        Least rate, and over how many seconds it is held.
    name
        What is read, for messages.

    Raises
    ------
    TooSlowError
        If fewer bytes than `policy` asks for come.
    InterruptedTransferError
        If the connection breaks.
    """
    pace = _Pace(policy)
    gathered = bytearray()
    try:
        while True:
            with said_if_long(f"{name}: waiting for the next bytes"):
                piece = response.raw.read1(BLOCK_BYTES - len(gathered), decode_content=False)
            if not piece:
                break
            gathered += piece
            pace.note(len(piece))
            if len(gathered) >= BLOCK_BYTES:
                yield bytes(gathered)
                gathered.clear()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if gathered:
            yield bytes(gathered)
        raise _interruption(error) from error
    except TooSlowError:
        if gathered:
            yield bytes(gathered)
        raise
    if gathered:
        yield bytes(gathered)


def bounded_body(response: requests.Response, *, policy: RetryPolicy, name: str, most: int) -> bytes:
    """Return a whole body, unfolded where it was compressed.

    Parameters
    ----------
    response, policy, name
        As for `pieces`.
    most
        Bytes it may have at most, on the line as well as unfolded.

    Raises
    ------
    TooLargeError
        If it has more, or is compressed in an unknown way.
    InterruptedTransferError
        If it breaks off, comes too slowly or cannot be unfolded.
    """
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in _CODINGS:
        raise TooLargeError(f"it is compressed as {coding[:40]!a}, which was not asked for")
    window = _CODINGS[coding]
    unfolded = bytearray()
    decoder = None if window is None else zlib.decompressobj(window)
    for piece in pieces(response, policy=policy, name=name):
        if decoder is None:
            unfolded += piece
        rest = piece if decoder is not None else b""
        while rest and decoder is not None:
            try:
                unfolded += decoder.decompress(rest, _UNFOLDED_AT_ONCE)
            except zlib.error as error:
                raise InterruptedTransferError("what it sent cannot be unfolded") from error
            rest = decoder.unconsumed_tail
            _require_at_most(most, len(unfolded))
        _require_at_most(most, len(unfolded))
    if decoder is not None and not decoder.eof and unfolded:
        raise InterruptedTransferError("the server closed the connection early")
    return bytes(unfolded)


class _Pace:
    """Whether bytes come fast enough, held over the time that silence would be borne."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._since = monotonic()
        self._n_bytes = 0

    def note(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        seconds = monotonic() - self._since
        if seconds < self._policy.read_timeout_s:
            return
        if self._n_bytes < self._policy.least_bytes_per_s * seconds:
            raise TooSlowError(
                f"the server sent {self._n_bytes} bytes in {seconds:.0f} s, less than "
                f"{self._policy.least_bytes_per_s:.0f} a second"
            )
        self._since, self._n_bytes = monotonic(), 0


def _require_at_most(most: int, n_bytes: int) -> None:
    if n_bytes > most:
        raise TooLargeError(f"it is larger than {most >> 20} MiB")


def _interruption(error: Exception) -> InterruptedTransferError:
    if isinstance(error, urllib3.exceptions.IncompleteRead | urllib3.exceptions.ProtocolError):
        return InterruptedTransferError("the server closed the connection early")
    if isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError):
        return transient_failure(requests.Timeout())
    return transient_failure(requests.ConnectionError(error))
