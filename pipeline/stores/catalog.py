"""The catalog file: read, add to, select from.

Every change reads, changes and replaces the file under a lock beside it, so that stages running at the
same time lose nothing of each other's.
"""

from __future__ import annotations

import fnmatch
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout
from pydantic import ValidationError

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stores.atomic import machine_error, write_text
from nwb_latents.pipeline.stores.catalog_file import dump_catalog, parse_catalog
from nwb_latents.pipeline.stores.catalog_v1 import (
    MEASURED,
    found_in,
    is_first_version,
    keep_apart,
    lines_name,
)
from nwb_latents.pipeline.stores.lenient import read_entries, reason, say, say_unknown, why_unread
from nwb_latents.pipeline.stores.plain_files import (
    nothing_has_the_name,
    open_file,
    read_text,
    why_unreadable,
)
from nwb_latents.schemas.base import NewerRecordError
from nwb_latents.schemas.catalog import (
    CATALOG_SCHEMA_VERSION,
    Catalog,
    DandisetEntry,
    RunEntry,
    SessionEntry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nwb_latents.schemas.base import Record
    from nwb_latents.schemas.measurement import Measurement

LOCK_SECONDS = 60.0
_HEAD_BYTES = 4096
_VERSION = re.compile(rb"^schema_version: *(\d+) *\r?$", re.MULTILINE)

SECTIONS: dict[str, type[Record]] = {
    "dandisets": DandisetEntry,
    "sessions": SessionEntry,
    "runs": RunEntry,
}
"""Sections of the file, and what their entries are."""

NAMES: dict[str, Callable[[Any], str]] = {
    "sessions": lambda entry: session_key(entry.session, entry.recipe_id),
    "runs": lambda entry: entry.run,
}
"""Sections whose entries hold what they are called."""


def read_catalog(path: Path) -> Catalog:
    """Read a catalog; a file that does not exist is an empty catalog.

    It is read leniently: what this version does not know is kept, and an entry that it cannot read is kept
    aside and does not keep the others out (`Catalog.unread`). Each is said once (`CatalogWarning`).

    Raises
    ------
    SettingsError
        If the file is no YAML, or not made of sections (`pipeline schema catalog`); if it is a link.
    """
    return _read(path)[2]


def require_catalog(path: Path) -> None:
    """Refuse a catalog that is not there; what else may be wrong with it is said where it is read.

    Raises
    ------
    DataError
        If nothing has its name.

    Examples
    --------
    >>> from pathlib import Path
    >>> require_catalog(Path("nowhere/catalog.yaml"))
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    if nothing_has_the_name(path):
        raise DataError(
            f"{path}: no such catalog. Run `pipeline run ingest` first, or name one with --catalog FILE."
        )


def require_no_link(path: Path) -> None:
    """Refuse a catalog that is a link to another: paths in it, its measurements and its lock are beside it.

    Raises
    ------
    SettingsError
        If it is a link to a file; the message names that.
    """
    if path.is_symlink() and path.exists():
        raise SettingsError(
            f"{path}: is a link to {path.readlink()}. The paths in a catalog, its measurements and its lock "
            "belong to the folder and the name it has itself, and are others beside a link. Name it itself: "
            f"--catalog {path.resolve()}; or put the file in the place of the link (of git-annex: "
            f"`datalad unlock {path.name}`)."
        )


def numbers_inside(path: Path) -> tuple[str, list[Measurement]]:
    """Return the numbers that a catalog of version 1 holds, and the name of the file they will go into.

    Later ones hold none. The catalog is not changed: for a folder that may not be written to.

    Raises
    ------
    SettingsError
        If the file is no catalog.
    """
    text, content, catalog = _read(path)
    return lines_name(text), found_in(path, content, catalog).measurements if is_first_version(
        content
    ) else []


def is_of_first_version(path: Path) -> bool:
    """Whether a catalog is of version 1, so that it may hold numbers; only its beginning is read."""
    try:
        with open_file(path) as file:
            said = _VERSION.search(file.read(_HEAD_BYTES))
    except OSError:
        return False
    return said is None or int(said[1]) == 1


def own_dandisets(path: Path, wanted: Sequence[str] = ()) -> dict[str, DandisetEntry]:
    """Return the dandisets a catalog describes; what stands there counts before what comes with the program.

    Parameters
    ----------
    path
        Catalog file.
    wanted
        Ids that are asked for.

    Raises
    ------
    SettingsError
        If the file is no catalog, or the entry of one that is asked for cannot be read: another must not be
        taken in its place.
    """
    catalog = read_catalog(path)
    for name in wanted:
        if name in catalog.unread.get("dandisets", {}):
            why = why_unread(DandisetEntry, catalog.unread["dandisets"][name])
            raise SettingsError(f"{path}: dandisets: {name} cannot be read: {why}. Mend the entry.")
    return catalog.dandisets


def update_catalog(path: Path, change: Callable[[Catalog], Catalog]) -> Catalog:
    """Replace the catalog by `change` of it, under the lock.

    One of version 1 becomes one of today, and the numbers in it measurements (`catalog_v1`).

    Parameters
    ----------
    path
        Catalog file; made if it does not exist.
    change
        Function from the catalog to the catalog to write.

    Raises
    ------
    MachineError
        If the folder cannot be written to, or the lock is held for a minute while nobody writes.
    SettingsError
        If the file cannot be read, is a link, or is of a newer version, whose meaning this one would spoil.
    """
    require_no_link(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            text, content, before = _read(path)
            if before.schema_version > CATALOG_SCHEMA_VERSION:
                raise SettingsError(
                    f"{path}: has schema_version {before.schema_version}, this program writes "
                    f"{CATALOG_SCHEMA_VERSION}. Update the program, or choose another catalog with --catalog."
                )
            is_old = is_first_version(content)
            if is_old:
                keep_apart(path, text, found_in(path, content, before))
            after = change(before)
            if is_old or after != before or not path.exists():
                write_text(path, dump_catalog(_content_of(after)))
            return after
    except Timeout as error:
        raise MachineError(
            f"{path}: another process has held the catalog's lock for {LOCK_SECONDS:g} s. Wait for it to "
            "end; "
            f"if none is running, delete {path.name}.lock."
        ) from error
    except OSError as error:
        raise machine_error(error, path, doing="write the catalog") from error


def _read(path: Path) -> tuple[str, dict[str, Any], Catalog]:
    """Return the text of a catalog file, what it holds, and that as a catalog."""
    require_no_link(path)
    try:
        text = read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return "", {"schema_version": CATALOG_SCHEMA_VERSION}, Catalog()
    except IsADirectoryError as error:
        raise SettingsError(
            f"{path}: is a folder; expected the catalog file, such as {path / 'catalog.yaml'}."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {why_unreadable(error)}") from error
    try:
        content = parse_catalog(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not valid YAML: {error}. Mend the line it names.") from error
    if not content:
        say(
            f"{path}: the file is there and empty ({len(text.encode())} bytes): it is taken for a catalog "
            "without sessions and runs. If it had any, put back a copy of it, or run the same ingest and "
            "train again: what is up to date is only entered."
        )
        return text, {"schema_version": CATALOG_SCHEMA_VERSION}, Catalog()
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}.")
    return text, content, _catalog_of(content, where=str(path))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the catalog's lock; wait for it as long as others get on with writing.

    Raises
    ------
    Timeout
        If it is held for `LOCK_SECONDS` in which the catalog does not change.
    """
    lock = FileLock(path.with_name(path.name + ".lock"), timeout=LOCK_SECONDS)
    seen = _changed(path)
    while True:
        try:
            lock.acquire()
            break
        except Timeout:
            now = _changed(path)
            if now == seen:
                raise
            seen = now
    try:
        yield
    finally:
        lock.release()


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _catalog_of(content: Mapping[str, Any], *, where: str) -> Catalog:
    parts: dict[str, dict[str, Any]] = {}
    unread: dict[str, dict[str, Any]] = {}
    for section, schema in SECTIONS.items():
        written = content.get(section) or {}
        if not isinstance(written, dict):
            raise SettingsError(
                f"{where}: {section}: expected a mapping of names to entries, found "
                f"{type(written).__name__}. Mend it, or make a new catalog."
            )
        entries, left = read_entries(
            schema,
            {str(name): entry for name, entry in written.items()},
            where=f"{where}: {section}",
            called=NAMES.get(section),
        )
        parts[section] = entries
        if left:
            unread[section] = left
    aside = {*SECTIONS, "unread", *(MEASURED if is_first_version(content) else ())}
    others = {str(key): value for key, value in content.items() if key not in aside}
    try:
        catalog = Catalog.read(others)
    except (ValidationError, NewerRecordError) as error:
        raise SettingsError(f"{where}: {reason(error)}. Mend it, or make a new catalog.") from error
    say_unknown({"the file": catalog}, where=where)
    return catalog.model_copy(update={**parts, "unread": unread})


def _content_of(catalog: Catalog) -> dict[str, Any]:
    """Return what is to be written: each entry with its version, what could not be read as it stood."""
    content = {**catalog.written(exclude_defaults=True), "schema_version": CATALOG_SCHEMA_VERSION}
    for section, unread in catalog.unread.items():
        entries = content.get(section, {})
        # They come first: the last session is the latest.
        content[section] = {name: entry for name, entry in unread.items() if name not in entries} | entries
    order = dict.fromkeys(("schema_version", *SECTIONS))
    return {**{key: content[key] for key in order if key in content}, **content}


def session_key(session: str, recipe_id: str) -> str:
    """Return the key of a session's entry.

    Examples
    --------
    >>> session_key("sub-C_ses-CO-20131003", "20ms-0123abcd")
    'sub-C_ses-CO-20131003@20ms-0123abcd'
    """
    return f"{session}@{recipe_id}"


def add_session(path: Path, entry: SessionEntry) -> None:
    """Enter a session's store, replacing an entry of the same session and recipe."""
    key = session_key(entry.session, entry.recipe_id)

    def change(catalog: Catalog) -> Catalog:
        # Last in the mapping is latest: selection falls back on the recipe ingested last.
        others = {k: v for k, v in catalog.sessions.items() if k != key}
        if catalog.sessions.get(key) == entry:
            return catalog
        return catalog.model_copy(update={"sessions": {**others, key: entry}})

    update_catalog(path, change)


def add_run(path: Path, entry: RunEntry) -> None:
    """Enter a complete run, replacing an entry of the same name."""
    update_catalog(path, lambda c: c.model_copy(update={"runs": {**c.runs, entry.run: entry}}))


def select_sessions(
    catalog: Catalog,
    globs: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    *,
    say: Callable[[str], object] | None = None,
) -> list[SessionEntry]:
    """Return the sessions whose id matches one of `globs`, all of one recipe, sorted by id.

    Parameters
    ----------
    catalog
        The catalog.
    globs
        Shell patterns for session ids, e.g. ``"sub-C_*"``.
    recipe_id
        Recipe of the stores, or its beginning; default: the recipe of the matching session ingested last.
    say
        Told in a sentence which recipe was chosen where there are several and none was asked for.

    Raises
    ------
    DataError
        If nothing matches; the message names what there is.
    SettingsError
        If `recipe_id` fits several recipes.
    """
    if not catalog.sessions:
        raise DataError(
            "The catalog holds no sessions. Run `pipeline run ingest --path FOLDER` or `--dandiset ID` first."
        )
    matching = [e for e in catalog.sessions.values() if any(fnmatch.fnmatchcase(e.session, g) for g in globs)]
    if not matching:
        known = sorted({e.session for e in catalog.sessions.values()})
        raise DataError(f"No session matches {', '.join(globs)}. The catalog holds: {some_of(known)}.")
    recipes = list(dict.fromkeys(e.recipe_id for e in matching))
    if recipe_id is not None:
        wanted = [r for r in recipes if r.startswith(recipe_id)]
        if not wanted:
            there = some_of(recipes)
            raise DataError(
                f"No matching session was ingested with the recipe {recipe_id}. There are: {there}."
            )
        if len(wanted) > 1:
            raise SettingsError(f"The recipe {recipe_id} is not unique: {some_of(wanted)}. Give more of it.")
        chosen = wanted[0]
    else:
        chosen = matching[-1].recipe_id
        if len(recipes) > 1 and say is not None:
            others = some_of([r for r in reversed(recipes) if r != chosen])
            say(
                f"The sessions are there by {len(recipes)} recipes: {chosen} is taken, by which one of them "
                f"was ingested last. Another is chosen with --recipe-id: {others}."
            )
    return sorted((e for e in matching if e.recipe_id == chosen), key=lambda e: e.session)


def some_of(names: Sequence[str], most: int = 8) -> str:
    """Return the first names of many, and how many there are beside them.

    Examples
    --------
    >>> some_of(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
