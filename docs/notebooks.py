"""How tutorials are executed: each in a fresh folder, with `!pipeline …` answered by the kernel itself.

A reader types the same commands into a terminal or a notebook. A process for each line would import
everything anew each time.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from sphinx.application import Sphinx

STARTUP = "from notebooks import prepare\nprepare(get_ipython())\n"
EXPECTED = re.compile(r"\s+# exit code (\d+)$")
PROGRESS = re.compile(r"^\S+: \d+/\d+")
COLUMNS = 110
QUIET = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "NO_COLOR": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


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
    os.environ.pop("FORCE_COLOR", None)  # a kernel asks for colours; a page wants none
    elsewhere = shell.system

    def system(line: str) -> None:
        words = shlex.split(line.partition(" # ")[0])
        if words[:3] == ["pip", "install", "-e"]:
            install(Path(words[3]))
            return
        if words[:1] != ["pipeline"]:
            elsewhere(line)
            return
        expected = EXPECTED.search(line)
        code, said = pipeline(words[1:])
        sys.stdout.write(said)
        if code != int(expected[1] if expected else 0):
            raise SystemError(f"exit code {code}: {line}")

    shell.system = system
    if getattr(shell, "history_manager", None) is not None:
        shell.history_manager.enabled = False


def install(folder: Path) -> None:
    """Enter the parts of a package, as `pip install -e` does, without a network and without building it."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = f"{project['name'].replace('-', '_')}-{project['version']}"
    entered = folder / f"{name}.dist-info"
    entered.mkdir()
    points = [
        line
        for group, parts in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{part} = {place}" for part, place in parts.items()))
    ]
    (entered / "entry_points.txt").write_text("\n".join(points), encoding="utf-8")
    described = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (entered / "METADATA").write_text(described, encoding="utf-8")
    sys.path.insert(0, str(folder.resolve()))
    sys.stdout.write(f"Successfully installed {project['name']}-{project['version']}\n")


def pipeline(words: list[str]) -> tuple[int, str]:
    """Run a command; return its exit code and what a person sees of it, without lines of progress."""
    from nwb_latents.pipeline.cli import main  # noqa: PLC0415

    seen = StringIO()
    # A terminal has no HTML: tables stand in their place among the lines.
    as_text = mock.patch("rich.console._is_jupyter", return_value=False)
    typed = mock.patch.object(sys, "argv", ["pipeline", *words])
    with as_text, typed, redirect_stdout(seen), redirect_stderr(seen):
        code = main._run()
    lines = [line.rstrip() for line in seen.getvalue().splitlines() if not PROGRESS.match(line)]
    return code, "\n".join(map(wrapped, lines)) + "\n"


def wrapped(line: str) -> str:
    """Return a line in as many as a terminal would make of it; tables stay as wide as they are."""
    if len(line) <= COLUMNS or not set("│┃┏└┡").isdisjoint(line):
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return "\n".join(textwrap.wrap(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False))
