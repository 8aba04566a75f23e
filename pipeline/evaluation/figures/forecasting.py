"""Pictures of k-step forecasts: R² over the steps ahead, a line for each source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.marks import band, from_to, mark_beyond, plain
from nwb_latents.pipeline.evaluation.figures.saving import save_figure
from nwb_latents.pipeline.evaluation.figures.source_looks import COLOURS as SOURCE_COLOURS
from nwb_latents.pipeline.evaluation.figures.style import COLOURS, DASHES, MARKERS, STYLE
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

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.forecasting.curves import Curve
    from nwb_latents.schemas.forecasting import ForecastQuantity
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.pictures import PictureSettings

_KNOWN = {"condition_mean": "s", "linear_forecast": "^"}
"""Baselines that have the same colours in pictures of decoding, and their markers."""

LOOKS: dict[str, tuple[str, str, str, str]] = {
    RECORDED: ("#000000", "--", "", "decoder on the recorded rates"),
    MODEL: ("#009e73", "-", "o", "model"),
    ENSEMBLE: (SOURCE_COLOURS["ensemble"], "-", "o", "ensemble"),
    DECODED: ("#009e73", "--", "", "model, decoded as recorded rates are"),
    LEAKY: ("#009e73", ":", "", "the same, shown spikes after the cut"),
}
"""Colour, line, marker and label of what is no baseline; colour-blind-safe."""

_COLOURS = tuple(
    colour
    for colour in COLOURS
    if colour not in {"#000000", *(SOURCE_COLOURS[name] for name in ("forecast", "ensemble", *_KNOWN))}
)
"""Of other baselines, in the order of tables; after the last, the first again, with other dashes."""

TITLES: dict[ForecastQuantity, str] = {"velocity": "hand velocity", "rates": "firing rates"}
LEAST_R2_SHOWN = -0.6

WIDEST_SHOWN = 0.8
"""Intervals of a few sessions that are wider say nothing, and would cover the curves."""


def draw_forecast(
    path: Path,
    measurements: Sequence[Measurement],
    *,
    bin_size_s: float,
    pictures: PictureSettings | None = None,
) -> None:
    """Write the picture of `forecast_figure`, as `saving.save_figure` does."""
    save_figure(forecast_figure(measurements, bin_size_s=bin_size_s), path, pictures)


def forecast_figure(
    measurements: Sequence[Measurement], *, bin_size_s: float, also: Sequence[str] = ()
) -> Any:
    """Draw R² over the steps ahead, velocity and rates side by side.

    Of one session, its curves. Of several, the mean over sessions with its 95 % interval (Student's t), and
    each session's curve of the model as a thin line. What lies below −0.6 is an arrow there.

    Parameters
    ----------
    measurements
        Of one run, of baselines and of recorded rates; the same bins everywhere.
    bin_size_s
        Width of a bin, s.
    also
        What else the picture says, such as which numbers are stale and left out.

    Raises
    ------
    DataError
        If there is none of a run.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import (  # noqa: PLC0415
        caption,
        legend_below,
        line_handles,
        page,
        settled,
    )

    sessions = sessions_of(measurements)
    if not sessions:
        raise DataError("There are no forecasts to draw; forecast at least one session first.")
    mine = [each for each in measurements if each.session in sessions]
    quantities = [q for q in TITLES if any(each.name == NAMES[q] for each in mine)]
    with mpl.rc_context(STYLE):
        figure, grid = page(
            width="one" if len(quantities) == 1 else "two",
            rows=1,
            columns=len(quantities),
            row_mm=62.0,
            sharey=True,
        )
        _set_limits(grid[0], mine, quantities)
        looks: dict[str, dict[str, Any]] = {}
        for panel, quantity in zip(grid[0], quantities, strict=True):
            looks |= _draw_curves(panel, mine, quantity, bin_size_s=bin_size_s)
        legend_below(figure, line_handles(looks.items()))
        caption(figure, *_title(mine, sessions), *also)
        return settled(figure)


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
            DASHES[number // len(_COLOURS) % len(DASHES)],
            MARKERS[(number + 1) % len(MARKERS)],
            source.replace("_", " "),
        )
        for number, source in enumerate(each for each in there if each not in {*LOOKS, *_KNOWN})
    } | {
        source: (SOURCE_COLOURS[source], "-", marker, source.replace("_", " "))
        for source, marker in _KNOWN.items()
        if source in there
    }
    return {source: look for source, look in LOOKS.items() if source in there} | baselines


