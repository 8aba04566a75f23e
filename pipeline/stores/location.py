"""Where a trial store lies: a folder of this machine, or a prefix of an S3 bucket.

In the catalog a store is a path relative to the catalog's folder, an absolute path, or ``s3://bucket/prefix``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.stores.atomic import machine_error
from nwb_latents.pipeline.stores.plain_files import read_file

if TYPE_CHECKING:
    from nwb_latents.pipeline.stores.object_storage import ObjectFolder

S3 = "s3://"
COMPLETE_WHEN = "trials/zarr.json"
"""The file that makes a store complete: written last, deleted first."""

MOST_BYTES_OF_A_NAME = 200
"""Length of a file's name on any disk, with room for what is added to it while it is written."""

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


@dataclass(frozen=True)
class StoreLocation:
    """Where a store lies; made by `parse`, and small enough to be sent to another process.

    Attributes
    ----------
    text
        A path, or ``s3://bucket/prefix`` without a slash at its end.

    Examples
    --------
    >>> place = StoreLocation.parse("s3://lab/stores") / "20ms" / "sub-C_ses-1.zarr"
    >>> str(place), place.name, place.stem, place.is_remote
    ('s3://lab/stores/20ms/sub-C_ses-1.zarr', 'sub-C_ses-1.zarr', 'sub-C_ses-1', True)
    """

    text: str

    @classmethod
    def parse(
        cls, where: str | Path | StoreLocation, *, base: Path | StoreLocation | None = None
    ) -> StoreLocation:
        """Return the location that `where` names.

        Parameters
        ----------
        where
            A path or ``s3://bucket/prefix``.
        base
            What a relative path is relative to; None: the working directory.

        Raises
        ------
        SettingsError
            If it is another kind of URL, the bucket's name is impossible, or the prefix holds ``..``.

        Examples
        --------
        >>> str(StoreLocation.parse("stores/a.zarr", base=Path("demo")))
        'demo/stores/a.zarr'
        >>> StoreLocation.parse("gs://lab/a.zarr")
        Traceback (most recent call last):
            ...
        nwb_latents.pipeline.errors.SettingsError: 'gs://lab/a.zarr': a store lies in a folder or at s3://BUCKET/PREFIX.
        """
        if isinstance(where, StoreLocation):
            return where
        text = str(where)
        if text.startswith(S3):
            return cls(_normalised(text))
        if _SCHEME.match(text):
            raise SettingsError(f"{text!r}: a store lies in a folder or at s3://BUCKET/PREFIX.")
        if base is None or Path(text).is_absolute():
            return cls(str(Path(text)))
        return cls.parse(base) / text

    def __str__(self) -> str:
        return self.text

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> StoreLocation:
        if self.is_remote:
            return StoreLocation.parse(f"{self.text}/{name}")
        return StoreLocation(str(Path(self.text) / name))

    @property
    def is_remote(self) -> bool:
        """Whether it is on object storage."""
        return self.text.startswith(S3)

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.text.removeprefix(S3)).name if self.is_remote else Path(self.text).name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> StoreLocation:
        """What holds it."""
        if not self.is_remote:
            return StoreLocation(str(Path(self.text).parent))
        bucket, _, prefix = self.text.removeprefix(S3).partition("/")
        return StoreLocation(f"{S3}{bucket}/{prefix.rpartition('/')[0]}".rstrip("/"))

    @property
    def path(self) -> Path:
        """The folder of this machine.

        Raises
        ------
        MachineError
            If it is on object storage.
        """
        if self.is_remote:
            raise MachineError(
                f"{self.text}: this needs a folder of this machine, not object storage. Copy the store first."
            )
        return Path(self.text)

    @property
    def objects(self) -> ObjectFolder:
        """The objects of a location on object storage; opens nothing."""
        from nwb_latents.pipeline.stores.object_storage import ObjectFolder  # noqa: PLC0415

        bucket, _, prefix = self.text.removeprefix(S3).partition("/")
        return ObjectFolder(bucket, prefix)

    def read(self, name: str) -> bytes | None:
        """Return a file or object below it, or None if there is none.

        Raises
        ------
        MachineError
            If the object storage cannot be reached or refuses.
        """
        if self.is_remote:
            found = self.objects.read(name)
            return found.content if found else None
        try:
            return read_file(self.path / name)
        except OSError:
            return None

    def lacks(self, name: str) -> bool:
        """Whether nothing below it has this name: what cannot be read is there all the same.

        Raises
        ------
        MachineError
            If the object storage cannot be reached or refuses.
        """
        if self.is_remote:
            return self.objects.read(name) is None
        return not os.path.lexists(self.path / name)

    def sizes(self) -> dict[str, int]:
        """Return the files or objects below it: name → bytes; none where nothing is there.

        Raises
        ------
        MachineError
            If the disk or the storage refuses, or the storage cannot be reached.
        """
        if self.is_remote:
            return self.objects.sizes()
        found: dict[str, int] = {}
        todo = [("", self.text)]
        try:
            while todo:
                prefix, folder = todo.pop()
                with os.scandir(folder) as inside:
                    for one in inside:
                        try:
                            if one.is_dir():
                                todo.append((f"{prefix}{one.name}/", one.path))
                            elif one.is_file():
                                found[prefix + one.name] = one.stat().st_size
                        except OSError as error:
                            # A link to itself is no file, and the store lacks what should be there.
                            if error.errno != errno.ELOOP:
                                raise
        except (FileNotFoundError, NotADirectoryError):
            return found
        except OSError as error:
            raise machine_error(error, self.path, doing="list this folder") from error
        return found

    def exists(self) -> bool:
        """Whether a complete store is there.

        Raises
        ------
        MachineError
            If the object storage cannot be reached or refuses.
        """
        return self.read(COMPLETE_WHEN) is not None

    def modified(self) -> datetime | None:
        """Return when the store was completed, UTC, or None if there is none.

        Raises
        ------
        MachineError
            If the object storage cannot be reached or refuses.
        """
        if self.is_remote:
            found = self.objects.read(COMPLETE_WHEN)
            return found.modified if found else None
        try:
            return datetime.fromtimestamp((self.path / COMPLETE_WHEN).stat().st_mtime, UTC)
        except OSError:
            return None

    def remove(self) -> None:
        """Remove the store, or what a killed writer left of one; it counts as gone from the first moment on.

        Raises
        ------
        MachineError
            If the disk or the storage refuses.
        """
        if self.is_remote:
            folder = self.objects
            folder.delete([COMPLETE_WHEN])
            folder.delete(sorted(folder.sizes(), key=lambda name: (not name.endswith("zarr.json"), name)))
            return
        try:
            (self.path / COMPLETE_WHEN).unlink(missing_ok=True)
            if self.path.exists():
                shutil.rmtree(self.path)
        except OSError as error:
            raise machine_error(error, self.path, doing="remove this store") from error

    def in_catalog(self, catalog_path: Path) -> str:
        """Return how a catalog names it: relative to its folder where it lies below it.

        Examples
        --------
        >>> StoreLocation.parse("demo/stores/a.zarr").in_catalog(Path("demo/catalog.yaml"))
        'stores/a.zarr'
        >>> StoreLocation.parse("s3://lab/a.zarr").in_catalog(Path("demo/catalog.yaml"))
        's3://lab/a.zarr'
        """
        if self.is_remote:
            return self.text
        mine, folder = self.path.absolute(), catalog_path.absolute().parent
        if not mine.is_relative_to(folder):
            # One of the two may have been reached through a link.
            mine, folder = mine.resolve(), folder.resolve()
        return mine.relative_to(folder).as_posix() if mine.is_relative_to(folder) else str(mine)


