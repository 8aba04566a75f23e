"""The ledger: what became of every attempt, one JSON line each, only ever added to.

The catalog says what there is; the ledger keeps why something is not there. Several runs may add to one
ledger at the same time.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError
from nwb_latents.pipeline.stores.atomic import machine_error
from nwb_latents.pipeline.stores.lenient import record_lines
from nwb_latents.pipeline.stores.plain_files import behind_links, read_text, require_file
from nwb_latents.schemas.cluster import Attempt
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nwb_latents.pipeline.cluster.task_batch import Attempted, Report, Result, Task

LEDGER_NAME = "ledger.jsonl"
LOCK_SECONDS = 60.0

ErrorKind = Literal["data", "machine", "unexpected"]
"""What failed: a recording or setting, the machine or archive, or this program itself."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`])")
_UNEXPECTED = re.compile(r": unexpected [A-Za-z_]\w*: ")
_STILL_WHAT = ("It ", "Nothing ", "The ", "There ")
_DEFAULT_REMEDY: dict[ErrorKind, str] = {
    "data": "Mend the file, or leave the session out with --exclude.",
    "machine": "Run the same command again.",
    "unexpected": "Please report it with the file's name.",
}


@dataclass(frozen=True)
class Failure:
    """A session whose last attempt failed.

    Attributes
    ----------
    last
        The attempt.
    n_attempts
        Attempts that failed since the session was last done.
    kind
        ``data`` for a recording or setting that cannot be used, ``machine`` for disk, network or archive,
        ``unexpected`` for a fault of this program.
    message
        What is wrong.
    remedy
        What to do.
    """

    last: Attempt
    n_attempts: int
    kind: ErrorKind
    message: str
    remedy: str


