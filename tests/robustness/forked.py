"""Commands in children of one process that has imported everything, each with limits of its own.

The process never starts a thread, so that it can fork: whatever reads or writes with zarr, h5py or torch is
done in a child (`call`).
"""

from __future__ import annotations

import io
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CPU_S = 60
WALL_S = 400.0
MOST_BYTES = 4 << 30
_ROOM = 6 << 30
"""Address space a command may ask for beyond what it begins with; more would harm the machine."""
_ERRORS_SHOWN = 4000
WRITING = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"})


@dataclass(frozen=True)
class Kill:
    """A signal at a moment of a command.

    Attributes
    ----------
    number
        The signal.
    after_s
        Seconds after the command began; None: at an event.
    at_event
        Number of the change to the file system (a file opened to be written, renamed, removed …) at which
        the signal is sent.
    """

    number: int
    after_s: float | None = None
    at_event: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    code
        Exit code, or the negative number of the signal that ended it.
    out, err
        What it wrote.
    cpu_s, wall_s, rss
        Seconds of processor and clock; most bytes in memory.
    is_late
        Whether it was ended because it went on for too long.
    """

    code: int
    out: str
    err: str
    cpu_s: float = 0.0
    wall_s: float = 0.0
    rss: int = 0
    is_late: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)


def load() -> None:
    """Import what commands import."""
    import importlib

    for name in (
        "h5py",
        "numpy",
        "pandas",
        "pydantic",
        "rich.console",
        "rich.progress",
        "rich.table",
        "scipy.interpolate",
        "scipy.linalg",
        "scipy.ndimage",
        "scipy.optimize",
        "scipy.signal",
        "scipy.special",
        "scipy.stats",
        "sklearn.linear_model",
        "matplotlib.pyplot",
        "requests",
        "safetensors.torch",
        "tensorboard",
        "torch",
        "torch.utils.tensorboard",
        "typer",
        "xarray",
        "yaml",
        "zarr",
        "nwb_latents.pipeline.cli.main",
        "lightning_fabric",
        "nwb_latents.pipeline.stages.align",
        "nwb_latents.pipeline.stages.decode",
        "nwb_latents.pipeline.stages.evaluate",
        "nwb_latents.pipeline.stages.export",
        "nwb_latents.pipeline.stages.forecast",
        "nwb_latents.pipeline.stages.ingest",
        "nwb_latents.pipeline.stages.train",
        "nwb_latents.pipeline.stages.verify",
        "nwb_latents.pipeline.sources.dandi_archive",
        "nwb_latents.pipeline.training.loop",
    ):
        with suppress(ImportError):
            importlib.import_module(name)


def run(
    words: Sequence[str | bytes],
    folder: Path,
    *,
    prepare: Callable[[], object] | None = None,
    kill: Kill | None = None,
    as_program: bool = False,
    environment: dict[str, str] | None = None,
    beside: Callable[[int], object] | None = None,
) -> Ended:
    """Run ``pipeline WORDS`` in a folder.

    Parameters
    ----------
    words
        The command line.
    folder
        Where it runs.
    prepare
        Called in the child before the command.
    kill
        A signal to send on the way.
    as_program
        Start Python anew, as a shell would, instead of going on from what is imported.
    environment
        Variables to set.
    beside
        Called in another child while the command runs, with the id of its process.
    """
    logs = folder.parent / f"{folder.name}.log"
    logs.mkdir(exist_ok=True)
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        _begin(folder, logs, environment)
        if kill is not None and kill.at_event is not None:
            _kill_at(kill, logs / "changes")
        if prepare is not None:
            prepare()
        if as_program:
            said = [word if isinstance(word, bytes) else os.fsencode(word) for word in words]
            os.execv(str(Path(sys.executable).with_name("pipeline")), [b"pipeline", *said])
        _finish(lambda: _command(words))
    other = 0 if beside is None else _beside(beside, child)
    is_late, status, usage = _wait(child, begin, kill)
    if other:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    out, err = (logs / "out").read_bytes(), (logs / "err").read_bytes()
    code = os.waitstatus_to_exitcode(status)
    text = out.decode("utf-8", "backslashreplace")
    return Ended(
        code=code,
        out=text,
        err=err.decode("utf-8", "backslashreplace"),
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=time.monotonic() - begin,
        rss=usage.ru_maxrss << 10,
        is_late=is_late or code == -signal.SIGXCPU,
        events=_events(text),
    )


def _beside(function: Callable[[int], object], child: int) -> int:
    other = os.fork()
    if other == 0:
        with suppress(BaseException):
            function(child)
        os._exit(0)
    return other


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a child, by way of JSON.

    Raises
    ------
    RuntimeError
        What was raised there, with its traceback.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        # A file that was spoiled may keep who reads it busy for ever.
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        try:
            answer = {"value": function(*arguments)}
        except BaseException:
            answer = {"error": traceback.format_exc()[-_ERRORS_SHOWN:]}
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise RuntimeError(f"{function.__name__}: the child died without a word")
    answer = json.loads(said)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["value"]


def _begin(folder: Path, logs: Path, environment: dict[str, str] | None) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.update({"TMPDIR": str(folder), "HOME": str(folder), "COLUMNS": "200", **(environment or {})})
    import tempfile

    tempfile.tempdir = None
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(logs / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(io.FileIO(1, "w"), "utf-8", line_buffering=True)
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(io.FileIO(2, "w"), "utf-8", line_buffering=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _command(words: Sequence[str | bytes]) -> None:
    from nwb_latents.pipeline.cli.start import main

    sys.argv = ["pipeline", *(os.fsdecode(word) for word in words)]
    main()


def _finish(command: Callable[[], None]) -> None:
    """Run a command and end the process as the interpreter would."""
    import atexit

    code = 1
    try:
        command()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:
        traceback.print_exc()
    with suppress(BaseException):
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _wait(child: int, begin: float, kill: Kill | None) -> tuple[bool, int, resource.struct_rusage]:
    late, due = begin + WALL_S, None if kill is None or kill.after_s is None else begin + kill.after_s
    is_late, pidfd = False, os.pidfd_open(child)
    try:
        while True:
            ends = late if due is None else min(late, due)
            if select.select([pidfd], [], [], max(ends - time.monotonic(), 0.0))[0]:
                break
            if due is not None and time.monotonic() >= due and kill is not None:
                # A shell's Ctrl-C reaches all processes of the command, a batch system's SIGTERM too.
                os.killpg(child, kill.number)
                due = None
            elif time.monotonic() >= late:
                is_late, late = True, late + 3600
                os.killpg(child, signal.SIGKILL)
    finally:
        os.close(pidfd)
    _, status, usage = os.wait4(child, 0)
    return is_late, status, usage


def _kill_at(kill: Kill, count: Path) -> None:
    import atexit

    left = [kill.at_event or 1]
    atexit.register(lambda: count.write_text(str((kill.at_event or 1) - left[0])))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in WRITING or (
            event == "open" and len(arguments) > 2 and bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
        )
        if is_change:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), kill.number)

    sys.addaudithook(hook)


def _events(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                found.append(event)
    return found
