"""Real dask processes on the loopback interface, and recordings to ingest with them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import ingest

DEADLINE_S = 90.0

ROOT = Path(__file__).parents[2]
"""Where workers find the functions of these tests, which are handed to them by name."""


def wait_for(condition, *, what, deadline_s=DEADLINE_S, every_s=0.01):
    """Return the first true value of `condition`."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(every_s)
    raise AssertionError(f"waited {deadline_s:g} s in vain for {what}")


# Tests that run in the background of a shell inherit an ignored Ctrl-C.
HEARS_CTRL_C = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["pipeline", *sys.argv[1:]]
if __name__ == "__main__":
    from nwb_latents.pipeline.cli.main import main
    main()
"""


@dataclass
class DaskProcesses:
    """A scheduler and its workers, each a process of its own."""

    folder: Path
    port: int = 0
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> subprocess.Popen:
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        process = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", self.port, "--no-dashboard", "--no-show"
        )

        def listens():
            assert process.poll() is None, "the scheduler ended at once"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return True
            return False

        wait_for(listens, what="the scheduler")
        return process

    def start_worker(self, *words: object, host: str = "127.0.0.1") -> subprocess.Popen:
        return self._start(
            "worker", self.address, "--nthreads", 1, "--host", host, "--no-dashboard", "--no-nanny",
            "--local-directory", self.folder, *words,
        )  # fmt: skip

    def stop(self) -> None:
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def _start(self, *words: object) -> subprocess.Popen:
        log = (self.folder / f"{words[0]}-{len(self.processes)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, words)],
            cwd=self.folder, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        log.close()
        self.processes.append(process)
        return process


@pytest.fixture(autouse=True)
def own_interrupt():
    """Keep what Ctrl-C does: dask_jobqueue changes it when it is imported."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def dask_processes(tmp_path):
    """Return a running scheduler, to which workers can be added."""
    folder = tmp_path / "dask"
    folder.mkdir()
    started = DaskProcesses(folder)
    try:
        started.start_scheduler()
        yield started
    finally:
        started.stop()


@pytest.fixture
def recordings(tmp_path, make_nwb, make_reaches):
    """Return a folder of four small sessions."""
    for number in range(4):
        name = f"sub-T_ses-{number}.nwb"
        make_nwb(
            tmp_path / "nwb" / name, make_reaches(seed=number, n_trials=12, n_units=6), session=str(number)
        )
    return tmp_path / "nwb"


@pytest.fixture
def pipeline_process(tmp_path):
    """Return a function that starts ``pipeline WORDS`` and leaves it running."""
    started = []

    def start(*words, cwd=None, **more):
        process = subprocess.Popen(
            [sys.executable, "-c", HEARS_CTRL_C, *map(str, words)],
            cwd=cwd or tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **more,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def store_contents(folder: Path) -> dict[str, bytes]:
    """Return every file of every store below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.glob("stores/*/*.zarr/**/*"))
        if path.is_file()
    }


@pytest.fixture
def serial_stores(recordings, tmp_path):
    """Return the files of the stores a plain run makes of the recordings."""
    folder = tmp_path / "serial"
    ingest(folder / "catalog.yaml", FolderSource([recordings]))
    return store_contents(folder)


@pytest.fixture
def contents():
    """Return the function that reads all files of all stores below a folder."""
    return store_contents


@pytest.fixture
def eventually():
    """Return the function that waits for a condition."""
    return wait_for
