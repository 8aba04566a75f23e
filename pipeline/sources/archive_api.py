"""The questions that are asked of an archive, and listings that are whole or none.

A listing is taken in pages of 1,000 and held against the number of files that the version states before and
after. A draft that is edited meanwhile is listed again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.sources.archive_access import GONE, Access, RefusedError
from nwb_latents.pipeline.sources.archive_answers import (
    DRAFT,
    Answer,
    AssetAnswer,
    DandisetAnswer,
    PageAnswer,
    VersionAnswer,
    ZarrEntry,
    checked,
)
from nwb_latents.pipeline.sources.archive_session import ArchiveSession
from nwb_latents.pipeline.sources.interruptions import InterruptedTransferError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

logger = logging.getLogger(__name__)

Item = TypeVar("Item", bound=Answer)

PAGE_SIZE = 1000
"""Files to a page; the archive gives no more."""

MOST_LISTED = 2_000_000
"""Bound on a listing whose length nothing states."""

_LISTINGS = 5
# A user at the terminal learns within a quarter of a minute that there is no network.
_CONNECT_ATTEMPTS = 5


class ArchiveApi:
    """The interface of an archive.

    Parameters
    ----------
    access
        Which archive, and with which key.
    policy
        Patience.

    Attributes
    ----------
    session
        The connection.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
    >>> ArchiveApi(Access("http://127.0.0.1:9"), policy=RetryPolicy(attempts=1)).connect()
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.MachineError: Archive: the archive http://127.0.0.1:9 cannot be reached ...
    """

    def __init__(self, access: Access, *, policy: RetryPolicy) -> None:
        self._access = access
        self._policy = policy
        self.session = ArchiveSession(access, policy=policy)

    def connect(self) -> ArchiveApi:
        """Ask the archive what it is.

        Raises
        ------
        MachineError
            If no archive answers at the address.
        """
        attempts = min(self._policy.attempts, _CONNECT_ATTEMPTS)
        with self._access.asking_for("Archive"):
            try:
                info = self.session.get_json(self._url("info"), what="Archive", attempts=attempts)
            except RefusedError as error:
                if error.status not in GONE:
                    raise
                raise self._no_archive() from error
            except InterruptedTransferError as error:
                raise self._access.unreachable("Archive", str(error)) from error
        if not isinstance(info, dict):
            raise self._access.not_understood("Archive", "it does not say what it is")
        return self

    def dandiset(self, dandiset: str) -> DandisetAnswer:
        """Return a dandiset with its versions' heads."""
        what = f"Dandiset {dandiset}"
        answer = self.session.get_json(self._url("dandisets", dandiset), what=what)
        return checked(DandisetAnswer, answer, access=self._access, what=what, where="")

    def version(self, dandiset: str, version: str) -> VersionAnswer:
        """Return a version, as it is at this moment."""
        what = f"Dandiset {dandiset}@{version}"
        answer = self.session.get_json(
            self._url("dandisets", dandiset, "versions", version, "info"), what=what
        )
        return checked(VersionAnswer, answer, access=self._access, what=what, where="")

    def published(self, dandiset: str) -> list[str]:
        """Return the published versions, oldest first."""
        url = self._url("dandisets", dandiset, "versions")
        what = f"Versions of dandiset {dandiset}"
        found = self._pages(url, {"page_size": str(PAGE_SIZE)}, VersionAnswer, what=what)
        return sorted({each.version for each in found if each.version != DRAFT}, key=age)

    def files(self, dandiset: str, version: str) -> list[AssetAnswer]:
        """Return all that a version holds, in order of path.

        Raises
        ------
        MachineError
            If the listing and the number of files that the version states do not agree, time and again.
        RefusedError, InterruptedTransferError
            As `ArchiveSession.get_json`.
        """
        what = f"Dandiset {dandiset}@{version}"
        previous: list[tuple[str, str]] | None = None
        before = self.version(dandiset, version)
        complaint = ""
        for number in range(1, _LISTINGS + 1):
            found = self._list_once(dandiset, version, before.asset_count, what=what)
            after = self.version(dandiset, version)
            names = [(each.path, each.asset_id) for each in found]
            complaint = _complaint(names, after.asset_count, is_edited=before != after and names != previous)
            if not complaint:
                return sorted(found, key=lambda each: each.path)
            logger.warning("%s: %s; listing it again (%d of %d)", what, complaint, number, _LISTINGS)
            before, previous = after, names
        raise MachineError(
            f"{what}: its files cannot be listed: {complaint}, on each of {_LISTINGS} listings. Nothing was "
            "read, since a session could be missing. "
            + (
                "Someone is editing the draft: try again later, or ask for a published version."
                if version == DRAFT
                else "Try again later; if it stays so, report it to the archive."
            )
        )

    def asset(self, asset_id: str, *, what: str) -> AssetAnswer:
        """Return a file by its id, whatever version it is in."""
        answer = self.session.get_json(self._url("assets", asset_id, "info"), what=what)
        return checked(AssetAnswer, answer, access=self._access, what=what, where="")

    def asset_by_path(self, dandiset: str, version: str, path: str, *, what: str) -> AssetAnswer:
        """Return a file by its path.

        Raises
        ------
        RefusedError
            With status 404, if there is none.
        """
        url = self._url("dandisets", dandiset, "versions", version, "assets")
        query = {"path": path, "metadata": "true", "page_size": str(PAGE_SIZE)}
        # The archive looks for paths that begin so, whatever their case.
        for found in self._pages(url, query, AssetAnswer, what=what):
            if found.path == path:
                return found
        raise RefusedError(404)

    def zarr_entries(self, zarr_id: str, *, most: int, what: str) -> list[ZarrEntry]:
        """Return the files of a Zarr, at most so many."""
        url = self._url("zarr", zarr_id, "files")
        pages = self._pages(url, {"limit": str(PAGE_SIZE)}, ZarrEntry, what=what, most=most)
        return list(pages)

    def download_url(self, asset_id: str) -> str:
        """Return the address at the archive that leads to the bytes of a file."""
        return self._url("assets", asset_id, "download")

    def zarr_file_url(self, zarr_id: str, key: str) -> str:
        """Return the address at the archive that leads to the bytes of a file of a Zarr."""
        return f"{self._url('zarr', zarr_id, 'files')}?prefix={quote(key, safe='')}&download=true"

    def _url(self, *words: str) -> str:
        return "/".join([self._access.address.api_url, *(quote(word, safe="") for word in words), ""])

    def _list_once(self, dandiset: str, version: str, stated: int | None, *, what: str) -> list[AssetAnswer]:
        url = self._url("dandisets", dandiset, "versions", version, "assets")
        # With the metadata come the digests, which say without a download whether anything is to be done.
        query = {"order": "path", "metadata": "true", "page_size": str(PAGE_SIZE)}
        # A draft may grow meanwhile: a page more than stated is listed again, not refused.
        most = MOST_LISTED if stated is None else stated + PAGE_SIZE
        return list(self._pages(url, query, AssetAnswer, what=what, most=most))

    def _pages(
        self, url: str, query: dict[str, str], kind: type[Item], *, what: str, most: int = MOST_LISTED
    ) -> Iterator[Item]:
        """Yield what a listing holds, page by page, wherever it claims to go on.

        Only the query of a page's ``next`` is taken: the address stays the one that was asked.
        """
        seen: set[tuple[tuple[str, str], ...]] = set()
        n_found = 0
        while True:
            seen.add(tuple(sorted(query.items())))
            answer = self.session.get_json(url, query, what=what)
            page = checked(PageAnswer, answer, access=self._access, what=what, where="")
            for number, item in enumerate(page.results):
                yield checked(kind, item, access=self._access, what=what, where=f"results.{number}")
            n_found += len(page.results)
            if n_found > most:
                raise self._access.not_understood(what, f"it lists more than {most} files")
            if page.next is None:
                return
            query = self._following(page.next, url, what=what)
            if tuple(sorted(query.items())) in seen or not page.results:
                raise self._access.not_understood(
                    what,
                    f"its listing goes in circles: the page after {n_found} files is one of those before",
                )

    def _following(self, link: str, url: str, *, what: str) -> dict[str, str]:
        here = urlsplit(url)
        try:
            there = urlsplit(link)
            query = dict(parse_qsl(there.query, keep_blank_values=True))
        except ValueError:
            there, query = urlsplit(""), {}
        # An archive behind a proxy that ends TLS may say http of itself: nothing is asked there.
        if (there.netloc.lower(), there.path) != (here.netloc.lower(), here.path):
            raise self._access.not_understood(
                what,
                f"its next page would be at {ascii(link)[1:-1][:120]}, which is not this listing's address",
            )
        return query

    def _no_archive(self) -> MachineError:
        """Return the error for a server without the interface; a web page may say where it is."""
        given, url = self._access.address.given, self._access.address.url
        try:
            info: Any = self.session.get_json(f"{url}/server-info", what="Archive", attempts=1)
            where = info["services"]["api"]["url"]
            if isinstance(where, str) and not self._access.address.is_own(where):
                shown = ascii(where)[1:-1][:200]
                return MachineError(
                    f"Archive: {given} is the web page of an archive that names {shown} as its interface. A "
                    f"key is sent only where you say: give --instance {shown} if you trust it."
                )
        except Exception as error:
            logger.debug("%s: no server-info: %s", url, error)
        return self._access.unreachable(
            "Archive", f"{self._access.address.api_url}/info/ is not there: it is no DANDI archive"
        )


def age(version: str) -> tuple[int, ...]:
    """Order versions by publication: 0.YYMMDD.HHMM, without leading zeros.

    Examples
    --------
    >>> sorted(["0.230101.1000", "0.230101.900"], key=age)
    ['0.230101.900', '0.230101.1000']
    """
    return tuple(int(part) for part in version.split("."))


def _complaint(names: list[tuple[str, str]], stated: int | None, *, is_edited: bool) -> str:
    if stated is not None and len(names) != stated:
        return f"{len(names)} files were listed where {stated} are stated"
    if len({path for path, _ in names}) != len(names):
        return "a file was listed twice"
    if is_edited:
        return "the version was edited while it was listed"
    return ""
