"""Reading what the program wrote, another version of it perhaps: kept is what is not known, and said.

What a person types is read by `settings.validate`, which refuses what it does not know.
"""

from __future__ import annotations

import difflib
import warnings
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from nwb_latents.pipeline.errors import CatalogWarning
from nwb_latents.schemas.base import NewerRecordError, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

Entry = TypeVar("Entry", bound=Record)

_said: set[str] = set()


def read_entries(
    kind: type[Entry], content: Mapping[str, Any], *, where: str
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
            entries[name] = kind.read(written if isinstance(written, dict) else {})
        except (ValidationError, NewerRecordError) as error:
            unread[name] = written
            say(
                f"{where}: {name} cannot be read and is left as it is: {reason(error)}. Mend the entry, or "
                "make it again."
            )
    say_unknown(entries, where=where)
    return entries, unread


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
