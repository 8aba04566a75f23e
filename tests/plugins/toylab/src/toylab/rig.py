"""Files of the laboratory's rig: hand position in millimetres, and trials of the warm-up that are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nwb_latents.pipeline.nwb.file import NwbFile
from nwb_latents.pipeline.nwb.layouts.layout import EVENT_COLUMNS, TRIALS, Layout, read_trial_table
from nwb_latents.pipeline.signals.recording import TrialTable

POSITION = "processing/behavior/Position/rig_mm"


def _is_of_the_rig(file: NwbFile) -> bool:
    return file.has(POSITION)


def _trials(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    table = read_trial_table(file, events)
    if table is None or "is_warm_up" not in file.columns(TRIALS):
        return table
    return replace(table, valid=table.valid & ~file.array(f"{TRIALS}/is_warm_up").astype(bool))


LAYOUT = Layout(
    name="toy_rig",
    summary="reaches on the toy rig (999001)",
    recognises=_is_of_the_rig,
    position=POSITION,
    unit="mm",
    events={**EVENT_COLUMNS, "go_cue": ("beep",)},
    trials=_trials,
    task=lambda file: "CO",
)

DANDISET = {
    "title": "Reaches on the toy rig",
    "version": "0.240101.0000",
    "layout": "toy_rig",
    "tasks": ["CO"],
    "citation": "none: this dandiset is made up",
    "license": "CC0-1.0",
}
