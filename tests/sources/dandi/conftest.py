from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from archive import LoopbackArchive
from archive.sample import DANDISET, NWB, PATH, VERSION

from nwb_latents.pipeline.sources.dandi_archive import DandiSource
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

OpenArchive = Callable[..., LoopbackArchive]
OpenSource = Callable[..., DandiSource]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses between attempts, in seconds; none of them is really made."""
    import tenacity.nap

    made: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=made.append))
    monkeypatch.setattr(tenacity, "sleep_using_event", lambda _: made.append)
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return made


@pytest.fixture
def open_archive() -> Iterator[OpenArchive]:
    """Return a function that starts an archive; it stops when the test ends."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(LoopbackArchive(*args, **kwargs))


@pytest.fixture
def archive(open_archive: OpenArchive) -> LoopbackArchive:
    """Return an archive with one dandiset, one published version, one file of 2 MiB."""
    return open_archive({DANDISET: {VERSION: {PATH: NWB}}})


@pytest.fixture
def open_source(tmp_path: Path) -> OpenSource:
    """Return a function that makes a source reading from an archive, with few attempts."""

    def make(archive: LoopbackArchive, dandiset: str = DANDISET, **options: object) -> DandiSource:
        policy = RetryPolicy(attempts=4, retry_wait_s=0.01)
        given = {"instance": archive.url, "download_dir": tmp_path / "downloads", "policy": policy, **options}
        return DandiSource(dandiset, **given)

    return make
