"""Pictures of decoded velocity: traces, trajectories, and one summary of all scores.

Each is a PNG of about 100 kB or less, written whole or not at all. Recorded velocity is black, decoded
velocity has the colour of its source; every title says how many trials and which R².
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.decoder import described
from nwb_latents.pipeline.evaluation.figures.condition_colours import condition_colours, condition_legend
from nwb_latents.pipeline.evaluation.figures.style import MARKERS, STYLE, new_figure, save_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import DecoderDescription
    from nwb_latents.pipeline.evaluation.decoding.session_decoder import (
        Decoded,
        DecodedSignal,
        SessionDecoder,
    )
    from nwb_latents.schemas.measurement import Measurement

    FloatArray = NDArray[np.float64]

COLOURS: dict[str, str] = {
    "rates": "#0072b2",
    "reconstruction": "#d55e00",
    "forecast": "#009e73",
    "ensemble": "#000000",
    "forecast_decoded": "#56b4e9",
    "linear_forecast": "#e69f00",
    "condition_mean": "#7f7f7f",
    "latents": "#cc79a7",
}
"""Colour-blind-safe, one for each source."""

_OTHER_COLOUR = "#b2b2b2"


def colour_of(source: str) -> str:
    """Return the colour of a source.

    Examples
    --------
    >>> colour_of("rates"), colour_of("a baseline of another distribution")
    ('#0072b2', '#b2b2b2')
    """
    return COLOURS.get(source, _OTHER_COLOUR)


LEAST_R2_SHOWN = -0.5
MOST_SESSIONS_NAMED = 40
TALLEST_INCHES = 11.0


def draw_velocity(path: Path, decoded: Decoded, *, n_trials: int = 6) -> None:
    """Draw decoded on recorded velocity of some test trials: a row for each source, a column for each axis.

    Parameters
    ----------
    path
        PNG to write.
    decoded
        Signals of one session.
    n_trials
        Test trials drawn, spread evenly over the test trials.

    Raises
    ------
    DataError
        If there is no signal.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    decoder, signals = decoded.decoder, _signals(decoded)
    n_test, n_bins, n_axes = decoder.velocity.shape
    shown = np.unique(np.linspace(0, n_test - 1, min(n_trials, n_test)).round().astype(int))
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(
            rows=len(signals),
            columns=n_axes,
            size=(max(3.6 * n_axes + 0.4, 5.6), 1.45 * len(signals) + 1.0),
            sharey=True,
        )
        for row, signal in enumerate(signals):
            for column, axis in enumerate(decoder.axes):
                panel = grid[row, column]
                _draw_traces(panel, decoder, signal, shown, column=column)
                panel.set_title(
                    f"{signal.score.source}, R² of {axis} {_r2_text(signal.score, column)}", loc="left"
                )
                if column == 0:
                    panel.set_ylabel(f"velocity ({decoder.velocity_unit})")
        span = n_bins * decoder.bin_size_s
        for column in range(n_axes):
            grid[-1, column].set_xlabel(f"{len(shown)} test trials of {span:g} s side by side; dotted: event")
        _legend(figure, decoded)
        figure.suptitle(_title(decoded), x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


def draw_trajectories(path: Path, decoded: Decoded) -> None:
    """Draw hand paths of the test trials, recorded and decoded, in the colour of their condition.

    Paths are the running sum of velocity over the bins scored: displacement from the first of them. Trials
    with a bin that was not recorded or not decoded are left out. With one axis, displacement is drawn
    against time.

    Parameters
    ----------
    path
        PNG to write.
    decoded
        Signals of one session.

    Raises
    ------
    DataError
        If there is no signal.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    decoder, signals = decoded.decoder, _signals(decoded)
    names, colours = condition_colours(decoder)
    pairs = [(signal, recorded) for signal in signals for recorded in _panels_of(signals, signal)]
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(rows=1, columns=len(pairs), size=(2.2 * len(pairs) + 1.4, 3.2), sharey=True)
        for panel, (signal, recorded) in zip(grid[0], pairs, strict=True):
            number = _draw_paths(panel, decoder, signal, recorded=recorded, colours=colours)
            panel.set_title(_path_title(decoder, signal, recorded=recorded, number=number), loc="left")
        unit = f"displacement ({decoder.position_unit})"
        grid[0, 0].set_ylabel(unit if len(decoder.axes) == 1 else f"{decoder.axes[1]} {unit}")
        for panel in grid[0]:
            panel.set_xlabel(
                "time from first bin (s)" if len(decoder.axes) == 1 else f"{decoder.axes[0]} {unit}"
            )
        condition_legend(figure, names)
        figure.suptitle(_title(decoded), x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


def draw_summary(path: Path, scores: Sequence[Measurement]) -> None:
    """Draw the R² of every session, source, run and decoder; markers of the decoders are filled or open.

    Parameters
    ----------
    path
        PNG to write.
    scores
        Scores of one metric, definition, split and lag. A score below −0.5 is drawn at the lower edge with
        its value beside it; one that is not defined is left out.

    Raises
    ------
    DataError
        If there is no score.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    if not scores:
        raise DataError(f"{path}: no scores to draw; decode at least one session first")
    sessions = sorted({score.session for score in scores})
    row_of = {session: row for row, session in enumerate(reversed(sessions))}
    series = sorted({_series(score) for score in scores}, key=_series_order)
    runs = sorted({run for run, _, _ in series if run})
    offsets = np.linspace(0.25, -0.25, len(series)) if len(series) > 1 else np.zeros(1)
    with mpl.rc_context(STYLE):
        height = 1.1 + (0.2 + 0.1 * len(series)) * len(sessions) + 0.17 * len(series)
        figure, grid = new_figure(rows=1, columns=1, size=(6.0, min(max(height, 2.0), TALLEST_INCHES)))
        panel = grid[0, 0]
        for (run, source, decoder), offset in zip(series, offsets, strict=True):
            mine = [s for s in scores if _series(s) == (run, source, decoder) and s.value is not None]
            marker = MARKERS[(runs.index(run) + 1) % len(MARKERS)] if run else MARKERS[0]
            look = described(decoder)
            label = signal_label(source, run, look)
            rows = np.array([row_of[s.session] + offset for s in mine])
            _draw_scores(
                panel,
                mine,
                rows,
                colour=colour_of(source),
                marker=marker,
                label=label,
                filled=look.is_filled,
            )
        panel.set_xlim(min(0.0, _least(scores)) - 0.02, 1.02)
        panel.axvline(0.0, color="0.6", linewidth=0.6, zorder=0)
        if len(sessions) <= MOST_SESSIONS_NAMED:
            panel.set_yticks(list(row_of.values()), list(row_of))
        else:
            panel.set_yticks([])
            panel.set_ylabel(f"{len(sessions)} sessions, by name")
        panel.set_ylim(-0.6, len(sessions) - 0.4)
        panel.grid(axis="x", color="0.9", linewidth=0.5)
        panel.set_axisbelow(True)
        one = scores[0]
        panel.set_xlabel(f"R² of hand velocity ({one.definition}), {one.lag_ms:g} ms after the activity")
        figure.legend(loc="outside lower left")
        figure.suptitle(_summary_title(scores), x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


def _signals(decoded: Decoded) -> tuple[DecodedSignal, ...]:
    if not decoded.signals:
        raise DataError(f"{decoded.decoder.session}: no signal was decoded, so there is nothing to draw")
    return decoded.signals


def _title(decoded: Decoded) -> str:
    decoder = decoded.decoder
    numbers = sorted({signal.score.n_trials for signal in decoded.signals})
    trials = " to ".join(str(n) for n in (numbers[0], numbers[-1])[: len(numbers)])
    run = next((s.score.run for s in decoded.signals if s.score.run), None)
    bins = f", {decoder.decoder.title}" if decoder.decoder.suffix else ""
    return (
        f"{decoder.session}{f', run {run}' if run else ''}{bins}\n{trials} test trials, "
        f"{decoded.signals[0].score.definition}, velocity {decoder.lag_ms:g} ms after the activity"
    )


def _r2_text(score: Measurement, axis: int | None = None) -> str:
    value = score.value if axis is None else score.per_axis[axis]
    return "undefined" if value is None else f"{value:.2f}"


def _draw_traces(
    panel: Any, decoder: SessionDecoder, signal: DecodedSignal, shown: NDArray[np.int64], *, column: int
) -> None:
    n_bins = len(decoder.time_s)
    stride = n_bins + 4
    # The traces are velocities at the lag, so the event of the behaviour is that much earlier in them.
    event = round(-(decoder.time_s[0] + decoder.lag_ms * 1e-3) / decoder.bin_size_s)
    last_bin = signal.first_bin + signal.velocity.shape[1]
    for position, trial in enumerate(shown):
        start = position * stride
        panel.plot(
            start + np.arange(n_bins), decoder.velocity[trial, :, column], color="black", linewidth=0.8
        )
        bins = start + np.arange(signal.first_bin, last_bin)
        panel.plot(
            bins, signal.velocity[trial, :, column], color=colour_of(signal.score.source), linewidth=1.2
        )
        if 0 <= event < n_bins:
            panel.axvline(start + event, color="0.6", linewidth=0.7, linestyle=":", zorder=0)
    panel.set_xticks([])
    panel.spines["bottom"].set_visible(False)
    panel.margins(x=0.01)


def _legend(figure: Any, decoded: Decoded) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415

    sources = [signal.score.source for signal in decoded.signals]
    handles = [Line2D([], [], color="black", label="recorded")]
    handles += [Line2D([], [], color=colour_of(source), label=f"decoded from {source}") for source in sources]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))


