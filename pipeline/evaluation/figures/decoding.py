"""Pictures of what a decoding depends on: the time in the trial, the condition, the session.

Colours are those of the sources, dashes and hatches those of the decoders, every picture says which trials
and which R². R² against lag: `pipeline.evaluation.figures.lags`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.across_sessions import mean_by_relation
from nwb_latents.pipeline.evaluation.decoding.decoder import described
from nwb_latents.pipeline.evaluation.figures.condition_colours import in_order
from nwb_latents.pipeline.evaluation.figures.marks import band, from_to, mark_beyond, plain
from nwb_latents.pipeline.evaluation.figures.saving import save_figure
from nwb_latents.pipeline.evaluation.figures.source_looks import LEAST_R2_SHOWN, colour_of, signal_label
from nwb_latents.pipeline.evaluation.figures.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.lag_scan import LagScan
    from nwb_latents.pipeline.evaluation.figures.page import Width
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.pictures import PictureSettings

    FloatArray = NDArray[np.float64]

MOST_NUMBERS = 14
"""A heat map of more rows than this has no room for numbers."""

MOST_TICKED = 24
"""Of more conditions, only how many there are is said."""


def draw_lag_scan(
    path: Path,
    scans: Sequence[LagScan],
    scores: Sequence[Measurement],
    *,
    pictures: PictureSettings | None = None,
) -> None:
    """Write the picture of `lags.lag_figure`, as `saving.save_figure` does."""
    from nwb_latents.pipeline.evaluation.figures.lags import lag_figure  # noqa: PLC0415

    save_figure(lag_figure(scans, scores), path, pictures)


def draw_parts(path: Path, table: xr.Dataset, *, pictures: PictureSettings | None = None) -> None:
    """Write the picture of `parts_figure`, as `saving.save_figure` does."""
    save_figure(parts_figure(table), path, pictures)


def draw_transfer(
    path: Path,
    scores: Sequence[Measurement],
    subjects: Mapping[str, str],
    *,
    pictures: PictureSettings | None = None,
) -> None:
    """Write the picture of `transfer_figure`, as `saving.save_figure` does."""
    save_figure(transfer_figure(scores, subjects), path, pictures)


def parts_figure(table: xr.Dataset) -> Any:
    """Draw the R² over time from the event, and of every condition, with 95 % intervals over trials.

    The axes are pooled. An R² below −0.5 is an arrow there; one that is not defined is left out.

    Parameters
    ----------
    table
        As `pipeline.evaluation.decoding.parts.parts_table` makes it.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, legend_below, page, settled  # noqa: PLC0415

    order = sorted(range(table.sizes["condition"]), key=lambda i: in_order(str(table["condition"].values[i])))
    table = table.isel(condition=order)
    signals = [table.isel(signal=number) for number in range(table.sizes["signal"])]
    handles = []
    with mpl.rc_context(STYLE):
        figure, grid = page(width="two", rows=2, columns=1, row_mm=44.0, sharey=True)
        over_time, bars = grid[:, 0]
        seconds = table["time"].values + table.attrs["lag_ms"] * 1e-3
        over_time.set_ylim(_least(signals) - 0.03, 1.03)
        for number, one in enumerate(signals):
            decoder, colour = described(str(one["decoder"].item())), colour_of(one["source"].item())
            label = signal_label(str(one["source"].item()), one["run"].item() or None, decoder)
            look: dict[str, Any] = {"color": colour, "linestyle": decoder.dash}
            _draw_over_time(over_time, seconds, one, look)
            is_open = not decoder.is_filled
            _draw_bars(bars, one, position=number, of=len(signals), colour=colour, is_open=is_open)
            handles.append(mpl.lines.Line2D([], [], label=label, **look))
        for panel in (over_time, bars):
            panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
            panel.set_ylabel("R² of hand velocity")
        over_time.axvline(0.0, color="0.6", linewidth=0.7, linestyle=":", zorder=0)
        over_time.set_xlabel("time of the velocity from the event (s)")
        over_time.set_title("each time bin: deviation from its mean over trials", loc="left")
        bars.set_title("each condition: deviation from its mean over trials and bins", loc="left")
        _name_conditions(bars, table)
        legend_below(figure, handles)
        caption(figure, *_parts_title(table))
        return settled(figure)


