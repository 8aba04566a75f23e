"""Columns of the trial table that a recipe wants in the store as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import FloatArray, TrialTable

_START_S = 1e-6


def with_columns(
    file: NwbFile, trials: TrialTable | None, names: Sequence[str], *, has_clock_resets: bool = False
) -> TrialTable | None:
    """Add columns of the file's trial table to what was read of it.

    Parameters
    ----------
    file
        The open file.
    trials
        What was read of the table; None: there is none.
    names
        Columns wanted. One that is not there, as in test files of the benchmark, is NaN, and that is said.
    has_clock_resets
        Whether starts were moved to another clock, so that they cannot be compared with those of the table.

    Raises
    ------
    DataError
        If a column holds text or several values a row, or trials are no rows of the table.
    """
    if not names:
        return trials
    if trials is None:
        file.say(f"trial_columns {', '.join(names)}: there is no trial table, they are NaN in every trial")
        return None
    table = Table(file, file.trials_path)
    if not _are_rows(table, trials, has_clock_resets=has_clock_resets):
        raise DataError(
            f"{file.name}: trial_columns {', '.join(names)}: the trials this layout makes are no rows of "
            f"/{file.trials_path}. Leave the columns out with --set trial_columns=[], or read the file "
            "with --set layout=nlb or --set layout=generic."
        )
    return replace(trials, columns={name: _values(file, table, name, trials) for name in names})


def _are_rows(table: Table, trials: TrialTable, *, has_clock_resets: bool) -> bool:
    if not len(trials):
        return True
    if int(trials.row.max()) >= table.n_rows:
        return False
    start = table.column("start_time").one_each() if "start_time" in table.names else None
    if has_clock_resets or start is None:
        return True
    there = np.asarray(start, dtype=np.float64)[trials.row]
    return bool(np.allclose(there, trials.events["start"], rtol=0, atol=_START_S, equal_nan=True))


def _values(file: NwbFile, table: Table, name: str, trials: TrialTable) -> FloatArray:
    if name not in table.names:
        file.say(f"trial_columns: /{file.trials_path} has no column {name}; it is NaN in every trial")
        return np.full(len(trials), np.nan)
    column = table.column(name)
    values = column.one_each()
    if values is None or column.kind == "text":
        found = "text" if column.kind == "text" else "several values a row"
        raise DataError(
            f"{file.name}: trial_columns: /{file.trials_path}/{name} holds {found}; expected a number or "
            "truth value for each trial. Take it out of trial_columns."
        )
    return np.asarray(values, dtype=np.float64)[trials.row]
