"""The schedule a search found: each hyper-parameter over the steps, the best member's lineage among all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.marks import mark_beyond
from nwb_latents.pipeline.evaluation.figures.saving import save_figure
from nwb_latents.pipeline.evaluation.figures.style import COLOURS, STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nwb_latents.schemas.pictures import PictureSettings
    from nwb_latents.schemas.sweep import HyperParameter, MemberRecord

MOST_COLUMNS = 4


def draw_schedule(
    path: Path,
    history: Sequence[MemberRecord],
    best: Sequence[MemberRecord],
    *,
    space: Mapping[str, HyperParameter],
    title: str,
    metric: str,
    pictures: PictureSettings | None = None,
) -> None:
    """Write the picture of `schedule_figure`, as `saving.save_figure` does."""
    save_figure(schedule_figure(history, best, space=space, title=title, metric=metric), path, pictures)


def schedule_figure(
    history: Sequence[MemberRecord],
    best: Sequence[MemberRecord],
    *,
    space: Mapping[str, HyperParameter],
    title: str,
    metric: str,
) -> Any:
    """Draw the smoothed loss and every hyper-parameter over training steps.

    A member's line goes from its parent: where it copied, it leaves the line of the one it copied. Losses
    far above those of the best lineage are arrows at the upper edge.

    Parameters
    ----------
    history
        All generations of all members, drawn faintly.
    best
        Lineage of the best member.
    space
        Setting → range; one panel each, over the whole range.
    title
        Above the panels.
    metric
        Name of the loss that was compared.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, fitting, page, settled  # noqa: PLC0415

    names = [None, *space]
    columns = min(MOST_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    with mpl.rc_context(STYLE):
        figure, grid = page(width="two", rows=rows, columns=columns, row_mm=44.0, sharex=True)
        panels = grid.flatten()
        beyond = 0
        for number, (panel, name) in enumerate(zip(panels, names, strict=False)):
            beyond += _draw_panel(panel, history, best, name)
            panel.set_title(fitting(panel, name or f"{metric}, smoothed (nats per trial)"), loc="left")
            if name is not None:
                _show_range(panel, space[name])
            if number + columns >= len(names):
                panel.set_xlabel("training steps")
                panel.tick_params(labelbottom=True)
        for panel in panels[len(names) :]:
            panel.set_visible(False)
        n_members = len({record.member for record in history})
        told = (
            f"n = {n_members} members; grey: all of them, blue: lineage of the best; grey lines across: range"
        )
        caption(figure, title, told + ("; arrows: losses beyond the edge" if beyond else ""))
        return settled(figure)


def _draw_panel(
    panel: Any, history: Sequence[MemberRecord], best: Sequence[MemberRecord], name: str | None
) -> int:
    """Draw one panel; return how many losses lie beyond its edge."""
    at = {(r.generation, r.member): r for r in history}
    for record in history:
        line = [] if record.parent is None else [at[record.generation - 1, record.parent]]
        _draw_line(panel, [*line, record], name, color="0.75", linewidth=0.5, zorder=1)
    _draw_line(panel, best, name, color=COLOURS[0], linewidth=1.6, zorder=3)
    last = best[-1]
    end = last.metric if name is None else last.values[name]
    panel.plot([last.step], [end], "o", color=COLOURS[0], markersize=3.5, zorder=4)
    if name is None:
        # A member that fares badly would leave nothing to see of the others.
        losses = [record.metric for record in best if record.metric is not None]
        room = 0.08 * (max(losses) - min(losses) or 1.0)
        panel.set_ylim(min(losses) - room, max(losses) + 3 * room)
        known = [(r.step, r.metric) for r in history if r.metric is not None]
        steps, values = np.array(known, dtype=np.float64).reshape(-1, 2).T
        return mark_beyond(panel, steps, values, color="0.6")
    return 0


def _draw_line(panel: Any, line: Sequence[MemberRecord], name: str | None, **look: Any) -> None:
    if name is None:
        known = [(record.step, record.metric) for record in line if record.metric is not None]
        panel.plot([step for step, _ in known], [loss for _, loss in known], **look)
        return
    # A value holds for the whole generation that ends at its step.
    steps, values = [record.step for record in line], [record.values[name] for record in line]
    if line[0].generation == 0:
        steps, values = [0, *steps], [values[0], *values]
    panel.plot(steps, values, drawstyle="steps-pre", **look)


def _show_range(panel: Any, wanted: HyperParameter) -> None:
    from matplotlib.ticker import LogFormatter  # noqa: PLC0415

    if wanted.scale == "log":
        panel.set_yscale("log")
        # The usual one writes formulas.
        panel.yaxis.set_major_formatter(LogFormatter())
        panel.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        panel.set_ylim(wanted.low / 1.3, wanted.high * 1.3)
    else:
        room = 0.04 * (wanted.high - wanted.low)
        panel.set_ylim(wanted.low - room, wanted.high + room)
    for end in (wanted.low, wanted.high):
        panel.axhline(end, color="0.85", linewidth=0.5, zorder=0)
