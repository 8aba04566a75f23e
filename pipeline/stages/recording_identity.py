"""Which recording a file is, and what its session is called.

A recording is its NWB ``identifier``, its start and its content. A store gives way to the same recording,
changed, and to no other.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, UsageError
from nwb_latents.pipeline.nwb.session_ids import label, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.signals.recording import RecordingFacts
    from nwb_latents.pipeline.sources.asset import Asset
    from nwb_latents.schemas.store import Provenance

PLACEHOLDERS = ("session", "subject", "file", "folder", "date")
"""What a name for sessions may be made of: ``{folder}`` is that of the file, ``{date}`` its start."""

_MOST_TRIED = 1000


def require_pattern(pattern: str) -> None:
    """Check a name for sessions before anything is read.

    Raises
    ------
    UsageError
        If it holds a placeholder there is not.
    """
    for name in re.findall(r"\{([^{}]*)\}", pattern):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            raise UsageError(f"--session-id {pattern!r}: there is no {{{name}}}; there are {known}.")


def named(pattern: str, facts: RecordingFacts, asset: Asset, *, folder: str = "") -> str:
    """Return the session id a pattern gives a file.

    Parameters
    ----------
    pattern
        Text with `PLACEHOLDERS` in braces, or without any.
    facts, asset
        The file.
    folder
        The folder it lies in; a file named alone has none in the name it goes by.

    Raises
    ------
    DataError
        If a placeholder of the pattern is empty for this file.
    """
    path = PurePosixPath(asset.path)
    values = {
        "session": facts.session,
        "subject": facts.subject,
        "file": path.name.removesuffix(".zarr").removesuffix(".nwb"),
        "folder": path.parent.name or folder,
        "date": _date(facts.start),
    }

    def value(found: re.Match[str]) -> str:
        if not values[found[1]]:
            raise DataError(
                f"{asset.path}: --session-id {pattern!r}: the file has no {found[1]}. Use other placeholders."
            )
        return values[found[1]]

    parts = re.sub(r"\{([^{}]*)\}", value, pattern).split("_")
    # Underscores part the entities of an id and stay.
    return short("_".join(label(part) for part in parts if part) or "unknown")


def is_same_recording(there: Provenance, asset: Asset, digest: str, facts: RecordingFacts) -> bool:
    """Whether a file is the recording a store was made from: the same file, or one that has changed since.

    Identifier and start must agree where both state them; a start alone is not enough, but for the same file
    of a dandiset, which is often given a new identifier when it is converted again.

    Parameters
    ----------
    there
        Of the store.
    asset, digest, facts
        The file, its content, and what it states.
    """
    if there.asset_digest == digest:
        return True
    same_place = asset.dandiset is not None and (there.dandiset, there.source) == (asset.dandiset, asset.path)
    if there.session_start and facts.start and there.session_start != facts.start:
        return False
    if not (there.identifier and facts.identifier):
        return same_place
    return there.identifier == facts.identifier or (same_place and bool(facts.start))


def other_recording(
    there: Provenance,
    asset: Asset,
    facts: RecordingFacts,
    *,
    session: str,
    is_free: Callable[[str], bool],
) -> DataError:
    """Return the error of a file whose session id another recording has.

    Parameters
    ----------
    there
        Of the store that has it.
    asset, facts
        The file.
    session
        The id.
    is_free
        Whether no store goes by an id.
    """
    free = free_id(session, facts, is_free=is_free)
    if there.identifier or there.session_start:
        differ = f"that is {_words(there.identifier, there.session_start)}, this is "
        differ += _words(facts.identifier, facts.start)
    else:
        differ = "the store does not say which recording it is of (an earlier version wrote it)"
    return DataError(
        f"{asset.path}: its session id {session} is taken by the store made from {there.source}, another "
        f"recording: {differ}. Ingest it under an id of its own with --session-id {free}, which is free "
        "(--session-id '{folder}' names each session after its folder), or replace the store with --force."
    )


def replaced(there: Provenance, digest: str, *, is_same: bool) -> str:
    """Return what is said where a store of other content gives way.

    Examples
    --------
    >>> from nwb_latents.schemas.store import Provenance
    >>> there = Provenance(source="a.nwb", asset_digest="sha256:0123456789abcdef", layout="generic")
    >>> replaced(there, "sha256:fedcba9876543210", is_same=True)
    'the file has changed since its store was made (sha256:01234567, now sha256:fedcba98): made again'
    """
    digests = f"({there.asset_digest[:15]}, now {digest[:15]})"
    if is_same:
        return f"the file has changed since its store was made {digests}: made again"
    return f"replaces the store of another recording, {there.source} {digests}"


def free_id(session: str, facts: RecordingFacts, *, is_free: Callable[[str], bool]) -> str:
    """Return an id that no store goes by: the id with the date of the recording, else with a number.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import RecordingFacts
    >>> facts = RecordingFacts("sub-C_ses-1", "C", start="2015-03-02T10:00:00+01:00")
    >>> free_id("sub-C_ses-1", facts, is_free=lambda one: True)
    'sub-C_ses-1-20150302'
    """
    date = _date(facts.start)
    candidates = [date] if date else []
    for ending in [*candidates, *map(str, range(2, _MOST_TRIED))]:
        one = short(f"{session}-{ending}")
        if is_free(one):
            return one
    return short(f"{session}-{facts.identifier or _MOST_TRIED}")


def _date(start: str) -> str:
    found = re.match(r"(\d{4})-(\d{2})-(\d{2})", start)
    return "".join(found.groups()) if found else ""


def _words(identifier: str, start: str) -> str:
    said = [f"identifier {identifier[:40]!r}"] if identifier else ["without an identifier"]
    return ", ".join([*said, f"begun {start}" if start else "begun at an unknown time"])
