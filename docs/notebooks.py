"""How the tutorials are executed: each in a fresh folder, with `!pipeline …` answered in the notebook's own process.

A reader types the same commands into a terminal or a notebook. Here they start no process of their own, which would
import everything again for each line; so that all tutorials together take a few seconds of the processor.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from sphinx.application import Sphinx

STARTUP = "from notebooks import prepare\nprepare(get_ipython())\n"
EXPECTED = re.compile(r"\s+# exit code (\d+)$")
PROGRESS = re.compile(r"^[\w.-]+(/[\w.-]+)?: \d+/\d+")
QUIET = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def setup(sphinx: Sphinx) -> dict[str, bool]:
    """Let the kernels of this build begin with `prepare`."""
    startup = Path(sphinx.outdir) / ".." / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "tutorial.py").write_text(STARTUP, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(startup.parents[1].resolve())
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    os.environ.update(QUIET)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def prepare(shell: Any) -> None:
    """Answer `!pipeline …` in this process; keep no history."""
    elsewhere = shell.system

    def system(line: str) -> None:
        if not line.lstrip().startswith("pipeline "):
            elsewhere(line)
            return
        expected = EXPECTED.search(line)
        code, said = pipeline(shlex.split(line.partition(" # ")[0])[1:])
        sys.stdout.write(said)
        if code != int(expected[1] if expected else 0):
            raise SystemError(f"exit code {code}: {line}")

    shell.system = system
    if getattr(shell, "history_manager", None) is not None:
        shell.history_manager.enabled = False


def pipeline(words: list[str]) -> tuple[int, str]:
    """Run a command; return its exit code and what a person sees of it, without lines of progress."""
    from nwb_latents.pipeline.cli import main  # noqa: PLC0415

    seen = StringIO()
    with mock.patch.object(sys, "argv", ["pipeline", *words]), redirect_stdout(seen), redirect_stderr(seen):
        code = main._run()  # noqa: SLF001
    lines = seen.getvalue().splitlines(keepends=True)
    return code, "".join(line for line in lines if not PROGRESS.match(line))
