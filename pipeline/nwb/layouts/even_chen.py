"""Dandiset 000121: delayed reaches, monkeys JenkinsC and Reggie (Even-Chen, Sheffer, Shenoy).

The hand is tracked in three dimensions, of which the two of the screen are read; ``conversion`` is NaN and
the unit unknown. The electrode groups are numbered the other way round than in 000070. No movement onsets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.nwb.layouts.facts import lacking_columns, lacking_groups
from nwb_latents.pipeline.nwb.layouts.layout import TRIALS, Layout

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile

POSITION = "processing/behavior/Position/Hand"


def _is_even_chen(file: NwbFile) -> bool:
    return file.has(POSITION) and {"target_shown_time", "is_successful"} <= set(file.columns(TRIALS))


def _lacks(file: NwbFile) -> list[str]:
    return [
        *lacking_columns(file, ("target_held_time", "target_acquire_time"), ("task_id", "version_id")),
        *lacking_groups(file, "[12]", "1 and 2"),
    ]


LAYOUT = Layout(
    name="000121",
    summary="delayed reaches, Even-Chen & Shenoy (000121)",
    recognises=_is_even_chen,
    lacks=_lacks,
    known_by="Position/Hand, target_shown_time, is_successful, columns of the task, electrode groups 1 and 2",
    position=POSITION,
    n_axes=2,
    areas={"1": "M1", "2": "PMd"},
    task=lambda _: "delayed_reach",
)
