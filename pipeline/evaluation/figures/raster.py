"""Rasters: the spikes of some units in every trial, by condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.condition_colours import condition_colours, condition_handles
from nwb_latents.pipeline.evaluation.figures.marks import BEYOND
from nwb_latents.pipeline.evaluation.figures.session_words import (
    event_words,
    relative_s,
    rows_shown,
    trial_words,
    unit_title,
    unit_words,
    units_shown,
)
from nwb_latents.pipeline.evaluation.figures.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.session import Session

    FloatArray = NDArray[np.float64]

MOST_COLUMNS = 3

GO_CUE = "#d55e00"


def raster_figure(
    session: Session, *, units: Sequence[int] = (), n_units: int = 6, split: str = "all"
) -> Any:
    """Draw spike counts of every trial, a panel for each unit, trials sorted by condition and reaction time.

    Parameters
    ----------
    session
        With counts.
    units
        Ids of units; none: the `n_units` of the highest mean rates, which the picture says.
    n_units
        How many, where none are named.
    split
        Trials drawn: ``"train"``, ``"val"``, ``"test"`` or ``"all"``.

    Raises
    ------
    SettingsError
        If there is no such unit or split.
    DataError
        If no trial is in the split.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, fitting, legend_below, page, settled  # noqa: PLC0415

    rows, columns = rows_shown(session, split), units_shown(session, units, n_units)
    condition = session.condition[rows].astype(str)
    palette, colours = condition_colours(condition, session.trials["target_dir"].values[rows])
    order = _order(condition, list(palette), session.trials["reaction_time"].values[rows])
    counts = session.trials["counts"].isel(unit=columns).values[rows][order]
    full = max(1, int(np.ceil(np.quantile(counts, 0.99))))
    cues = relative_s(session, "go_cue", rows)[order]
    n_columns = min(MOST_COLUMNS, len(columns))
    n_rows = -(-len(columns) // n_columns)
    with mpl.rc_context(STYLE):
        height = min(20.0 + 0.45 * len(rows), 110.0 if n_rows > 1 else 150.0)
        figure, grid = page(
            width="one" if n_columns == 1 else "two",
            rows=n_rows,
            columns=n_columns,
            row_mm=min(height, 200.0 / n_rows),
            sharex=True,
            sharey=True,
        )
        panels = grid.ravel()
        edges = (session.time_s[0], session.time_s[-1] + session.bin_size_s)
        n_beyond = 0
        for number, panel in enumerate(panels[: len(columns)]):
            panel.imshow(
                counts[:, :, number],
                cmap="Greys",
                vmin=0,
                vmax=full,
                aspect="auto",
                interpolation="none",
                extent=(*edges, len(rows) - 0.5, -0.5),
            )
            _strip(panel, [colours[trial] for trial in order])
            n_beyond = _cues(panel, cues, edges)
            panel.axvline(0.0, color="0.5", linewidth=0.7, linestyle=":")
            panel.set_title(fitting(panel, unit_title(session, int(columns[number]))), loc="left")
            if number + n_columns >= len(columns):
                panel.set_xlabel(fitting(panel, f"time from {event_words(session)} (s)"))
                panel.tick_params(labelbottom=True)
        for panel in panels[len(columns) :]:
            panel.set_visible(False)
        for row in grid:
            row[0].set_ylabel("trial, by condition")
        legend_below(figure, _handles(palette, condition, cues), title="condition (bar at the right)")
        cue = f"; {n_beyond} go cues lie outside the window (◂)" if n_beyond else ""
        caption(
            figure,
            f"{session.name}: {trial_words(session, rows, split)}, {unit_words(session, columns, units)}",
            f"Spikes per bin of {1e3 * session.bin_size_s:g} ms: white 0, black {full} or more; trials in "
            f"order of condition, then reaction time; dotted: {event_words(session)}{cue}",
        )
        return settled(figure)


def _order(condition: NDArray[np.str_], names: list[str], reaction_s: FloatArray) -> NDArray[np.int64]:
    place = np.array([names.index(name) for name in condition])
    return np.lexsort((np.nan_to_num(reaction_s.astype(np.float64), nan=np.inf), place)).astype(np.int64)


def _strip(panel: Any, colours: Sequence[Any]) -> None:
    """Put the colour of each trial's condition beside the panel."""
    transform = panel.get_yaxis_transform()
    first = 0
    for last in range(1, len(colours) + 1):
        if last == len(colours) or colours[last] != colours[first]:
            ends = [first - 0.5, last - 0.5]
            panel.plot(
                [1.02, 1.02],
                ends,
                transform=transform,
                color=colours[first],
                linewidth=2.6,
                solid_capstyle="butt",
                clip_on=False,
                zorder=4,
            )
            first = last


def _cues(panel: Any, cues: FloatArray, edges: tuple[float, float]) -> int:
    """Mark the go cue of each trial; return how many lie outside the window, which get an arrow there."""
    trial = np.arange(len(cues))
    inside = (cues >= edges[0]) & (cues <= edges[1])
    panel.plot(cues[inside], trial[inside], ".", color=GO_CUE, markersize=2.0, zorder=3)
    panel.set_xlim(*edges)
    # A line without points has its place in the corner of the figure.
    look = {"color": GO_CUE, "markersize": 1.6, "gid": BEYOND, "clip_on": False, "zorder": 5}
    before, after = cues < edges[0], cues > edges[1]
    for beyond, edge, marker in ((before, edges[0], "<"), (after, edges[1], ">")):
        if beyond.any():
            panel.plot(np.full(int(beyond.sum()), edge), trial[beyond], marker, **look)
    return int(before.sum() + after.sum())


def _handles(palette: dict[str, Any], condition: NDArray[np.str_], cues: FloatArray) -> list[Any]:
    from matplotlib.lines import Line2D  # noqa: PLC0415

    handles = condition_handles(palette, condition)
    if np.isfinite(cues).any():
        handles.append(Line2D([], [], color=GO_CUE, marker=".", linestyle="none", label="go cue"))
    return handles