def path_name(text: str) -> str:
    """Return the name of a file for an id: ids come from files and archives, in any language.

    ASCII letters, digits and ``-_.+`` stay, any other byte of the UTF-8 text is ``=XX``: no two ids share a
    file, whatever a disk or an object storage makes of letters. A name that would be too long is cut and
    ends in a digest of it all.

    Examples
    --------
    >>> path_name("sub-C_ses-CO-20131003"), path_name("sub-Zoë_ses-1"), path_name("../a")
    ('sub-C_ses-CO-20131003', 'sub-Zo=C3=AB_ses-1', '=2E.=2Fa')
    """
    name = "".join(chr(b) if chr(b) in _SAFE else f"={b:02X}" for b in text.encode("utf-8", "surrogatepass"))
    if name.startswith("."):
        name = f"=2E{name[1:]}"
    if len(name) > MOST_BYTES_OF_A_NAME:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        name = f"{name[: MOST_BYTES_OF_A_NAME - len(digest) - 1]}-{digest}"
    return name or "unnamed"


def store_path(catalog_path: Path, store: str) -> StoreLocation:
    """Return where a store of a catalog lies.

    Parameters
    ----------
    catalog_path
        Catalog file.
    store
        The field ``store`` of an entry: relative to the catalog, absolute, or ``s3://…``.

    Examples
    --------
    >>> str(store_path(Path("demo/catalog.yaml"), "stores/a.zarr"))
    'demo/stores/a.zarr'
    >>> str(store_path(Path("demo/catalog.yaml"), "s3://lab/a.zarr"))
    's3://lab/a.zarr'
    """
    return StoreLocation.parse(store, base=catalog_path.parent)


def _normalised(url: str) -> str:
    bucket, _, prefix = url.removeprefix(S3).partition("/")
    parts = [part for part in prefix.split("/") if part]
    if not _BUCKET.fullmatch(bucket):
        raise SettingsError(
            f"{url!r}: {bucket!r} cannot be a bucket: it has 3 to 63 letters, digits, dots and hyphens. "
            "Give s3://BUCKET/PREFIX."
        )
    if ".." in parts or "." in parts:
        raise SettingsError(f"{url!r}: a prefix has no '.' and '..'. Write out where the store lies.")
    return S3 + "/".join([bucket, *parts])