def transfer_figure(scores: Sequence[Measurement], subjects: Mapping[str, str]) -> Any:
    """Draw the R² of every session, decoded with the decoder of every other, as a heat map with numbers.

    Parameters
    ----------
    scores
        What `pipeline.evaluation.decoding.across_sessions.transfer_scores` gave for one run and decoder.
    subjects
        Session id → subject. Sessions of one subject stand side by side, in a frame.

    Raises
    ------
    DataError
        If there is no score.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import WIDTHS_MM, caption, page, settled  # noqa: PLC0415

    if not scores:
        raise DataError("No decoder was carried to another session, so there is nothing to draw.")
    sessions = sorted({s.session for s in scores}, key=lambda session: (subjects[session], session))
    column = {session: number for number, session in enumerate(sessions)}
    has_others = any(len(s.fitted_sessions) > 1 for s in scores)
    values = np.full((len(sessions) + has_others, len(sessions)), np.nan)
    for score in scores:
        row = len(sessions) if len(score.fitted_sessions) > 1 else column[score.fitted_sessions[0]]
        values[row, column[score.session]] = math.nan if score.value is None else score.value
    with mpl.rc_context(STYLE):
        width: Width = "one" if len(sessions) <= 4 else "two"
        labels_mm = 1.35 * max(len(session) for session in sessions) + 6.0
        side_mm = WIDTHS_MM[width] - labels_mm - 22.0
        height = side_mm * (1 + has_others / len(sessions)) + labels_mm + 10.0
        figure, grid = page(width=width, rows=1, columns=1, row_mm=height)
        panel = grid[0, 0]
        image = panel.imshow(values, vmin=0.0, vmax=1.0, cmap="viridis", aspect="equal")
        _write_numbers(panel, values)
        _frame_subjects(panel, [subjects[session] for session in sessions])
        panel.set_xticks(range(len(sessions)), sessions, rotation=90)
        panel.set_yticks(range(len(values)), [*sessions, *(["all others"] * has_others)])
        panel.set_xlabel("decoded (test trials)")
        panel.set_ylabel("decoder of (training trials)")
        panel.spines[:].set_visible(False)
        figure.colorbar(image, ax=panel, shrink=0.6, label="R² of hand velocity", extend="min")
        caption(figure, *_transfer_title(scores, subjects))
        return settled(figure)


def _least(signals: Sequence[xr.Dataset]) -> float:
    names = ("r2_over_time", "r2_of_conditions", "r2_over_time_low", "r2_of_conditions_low")
    found = [one[name].values for one in signals for name in names if name in one]
    values = np.concatenate([each.ravel() for each in found])
    values = values[np.isfinite(values)]
    return max(min(float(values.min(initial=0.0)), 0.0), LEAST_R2_SHOWN)


def _draw_over_time(panel: Any, seconds: FloatArray, one: xr.Dataset, look: dict[str, Any]) -> None:
    values = one["r2_over_time"].values
    edge = panel.get_ylim()[0]
    panel.plot(seconds, np.where(values >= edge, values, np.nan), **look)
    if "r2_over_time_low" in one:
        low, high = one["r2_over_time_low"].values, one["r2_over_time_high"].values
        band(panel, seconds, np.maximum(low, edge), np.maximum(high, edge), color=look["color"], alpha=0.15)
    mark_beyond(panel, seconds, values, color=look["color"])


def _draw_bars(panel: Any, one: xr.Dataset, *, position: int, of: int, colour: str, is_open: bool) -> None:
    values = one["r2_of_conditions"].values
    edge = panel.get_ylim()[0]
    width = 0.8 / of
    where = np.arange(len(values)) + (position - (of - 1) / 2) * width
    fill = {"color": "white", "edgecolor": colour, "hatch": "////"} if is_open else {"color": colour}
    panel.bar(where, np.maximum(values, edge), width=width, linewidth=0.6, **fill)
    if "r2_of_conditions_low" in one and len(values) <= MOST_TICKED:
        low = np.maximum(one["r2_of_conditions_low"].values, edge)
        high = np.maximum(one["r2_of_conditions_high"].values, edge)
        panel.vlines(where, low, high, color="0.25", linewidth=0.6, zorder=3)
    mark_beyond(panel, where, values, color=colour)


def _name_conditions(panel: Any, table: xr.Dataset) -> None:
    names = [str(name) for name in table["condition"].values]
    n_trials = table["n_trials_of_conditions"].values.max(axis=0) if names else []
    if len(names) <= MOST_TICKED // 2:
        words = [f"{name or 'none'}\nn = {n}" for name, n in zip(names, n_trials, strict=True)]
        panel.set_xticks(range(len(names)), words)
        panel.set_xlabel("condition (n: test trials)")
    else:
        panel.set_xticks([])
        panel.set_xlabel(f"{len(names)} conditions, by name, of {from_to(n_trials)} test trials each")


def _parts_title(table: xr.Dataset) -> tuple[str, ...]:
    runs = [run for run in table["run"].values.tolist() if run]
    numbers = table["n_trials_over_time"].values
    shaded = "Shaded, lines: 95 % intervals over trials (resampled; none of fewer than 3 trials); "
    return (
        f"{table.attrs['session']}{f', run {runs[0]}' if runs else ''}",
        (
            f"R² of {numbers.max()} test trials, r2_pooled, velocity {table.attrs['lag_ms']:g} ms after the "
            "activity"
        ),
        (
            f"{shaded if 'r2_over_time_low' in table else ''}arrows: below {plain(LEAST_R2_SHOWN, 1)}, where "
            "intervals end too"
        ),
    )


def _write_numbers(panel: Any, values: FloatArray) -> None:
    if len(values) > MOST_NUMBERS:
        return
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        if np.isfinite(value):
            colour = "black" if value > 0.6 else "white"
            panel.text(column, row, plain(float(value)), ha="center", va="center", color=colour, fontsize=6)


def _frame_subjects(panel: Any, subjects: list[str]) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    for subject in dict.fromkeys(subjects):
        first, number = subjects.index(subject) - 0.5, subjects.count(subject)
        frame = Rectangle((first, first), number, number, fill=False, edgecolor="#d55e00", linewidth=1.4)
        panel.add_patch(frame)


def _transfer_title(scores: Sequence[Measurement], subjects: Mapping[str, str]) -> tuple[str, ...]:
    one = scores[0]
    means = mean_by_relation(scores, subjects)
    words = ", ".join(f"{name} {plain(mean)} (n\u00a0=\u00a0{n})" for name, (mean, n) in means.items())
    tag = described(one.decoder or "").tag
    return (
        f"Run {one.run}: velocity from latent states{tag}",
        (
            f"{from_to([s.n_trials for s in scores])} test trials of each session, {one.lag_ms:g} ms after "
            f"the activity, {one.definition}; frames: one subject"
        ),
        f"Means (n: pairs): {words}",
    )
