"""The dandisets that can be asked for by id: the packaged ones, those of other distributions, the user's own.

An entry point of the group ``nwb_latents.dandisets`` yields entries as they stand in `catalog.yaml`: one
entry, under the name of the entry point; or several by their id; or a function that returns either. The
packaged ones come the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import TypeAdapter, ValidationError

from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.sources.archive_address import resolve_archive
from nwb_latents.schemas.catalog import MAIN_ARCHIVE_URL, DandisetEntry
from nwb_latents.schemas.registry import DANDISETS, LAYOUTS, PartError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGED = "known_dandisets.yaml"
_log = logging.getLogger(__name__)


def known_dandisets(own: Mapping[str, DandisetEntry] | None = None) -> dict[str, DandisetEntry]:
    """Return the known dandisets by their id, in order of it.

    Parameters
    ----------
    own
        Entries of the user's catalog. They count in place of others of the same id. Where they differ, and
        where they name a layout there is not, that is logged as a warning.

    Returns
    -------
    entries
        Dandiset id → pinned version, layout, citation and known issues.

    Raises
    ------
    SettingsError
        If the packaged file does not hold what it should, or two distributions give different entries of one
        dandiset that is not in `own`.
    MachineError
        If entries of a distribution cannot be had.

    Examples
    --------
    >>> known_dandisets()["000688"].version
    '0.250122.1735'
    """
    own = own or {}
    entries: dict[str, DandisetEntry] = {}
    givers: dict[str, str] = {}
    for giver, dandiset, entry in _registered():
        if entries.setdefault(dandiset, entry) != entry and dandiset not in own:
            raise SettingsError(
                f"dandiset {dandiset}: {givers[dandiset]} and {giver} give different entries. Uninstall one "
                f"of them, or enter the one you mean under `dandisets` in your catalog, which counts first."
            )
        givers.setdefault(dandiset, giver)
    for dandiset, entry in own.items():
        if entry.layout not in LAYOUTS:
            _log.warning("dandiset %s of your catalog: there is no layout %r", dandiset, entry.layout)
        if entries.get(dandiset, entry) != entry:
            _log.warning(
                "dandiset %s: the entry of your catalog counts, not the other one of %s",
                dandiset,
                givers[dandiset],
            )
    return dict(sorted({**entries, **own}.items()))


def pin_key(archive: str, dandiset: str) -> str:
    """Return the key under which a catalog has a dandiset of an archive.

    Parameters
    ----------
    archive
        Address of the archive (`ArchiveAddress.url`).
    dandiset
        Dandiset id.

    Examples
    --------
    >>> pin_key("https://api.dandiarchive.org", "000688"), pin_key("http://127.0.0.1:8000", "000688")
    ('000688', '127.0.0.1:8000/000688')
    """
    return dandiset if archive == MAIN_ARCHIVE_URL else f"{archive.partition('://')[2]}/{dandiset}"


def dandisets_of(archive: str, own: Mapping[str, DandisetEntry] | None = None) -> dict[str, DandisetEntry]:
    """Return the known dandisets of one archive by their id, in order of it.

    Dandisets of two archives that have the same id have nothing else in common.

    Parameters
    ----------
    archive
        Address of the archive (`ArchiveAddress.url`).
    own
        Entries of the user's catalog, which count above others.

    Raises
    ------
    SettingsError, MachineError
        As `known_dandisets`.

    Examples
    --------
    >>> "000688" in dandisets_of("https://api.dandiarchive.org"), dandisets_of("http://127.0.0.1:8000")
    (True, {})
    """
    own_there = {
        key.rpartition("/")[2]: entry for key, entry in (own or {}).items() if _is_of(entry, archive)
    }
    others = known_dandisets(own_there if archive == MAIN_ARCHIVE_URL else None)
    there = {key.rpartition("/")[2]: entry for key, entry in others.items() if _is_of(entry, archive)}
    return dict(sorted({**there, **own_there}.items()))


def _is_of(entry: DandisetEntry, archive: str) -> bool:
    return entry.archive == archive or resolve_archive(entry.archive).url == archive


def packaged_dandisets() -> dict[str, DandisetEntry]:
    """Return the dandisets that come with the package: `catalog.yaml` at the top of the source.

    Raises
    ------
    SettingsError
        If the file is missing or does not hold what it should.

    Examples
    --------
    >>> packaged_dandisets()["000070"].layout
    '000070'
    """
    packaged = resources.files("nwb_latents") / _PACKAGED
    return parse_dandisets(_read(Path(str(packaged))), source=_PACKAGED)


def parse_dandisets(text: str, *, source: str) -> dict[str, DandisetEntry]:
    """Read the ``dandisets`` of a catalog; whatever else it holds is not looked at.

    Parameters
    ----------
    text
        A catalog in YAML.
    source
        Where it comes from, for messages.

    Raises
    ------
    SettingsError
        If it is not YAML or an entry is not as `schemas.catalog.DandisetEntry` says.

    Examples
    --------
    >>> parse_dandisets("dandisets: {}", source="catalog.yaml")
    {}
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: not readable as YAML: {error}. Restore the file.") from error
    entries = content.get("dandisets") if isinstance(content, dict) else None
    try:
        found = TypeAdapter(dict[str, DandisetEntry]).validate_python(entries or {})
    except ValidationError as error:
        raise SettingsError(
            f"{source}: dandisets.{_first(error)}. Ids and versions are text: quote them."
        ) from error
    return dict(sorted(found.items()))


def _registered() -> Iterator[tuple[str, str, DandisetEntry]]:
    """Yield distribution, dandiset id and entry of all that is registered."""
    for name in DANDISETS:
        try:
            giver, given = DANDISETS.owner(name), DANDISETS.load(name)
        except PartError as error:
            raise MachineError(str(error)) from error
        where = f"{giver}, entry point {name!r} of nwb_latents.dandisets"
        if callable(given):
            try:
                given = given()
            except SettingsError:
                raise
            except Exception as error:
                raise MachineError(
                    f"{where}: {type(error).__name__}: {error}. Mend or uninstall that distribution."
                ) from error
        for dandiset, entry in _entries(name, given, where=where).items():
            _require_layout(entry, where=f"{where}: {dandiset}")
            yield giver, dandiset, entry


def _entries(name: str, given: object, *, where: str) -> dict[str, DandisetEntry]:
    is_one = isinstance(given, DandisetEntry) or (isinstance(given, Mapping) and "version" in given)
    try:
        return TypeAdapter(dict[str, DandisetEntry]).validate_python({name: given} if is_one else given)
    except ValidationError as error:
        raise MachineError(
            f"{where}: {_first(error)}. Expected an entry as in catalog.yaml, or several by their id. Mend "
            "or uninstall that distribution."
        ) from error


def _require_layout(entry: DandisetEntry, *, where: str) -> None:
    try:
        LAYOUTS.check(entry.layout)
    except PartError as error:
        raise MachineError(f"{where}: {error}") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(word) for word in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"{path}: the list of known dandisets cannot be read: {error.strerror}. "
            "Install the package again."
        ) from error
