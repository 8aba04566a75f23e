"""The dandisets that can be asked for by id: the packaged ones, those of other distributions, the user's own.

An entry point of the group ``nwb_latents.dandisets`` yields entries as they stand in `catalog.yaml`: one
entry, under the name of the entry point; or several by their id; or a function that returns either. The
packaged ones come the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import TypeAdapter, ValidationError

from nwb_latents.pipeline.errors import MachineError, PipelineError, SettingsError
from nwb_latents.pipeline.sources.archive_address import resolve_archive
from nwb_latents.schemas.catalog import MAIN_ARCHIVE_URL, DandisetEntry
from nwb_latents.schemas.registry import DANDISETS, LAYOUTS, PartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PACKAGED = "known_dandisets.yaml"
_log = logging.getLogger(__name__)


def known_dandisets(
    own: Mapping[str, DandisetEntry] | None = None, *, wanted: Sequence[str] = ()
) -> dict[str, DandisetEntry]:
    """Return the known dandisets by their id, in order of it.

    What another distribution enters wrongly is left out, which is logged as a warning.

    Parameters
    ----------
    own
        Entries of the user's catalog. They count in place of others of the same id. Where they differ, and
        where they name a layout there is not, that is logged as a warning.
    wanted
        Ids asked for, whose entries have to be had.

    Returns
    -------
    entries
        Dandiset id → pinned version, layout, citation and known issues.

    Raises
    ------
    SettingsError
        If the packaged file does not hold what it should, or two distributions give different entries of a
        dandiset that is `wanted` and not in `own`.
    MachineError
        If the entry of a distribution that is `wanted` cannot be had.

    Examples
    --------
    >>> known_dandisets()["000688"].version
    '0.250122.1735'
    """
    own = own or {}
    entries: dict[str, DandisetEntry] = {}
    givers: dict[str, str] = {}
    doubtful: set[str] = set()

    def fault(dandiset: str, error: PipelineError) -> None:
        if dandiset in wanted and dandiset not in own:
            raise error
        _log.warning("%s It is left out.", error)

    for giver, dandiset, entry in _registered(fault):
        if entries.setdefault(dandiset, entry) != entry and dandiset not in own:
            doubtful.add(dandiset)
            text = (
                f"dandiset {dandiset}: {givers[dandiset]} and {giver} give different entries. Uninstall one "
                f"of them, or enter the one you mean under `dandisets` in your catalog, which counts first."
            )
            fault(dandiset, SettingsError(text))
        givers.setdefault(dandiset, giver)
    for dandiset in doubtful:
        del entries[dandiset]
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


def dandisets_of(
    archive: str, own: Mapping[str, DandisetEntry] | None = None, *, wanted: Sequence[str] = ()
) -> dict[str, DandisetEntry]:
    """Return the known dandisets of one archive by their id, in order of it.

    Dandisets of two archives that have the same id have nothing else in common.

    Parameters
    ----------
    archive
        Address of the archive (`ArchiveAddress.url`).
    own
        Entries of the user's catalog, which count above others.
    wanted
        Ids asked for, whose entries have to be had.

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
    others = known_dandisets(
        own_there if archive == MAIN_ARCHIVE_URL else None,
        wanted=[one for one in wanted if one not in own_there],
    )
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


def _registered(
    fault: Callable[[str, PipelineError], None],
) -> Iterator[tuple[str, str, DandisetEntry]]:
    """Yield distribution, dandiset id and entry of all that is registered.

    Parameters
    ----------
    fault
        Told of each entry that cannot be had: name of the entry point or dandiset, and why.
    """
    for name in DANDISETS:
        try:
            giver, entries = DANDISETS.owner(name), _entries(name)
        except PipelineError as error:
            fault(name, error)
            continue
        for dandiset, entry in entries.items():
            try:
                LAYOUTS.check(entry.layout)
            except PartError as error:
                fault(dandiset, MachineError(f"{_where(name)}: {dandiset}: {error}"))
                continue
            yield giver, dandiset, entry


def _entries(name: str) -> dict[str, DandisetEntry]:
    """Return what an entry point gives, by the ids of the dandisets."""
    where = _where(name)
    try:
        given = DANDISETS.load(name)
        if callable(given):
            given = given()
    except PartError as error:
        raise MachineError(str(error)) from error
    except PipelineError:
        raise
    except Exception as error:
        raise MachineError(f"{where}: {type(error).__name__}: {error}. {DANDISETS.remedy(name)}") from error
    is_one = isinstance(given, DandisetEntry) or (isinstance(given, Mapping) and "version" in given)
    try:
        return TypeAdapter(dict[str, DandisetEntry]).validate_python({name: given} if is_one else given)
    except ValidationError as error:
        raise MachineError(
            f"{where}: {_first(error)}. Expected an entry as in catalog.yaml, or several by their id. "
            f"{DANDISETS.remedy(name)}"
        ) from error


def _where(name: str) -> str:
    return f"{DANDISETS.owner(name)}, entry point {name!r} of nwb_latents.dandisets"


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
