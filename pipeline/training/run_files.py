"""The run directory: what lies in it, and how it is read and written.

``config.yaml`` is written first and ``run.json`` last: a directory without ``run.json`` is an unfinished
run, whatever else is in it.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Self

import yaml

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stores.atomic import machine_error, write_text
from nwb_latents.pipeline.stores.lenient import read_record, record_of
from nwb_latents.pipeline.stores.settings import read_yaml
from nwb_latents.schemas.catalog import RunEntry
from nwb_latents.schemas.registry import MODELS
from nwb_latents.schemas.training import RunConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

CONFIG, ENTRY, METRICS, BEST, LAST = (
    "config.yaml",
    "run.json",
    "metrics.jsonl",
    "best.safetensors",
    "last.safetensors",
)
TRAIN_AGAIN = "Train the run again with --force."

PACKAGES = ("nwb-latents", "torch", "lightning-fabric", "numpy", "safetensors")


def package_versions(model: str) -> dict[str, str]:
    """Return the versions of the packages a run depends on, with that of the distribution of its model.

    Parameters
    ----------
    model
        Name of the model.

    Examples
    --------
    >>> "torch" in package_versions("mdssm")
    True
    """
    found = {}
    for name in dict.fromkeys([*PACKAGES, *MODELS.distributions(model)]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def write_config(run_dir: Path, config: RunConfig) -> None:
    """Write the resolved configuration of a run."""
    write_text(run_dir / CONFIG, yaml.safe_dump(config.written(), sort_keys=False, width=110))


def read_config(run_dir: Path) -> RunConfig | None:
    """Return the configuration of a run, or None if no run was begun here.

    Raises
    ------
    DataError
        If the file does not fit.
    MachineError
        If the model of the run is not installed; the message names the distribution it came from.
    """
    path = run_dir / CONFIG
    if not path.exists():
        return None
    content = read_yaml(path)
    _require_model(content, path)
    return record_of(RunConfig, content, where=str(path), remedy=TRAIN_AGAIN)


def _require_model(content: Mapping[str, Any], path: Path) -> None:
    """Refuse a run of a model there is not, with what is known of where it came from."""
    settings = content.get("settings")
    model = settings.get("model") if isinstance(settings, dict) else None
    name = model.get("name") if isinstance(model, dict) else None
    if not isinstance(name, str) or name in MODELS:
        return
    packages = content.get("packages")
    others = {k: v for k, v in packages.items() if k not in PACKAGES} if isinstance(packages, dict) else {}
    origin = " and ".join(f"{package} {number}" for package, number in others.items())
    raise MachineError(
        f"{path}: the model {name!r} of this run is not installed. "
        + (f"It came from {origin}: install that. " if origin else "Install the distribution it came from. ")
        + f"Installed are: {', '.join(MODELS)}."
    )


def write_entry(run_dir: Path, entry: RunEntry) -> None:
    """Mark a run as complete."""
    write_text(run_dir / ENTRY, entry.text())


def read_entry(run_dir: Path) -> RunEntry | None:
    """Return the entry of a complete run, or None if the run is not complete.

    Raises
    ------
    DataError
        If the file does not fit the schema.
    """
    return read_record(RunEntry, run_dir / ENTRY, remedy=TRAIN_AGAIN)


class MetricsLog:
    """Metrics of a run as JSON lines and as a TensorBoard log.

    Parameters
    ----------
    run_dir
        Run directory.
    step
        Step training goes on from; what was logged after it is forgotten.

    Attributes
    ----------
    last
        Latest value of each metric up to `step`.
    """

    def __init__(self, run_dir: Path, *, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

        path = run_dir / METRICS
        kept = [line for line in _lines(path) if _step(line) <= step] if step else []
        write_text(path, "".join(kept))
        self.last: dict[str, float] = {}
        for line in kept:
            self.last |= json.loads(line)
        self.last.pop("step", None)
        try:
            self._file = path.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1 if step else None)
        except OSError as error:
            raise machine_error(error, path, doing="write the metrics") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add one line of finite values."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 0
