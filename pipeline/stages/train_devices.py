"""A training on several devices of this machine: one process for each, started, heard and ended by this one.

The processes do the same work (`train_model`), each on its share of every step. The first of them writes and
reports. One that dies takes the others with it; an interruption lets them end their step first, so that there
is a checkpoint to go on from.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import MachineError, PipelineError, SettingsError
from nwb_latents.pipeline.machine import available_cores
from nwb_latents.pipeline.stages.train_model import Trained
from nwb_latents.pipeline.stages.train_process import decoded
from nwb_latents.pipeline.stores.lenient import say
from nwb_latents.pipeline.training.device import gpus_for
from nwb_latents.pipeline.training.ranks import Rank
from nwb_latents.pipeline.training.run_port import free_port
from nwb_latents.pipeline.training.srun_tasks import srun_rank
from nwb_latents.pipeline.training.team import LostProcessError
from nwb_latents.schemas.events import parse_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stores.location import StoreLocation
    from nwb_latents.schemas.training import TrainSettings

PATIENCE_S = 60.0
"""How long processes that were asked to stop may take to end their step."""

GRACE_S = 3.0
"""How long it is listened to the others once one has failed: what they say tells which was the first."""

_TAIL = 2000


def require_devices(settings: TrainSettings) -> None:
    """Refuse more devices than this machine has.

    Raises
    ------
    MachineError
        If it trains on GPUs, and there are fewer.
    """
    there, n = gpus_for(settings.device), settings.devices
    if there is not None and n > there:
        raise MachineError(
            f"devices: {n} were asked for, and this machine has {there} GPU{'s' * (there > 1)}. Use "
            f"--devices {there}."
        )


def train_on_devices(
    stores: Sequence[StoreLocation],
    settings: TrainSettings,
    run_dir: Path,
    *,
    force: bool,
    room: int | None = None,
    report: Report,
) -> Trained:
    """Train as `train_model` does, on ``settings.devices`` devices of this machine.

    Raises
    ------
    DataError, SettingsError, MachineError
        As `train_model`; a MachineError too where a process dies, or there are fewer devices.
    """
    if srun_rank(settings.devices) is not None:
        raise SettingsError(
            "devices: the tasks of one srun train one run together. Leave out --seeds and --cluster, or "
            "start one task (srun --ntasks=1), which starts the processes of its machine by itself.",
            setting="devices",
        )
    require_devices(settings)
    with tempfile.TemporaryDirectory(prefix="pipeline-train-") as folder:
        crew = _Crew(Path(folder), settings.devices, report)
        job = {
            "settings": settings.model_dump(mode="json"),
            "stores": [str(each) for each in stores],
            "run_dir": str(run_dir.absolute()),
            "force": force,
            "room": room,
        }
        try:
            crew.start(job)
            return crew.result()
        except KeyboardInterrupt:
            crew.stop()
            raise
        finally:
            crew.end()


@dataclass
class _Crew:
    """The processes of a training, and what they have said."""

    folder: Path
    n: int
    report: Report
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    lines: queue.Queue[tuple[int, str, Any]] = field(default_factory=queue.Queue)
    errors: list[tuple[int, BaseException]] = field(default_factory=list)
    has_begun: bool = False

    def start(self, job: dict[str, Any]) -> None:
        """Start the processes, out of the reach of the terminal's Ctrl-C."""
        threads = max(1, available_cores() // self.n)
        port = free_port()
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        for number in range(self.n):
            rank = Rank(number=number, of=self.n, local=number, on_node=self.n, port=port)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "nwb_latents.pipeline.stages.train_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log(number).open("w"),
                text=True,
                env=environment,
                start_new_session=True,
            )
            self.processes.append(process)
            self._tell(process, json.dumps({**job, "rank": asdict(rank)}))
            threading.Thread(target=self._hear, args=(number, process.stdout), daemon=True).start()

    def result(self) -> Trained:
        """Return what came of it; report what is said meanwhile."""
        found: Trained | None = None
        while found is None or any(each.poll() is None for each in self.processes):
            heard = self._next(0.2)
            if heard is not None and heard[1] == "result" and heard[0] == 0:
                told = heard[2]
                found = Trained(tuple(told["sessions"]), told["steps"], told["best_step"], told["metrics"])
            if self.errors or any(each.poll() not in {None, 0} for each in self.processes):
                self._raise()
            if found is None and heard is None and all(each.poll() == 0 for each in self.processes):
                self._raise()
        return found

    def stop(self) -> None:
        """Let the processes end the step they are in, unless there is a second interruption."""
        if not self.has_begun:
            return
        for process in self.processes:
            self._tell(process, "stop")
        until = time.monotonic() + PATIENCE_S
        try:
            while self.processes[0].poll() is None and time.monotonic() < until:
                self._next(0.2)
        except KeyboardInterrupt:
            return

    def end(self) -> None:
        """End what is left of the processes."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    _close(stream)

    def _log(self, number: int) -> Path:
        return self.folder / f"{number}.log"

    def _hear(self, number: int, stream: IO[str] | None) -> None:
        for line in stream or ():
            ((kind, content),) = json.loads(line).items()
            self.lines.put((number, kind, content))

    def _tell(self, process: subprocess.Popen[str], line: str) -> None:
        try:
            if process.stdin is not None:
                process.stdin.write(line + "\n")
                process.stdin.flush()
        except OSError:
            # It has ended, which is found out when it is looked at.
            return

    def _next(self, seconds: float) -> tuple[int, str, Any] | None:
        """Return what is said next, once it is passed on; None where nothing was for a while."""
        try:
            number, kind, content = self.lines.get(timeout=seconds)
        except queue.Empty:
            return None
        if kind == "event":
            self.report(parse_event(content))
        elif kind == "warning":
            say(content)
        elif kind == "error":
            self.errors.append((number, decoded(content)))
        elif kind == "begun":
            self.has_begun = True
        return number, kind, content

    def _raise(self) -> None:
        """Raise what made the training fail: the others only lost a process they were waiting for."""
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until and any(each.poll() is None for each in self.processes):
            self._next(0.1)
        while self._next(0.0) is not None:
            pass
        # Those that lost another process only say so: which one it was, and how, tells more.
        first = [error for _, error in self.errors if not isinstance(error, LostProcessError)]
        known = [error for error in first if isinstance(error, PipelineError)]
        if known:
            raise known[0]
        told = {number for number, _ in self.errors}
        for number, process in enumerate(self.processes):
            code = process.poll()
            if code is not None and code != 0 and number not in told:
                raise MachineError(self._words(number, code))
        for error in (*first, *(error for _, error in self.errors)):
            raise error
        raise MachineError(self._words(0, self.processes[0].poll() or 0))

    def _words(self, number: int, code: int) -> str:
        how = f"exit code {code}"
        if code < 0:
            how = f"signal {-code} ({signal.Signals(-code).name})"
            if -code == signal.SIGKILL:
                how += ", as a machine that is out of memory does"
        said = self._log(number).read_text(encoding="utf-8", errors="replace").strip()[-_TAIL:]
        return (
            f"process {number + 1} of {self.n} of this training ended with {how}, and the others were ended. "
            "Run the same command again: it goes on from the last checkpoint, on as many devices as you like."
            + (f" Its last words: {said}" if said else "")
        )


def _close(stream: IO[str]) -> None:
    try:
        stream.close()
    except OSError:
        return
