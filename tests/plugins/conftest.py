"""A laboratory: its distribution installed beside the program, its recordings, its archive."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from address.environments import ROOT, Installed, build, environment, run

if TYPE_CHECKING:
    from collections.abc import Callable

TOYLAB = Path(__file__).parent / "toylab"


@dataclass(frozen=True)
class Laboratory:
    """An environment with the program, and with the laboratory's distribution until it is uninstalled."""

    environment: Installed
    folder: Path

    def pipeline(self, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command and check its exit code."""
        done = run(
            self.environment.pipeline, *words, cwd=self.folder, DANDI_NO_ET="1", NO_PROXY="127.0.0.1",
            TORCHINDUCTOR_CACHE_DIR=str(self.folder / "inductor"),
        )  # fmt: skip
        assert done.returncode == code, done.stderr[-4000:]
        assert "Traceback" not in done.stderr
        return done

    def events(self, *words: object, code: int = 0) -> list[dict[str, Any]]:
        """Run the command with ``--json`` and return its events."""
        shown = self.pipeline(*words, "--json", code=code)
        return [json.loads(line) for line in shown.stdout.splitlines()]

    def uninstall(self) -> None:
        """Remove the laboratory's distribution."""
        done = _pip(self.environment, "uninstall", "--yes", "toylab")
        assert done.returncode == 0, done.stderr


def _pip(made: Installed, *words: object) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "pip", "--python", made.python, *words, cwd=made.python.parent)


@pytest.fixture(scope="package")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """Return the program's and the laboratory's wheels, installed in one environment."""
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("laboratory")
    source = shutil.copytree(TOYLAB, folder / "source")
    wheels = [build("wheel", ROOT, folder / "wheels"), build("wheel", source, folder / "wheels")]
    made = environment(folder / "environment")
    done = _pip(made, "install", "--no-deps", "--no-index", *wheels)
    assert done.returncode == 0, done.stderr
    (folder / "work").mkdir()
    return Laboratory(made, folder / "work")


@pytest.fixture(scope="package")
def recordings(
    tmp_path_factory: pytest.TempPathFactory, make_reaches: Callable[..., Any], make_nwb: Callable[..., Path]
) -> dict[str, bytes]:
    """Return two sessions of the rig under their paths in its dandiset."""
    folder = tmp_path_factory.mktemp("recordings")
    out = {}
    for number, subject in enumerate("AB"):
        name = f"sub-{subject}/sub-{subject}_ses-CO-{number}_behavior+ecephys.nwb"
        reaches = make_reaches(seed=number, n_trials=40)
        path = make_nwb(folder / name, reaches, subject=subject, session=f"CO-{number}")
        _as_of_the_rig(path)
        out[name] = path.read_bytes()
    return out


def _as_of_the_rig(path: Path) -> None:
    """Millimetres under another name, a beep for a go cue, two trials of warm-up."""
    with h5py.File(path, "a") as h5:
        hand = h5["processing/behavior/Position/hand_pos"]
        millimetres = hand["data"][()] * 10
        del hand["data"]
        hand["data"] = millimetres
        hand["data"].attrs.update({"unit": "cm", "conversion": 1.0})
        h5.move("processing/behavior/Position/hand_pos", "processing/behavior/Position/rig_mm")
        del h5["processing/behavior/Velocity"]
        trials = h5["intervals/trials"]
        trials.move("go_cue_time", "beep")
        trials["is_warm_up"] = np.arange(len(trials["id"])) < 2
        columns = ["start_time", "stop_time", "beep", "result", "is_warm_up"]
        trials.attrs["colnames"] = np.array(columns, dtype=h5py.string_dtype())
