"""In a folder with packages named `pipeline`, `models` and `schemas` everything works as anywhere else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from address.environments import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from address.environments import Installed

SCRIPT = """
from pathlib import Path

import nwb_latents
from nwb_latents.pipeline.stages.simulate import simulate
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.schemas.simulation import SimulateSettings

if __name__ == "__main__":
    small = SimulateSettings(n_subjects=1, n_sessions=1, n_units=(4, 4), n_trials=4, waveforms=False)
    print(len(simulate(Path("nwb"), small)), Path(nwb_latents.__file__).parent)
"""


def test_a_script_beside_such_packages(installed: Installed, crowded: Path) -> None:
    (crowded / "analysis.py").write_text(SCRIPT)
    done = run(installed.python, "analysis.py", cwd=crowded)
    assert done.returncode == 0, done.stderr
    n_files, package = done.stdout.split()
    assert n_files == "1"
    assert str(installed.python.parents[1]) in package, "the program under test is not the installed one"


def test_python_c_in_such_a_folder(installed: Installed, crowded: Path) -> None:
    done = run(installed.python, "-c", SCRIPT, cwd=crowded)
    assert done.returncode == 0, done.stderr


def test_the_command_of_an_installed_wheel(installed: Installed, crowded: Path, small_nwb: Path) -> None:
    listed = run(installed.pipeline, "models", "--json", cwd=crowded, PYTHONPATH=".")
    assert listed.returncode == 0, listed.stderr
    assert "mdssm" in listed.stdout
    done = run(installed.pipeline, "run", "ingest", "--path", small_nwb, "--json", cwd=crowded)
    assert done.returncode == 0, done.stderr
    assert done_sessions(done.stdout) == ["sub-T_ses-CO-1"]


def test_the_command_as_a_module(installed: Installed, crowded: Path) -> None:
    for name in ("torch", "yaml", "typer"):
        (crowded / f"{name}.py").write_text('raise RuntimeError("this is the file of the user")\n')
    listed = run(installed.python, "-m", "nwb_latents", "models", "--json", cwd=crowded)
    assert listed.returncode == 0, listed.stderr
    assert "mdssm" in listed.stdout


@pytest.mark.parametrize(
    "python_path", [".", "", os.pathsep + "elsewhere"], ids=["named", "unset", "empty entry"]
)
@pytest.mark.parametrize("name", ["yaml", "typer"])
def test_files_in_place_of_packages_are_named(
    installed: Installed, tmp_path: Path, name: str, python_path: str
) -> None:
    (tmp_path / f"{name}.py").write_text("VALUE = 1\n")
    (tmp_path / "catalog.yaml").write_text("sessions: {}\n")
    done = run(installed.pipeline, "catalog", "list", cwd=tmp_path, PYTHONPATH=python_path)
    if not python_path:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    assert f"imported in place of installed packages: {name} (" in done.stderr
    assert "PYTHONPATH" in done.stderr


@pytest.mark.cluster
def test_processes_of_this_machine(installed: Installed, crowded: Path, small_nwb: Path) -> None:
    # A process that started in this folder would take this file for the module of the same name.
    (crowded / "signal.py").write_text('raise RuntimeError("this is the file of the user")\n')
    done = run(
        installed.pipeline,
        "run",
        "ingest",
        "--path",
        small_nwb,
        "--cluster",
        "local:1",
        "--json",
        cwd=crowded,
    )
    assert done.returncode == 0, done.stderr
    assert done_sessions(done.stdout) == ["sub-T_ses-CO-1"]
    assert "Traceback" not in done.stderr, "a process of Python's own took the file"


@pytest.mark.cluster
def test_a_worker_started_in_such_a_folder(
    installed: Installed, crowded: Path, small_nwb: Path, dask: Callable[..., str], tmp_path: Path
) -> None:
    address = dask(installed.python, cwd=crowded)
    done = run(
        installed.pipeline, "run", "ingest", "--path", small_nwb, "--cluster", address, "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done_sessions(done.stdout) == ["sub-T_ses-CO-1"]


@pytest.mark.cluster
@pytest.mark.parametrize("crowded", ["empty"], indirect=True)
def test_workers_without_the_program_are_named_at_once(
    installed: Installed, without_program: Installed, crowded: Path, small_nwb: Path, dask: Callable[..., str]
) -> None:
    address = dask(without_program.python, cwd=crowded)
    began = time.monotonic()
    done = run(installed.pipeline, "run", "ingest", "--path", small_nwb, "--cluster", address, cwd=crowded)
    assert done.returncode == 5
    assert time.monotonic() - began < 60
    assert "did not find this program: No module named 'nwb_latents'" in done.stderr
    assert "the worker tcp://127.0.0.1:" in done.stderr
    assert "Install nwb-latents" in done.stderr
    assert "Traceback" not in done.stderr


SEARCH = """
import sys
from pathlib import Path

from nwb_latents.pipeline.cluster.ray_tune import ray_workers


class Once:
    tasks = ["look"]

    def next_task(self):
        return self.tasks.pop() if self.tasks else None

    def done(self, task, result):
        print(*result, sep="\\n")


def look(task):
    import sys

    return sys.path


if __name__ == "__main__":
    with ray_workers(1, gpus=False, report=lambda event: None) as workers:
        workers.run(look, Once(), folder=Path(sys.argv[1]))
"""


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("crowded", ["raising"], indirect=True)
def test_processes_of_ray(
    installed: Installed, crowded: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("ray.tune")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "search.py").write_text(SEARCH)
    done = run(installed.python, elsewhere / "search.py", elsewhere / "tune", cwd=crowded)
    assert done.returncode == 0, done.stderr
    searched = done.stdout.splitlines()
    assert str(elsewhere) in searched
    assert str(crowded) not in searched


@pytest.mark.parametrize("name", ["pipeline", "models", "schemas"])
def test_nothing_else_is_importable(installed: Installed, tmp_path: Path, name: str) -> None:
    code = f"import importlib.util as u; s = u.find_spec({name!r}); print(s and s.origin)"
    found = run(installed.python, "-c", code, cwd=tmp_path).stdout.strip()
    assert found == "None" or str(installed.python.parents[1]) not in found


def done_sessions(lines: str) -> list[str]:
    events = [json.loads(line) for line in lines.splitlines()]
    return [e["session"] for e in events if e["event"] == "session" and e["status"] == "done"]


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return a function that starts a scheduler and, as dask-jobqueue does, a worker."""
    started: list[subprocess.Popen[bytes]] = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"

    def process(python: object, name: str, *words: object, cwd: Path) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        with (tmp_path / f"{name}.log").open("w") as log:
            started.append(
                subprocess.Popen(
                    [str(python), "-m", f"distributed.cli.{name}", *map(str, words), "--no-dashboard"],
                    cwd=cwd, env=kept, stdout=log, stderr=subprocess.STDOUT,
                )
            )  # fmt: skip

    def start(python: Path, *, cwd: Path) -> str:
        process(sys.executable, "dask_scheduler", "--host", "127.0.0.1", "--port", port, cwd=tmp_path.parent)
        words = ("--nthreads", 1, "--nworkers", 1, "--host", "127.0.0.1", "--nanny")
        process(python, "dask_worker", address, *words, "--local-directory", tmp_path / "scratch", cwd=cwd)
        return address

    yield start
    for each in reversed(started):
        each.terminate()
        each.wait(timeout=30)
