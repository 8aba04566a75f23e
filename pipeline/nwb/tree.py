"""What an NWB file is to its reader: named arrays and attributes, wherever the bytes lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


class Tree(Protocol):
    """Arrays and groups by path, e.g. ``units/spike_times``; links are followed."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        ...

    def has(self, path: str) -> bool:
        """Whether there is a group or an array at `path`."""
        ...

    def broken_link(self, path: str) -> str | None:
        """Say where a link on the way to `path` leads that leads nowhere; None where there is none."""
        ...

    def broken_links(self, root: str) -> list[str]:
        """Say of every link below `root` that leads nowhere where it leads."""
        ...

    def shape(self, path: str) -> tuple[int, ...] | None:
        """Return the shape of an array without reading it; None where there is none. Scalars: ``()``."""
        ...

    def read(self, path: str) -> NDArray[Any]:
        """Return an array whole; text as str objects. The array must be there."""
        ...

    def dtype(self, path: str) -> np.dtype[Any] | None:
        """Return the type of an array of plain numbers; None where there is none, or it is of others."""
        ...

    def read_into(self, path: str, out: NDArray[Any]) -> None:
        """Read an array of plain numbers into another of its shape and type, in blocks where that can be."""
        ...

    def ends(self, path: str) -> tuple[float, float] | None:
        """Return first and last number of a list, reading no others; None where it is none, or empty."""
        ...

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute of a group or array (``""``: of the file); None where there is none."""
        ...

    def absent_part(self, path: str) -> str | None:
        """Say which part of an array lies in another file that is not there; None where all is there."""
        ...

    def filled_part(self, path: str) -> str | None:
        """Say which part of an array is not there and read as its fill; None where all is there."""
        ...

    def groups(self, *roots: str) -> Iterator[str]:
        """Yield the path of every group below the roots, in order; each object once."""
        ...

    def arrays(self, root: str) -> list[str]:
        """Return the names of the arrays directly in a group."""
        ...

    def stored_bytes(self, path: str) -> int:
        """Return the bytes an array takes where it is stored, compressed as it is; 0 where there is none."""
        ...
