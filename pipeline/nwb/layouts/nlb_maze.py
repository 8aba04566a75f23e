"""Dandisets 000128, 000138, 000139, 000140: the mazes of the Neural Latents Benchmark (monkey Jenkins).

Kinematics in millimetres within trials; splits and movement onsets are stored. The electrodes of M1 units are
wrong by 96 rows in the published files: the area is told by the unit id (1xxx PMd, 2xxx M1). Test files hold
neither kinematics nor held-out units nor most columns. Trials of the split ``none`` are not for use.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.layouts.layout import TRIALS, Layout, read_trial_table
from nwb_latents.pipeline.nwb.layouts.trial_table import column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import IntArray, TrialTable

_AREA_OF_THOUSAND = {1: "PMd", 2: "M1"}
_SPLITS = frozenset({"train", "val", "test", "none"})


def is_benchmark(file: NwbFile) -> bool:
    """Whether a file is of the Neural Latents Benchmark: it names splits and held-out units."""
    return "split" in file.columns(TRIALS) and "heldout" in file.columns("units")


def lacks_of_benchmark(file: NwbFile) -> list[str]:
    """Return what a file with the benchmark's columns lacks: splits in its words."""
    split = column(file, "split")
    if split is not None and {str(value) for value in split} <= _SPLITS:
        return []
    return [f"a column split of {', '.join(sorted(_SPLITS))} in /{TRIALS}"]


def _lacks(file: NwbFile) -> list[str]:
    ids = file.array("units/id").ravel() if file.shape("units/id") else np.zeros(0)
    is_maze = ids.dtype.kind in "iuf" and len(ids) > 0 and bool(np.isin(ids // 1000, (1, 2)).all())
    return [*lacks_of_benchmark(file), *([] if is_maze else ["unit ids from 1000 to 2999"])]


def benchmark_trials(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    """Read the trial table; trials of the split ``none`` become invalid."""
    table = read_trial_table(file, events)
    split = column(file, "split")
    if table is None or split is None:
        return table
    return replace(table, valid=table.valid & np.array([str(s) != "none" for s in split], dtype=bool))


def _trials(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    # Of a test file the edges of its trials are all there is, and so of the pieces of 000129.
    return benchmark_trials(file, events)


def _area_of(_file: NwbFile, ids: IntArray) -> NDArray[np.object_] | None:
    thousands = ids // 1000
    if not np.isin(thousands, list(_AREA_OF_THOUSAND)).all():
        return None
    return np.array([_AREA_OF_THOUSAND[t] for t in thousands.tolist()], dtype=object)


LAYOUT = Layout(
    name="nlb",
    summary="mazes of the Neural Latents Benchmark (000128, 000138, 000139, 000140)",
    recognises=is_benchmark,
    lacks=_lacks,
    known_by="columns split and heldout, unit ids 1xxx and 2xxx",
    priority=-10,  # the benchmark's other files are known by more than its columns
    position="processing/behavior/hand_pos",
    velocity="processing/behavior/hand_vel",
    needs_kinematics=False,
    unit="mm",
    n_axes=2,
    area_of=_area_of,
    trials=_trials,
    task=lambda _: "maze",
)
