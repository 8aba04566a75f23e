"""``pipeline import lfads-checkpoint``: a model trained by lfads-torch → a run in the catalog."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.stages.report import Report, ignore, noted
from nwb_latents.pipeline.stages.resumed_run import check_run_name
from nwb_latents.pipeline.stages.run_directory import only_trainer, prepare_run
from nwb_latents.pipeline.stages.run_entries import now, run_event
from nwb_latents.pipeline.stages.train import (
    bin_size_of,
)
from nwb_latents.pipeline.stores.catalog import add_run, read_catalog, select_sessions
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.run_stores import source_of
from nwb_latents.schemas.catalog import Imported, RunEntry
from nwb_latents.schemas.imports import IMPORT_VERSION
from nwb_latents.schemas.training import RunConfig, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.lfads_torch_file import LfadsTorchFile
    from nwb_latents.pipeline.training.lfads_torch_weights import SessionUnits
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.imports import LfadsCheckpointImport


def import_checkpoint(
    catalog_path: Path,
    path: Path,
    settings: LfadsCheckpointImport,
    *,
    sessions: Sequence[str],
    recipe_id: str | None = None,
    run_name: str | None = None,
    force: bool = False,
    report: Report = ignore,
) -> RunEntry:
    """Enter a model that lfads-torch trained as a run, to reconstruct, forecast, decode and align with.

    Parameters
    ----------
    catalog_path
        Catalog file; the run lies in ``runs/<name>/`` beside it.
    path
        Checkpoint, a .ckpt file.
    settings
        What the file does not say.
    sessions
        Session ids, in the order of the data files it was trained on: stores of the same counts, made by
        `import_lfads` or exported to that file.
    recipe_id
        Recipe of the stores, or its beginning; default: that of the first session ingested last.
    run_name
        Name of the run; default: ``lfads-`` and the beginning of the run's key.
    force
        Throw away what is in the run directory, and read the file though it may not fit the memory.
    report
        Receives one event for the run.

    Returns
    -------
    entry
        The run as entered in the catalog.

    Raises
    ------
    DataError
        If the checkpoint cannot be read or is of a model that there is not here, or the sessions are others.
    SettingsError
        If the name is taken by another run.
    MachineError
        If the disk refuses.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.imports import LfadsCheckpointImport
    >>> import_checkpoint(Path("catalog.yaml"), Path("no.ckpt"), LfadsCheckpointImport(), sessions=["a"])
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: no.ckpt: there is no such file. Check the path.
    """
    from nwb_latents.pipeline.sources.checksums import digest_file  # noqa: PLC0415
    from nwb_latents.pipeline.training.lfads_torch_file import read_lfads_torch  # noqa: PLC0415
    from nwb_latents.pipeline.training.lfads_torch_settings import lfads_settings  # noqa: PLC0415
    from nwb_latents.pipeline.training.lfads_torch_weights import import_weights  # noqa: PLC0415

    check_run_name(run_name)
    file = read_lfads_torch(path, force=force)
    digest = digest_file(path)
    entries = _entries(catalog_path, sessions, recipe_id)
    found = [open_session(store_path(catalog_path, e.store), entry=e) for e in entries]
    units = [_units(session) for session in found]
    described = lfads_settings(file, settings, units)
    _check_bins(file, entries)
    if "likelihood" not in settings.model_fields_set:
        noted(report)(
            f"{path}: does not say which reconstruction it was trained with; Poisson is taken, whose rates "
            "are exponentials of what is read out. If it was another, say so: --set likelihood=mse."
        )
    # Whatever does not fit shows here, before anything is written.
    model = import_weights(file, described, units)
    made = TrainSettings(
        model=described,
        forward_ms=_forward_ms(file, entries),
        signal="counts",
        standardise=False,
        co_smoothing=any(each.n_encoded < len(each.column) for each in units),
        max_steps=max(1, file.steps),
    )
    key = checkpoint_key(digest, made, entries)
    name = run_name or f"lfads-{key[:8]}"
    run_dir = catalog_path.parent / "runs" / name
    begun = RunConfig(
        run=name,
        run_key=key,
        recipe_id=entries[0].recipe_id,
        sessions={e.session: source_of(e) for e in entries},
        settings=made,
        created=now(),
        imported=Imported(program="lfads-torch", source=path.name, source_digest=digest),
    )
    with only_trainer(run_dir):
        done = prepare_run(run_dir, begun, resume=False, force=force, report=report)
        entry = done or _write(catalog_path, run_dir, begun, model, found, steps=file.steps)
        add_run(catalog_path, entry)
    report(run_event(entry, "skipped" if done else "done"))
    return entry


def _entries(catalog_path: Path, sessions: Sequence[str], recipe_id: str | None) -> list[SessionEntry]:
    """Return the named sessions in the order they are named in, all of one recipe."""
    if not sessions:
        raise SettingsError("No session is named: a checkpoint needs the session it was trained on.")
    if len(set(sessions)) < len(sessions):
        raise SettingsError(f"A session is named twice: {', '.join(sessions)}. Name each once.")
    catalog = read_catalog(catalog_path)
    entries: list[SessionEntry] = []
    for session in sessions:
        chosen = entries[0].recipe_id if entries else recipe_id
        entries += select_sessions(catalog, (_literal(session),), chosen)
    return entries


def _literal(session: str) -> str:
    """Return the pattern that matches a session id and nothing else."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in session)


