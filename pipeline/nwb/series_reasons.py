"""Why a file has no position or velocity that can be used: every series with what speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.series_search import ROOTS, untyped_series, why_not

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile

MOST_NAMED = 6


def nothing_found(file: NwbFile) -> DataError:
    """Return the error of a file in which no series of a hand or cursor was found.

    Parameters
    ----------
    file
        The open file.
    """
    kinds = dict(file.objects(*ROOTS))
    untyped = untyped_series(file)
    against = [
        f"/{path} {why_not(file, path, kinds.get(path, '')) or 'is not one the layout knows'}"
        for path in file.tree.groups(*ROOTS)
        if path not in untyped and ("Series" in kinds.get(path, "") or file.has(f"{path}/data"))
    ]
    there = "" if untyped or against else "It has no series at all."
    if against:
        more = f"; and {len(against) - MOST_NAMED} more" if len(against) > MOST_NAMED else ""
        there = f"None of its series counts: {'; '.join(against[:MOST_NAMED])}{more}."
    if untyped:
        there += (
            f" {', '.join(f'/{path}' for path in untyped[:MOST_NAMED])} hold data, but no neurodata_type "
            "that says what they are: they are not looked at unless they are named."
        )
    broken = [link for root in ROOTS for link in file.tree.broken_links(root)]
    if broken:
        there += (
            f" {'; '.join(broken[:4])}, and there is nothing: put the file it leads to beside this one, or "
            "write the file again with its data inside."
        )
    return DataError(
        f"{file.name}: no position or velocity series of a hand or cursor found. {there.strip()} Name the "
        "right one with --set position_series=PATH or --set velocity_series=PATH: one that is named is "
        "read with all its columns, whatever its name or type."
    )
