"""The published readers of the field, in a Python environment of their own; made by ``make field-readers``.

The packages are installed without what they ask for: they cannot have it together or beside ours (nlb_tools
asks for pandas up to 1.3.4, which no Python from 3.11 on has). What their readers import is pinned here.

``python tests/nwb/field_readers/environment.py`` makes the environment where it is not there yet.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

READERS = ("brainsets==0.2.2", "falcon_challenge==1.0.2", "nlb_tools==0.0.4")
IMPORTED = (
    "hydra-core==1.3.2",
    "numpy==2.2.6",
    "pandas==2.2.3",
    "pynwb==4.2.0",
    "ray==2.60.0",
    "requests>=2.32",
    "rich>=13.3.2",
    "scikit-learn==1.6.1",
    "scipy==1.15.3",
    "temporaldata==0.1.6",
    "tqdm>=4.64.1",
)
PLACE = "NWB_LATENTS_FIELD_READERS"
MADE = "made"


def place() -> Path:
    """Return the folder of the environment: one for each Python and list of packages."""
    chosen = os.environ.get(PLACE)
    parent = Path(chosen) if chosen else Path.home() / ".cache" / "nwb-latents"
    what = "\n".join([*READERS, *IMPORTED, *map(str, sys.version_info[:2])])
    return parent / f"field-readers-{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def interpreter() -> Path | None:
    """Return the interpreter of the environment, None where it was not made."""
    folder = place()
    return folder / "bin" / "python" if (folder / MADE).is_file() else None


def make() -> Path:
    """Make the environment where it is not there, and return its interpreter.

    Raises
    ------
    subprocess.CalledProcessError
        If the packages cannot be installed; what is half made is gone then.
    """
    found = interpreter()
    if found is not None:
        return found
    folder = place()
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    try:
        venv.create(folder, with_pip=True)
        for words in (IMPORTED, ("--no-deps", *READERS)):
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
            subprocess.run(install, check=True, stdin=subprocess.DEVNULL)
        (folder / MADE).touch()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return python


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{make()}\n")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(
            f"The readers of the field ({', '.join(READERS)}) cannot be installed in {place()}: {error}. "
            "Their tests are skipped until they are. They need a package index; "
            f"{PLACE} names another folder for them."
        )
