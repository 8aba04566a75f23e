"""Why stored onsets that were asked for cannot be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import Table
from nwb_latents.pipeline.nwb.trial_columns import columns_of_role

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile

KNOWN = ("move_onset_time", "move_begins_time")


def no_onsets(file: NwbFile, *, layout: str) -> DataError:
    """Return the error of a file of whose stored onsets none was read.

    Parameters
    ----------
    file
        The open file, after its trial table was read.
    layout
        Name of the layout that read it.
    """
    table = Table(file, file.trials_path)
    there = [f"{table.path}/{name}" for name in columns_of_role(table, "move_onset", also=KNOWN)]
    unread = [path for path in there if path not in file.opened]
    if unread:
        return DataError(
            f"{file.name}: onset.method is column, but layout {layout} makes trials in its own way and does "
            f"not read /{unread[0]}. Read the table as it is with --set layout=generic, or use --set "
            "onset.method=auto."
        )
    if there:
        return DataError(
            f"{file.name}: onset.method is column, but /{there[0]} holds no times. Name another with --set "
            "columns.move_onset=NAME, or use --set onset.method=auto."
        )
    return DataError(
        f"{file.name}: onset.method is column, but the trial table has no column of movement onsets "
        f"({', '.join(table.names)}). Name one with --set columns.move_onset=NAME, or use --set "
        "onset.method=auto."
    )