def _panels_of(signals: Sequence[DecodedSignal], signal: DecodedSignal) -> tuple[bool, ...]:
    """Return the panels of a signal: recorded paths before the first signal of a window, then decoded."""
    window = (signal.first_bin, signal.velocity.shape[1])
    first = next(s for s in signals if (s.first_bin, s.velocity.shape[1]) == window)
    return (True, False) if first is signal else (False,)


def _path_title(decoder: SessionDecoder, signal: DecodedSignal, *, recorded: bool, number: int) -> str:
    last = signal.first_bin + signal.velocity.shape[1] - 1
    behaviour_s = decoder.time_s[[signal.first_bin, last]] + decoder.lag_ms * 1e-3
    window = f"{behaviour_s[0]:.2f} to {behaviour_s[1] + decoder.bin_size_s:.2f} s".replace("-", "−")
    if recorded:
        return f"recorded, {number} trials\n{window}"
    return f"{signal.score.source}, {number} trials\nR² {_r2_text(signal.score)}"


def _draw_paths(
    panel: Any, decoder: SessionDecoder, signal: DecodedSignal, *, recorded: bool, colours: list[Any]
) -> int:
    window = slice(signal.first_bin, signal.first_bin + signal.velocity.shape[1])
    true = decoder.velocity[:, window]
    whole = np.flatnonzero(np.isfinite(true).all(axis=(1, 2)) & np.isfinite(signal.velocity).all(axis=(1, 2)))
    velocity = true if recorded else signal.velocity
    steps = velocity * decoder.bin_size_s
    paths = np.concatenate([np.zeros_like(steps[:, :1]), np.cumsum(steps, axis=1)], axis=1)
    for trial in whole:
        line = paths[trial]
        across = decoder.bin_size_s * np.arange(len(line)) if line.shape[1] == 1 else line[:, 0]
        panel.plot(
            across,
            line[:, -1] if line.shape[1] == 1 else line[:, 1],
            color=colours[trial],
            linewidth=0.7,
            alpha=0.8,
        )
    if decoder.velocity.shape[2] > 1:
        panel.set_aspect("equal", adjustable="datalim")
    return len(whole)


