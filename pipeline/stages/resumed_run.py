"""A run that a training goes on with: by its name, with its own settings and sessions."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.stores.catalog import read_catalog, some_of

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.training import RunConfig


def settings_to_resume(catalog_path: Path, name: str) -> dict[str, Any]:
    """Return the settings of a run that is to go on, as values that others are laid over.

    Raises
    ------
    DataError
        If there is no such run.
    SettingsError
        If it is one that cannot go on by training.
    """
    check_run_name(name)
    return begun_run(catalog_path.parent / "runs", name).settings.model_dump()


def begun_run(runs: Path, name: str) -> RunConfig:
    """Return what a run that is to go on was begun with.

    Parameters
    ----------
    runs
        Folder of the runs.
    name
        Name of the run.

    Raises
    ------
    DataError
        If there is no such run.
    SettingsError
        If it is one that cannot go on by training.
    """
    from nwb_latents.pipeline.training.run_files import CONFIG, read_config, read_entry  # noqa: PLC0415

    config = read_config(runs / name, run_key=None)
    if config is None:
        known = sorted(path.parent.name for path in runs.glob(f"*/{CONFIG}"))
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        shown = some_of(known) or "none"
        raise DataError(f"No run is called {name}.{hint} Runs beside the catalog: {shown}.")
    if config.alignment is not None:
        raise SettingsError(
            f"Run {name} is an alignment of {config.alignment.parent}: training all of it would undo that. "
            "Go on with the `pipeline run align` that began it."
        )
    if config.imported is not None:
        raise SettingsError(
            f"Run {name} was imported from {config.imported.source}, without the state of an "
            "optimiser to go on from. Train a run of its settings without --resume, or give it new sessions "
            "with `pipeline run align`."
        )
    if config.sweep is not None and read_entry(runs / name) is None:
        raise SettingsError(
            f"Run {name} is a sweep that is not complete. Go on with the `pipeline run sweep` that began it."
        )
    return config


def entries_of(catalog_path: Path, config: RunConfig) -> list[SessionEntry]:
    """Return the sessions a run was begun on.

    Parameters
    ----------
    catalog_path
        Catalog file.
    config
        What the run was begun with.

    Raises
    ------
    DataError
        If a store of them is gone, or another.
    """
    held = read_catalog(catalog_path).sessions.values()
    stores = {entry.session: entry for entry in held if entry.recipe_id == config.recipe_id}
    entries = []
    for session, source in config.sessions.items():
        entry = stores.get(session)
        if entry is None or entry.store_key != source.store_key:
            state = "is no longer in the catalog" if entry is None else "was ingested anew"
            raise DataError(
                f"Run {config.run} cannot go on: {session} {state} since it was begun. Train a new run, "
                "without --resume."
            )
        entries.append(entry)
    return entries


def check_run_name(name: str | None) -> None:
    """Refuse a name that is no safe name of a directory.

    Raises
    ------
    SettingsError
        If it has other characters than letters, digits, ``.``, ``_`` and ``-``.

    Examples
    --------
    >>> check_run_name("../runs")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: run name '../runs': use letters, ...
    """
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise SettingsError(
            f"run name {name!r}: use letters, digits, '.', '_' and '-', the first a letter or digit."
        )
