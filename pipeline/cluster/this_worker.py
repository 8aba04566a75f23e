"""The dask worker this code runs on, if it does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Worker


def this_worker() -> Worker | None:
    """Return the worker of the task that runs in this thread; None where no worker runs it.

    Examples
    --------
    >>> this_worker() is None
    True
    """
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker  # noqa: PLC0415

    try:
        return get_worker()
    except ValueError:
        return None
