"""Reading what the program wrote, another version of it perhaps: kept is what is not known, and said.

What a person types is read by `settings.validate`, which refuses what it does not know.
"""

from __future__ import annotations

import difflib
import json
import warnings
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from nwb_latents.pipeline.errors import CatalogWarning, DataError, NewerFileError
from nwb_latents.pipeline.stores.plain_files import read_text, why_unreadable
from nwb_latents.pipeline.stores.settings import describe_fault
from nwb_latents.schemas.base import NewerRecordError, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

Entry = TypeVar("Entry", bound=Record)

_said: set[str] = set()
_named: defaultdict[type[Record], frozenset[str]] = defaultdict(frozenset)


def read_entries(
    kind: type[Entry],
    content: Mapping[str, Any],
    *,
    where: str,
    called: Callable[[Entry], str] | None = None,
) -> tuple[dict[str, Entry], dict[str, Any]]:
    """Read records by their names, each for itself.

    Parameters
    ----------
    kind
        The kind of record.
    content
        Name → what was written.
    where
        File and section, for what is said.
    called
        Gives the name an entry has by what stands in it; one that stands under another name is not read:
        nobody can know which of the two is meant.

    Returns
    -------
    entries
        Those that can be read; keys that this version does not know are kept in them, and said.
    unread
        Those that cannot, as they were written; this is said too.

    Examples
    --------
    >>> from nwb_latents.schemas.catalog import RunEntry
    >>> read_entries(RunEntry, {}, where="catalog.yaml: runs")
    ({}, {})
    """
    entries: dict[str, Entry] = {}
    unread: dict[str, Any] = {}
    for name, written in content.items():
        try:
            entry = kind.read(written if isinstance(written, dict) else {})
            why = f"inside it is called {called(entry)}" if called and called(entry) != name else ""
        except (ValidationError, NewerRecordError) as error:
            why = reason(error)
        if why:
            unread[name] = written
            say(
                f"{where}: {name} cannot be read and is left as it is: {why}. Mend the entry, or make it "
                "again."
            )
        else:
            entries[name] = entry
    say_unknown(entries, where=where)
    return entries, unread


def record_of(
    kind: type[Entry], content: object, *, where: str, remedy: str, bin_size_s: float | None = None
) -> Entry:
    """Return a record that was written by this version of the program, an older or a newer one.

    Keys that are not known here are kept, and named once for all files of a kind (`CatalogWarning`).

    Parameters
    ----------
    kind
        Class of the record.
    content
        What was written.
    where
        File it comes from; named in errors.
    remedy
        What to do about content that does not fit.
    bin_size_s
        Width of the bins it is about, s, where that is known.

    Raises
    ------
    DataError
        If it does not fit.
    NewerFileError
        If it does not fit because a newer version of the program wrote it; the message names both versions.

    Examples
    --------
    >>> from nwb_latents.schemas.sweep import MemberOutcome
    >>> record_of(MemberOutcome, {"step": 7}, where="outcome.json", remedy="Delete it.").step
    7
    >>> record_of(MemberOutcome, {"schema_version": 9, "steps": 7}, where="outcome.json", remedy="Delete it.")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.NewerFileError: outcome.json: step: Field required. It was written as version
    9 of MemberOutcome; this program knows versions up to 1. Update it: pip install --upgrade nwb-latents.
    """
    if not isinstance(content, Mapping):
        raise DataError(f"{where}: expected keys and values, found {type(content).__name__}. {remedy}")
    try:
        record = kind.read(content, bin_size_s=bin_size_s)
    except NewerRecordError as error:
        raise NewerFileError(f"{where}: {error}.") from error
    except ValidationError as error:
        faults = "; ".join(describe_fault(kind, fault) for fault in error.errors())
        raise DataError(f"{where}: {faults}. {remedy}") from error
    unknown = frozenset(record.unknown()) - _named[kind]
    if unknown:
        _named[kind] |= unknown
        keys = ", ".join(sorted(unknown))
        say(f"{where}: not known here, and kept without effect: {keys}. A newer version wrote it.")
    return record


def read_record(
    kind: type[Entry], path: Path, *, remedy: str, bin_size_s: float | None = None
) -> Entry | None:
    """Return what a JSON file of the program holds, or None where there is no such file.

    Parameters
    ----------
    kind
        Class of the record.
    path
        JSON file.
    remedy
        What to do about a damaged file.
    bin_size_s
        Width of the bins it is about, s, where that is known.

    Raises
    ------
    DataError
        If it is no JSON or does not fit.
    """
    try:
        content = json.loads(read_text(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {why_unreadable(error)} {remedy}") from error
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}. {remedy}") from error
    return record_of(kind, content, where=str(path), remedy=remedy, bin_size_s=bin_size_s)


def record_lines(kind: type[Entry], lines: Iterable[str], *, where: str) -> Iterator[Entry]:
    """Yield the records of a file that holds one in each line, as JSON.

    A line that cannot be read is passed over, and said (`CatalogWarning`): one that was cut off when a
    process or the disk gave out, and one of a newer version that is not understood.

    Parameters
    ----------
    kind
        Class of the records.
    lines
        Lines of the file.
    where
        The file, for what is said.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError:
            say(f"{where}: line {number} is cut off, and passed over: {line[:40]!r}")
            continue
        try:
            yield record_of(kind, content, where=where, remedy="The line is passed over.")
        except DataError as error:
            say(f"{error} (line {number})")


def why_unread(kind: type[Record], written: object) -> str:
    """Return why an entry cannot be read; nothing if it can."""
    try:
        kind.read(written if isinstance(written, dict) else {})
    except (ValidationError, NewerRecordError) as error:
        return reason(error)
    return ""


def say_unknown(records: Mapping[str, Record], *, where: str) -> None:
    """Say which keys of records are not known, each once for all of them."""
    places: dict[str, list[str]] = defaultdict(list)
    known: set[str] = set()
    for name, record in records.items():
        for key in record.unknown():
            places[key].append(name)
            known |= type(record).model_fields.keys()
    for key, names in places.items():
        near = difflib.get_close_matches(key, known, n=1) if "." not in key else []
        hint = f" Did you mean {near[0]}?" if near else ""
        of = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
        say(f"{where}: the key {key} of {of} is not known here; it is kept, without effect.{hint}")


def say(text: str) -> None:
    """Warn of something, once in the life of a process."""
    if text not in _said:
        _said.add(text)
        warnings.warn(text, CatalogWarning, stacklevel=2)


def reason(error: ValidationError | NewerRecordError) -> str:
    """Return the first thing that is wrong with what was written."""
    if isinstance(error, NewerRecordError):
        return str(error)
    fault = error.errors()[0]
    key, found = ".".join(str(part) for part in fault["loc"]), repr(fault["input"])
    return f"{key}: {fault['msg'].lower()}, found {found if len(found) <= 60 else found[:57] + '...'}"
