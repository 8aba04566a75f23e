"""Which trials and units of a session a picture shows, and how it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.session import Session

    IntArray = NDArray[np.int64]


def rows_shown(session: Session, split: str) -> IntArray:
    """Return the rows of the trials of a split, or of all.

    Raises
    ------
    DataError
        If there is none.
    SettingsError
        If there is no such split.
    """
    rows = np.arange(session.n_trials) if split == "all" else session.rows(split)
    if not len(rows):
        raise DataError(f"{session.name}: no trial is in the split {split}. Draw the split all.")
    return rows


def trial_words(session: Session, rows: IntArray, split: str) -> str:
    """Return which trials are drawn: all of them, or those of a split."""
    if split == "all":
        return f"all {len(rows)} trials"
    return f"the {len(rows)} {split} trials of {session.n_trials}"


def units_shown(session: Session, units: Sequence[int], n_units: int) -> IntArray:
    """Return the columns of units: those of some ids, else those of the highest mean rates.

    Raises
    ------
    SettingsError
        If the session has no unit of such an id.
    """
    ids = session.trials["unit"].values
    if not units:
        rates = session.trials["mean_rate"].values
        return np.sort(np.argsort(-rates, kind="stable")[:n_units])
    column = {int(unit): number for number, unit in enumerate(ids)}
    unknown = [unit for unit in units if int(unit) not in column]
    if unknown:
        shown = ", ".join(str(int(unit)) for unit in ids[:8]) + (" …" if len(ids) > 8 else "")
        raise SettingsError(
            f"{session.name}: has no unit {unknown[0]}; its {len(ids)} units are {shown}. These are the ids "
            "in the NWB file (unit of the group trials)."
        )
    return np.array([column[int(unit)] for unit in dict.fromkeys(units)], dtype=np.int64)


def unit_words(session: Session, columns: IntArray, units: Sequence[int]) -> str:
    """Return which units are drawn."""
    if len(columns) == session.n_units:
        return f"all {len(columns)} units"
    how = "chosen by id" if units else "those of the highest mean rates"
    return f"{len(columns)} of {session.n_units} units, {how}"


def unit_title(session: Session, column: int) -> str:
    """Return the title of a unit's panel."""
    unit = session.trials.isel(unit=column)
    area = str(unit["area"].item()) if "area" in unit.coords or "area" in unit else ""
    where = f", {area}" if area and area != "unknown" else ""
    return f"unit {int(unit['unit'].item())}{where}, {float(unit['mean_rate'].item()):.1f} Hz"


def event_words(session: Session) -> str:
    """Return what time zero is.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> event_words(SimpleNamespace(recipe=SimpleNamespace(align_to="move_onset")))
    'movement onset'
    """
    known = {"move_onset": "movement onset", "go_cue": "go cue", "target_on": "target onset"}
    return known.get(session.recipe.align_to, session.recipe.align_to.replace("_", " "))


def relative_s(session: Session, event: str, rows: IntArray) -> NDArray[np.float64]:
    """Return the time of an event from the bin that holds the one trials are cut at, s; NaN: not known."""
    trials = session.trials
    zero = trials["event_time"].values - trials["event_offset"].values
    found: NDArray[np.float64] = (trials[event].values - zero)[rows].astype(np.float64)
    return found
