"""What breaks between a server and its client, and how long to wait before asking again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that waiting may mend."""

TRANSIENT_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
"""Failures of a connection that waiting may mend."""

_LONGEST_RETRY_AFTER_S = 900.0


class InterruptedTransferError(Exception):
    """The server was cut off or asked for patience; asking again may help.

    Parameters
    ----------
    reason
        End of a sentence, for messages.
    retry_after_s
        How long the server asks to wait, s; None where it does not say.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


def wait_s(policy: RetryPolicy, error: BaseException | None, *, failures: int) -> float:
    """Return how long to wait after so many failures in a row, s; what the server asks for is obeyed.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
    >>> wait_s(RetryPolicy(), InterruptedTransferError("status 429", 30.0), failures=2)
    30.0
    """
    asked = error.retry_after_s if isinstance(error, InterruptedTransferError) else None
    wait = policy.wait_s(failures)
    return wait if asked is None else max(wait, min(asked, _LONGEST_RETRY_AFTER_S))


def transient_status(response: requests.Response) -> InterruptedTransferError:
    """Return the interruption that an answer with one of `TRANSIENT_STATUSES` means."""
    from dandi.utils import get_retry_after  # noqa: PLC0415 - heavy, and needed on a bad day only

    seconds = get_retry_after(response)
    return InterruptedTransferError(
        f"the server answered with status {response.status_code}",
        None if seconds is None else float(seconds),
    )


def transient_failure(error: Exception) -> InterruptedTransferError:
    """Return the interruption that one of `TRANSIENT_ERRORS` means.

    Examples
    --------
    >>> str(transient_failure(requests.Timeout()))
    'the server sent nothing for too long'
    """
    if isinstance(error, requests.Timeout) or "timed out" in str(error).lower():
        return InterruptedTransferError("the server sent nothing for too long")
    return InterruptedTransferError(f"the connection failed ({type(error).__name__})")


def without_query(url: str) -> str:
    """Return a URL without its query: that of a signed URL carries credentials.

    Examples
    --------
    >>> without_query("https://storage/blob/1?X-Amz-Signature=secret")
    'https://storage/blob/1'
    """
    return url.partition("?")[0]
