"""The manifest of a store or a run: size and SHA-256 of its files, and what of them is not so.

It lies beside the files as ``manifest.json`` and lists everything that decides a number. Readers of zarr do
not look at it. What was written by earlier versions has none and is read all the same: of that, only what
can be read can be checked.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.atomic import machine_error, write_text
from nwb_latents.pipeline.stores.lenient import record_of
from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.pipeline.stores.plain_files import open_file, read_file, why_unreadable
from nwb_latents.schemas.manifest import FileDigest, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileFault:
    """What is wrong with one file.

    Attributes
    ----------
    name
        The file, relative to the manifest.
    kind
        ``missing``, ``size``, ``content`` or ``unlisted``.
    text
        Found against expected, a clause that begins with the name.
    """

    name: str
    kind: Literal["missing", "size", "content", "unlisted"]
    text: str


def manifest_of(
    folder: Path, names: Iterable[str] | None = None, *, known: Mapping[str, FileDigest] | None = None
) -> Manifest:
    """Return the manifest of files that lie in a folder.

    Parameters
    ----------
    folder
        The folder.
    names
        Files, relative to it; None: all below it but a manifest.
    known
        Digests taken while files were written: those, of that size, are not read again.

    Raises
    ------
    OSError
        If one cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a").write_bytes(b"abc")
    ...     manifest_of(Path(folder)).files["a"].size
    3
    """
    if names is None:
        found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        names = (name for name in found if name != MANIFEST)
    files = {}
    for name in sorted(names):
        digest = known.get(name) if known else None
        has_its_size = digest is not None and digest.size == (folder / name).stat().st_size
        files[name] = digest if digest is not None and has_its_size else file_digest(folder / name)
    return Manifest(files=files)


def manifest_of_contents(
    contents: Mapping[str, bytes], *, known: Mapping[str, FileDigest] | None = None
) -> Manifest:
    """Return the manifest of files that are in memory, and of others whose digests are known.

    Examples
    --------
    >>> manifest_of_contents({"a": b""}).files["a"].sha256[:8]
    'e3b0c442'
    """
    files = {
        name: FileDigest(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    }
    return Manifest(files=dict(sorted({**files, **(known or {})}.items())))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    write_text(folder / MANIFEST, manifest.text())


def read_manifest(where: StoreLocation | Path | str, *, remedy: str) -> Manifest | None:
    """Return the manifest of a store or run, or None if it was written without one.

    Raises
    ------
    DataError
        If it is damaged.
    MachineError
        If the object storage cannot be reached or refuses.
    """
    location = StoreLocation.parse(where)
    content = location.read(MANIFEST)
    if content is None:
        if not location.is_remote and not location.lacks(MANIFEST):
            try:
                content = read_file(location.path / MANIFEST)
            except OSError as error:
                why = f"{location}: {MANIFEST} cannot be read: {why_unreadable(error)} {remedy}"
                raise DataError(why.strip()) from error
        else:
            return None
    try:
        written = json.loads(content)
    except ValueError as error:
        raise DataError(
            f"{location}: {MANIFEST} is damaged, {len(content):,} bytes that are no JSON: {error}. {remedy}"
        ) from error
    return record_of(Manifest, written, where=f"{location}: {MANIFEST}", remedy=remedy)


def file_digest(path: Path) -> FileDigest:
    """Return size and SHA-256 of a file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open_file(path) as file:
        return FileDigest(
            sha256=hashlib.file_digest(file, "sha256").hexdigest(),
            # What was read is what is counted, whatever happens to the name meanwhile.
            size=file.tell(),
        )


def wrong_size(name: str, *, expected: int, found: int) -> str:
    """Return the clause that says a file is not as long as it was written.

    Examples
    --------
    >>> wrong_size("trials/rates/c/0/0/0", expected=1200, found=0)
    'trials/rates/c/0/0/0 has 0 bytes, expected 1,200: it was cut short, as by a power cut or a full disk'
    """
    why = (
        "it was cut short, as by a power cut or a full disk"
        if found < expected
        else "something else wrote to it"
    )
    return f"{name} has {found:,} bytes, expected {expected:,}: {why}"


