"""Which table of a file is that of trials: ``/intervals/trials``, a named one, or the only other one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import Table
from nwb_latents.pipeline.nwb.trial_columns import columns_of_role

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.schemas.recipe import IngestRecipe

USUAL = "intervals/trials"
_ROOTS = ("intervals", "processing", "acquisition", "analysis", "scratch")
_KINDS = frozenset({"TimeIntervals", "DynamicTable"})
_NO_TRIALS = frozenset({"intervals/invalid_times", "intervals/epochs"})
_TELLING = ("go_cue", "move_onset", "target_on", "success", "target_dir", "target_pos")


def trial_table(file: NwbFile, recipe: IngestRecipe) -> str:
    """Return the path of the trial table; one other than the usual is said.

    Parameters
    ----------
    file
        The open file.
    recipe
        May name the table.

    Returns
    -------
    path
        ``intervals/trials`` where there is no table at all.

    Raises
    ------
    DataError
        If there is no table where the recipe says, or several could be the one.
    """
    named, source = recipe.trials.table, recipe.trials.source
    if source == "speed":
        return USUAL
    if named is not None:
        return _named(file, named.strip("/"))
    if file.tree.broken_link(USUAL) is not None or (Table(file, USUAL).exists and Table(file, USUAL).n_rows):
        return USUAL
    others = _others(file)
    telling = [path for path in others if _tells(file, path)]
    if len(telling) > 1:
        raise DataError(
            f"{file.name}: has no trials in /{USUAL}, but several tables that may hold them: "
            f"{', '.join(f'/{path}' for path in telling)}. Say which: --set trials.table={telling[0]}, or "
            "find reaches from speed with --set trials.source=speed."
        )
    if telling:
        file.say(
            f"trials are read from /{telling[0]}: there are none in /{USUAL} (to find reaches from the speed "
            "instead: --set trials.source=speed)"
        )
        return telling[0]
    if others:
        file.say(
            f"not read as trials, for no column tells of cues, targets or outcomes: "
            f"{', '.join(f'/{path}' for path in others)}; --set trials.table={others[0]} does so"
        )
    return USUAL


def _named(file: NwbFile, path: str) -> str:
    if not Table(file, path).exists:
        others = ", ".join(_others(file)) or "none"
        raise DataError(
            f"{file.name}: trials.table: there is no table /{path}. Tables of intervals with rows: {others}."
        )
    return path


def _others(file: NwbFile) -> list[str]:
    """Return the paths of the tables with rows of starts and stops, other than the usual ones."""
    found = []
    for path, kind in file.objects(*_ROOTS):
        if kind not in _KINDS or path == USUAL or path in _NO_TRIALS:
            continue
        shapes = [file.shape(f"{path}/{name}") for name in ("start_time", "stop_time")]
        if all(shape is not None and 0 not in shape for shape in shapes):
            found.append(path)
    return found


def _tells(file: NwbFile, path: str) -> bool:
    table = Table(file, path)
    return any(columns_of_role(table, role) for role in _TELLING)
