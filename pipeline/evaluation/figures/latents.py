"""Trajectories of a run's latent states, in the plane and over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.condition_colours import (
    MOST_CONDITIONS_NAMED,
    condition_colours,
    condition_handles,
)
from nwb_latents.pipeline.evaluation.figures.marks import band
from nwb_latents.pipeline.evaluation.figures.paths import square
from nwb_latents.pipeline.evaluation.figures.psth import mean_and_half_width
from nwb_latents.pipeline.evaluation.figures.session_words import event_words, rows_shown, trial_words
from nwb_latents.pipeline.evaluation.figures.style import STYLE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.stores.session import Session

    FloatArray = NDArray[np.float64]


LEAST_SHARE = 0.01
"""A third component with less of the variance is not drawn."""


def latents_figure(session: Session, states: ArrayLike, *, run: str, split: str = "all") -> Any:
    """Draw the latent states of all trials of a split in the principal components of their condition means.

    Above, trajectories in planes of two components, thin for each trial, thick for the mean of each
    condition; below, the components over time, with 95 % intervals of the mean over trials.

    Parameters
    ----------
    session
        The session.
    states
        Latent states of these trials, a.u. Shape ``(trial, time, D)``, finite.
    run
        Name of the run they are of.
    split
        Trials drawn: ``"train"``, ``"val"``, ``"test"`` or ``"all"``.

    Raises
    ------
    DataError
        If no trial is in the split.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, fitting, legend_below, page, settled  # noqa: PLC0415

    rows = rows_shown(session, split)
    condition = session.condition[rows].astype(str)
    palette, colours = condition_colours(condition, session.trials["target_dir"].values[rows])
    scores, shares = _components(np.asarray(states, dtype=np.float64)[rows], condition)
    n = scores.shape[-1]
    planes = [(0, 1), (0, 2), (1, 2)][: {1: 0, 2: 1}.get(n, 3)]
    names = [f"PC {i + 1} ({100 * share:.0f} %)" for i, share in enumerate(shares)]
    time_s = session.time_s + 0.5 * session.bin_size_s
    zero = int(np.argmin(np.abs(time_s)))
    with mpl.rc_context(STYLE):
        width: Any = "two" if n > 1 else "one"
        figure, grid = page(width=width, rows=2 if planes else 1, columns=max(n, 1), row_mm=52.0)
        for panel, (x, y) in zip(grid[0], planes, strict=False):
            for trial, colour in zip(scores, colours, strict=True):
                panel.plot(trial[:, x], trial[:, y], color=colour, linewidth=0.35, alpha=0.35)
            for name, colour in palette.items():
                mean = scores[condition == name].mean(axis=0)
                panel.plot(mean[:, x], mean[:, y], color="white", linewidth=2.2, zorder=3)
                panel.plot(mean[:, x], mean[:, y], color=colour, linewidth=1.4, zorder=4)
                panel.plot(mean[zero, x], mean[zero, y], "o", color=colour, markersize=3, zorder=5)
            panel.set_aspect("equal", adjustable="box")
            panel.set_xlabel(f"{names[x]} (a.u.)")
            panel.set_ylabel(f"{names[y]} (a.u.)")
        if planes:
            _same_scale(grid[0][: len(planes)])
        for panel in grid[0][len(planes) :] if planes else ():
            panel.set_visible(False)
        has_bands = len(palette) <= MOST_CONDITIONS_NAMED
        for number, panel in enumerate(grid[-1]):
            for name, colour in palette.items():
                mean, half = mean_and_half_width(scores[condition == name, :, number])
                panel.plot(time_s, mean, color=colour)
                if has_bands:
                    band(panel, time_s, mean - half, mean + half, color=colour)
            panel.axvline(0.0, color="0.5", linewidth=0.7, linestyle=":", zorder=0)
            panel.margins(x=0.0)
            panel.set_ylabel(f"{names[number]} (a.u.)")
            panel.set_xlabel(fitting(panel, f"time from {event_words(session)} (s)"))
        limits = np.array([panel.get_ylim() for panel in grid[-1]])
        for panel in grid[-1]:
            panel.set_ylim(limits[:, 0].min(), limits[:, 1].max())
        handles = condition_handles(palette, condition)
        legend_below(figure, handles, title="condition" if len(handles) > 1 else "")
        bands = "; bands: 95 % interval of the mean over trials, none of fewer than 3" if has_bands else ""
        caption(
            figure,
            f"{session.name}, run {run}: latent states of {trial_words(session, rows, split)}",
            f"First {n} principal components of the condition means, of {np.shape(states)[-1]} latent "
            f"dimensions (share of the variance of all trials); thin: trials, thick: means; dots, dotted: "
            f"{event_words(session)}{bands}",
        )
        return settled(figure)


def _components(states: FloatArray, condition: NDArray[np.str_]) -> tuple[FloatArray, FloatArray]:
    """Return up to three principal components of the condition means, and their shares of the variance."""
    centre = states.mean(axis=(0, 1))
    means = np.concatenate([states[condition == name].mean(axis=0) for name in np.unique(condition)]) - centre
    basis = np.linalg.svd(means, full_matrices=False)[2][: min(3, states.shape[-1])]
    # The largest weight of each is positive, so that the same states give the same picture.
    signs = np.sign(basis[np.arange(len(basis)), np.abs(basis).argmax(axis=1)])
    scores = (states - centre) @ (basis * signs[:, None]).T
    total = np.square(states - centre).sum()
    shares = np.square(scores).sum(axis=(0, 1)) / total if total else np.zeros(len(basis))
    n = max(min(2, len(shares)), int((shares >= LEAST_SHARE).sum()))
    return scores[..., :n], shares[:n]


def _same_scale(panels: Any) -> None:
    """Give planes of different components the same scale, each around what it shows."""
    spans = [(panel.get_xlim(), panel.get_ylim()) for panel in panels]
    half = max(max(x[1] - x[0], y[1] - y[0]) for x, y in spans) / 2
    for panel, (x, y) in zip(panels, spans, strict=True):
        square([panel])
        panel.set_xlim(sum(x) / 2 - half, sum(x) / 2 + half)
        panel.set_ylim(sum(y) / 2 - half, sum(y) / 2 + half)
