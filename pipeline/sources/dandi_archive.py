"""NWB files, in HDF5 or Zarr, from the DANDI archive: a pinned version, every byte verified.

A dandiset without a version means its pinned version, else the latest published one, never the draft. A
file has its final name only after its size and digests were those the archive, and the catalog's pin,
state.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.sources.archive_access import GONE, Access, RefusedError
from nwb_latents.pipeline.sources.archive_answers import DRAFT, AssetAnswer
from nwb_latents.pipeline.sources.archive_api import ArchiveApi
from nwb_latents.pipeline.sources.archive_listing import Listed, choose_recordings, hold_against_pins
from nwb_latents.pipeline.sources.archive_paths import local_path, parse_dandiset
from nwb_latents.pipeline.sources.archive_promise import Expected, gone, promised
from nwb_latents.pipeline.sources.archive_version import VersionTaken, published_words, take_version
from nwb_latents.pipeline.sources.asset import Asset, BytesProgress, Mode
from nwb_latents.pipeline.sources.checksums import forget_file, noted_sha256, remember_digests
from nwb_latents.pipeline.sources.disk import disk_errors, one_at_a_time
from nwb_latents.pipeline.sources.fetch_or_stream import deliver
from nwb_latents.pipeline.sources.file_download import download
from nwb_latents.pipeline.sources.local_copies import is_remembered, is_verified
from nwb_latents.pipeline.sources.remote_file import RemoteFile, StreamRefusedError
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
from nwb_latents.pipeline.sources.zarr_download import fetch_zarr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwb_latents.schemas.catalog import AssetPin, DandisetEntry
    from nwb_latents.schemas.recipe import IngestRecipe

logger = logging.getLogger(__name__)


class DandiSource:
    """The NWB files of one version of one dandiset.

    Nothing is asked of the archive before `assets` or `fetch` is called. A source can be sent to other
    processes; each opens its own connection.

    Parameters
    ----------
    dandiset
        Six digits, or ``ID@VERSION``.
    version
        Version, ``draft``, or None for the pinned or the latest published one.
    instance
        URL of the archive, or a name the client knows.
    download_dir
        Files go to ``download_dir/ID/VERSION/PATH``.
    token
        API key to use in this process, in place of the one in `token_env`. It is not sent to other processes,
        which read `token_env` of theirs. The terminal is never asked for one.
    known
        Entry of the catalog: pinned version and, for a draft, pinned files.
    token_env
        Environment variable the key comes from; None: that of the archive, e.g. ``DANDI_API_KEY`` of the main
        one.
    policy
        Patience with the server.
    verify
        Whether all bytes of a file that is streamed are read once more at the end and held against the
        SHA-256 that the archive states.

    Attributes
    ----------
    notes
        What a user should know of the listing, one sentence each; filled by `assets`.
    listed
        Paths of the recordings that `assets` found.
    verifies_streams
        Whether a streamed file is held against its SHA-256.

    Examples
    --------
    >>> source = DandiSource("000688@0.250122.1735", download_dir=Path("downloads"))
    >>> source.dandiset
    '000688'
    """

    def __init__(
        self,
        dandiset: str,
        *,
        version: str | None = None,
        instance: str = "dandi",
        download_dir: Path,
        token: str | None = None,
        known: DandisetEntry | None = None,
        token_env: str | None = None,
        policy: RetryPolicy | None = None,
        verify: bool = False,
    ) -> None:
        self.dandiset, version_in_name = parse_dandiset(f"{dandiset}@{version}" if version else dandiset)
        self.notes: tuple[str, ...] = ()
        self.listed: frozenset[str] = frozenset()
        self._asked_version = version_in_name
        self._known = known
        self._download_dir = Path(download_dir)
        self._access = Access(instance, variable=token_env, token=token)
        self._policy = policy or RetryPolicy()
        self.verifies_streams = verify
        self._api: ArchiveApi | None = None
        self._taken: VersionTaken | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open connection behind."""
        return {**self.__dict__, "_api": None}

    @property
    def version(self) -> str:
        """The version that is read; asks the archive unless it is given or pinned."""
        wanted = self._asked_version or (self._known.version if self._known else None)
        return wanted or self.taken.version

    @property
    def taken(self) -> VersionTaken:
        """The version that is read, of which archive, and why it; asks the archive."""
        if self._taken is None:
            pinned = self._known.version if self._known else None
            self._taken = take_version(
                self._opened(), self._access, self.dandiset, asked=self._asked_version, pinned=pinned
            )
        return self._taken

    def assets(self) -> list[Asset]:
        """List the NWB files, in order of their path.

        Raises
        ------
        DataError
            If the archive has no such dandiset or version, the version is empty, nothing but a draft
            exists and it was not asked for, or a path leads out of the download folder.
        SettingsError
            If a key is missing or refused.
        MachineError
            If the archive cannot be reached.
        """
        taken = self.taken
        with self._access.asking_for(f"Dandiset {self.dandiset}@{taken.version}"):
            api = self._opened()
            listed = [Listed.of(each) for each in api.files(self.dandiset, taken.version)]
            if not listed:
                raise DataError(
                    f"Dandiset {self.dandiset}@{taken.version} holds no files. "
                    f"{published_words(api, self.dandiset)}"
                )
        note = taken.note(has_pins=bool(self._pins()))
        found, left_out = choose_recordings(listed)
        notes = [*([note] if note else []), *left_out]
        for file in found:
            local_path(self._folder(self.version), file.path)
        if self._pins():
            found, changes = hold_against_pins(self._pins().values(), found)
            notes.extend(changes)
        assets = [self._asset(file) for file in found]
        if not assets:
            raise DataError(
                f"Dandiset {self.dandiset}@{self.version} holds {len(listed)} files, none of them an NWB "
                "file this program can read. Choose another dandiset or version."
            )
        self.notes, self.listed = tuple(notes), frozenset(asset.path for asset in assets)
        return sorted(assets, key=lambda asset: asset.path)

    def fetch(self, asset: Asset, progress: BytesProgress | None = None) -> Path:
        """Return a local, verified copy of a file, or of a folder for NWB in Zarr; download what is missing.

        Parameters
        ----------
        asset
            One of `assets`, here or in another process.
        progress
            Called with bytes done and bytes in all.

        Raises
        ------
        DataError
            If the archive no longer has the file, has other content than is pinned, or keeps
            delivering it corrupted. Nothing is kept under the file's name.
        SettingsError
            If a key is missing or refused.
        MachineError
            If the archive cannot be reached or the disk is full. What was downloaded is kept apart, and
            the next call goes on from there.
        """
        path = local_path(self._folder(self._version_of(asset)), asset.path)
        if not self._is_remembered(asset, path):
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with one_at_a_time(path.with_name(f".{path.name}.lock"), name=asset.path):
                    self._fetch_locked(asset, path, progress)
        if progress:
            progress(asset.size, asset.size)
        return path

    @contextmanager
    def open(
        self, asset: Asset, *, mode: Mode, recipe: IngestRecipe, progress: BytesProgress | None = None
    ) -> Iterator[tuple[Path | RemoteFile, str]]:
        """Give the content of a file, and its digest ``sha256:<hex>``, for a ``with`` block.

        Parameters
        ----------
        asset, progress
            As for `fetch`.
        mode
            ``auto`` streams where `recipe` needs at most half of the file and the storage can be read in
            parts, and else downloads. A verified copy in the download folder is used in any mode.

        Raises
        ------
        DataError, SettingsError, MachineError
            As `fetch` and `open_stream`; a failed stream, at the end of the block at the latest.
        """
        with deliver(self, asset, mode=mode, recipe=recipe, progress=progress) as delivered:
            yield delivered

    def open_stream(self, asset: Asset) -> RemoteFile:
        """Return a file opened for reading where it lies. The key of the archive stays with the archive.

        Raises
        ------
        StreamRefusedError
            If it is NWB in Zarr, or the archive does not state the SHA-256 of the file: there would be
            nothing to know it by.
        DataError, SettingsError, MachineError
            As `fetch`.
        """
        expected, first_url = self._stated(asset)
        if expected.sha256 is None:
            raise StreamRefusedError(
                f"{self._name(asset.path)}: the archive has not computed the SHA-256 of this file, by which "
                "a store is known, so it cannot be streamed. Fetch the file with --download."
            )
        urls = iter([first_url])
        return RemoteFile(
            lambda: next(urls, None) or self.content_url(asset),
            size=expected.size,
            etag=expected.dandi_etag,
            policy=self._policy,
            name=PurePosixPath(asset.path).name,
            digest=f"sha256:{expected.sha256}",
            verify=self.verifies_streams,
        )

    def local_copy(self, asset: Asset) -> Path | None:
        """Return the verified copy of a file in the download folder, or None; nothing is asked or read."""
        path = local_path(self._folder(self._version_of(asset)), asset.path)
        return path if self._is_remembered(asset, path) else None

    def content_url(self, asset: Asset) -> str:
        """Return where the bytes of a file lie in the storage, for reading parts of it.

        The redirect of the archive is resolved once; the URL may expire after some hours.

        Raises
        ------
        DataError, SettingsError, MachineError
            As `fetch`.
        """
        return self._stated(asset)[1]

    def _stated(self, asset: Asset) -> tuple[Expected, str]:
        name = self._name(asset.path)
        with self._access.asking_for(name):
            remote = self._remote_asset(asset)
            expected = self._expected(asset, remote)
            if remote.is_zarr:
                raise StreamRefusedError(
                    f"{name}: it is NWB in Zarr, a folder of many files, so it cannot be "
                    "streamed. Fetch it with --download."
                )
            api = self._opened()
            return expected, api.session.location(api.download_url(remote.asset_id), what=name)

    def _fetch_locked(self, asset: Asset, path: Path, progress: BytesProgress | None) -> None:
        if is_verified(path, Expected.of(asset, self._pin(asset)), progress):
            return
        with self._access.asking_for(self._name(asset.path)):
            remote = self._remote_asset(asset)
            expected = self._expected(asset, remote)
            if is_verified(path, expected, progress):
                return
            api = self._opened()
            if remote.is_zarr:
                fetch_zarr(
                    api,
                    remote,
                    path=path,
                    expected=expected,
                    name=asset.path,
                    policy=self._policy,
                    progress=progress,
                )
                return
            if path.exists():
                logger.warning("%s: not the file of the archive; it is downloaded again", path)
                forget_file(path)
            digests = download(
                api.session.requests,
                api.download_url(remote.asset_id),
                path=path,
                expected=expected,
                policy=self._policy,
                progress=progress,
            )
        remember_digests(path, digests)

    def _is_remembered(self, asset: Asset, path: Path) -> bool:
        return is_remembered(path, Expected.of(asset, self._pin(asset)))

    def _pin(self, asset: Asset) -> AssetPin | None:
        return self._pins().get(asset.path) if self._version_of(asset) == DRAFT else None

    def _expected(self, asset: Asset, remote: AssetAnswer) -> Expected:
        name = self._name(asset.path)
        return promised(remote, name=name, known=Expected.of(asset, self._pin(asset)), pin=self._pin(asset))

    def _remote_asset(self, asset: Asset) -> AssetAnswer:
        pin, name = self._pin(asset), self._name(asset.path)
        asset_id = asset.asset_id or (pin.asset_id if pin else None)
        try:
            if asset_id is not None:
                return self._opened().asset(asset_id, what=name)
            return self._opened().asset_by_path(self.dandiset, self._version_of(asset), asset.path, what=name)
        except RefusedError as error:
            if pin is None or error.status not in GONE:
                raise
            raise gone(name, pin) from error

    def _asset(self, file: Listed) -> Asset:
        sha256 = file.sha256
        if file.zarr_checksum:
            # The archive knows a Zarr by another digest; which of ours it is, an earlier download has noted.
            sha256 = noted_sha256(local_path(self._folder(self.version), file.path), file.zarr_checksum)
        return Asset(
            path=file.path,
            size=file.size,
            digest=f"sha256:{sha256}" if sha256 else None,
            dandiset=self.dandiset,
            version=self.version,
            asset_id=file.asset_id,
            archive=self._access.address.url,
            is_zarr=not file.is_blob,
            zarr_checksum=file.zarr_checksum,
        )

    def _pins(self) -> dict[str, AssetPin]:
        if self._known is None or self._known.version != DRAFT or self.version != DRAFT:
            return {}
        return {pin.path: pin for pin in self._known.pins}

    def _opened(self) -> ArchiveApi:
        if self._api is None:
            self._api = ArchiveApi(self._access, policy=self._policy).connect()
        return self._api

    def _folder(self, version: str) -> Path:
        return self._download_dir / self.dandiset / version

    def _version_of(self, asset: Asset) -> str:
        """Return the version an asset was listed in, which asks nothing of the archive."""
        if asset.version is None:
            return self.version
        dandiset, version = parse_dandiset(f"{asset.dandiset or self.dandiset}@{asset.version}")
        if dandiset != self.dandiset or version is None:
            raise DataError(
                f"{asset.path} was listed in {asset.dandiset}@{asset.version}, but is asked from dandiset "
                f"{self.dandiset}. List the files of that dandiset again."
            )
        return version

    def _name(self, path: str) -> str:
        return f"{self.dandiset}@{self.version} {path}"
