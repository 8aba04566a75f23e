"""Pictures of what a decoding depends on: the lag, the time in the trial, the condition, the session.

PNGs like those of `pipeline.evaluation.figures.velocity`: colours are those of the sources, dashes and
hatches those of the decoders, every title says which trials and which R².
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.across_sessions import mean_by_relation
from nwb_latents.pipeline.evaluation.decoding.decoder import described
from nwb_latents.pipeline.evaluation.decoding.lag_scan import TEST_METRIC
from nwb_latents.pipeline.evaluation.figures.condition_colours import MOST_CONDITIONS_NAMED
from nwb_latents.pipeline.evaluation.figures.style import MARKERS, STYLE, new_figure, save_figure
from nwb_latents.pipeline.evaluation.figures.velocity import (
    LEAST_R2_SHOWN,
    colour_of,
    signal_label,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.lag_scan import LagScan
    from nwb_latents.schemas.measurement import Measurement

    FloatArray = NDArray[np.float64]

MOST_NUMBERS = 20
"""A heat map of more rows than this has no room for numbers."""


def draw_lag_scan(path: Path, scans: Sequence[LagScan], scores: Sequence[Measurement]) -> None:
    """Draw R² against lag: cross-validated on the training trials, and of every signal of the test trials.

    Parameters
    ----------
    path
        PNG to write.
    scans
        Of one session, one for each decoder. The lag chosen on the training trials is marked.
    scores
        What `LagScan.decode` gave for the test trials of that session.

    Raises
    ------
    DataError
        If there is no scan.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    if not scans:
        raise DataError(f"{path}: no lags were compared, so there is nothing to draw; set lag_scan_ms")
    mine = [s for s in scores if s.name == TEST_METRIC and s.session == scans[0].session]
    runs = sorted({score.run for score in mine if score.run})
    with mpl.rc_context(STYLE):
        n_lines = len(scans) + len({(s.run, s.source, s.decoder) for s in mine})
        figure, grid = new_figure(rows=1, columns=1, size=(6.4, 3.4 + 0.09 * n_lines))
        panel = grid[0, 0]
        for scan in scans:
            label = f"rates, cross-validated on training trials{scan.decoder.tag}"
            dash = scan.decoder.dash
            panel.plot(scan.lags_ms, scan.cv_r2, color="black", linestyle=dash, marker=".", label=label)
            panel.axvline(scan.best_lag_ms, color="0.6", linewidth=0.7, linestyle=dash, zorder=0)
        for run, source, decoder in dict.fromkeys((s.run, s.source, s.decoder) for s in mine):
            line = [s for s in mine if (s.run, s.source, s.decoder) == (run, source, decoder)]
            panel.plot(
                [s.lag_ms for s in line],
                [_shown(s.value) for s in line],
                color=colour_of(source),
                linestyle=described(decoder or "").dash,
                marker=MARKERS[(runs.index(run) + 1) % len(MARKERS)] if run else MARKERS[0],
                markersize=3,
                label=signal_label(source, run, described(decoder or "")),
            )
        if len(scans[0].lags_ms) <= MOST_NUMBERS:
            panel.set_xticks(scans[0].lags_ms)
        panel.set_xlabel("velocity after the activity (ms)")
        panel.set_ylabel("R² of hand velocity")
        panel.set_ylim(max(panel.get_ylim()[0], LEAST_R2_SHOWN - 0.02), None)
        figure.legend(loc="outside lower left", ncols=2)
        figure.suptitle(_scan_title(scans, mine), x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


def draw_parts(path: Path, table: xr.Dataset) -> None:
    """Draw the R² over time from the event, and of every condition.

    The axes are pooled. An R² below −0.5 is drawn there; one that is not defined is left out.

    Parameters
    ----------
    path
        PNG to write.
    table
        As `pipeline.evaluation.decoding.parts.parts_table` makes it.

    Raises
    ------
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    signals = [table.isel(signal=number) for number in range(table.sizes["signal"])]
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(rows=2, columns=1, size=(6.4, 5.0))
        over_time, bars = grid[:, 0]
        seconds = table["time"].values + table.attrs["lag_ms"] * 1e-3
        for number, one in enumerate(signals):
            decoder, colour = described(str(one["decoder"].item())), colour_of(one["source"].item())
            label = signal_label(str(one["source"].item()), one["run"].item() or None, decoder)
            over_time.plot(
                seconds, _cut_off(one["r2_over_time"]), color=colour, linestyle=decoder.dash, label=label
            )
            is_open = not decoder.is_filled
            _draw_bars(bars, one, position=number, of=len(signals), colour=colour, is_open=is_open)
        for panel in (over_time, bars):
            panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
            panel.set_ylim(max(panel.get_ylim()[0], LEAST_R2_SHOWN - 0.02), 1.02)
            panel.set_ylabel("R² of hand velocity")
        over_time.axvline(0.0, color="0.6", linewidth=0.7, linestyle=":", zorder=0)
        over_time.set_xlabel("time of the velocity from the event (s)")
        over_time.set_title("each time bin: deviation from its mean over trials", loc="left")
        bars.set_title("each condition: deviation from its mean over trials and bins", loc="left")
        _name_conditions(bars, [str(name) for name in table["condition"].values])
        figure.legend(*over_time.get_legend_handles_labels(), loc="outside lower left", ncols=2)
        figure.suptitle(_parts_title(table), x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


def draw_transfer(path: Path, scores: Sequence[Measurement], subjects: Mapping[str, str]) -> None:
    """Draw the R² of every session, decoded with the decoder of every other, as a heat map with numbers.

    Parameters
    ----------
    path
        PNG to write.
    scores
        What `pipeline.evaluation.decoding.across_sessions.transfer_scores` gave for one run and decoder.
    subjects
        Session id → subject. Sessions of one subject stand side by side, in a frame.

    Raises
    ------
    DataError
        If there is no score.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    if not scores:
        raise DataError(f"{path}: no decoder was carried to another session, so there is nothing to draw")
    sessions = sorted({s.session for s in scores}, key=lambda session: (subjects[session], session))
    column = {session: number for number, session in enumerate(sessions)}
    has_others = any(len(s.fitted_sessions) > 1 for s in scores)
    values = np.full((len(sessions) + has_others, len(sessions)), np.nan)
    for score in scores:
        row = len(sessions) if len(score.fitted_sessions) > 1 else column[score.fitted_sessions[0]]
        values[row, column[score.session]] = math.nan if score.value is None else score.value
    with mpl.rc_context(STYLE):
        side = min(2.6 + 0.55 * len(sessions), 11.0)
        figure, grid = new_figure(rows=1, columns=1, size=(max(side + 0.8, 5.4), side + 0.4 * has_others))
        panel = grid[0, 0]
        image = panel.imshow(values, vmin=0.0, vmax=1.0, cmap="viridis", aspect="equal")
        _write_numbers(panel, values)
        _frame_subjects(panel, [subjects[session] for session in sessions])
        panel.set_xticks(range(len(sessions)), sessions, rotation=90)
        panel.set_yticks(range(len(values)), [*sessions, *(["all others"] * has_others)])
        panel.set_xlabel("decoded (test trials)")
        panel.set_ylabel("decoder of (training trials)")
        panel.spines[:].set_visible(False)
        figure.colorbar(image, ax=panel, shrink=0.7, label="R² of hand velocity", extend="min")
        figure.suptitle(_transfer_title(scores, subjects), x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


def _shown(value: float | None) -> float:
    return math.nan if value is None else max(value, LEAST_R2_SHOWN)


def _scan_title(scans: Sequence[LagScan], scores: Sequence[Measurement]) -> str:
    best = "; ".join(f"{scan.best_lag_ms:g} ms{scan.decoder.tag}" for scan in scans)
    numbers = sorted({score.n_trials for score in scores})
    tested = (
        f"{' to '.join(str(n) for n in (numbers[0], numbers[-1])[: len(numbers)])} test" if numbers else ""
    )
    trials = " and ".join(word for word in (f"{scans[0].n_trials} training", tested) if word)
    return f"{scans[0].session}\nbest lag on training trials: {best}\n{trials} trials, r2_uniform"


def _cut_off(values: xr.DataArray) -> FloatArray:
    shown: FloatArray = np.maximum(values.values, LEAST_R2_SHOWN)
    return shown


def _draw_bars(panel: Any, one: xr.Dataset, *, position: int, of: int, colour: str, is_open: bool) -> None:
    height = _cut_off(one["r2_of_conditions"])
    width = 0.8 / of
    where = np.arange(len(height)) + (position - (of - 1) / 2) * width
    fill = {"color": "white", "edgecolor": colour, "hatch": "////"} if is_open else {"color": colour}
    panel.bar(where, height, width=width, linewidth=0.6, **fill)


def _name_conditions(panel: Any, names: list[str]) -> None:
    if len(names) <= MOST_CONDITIONS_NAMED:
        panel.set_xticks(range(len(names)), [name or "none" for name in names])
        panel.set_xlabel("condition")
    else:
        panel.set_xticks([])
        panel.set_xlabel(f"{len(names)} conditions, by name")


def _parts_title(table: xr.Dataset) -> str:
    runs = [run for run in table["run"].values.tolist() if run]
    numbers = table["n_trials_over_time"].values
    return (
        f"{table.attrs['session']}{f', run {runs[0]}' if runs else ''}\n{numbers.max()} test trials, "
        f"r2_pooled (−0.5 and below as −0.5), velocity {table.attrs['lag_ms']:g} ms after the activity"
    )


def _write_numbers(panel: Any, values: FloatArray) -> None:
    if len(values) > MOST_NUMBERS:
        return
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        if np.isfinite(value):
            colour = "black" if value > 0.6 else "white"
            panel.text(
                column,
                row,
                f"{value:.2f}".replace("-", "−"),
                ha="center",
                va="center",
                color=colour,
                fontsize=7,
            )


def _frame_subjects(panel: Any, subjects: list[str]) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    for subject in dict.fromkeys(subjects):
        first, number = subjects.index(subject) - 0.5, subjects.count(subject)
        frame = Rectangle((first, first), number, number, fill=False, edgecolor="#d55e00", linewidth=1.4)
        panel.add_patch(frame)


def _transfer_title(scores: Sequence[Measurement], subjects: Mapping[str, str]) -> str:
    one = scores[0]
    means = mean_by_relation(scores, subjects)
    words = ", ".join(f"{name} {mean:.2f}".replace("-", "−") for name, (mean, _) in means.items())
    tag = described(one.decoder or "").tag
    return (
        f"Run {one.run}: velocity from latent states{tag}\n{one.lag_ms:g} ms after the "
        f"activity, {one.definition}; frames: one subject\n{words}"
    )
