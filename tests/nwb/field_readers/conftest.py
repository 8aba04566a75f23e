"""What the packages of the field make of a file; without their environment tests are skipped, with a word."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest
from nwb.field_readers.environment import READERS, interpreter, place

from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.schemas.simulation import SimulateSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TAKER = Path(__file__).with_name("take.py")


class Take(Protocol):
    """Ask a reader: name of a function of ``take.py``, the file, its other words; arrays by name."""

    def __call__(self, reader: str, path: Path | None = None, **words: object) -> dict[str, np.ndarray]: ...


@pytest.fixture(scope="session")
def take(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Take]:
    """Return the function that asks a reader; all are asked in one process, which imports them once."""
    python = interpreter()
    if python is None:
        pytest.skip(
            f"NOT COMPARED with the field's readers ({', '.join(READERS)}): they are not in {place()}. "
            "`make field-readers` installs them."
        )
    folder = tmp_path_factory.mktemp("taken")
    said = folder / "said.txt"
    with (
        said.open("w") as stderr,
        subprocess.Popen(
            [python, TAKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=folder,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(reader: str, path: Path | None = None, **words: object) -> dict[str, np.ndarray]:
            to = folder / "taken.npz"
            given = {**words, **({} if path is None else {"path": str(path)})}
            print(
                json.dumps({"reader": reader, "words": given, "to": str(to)}), file=process.stdin, flush=True
            )
            answer = process.stdout.readline()
            assert answer, said.read_text()
            error = json.loads(answer)
            assert not error, error
            with np.load(to) as arrays:
                return {name.replace("|", "/"): arrays[name] for name in arrays}

        yield ask
        process.stdin.close()


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the function that simulates one small session and says where it lies."""

    def simulate(**settings: object) -> Path:
        sizes = {
            "preset": "classic",
            "n_subjects": 1,
            "n_sessions": 1,
            "n_units": (8, 8),
            "n_trials": 40,
            "failure_rate": 0.3,
        }
        chosen = SimulateSettings.model_validate({**sizes, "waveforms": False, "seed": 2, **settings})
        (path,) = simulate_dandiset(tmp_path_factory.mktemp("simulated"), chosen)
        return path

    return simulate
