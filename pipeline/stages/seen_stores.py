"""Whether a worker sees what it is to work on."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stores.location import store_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.schemas.catalog import SessionEntry


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
