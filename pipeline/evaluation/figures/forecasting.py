"""Pictures of k-step forecasts: R² over the steps ahead, a line for each source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.style import STYLE, new_figure, save_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.schemas.forecasting import ForecastQuantity, ForecastSource, SessionForecast

LOOKS: dict[ForecastSource, tuple[str, str, str, str]] = {
    "recorded": ("#000000", "--", "", "decoder on the recorded rates"),
    "model": ("#009e73", "-", "o", "model"),
    "linear": ("#0072b2", "-", "s", "linear, from the bins seen"),
    "condition_mean": ("#e69f00", "-", "^", "mean of the condition"),
    "hold_last": ("#7f7f7f", "-", "D", "last value held"),
}
"""Colour, line, marker and label of each source; colour-blind-safe."""

TITLES: dict[ForecastQuantity, str] = {"velocity": "hand velocity", "rates": "firing rates"}
LEAST_R2_SHOWN = -0.6


def draw_forecast(path: Path, forecasts: Sequence[SessionForecast]) -> None:
    """Draw R² over the steps ahead, velocity and rates side by side.

    Of one session, its curves. Of several, the mean over sessions, and each session's curve of the model as a
    thin line. What lies below −0.6 is cut off.

    Parameters
    ----------
    path
        PNG to write.
    forecasts
        Of one run; the same bins everywhere.

    Raises
    ------
    DataError
        If there is none.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    if not forecasts:
        raise DataError(f"{path}: no forecasts to draw; forecast at least one session first")
    quantities = [q for q in TITLES if any(c.quantity == q for f in forecasts for c in f.curves)]
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(rows=1, columns=len(quantities), size=(3.4 * len(quantities) + 0.2, 3.5))
        for panel, quantity in zip(grid[0], quantities, strict=True):
            _draw_curves(panel, forecasts, quantity)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3)
        figure.suptitle(_title(forecasts), x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


def mean_curves(
    forecasts: Sequence[SessionForecast], quantity: ForecastQuantity
) -> dict[ForecastSource, list[float | None]]:
    """Return the mean over sessions of each source: every step, then the pooled value.

    A value that is not defined in a session does not count; None if it is defined in none.
    """
    found: dict[ForecastSource, list[tuple[float | None, ...]]] = {}
    for forecast in forecasts:
        for curve in forecast.curves:
            if curve.quantity == quantity:
                found.setdefault(curve.source, []).append((*curve.per_step, curve.pooled))
    return {source: [_mean(values) for values in zip(*rows, strict=True)] for source, rows in found.items()}


def _draw_curves(panel: Any, forecasts: Sequence[SessionForecast], quantity: ForecastQuantity) -> None:
    one = forecasts[0]
    steps = np.arange(1, one.bins + 1)
    means = mean_curves(forecasts, quantity)
    for source, (colour, line, marker, label) in LOOKS.items():
        if source not in means:
            continue
        values = np.array(means[source][:-1], dtype=np.float64)
        look = {"color": colour, "linestyle": line, "marker": marker, "markersize": 3, "label": label}
        panel.plot(steps, values, zorder=3 if source == "model" else 2, **look)
    if len(forecasts) > 1:
        for forecast in forecasts:
            for curve in forecast.curves:
                if (curve.quantity, curve.source) == (quantity, "model"):
                    values = np.array(curve.per_step, dtype=np.float64)
                    panel.plot(steps, values, color=LOOKS["model"][0], linewidth=0.5, alpha=0.5)
    definition = next(c.definition for f in forecasts for c in f.curves if c.quantity == quantity)
    least = min(v for row in means.values() for v in row[:-1] if v is not None) if means else 0.0
    panel.set_ylim(max(min(least, 0.0), LEAST_R2_SHOWN) - 0.03, 1.03)
    panel.set_xlim(0.5, one.bins + 0.5)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
    panel.grid(axis="y", color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.set_title(TITLES[quantity], loc="left")
    panel.set_xlabel(f"steps ahead (bins of {one.bin_size_s * 1e3:g} ms)")
    panel.set_ylabel(f"R² ({definition})")


def _title(forecasts: Sequence[SessionForecast]) -> str:
    one = forecasts[0]
    numbers = sorted({forecast.n_trials for forecast in forecasts})
    trials = " to ".join(str(n) for n in dict.fromkeys((numbers[0], numbers[-1])))
    what = one.session if len(forecasts) == 1 else f"mean of {len(forecasts)} sessions (thin: each, model)"
    return (
        f"{what}, run {one.run}\n{trials} test trials, {one.seen_bins} bins seen, {one.bins} forecast; "
        f"velocity {one.lag_ms:g} ms after the activity"
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
