"""The picture of a schedule: every setting has its panel, the lineage goes from copy to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.sweep import draw_schedule, schedule_figure
from nwb_latents.schemas.sweep import HyperParameter, MemberRecord

if TYPE_CHECKING:
    from pathlib import Path

SPACE = {
    "optimiser.lr": HyperParameter(low=1e-4, high=1e-2, scale="log"),
    "model.dropout": HyperParameter(low=0.0, high=0.6),
}


def record(generation: int, member: int, parent: int | None, rate: float, **more: Any) -> MemberRecord:
    values = {"optimiser.lr": rate, "model.dropout": 0.1 * (member + 1)}
    loss = {"metric": 5.0 - generation, "last": 5.0, **more}
    step = 10 * (generation + 1)
    return MemberRecord(generation=generation, member=member, parent=parent, step=step, values=values, **loss)


HISTORY = [
    record(0, 0, None, 1e-3),
    record(0, 1, None, 2e-3, metric=None, last=None),
    record(1, 0, 0, 1e-3),
    record(1, 1, 0, 4e-3, metric=2.0),
]


def panels_of(best: list[MemberRecord]) -> list[Any]:
    """Return the panels that are drawn."""
    drawn = schedule_figure(HISTORY, best, space=SPACE, title="mine", metric="val_nll").axes
    return [panel for panel in drawn if panel.get_visible()]


def test_the_best_lineage_stands_out_in_every_panel(tmp_path: Path) -> None:
    best = [HISTORY[0], HISTORY[3]]
    draw_schedule(tmp_path / "sweep.png", HISTORY, best, space=SPACE, title="mine", metric="val_nll")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    panels = panels_of(best)
    titles = [panel.get_title(loc="left") for panel in panels]
    assert titles == ["val_nll, smoothed (nats per trial)", *SPACE]
    bold = [max(panel.lines, key=lambda line: line.get_linewidth()) for panel in panels]
    np.testing.assert_array_equal(bold[0].get_xydata(), [[10, 5], [20, 2]])
    # A value holds from the end of the generation before: the copy leaves its parent's line at step 10.
    np.testing.assert_array_equal(bold[1].get_xydata(), [[0, 1e-3], [10, 1e-3], [20, 4e-3]])
    assert bold[1].get_drawstyle() == "steps-pre"
    assert panels[1].get_yscale() == "log"
    low, high = panels[2].get_ylim()
    assert low < 0.0 < 0.6 < high


def test_all_members_are_drawn_and_one_that_diverged_has_no_loss() -> None:
    panels = panels_of(HISTORY[:1])
    faint = [[line for line in panel.lines if line.get_linewidth() == 0.5] for panel in panels]
    values = {tuple(line.get_ydata()) for line in faint[1]}
    assert {(1e-3, 1e-3), (2e-3, 2e-3), (1e-3, 1e-3, 4e-3)} <= values
    assert [] in [list(line.get_ydata()) for line in faint[0]]
