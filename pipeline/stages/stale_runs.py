"""Which runs of a catalog were trained on stores that are no more, or were made anew since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import PipelineError
from nwb_latents.pipeline.stores.current_keys import CurrentKeys
from nwb_latents.pipeline.training.run_files import CONFIG, MissingModelError, read_config

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nwb_latents.schemas.catalog import Catalog, RunEntry

_NAMED = 2
"""Stores named one by one; of more, their number is told."""


def why_runs_are_stale(catalog_path: Path, catalog: Catalog) -> dict[str, str | None]:
    """Return what became of the stores, and the files, of each run since it was trained.

    Parameters
    ----------
    catalog_path
        Catalog file; the runs lie beside it.
    catalog
        What it says.

    Returns
    -------
    why
        Run → words. Empty: its stores are as they were. None: which they were is not known, as of a run
        whose model is not installed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.catalog import Catalog
    >>> why_runs_are_stale(Path("nowhere/catalog.yaml"), Catalog())
    {}
    """
    keys = CurrentKeys(catalog)
    return {run.run: _why(catalog_path.parent / run.path, run, keys) for run in catalog.runs.values()}


def _why(run_dir: Path, run: RunEntry, keys: CurrentKeys) -> str | None:
    try:
        config = read_config(run_dir, run_key=None)
    except MissingModelError:
        return None
    except (PipelineError, OSError):
        return f"its {CONFIG} cannot be read"
    if config is None:
        return f"its {CONFIG} is gone" if run_dir.is_dir() else "its files are gone"
    if config.run_key != run.run_key:
        return "its files are of another run"
    found = {
        session: keys.why_stale(session, run.recipe_id, source.store_key, None, None)
        for session, source in config.sessions.items()
    }
    stale = {session: why for session, why in found.items() if why}
    if len(stale) > _NAMED:
        return f"{len(stale)} of its {len(found)} stores are no more or were made anew"
    return "; ".join(f"{session}: {why}" for session, why in stale.items()) or _known(found.values())


def _known(found: Iterable[str | None]) -> str | None:
    """Return that nothing is stale, if that is known of all."""
    return None if None in found else ""
