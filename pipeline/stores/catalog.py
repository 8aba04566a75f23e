"""The catalog file: read, add to, select from.

Every change reads, changes and replaces the file under a lock beside it, so that stages running at the
same time lose nothing of each other's.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stores.atomic import machine_error, write_text
from nwb_latents.pipeline.stores.settings import read_yaml, validate
from nwb_latents.schemas.catalog import Catalog, RunEntry, SessionEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from nwb_latents.schemas.results import Evaluation, Score

LOCK_SECONDS = 60.0

_HEADER = """\
# Data catalog. `pipeline run ...` adds what it makes; paths are relative to this file. Comments are not
# kept when a stage writes: put remarks into `notes`. Schema: `pipeline schema catalog`.
"""


def read_catalog(path: Path) -> Catalog:
    """Read a catalog; a file that does not exist is an empty catalog.

    Raises
    ------
    SettingsError
        If the file does not fit the schema (`pipeline schema catalog`).
    """
    if not path.exists():
        return Catalog()
    return validate(Catalog, read_yaml(path), where=str(path))


def update_catalog(path: Path, change: Callable[[Catalog], Catalog]) -> Catalog:
    """Replace the catalog by `change` of it, under the lock.

    Parameters
    ----------
    path
        Catalog file; made if it does not exist.
    change
        Function from the catalog to the catalog to write.

    Raises
    ------
    MachineError
        If the folder cannot be written to, or the lock is held for a minute.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock"), timeout=LOCK_SECONDS):
            before = read_catalog(path)
            after = change(before)
            if after != before or not path.exists():
                write_text(path, _HEADER + _dump(after.model_dump(mode="json", exclude_defaults=True)))
            return after
    except Timeout as error:
        raise MachineError(
            f"{path}: another process has held the catalog's lock for {LOCK_SECONDS:g} s. Wait for it to "
            "end; "
            f"if none is running, delete {path.name}.lock."
        ) from error
    except OSError as error:
        raise machine_error(error, path, doing="write the catalog") from error


def _dump(content: dict[str, Any]) -> str:
    # schema_version is a default, yet a reader of another version needs it.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        {"schema_version": 1, **content}, Dumper=dumper, sort_keys=False, width=110, allow_unicode=True
    )
    return text


def session_key(session: str, recipe_id: str) -> str:
    """Return the key of a session's entry.

    Examples
    --------
    >>> session_key("sub-C_ses-CO-20131003", "20ms-0123abcd")
    'sub-C_ses-CO-20131003@20ms-0123abcd'
    """
    return f"{session}@{recipe_id}"


def add_session(path: Path, entry: SessionEntry) -> None:
    """Enter a session's store, replacing an entry of the same session and recipe."""
    key = session_key(entry.session, entry.recipe_id)

    def change(catalog: Catalog) -> Catalog:
        # Last in the mapping is latest: selection falls back on the recipe ingested last.
        others = {k: v for k, v in catalog.sessions.items() if k != key}
        if catalog.sessions.get(key) == entry:
            return catalog
        return catalog.model_copy(update={"sessions": {**others, key: entry}})

    update_catalog(path, change)


def add_run(path: Path, entry: RunEntry) -> None:
    """Enter a complete run, replacing an entry of the same name."""
    update_catalog(path, lambda c: c.model_copy(update={"runs": {**c.runs, entry.run: entry}}))


def add_results(path: Path, scores: Iterable[Score]) -> None:
    """Enter scores; a score of the same measurement is replaced."""
    fresh = {score.key: score for score in scores}

    def change(catalog: Catalog) -> Catalog:
        merged = {score.key: score for score in catalog.results} | fresh
        return catalog.model_copy(update={"results": tuple(merged.values())})

    update_catalog(path, change)


def add_evaluations(path: Path, evaluations: Iterable[Evaluation]) -> None:
    """Enter evaluations; one of the same source, session, recipe and phase is replaced."""
    fresh = {each.place: each for each in evaluations}

    def change(catalog: Catalog) -> Catalog:
        merged = {each.place: each for each in catalog.evaluations} | fresh
        return catalog.model_copy(update={"evaluations": tuple(merged.values())})

    update_catalog(path, change)


def select_sessions(
    catalog: Catalog, globs: Sequence[str] = ("*",), recipe_id: str | None = None
) -> list[SessionEntry]:
    """Return the sessions whose id matches one of `globs`, all of one recipe, sorted by id.

    Parameters
    ----------
    catalog
        The catalog.
    globs
        Shell patterns for session ids, e.g. ``"sub-C_*"``.
    recipe_id
        Recipe of the stores, or its beginning; default: the recipe of the matching session ingested last.

    Raises
    ------
    DataError
        If nothing matches; the message names what there is.
    SettingsError
        If `recipe_id` fits several recipes.
    """
    if not catalog.sessions:
        raise DataError(
            "The catalog holds no sessions. Run `pipeline run ingest --path FOLDER` or `--dandiset ID` first."
        )
    matching = [e for e in catalog.sessions.values() if any(fnmatch.fnmatchcase(e.session, g) for g in globs)]
    if not matching:
        known = sorted({e.session for e in catalog.sessions.values()})
        raise DataError(f"No session matches {', '.join(globs)}. The catalog holds: {_some(known)}.")
    recipes = list(dict.fromkeys(e.recipe_id for e in matching))
    if recipe_id is not None:
        wanted = [r for r in recipes if r.startswith(recipe_id)]
        if not wanted:
            raise DataError(
                f"No matching session was ingested with the recipe {recipe_id}. There are: {_some(recipes)}."
            )
        if len(wanted) > 1:
            raise SettingsError(f"The recipe {recipe_id} is not unique: {_some(wanted)}. Give more of it.")
        chosen = wanted[0]
    else:
        chosen = matching[-1].recipe_id
    return sorted((e for e in matching if e.recipe_id == chosen), key=lambda e: e.session)


def _some(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
