"""Hand paths of the test trials, recorded and decoded, in the colour of their condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.condition_colours import condition_colours, condition_handles
from nwb_latents.pipeline.evaluation.figures.source_looks import source_words
from nwb_latents.pipeline.evaluation.figures.style import STYLE
from nwb_latents.pipeline.evaluation.figures.velocity import r2_text, signals_of, title_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.session_decoder import (
        Decoded,
        DecodedSignal,
        SessionDecoder,
    )

MOST_COLUMNS = 4


def paths_figure(decoded: Decoded) -> Any:
    """Draw hand paths of all test trials, recorded and decoded, all panels on the same scale.

    Paths are the running sum of velocity over the bins scored: displacement from the first of them. Trials
    with a bin that was not recorded or not decoded are left out, and each panel says how many are drawn. With
    one axis, displacement is drawn against time; of three, the first two are drawn.

    Parameters
    ----------
    decoded
        Signals of one session.

    Raises
    ------
    DataError
        If there is no signal.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, fitting, legend_below, page, settled  # noqa: PLC0415

    decoder, signals = decoded.decoder, signals_of(decoded)
    names, colours = condition_colours(decoder.condition, decoder.target_dir)
    pairs = [(signal, recorded) for signal in signals for recorded in _panels_of(signals, signal)]
    rows = -(-len(pairs) // MOST_COLUMNS)
    columns = -(-len(pairs) // rows)
    drawn: set[int] = set()
    with mpl.rc_context(STYLE):
        figure, grid = page(
            width="two" if columns > 2 else "one",
            rows=rows,
            columns=columns,
            row_mm=(178.0 if columns > 2 else 88.0) / columns + 4.0,
            sharex=True,
            sharey=True,
        )
        panels = grid.ravel()
        is_plane = len(decoder.axes) > 1
        for panel, (signal, recorded) in zip(panels, pairs, strict=False):
            whole = _draw_paths(panel, decoder, signal, recorded=recorded, colours=colours)
            drawn |= set(whole.tolist())
            title = _path_title(decoder, signal, recorded=recorded, number=len(whole))
            panel.set_title(fitting(panel, title), loc="left")
            if is_plane:
                panel.set_aspect("equal", adjustable="box")
        for panel in panels[len(pairs) :]:
            panel.set_visible(False)
        _name_axes(grid, decoder, n_panels=len(pairs))
        if is_plane:
            square(panels[: len(pairs)])
        handles = condition_handles(names, [str(decoder.condition[trial]) for trial in drawn])
        legend_below(figure, handles, title="condition" if len(handles) > 1 else "")
        left_out = len(decoder.condition) - len(drawn)
        missing = f"; {left_out} of {len(decoder.condition)} left out: a bin is not known" if left_out else ""
        also = f"; of {len(decoder.axes)} axes the first two" if len(decoder.axes) > 2 else ""
        caption(figure, *title_of(decoded), f"Paths: displacement from the first bin scored{missing}{also}")
        return settled(figure)


def square(panels: Sequence[Any]) -> None:
    """Give panels that share their axes limits that are equally wide and high, around what is drawn."""
    first = panels[0]
    (left, right), (low, high) = first.get_xlim(), first.get_ylim()
    half = max(right - left, high - low) / 2
    across, up = (left + right) / 2, (low + high) / 2
    for panel in panels:
        panel.set_xlim(across - half, across + half)
        panel.set_ylim(up - half, up + half)


def _name_axes(grid: Any, decoder: SessionDecoder, *, n_panels: int) -> None:
    unit, one = f"displacement ({decoder.position_unit})", len(decoder.axes) == 1
    columns = grid.shape[1]
    for number, panel in enumerate(grid.ravel()[:n_panels]):
        if number % columns == 0:
            panel.set_ylabel(unit if one else f"{decoder.axes[1]} {unit}")
        if number + columns >= n_panels:
            panel.set_xlabel("time from first bin (s)" if one else f"{decoder.axes[0]} {unit}")
            panel.tick_params(labelbottom=True)


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
    return f"{source_words(signal.score.source)}, {number} trials\nR² {r2_text(signal.score)}"


def _draw_paths(
    panel: Any, decoder: SessionDecoder, signal: DecodedSignal, *, recorded: bool, colours: list[Any]
) -> NDArray[np.int64]:
    """Draw the paths of trials that are known throughout; return these trials."""
    window = slice(signal.first_bin, signal.first_bin + signal.velocity.shape[1])
    true = decoder.velocity[:, window]
    whole = np.flatnonzero(np.isfinite(true).all(axis=(1, 2)) & np.isfinite(signal.velocity).all(axis=(1, 2)))
    velocity = true if recorded else signal.velocity
    steps = velocity * decoder.bin_size_s
    paths = np.concatenate([np.zeros_like(steps[:, :1]), np.cumsum(steps, axis=1)], axis=1)
    for trial in whole:
        line = paths[trial]
        is_line = line.shape[1] == 1
        across = decoder.bin_size_s * np.arange(len(line)) if is_line else line[:, 0]
        up = line[:, 0 if is_line else 1]
        panel.plot(across, up, color=colours[trial], linewidth=0.7, alpha=0.8)
    return whole
