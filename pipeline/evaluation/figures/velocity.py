"""Pictures of decoded velocity: traces of some test trials, hand paths of all, and one summary of all scores.

Recorded velocity is black, decoded velocity has the colour of its source; every picture says how many trials
and which R².
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.marks import from_to, plain
from nwb_latents.pipeline.evaluation.figures.saving import save_figure
from nwb_latents.pipeline.evaluation.figures.source_looks import colour_of, source_words
from nwb_latents.pipeline.evaluation.figures.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.session_decoder import (
        Decoded,
        DecodedSignal,
        SessionDecoder,
    )
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.pictures import PictureSettings


def draw_velocity(path: Path, decoded: Decoded, *, pictures: PictureSettings | None = None) -> None:
    """Write the picture of `velocity_figure`, as `saving.save_figure` does."""
    save_figure(velocity_figure(decoded), path, pictures)


def draw_trajectories(path: Path, decoded: Decoded, *, pictures: PictureSettings | None = None) -> None:
    """Write the picture of `paths.paths_figure`, as `saving.save_figure` does."""
    from nwb_latents.pipeline.evaluation.figures.paths import paths_figure  # noqa: PLC0415

    save_figure(paths_figure(decoded), path, pictures)


def draw_summary(
    path: Path,
    scores: Sequence[Measurement],
    *,
    left_out: int = 0,
    also: Sequence[str] = (),
    pictures: PictureSettings | None = None,
) -> None:
    """Write the picture of `summary.summary_figure`, as `saving.save_figure` does."""
    from nwb_latents.pipeline.evaluation.figures.summary import summary_figure  # noqa: PLC0415

    save_figure(summary_figure(scores, left_out=left_out, also=also), path, pictures)


def velocity_figure(decoded: Decoded, *, n_trials: int = 6) -> Any:
    """Draw decoded on recorded velocity of some test trials: a row for each source, a column for each axis.

    Parameters
    ----------
    decoded
        Signals of one session.
    n_trials
        Test trials drawn, spread evenly over the test trials; the picture says how many of how many.

    Raises
    ------
    DataError
        If there is no signal.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, fitting, legend_below, page, settled  # noqa: PLC0415

    decoder, signals = decoded.decoder, signals_of(decoded)
    n_test, n_bins, n_axes = decoder.velocity.shape
    shown = np.unique(np.linspace(0, n_test - 1, min(n_trials, n_test)).round().astype(int))
    with mpl.rc_context(STYLE):
        figure, grid = page(
            width="two", rows=len(signals), columns=n_axes, row_mm=30.0, sharey=True, sharex=True
        )
        for row, signal in enumerate(signals):
            for column, axis in enumerate(decoder.axes):
                panel = grid[row, column]
                _draw_traces(panel, decoder, signal, shown, column=column)
                title = f"{source_words(signal.score.source)}, R² of {axis} {r2_text(signal.score, column)}"
                panel.set_title(fitting(panel, title), loc="left")
                if column == 0:
                    panel.set_ylabel(f"velocity ({decoder.velocity_unit})")
        span = n_bins * decoder.bin_size_s
        for column in range(n_axes):
            grid[-1, column].set_xlabel(f"trials of {span:g} s side by side")
        legend_below(figure, _handles(decoded))
        caption(figure, *title_of(decoded), _which(shown, n_test))
        return settled(figure)


def signals_of(decoded: Decoded) -> tuple[DecodedSignal, ...]:
    """Return the signals of a session.

    Raises
    ------
    DataError
        If there is none.
    """
    if not decoded.signals:
        raise DataError(
            f"{decoded.decoder.session}: no signal was decoded, so there is nothing to draw. Decode at least "
            "one of the sources."
        )
    return decoded.signals


def title_of(decoded: Decoded) -> tuple[str, str]:
    """Return what every picture of decoded signals says: session, run, decoder, trials, R², lag."""
    decoder = decoded.decoder
    trials = from_to([signal.score.n_trials for signal in decoded.signals])
    run = next((s.score.run for s in decoded.signals if s.score.run), None)
    bins = f", {decoder.decoder.title}" if decoder.decoder.suffix else ""
    return (
        f"{decoder.session}{f', run {run}' if run else ''}{bins}",
        (
            f"R² of {trials} test trials ({decoded.signals[0].score.definition}), velocity "
            f"{decoder.lag_ms:g} ms after the activity"
        ),
    )


def r2_text(score: Measurement, axis: int | None = None) -> str:
    """Return the R² of a signal, of one axis or of all."""
    value = score.value if axis is None else score.per_axis[axis]
    return "undefined" if value is None else plain(value)


def _which(shown: NDArray[np.int64], n_test: int) -> str:
    chosen = "all" if len(shown) == n_test else f"{len(shown)}, evenly spaced over the session,"
    return f"Traces: {chosen} of {n_test} test trials; dotted lines: the event the trials are cut at"


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
        colour = colour_of(signal.score.source)
        if signal.half_width is not None:
            guess, half = signal.velocity[trial, :, column], signal.half_width[:, column]
            panel.fill_between(bins, guess - half, guess + half, color=colour, alpha=0.2, linewidth=0)
        panel.plot(bins, signal.velocity[trial, :, column], color=colour, linewidth=1.2)
        if 0 <= event < n_bins:
            panel.axvline(start + event, color="0.6", linewidth=0.7, linestyle=":", zorder=0)
    panel.set_xticks([])
    panel.spines["bottom"].set_visible(False)
    panel.margins(x=0.01)


def _handles(decoded: Decoded) -> list[Any]:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    sources = list(dict.fromkeys(signal.score.source for signal in decoded.signals))
    handles: list[Any] = [Line2D([], [], color="black", label="recorded velocity")]
    handles += [
        Line2D([], [], color=colour_of(source), label=f"from {source_words(source)}") for source in sources
    ]
    if any(signal.half_width is not None for signal in decoded.signals):
        handles.append(Patch(color="0.8", label="band of 90 % from validation trials"))
    return handles