def wrong_content(name: str, *, expected: str, found: str) -> str:
    """Return the clause that says a file holds other bytes than were written, by their SHA-256.

    Examples
    --------
    >>> wrong_content("trials/zarr.json", expected="ab" * 32, found="cd" * 32)
    'trials/zarr.json has another content than was written (SHA-256 cdcdcdcdcdcd…, expected ...
    """
    return (
        f"{name} has another content than was written (SHA-256 {found[:12]}…, expected {expected[:12]}…): "
        "bits have flipped, or something else wrote to it"
    )


def content_fault(name: str, content: bytes, manifest: Manifest) -> str | None:
    """Say what is wrong with what was read of a file; None: nothing, or the manifest does not list it.

    Examples
    --------
    >>> made = manifest_of_contents({"a": b"one"})
    >>> content_fault("a", b"one", made), content_fault("a", b"four", made)
    (None, 'a has 4 bytes, expected 3: something else wrote to it')
    """
    listed = manifest.files.get(name)
    if listed is None:
        return None
    if len(content) != listed.size:
        return wrong_size(name, expected=listed.size, found=len(content))
    found = hashlib.sha256(content).hexdigest()
    return None if found == listed.sha256 else wrong_content(name, expected=listed.sha256, found=found)


def file_faults(
    where: StoreLocation | Path | str,
    manifest: Manifest,
    *,
    names: Iterable[str] | None = None,
    sizes_only: bool = False,
) -> Iterator[FileFault]:
    """Yield what is wrong with the files of a manifest: missing, of another size, of another content.

    Parameters
    ----------
    where
        Store or run.
    manifest
        Its manifest.
    names
        Files to look at; None: all that are listed.
    sizes_only
        Read no file.

    Raises
    ------
    MachineError
        If the disk or the storage refuses.
    """
    location = StoreLocation.parse(where)
    sizes = location.sizes()
    for name in manifest.files if names is None else names:
        expected = manifest.files.get(name)
        if expected is None:
            continue
        found = sizes.get(name)
        if found is None:
            text = f"{name} is not there, of {expected.size:,} bytes"
            yield FileFault(name, "missing", text)
        elif found != expected.size:
            yield FileFault(name, "size", wrong_size(name, expected=expected.size, found=found))
        elif not sizes_only and (digest := _digest(location, name)) != expected.sha256:
            yield FileFault(name, "content", wrong_content(name, expected=expected.sha256, found=digest))


def require_whole(folder: Path, names: Iterable[str], *, remedy: str) -> None:
    """Refuse files of a folder that are not what its manifest says; a folder without one is taken as it is.

    Parameters
    ----------
    folder
        Store or run.
    names
        Files, relative to it; those that the manifest does not list are not looked at.
    remedy
        What to do.

    Raises
    ------
    DataError
        With file, expected and found.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     place = Path(folder)
    ...     _ = (place / "a").write_bytes(b"abc")
    ...     write_manifest(place, manifest_of(place))
    ...     _ = (place / "a").write_bytes(b"abx")
    ...     require_whole(place, ["a"], remedy="Write it again.")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: ...: a has another content than was written (SHA-256 ...
    """
    manifest = read_manifest(folder, remedy=remedy)
    if manifest is None:
        return
    for fault in file_faults(folder, manifest, names=names):
        raise DataError(f"{folder}: {fault.text}. {remedy}")


def _digest(location: StoreLocation, name: str) -> str:
    if location.is_remote:
        content = location.read(name)
        return hashlib.sha256(content or b"").hexdigest()
    path = location.path / name
    try:
        return file_digest(path).sha256
    except OSError as error:
        raise machine_error(error, path, doing="read this file") from error
