from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from archive import LoopbackArchive
from archive.recordings import with_field_potentials, with_waveforms
from archive.sample import DANDISET, PATH, VERSION

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.sources.dandi_archive import DandiSource
from nwb_latents.pipeline.sources.remote_file import RemoteFile
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLICY = RetryPolicy(attempts=4, retry_wait_s=0.01)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses between attempts, in seconds; none of them is really made."""
    import tenacity.nap

    made: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=made.append))
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return made


@pytest.fixture
def open_archive() -> Iterator[Callable[..., LoopbackArchive]]:
    """Return a function that starts an archive holding one file; it stops when the test ends."""
    with ExitStack() as stack:

        def start(path: str, content: bytes | Path, **options: object) -> LoopbackArchive:
            files = {DANDISET: {VERSION: {path: content}}}
            return stack.enter_context(LoopbackArchive(files, **options))

        yield start


@pytest.fixture
def open_source(tmp_path: Path) -> Callable[..., DandiSource]:
    """Return a function that makes a source reading from an archive, with few attempts."""

    def make(archive: LoopbackArchive, **options: object) -> DandiSource:
        given = {"instance": archive.url, "download_dir": tmp_path / "downloads", "policy": POLICY, **options}
        return DandiSource(DANDISET, **given)

    return make


@pytest.fixture(scope="session")
def waveforms_nwb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a session whose bytes are mostly waveforms."""
    return with_waveforms(tmp_path_factory.mktemp("waveforms"))


@pytest.fixture(scope="session")
def lfp_nwb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a session whose bytes are mostly field potentials."""
    return with_field_potentials(tmp_path_factory.mktemp("lfp"))


@pytest.fixture(scope="session")
def small_lfp_nwb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return such a session with few of them."""
    return with_field_potentials(tmp_path_factory.mktemp("small"), lfp_bytes=5_000_000)


@pytest.fixture
def read_locally(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SimpleNamespace]:
    """Return a function that hands a `RemoteFile` on a local file to a reader; read `failing` fails, once."""

    def run(path: Path, reader: Callable[[RemoteFile], object], *, failing: int = -1) -> SimpleNamespace:
        counted = SimpleNamespace(n_reads=0)
        inherited = RemoteFile.readinto

        def readinto(file: RemoteFile, buffer: memoryview) -> int:
            counted.n_reads += 1
            if counted.n_reads - 1 == failing:
                raise MachineError(f"read {failing} failed")
            return inherited(file, buffer)

        def read_into(ranges: object, target: memoryview, start: int) -> None:
            with path.open("rb") as local:
                local.seek(start)
                assert local.readinto(target) == len(target)

        with monkeypatch.context() as patch:
            patch.setattr(RemoteFile, "readinto", readinto)
            patch.setattr("nwb_latents.pipeline.sources.byte_ranges.ByteRanges.read_into", read_into)
            size = path.stat().st_size
            with RemoteFile(lambda: "", size=size, etag=None, policy=POLICY, name=path.name) as file:
                reader(file)
        return counted

    return run


@pytest.fixture
def content() -> bytes:
    """Return two megabytes in which no two places are alike."""
    return np.arange(1 << 18, dtype=np.uint64).tobytes()


@pytest.fixture
def archive(open_archive: Callable[..., LoopbackArchive], content: bytes) -> LoopbackArchive:
    """Return an archive with one file, which is no NWB."""
    return open_archive(PATH, content)


@pytest.fixture
def stream(archive: LoopbackArchive, open_source: Callable[..., DandiSource]) -> Iterator[RemoteFile]:
    """Return that file, opened where it lies."""
    source = open_source(archive)
    with source.open_stream(source.assets()[0]) as file:
        yield file
