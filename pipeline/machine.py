"""What this machine gives the process."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Return the cores this process may run on, which a batch system often makes fewer than there are.

    Examples
    --------
    >>> available_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
