"""Every module is imported under one name, and nothing of ours under a name that others use too."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

PLUGIN = """
import sys

def pytest_sessionfinish():
    for name, module in list(sys.modules.items()):
        print("MODULE", name, getattr(module, "__file__", None))
"""


def test_doctests_import_no_module_under_two_names(root: Path, tmp_path: Path) -> None:
    (tmp_path / "listing.py").write_text(PLUGIN)
    package = "src/nwb_latents"
    some = (f"{package}/schemas", f"{package}/pipeline/signals", f"{package}/models/parts/dynamics.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "listing", "-p", "no:cacheprovider", *some],
        cwd=root, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    names = defaultdict(set)
    for line in done.stdout.splitlines():
        if line.startswith("MODULE") and not line.endswith(" None"):
            name, file = line.removeprefix("MODULE ").split(" ", 1)
            names[Path(file).resolve()].add(name)
    rooms = [(root / package / room).resolve() for room in ("schemas", "pipeline", "models")]
    ours = {file: found for file, found in names.items() if any(file.is_relative_to(room) for room in rooms)}
    assert len(ours) > 10
    assert not {file: found for file, found in ours.items() if len(found) > 1}
    assert not {"pipeline", "models", "schemas"} & {
        name.partition(".")[0] for found in names.values() for name in found
    }
