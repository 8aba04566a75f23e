"""How patient to be with a server."""

from __future__ import annotations

from dataclasses import dataclass

_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class RetryPolicy:
    """How patient to be with a server.

    Attributes
    ----------
    attempts
        Attempts in a row that bring nothing before it is given up.
    retry_wait_s
        First wait between attempts, s; it doubles up to a minute. A server's ``Retry-After`` is obeyed.
    connect_timeout_s, read_timeout_s
        How long to wait for a connection, and for the next bytes on it, s.
    least_bytes_per_s
        A server that sends less over `read_timeout_s` is as good as one that sends nothing.
    """

    attempts: int = 8
    retry_wait_s: float = 1.0
    connect_timeout_s: float = 15.0
    read_timeout_s: float = 60.0
    least_bytes_per_s: float = 1000.0

    @property
    def timeout(self) -> tuple[float, float]:
        """Both limits, as `requests` takes them."""
        return self.connect_timeout_s, self.read_timeout_s

    @property
    def least_progress(self) -> float:
        """Bytes an attempt has to bring to count as progress: what the first wait is worth."""
        return self.least_bytes_per_s * self.retry_wait_s

    def wait_s(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row, s.

        Examples
        --------
        >>> [RetryPolicy(retry_wait_s=2).wait_s(n) for n in (0, 1, 2, 9)]
        [2.0, 2.0, 4.0, 60.0]
        """
        return float(min(self.retry_wait_s * 2 ** max(failures - 1, 0), _LONGEST_WAIT_S))
