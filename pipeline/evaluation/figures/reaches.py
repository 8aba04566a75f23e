"""One picture of what forecasts of a session are worth: hand paths of all test trials, and traces of some.

Up to the cut, where the spikes end that a forecast is shown, all is recorded and grey. From there on paths
and traces are forecast, in the colour of the trial's condition; recorded ones are beside them or behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.decoder import described
from nwb_latents.pipeline.evaluation.figures.condition_colours import (
    condition_colours,
    condition_handles,
    in_order,
)
from nwb_latents.pipeline.evaluation.figures.paths import square
from nwb_latents.pipeline.evaluation.figures.saving import save_figure
from nwb_latents.pipeline.evaluation.figures.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.session_decoder import DecodedSignal, SessionDecoder
    from nwb_latents.schemas.pictures import PictureSettings

    FloatArray = NDArray[np.float64]

N_TRACES = 6
"""Trials whose traces are drawn."""

MOST_COLUMNS = 5

BEFORE = "0.62"
"""Grey of what was recorded before the cut."""


def draw_reaches(
    path: Path,
    decoder: SessionDecoder,
    forecasts: Sequence[DecodedSignal],
    *,
    pictures: PictureSettings | None = None,
) -> None:
    """Write the picture of `reaches_figure`, as `saving.save_figure` does."""
    save_figure(reaches_figure(decoder, forecasts), path, pictures)


def reaches_figure(decoder: SessionDecoder, forecasts: Sequence[DecodedSignal]) -> Any:
    """Draw forecast hand paths beside recorded ones, and traces of velocity with their bands.

    Trials of the traces are those whose forecast has the median error of their condition.

    Parameters
    ----------
    decoder
        Test trials of the session, with their recorded velocity.
    forecasts
        Forecasts of their velocity, all from the same bin on; traces are of the first.

    Raises
    ------
    DataError
        If there is no forecast, or no trial is known throughout.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import (  # noqa: PLC0415
        MM_PER_INCH,
        WIDTHS_MM,
        caption,
        legend_below,
        settled,
        styled_figure,
    )

    if not forecasts:
        raise DataError(
            f"{decoder.session}: no forecast of velocity to draw. Forecast with a run first "
            "(pipeline run decode --source forecast)."
        )
    first = forecasts[0]
    last = first.first_bin + first.velocity.shape[1]
    whole = np.flatnonzero(np.isfinite(decoder.velocity[:, :last]).all(axis=(1, 2)))
    if not len(whole):
        raise DataError(
            f"{decoder.session}: no test trial has a known velocity throughout, so there is no path to draw."
        )
    names, colours = condition_colours(decoder.condition, decoder.target_dir)
    n_axes, n_traces = decoder.velocity.shape[2], min(N_TRACES, len(whole))
    shown = _typical(decoder, first, whole, n_traces)
    has_plane = n_axes > 1
    rows = -(-(1 + len(forecasts)) // MOST_COLUMNS)
    columns = -(-(1 + len(forecasts)) // rows)
    plane_mm, traces_mm = rows * (0.9 * 178.0 / max(columns, 3) + 20.0), 24.0 * n_axes + 6.0
    with mpl.rc_context(STYLE):
        height = (plane_mm if has_plane else 0.0) + traces_mm
        figure = styled_figure((WIDTHS_MM["two"] / MM_PER_INCH, height / MM_PER_INCH))
        parts: Any = figure.subfigures(2, 1, height_ratios=[plane_mm, traces_mm]) if has_plane else [figure]
        if has_plane:
            panels = parts[0].subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
            _draw_plane(panels, decoder, forecasts, whole, colours=colours)
        grid = parts[-1].subplots(n_axes, n_traces, sharex=True, sharey=True, squeeze=False)
        _draw_traces(grid, decoder, first, shown, colours=colours)
        drawn = whole if has_plane else shown
        handles = condition_handles(names, [str(decoder.condition[trial]) for trial in drawn])
        legend_below(figure, handles, title="condition" if len(handles) > 1 else "")
        caption(figure, *_title(decoder, first, n_whole=len(whole), n_traces=n_traces))
        return settled(figure)


def _draw_plane(
    panels: Any,
    decoder: SessionDecoder,
    forecasts: Sequence[DecodedSignal],
    whole: NDArray[np.int64],
    *,
    colours: list[Any],
) -> None:
    """Draw the paths of all trials, recorded and by each forecast, from the first bin on."""
    from nwb_latents.pipeline.evaluation.figures.page import fitting  # noqa: PLC0415

    cut = forecasts[0].first_bin
    last = cut + forecasts[0].velocity.shape[1]
    true = decoder.velocity[:, :last, :2]
    used = panels.ravel()[: 1 + len(forecasts)]
    for panel, signal in zip(used, (None, *forecasts), strict=True):
        velocity = true.copy()
        if signal is not None:
            velocity[:, cut:] = signal.velocity[..., :2]
        paths = np.concatenate([np.zeros_like(velocity[:, :1]), velocity.cumsum(axis=1)], axis=1)
        paths *= decoder.bin_size_s
        for trial in whole:
            line, colour = paths[trial], colours[trial]
            panel.plot(*line[cut:].T, color=colour, linewidth=0.8, alpha=0.85, zorder=2)
            panel.plot(*line[: cut + 1].T, color=BEFORE, linewidth=0.6, zorder=3)
            panel.plot(*line[cut], "o", color="black", markersize=1.0, zorder=4)
        panel.set_aspect("equal", adjustable="box")
        panel.set_title(fitting(panel, _path_title(signal, number=len(whole))), loc="left")
        panel.set_xlabel(f"{decoder.axes[0]} ({decoder.position_unit})")
    square(used)
    for panel in panels.ravel()[len(used) :]:
        panel.set_visible(False)
    for row in panels:
        row[0].set_ylabel(f"{decoder.axes[1]} ({decoder.position_unit})")


def _draw_traces(
    grid: Any, decoder: SessionDecoder, signal: DecodedSignal, shown: NDArray[np.int64], *, colours: list[Any]
) -> None:
    """Draw velocity over time, a column for each trial and a row for each axis."""
    from nwb_latents.pipeline.evaluation.figures.page import fitting  # noqa: PLC0415

    n_bins, cut = signal.velocity.shape[1], signal.first_bin
    # Velocity of a bin is read the lag after it.
    time_ms = 1e3 * (decoder.time_s + 0.5 * decoder.bin_size_s) + decoder.lag_ms
    cut_ms = 1e3 * (decoder.time_s[cut]) + decoder.lag_ms
    ahead = slice(cut, cut + n_bins)
    for column, trial in enumerate(shown):
        for row, axis in enumerate(decoder.axes):
            panel = grid[row, column]
            true, guess = decoder.velocity[trial, :, row], signal.velocity[trial, :, row]
            colour = colours[trial]
            if signal.half_width is not None:
                low, high = guess - signal.half_width[:, row], guess + signal.half_width[:, row]
                panel.fill_between(time_ms[ahead], low, high, color=colour, alpha=0.22, linewidth=0)
            panel.plot(time_ms, true, color="black", linewidth=0.9)
            panel.plot(time_ms[: cut + 1], true[: cut + 1], color=BEFORE, linewidth=1.3)
            panel.plot(time_ms[ahead], guess, color=colour, linewidth=1.3)
            panel.axvline(cut_ms, color="0.35", linewidth=0.8, linestyle="--", zorder=0)
            if column == 0:
                panel.set_ylabel(f"{axis} ({decoder.velocity_unit})")
        condition = str(decoder.condition[trial])
        title = f"condition {condition}" if condition else f"trial {decoder.test[trial]}"
        grid[0, column].set_title(fitting(grid[0, column], title), loc="left")
        grid[-1, column].set_xlabel("time (ms)")


def _typical(
    decoder: SessionDecoder, signal: DecodedSignal, whole: NDArray[np.int64], number: int
) -> NDArray[np.int64]:
    """Return trials of different conditions, each with the median error of its condition."""
    cut = signal.first_bin
    true = decoder.velocity[whole, cut : cut + signal.velocity.shape[1]]
    error = np.square(true - signal.velocity[whole]).sum(axis=(1, 2))
    condition = np.array([str(name) for name in decoder.condition[whole]])
    chosen = []
    for name in dict.fromkeys(sorted(condition, key=in_order)):
        mine = np.flatnonzero(condition == name)
        chosen.append(int(whole[mine[np.argsort(error[mine])[(len(mine) - 1) // 2]]]))
    rest = [int(trial) for trial in whole if int(trial) not in chosen]
    picked = [*chosen, *rest]
    if len(chosen) > number:
        picked = [chosen[round(at)] for at in np.linspace(0, len(chosen) - 1, number)]
    return np.array(picked[:number], dtype=np.int64)


def _path_title(signal: DecodedSignal | None, *, number: int) -> str:
    if signal is None:
        return f"recorded\n{number} test trials"
    score = signal.score
    what = {"forecast": "model", "ensemble": "ensemble"}.get(score.source, score.source.replace("_", " "))
    value = "undefined" if score.value is None else f"{score.value:.2f}"
    told = f", told {score.details['told']}" if score.details.get("told") else ""
    return f"{what}\nR² {value}{told}"


def _title(decoder: SessionDecoder, signal: DecodedSignal, *, n_whole: int, n_traces: int) -> tuple[str, ...]:
    score = signal.score
    seen_ms, ahead_ms = (1e3 * n * decoder.bin_size_s for n in (signal.first_bin, signal.velocity.shape[1]))
    by = described(score.decoder or "").name
    how = f" (read-out {by.replace('_', ' ')})" if by else ""
    band = "; shaded: band of 90 % from validation trials" if signal.half_width is not None else ""
    weights = score.details.get("weights", {})
    mean = " + ".join(f"{weight:.2f} {name}" for name, weight in weights.items())
    head = ", trained with a velocity head" if score.details.get("behaviour_head") else ""
    n_test = len(decoder.velocity)
    left_out = f" ({n_test - n_whole} left out: a bin is not known)" if n_whole < n_test else ""
    return (
        f"{decoder.session}, {mean or score.run}{how}{head}",
        (
            f"{seen_ms:g} ms of spikes are seen (up to the dots and dashed lines), {ahead_ms:g} ms are "
            f"forecast, velocity {decoder.lag_ms:g} ms after the spikes; black and grey: recorded{band}"
        ),
        (
            f"Paths: {n_whole} of {n_test} test trials{left_out}; traces: {n_traces} of them, with the "
            "median error of their condition"
        ),
    )
