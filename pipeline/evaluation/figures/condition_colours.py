"""Colours of conditions, told apart by colour-blind readers too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.session_decoder import SessionDecoder

    FloatArray = NDArray[np.float64]

WHEEL = ("#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#aa4499")
"""Told apart by colour-blind readers too (Tol 2021, "muted"); neighbours are alike, as directions are."""

MOST_CONDITIONS_NAMED = 12


def condition_colours(decoder: SessionDecoder) -> tuple[dict[str, Any], list[Any]]:
    """Return condition → colour, and the colour of each test trial.

    A few conditions have distinct colours, in order of direction. Of many, directions go round a wheel of
    even lightness, and conditions without a direction are spread over a sequence.
    """
    from matplotlib import colormaps  # noqa: PLC0415

    conditions = [str(name) for name in decoder.condition]
    names = sorted(set(conditions))
    angles = {name: mean_direction(decoder.target_dir[[c == name for c in conditions]]) for name in names}
    has_directions = all(math.isfinite(angle) for angle in angles.values())
    if has_directions:
        names.sort(key=lambda name: angles[name])
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


def condition_legend(figure: Any, names: dict[str, Any]) -> None:
    """Name the conditions beside the panels; of many, only how many there are."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    if set(names) == {""}:
        return
    if len(names) > MOST_CONDITIONS_NAMED:
        nameless = Line2D([], [], color="none", label=f"{len(names)} conditions")
        figure.legend(handles=[nameless], handlelength=0, loc="outside right upper")
        return
    handles = [Line2D([], [], color=colour, label=name or "none") for name, colour in names.items()]
    figure.legend(handles=handles, loc="outside right upper", title="condition")


def mean_direction(angles: FloatArray) -> float:
    """Return the circular mean in [0, 2π); NaN if an angle is.

    Examples
    --------
    >>> round(mean_direction(np.array([0.1, -0.1 + 2 * np.pi])), 9) % round(2 * np.pi, 9)
    0.0
    """
    return float(np.angle(np.exp(1j * angles).sum())) % (2 * math.pi)