def _units(session: Session) -> SessionUnits:
    import numpy as np  # noqa: PLC0415

    from nwb_latents.pipeline.training.lfads_torch_weights import SessionUnits  # noqa: PLC0415

    is_out = session.trials["heldout"].values.astype(bool)
    column = np.concatenate([np.flatnonzero(~is_out), np.flatnonzero(is_out)])
    return SessionUnits(session=session.name, column=column, n_encoded=int((~is_out).sum()))


def _check_bins(file: LfadsTorchFile, entries: Sequence[SessionEntry]) -> None:
    n_bins = int(file.number("encod_seq_len"))
    for entry in entries:
        if entry.n_bins != n_bins:
            raise DataError(
                f"{file.path}: was trained on {n_bins} bins (encod_seq_len), trials of {entry.session} have "
                f"{entry.n_bins}. Name the session imported from the dataset it was trained on (`pipeline "
                "import lfads-h5`), and its recipe with --recipe-id."
            )


def _forward_ms(file: LfadsTorchFile, entries: Sequence[SessionEntry]) -> float:
    """Return how far beyond the bins it is shown the model was trained to go."""
    n_encoded, n_bins = (int(file.number(name)) for name in ("encod_seq_len", "recon_seq_len"))
    if n_bins < n_encoded:
        raise DataError(
            f"{file.path}: reconstructs {n_bins} bins (recon_seq_len) of the {n_encoded} it is shown "
            "(encod_seq_len); expected at least as many. Give the checkpoint as lfads-torch wrote it."
        )
    return round((n_bins - n_encoded) * entries[0].bin_size_s * 1e3, 6)


def checkpoint_key(digest: str, settings: TrainSettings, entries: Sequence[SessionEntry]) -> str:
    """Return the key of a run made of a checkpoint: of the file's digest, the settings and the stores.

    Examples
    --------
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> of = lambda digest: checkpoint_key(digest, TrainSettings(), [])
    >>> of("sha256:00") == of("sha256:01")
    False
    """
    stores = [entry.store_key for entry in entries]
    parts = ["lfads-torch", digest, settings.digest(bin_size_s=bin_size_of(entries)), stores, IMPORT_VERSION]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _write(
    catalog_path: Path,
    run_dir: Path,
    config: RunConfig,
    model: Model,
    sessions: Sequence[Session],
    *,
    steps: int,
) -> RunEntry:
    from nwb_latents.pipeline.training.checkpoint import TrainState, save_checkpoint  # noqa: PLC0415
    from nwb_latents.pipeline.training.feed import unscaled  # noqa: PLC0415
    from nwb_latents.pipeline.training.run_files import BEST, write_entry  # noqa: PLC0415

    scalings = {one.name: unscaled(one, config.settings) for one in sessions}
    state = TrainState(step=steps, best_step=steps)
    save_checkpoint(run_dir / BEST, model, state, scalings=scalings)
    entry = RunEntry(
        run=config.run,
        model=config.settings.model.name,
        path=run_dir.relative_to(catalog_path.parent).as_posix(),
        run_key=config.run_key,
        recipe_id=config.recipe_id,
        sessions=tuple(one.name for one in sessions),
        steps=steps,
        created=now(),
        imported=config.imported,
    )
    write_entry(run_dir, entry)
    return entry