class AttemptLog:
    """A ledger as one run reads and adds to it; a disk that refuses a line stops no session.

    Parameters
    ----------
    path
        Ledger file; need not exist.
    recipe_id
        Recipe of the sessions.
    report
        Told once where the disk takes no line.

    Attributes
    ----------
    failed
        Sources whose last attempt failed, as the ledger stands when the run begins.
    """

    def __init__(self, path: Path, recipe_id: str, report: Report) -> None:
        self.path = path
        self._recipe_id = recipe_id
        self._report = report
        self._complained = False
        last = last_attempts(read_ledger(path))
        self.failed = {source for source, attempt in last.items() if attempt.status == "failed"}

    def add(
        self,
        attempted: Attempted[Task, Result],
        *,
        session: str,
        source: str,
        status: str,
        reason: str = "",
        exit_code: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Write down an attempt that has just ended.

        Parameters
        ----------
        attempted
            Which attempt it was, and where.
        session, source, status, reason, exit_code, seconds
            As in `Attempt`.
        """
        line = Attempt.model_validate({
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "session": session,
            "source": source, "recipe_id": self._recipe_id, "status": status,
            "attempt": attempted.attempt, "reason": reason, "exit_code": exit_code,
            "seconds": round(seconds, 3), "host": attempted.host, "pid": attempted.pid,
        })  # fmt: skip
        try:
            append_attempts(self.path, [line])
        except PipelineError as error:
            if not self._complained:
                self._complained = True
                self._report(NoteEvent(text=f"{error} Sessions go on without it."))


def append_attempts(path: Path, attempts: Iterable[Attempt]) -> None:
    """Add lines to a ledger, made if it does not exist.

    The lines are one write to a file opened for appending, under a lock, because appending alone loses lines
    where machines share a network disk.

    Raises
    ------
    MachineError
        If the disk refuses, or the lock is held for a minute.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> line = Attempt(time="2026-01-01T00:00:00+00:00", session="sub-A", source="a.nwb",
    ...                recipe_id="20ms-0", status="failed", reason="no units table", exit_code=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     append_attempts(Path(folder, "ledger.jsonl"), [line])
    ...     read_ledger(Path(folder, "ledger.jsonl"))[0].reason
    'no units table'
    """
    text = "".join(json.dumps(a.written(), ensure_ascii=False) + "\n" for a in attempts)
    if not text:
        return
    try:
        path = behind_links(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS):
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                found = os.fstat(file)
                require_file(found.st_mode, path)
                size = found.st_size
                # A line cut off by a full disk must not swallow the next one.
                torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
                os.write(file, ("\n" * torn + text).encode("utf-8", "surrogateescape"))
            finally:
                os.close(file)
    except Timeout as error:
        raise MachineError(
            f"{path}: another process has held the ledger's lock for {LOCK_SECONDS:g} s. Wait for it to end."
        ) from error
    except OSError as error:
        raise machine_error(error, path, doing="add to the ledger") from error


def read_ledger(path: Path) -> list[Attempt]:
    """Return the attempts a ledger records, oldest first; a ledger that does not exist is empty.

    A line that was cut off when a process or the disk gave out is passed over, and so is one of a newer
    version of the program that this one does not understand; of both it says so (`CatalogWarning`).

    Raises
    ------
    MachineError
        If the file cannot be read.
    """
    try:
        lines = read_text(path, errors="surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise machine_error(error, path, doing="read the ledger") from error
    return list(record_lines(Attempt, lines, where=str(path)))


def last_attempts(attempts: Iterable[Attempt]) -> dict[str, Attempt]:
    """Return the last attempt at each asset, by the asset's path.

    Examples
    --------
    >>> line = Attempt(time="", session="s", source="a.nwb", recipe_id="r", status="failed")
    >>> last_attempts([line, line.model_copy(update={"status": "done"})])["a.nwb"].status
    'done'
    """
    return {attempt.source: attempt for attempt in attempts}


def ledgers_beside(catalog_path: Path) -> list[Path]:
    """Return the ledgers beside a catalog: of ingest, in order of the recipes' ids, then of the other stages.

    Examples
    --------
    >>> from pathlib import Path
    >>> ledgers_beside(Path("nowhere/catalog.yaml"))
    []
    """
    folder = catalog_path.parent
    return [
        *sorted((folder / "stores").glob(f"*/{LEDGER_NAME}")),
        *sorted((folder / "results").glob(f"*/*/{LEDGER_NAME}")),
    ]


def stage_of(ledger: Path) -> str:
    """Return the stage whose attempts a ledger has.

    Examples
    --------
    >>> from pathlib import Path
    >>> stage_of(Path("demo/stores/20ms-0/ledger.jsonl"))
    'ingest'
    >>> stage_of(Path("demo/results/decode/20ms-0/ledger.jsonl"))
    'decode'
    """
    folder = ledger.parent.parent
    return "ingest" if folder.name == "stores" else folder.name


def standing_failures(attempts: Iterable[Attempt]) -> list[Failure]:
    """Return the sessions of one ledger whose last attempt failed, in order of their id.

    Parameters
    ----------
    attempts
        Oldest first, as `read_ledger` returns them.

    Examples
    --------
    >>> line = Attempt(time="", session="s", source="a.nwb", recipe_id="r", status="failed", exit_code=5,
    ...                reason="a.nwb: the disk is full. Free some space.")
    >>> (failure,) = standing_failures([line, line])
    >>> failure.n_attempts, failure.kind, failure.message, failure.remedy
    (2, 'machine', 'a.nwb: the disk is full.', 'Free some space.')
    >>> standing_failures([line, line.model_copy(update={"status": "done"})])
    []
    """
    standing: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.status == "failed":
            standing.setdefault(attempt.source, []).append(attempt)
        else:
            standing.pop(attempt.source, None)
    failures = [_failure(failed[-1], len(failed)) for failed in standing.values()]
    return sorted(failures, key=lambda failure: (failure.last.session, failure.last.source))


def _failure(last: Attempt, n_attempts: int) -> Failure:
    is_machine = last.exit_code == MachineError.exit_code
    kind: ErrorKind = "machine" if is_machine else "data"
    if last.exit_code == DataError.exit_code and _UNEXPECTED.search(last.reason):
        kind = "unexpected"
    sentences = _SENTENCE.split(" ".join(last.reason.split()))
    # An error says first what is wrong, then what to do.
    end = 1
    while end < len(sentences) and sentences[end].startswith(_STILL_WHAT):
        end += 1
    remedy = " ".join(sentences[end:]) or _DEFAULT_REMEDY[kind]
    return Failure(last, n_attempts, kind, " ".join(sentences[:end]), remedy)
