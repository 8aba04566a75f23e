"""Histograms and bars as several pictures have them: with median, number, and what lies beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.marks import mark_beyond
from nwb_latents.pipeline.evaluation.figures.style import COLOURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike


def draw_histogram(panel: Any, values: ArrayLike, *, name: str, unit: str, n_bins: int = 24) -> None:
    """Draw a histogram with its median and quartiles; the title says how many values are known.

    Parameters
    ----------
    panel
        The panel.
    values
        Any shape; NaN: not known, and counted in the title.
    name, unit
        Of the quantity.
    n_bins
        Bars from the 1st to the 99th percentile; what lies beyond is an arrow, with its number.
    """
    every = np.asarray(values, dtype=np.float64).ravel()
    known = every[np.isfinite(every)]
    panel.set_xlabel(f"{name} ({unit})" if unit else name)
    panel.set_ylabel("trials")
    missing = f", {len(every) - len(known)} not known" if len(known) < len(every) else ""
    title = f"n = {len(known)}{missing}"
    if not len(known):
        panel.set_title(title, loc="left")
        panel.set_xticks([])
        panel.set_yticks([])
        return
    low, high = np.quantile(known, [0.01, 0.99])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(known, bins=n_bins, range=(low, high))
    panel.stairs(counts, edges, fill=True, color="0.75")
    quartiles = np.quantile(known, [0.25, 0.5, 0.75])
    top = max(float(counts.max()), 1.0) * 1.1
    panel.plot([quartiles[0], quartiles[2]], [top, top], color=COLOURS[0], linewidth=1.2)
    panel.plot([quartiles[1]], [top], "o", color=COLOURS[0], markersize=3)
    panel.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    panel.set_ylim(0, top * 1.1)
    panel.yaxis.get_major_locator().set_params(integer=True)
    n_beyond = mark_beyond(panel, known, np.zeros(len(known)), axis="x", color="0.4")
    beyond = f", {n_beyond} beyond (arrows)" if n_beyond else ""
    panel.set_title(f"{title}{beyond}; median {quartiles[1]:.3g}", loc="left")


def draw_counts(panel: Any, counts: Mapping[str, int], *, label: str, colour: str = "0.6") -> None:
    """Draw a bar for each reason or kind, with its number."""
    names = sorted(counts, key=lambda name: -counts[name])
    rows = np.arange(len(names))
    panel.barh(rows, [counts[name] for name in names], color=colour, height=0.7)
    panel.set_yticks(rows, [name.replace("_", " ") for name in names])
    # A single bar is no wider than one of four.
    panel.set_ylim(max(len(names), 4) - 0.4, -0.6)
    most = max(counts.values(), default=1)
    panel.set_xlim(0, 1.25 * max(most, 1))
    for row, name in zip(rows, names, strict=True):
        panel.annotate(
            f"{counts[name]}", (counts[name], row), xytext=(2, 0), textcoords="offset points", va="center",
            fontsize=6,
        )  # fmt: skip
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set_xlabel(label)
