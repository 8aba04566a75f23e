"""Which version of a dandiset an ingest takes, held against what the catalog has of it.

The latest version is another one tomorrow. Where a catalog holds sessions of one version, the same command
must not mix those of another in: it says so and asks for a pin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection

    from nwb_latents.pipeline.sources.archive_version import VersionTaken
    from nwb_latents.schemas.catalog import Catalog, SessionEntry

_SHOWN = 8


def require_known_version(taken: VersionTaken, catalog: Catalog) -> None:
    """Refuse to take the latest version where the catalog has sessions of others only.

    Parameters
    ----------
    taken
        The version.
    catalog
        The catalog that the sessions go into.

    Raises
    ------
    SettingsError
        If neither the command nor the catalog says which version is meant.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.archive_version import VersionTaken
    >>> from nwb_latents.schemas.catalog import Catalog
    >>> require_known_version(VersionTaken("https://lab.org", "000688", "0.2.0", "latest"), Catalog())
    """
    complaint = other_version(taken, catalog)
    if complaint and taken.why == "latest":
        raise SettingsError(complaint)


def other_version(taken: VersionTaken, catalog: Catalog) -> str | None:
    """Return what to say where the catalog has sessions of other versions of the dandiset only, or None."""
    versions = sorted({_version(entry) for entry in _sessions(taken, catalog)})
    if not versions or taken.version in versions:
        return None
    name, held = taken.dandiset, " and ".join(versions)
    said = f"Dandiset {name}: the sessions in the catalog are of version {held}"
    if taken.why != "latest":
        return f"{said}; {taken.version} is read now."
    where = "" if taken.is_of_main_archive else f" --instance {taken.archive}"
    return (
        f"{said}, and {taken.version} has been published since, which this command would take. Say which is "
        f"meant: `pipeline catalog pin {name}@{versions[-1]}{where}` stays, `pipeline catalog pin "
        f"{name}@{taken.version}{where}` goes on with the new one (`pipeline catalog diff --dandiset "
        f"{name}@{versions[-1]} --dandiset {name}@{taken.version}{where}` shows what changed)."
    )


def gone_sessions(
    taken: VersionTaken, catalog: Catalog, listed: Collection[str], *, recipe_id: str
) -> str | None:
    """Return which sessions of the catalog are no longer in the version, or None.

    Parameters
    ----------
    taken
        The version.
    catalog
        The catalog.
    listed
        Paths of all its recordings.
    recipe_id
        Recipe of the stores.
    """
    gone = [
        entry.session
        for entry in _sessions(taken, catalog)
        if entry.recipe_id == recipe_id and entry.source not in listed
    ]
    if not gone:
        return None
    more = f" and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else ""
    return (
        f"{len(gone)} sessions of the catalog are not in {taken.dandiset}@{taken.version} (any more): "
        f"{', '.join(gone[:_SHOWN])}{more}. Their stores stay, of the version they were made from."
    )


def _sessions(taken: VersionTaken, catalog: Catalog) -> list[SessionEntry]:
    return [
        entry
        for entry in catalog.sessions.values()
        if (entry.dandiset or "").startswith(f"{taken.dandiset}@") and entry.archive in {None, taken.archive}
    ]


def _version(entry: SessionEntry) -> str:
    return (entry.dandiset or "").partition("@")[2]
