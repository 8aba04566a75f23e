"""The run directory: what lies in it, and how it is read and written.

``config.yaml`` is written first and ``run.json`` last: a directory without ``run.json`` is an unfinished
run, whatever else is in it. Just before ``run.json`` the manifest is written: size and digest of settings,
weights, metrics and ``run.json`` itself. The log for TensorBoard is not in it: it decides nothing, and
grows when a run goes on.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import yaml

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stores.atomic import machine_error, write_bytes, write_text
from nwb_latents.pipeline.stores.disk_names import flush_file
from nwb_latents.pipeline.stores.lenient import read_record, record_of, say
from nwb_latents.pipeline.stores.manifest import (
    file_faults,
    manifest_of,
    read_manifest,
    write_manifest,
)
from nwb_latents.pipeline.stores.plain_files import nothing_has_the_name, read_file
from nwb_latents.pipeline.stores.settings import read_yaml
from nwb_latents.schemas.catalog import RunEntry
from nwb_latents.schemas.manifest import FileDigest, Manifest
from nwb_latents.schemas.registry import MODELS
from nwb_latents.schemas.training import RunConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

CONFIG, ENTRY, METRICS, BEST, LAST = (
    "config.yaml",
    "run.json",
    "metrics.jsonl",
    "best.safetensors",
    "last.safetensors",
)
TENSORBOARD = "tensorboard"
TRIALS = "trials.json"
TRAIN_AGAIN = "Train the run again with --force, or remove its folder and run the same command again."

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


class MissingModelError(MachineError):
    """The model of a run is not installed; nothing is wrong with the run."""


def read_config(run_dir: Path, *, run_key: str | None) -> RunConfig | None:
    """Return the configuration of a run, or None if no run was begun here.

    Parameters
    ----------
    run_dir
        Run directory.
    run_key
        Its key in the catalog that names it; None takes whatever run is there.

    Raises
    ------
    DataError
        If the file does not fit, or is of another run than the catalog's.
    MissingModelError
        If the model of the run is not installed; the message names the distribution it came from.
    """
    path = run_dir / CONFIG
    if nothing_has_the_name(path):
        return None
    content = read_yaml(path)
    # Whose files these are is told before what else is odd about them.
    found = content.get("run_key")
    if run_key is not None and isinstance(found, str) and found != run_key:
        raise DataError(
            f"{run_dir}: its files are of the run {found}, the catalog has {run_key} under this "
            "name. Run the command that trained it again: it enters what is there."
        )
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
    raise MissingModelError(
        f"{path}: the model {name!r} of this run is not installed. "
        + (f"It came from {origin}: install that. " if origin else "Install the distribution it came from. ")
        + f"Installed are: {', '.join(MODELS)}."
    )


def write_entry(run_dir: Path, entry: RunEntry, *, also: Sequence[str] = ()) -> None:
    """Mark a run as complete, after its manifest; its best weights are given its key.

    Parameters
    ----------
    run_dir
        Run directory.
    entry
        The run.
    also
        Files the manifest lists besides those every run has.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    text = entry.text().encode()
    try:
        (run_dir / ENTRY).unlink(missing_ok=True)
        names = [n for n in (CONFIG, TRIALS, METRICS, BEST, LAST, *also) if (run_dir / n).is_file()]
        _mark_weights(run_dir / BEST, entry.run_key)
        for name in names:
            flush_file(run_dir / name)
        listed = manifest_of(run_dir, names).files
    except OSError as error:
        raise machine_error(error, run_dir, doing="write the manifest of this run") from error
    mine = FileDigest(size=len(text), sha256=hashlib.sha256(text).hexdigest())
    write_manifest(run_dir, Manifest(files={**listed, ENTRY: mine}))
    write_bytes(run_dir / ENTRY, text)


