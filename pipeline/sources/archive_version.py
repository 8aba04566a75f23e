"""Which version of a dandiset is read: the one asked for, else the pinned, else the latest published one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.sources.archive_access import Access, RefusedError
from nwb_latents.pipeline.sources.archive_answers import DRAFT
from nwb_latents.schemas.catalog import MAIN_ARCHIVE_URL

if TYPE_CHECKING:
    from nwb_latents.pipeline.sources.archive_api import ArchiveApi

Why = Literal["asked", "pinned", "latest"]
"""Why a version is read: it was asked for, the catalog pins it, or it is the latest published one."""


@dataclass(frozen=True)
class VersionTaken:
    """The version of a dandiset that is read.

    Attributes
    ----------
    archive
        Address of the archive.
    dandiset, version
        Dandiset id and version.
    why
        Why this one.
    latest
        The latest published version; None: there is none.

    Examples
    --------
    >>> VersionTaken("https://api.dandiarchive.org", "000688", "0.250122.1735", "pinned").words()
    '000688@0.250122.1735 (pinned in the catalog) of https://api.dandiarchive.org'
    """

    archive: str
    dandiset: str
    version: str
    why: Why
    latest: str | None = None

    @property
    def is_of_main_archive(self) -> bool:
        """Whether the archive is the one that is meant where none is said."""
        return self.archive == MAIN_ARCHIVE_URL

    def words(self) -> str:
        """Return it as a person reads it."""
        why = {"asked": "as asked", "pinned": "pinned in the catalog", "latest": "the latest published"}
        return f"{self.dandiset}@{self.version} ({why[self.why]}) of {self.archive}"

    def note(self, *, has_pins: bool) -> str | None:
        """Return what a user should know of it, if anything.

        Parameters
        ----------
        has_pins
            Whether the files of the draft are pinned.
        """
        if self.version == DRAFT and not has_pins:
            return "The draft can change at any time; its files are not pinned."
        if self.latest is not None and self.latest != self.version:
            return f"Version {self.version} is read; the latest published one is {self.latest}."
        return None


def take_version(
    api: ArchiveApi, access: Access, dandiset: str, *, asked: str | None, pinned: str | None
) -> VersionTaken:
    """Return the version of a dandiset that is to be read; it is there.

    Parameters
    ----------
    api, access
        The archive.
    dandiset
        Dandiset id.
    asked, pinned
        Version that was asked for, and that the catalog pins, if any.

    Raises
    ------
    DataError
        If there is no such dandiset or version, or nothing but a draft, which has to be asked for.
    SettingsError
        If a key is missing or refused.
    MachineError
        If the archive does not answer as one.
    """
    with access.asking_for(f"Dandiset {dandiset}"):
        record = api.dandiset(dandiset)
        head = record.most_recent_published_version
        latest = head.version if head else None
        wanted = asked or pinned or latest
        if wanted is None:
            raise DataError(
                f"Dandiset {dandiset} has no published version, only a draft, which can change at "
                f"any time. Ask for it explicitly: {dandiset}@draft."
            )
        if wanted != latest:
            try:
                api.version(dandiset, wanted)
            except RefusedError as error:
                if error.status != 404:
                    raise
                raise DataError(
                    f"Dandiset {dandiset} has no version {wanted}. {published_words(api, dandiset)}"
                ) from error
    why: Why = "asked" if asked else "pinned" if pinned else "latest"
    return VersionTaken(access.address.url, dandiset, wanted, why, latest)


def published_words(api: ArchiveApi, dandiset: str) -> str:
    """Return a sentence that names the published versions.

    The failures are those of `ArchiveApi`; see `Access.asking_for`.
    """
    published = api.published(dandiset)
    if not published:
        return "It has no published version."
    return f"Published versions: {', '.join(published)}; ask for one with {dandiset}@VERSION."
