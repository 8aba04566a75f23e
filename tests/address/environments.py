"""Distributions of this program, and environments to install them in."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, without what the environment of the tests says about import paths."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, "OMP_NUM_THREADS": "1", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def build(what: str, source: Path, target: Path) -> Path:
    """Build a wheel or a source distribution with hatchling, which needs no network."""
    pytest.importorskip("hatchling")
    target.mkdir(parents=True, exist_ok=True)
    code = f"import hatchling.build as b; print(b.build_{what}({str(target)!r}))"
    built = run(sys.executable, "-c", code, cwd=source)
    assert built.returncode == 0, built.stderr
    return target / built.stdout.split()[-1]


@dataclass(frozen=True)
class Installed:
    """An environment with its interpreter and, if the wheel is in it, the command."""

    python: Path
    pipeline: Path


def environment(folder: Path) -> Installed:
    """Make an environment that finds the packages of the tests, but not this program."""
    venv.create(folder, with_pip=False, symlinks=True)
    bin_folder = folder / ("Scripts" if os.name == "nt" else "bin")
    found = [place for place in sys.path if Path(place).name in {"site-packages", "dist-packages"}]
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    # Further .pth files, such as that of an editable installation, are not read in folders named in one.
    (site / "packages_of_the_tests.pth").write_text("\n".join(found) + "\n")
    return Installed(bin_folder / "python", bin_folder / "pipeline")
