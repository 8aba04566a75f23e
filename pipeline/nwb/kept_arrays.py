"""A tree that reads every array once: for readers that come twice to bytes that have to be fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.tree import Tree


class KeptArrays:
    """The same arrays and attributes; of an array that was read before, a copy of what was read then.

    Parameters
    ----------
    tree
        Where the bytes come from.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._kept: dict[str, NDArray[Any]] = {}

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._tree.size

    def has(self, path: str) -> bool:
        """Whether there is something at `path`."""
        return self._tree.has(path)

    def broken_link(self, path: str) -> str | None:
        """Say where a broken link on the way to `path` leads."""
        return self._tree.broken_link(path)

    def broken_links(self, root: str) -> list[str]:
        """Say of every broken link below `root` where it leads."""
        return self._tree.broken_links(root)

    def shape(self, path: str) -> tuple[int, ...] | None:
        """Return the shape of an array."""
        return self._tree.shape(path)

    def read(self, path: str) -> NDArray[Any]:
        """Return an array whole."""
        if path not in self._kept:
            self._kept[path] = self._tree.read(path)
        return self._kept[path].copy()

    def dtype(self, path: str) -> np.dtype[Any] | None:
        """Return the type of an array of plain numbers."""
        return self._tree.dtype(path)

    def read_into(self, path: str, out: NDArray[Any]) -> None:
        """Read an array of plain numbers into another; what is read so is not kept."""
        self._tree.read_into(path, out)

    def ends(self, path: str) -> tuple[float, float] | None:
        """Return first and last number of a list, reading no others; None where it is none, or empty."""
        return self._tree.ends(path)

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute."""
        return self._tree.attribute(path, name)

    def absent_part(self, path: str) -> str | None:
        """Say which part of an array is not there."""
        return self._tree.absent_part(path)

    def filled_part(self, path: str) -> str | None:
        """Say which part of an array is read as its fill."""
        return self._tree.filled_part(path)

    def groups(self, *roots: str) -> Iterator[str]:
        """Yield the path of every group below the roots."""
        return self._tree.groups(*roots)

    def arrays(self, root: str) -> list[str]:
        """Return the names of the arrays directly in a group."""
        return self._tree.arrays(root)

    def stored_bytes(self, path: str) -> int:
        """Return the bytes an array takes where it is stored."""
        return self._tree.stored_bytes(path)