def _mark_weights(path: Path, run_key: str) -> None:
    """Write the key of a run into the header of its weights; what is no checkpoint is left as it is."""
    try:
        content = read_file(path)
        n = int.from_bytes(content[:8], "little")
        head = json.loads(content[8 : 8 + n])
        told = json.loads(head["__metadata__"]["nwb_latents"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    if told.get("run_key") == run_key:
        return
    head["__metadata__"]["nwb_latents"] = json.dumps({**told, "run_key": run_key})
    text = json.dumps(head, separators=(",", ":")).encode()
    # Numbers begin at a multiple of eight bytes.
    text += b" " * (-len(text) % 8)
    write_bytes(path, len(text).to_bytes(8, "little") + text + content[8 + n :])


def weights_fault(run_dir: Path, *, sizes_only: bool = False) -> str:
    """Return what is wrong with the weights of a complete run; nothing if they are whole.

    Of a run without a manifest, only the form of the file can be looked at.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - only where a run is complete

    try:
        manifest = read_manifest(run_dir, remedy="")
    except DataError as error:
        return str(error).strip()
    if manifest is not None and BEST in manifest.files:
        return next(
            (fault.text for fault in file_faults(run_dir, manifest, names=[BEST], sizes_only=sizes_only)), ""
        )
    if not (run_dir / BEST).is_file():
        return f"{BEST} is not there"
    try:
        with safe_open(run_dir / BEST, framework="np"):
            return ""
    except SafetensorError as error:
        return f"{BEST} is damaged ({error})"
    except OSError as error:
        raise machine_error(error, run_dir / BEST, doing="read these weights") from error


def other_faults(run_dir: Path) -> list[str]:
    """Return what is wrong with the other files of a complete run.

    Raises
    ------
    DataError
        If the manifest is damaged.
    MachineError
        If the disk refuses.
    """
    manifest = read_manifest(run_dir, remedy=TRAIN_AGAIN)
    if manifest is None:
        return []
    return [fault.text for fault in file_faults(run_dir, manifest) if fault.name != BEST]


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
        kept = [row for row in read_metrics(path, keep_aside=True) if row["step"] <= step] if step else []
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self.last: dict[str, float] = {}
        for row in kept:
            self.last |= row
        self.last.pop("step", None)
        try:
            self._file = path.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(run_dir / TENSORBOARD), purge_step=step + 1 if step else None)
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


class NoLog:
    """The log of a process that writes none, since another does."""

    last: Mapping[str, float] = MappingProxyType({})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing open: nothing was."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write nothing."""


def read_metrics(path: Path, *, keep_aside: bool = False) -> list[dict[str, Any]]:
    """Return the lines of a log of metrics, each with its step.

    A last line that was torn when a training was killed is left out: its step is taken again. Any other line
    that cannot be read is left out and said (`CatalogWarning`).

    Parameters
    ----------
    path
        The log; one that is not there has no lines.
    keep_aside
        Keep a log with such lines as it is under another name, since it is about to be written anew.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    try:
        content = read_file(path)
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise machine_error(error, path, doing="read the metrics") from error
    whole = content[: content.rfind(b"\n") + 1].splitlines()
    rows = list(_rows(whole))
    n_damaged = len(whole) - len(rows)
    if n_damaged:
        told = f"{path}: {n_damaged} of {len(whole)} lines cannot be read and are left out"
        if keep_aside:
            aside = _free_name(path)
            write_bytes(aside, content)
            told += f"; the file as it was is kept as {aside.name}"
        say(f"{told}. The weights do not depend on it.")
    return rows


def damaged_lines(path: Path) -> tuple[int, int]:
    """Return how many lines of a log of metrics cannot be read, and how many there are.

    Raises
    ------
    DataError, MachineError
        If none can.
    """
    try:
        whole = read_file(path).splitlines()
    except FileNotFoundError:
        return 0, 0
    except OSError as error:
        raise machine_error(error, path, doing="read the metrics") from error
    return len(whole) - sum(1 for _ in _rows(whole)), len(whole)


def _rows(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and all(type(value) in {int, float} for value in row.values()):
            step = row.get("step")
            if type(step) is int and step >= 0:
                yield row


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}.damaged-{k}{path.suffix}") for k in count(1))
    return next(name for name in names if not name.exists())
