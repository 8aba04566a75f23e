"""The directory of a run before it is trained: who may write to it, and what of it is kept.

Training, alignment, searches and imports all begin here. A run that is complete and whole is left as it is,
one that is not complete goes on, and one whose weights are gone or damaged is made again.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stores.atomic import machine_error
from nwb_latents.pipeline.stores.manifest import MANIFEST, require_whole
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.training import RunConfig

MAY_CHANGE = frozenset(
    {
        "max_steps",
        "patience",
        "validate_every",
        "checkpoint_every",
        "device",
        "devices",
        "data_memory_gb",
        "select",
    }
)
"""Settings a resumed run may be given anew; all others decide what the checkpoint means."""


@contextmanager
def only_trainer(run_dir: Path) -> Iterator[None]:
    """Hold the run directory, made if it is missing, for this process alone.

    Raises
    ------
    MachineError
        If another process holds it, or the disk refuses.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run_dir / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise MachineError(
            f"{run_dir}: another process trains this run. Wait for it to end, or give this one another "
            "--run-name."
        ) from error
    except OSError as error:
        raise machine_error(error, run_dir, doing="make the run directory") from error
    try:
        yield
    finally:
        lock.release()


def prepare_run(
    run_dir: Path, begun: RunConfig, *, resume: bool, force: bool, report: Report = ignore
) -> RunEntry | None:
    """Bring the run directory into the state training goes on from; return a run with nothing left to do.

    A complete run whose weights are gone or damaged is not done: that is said, and it is made again.

    Parameters
    ----------
    run_dir
        Run directory, held by `only_trainer`.
    begun
        What the run is made of; its package versions are filled in.
    resume
        Whether a run of other steps may go on.
    force
        Throw away what is there, whether it can be read or not.
    report
        Told of files that are damaged.

    Raises
    ------
    SettingsError
        If a run of other settings is there, or one to go on with is given settings that may not change.
    DataError
        If the run cannot go on, or be made again, because files of it are gone or damaged.
    """
    from nwb_latents.pipeline.training.run_files import (  # noqa: PLC0415
        CONFIG,
        package_versions,
        read_config,
        write_config,
    )

    if force and not resume and (run_dir / CONFIG).exists():
        _clear(run_dir)
    config = read_config(run_dir, run_key=None)
    if config is not None:
        _require_same(config, begun, resume=resume, name=run_dir.name)
        done = _done(run_dir, config, begun, resume=resume, report=report)
        if done is not None:
            return done
    created = config.created if config is not None else begun.created
    write_config(
        run_dir,
        begun.model_copy(
            update={"packages": package_versions(begun.settings.model.name), "created": created}
        ),
    )
    return None


def _done(
    run_dir: Path, config: RunConfig, begun: RunConfig, *, resume: bool, report: Report
) -> RunEntry | None:
    """Return the complete run, or make it one that is not complete: `run.json` goes before anything else."""
    from nwb_latents.pipeline.training.run_files import (  # noqa: PLC0415
        CONFIG,
        ENTRY,
        LAST,
        TRAIN_AGAIN,
        other_faults,
        read_entry,
        weights_fault,
    )

    entry = read_entry(run_dir)
    fault = weights_fault(run_dir) if entry is not None else ""
    if entry is not None and not fault:
        if entry.run_key == begun.run_key:
            for other in other_faults(run_dir):
                _note(report, run_dir, f"{other}. Its weights are whole, and it is left as it is.")
            return entry
        require_whole(run_dir, [CONFIG, LAST], remedy=TRAIN_AGAIN)
    if fault and resume:
        raise DataError(
            f"Run {run_dir.name} cannot go on: {run_dir}: {fault}. Run the command that trained it again, "
            "without --resume: it is trained anew."
        )
    if fault and config.sweep is not None:
        raise DataError(f"{run_dir}: {fault}. Search again with --force.")
    try:
        (run_dir / ENTRY).unlink(missing_ok=True)
        (run_dir / MANIFEST).unlink(missing_ok=True)
        if fault:
            _note(report, run_dir, f"{fault}. It is made again from the beginning.")
            _forget_training(run_dir)
    except OSError as error:
        raise machine_error(error, run_dir, doing="change the run directory") from error
    return None


def _note(report: Report, run_dir: Path, text: str) -> None:
    report(NoteEvent(text=f"Run {run_dir.name}: {text}", run=run_dir.name, status="damaged", reason=text))


def _forget_training(run_dir: Path) -> None:
    """Remove what a training writes and goes on from; what was made with the run stays."""
    from nwb_latents.pipeline.training.run_files import BEST, LAST, METRICS, TENSORBOARD  # noqa: PLC0415

    for name in (LAST, BEST, METRICS):
        (run_dir / name).unlink(missing_ok=True)
    shutil.rmtree(run_dir / TENSORBOARD, ignore_errors=True)


def _require_same(config: RunConfig, begun: RunConfig, *, resume: bool, name: str) -> None:
    if not resume:
        if config.run_key != begun.run_key:
            raise SettingsError(
                f"The name {name} is taken by a run of other settings or sessions. Choose another "
                "--run-name, or --force to train it anew."
            )
        return
    before, after = config.settings.model_dump(), begun.settings.model_dump()
    fixed = {key: value for key, value in before.items() if key not in MAY_CHANGE}
    changed = list(_changes(fixed, after))
    if changed:
        raise SettingsError(
            f"Run {config.run} cannot go on with other settings: {', '.join(changed)}. Leave them out: it "
            f"goes on with its own (only {', '.join(sorted(MAY_CHANGE))} may change). Or train a new run."
        )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the settings that differ, with both values."""
    for key, old in before.items():
        new = after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and old.get("name") == new.get("name"):
            yield from _changes(old, new, f"{prefix}{key}.")
        elif isinstance(old, dict) and isinstance(new, dict):
            yield f"{prefix}{key} (it has {old.get('name')}, given {new.get('name')})"
        else:
            yield f"{prefix}{key} (it has {old}, given {new})"


def _clear(run_dir: Path) -> None:
    try:
        for path in run_dir.iterdir():
            if path.name == ".lock":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise machine_error(error, run_dir, doing="clear the run directory") from error
