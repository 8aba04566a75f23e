"""The reading of ``/intervals/trials`` that all layouts share: canonical names for the columns of a file.

A table that is there is used, or refused with what is wrong with it; nothing takes its place without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.named_columns import near_name
from nwb_latents.pipeline.nwb.tables import Table
from nwb_latents.pipeline.nwb.trial_columns import columns_of_role, find_column, require_links
from nwb_latents.pipeline.nwb.trial_success import read_success
from nwb_latents.pipeline.nwb.trial_targets import join_columns, read_targets, say_where_unknown
from nwb_latents.pipeline.nwb.trial_times import (
    event_times,
    read_edges,
    say_where_absent,
    say_where_others_differ,
)
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
    """Read the trial table, usually ``/intervals/trials``, under canonical event names.

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
    table = Table(file, file.trials_path)
    if not table.exists or not table.n_rows:
        return None
    table.say_absent()
    wanted = file.wanted
    start, stop = _edges(table, events)
    found = {"start": start, "stop": stop}
    taken = {"start_time", "stop_time"}
    # What a layout or a person knows is nobody else's by its spelling.
    taken |= {name for names in events.values() for name in names}
    for role in ("go_cue", "move_onset", "target_on", "move_end"):
        times = _event(table, role, also=events.get(role, ()), taken=taken, found=found)
        if times is not None:
            found[role] = times
    if not {"go_cue", "move_onset"} & set(found):
        file.say(
            f"/{table.path} names neither a go cue nor a movement onset: the movement is looked for from the "
            "start of each trial on; name a column with columns.go_cue"
        )
    targets = read_targets(table, wanted, joint=CONDITION_COLUMNS)
    success = read_success(table, named=wanted.success, values=wanted.success_values, also=SUCCESS_COLUMNS)
    say_where_unknown(file, targets, used=success)
    if "go_cue" in found:
        say_where_absent(table, found["go_cue"], used=success & np.isfinite(start) & np.isfinite(stop))
    _say_of_ids(table)
    return TrialTable(
        row=np.arange(table.n_rows),
        events=found,
        success=success,
        valid=_valid(table),
        target_dir=targets.direction,
        condition=targets.condition,
        block=targets.block,
        split=_splits(table),
    )


def _event(
    table: Table, role: str, *, also: tuple[str, ...], taken: set[str], found: Mapping[str, FloatArray]
) -> FloatArray | None:
    """Read the first column of an event that holds any time; None where there is none."""
    file, named = table.file, getattr(table.file.wanted, role, None)
    others = columns_of_role(table, role, also=also, taken=taken)
    if not others and named is None:
        require_links(table, role, also=also)
    seen: set[str] = set()
    for name in (named,) if named else others:
        find_column(table, role, named=named, also=[n for n in also if n not in seen], taken=taken)
        seen.add(name)
        taken.add(name)
        try:
            times = event_times(
                table, name, role=role, start=found["start"], stop=found["stop"],
                is_relative=name in file.wanted.relative, go=found.get("go_cue"),
            )  # fmt: skip
        except DataError as error:
            if role in REQUIRED or named is not None:
                raise
            file.withdraw(role)
            file.say(f"{error} It is not used.")
            continue
        if not np.isfinite(times).any():
            file.withdraw(role)
            file.say(f"/{table.path}/{name} ({role}) holds no times; it is not used")
            continue
        if named is None:
            say_where_others_differ(
                table, role, name, others, times=times, start=found["start"], relative=file.wanted.relative
            )
        return times
    return None


def _edges(table: Table, events: Mapping[str, tuple[str, ...]]) -> tuple[FloatArray, FloatArray]:
    file, end = table.file, table.file.wanted.end
    names = []
    for role, named in (("start", None), ("stop", end)):
        known = (named,) if named else events.get(role, EVENT_COLUMNS[role])
        name = next((each for each in known if table.has(each)), None)
        if name is None:
            another = " or name it with --set columns.end=NAME," if role == "stop" else ""
            near = near_name(named, table.names) if named else ""
            raise DataError(
                f"{file.name}: /{table.path} has {table.n_rows} rows but no column {' or '.join(known)}."
                f"{near} Its columns are: {', '.join(table.names) or 'none'}. Mend the table,{another} or "
                "find reaches from speed with --set trials.source=speed."
            )
        names.append(name)
    if end:
        file.choose("end", f"/{table.path}/{end}", "named by columns.end")
    return read_edges(table, names=(names[0], names[1]), relative=file.wanted.relative)


def _say_of_ids(table: Table) -> None:
    """Say of ids that tell no trials apart; trials are known by their rows."""
    path = f"{table.path}/id"
    if table.file.shape(path) is None:
        return
    ids = table.file.array(path).ravel()
    if ids.dtype.kind not in "iufSUT" and not all(isinstance(each, str | bytes) for each in ids.tolist()):
        table.file.say(f"/{path}: the ids are no numbers or words; trials are known by their rows")
        return
    missing = int(np.isnan(ids).sum()) if ids.dtype.kind == "f" else 0
    known = ids[~np.isnan(ids)] if missing else ids
    repeated = len(known) - len(set(known.tolist()))
    odd = [f"{missing} of {len(ids)} ids are NaN"] if missing else []
    odd += [f"{repeated} of {len(ids)} ids repeat an earlier one"] if repeated else []
    if odd:
        table.file.say(f"/{path}: {' and '.join(odd)}; trials are known by their rows")


def n_rows(file: NwbFile, table: str) -> int:
    """Return the number of rows of a table; 0 where there is none."""
    return Table(file, table).n_rows


def column(file: NwbFile, name: str) -> NDArray[np.generic] | None:
    """Return a column of the trial table, or None where the table lacks it.

    Only columns of one entry per trial are returned; further dimensions may follow.
    """
    table = Table(file, file.trials_path)
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
