"""Colours of conditions, told apart by colour-blind readers too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.style import MOST_NAMED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

WHEEL = ("#332288", "#88ccee", "#5bbfb0", "#117733", "#999933", "#ddcc77", "#cc6677", "#aa4499")
"""Told apart by colour-blind readers too (Tol 2021, "muted", its teal lighter: to protanopes it is the red);
neighbours are alike, as directions are."""

MOST_CONDITIONS_NAMED = MOST_NAMED


def condition_colours(condition: ArrayLike, target_dir: ArrayLike) -> tuple[dict[str, Any], list[Any]]:
    """Return condition → colour, and the colour of each trial.

    A few conditions have distinct colours, in order of direction. Of many, directions go round a wheel of
    even lightness, and conditions without a direction are spread over a sequence.

    Parameters
    ----------
    condition
        Name of each trial's condition; empty: none. Shape ``(trial,)``.
    target_dir
        Direction of each trial, rad; NaN where there is none. Shape ``(trial,)``.
    """
    from matplotlib import colormaps  # noqa: PLC0415

    conditions = [str(name) for name in np.asarray(condition)]
    directions = np.asarray(target_dir, dtype=np.float64)
    names = sorted(set(conditions), key=in_order)
    angles = {name: mean_direction(directions[[c == name for c in conditions]]) for name in names}
    has_directions = all(math.isfinite(angle) for angle in angles.values())
    if has_directions:
        # A direction of 359.9° is one of 0° in all but the noise.
        names.sort(key=lambda name: (round(math.degrees(angles[name])) % 360, name))
    palette: dict[str, Any]
    if len(names) <= len(WHEEL):
        step = len(WHEEL) // max(len(names), 1)
        palette = dict(zip(names, WHEEL[::step], strict=False))
    elif has_directions:
        wheel = colormaps["twilight_shifted"]
        palette = {name: wheel(0.08 + 0.84 * angles[name] / (2 * math.pi)) for name in names}
    else:
        sequence = colormaps["viridis"]
        palette = {name: sequence(0.9 * i / max(len(names) - 1, 1)) for i, name in enumerate(names)}
    return palette, [palette[name] for name in conditions]


def condition_handles(palette: dict[str, Any], drawn: Iterable[str], *, many: str = "") -> list[Any]:
    """Return what a legend shows of the conditions that are drawn, and of no others.

    Parameters
    ----------
    palette
        Condition → colour, in order.
    drawn
        Condition of each trial, or of each line, that is drawn.
    many
        What is said of how their colours go, where there are too many to name; default: by name or
        direction.
    """
    from matplotlib.lines import Line2D  # noqa: PLC0415

    shown = {str(name) for name in drawn}
    names = [name for name in palette if name in shown]
    if not names or names == [""]:
        return []
    if len(names) > MOST_CONDITIONS_NAMED:
        label = f"{len(names)} conditions, coloured {many or 'in order of direction, or else of name'}"
        return [Line2D([], [], color="none", label=label)]
    return [Line2D([], [], color=palette[name], label=name or "no condition") for name in names]


def mean_direction(angles: FloatArray) -> float:
    """Return the circular mean in [0, 2π); NaN if an angle is.

    Examples
    --------
    >>> round(mean_direction(np.array([0.1, -0.1 + 2 * np.pi])), 9) % round(2 * np.pi, 9)
    0.0
    """
    return float(np.angle(np.exp(1j * angles).sum())) % (2 * math.pi)


def in_order(name: str) -> tuple[float, str]:
    """Order conditions by the number they begin with, where they do.

    Examples
    --------
    >>> sorted(["180 deg", "45 deg", "a"], key=in_order)
    ['45 deg', '180 deg', 'a']
    """
    word = name.partition(" ")[0]
    try:
        return float(word), name
    except ValueError:
        return math.inf, name
