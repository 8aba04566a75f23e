"""Digests of files: computed in one pass, remembered beside the file, trusted while the file is unchanged.

Two digests are in use: SHA-256, which the catalog and the stores go by, and the archive's own. That is the
dandi-etag, the MD5 of the MD5s of the upload's parts, for a file, and the zarr checksum, made of the names,
sizes and MD5s of its files, for a folder (NWB in Zarr). What was verified has a ``NAME.verified`` file beside
it holding size, modification time and digests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from nwb_latents.pipeline.sources.asset import BytesProgress

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Digests:
    """What a file or folder is, by content. A digest that was not computed is None.

    Attributes
    ----------
    size
        Bytes, of a folder those of all its files.
    sha256
        SHA-256, 64 hexadecimal digits; of a folder, that of the names and SHA-256s of its files.
    dandi_etag
        The archive's own digest of a file, ``<32 hexadecimal digits>-<number of parts>``.
    zarr_checksum
        The archive's own digest of a folder, ``<32 hexadecimal digits>-<number of files>--<bytes>``.
    md5
        MD5 of a file in a folder, 32 hexadecimal digits.
    """

    size: int
    sha256: str
    dandi_etag: str | None = None
    zarr_checksum: str | None = None
    md5: str | None = None


class ContentDigester:
    r"""Both digests of a file that arrives piece by piece.

    Parameters
    ----------
    size
        Bytes the whole file is expected to have; it decides where the parts of the dandi-etag end.
    with_md5
        Whether the MD5 is wanted too.

    Examples
    --------
    >>> digester = ContentDigester(5)
    >>> digester.update(b"nwb")
    >>> digester.update(b"\x00\x01")
    >>> digester.digests().dandi_etag
    '68f502cbac0286843a1062b8fa93be6c-1'
    """

    def __init__(self, size: int, *, with_md5: bool = False) -> None:
        from dandischema.digests.dandietag import PartGenerator  # noqa: PLC0415 - heavy, as is all of dandi

        self._part_sizes = [part.size for part in PartGenerator.for_file_size(size)]
        self._finished_parts: list[bytes] = []
        self._part = hashlib.md5(usedforsecurity=False)
        self._part_bytes = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
        self.size = 0

    def update(self, content: bytes) -> None:
        """Take the next bytes of the file."""
        self._sha256.update(content)
        if self._md5 is not None:
            self._md5.update(content)
        self.size += len(content)
        rest = memoryview(content)
        while rest:
            wanted = self._wanted_bytes()
            piece, rest = rest[:wanted], rest[wanted:]
            self._part.update(piece)
            self._part_bytes += len(piece)
            if len(piece) == wanted:
                self._finish_part()

    def digests(self) -> Digests:
        """Return the digests of what was taken so far."""
        parts = list(self._finished_parts)
        if self._part_bytes:
            parts.append(self._part.digest())
        whole = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
        return Digests(
            size=self.size,
            sha256=self._sha256.hexdigest(),
            dandi_etag=f"{whole}-{len(parts)}",
            md5=None if self._md5 is None else self._md5.hexdigest(),
        )

    def _wanted_bytes(self) -> int:
        index = len(self._finished_parts)
        if index >= len(self._part_sizes):
            return self._part_bytes + _BLOCK_BYTES
        return self._part_sizes[index] - self._part_bytes

    def _finish_part(self) -> None:
        self._finished_parts.append(self._part.digest())
        self._part = hashlib.md5(usedforsecurity=False)
        self._part_bytes = 0


def digest_file(path: Path, progress: BytesProgress | None = None) -> str:
    """Return the SHA-256 of a file as ``sha256:<hex>``.

    Parameters
    ----------
    path
        File to read, whole. Of a folder (NWB in Zarr), the names and digests of its files are hashed.
    progress
        Called with bytes done and bytes in all.

    Raises
    ------
    DataError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.nwb")
    ...     _ = path.write_bytes(b"nwb")
    ...     digest_file(path)[:15]
    'sha256:711cfbe4'
    """
    if path.is_dir():
        parts = (part for part in path.rglob("*") if part.is_file())
        digests = {part.relative_to(path).as_posix(): digest_file(part) for part in parts}
        return f"sha256:{digest_of_folder(digests)}"
    digest = hashlib.sha256()
    for block in _blocks(path, progress):
        digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def digest_of_folder(files: Mapping[str, str]) -> str:
    """Return the SHA-256 that a folder goes by, 64 hexadecimal digits.

    Parameters
    ----------
    files
        Path within the folder, with forward slashes → ``sha256:<hex>``.

    Examples
    --------
    >>> digest_of_folder({"a": "sha256:00", "b": "sha256:01"})[:8]
    '69027b79'
    """
    digest = hashlib.sha256()
    for name in sorted(files, key=PurePosixPath):
        digest.update(f"{name}\0{files[name]}\n".encode())
    return digest.hexdigest()


def digest_content(path: Path, progress: BytesProgress | None = None, *, with_md5: bool = False) -> Digests:
    """Return both digests of a file, read once.

    Parameters
    ----------
    path
        File to read, whole.
    progress
        Called with bytes done and bytes in all.
    with_md5
        Whether the MD5 is wanted too.

    Raises
    ------
    DataError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.nwb")
    ...     _ = path.write_bytes(b"nwb")
    ...     digest_content(path).dandi_etag
    '7971505371dd24b0075de8027637b16e-1'
    """
    digester: ContentDigester | None = None
    for block in _blocks(path, progress):
        digester = digester or ContentDigester(path.stat().st_size, with_md5=with_md5)
        digester.update(block)
    return (digester or ContentDigester(0, with_md5=with_md5)).digests()


def verified_digest(path: Path) -> str:
    """Return the SHA-256 of a file as ``sha256:<hex>``, from its ``.verified`` file while that holds true.

    Parameters
    ----------
    path
        File or folder that was fetched, or any other.

    Raises
    ------
    DataError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.nwb")
    ...     _ = path.write_bytes(b"nwb")
    ...     verified_digest(path) == digest_file(path)
    True
    """
    known = recall_digests(path)
    return f"sha256:{known.sha256}" if known else digest_file(path)


def remember_digests(path: Path, digests: Digests) -> None:
    """Write ``NAME.verified`` beside a file: its digests, good until size or modification time change.

    Of a folder, names, sizes and modification times of all its files are held.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.nwb")
    ...     _ = path.write_bytes(b"nwb")
    ...     remember_digests(path, digest_content(path))
    ...     recall_digests(path).size
    3
    """
    computed = {name: value for name, value in asdict(digests).items() if value is not None}
    record = {**computed, **_state(path)}
    sidecar = _sidecar(path)
    temporary = sidecar.with_name(f".{sidecar.name}.{os.getpid()}")
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(sidecar)


def recall_digests(path: Path) -> Digests | None:
    """Return the digests remembered for a file, or None if there are none or the file has changed since.

    Examples
    --------
    >>> from pathlib import Path
    >>> recall_digests(Path("no such file.nwb")) is None
    True
    """
    try:
        record = json.loads(_sidecar(path).read_text(encoding="utf-8"))
        if any(record[name] != value for name, value in _state(path).items()):
            return None
        own = "zarr_checksum" if path.is_dir() else "dandi_etag"
        return Digests(size=record["size"], sha256=str(record["sha256"]), **{own: str(record[own])})
    except (OSError, ValueError, KeyError, TypeError):
        # A note that cannot be read is worth nothing, and costs one more reading of the file.
        return None


def noted_sha256(path: Path, zarr_checksum: str) -> str | None:
    """Return the SHA-256 that goes with a folder's zarr checksum, whatever has become of the folder since.

    Parameters
    ----------
    path
        Where the folder lies or lay.
    zarr_checksum
        Its digest in the archive.

    Returns
    -------
    sha256
        64 hexadecimal digits; None where no folder with this checksum was ever verified here.

    Examples
    --------
    >>> from pathlib import Path
    >>> noted_sha256(Path("no such folder.nwb.zarr"), "d41d8cd98f00b204e9800998ecf8427e-0--0") is None
    True
    """
    try:
        record = json.loads(_sidecar(path).read_text(encoding="utf-8"))
        return str(record["sha256"]) if record["zarr_checksum"] == zarr_checksum else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_file(path: Path) -> None:
    """Remove a file or folder and what was remembered of it; nothing happens where there is none."""
    forget_digests(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def forget_digests(path: Path) -> None:
    """Remove what was remembered of a file or folder, not itself."""
    _sidecar(path).unlink(missing_ok=True)


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _state(path: Path) -> dict[str, Any]:
    """Return what changes whenever a file, or any file of a folder, is written to."""
    if not path.is_dir():
        stat = path.stat()
        return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    files = {part.relative_to(path).as_posix(): part.stat() for part in path.rglob("*") if part.is_file()}
    return {"size": sum(stat.st_size for stat in files.values()), "tree": _digest_of_stats(files.items())}


def _digest_of_stats(files: Iterable[tuple[str, os.stat_result]]) -> str:
    lines = sorted(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n" for name, stat in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _blocks(path: Path, progress: BytesProgress | None) -> Iterator[bytes]:
    try:
        total = path.stat().st_size
        done = 0
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
                done += len(block)
                if progress:
                    progress(done, total)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}. Check the path and its permissions."
        ) from error
