"""Jobs of a batch system as they are submitted: what the system refuses, and what ends before it works."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_STATE: dict[str, tuple[str, ...]] = {
    "slurm": ("squeue", "-h", "-j"),
    "pbs": ("qstat",),
    "sge": ("qstat", "-j"),
    "lsf": ("bjobs",),
    "oar": ("oarstat", "-j"),
    "moab": ("checkjob",),
    "htcondor": ("condor_q",),
}
"""What tells of one job, followed by its id: it fails, or does not name the job, where that has ended."""

_ENDED = ("EXIT", "DONE", "Completed", "Terminated")
_ASK_SECONDS = 20.0
_LINES = 8


@dataclass
class JobWatch:
    """The jobs of one cluster.

    Attributes
    ----------
    kind
        Name of the batch system.
    logs
        Folder of the jobs' logs; None: where the command was given.
    refused
        What the batch system said of jobs it did not take.
    ids
        Jobs it took.

    Examples
    --------
    >>> JobWatch("slurm").trouble()
    ''
    >>> JobWatch("slurm", refused=["invalid partition"]).trouble()
    'slurm took no job: invalid partition. Mend --cluster-config, or ask those who run the cluster.'
    """

    kind: str
    logs: str | None = None
    refused: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def watched(self, job: Any) -> Any:
        """Return a class of jobs whose submissions are seen here."""
        watch = self

        class Watched(job):  # type: ignore[misc]
            async def start(self) -> None:
                try:
                    await super().start()
                except (RuntimeError, ValueError) as error:
                    watch.refused.append(_own_words(str(error)))
                    raise
                watch.ids.append(str(self.job_id))

        Watched.__name__ = job.__name__
        return Watched

    def trouble(self) -> str:
        """Say why no worker comes; empty: jobs wait in the queue, or nothing is known."""
        if not self.ids:
            said = self.refused[-1] if self.refused else ""
            return said and (
                f"{self.kind} took no job: {said.rstrip('.')}. Mend --cluster-config, or ask those who run "
                "the cluster."
            )
        if not all(self._has_ended(job) for job in self.ids):
            return ""
        log = self._log(self.ids[-1])
        tail = f" {log} ends with: {_tail(log)}" if log else " It has left no log (set log_directory)."
        n = len(self.ids)
        return (
            f"{'the job' if n == 1 else f'all {n} jobs'} ended before a worker was there "
            f"(job {self.ids[-1]}).{tail}"
        )

    def _has_ended(self, job: str) -> bool:
        """Whether the batch system knows a job no more; False where that cannot be told."""
        command = _STATE.get(self.kind, ())
        if not command or shutil.which(command[0]) is None:
            return False
        try:
            asked = subprocess.run(
                [*command, job], capture_output=True, text=True, check=False, timeout=_ASK_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        words = asked.stdout.split()
        return asked.returncode != 0 or job not in asked.stdout or any(word in words for word in _ENDED)

    def _log(self, job: str) -> Path | None:
        """Return the log of a job that says something."""
        beside = sorted(Path(self.logs or ".").glob(f"*{job}*"))
        found = [path for path in beside if path.is_file() and path.stat().st_size]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _own_words(said: str) -> str:
    """Return what the batch system's command wrote, out of what dask-jobqueue says of it.

    Examples
    --------
    >>> _own_words("Exit code: 1 stdout: stderr: no  such queue")
    'no such queue'
    """
    _, found, stderr = said.partition("stderr:")
    return " ".join((stderr if found and stderr.strip() else said).split())


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(it cannot be read)"
    return " | ".join(line.strip() for line in lines[-_LINES:] if line.strip())[-1000:]
