"""What this machine gives the process."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNLIMITED = 1 << 60
"""What control groups without a limit say is more than this, in some page size."""


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


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let products and decompositions of small matrices run on one thread each while the block lasts.

    Thousands of matrices of a hundred rows cost more to hand out to threads than to work out: on sixteen
    cores, several times as much. The result does not depend on the number of cores, then, either.

    Examples
    --------
    >>> with one_blas_thread():
    ...     pass
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - looks through all loaded libraries

    with threadpool_limits(limits=1, user_api="blas"):
        yield


@cache
def memory_bytes() -> int:
    """Return the memory this process may use: of the machine, its container or batch job, or its own limit.

    Returns
    -------
    limit
        Bytes; 2 to the power of 60 where the system does not say.

    Examples
    --------
    >>> memory_bytes() > 1 << 20
    True
    """
    return min(_UNLIMITED, _physical(), _of_groups(), _of_process())


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return _UNLIMITED


def _of_groups() -> int:
    """Return the least limit of the control groups this process is in, of either version."""
    root = Path("/sys/fs/cgroup")
    files = [root / "memory.max", root / "memory" / "memory.limit_in_bytes"]
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = top / inside.strip("/")
        files.extend(each / name for each in (group, *group.parents) if each.is_relative_to(top))
    found = [_UNLIMITED]
    for file in files:
        try:
            found.append(int(file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return min(found)


def _of_process() -> int:
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return _UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return soft if soft != resource.RLIM_INFINITY else _UNLIMITED