def _set_limits(
    panels: Sequence[Any], measurements: Sequence[Measurement], quantities: Sequence[ForecastQuantity]
) -> None:
    """Give all panels the same limits, so that velocity and rates can be compared."""
    values = [
        value
        for quantity in quantities
        for row in mean_curves(measurements, quantity).values()
        for value in row[:-1]
        if value is not None
    ]
    for panel in panels:
        panel.set_ylim(max(min([*values, 0.0]), LEAST_R2_SHOWN) - 0.03, 1.03)


def _draw_curves(
    panel: Any, measurements: Sequence[Measurement], quantity: ForecastQuantity, *, bin_size_s: float
) -> dict[str, dict[str, Any]]:
    """Draw the curves of one quantity; return how each of its lines looks, by its name."""
    means, curves = mean_curves(measurements, quantity), curves_of(measurements, quantity)
    n_steps = max(len(values) for values in means.values()) - 1
    steps = np.arange(1, n_steps + 1)
    panel.set_xlim(0.5, n_steps + 0.5)
    edge = panel.get_ylim()[0]
    drawn = {}
    for source, (colour, line, marker, label) in looks_of(means).items():
        values = np.array(means[source][:-1], dtype=np.float64)
        look = {"color": colour, "linestyle": line, "marker": marker, "markersize": 3}
        drawn[label] = look
        panel.plot(
            steps, np.where(values >= edge, values, np.nan), zorder=3 if source == MODEL else 2, **look
        )
        mark_beyond(panel, steps, values, color=colour)
        low, high = _interval([curve for (_, of), curve in curves.items() if of == source], n_steps)
        low[high - low > WIDEST_SHOWN] = np.nan
        shade = {"color": colour, "alpha": 0.12, "zorder": 1}
        band(panel, steps, np.maximum(low, edge), np.clip(high, edge, 1.03), **shade)
    of_model = [curve for (_, source), curve in curves.items() if source == MODEL]
    for curve in of_model if len(of_model) > 1 else ():
        values = np.array(curve.per_step, dtype=np.float64)
        inside = np.where(values >= edge, values, np.nan)
        panel.plot(steps, inside, color=LOOKS[MODEL][0], linewidth=0.5, alpha=0.5)
        mark_beyond(panel, steps, values, color=LOOKS[MODEL][0], alpha=0.5)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
    panel.grid(axis="y", color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.set_title(TITLES[quantity], loc="left")
    panel.set_xlabel(f"steps ahead (bins of {bin_size_s * 1e3:g} ms)")
    panel.set_ylabel(f"R² ({DEFINITIONS[quantity]})")
    return drawn


def _interval(curves: Sequence[Curve], n_steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95 % interval of the mean over sessions at each step; NaN of a single session."""
    from scipy.stats import t as student  # noqa: PLC0415

    values = np.full((len(curves), n_steps), np.nan)
    for row, curve in enumerate(curves):
        values[row, : len(curve.per_step)] = np.array(curve.per_step, dtype=np.float64)
    n = np.isfinite(values).sum(axis=0)
    low, high = np.full(n_steps, np.nan), np.full(n_steps, np.nan)
    for step in np.flatnonzero(n > 1):
        column = values[np.isfinite(values[:, step]), step]
        half = student.ppf(0.975, n[step] - 1) * column.std(ddof=1) / np.sqrt(n[step])
        low[step], high[step] = column.mean() - half, column.mean() + half
    return low, high


def _title(measurements: Sequence[Measurement], sessions: Sequence[str]) -> list[str]:
    model = [each for each in measurements if each.source == MODEL]
    trials = from_to([each.n_trials for each in model])
    several = len(sessions) > 1
    what = f"mean of {len(sessions)} sessions" if several else sessions[0]
    lines = [
        f"{what}, run {model[0].run}",
        f"{trials} {model[0].split} trials, {model[0].seen_bins} bins seen, {model[0].bins} forecast",
    ]
    decoded = next((each for each in model if each.decoder is not None), None)
    if decoded is not None:
        lines[1] += f"; velocity {decoded.lag_ms or 0.0:g} ms after the activity"
        head = "; trained with a velocity head" if decoded.details.get("behaviour_head") else ""
        lines.append(f"model: {decoded.decoder} fitted on {decoded.fitted_on}{head}")
    shaded = (
        "thin: the model in each session; shaded: 95 % interval of the mean over sessions, where it is "
        f"narrower than {WIDEST_SHOWN:g}; "
    )
    lines.append(f"{shaded if several else ''}arrows: below {plain(LEAST_R2_SHOWN, 1)}")
    return lines
