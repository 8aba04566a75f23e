"""Whether workers and the process that asked them see the same files."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stores.location import store_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nwb_latents.schemas.catalog import SessionEntry


SIGHT_TRIES, SIGHT_WAIT_S = 20, 0.5
"""How often what a worker made is looked for: network file systems show another machine's files late."""


def comes_into_sight(is_there: Callable[[], bool]) -> bool:
    """Whether what a worker says it made is to be seen from here, now or in a while.

    Parameters
    ----------
    is_there
        Looks for it.

    Examples
    --------
    >>> comes_into_sight(lambda: True)
    True
    """
    for _ in range(SIGHT_TRIES):
        if is_there():
            return True
        time.sleep(SIGHT_WAIT_S)
    return False


def require_seen(catalog_path: Path, entries: Sequence[SessionEntry]) -> None:
    """Refuse stores that this worker does not see; another one may.

    Raises
    ------
    MachineError
        If one is not there.
    """
    for entry in entries:
        store = store_path(catalog_path, entry.store)
        if not store.exists():
            raise MachineError(
                f"{entry.session}: {platform.node()} does not see the store {store}. Every worker has "
                "to see the folder of the catalog under the same path."
            )
