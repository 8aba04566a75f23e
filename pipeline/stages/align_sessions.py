"""Which sessions of the catalog a trained run can be aligned to."""

from __future__ import annotations

import difflib
import fnmatch
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.schemas.catalog import Catalog, SessionEntry
    from nwb_latents.schemas.training import RunConfig

_NAMED_IN_MESSAGE = 5


def new_sessions(
    catalog: Catalog, config: RunConfig, globs: Sequence[str], report: Report
) -> list[SessionEntry]:
    """Return the sessions of a run's recipe that match and that it was not trained on, sorted by id.

    Parameters
    ----------
    catalog
        The catalog.
    config
        Configuration of the run.
    globs
        Session ids or shell patterns.
    report
        Called with a note for each session that a pattern matches and that the run was trained on.

    Raises
    ------
    DataError
        If nothing matches a pattern, or only stores of another recipe or sessions of the run do.
    """
    run, recipe_id = config.run, config.recipe_id
    known = {*config.sessions, *config.pretrained_on}
    chosen: dict[str, SessionEntry] = {}
    for glob in globs:
        matching = [e for e in catalog.sessions.values() if fnmatch.fnmatchcase(e.session, glob)]
        if not matching:
            raise DataError(_unknown(catalog, glob))
        fitting = {e.session: e for e in matching if e.recipe_id == recipe_id}
        if not fitting:
            raise DataError(_other_recipe(catalog, config, matching[-1]))
        fresh = {name: entry for name, entry in fitting.items() if name not in known}
        if not fresh:
            raise DataError(
                f"Run {run} was trained on {', '.join(sorted(fitting))} already: there is nothing to align. "
                f"Decode it with `pipeline run decode --run {run}`, or choose other sessions."
            )
        for name in sorted(fitting.keys() - fresh.keys()):
            reason = f"run {run} was trained on it"
            text = f"{name} is left out: {reason}."
            report(NoteEvent(text=text, stage="align", session=name, status="left out", reason=reason))
        chosen |= fresh
    return [chosen[name] for name in sorted(chosen)]


def _unknown(catalog: Catalog, glob: str) -> str:
    names = sorted({e.session for e in catalog.sessions.values()})
    if not names:
        return (
            "The catalog holds no sessions. Run `pipeline run ingest --path FOLDER` or `--dandiset ID` first."
        )
    close = difflib.get_close_matches(glob, names, n=_NAMED_IN_MESSAGE, cutoff=0.5)
    near = f"The nearest are {', '.join(close)}." if close else f"It holds {len(names)}, such as {names[0]}."
    return f"No session of the catalog matches {glob}. {near} `pipeline catalog list` shows all."


def _other_recipe(catalog: Catalog, config: RunConfig, found: SessionEntry) -> str:
    run, wanted = config.run, config.recipe_id
    own = [e for e in catalog.sessions.values() if e.recipe_id == wanted and e.session in config.sessions]
    expected = f", {own[0].n_bins} bins of {own[0].bin_size_s:g} s" if own else ""
    return (
        f"{found.session}: the store is of recipe {found.recipe_id}, {found.n_bins} bins of "
        f"{found.bin_size_s:g} s; run {run} was trained on recipe {wanted}{expected}. Ingest the session "
        "with the recipe of the run; `pipeline run recut` is enough where only window or selection differ."
    )
