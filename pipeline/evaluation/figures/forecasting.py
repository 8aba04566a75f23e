"""Pictures of k-step forecasts: R² over the steps ahead, a line for each source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.style import STYLE, new_figure, save_figure
from nwb_latents.pipeline.evaluation.forecasting.curves import (
    DEFINITIONS,
    NAMES,
    curves_of,
    mean_curves,
    sessions_of,
)
from nwb_latents.pipeline.evaluation.forecasting.source_forecast import (
    DECODED,
    ENSEMBLE,
    LEAKY,
    MODEL,
    RECORDED,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from nwb_latents.schemas.forecasting import ForecastQuantity
    from nwb_latents.schemas.measurement import Measurement

LOOKS: dict[str, tuple[str, str, str, str]] = {
    RECORDED: ("#000000", "--", "", "decoder on the recorded rates"),
    MODEL: ("#009e73", "-", "o", "model"),
    ENSEMBLE: ("#000000", "-", "o", "ensemble"),
    DECODED: ("#009e73", "--", "", "model, decoded as recorded rates are"),
    LEAKY: ("#009e73", ":", "", "the same, shown spikes after the cut"),
}
"""Colour, line, marker and label of what is no baseline; colour-blind-safe."""

_COLOURS = ("#0072b2", "#e69f00", "#7f7f7f", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442")
_MARKERS = ("s", "^", "D", "v", "P", "X", "*")
"""Of baselines, in the order of tables."""

TITLES: dict[ForecastQuantity, str] = {"velocity": "hand velocity", "rates": "firing rates"}
LEAST_R2_SHOWN = -0.6


def draw_forecast(path: Path, measurements: Sequence[Measurement], *, bin_size_s: float) -> None:
    """Draw R² over the steps ahead, velocity and rates side by side.

    Of one session, its curves. Of several, the mean over sessions, and each session's curve of the model as a
    thin line. What lies below −0.6 is cut off.

    Parameters
    ----------
    path
        PNG to write.
    measurements
        Of one run, of baselines and of recorded rates; the same bins everywhere.
    bin_size_s
        Width of a bin, s.

    Raises
    ------
    DataError
        If there is none of a run.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    sessions = sessions_of(measurements)
    if not sessions:
        raise DataError(f"{path}: no forecasts to draw; forecast at least one session first")
    mine = [each for each in measurements if each.session in sessions]
    quantities = [q for q in TITLES if any(each.name == NAMES[q] for each in mine)]
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(rows=1, columns=len(quantities), size=(3.4 * len(quantities) + 0.2, 3.7))
        for panel, quantity in zip(grid[0], quantities, strict=True):
            _draw_curves(panel, mine, quantity, bin_size_s=bin_size_s)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3)
        figure.suptitle(_title(mine, sessions), x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


def looks_of(sources: Iterable[str]) -> dict[str, tuple[str, str, str, str]]:
    """Return colour, line, marker and label of each source: recorded rates, the model, then baselines.

    Examples
    --------
    >>> list(looks_of(["hold_last", "forecast"]))
    ['forecast', 'hold_last']
    """
    there = list(sources)
    baselines = {
        source: (
            _COLOURS[number % len(_COLOURS)],
            "-",
            _MARKERS[number % len(_MARKERS)],
            source.replace("_", " "),
        )
        for number, source in enumerate(each for each in there if each not in LOOKS)
    }
    return {source: look for source, look in LOOKS.items() if source in there} | baselines


def _draw_curves(
    panel: Any, measurements: Sequence[Measurement], quantity: ForecastQuantity, *, bin_size_s: float
) -> None:
    means, curves = mean_curves(measurements, quantity), curves_of(measurements, quantity)
    n_steps = max(len(values) for values in means.values()) - 1
    steps = np.arange(1, n_steps + 1)
    for source, (colour, line, marker, label) in looks_of(means).items():
        values = np.array(means[source][:-1], dtype=np.float64)
        look = {"color": colour, "linestyle": line, "marker": marker, "markersize": 3, "label": label}
        panel.plot(steps, values, zorder=3 if source == MODEL else 2, **look)
    of_model = [curve for (_, source), curve in curves.items() if source == MODEL]
    for curve in of_model if len(of_model) > 1 else ():
        values = np.array(curve.per_step, dtype=np.float64)
        panel.plot(steps, values, color=LOOKS[MODEL][0], linewidth=0.5, alpha=0.5)
    least = min(v for row in means.values() for v in row[:-1] if v is not None) if means else 0.0
    panel.set_ylim(max(min(least, 0.0), LEAST_R2_SHOWN) - 0.03, 1.03)
    panel.set_xlim(0.5, n_steps + 0.5)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
    panel.grid(axis="y", color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.set_title(TITLES[quantity], loc="left")
    panel.set_xlabel(f"steps ahead (bins of {bin_size_s * 1e3:g} ms)")
    panel.set_ylabel(f"R² ({DEFINITIONS[quantity]})")


def _title(measurements: Sequence[Measurement], sessions: Sequence[str]) -> str:
    model = [each for each in measurements if each.source == MODEL]
    numbers = sorted({each.n_trials for each in model})
    trials = " to ".join(str(n) for n in dict.fromkeys((numbers[0], numbers[-1])))
    what = sessions[0] if len(sessions) == 1 else f"mean of {len(sessions)} sessions (thin: each, model)"
    lines = [
        f"{what}, run {model[0].run}",
        f"{trials} {model[0].split} trials, {model[0].seen_bins} bins seen, {model[0].bins} forecast",
    ]
    decoded = next((each for each in model if each.decoder is not None), None)
    if decoded is not None:
        lines[1] += f"; velocity {decoded.lag_ms or 0.0:g} ms after the activity"
        head = "; trained with a velocity head" if decoded.details.get("behaviour_head") else ""
        lines.append(f"model: {decoded.decoder} fitted on {decoded.fitted_on}{head}")
    return "\n".join(lines)