def signal_label(source: str, run: str | None, decoder: DecoderDescription) -> str:
    """Return what a legend calls a signal.

    Examples
    --------
    >>> signal_label("forecast", "mdssm-1", described("wiener"))
    'forecast of mdssm-1, wiener'
    >>> signal_label("rates", None, described("ridge"))
    'rates'
    """
    words = f"{source} of {run}" if run else source
    return f"{words}{decoder.tag}"


def _series(score: Measurement) -> tuple[str, str, str]:
    return score.run or "", score.source, score.decoder or ""


def _series_order(series: tuple[str, str, str]) -> tuple[str, int, str]:
    names = list(COLOURS)
    return series[0], names.index(series[1]) if series[1] in names else len(names), series[2]


def _least(scores: Sequence[Measurement]) -> float:
    return max(min((s.value for s in scores if s.value is not None), default=0.0), LEAST_R2_SHOWN)


def _draw_scores(
    panel: Any,
    scores: Sequence[Measurement],
    rows: FloatArray,
    *,
    colour: str,
    marker: str,
    label: str,
    filled: bool,
) -> None:
    values = np.array([s.value for s in scores], dtype=np.float64)
    drawn = np.maximum(values, LEAST_R2_SHOWN)
    style = {"marker": marker, "markersize": 4, "markerfacecolor": colour if filled else "white"}
    panel.plot(drawn, rows, linestyle="none", color=colour, label=label, **style)
    for value, row in zip(values, rows, strict=True):
        if value < LEAST_R2_SHOWN:
            panel.annotate(
                f"{value:.2f}".replace("-", "−"),
                (LEAST_R2_SHOWN, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=6,
                color=colour,
            )


def _summary_title(scores: Sequence[Measurement]) -> str:
    numbers = [score.n_trials for score in scores]
    trials = f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
    n_sessions = len({score.session for score in scores})
    undefined = sum(score.value is None for score in scores)
    note = f"; {undefined} scores undefined and left out" if undefined else ""
    plural = "session" if n_sessions == 1 else "sessions"
    return f"{n_sessions} {plural}, {trials} {scores[0].split} trials each, {scores[0].definition}{note}"
