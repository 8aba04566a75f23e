"""Whether a file of an archive is fetched whole or read where it lies."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from nwb_latents.pipeline.sources.byte_ranges import StreamRefusedError
from nwb_latents.pipeline.sources.checksums import verified_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nwb_latents.pipeline.sources.asset import Asset, BytesProgress, Mode
    from nwb_latents.pipeline.sources.remote_file import RemoteFile
    from nwb_latents.schemas.recipe import IngestRecipe

logger = logging.getLogger(__name__)

MOST_STREAMED = 0.5
"""Share of a file's bytes up to which ``auto`` streams it; above, a verified copy costs hardly more."""


class Archive(Protocol):
    """A source whose files can be fetched and streamed."""

    def fetch(self, asset: Asset, progress: BytesProgress | None = None) -> Path:
        """Return a local, verified copy."""

    def open_stream(self, asset: Asset) -> RemoteFile:
        """Open a file for reading where it lies."""

    def local_copy(self, asset: Asset) -> Path | None:
        """Return the verified copy that is here already."""


@contextmanager
def deliver(
    archive: Archive,
    asset: Asset,
    *,
    mode: Mode,
    recipe: IngestRecipe,
    progress: BytesProgress | None = None,
) -> Iterator[tuple[Path | RemoteFile, str]]:
    """Give the content of a file, and its digest, for a ``with`` block.

    Parameters
    ----------
    archive
        Where the file lies.
    asset
        The file.
    mode
        See `DandiSource.open`. NWB in Zarr is downloaded in any mode.
    recipe
        What is to be read.
    progress
        Called with bytes done and bytes in all; of a stream, with the bytes fetched.

    Raises
    ------
    DataError, SettingsError, MachineError
        What `archive` raises; what ended a stream, at the end of the block at the latest.
    """
    stream = None
    if asset.is_zarr:
        # Its chunks are files of their own already, and what a store is known by takes all of them.
        if mode == "stream" and archive.local_copy(asset) is None:
            logger.warning("%s: NWB in Zarr is not streamed; it is downloaded instead", asset.path)
        mode = "download"
    if mode != "download" and archive.local_copy(asset) is None:
        is_asked = mode == "stream"
        stream = archive.open_stream(asset) if is_asked else _stream_if_worth_it(archive, asset, recipe)
    if stream is None:
        path = archive.fetch(asset, progress)
        yield path, verified_digest(path)
        return
    with stream:
        if progress:
            progress(stream.bytes_fetched, asset.size)
            stream.progress = lambda done: progress(min(done, asset.size), asset.size)
        # Where the choice of the mode left it means nothing to the reader.
        stream.seek(0)
        try:
            yield stream, str(stream.digest)
            if stream.is_to_be_verified and stream.failure is None:
                stream.verify_whole()
        finally:
            # A reader may have taken the failure for something that is not in the file.
            if stream.failure is not None:
                raise stream.failure
    if progress:
        progress(asset.size, asset.size)


def _stream_if_worth_it(archive: Archive, asset: Asset, recipe: IngestRecipe) -> RemoteFile | None:
    from nwb_latents.pipeline.nwb.read import bytes_needed  # noqa: PLC0415 - h5py, which a listing does without

    with ExitStack() as undo:
        try:
            stream = undo.enter_context(archive.open_stream(asset))
            needed, total = bytes_needed(cast("BinaryIO", stream), recipe)
        except StreamRefusedError as error:
            logger.info("%s It is downloaded instead.", error)
            return None
        if needed > MOST_STREAMED * total:
            return None
        logger.info("%s: %d of %d bytes are needed; they are streamed", asset.path, needed, total)
        undo.pop_all()
        return stream
