"""What breaks between a server and its client, and how long to wait before asking again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import requests
import tenacity

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

logger = logging.getLogger(__name__)

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that waiting may mend."""

TRANSIENT_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
"""Failures of a connection that waiting may mend."""

LONGEST_WAIT_S = 900.0
"""A server that asks for more patience is not waited for."""

SAID_WAIT_S = 10.0
"""Longer waits are said on the screen."""


class InterruptedTransferError(Exception):
    """The server was cut off or asked for patience; asking again may help.

    Parameters
    ----------
    reason
        End of a sentence, for messages.
    retry_after_s
        How long the server asks to wait, s; None where it does not say.
    status
        Status it answered with; None where it did not.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.status = status


class TooSlowError(InterruptedTransferError):
    """The server sends, but so slowly that waiting for the rest makes no sense on this connection."""


def patience(
    policy: RetryPolicy,
    *,
    name: str,
    failures: Callable[[], int],
    attempts: int | None = None,
    stopped: threading.Event | None = None,
) -> tenacity.Retrying:
    """Return what asks again after each `InterruptedTransferError`; waits of more than 10 s are said.

    Parameters
    ----------
    policy
        Patience.
    name
        What is asked for, for messages.
    failures
        Returns the number of failures in a row.
    attempts
        After so many it is given up; default: as `policy` says.
    stopped
        Once it is set, nothing more is waited for.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
    >>> tried = []
    >>> def ask() -> str:
    ...     tried.append("once more")
    ...     if len(tried) < 3:
    ...         raise InterruptedTransferError("the connection failed")
    ...     return "an answer"
    >>> patience(RetryPolicy(retry_wait_s=0.0), name="a.nwb", failures=lambda: len(tried))(ask)
    'an answer'
    """
    most = attempts or policy.attempts

    def error_of(state: tenacity.RetryCallState) -> BaseException | None:
        return state.outcome.exception() if state.outcome else None

    def is_over(state: tenacity.RetryCallState) -> bool:
        error = error_of(state)
        wish = error.retry_after_s if isinstance(error, InterruptedTransferError) else None
        return (
            failures() >= most or (wish or 0) > LONGEST_WAIT_S or (stopped is not None and stopped.is_set())
        )

    def say_why(state: tenacity.RetryCallState) -> None:
        wait = state.next_action.sleep if state.next_action else 0.0
        level = logging.WARNING if wait > SAID_WAIT_S else logging.INFO
        text = "%s: %s; waiting %.0f s before asking again (%d of %d attempts failed)"
        logger.log(level, text, name, error_of(state), wait, failures(), most)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(InterruptedTransferError),
        stop=is_over,
        wait=lambda state: wait_s(policy, error_of(state), failures=failures()),
        before_sleep=say_why,
        sleep=tenacity.sleep_using_event(stopped) if stopped else tenacity.nap.sleep,
        reraise=True,
    )


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
    return wait if asked is None else max(wait, min(asked, LONGEST_WAIT_S))


def transient_status(response: requests.Response) -> InterruptedTransferError:
    """Return the interruption that an answer with one of `TRANSIENT_STATUSES` means."""
    return InterruptedTransferError(
        f"the server answered with status {response.status_code}",
        _retry_after_s(response.headers.get("Retry-After", "")),
        status=response.status_code,
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


def _retry_after_s(value: str) -> float | None:
    """Read seconds or a date; what is neither is as if it were not there."""
    from datetime import UTC, datetime  # noqa: PLC0415
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    if value.strip().isdecimal():
        return float(value[:12])
    try:
        date = parsedate_to_datetime(value)
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max((aware - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
