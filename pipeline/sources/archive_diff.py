"""What an archive changed since a dandiset was pinned.

A published version never changes, but newer ones may be published. A draft changes without notice: its files
are held against the pinned ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.sources.archive_access import Access
from nwb_latents.pipeline.sources.archive_answers import DRAFT
from nwb_latents.pipeline.sources.archive_api import ArchiveApi, age
from nwb_latents.pipeline.sources.archive_listing import Listed
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.schemas.catalog import DandisetEntry

Change = Literal["added", "removed", "content", "id", "unknown"]


@dataclass(frozen=True)
class FileChange:
    """One file that is not as it was pinned.

    Attributes
    ----------
    path
        Path in the dandiset.
    change
        One of:

        * ``added``, ``removed``: the file is there on one side only
        * ``content``: another size or digest (SHA-256, of a Zarr its zarr checksum)
        * ``id``: the same content under another asset id, as after an edit of its metadata
        * ``unknown``: another id, same size, and the archive has not computed the digest yet
    before, after
        The file as pinned and as it is; None where it is not there.
    """

    path: str
    change: Change
    before: Listed | None
    after: Listed | None


@dataclass(frozen=True)
class DandisetDiff:
    """What has become of a pinned dandiset.

    Attributes
    ----------
    dandiset, pinned
        Dandiset id and pinned version.
    newer
        Versions published since, oldest first; for a pinned draft all published ones.
    compared
        Version whose files were held against the pinned ones; None if there was nothing to compare.
    changes
        Files that differ, in order of their path.
    notes
        What else a user should know, one sentence each.

    Examples
    --------
    >>> DandisetDiff("000688", "0.250122.1735").is_unchanged
    True
    """

    dandiset: str
    pinned: str
    newer: tuple[str, ...] = ()
    compared: str | None = None
    changes: tuple[FileChange, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_unchanged(self) -> bool:
        """Whether the archive holds nothing but what was pinned."""
        return not (self.newer or self.changes or self.notes)

    def count(self, change: Change) -> int:
        """Return how many files changed that way."""
        return sum(file.change == change for file in self.changes)


def diff_dandiset(
    known: DandisetEntry,
    dandiset: str,
    *,
    instance: str = "dandi",
    token: str | None = None,
    token_env: str | None = None,
    policy: RetryPolicy | None = None,
) -> DandisetDiff:
    """Ask the archive what has changed since a dandiset was pinned. Nothing is downloaded.

    Parameters
    ----------
    known
        Entry of the catalog: pinned version and, for a draft, pinned files.
    dandiset
        Dandiset id, six digits.
    instance
        URL of the archive, or a name the client knows.
    token
        API key, in place of the one in `token_env`.
    token_env
        Environment variable the key comes from; None: that of the archive.
    policy
        Patience with the server.

    Returns
    -------
    diff
        For a pinned draft, its files against the pins; for a published version, its files against those of
        the newest one.

    Raises
    ------
    DataError
        If the archive has no such dandiset.
    SettingsError
        If a key is missing or refused.
    MachineError
        If the archive cannot be reached.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.known_dandisets import known_dandisets
    >>> diff_dandiset(
    ...     known_dandisets()["000688"], "000688", instance="http://127.0.0.1:9",
    ...     policy=RetryPolicy(attempts=1),
    ... )
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.MachineError: Archive: the archive http://127.0.0.1:9 cannot be reached ...
    """
    access = Access(instance, variable=token_env, token=token)
    api = ArchiveApi(access, policy=policy or RetryPolicy()).connect()
    with access.asking_for(f"Dandiset {dandiset}"):
        published = api.published(dandiset)
        if known.version == DRAFT:
            listed = _listed(api, dandiset, DRAFT)
            pins = [Listed.of_pin(pin) for pin in known.pins]
            notes = () if pins else ("No file of the draft is pinned, so there is nothing to compare.",)
            return DandisetDiff(
                dandiset,
                DRAFT,
                newer=tuple(published),
                compared=DRAFT if pins else None,
                changes=compare_files(pins, listed) if pins else (),
                notes=notes,
            )
        newer = tuple(version for version in published if age(version) > age(known.version))
        if known.version not in published:
            note = (
                f"The pinned version {known.version} is no longer in the archive, which has: "
                f"{', '.join(published) or 'only a draft'}."
            )
            return DandisetDiff(dandiset, known.version, newer=newer, notes=(note,))
        if not newer:
            return DandisetDiff(dandiset, known.version)
        sides = [_listed(api, dandiset, version) for version in (known.version, newer[-1])]
        return DandisetDiff(
            dandiset, known.version, newer=newer, compared=newer[-1], changes=compare_files(*sides)
        )


def diff_versions(
    dandiset: str,
    before: str,
    after: str,
    *,
    instance: str = "dandi",
    token: str | None = None,
    token_env: str | None = None,
    policy: RetryPolicy | None = None,
) -> DandisetDiff:
    """Compare the files of two versions of a dandiset. Nothing is downloaded.

    Parameters
    ----------
    dandiset
        Dandiset id, six digits.
    before, after
        The two versions; either may be ``draft``.
    instance, token, token_env, policy
        As for `diff_dandiset`.

    Raises
    ------
    DataError
        If the archive has no such dandiset or version.
    SettingsError
        If a key is missing or refused.
    MachineError
        If the archive cannot be reached.

    Examples
    --------
    >>> diff_versions(
    ...     "000688", "0.250122.1735", "draft", instance="http://127.0.0.1:9", policy=RetryPolicy(attempts=1)
    ... )
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.MachineError: Archive: the archive http://127.0.0.1:9 cannot be reached ...
    """
    access = Access(instance, variable=token_env, token=token)
    api = ArchiveApi(access, policy=policy or RetryPolicy()).connect()
    with access.asking_for(f"Dandiset {dandiset}"):
        published = api.published(dandiset)
        missing = [version for version in (before, after) if version not in (*published, DRAFT)]
        if missing:
            raise DataError(
                f"Dandiset {dandiset} has no version {' and no '.join(missing)}. There are: "
                f"{', '.join((*published, DRAFT))}."
            )
        newer = () if before == DRAFT else tuple(each for each in published if age(each) > age(before))
        sides = [_listed(api, dandiset, version) for version in (before, after)]
    return DandisetDiff(dandiset, before, newer=newer, compared=after, changes=compare_files(*sides))


def _listed(api: ArchiveApi, dandiset: str, version: str) -> list[Listed]:
    return [Listed.of(each) for each in api.files(dandiset, version)]


def compare_files(before: Iterable[Listed], after: Iterable[Listed]) -> tuple[FileChange, ...]:
    """Return the files that differ between two listings, in order of their path.

    Parameters
    ----------
    before
        Files as pinned.
    after
        Files as they are.

    Examples
    --------
    >>> old = [Listed("a.nwb", 3, "1", "a" * 64), Listed("b.nwb", 3, "2", "b" * 64)]
    >>> new = [Listed("a.nwb", 4, "3", "c" * 64), Listed("c.nwb", 3, "2", "b" * 64)]
    >>> [(file.path, file.change) for file in compare_files(old, new)]
    [('a.nwb', 'content'), ('b.nwb', 'removed'), ('c.nwb', 'added')]
    """
    was, now = ({file.path: file for file in side} for side in (before, after))
    found = []
    for path in sorted(was | now):
        old, new = was.get(path), now.get(path)
        change = _change(old, new)
        if change is not None:
            found.append(FileChange(path, change, old, new))
    return tuple(found)


def _change(old: Listed | None, new: Listed | None) -> Change | None:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    if old.is_blob != new.is_blob or old.size != new.size:
        return "content"
    if old.digest and new.digest and old.digest != new.digest:
        return "content"
    if old.asset_id == new.asset_id:
        return None
    return "id" if old.digest and new.digest else "unknown"
