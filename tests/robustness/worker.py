"""A process that runs trials: an id on each line it reads, a verdict in JSON on each it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """Such a process, seen from another one.

    Parameters
    ----------
    base
        Folder of what is spoiled; made if it is not there.
    scratch
        Folder to work in.
    keep
        Keep the folders of trials.
    """

    def __init__(self, base: Path, scratch: Path, *, keep: bool = False) -> None:
        tests = str(Path(__file__).parents[1])
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "MPLBACKEND": "agg"}
        environment["PYTHONPATH"] = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "robustness.worker", str(base), str(scratch), *(["keep"] if keep else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

    def attempt(self, trial: str) -> dict[str, Any]:
        """Run a trial and return its verdict."""
        if self._process.stdin is None or self._process.stdout is None or self._process.poll() is not None:
            raise RuntimeError("the worker has ended")
        self._process.stdin.write(trial + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            return {"trial": trial, "outcome": "not made", "faults": {}, "said": "the worker has ended"}
        verdict: dict[str, Any] = json.loads(line)
        return verdict


def main() -> None:
    """Run the trials whose ids are read."""
    from robustness import forked, trials
    from robustness.base import Base

    base, scratch, *keep = sys.argv[1:]
    forked.load()
    made = Base(Path(base).absolute(), Path(scratch).absolute())
    for line in sys.stdin:
        verdict = trials.attempt(line.strip(), made, keep=bool(keep))
        sys.stdout.write(json.dumps(verdict.record()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
