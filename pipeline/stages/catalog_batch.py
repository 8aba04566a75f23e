"""Entering sessions in the catalog without writing it anew for each.

The catalog is one file that is replaced whole. Written after each of n sessions it would cost n² lines, and
jobs that share it would wait for each other's lock. A store that is not entered because the process died is
found by its key when the same command runs again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from filelock import Timeout

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stores.catalog import session_key, update_catalog

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from nwb_latents.schemas.catalog import Catalog, SessionEntry

LEAST_SECONDS = 1.0
WORK_SHARE = 0.05
"""Writing the catalog takes at most about this share of the time."""

MOST_WAITS = 10
"""How often the last write waits for the lock, a minute each time."""


class CatalogBatch:
    """Collects entries and writes them now and then, and all of them at the end.

    Parameters
    ----------
    path
        Catalog file.
    before
        The catalog as it is; entries that are in it already need no write.

    Attributes
    ----------
    path
        Catalog file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.catalog import Catalog, SessionEntry
    >>> from nwb_latents.pipeline.stores.catalog import read_catalog
    >>> entry = SessionEntry(session="s", subject="A", task="CO", recipe_id="r", store="s.zarr",
    ...                      store_key="k", source="s.nwb", n_trials=1, n_units=1, n_bins=1,
    ...                      bin_size_s=0.02, created="")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with CatalogBatch(Path(folder, "catalog.yaml"), Catalog()) as batch:
    ...         batch.add(entry)
    ...     list(read_catalog(Path(folder, "catalog.yaml")).sessions)
    ['s@r']
    """

    def __init__(self, path: Path, before: Catalog) -> None:
        self.path = path
        self._before = before.sessions
        self._pending: dict[str, SessionEntry] = {}
        self._next_write = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for left in reversed(range(MOST_WAITS)):
            try:
                self._write()
                return
            except MachineError as failure:
                if not left or not _is_locked(failure):
                    raise

    def add(self, entry: SessionEntry) -> None:
        """Take an entry; it replaces one of the same session and recipe."""
        key = session_key(entry.session, entry.recipe_id)
        if self._before.get(key) == entry:
            return
        # Last in the mapping is latest: selection falls back on the recipe ingested last.
        self._pending.pop(key, None)
        self._pending[key] = entry
        if time.monotonic() >= self._next_write:
            try:
                self._write()
            except MachineError as failure:
                if not _is_locked(failure):
                    raise
                self._next_write = time.monotonic() + LEAST_SECONDS

    def _write(self) -> None:
        if not self._pending:
            return
        fresh = self._pending

        def change(catalog: Catalog) -> Catalog:
            if all(catalog.sessions.get(key) == entry for key, entry in fresh.items()):
                return catalog
            others = {key: entry for key, entry in catalog.sessions.items() if key not in fresh}
            return catalog.model_copy(update={"sessions": {**others, **fresh}})

        begin = time.monotonic()
        update_catalog(self.path, change)
        end = time.monotonic()
        self._pending = {}
        self._next_write = end + max(LEAST_SECONDS, (end - begin) / WORK_SHARE)


def _is_locked(failure: MachineError) -> bool:
    return isinstance(failure.__cause__, Timeout)
