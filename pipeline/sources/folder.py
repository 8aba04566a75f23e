"""NWB files that already lie on this machine."""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.nwb.file_kinds import why_no_file
from nwb_latents.pipeline.nwb.zarr_metadata import UNDESCRIBED, lost_description
from nwb_latents.pipeline.sources.asset import Asset, BytesProgress, Mode
from nwb_latents.pipeline.sources.checksums import digest_file, verified_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nwb_latents.schemas.recipe import IngestRecipe

__all__ = ["FolderSource", "digest_file"]

_NAMED = (".nwb", ".nwb.zarr")
"""Ends of the names of folders that are taken for NWB in Zarr."""


class FolderSource:
    """Files, and folders searched to the bottom for ``*.nwb``.

    Hidden files and folders are passed over. What looks like a recording but cannot be read as a file
    (an empty folder named ``.nwb``, a link whose target was never fetched) is passed over with a note. A
    folder that is NWB in Zarr counts as a file.

    Parameters
    ----------
    paths
        Files or folders. A file is taken whatever its name.

    Attributes
    ----------
    notes
        What was passed over, one sentence each; filled by `assets`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.nwb").write_bytes(b"nwb")
    ...     [asset.path for asset in FolderSource([Path(folder)]).assets()]
    ['a.nwb']
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._found: dict[str, Path] = {}
        self.notes: tuple[str, ...] = ()

    def assets(self) -> list[Asset]:
        """List the NWB files, in order of their path; a file reached twice is listed once.

        Raises
        ------
        DataError
            If a path does not exist, a folder cannot be read, or there is no NWB file at all.
        """
        notes: list[str] = []
        seen: dict[Path, tuple[Path, str]] = {}
        for given in self._paths:
            for path, name in self._search(given, notes):
                seen.setdefault(path.resolve(), (path, name))
        self.notes = tuple(notes)
        if not seen:
            places = ", ".join(str(path) for path in self._paths) or "the empty list of paths"
            extra = f" Passed over: {' '.join(notes)}" if notes else ""
            raise DataError(
                f"No NWB file in {places}. Give a file, or a folder holding files named *.nwb.{extra}"
            )
        self._found = _unique_names(list(seen.values()))
        return [
            Asset(path=name, size=_size(path), is_zarr=path.is_dir())
            for name, path in sorted(self._found.items())
        ]

    def fetch(self, asset: Asset, progress: BytesProgress | None = None) -> Path:
        """Return the file itself; nothing is copied.

        Raises
        ------
        DataError
            If the file is gone since it was listed.
        MachineError
            If this machine does not see its folder.
        """
        if not self._found:
            self.assets()
        path = self._found.get(asset.path)
        if path is not None and not path.parent.is_dir():
            # As on a worker of another machine: a third one may see it.
            raise MachineError(
                f"{path}: {platform.node()} does not see its folder. Every worker has to see the recordings "
                "under the same path."
            )
        if path is None or not (path.is_file() or is_zarr(path)):
            raise DataError(
                f"{path or asset.path}: the file is gone since it was listed. List the folder again."
            )
        if progress:
            progress(asset.size, asset.size)
        return path

    def local_path(self, asset: Asset) -> Path:
        """Return where a file lies that need not be fetched.

        Raises
        ------
        DataError
            If it is gone since it was listed.
        """
        return self.fetch(asset)

    @contextmanager
    def open(
        self,
        asset: Asset,
        *,
        mode: Mode,
        recipe: IngestRecipe,
        progress: BytesProgress | None = None,
    ) -> Iterator[tuple[Path, str]]:
        """Give the file itself and its digest, whatever the mode.

        Raises
        ------
        DataError
            If the file is gone since it was listed, or cannot be read.
        """
        path = self.fetch(asset, progress)
        yield path, verified_digest(path)

    def _search(self, given: Path, notes: list[str]) -> Iterator[tuple[Path, str]]:
        if given.is_file() or is_zarr(given):
            yield given, given.name
        elif given.name.lower().endswith((*_NAMED, ".zarr")) and (lost := lost_description(given)):
            raise DataError(f"{given}: a folder called as NWB in Zarr, but it {lost}. {UNDESCRIBED}")
        elif given.is_dir():
            yield from _walk(given, notes)
        elif (why := why_no_file(given)) is not None:
            raise DataError(f"{given}: {why.replace('no such file.', 'no such file or folder.')}")
        else:
            raise DataError(f"{given}: cannot be looked at. Check its permissions.")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a file in Zarr form.

    Examples
    --------
    >>> is_zarr(Path("a.nwb"))
    False
    """
    return (path / ".zgroup").is_file() or (path / "zarr.json").is_file()


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())


def _walk(folder: Path, notes: list[str]) -> Iterator[tuple[Path, str]]:
    for place, folders, files in os.walk(folder, onerror=_refuse):
        for name in sorted(name for name in folders if name.lower().endswith(_NAMED)):
            folders.remove(name)
            path = Path(place, name)
            if is_zarr(path):
                yield path, path.relative_to(folder).as_posix()
            else:
                lost = lost_description(path)
                why = f", but no NWB in Zarr: it {lost}. {UNDESCRIBED}" if lost else ", but no NWB in Zarr."
                notes.append(f"{path} is a folder{why}")
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if name.startswith(".") or path.suffix.lower() != ".nwb":
                continue
            if path.is_file():
                yield path, path.relative_to(folder).as_posix()
            else:
                notes.append(f"{path} is passed over: {why_no_file(path) or 'it cannot be looked at.'}")


def _refuse(error: OSError) -> None:
    raise DataError(
        f"{error.filename}: the folder cannot be read: {error.strerror}. Check its permissions."
    ) from error


def _unique_names(found: list[tuple[Path, str]]) -> dict[str, Path]:
    """Name files by their path within the folder, and those of the same name by their whole path.

    Names that are not UTF-8 have the bytes that are none written out: catalogs and events are UTF-8.
    """
    names = [_text(name) for _, name in found]
    return {
        name if names.count(name) == 1 else _text(path.absolute().as_posix()): path
        for name, (path, _) in zip(names, found, strict=True)
    }


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
