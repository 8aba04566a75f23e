"""Few-shot curves: what an alignment is worth, by how many trials of the new session it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.marks import mark_beyond, plain
from nwb_latents.pipeline.evaluation.figures.source_looks import LEAST_R2_SHOWN
from nwb_latents.pipeline.evaluation.figures.style import COLOURS, DASHES, MARKERS, STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

LEAST = 3
"""Of fewer sessions or seeds there is no interval worth drawing."""

QUANTITIES = ("rates, reconstructed", "velocity, reconstructed", "velocity, forecast")
"""Panels, in order."""


@dataclass(frozen=True)
class FewShotPoint:
    """The mean over seeds of one method, given some trials of one session.

    Attributes
    ----------
    session
        Session id.
    n_trials
        Trials the method was given.
    method
        ``"aligned"``, ``"from scratch"``, or a baseline by its name.
    quantity
        One of `QUANTITIES`.
    value
        R², mean over seeds.
    n_seeds
        Number of seeds.
    error
        Standard error over seeds; None of a single one.
    """

    session: str
    n_trials: int
    method: str
    quantity: str
    value: float
    n_seeds: int
    error: float | None = None


def few_shot_figure(
    points: Sequence[FewShotPoint], *, ceiling: float | None = None, also: Sequence[str] = ()
) -> Any:
    """Draw R² against the number of trials given, a line for each method, a panel for each quantity.

    Of several sessions, the mean over them with its 95 % interval (Student's t), and each session as a thin
    line. Of one, the mean over seeds with its 95 % interval. A value below −0.5 is an arrow there.

    Parameters
    ----------
    points
        Of one run's alignments and what they are compared with.
    ceiling
        R² of velocity decoded from the recorded rates by a decoder of all training trials, mean over the
        sessions; None: not known.
    also
        What else the picture says, such as which numbers are stale and left out.

    Raises
    ------
    DataError
        If there is none.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import (  # noqa: PLC0415
        caption,
        legend_below,
        line_handles,
        page,
        settled,
    )

    if not points:
        raise DataError(
            "No few-shot alignment was scored, so there is no curve to draw. Align a run first: pipeline "
            "run align --run RUN --session SESSION --trials 2,8,32"
        )
    quantities = [quantity for quantity in QUANTITIES if any(p.quantity == quantity for p in points)]
    looks = _looks(points)
    sessions = sorted({point.session for point in points})
    values = [point.value for point in points] + ([ceiling] if ceiling is not None else [])
    with mpl.rc_context(STYLE):
        figure, grid = page(
            width="one" if len(quantities) == 1 else "two",
            rows=1,
            columns=len(quantities),
            row_mm=58.0,
            sharey=True,
        )
        panels = grid[0]
        ticks = sorted({point.n_trials for point in points})
        for panel, quantity in zip(panels, quantities, strict=True):
            panel.set_ylim(max(min([*values, 0.0]), LEAST_R2_SHOWN) - 0.04, 1.03)
            panel.set_xscale("log")
            panel.set_xticks(ticks, [str(n) for n in ticks], minor=False)
            panel.minorticks_off()
            panel.set_xlim(ticks[0] / 1.3, ticks[-1] * 1.3)
            for number, (method, look) in enumerate(looks.items()):
                mine = [p for p in points if p.quantity == quantity and p.method == method]
                # Side by side, so that no interval hides another.
                shift = 1.03 ** (number - (len(looks) - 1) / 2)
                _draw_method(panel, mine, look, shift=shift)
            if ceiling is not None and quantity.startswith("velocity"):
                panel.axhline(ceiling, color="black", linewidth=0.8, linestyle="--", zorder=0)
            panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
            panel.set_title(quantity, loc="left")
            panel.set_xlabel("trials given (log scale)")
        panels[0].set_ylabel("R² on test trials")
        handles = line_handles((method.replace("_", " "), look) for method, look in looks.items())
        if ceiling is not None:
            label = "velocity from recorded rates, decoder of all training trials"
            handles += line_handles([(label, {"color": "black", "linestyle": "--"})])
        legend_below(figure, handles)
        caption(figure, *_words(points, sessions), *also)
        return settled(figure)


def _looks(points: Sequence[FewShotPoint]) -> dict[str, dict[str, Any]]:
    first = ["aligned", "from scratch"]
    there = {point.method for point in points}
    names = [name for name in first if name in there] + sorted(there - set(first))
    colours = [colour for colour in COLOURS if colour != "#000000"]
    return {
        name: {
            "color": colours[number % len(colours)],
            "linestyle": DASHES[number // len(colours) % len(DASHES)],
            "marker": MARKERS[number % len(MARKERS)],
            "markersize": 3,
        }
        for number, name in enumerate(names)
    }


def _draw_method(panel: Any, mine: Sequence[FewShotPoint], look: dict[str, Any], *, shift: float) -> None:
    edge = panel.get_ylim()[0]
    numbers = sorted({point.n_trials for point in mine})
    found = [_mean([point for point in mine if point.n_trials == n_trials]) for n_trials in numbers]
    y, half = np.array(found, dtype=np.float64).reshape(-1, 2).T
    x = np.array(numbers, dtype=np.float64)
    inside = y >= edge
    known = inside & np.isfinite(half)
    x = x * shift
    panel.plot(x, np.where(inside, y, np.nan), **look)
    low, high = np.maximum(y - half, edge), np.minimum(y + half, 1.03)
    panel.vlines(x[known], low[known], high[known], color=look["color"], linewidth=0.8)
    mark_beyond(panel, x, y, color=look["color"])
    sessions = sorted({point.session for point in mine})
    for session in sessions if len(sessions) > 1 else ():
        line = sorted((p.n_trials, p.value) for p in mine if p.session == session)
        across, up = np.array(line, dtype=np.float64).T
        panel.plot(
            across, np.where(up >= edge, up, np.nan), color=look["color"], linewidth=0.4, alpha=0.6, zorder=1
        )
        mark_beyond(panel, across, up, color=look["color"], alpha=0.5)


def _mean(points: Sequence[FewShotPoint]) -> tuple[float, float]:
    """Return the mean over sessions and half its 95 % interval; of one session, over its seeds."""
    from scipy.stats import t as student  # noqa: PLC0415

    values = np.array([point.value for point in points], dtype=np.float64)
    n, error = len(values), None
    if n >= LEAST:
        error = float(values.std(ddof=1) / np.sqrt(n))
    elif n == 1 and points[0].error is not None and points[0].n_seeds >= LEAST:
        n, error = points[0].n_seeds, points[0].error
    half = np.nan if error is None else float(student.ppf(0.975, n - 1)) * error
    return float(values.mean()), half


def _words(points: Sequence[FewShotPoint], sessions: Sequence[str]) -> tuple[str, ...]:
    seeds = sorted({point.n_seeds for point in points})
    n_seeds = " to ".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1])))
    several = len(sessions) > 1
    of = f"{len(sessions)} sessions" if several else sessions[0]
    lines = (
        "Thick: mean over sessions, of three or more with its 95 % interval (Student's t); thin: each session"
        if several
        else "Lines: 95 % interval of the mean over seeds (Student's t), none of fewer than 3 seeds"
    )
    return (
        f"Few-shot alignment to {of}, n = {n_seeds} seeds for each number of trials",
        f"{lines}; intervals end at the edge; arrows: below {plain(LEAST_R2_SHOWN, 1)}",
    )
