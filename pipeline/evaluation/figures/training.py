"""Training curves of runs: the loss and its terms over training steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.marks import mark_beyond
from nwb_latents.pipeline.evaluation.figures.style import COLOURS, DASHES, STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

MOST_PANELS = 9

MOST_COLUMNS = 3

BURN_IN = 0.05
"""Share of the steps whose losses do not decide the limits: the first are far above all others."""


@dataclass(frozen=True)
class TrainingLog:
    """What a run wrote down while it was trained.

    Attributes
    ----------
    run
        Name of the run.
    rows
        One mapping for each line: ``step``, and metric → value.
    best_step
        Step of the weights that were kept; None: not known.
    unit
        Unit of the loss.
    """

    run: str
    rows: Sequence[Mapping[str, Any]]
    best_step: int | None = None
    unit: str = "nats per trial"


def training_figure(logs: Sequence[TrainingLog], *, not_drawn: Sequence[str] = ()) -> Any:
    """Draw the loss, and each of its terms that is validated too, on training and validation trials.

    Parameters
    ----------
    logs
        Of one run or several; each has its colour. Values beyond an axis are arrows at its edge; values that
        are not finite are counted. A run of which nothing is drawn is named, and has no place in the legend.
    not_drawn
        Names of further runs that were asked for, which cannot be drawn.

    Raises
    ------
    DataError
        If there is no run, nothing was written down, or losses are in different units.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, fitting, legend_below, page, settled  # noqa: PLC0415

    if not any(log.rows for log in logs):
        named = ", ".join(log.run for log in logs) or "no run"
        raise DataError(
            f"Training curves of {named}: nothing was written down while it was trained (metrics.jsonl), "
            "so there is nothing to draw."
        )
    names = _terms(logs)
    shown = names[:MOST_PANELS]
    keys = [key for name in shown for key in (name, f"val_{name}")]
    lost = [log.run for log in logs if not any(len(_curve(log, key)[0]) for key in keys)]
    logs = [log for log in logs if log.run not in lost]
    if not logs:
        raise DataError(
            f"Training curves of {', '.join(lost)}: no value of {', '.join(shown)} is finite, so there is "
            "nothing to draw. Train with other settings."
        )
    _require_one_unit(logs)
    not_drawn = [*not_drawn, *lost]
    n_not_finite = sum(_n_not_finite(log, key) for log in logs for key in keys)
    columns = min(MOST_COLUMNS, len(shown))
    n_rows = -(-len(shown) // columns)
    with mpl.rc_context(STYLE):
        figure, grid = page(
            width="one" if columns == 1 else "two", rows=n_rows, columns=columns, row_mm=42.0, sharex=True
        )
        panels = grid.ravel()
        n_beyond = 0
        for number, (panel, name) in enumerate(zip(panels, shown, strict=False)):
            n_beyond += _draw_term(panel, logs, name)
            panel.set_title(fitting(panel, name.replace("_", " ")), loc="left")
            unit = logs[0].unit if name in {"loss", "nll"} or name.startswith("kl") else "term of the loss"
            panel.set_ylabel(unit)
            if number + columns >= len(shown):
                panel.set_xlabel("training steps")
                panel.tick_params(labelbottom=True)
        for panel in panels[len(shown) :]:
            panel.set_visible(False)
        legend_below(figure, _handles(logs))
        left_out = f"; not drawn: {', '.join(names[MOST_PANELS:])}" if len(names) > MOST_PANELS else ""
        arrows = f"; arrows: {n_beyond} values beyond the edge" if n_beyond else ""
        odd = f"{n_not_finite} values that are not finite are left out" if n_not_finite else ""
        caption(
            figure,
            (
                f"n = {len(logs)} {'run' if len(logs) == 1 else 'runs'}: loss and its terms, each curve one "
                "training"
            ),
            "Thin: training trials (mean since the line before), thick: validation trials; dots: weights "
            f"that were kept{arrows}{left_out}",
            odd,
            f"Runs of which nothing is drawn: {', '.join(not_drawn)}" if not_drawn else "",
        )
        return settled(figure)


def _terms(logs: Sequence[TrainingLog]) -> list[str]:
    """Return the loss and its terms: what is written down of training and validation trials alike."""
    found: dict[str, None] = {}
    validated: set[str] = set()
    for log in logs:
        for row in log.rows:
            validated |= {key.removeprefix("val_") for key in row if key.startswith("val_")}
            found |= dict.fromkeys(key for key in row if not key.startswith("val_"))
    both = [name for name in found if name in validated]
    return both or [name for name in ("loss", "nll") if name in found] or list(found)[:1]


def _look(number: int) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def _draw_term(panel: Any, logs: Sequence[TrainingLog], name: str) -> int:
    curves = []
    for number, log in enumerate(logs):
        for key, width, alpha in ((name, 0.6, 0.6), (f"val_{name}", 1.3, 1.0)):
            curves.append((_curve(log, key), {**_look(number), "linewidth": width, "alpha": alpha}))
    last = max((float(x[-1]) for (x, _), _ in curves if len(x)), default=1.0)
    settled_values = np.concatenate([y[x > BURN_IN * last] for (x, y), _ in curves])
    settled_values = settled_values[np.isfinite(settled_values)]
    if len(settled_values):
        low, high = np.quantile(settled_values, [0.0, 0.995])
        room = 0.06 * (high - low) or 1.0
        panel.set_ylim(low - room, high + room)
    n_beyond = 0
    low, high = panel.get_ylim()
    for (x, y), look in curves:
        panel.plot(x, np.where((y >= low) & (y <= high), y, np.nan), **look)
        n_beyond += mark_beyond(panel, x, y, color=look["color"], markersize=2.5)
    for number, log in enumerate(logs):
        x, y = _curve(log, f"val_{name}")
        for each in np.flatnonzero(x == log.best_step):
            if low <= y[each] <= high:
                panel.plot(x[each], y[each], "o", color=_look(number)["color"], markersize=3.5, zorder=4)
    panel.set_xlim(0, 1.02 * last)
    return n_beyond


def _require_one_unit(logs: Sequence[TrainingLog]) -> None:
    """Refuse losses that no axis can be shared by."""
    units: dict[str, list[str]] = {}
    for log in logs:
        units.setdefault(log.unit, []).append(log.run)
    if len(units) > 1:
        said = "; ".join(f"{', '.join(runs)} in {unit}" for unit, runs in units.items())
        raise DataError(
            f"Training curves: losses are in different units ({said}), which share no axis. Draw the runs of "
            "each unit by themselves (--run NAME)."
        )


def _n_not_finite(log: TrainingLog, key: str) -> int:
    values = [row[key] for row in log.rows if row.get(key) is not None]
    return sum(not math.isfinite(value) for value in values)


def _curve(log: TrainingLog, key: str) -> tuple[FloatArray, FloatArray]:
    known = [(row["step"], row[key]) for row in log.rows if row.get(key) is not None]
    pairs = np.array([pair for pair in known if math.isfinite(pair[1])], dtype=np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _handles(logs: Sequence[TrainingLog]) -> list[Any]:
    from matplotlib.lines import Line2D  # noqa: PLC0415

    return [Line2D([], [], label=log.run, **_look(number)) for number, log in enumerate(logs)]
