"""Trial stores as zarr sees them, with errors a user can act on wherever a value is read.

A dataset reads its values when they are used, long after it was opened: the store may be gone by then. To
zarr a chunk that is missing is one of fill values; here every chunk was written, so it is a fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarr.storage import LocalStore, ObjectStore

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.object_storage import storage_errors

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.pipeline.stores.object_storage import ObjectFolder


class WholeFolder(LocalStore):  # type: ignore[misc] # zarr is not typed for us
    """A read-only zarr store in a folder of this machine, which lacks no chunk.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, read_only=True)

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return a file or a part of it; None if it is metadata that are not there.

        Raises
        ------
        DataError
            If values are not there.
        """
        return _there(await super().get(key, *args, **kwargs), key, str(self.root))


class WholeObjects(ObjectStore):  # type: ignore[misc] # zarr is not typed for us
    """A read-only zarr store on object storage, which lacks no chunk.

    Parameters
    ----------
    folder
        Where it lies.
    """

    def __init__(self, folder: ObjectFolder) -> None:
        super().__init__(folder.client, read_only=True)
        self._url = folder.url

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return an object or a part of it; None if it is metadata that are not there.

        Raises
        ------
        DataError
            If values are not there.
        MachineError
            If the storage cannot be reached or refuses.
        """
        with storage_errors(self._url, doing="read"):
            found = await super().get(key, *args, **kwargs)
        return _there(found, key, self._url)

    async def get_partial_values(self, *args: Any, **kwargs: Any) -> Any:
        """Return parts of objects."""
        with storage_errors(self._url, doing="read"):
            return await super().get_partial_values(*args, **kwargs)

    async def exists(self, key: str) -> Any:
        """Whether there is an object of this name."""
        with storage_errors(self._url, doing="read"):
            return await super().exists(key)


def _there(found: Any, key: str, where: str) -> Any:
    if found is None and "/c/" in key:
        raise DataError(
            f"{where}: {key} is not there: the store is damaged, or was removed or written again while it "
            "was read. Run the same command again; if that does not help, run ingest again with --force."
        )
    return found
