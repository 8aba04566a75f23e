"""The reading of ``/intervals/trials`` that all layouts share: canonical names for the columns of a file.

A table that is there is used, or refused with what is wrong with it; nothing takes its place without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import Table
from nwb_latents.pipeline.nwb.trial_columns import event_times, find_column
from nwb_latents.pipeline.nwb.trial_success import read_success
from nwb_latents.pipeline.nwb.trial_targets import join_columns, read_targets
from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, TrialTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile

__all__ = ["EVENT_COLUMNS", "TRIALS", "column", "in_radians", "join_columns", "n_rows", "read_trial_table"]

TRIALS = "intervals/trials"

EVENT_COLUMNS: dict[str, tuple[str, ...]] = {
    "start": ("start_time",),
    "stop": ("stop_time",),
    "target_on": ("target_on_time", "target_presentation_time", "target_shown_time"),
    "go_cue": ("go_cue_time", "gocue_time"),
    "move_onset": ("move_onset_time", "move_begins_time"),
    "move_end": ("move_ends_time",),
}
"""Canonical event → names of its column in published files, in order of preference.

Of what has none of these, other spellings are recognised (`nwb.trial_columns.SPELLINGS`).
"""

SUCCESS_COLUMNS = ("result", "task_success", "success", "is_successful")
CONDITION_COLUMNS = (
    ("trial_type", "trial_version"), ("condition_id",), ("target_id",), ("condition",), ("movement_type",),
)  # fmt: skip

REQUIRED = ("go_cue", "move_onset")
"""Events trials may be cut at: a column of them that cannot be read is an error, of others it is said."""


def read_trial_table(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    """Read ``/intervals/trials`` under canonical event names.

    Parameters
    ----------
    file
        The open file; its `wanted` columns come before all others.
    events
        Canonical event → column names, in order of preference.

    Returns
    -------
    trials
        One row per row of the table; None where the file has no table, or one without rows.

    Raises
    ------
    DataError
        If the table has no starts and stops, or a column cannot be what it has to be.
    """
    table = Table(file, TRIALS)
    if not table.exists or not table.n_rows:
        return None
    if table.absent:
        file.say(f"/{TRIALS} lists columns that are not there: {', '.join(table.absent)}")
    wanted = file.wanted
    start, stop = _edges(table, events)
    found = {"start": start, "stop": stop}
    taken = {"start_time", "stop_time"}
    # What a layout or a person knows is nobody else's by its spelling.
    taken |= {name for names in events.values() for name in names}
    for role in ("go_cue", "move_onset", "target_on", "move_end"):
        named = getattr(wanted, role, None)
        name = find_column(table, role, named=named, also=events.get(role, ()), taken=taken)
        if name is None:
            continue
        taken.add(name)
        try:
            found[role] = event_times(
                table, name, role=role, start=start, stop=stop, is_relative=name in wanted.relative
            )
        except DataError as error:
            if role in REQUIRED or named is not None:
                raise
            file.withdraw(role)
            file.say(f"{error} It is not used.")
            continue
        if not np.isfinite(found[role]).any():
            file.say(f"/{TRIALS}/{name} ({role}) holds no times; it is not used")
            del found[role]
    if not {"go_cue", "move_onset"} & set(found):
        file.say(
            f"/{TRIALS} names neither a go cue nor a movement onset: the movement is looked for from the "
            "start of each trial on; name a column with columns.go_cue"
        )
    targets = read_targets(table, wanted, joint=CONDITION_COLUMNS)
    return TrialTable(
        row=np.arange(table.n_rows),
        events=found,
        success=read_success(table, named=wanted.success, values=wanted.success_values, also=SUCCESS_COLUMNS),
        valid=_valid(table),
        target_dir=targets.direction,
        condition=targets.condition,
        split=_splits(table),
    )


def _edges(table: Table, events: Mapping[str, tuple[str, ...]]) -> tuple[FloatArray, FloatArray]:
    file = table.file
    found = []
    for role, named in (("start", None), ("stop", file.wanted.end)):
        names = (named,) if named else events.get(role, EVENT_COLUMNS[role])
        name = next((each for each in names if table.has(each)), None)
        if name is None:
            raise DataError(
                f"{file.name}: /{table.path} has {table.n_rows} rows but no column {' or '.join(names)}. Its "
                f"columns are: {', '.join(table.names) or 'none'}. Mend the table, or find reaches from "
                "speed with --set trials.source=speed."
            )
        found.append(event_times(table, name, role=role, start=None, stop=None, is_relative=False))
    start, stop = found
    turned = stop < start
    if turned.any():
        file.say(f"/{table.path}: {int(turned.sum())} trials stop before they start and are not used")
        start, stop = np.where(turned, np.nan, start), np.where(turned, np.nan, stop)
    return start, stop


def n_rows(file: NwbFile, table: str) -> int:
    """Return the number of rows of a table; 0 where there is none."""
    return Table(file, table).n_rows


def column(file: NwbFile, name: str) -> NDArray[np.generic] | None:
    """Return a column of the trial table, or None where the table lacks it.

    Only columns of one entry per trial are returned; further dimensions may follow.
    """
    table = Table(file, TRIALS)
    if not table.has(name):
        return None
    found = table.column(name)
    values: NDArray[np.generic] | None = found.values if found.ends is None else found.one_each()
    return values


def _valid(table: Table) -> BoolArray:
    if not table.has("discard_trial"):
        return np.ones(table.n_rows, dtype=bool)
    return ~(np.nan_to_num(np.asarray(table.column("discard_trial").values, dtype=np.float64)) > 0)


def in_radians(angles: FloatArray) -> FloatArray:
    """Return angles in radians; those that go beyond a full turn as radians are degrees.

    Examples
    --------
    >>> in_radians(np.array([0.0, 180.0])).round(2).tolist(), in_radians(np.array([0.0, 3.1])).tolist()
    ([0.0, 3.14], [0.0, 3.1])
    """
    finite = angles[np.isfinite(angles)]
    if len(finite) and np.abs(finite).max() > 2 * np.pi + 1e-6:
        return np.asarray(np.deg2rad(angles))
    return angles


def _splits(table: Table) -> NDArray[np.object_]:
    if not table.has("split"):
        return np.full(table.n_rows, "", dtype=object)
    values = [str(v) for v in table.column("split").values]
    return np.array([v if v in {"train", "val", "test"} else "" for v in values], dtype=object)
