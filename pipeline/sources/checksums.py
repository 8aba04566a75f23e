"""Digests of files: computed in one pass, remembered beside the file, trusted while the file is unchanged.

Two digests are in use: SHA-256, which the catalog and the stores go by, and the dandi-etag, the MD5 of the
MD5s of the upload's parts, which the archive states for every file. A file whose digests were computed
has a ``NAME.verified`` file beside it holding size, modification time and digests.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.sources.asset import BytesProgress

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Digests:
    """What a file is, by content.

    Attributes
    ----------
    size
        Bytes.
    sha256
        SHA-256, 64 hexadecimal digits.
    dandi_etag
        The archive's own digest, ``<32 hexadecimal digits>-<number of parts>``.
    """

    size: int
    sha256: str
    dandi_etag: str


class ContentDigester:
    r"""Both digests of a file that arrives piece by piece.

    Parameters
    ----------
    size
        Bytes the whole file is expected to have; it decides where the parts of the dandi-etag end.

    Examples
    --------
    >>> digester = ContentDigester(5)
    >>> digester.update(b"nwb")
    >>> digester.update(b"\x00\x01")
    >>> digester.digests().dandi_etag
    '68f502cbac0286843a1062b8fa93be6c-1'
    """

    def __init__(self, size: int) -> None:
        from dandischema.digests.dandietag import PartGenerator  # noqa: PLC0415 - heavy, as is all of dandi

        self._part_sizes = [part.size for part in PartGenerator.for_file_size(size)]
        self._finished_parts: list[bytes] = []
        self._part = hashlib.md5(usedforsecurity=False)
        self._part_bytes = 0
        self._sha256 = hashlib.sha256()
        self.size = 0

    def update(self, content: bytes) -> None:
        """Take the next bytes of the file."""
        self._sha256.update(content)
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
        return Digests(size=self.size, sha256=self._sha256.hexdigest(), dandi_etag=f"{whole}-{len(parts)}")

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
    digest = hashlib.sha256()
    if path.is_dir():
        for part in sorted(part for part in path.rglob("*") if part.is_file()):
            digest.update(f"{part.relative_to(path).as_posix()}\0{digest_file(part)}\n".encode())
    else:
        for block in _blocks(path, progress):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def digest_content(path: Path, progress: BytesProgress | None = None) -> Digests:
    """Return both digests of a file, read once.

    Parameters
    ----------
    path
        File to read, whole.
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
    ...     digest_content(path).dandi_etag
    '7971505371dd24b0075de8027637b16e-1'
    """
    digester: ContentDigester | None = None
    for block in _blocks(path, progress):
        digester = digester or ContentDigester(path.stat().st_size)
        digester.update(block)
    return (digester or ContentDigester(0)).digests()


def verified_digest(path: Path) -> str:
    """Return the SHA-256 of a file as ``sha256:<hex>``, from its ``.verified`` file while that holds true.

    Parameters
    ----------
    path
        File that was fetched, or any other.

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
    record = {**asdict(digests), "mtime_ns": path.stat().st_mtime_ns}
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
        stat = path.stat()
        if (record["size"], record["mtime_ns"]) != (stat.st_size, stat.st_mtime_ns):
            return None
        return Digests(
            size=record["size"], sha256=str(record["sha256"]), dandi_etag=str(record["dandi_etag"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        # A note that cannot be read is worth nothing, and costs one more reading of the file.
        return None


def forget_file(path: Path) -> None:
    """Remove a file and what was remembered of it; nothing happens where there is none."""
    _sidecar(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


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
