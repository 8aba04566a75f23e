"""Peri-event time histograms: the mean rate of some units in each condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.condition_colours import (
    MOST_CONDITIONS_NAMED,
    condition_colours,
    condition_handles,
)
from nwb_latents.pipeline.evaluation.figures.marks import band, from_to
from nwb_latents.pipeline.evaluation.figures.session_words import (
    event_words,
    rows_shown,
    trial_words,
    unit_title,
    unit_words,
    units_shown,
)
from nwb_latents.pipeline.evaluation.figures.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.session import Session

    FloatArray = NDArray[np.float64]

MOST_COLUMNS = 3


def psth_figure(session: Session, *, units: Sequence[int] = (), n_units: int = 6, split: str = "all") -> Any:
    """Draw the mean smoothed rate of each condition over the trial, with 95 % intervals over trials.

    Parameters
    ----------
    session
        With rates.
    units, n_units, split
        As in `raster.raster_figure`.

    Raises
    ------
    SettingsError
        If there is no such unit or split.
    DataError
        If no trial is in the split.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, fitting, legend_below, page, settled  # noqa: PLC0415

    rows, columns = rows_shown(session, split), units_shown(session, units, n_units)
    condition = session.condition[rows].astype(str)
    palette, _ = condition_colours(condition, session.trials["target_dir"].values[rows])
    rates = session.trials["rates"].isel(unit=columns).values[rows].astype(np.float64)
    n_of = {name: int((condition == name).sum()) for name in palette}
    n_columns = min(MOST_COLUMNS, len(columns))
    n_rows = -(-len(columns) // n_columns)
    has_bands = len(palette) <= MOST_CONDITIONS_NAMED
    with mpl.rc_context(STYLE):
        figure, grid = page(
            width="one" if n_columns == 1 else "two",
            rows=n_rows,
            columns=n_columns,
            row_mm=46.0,
            sharex=True,
            sharey="row",
        )
        panels = grid.ravel()
        centre_s = session.time_s + 0.5 * session.bin_size_s
        for number, panel in enumerate(panels[: len(columns)]):
            for name, colour in palette.items():
                mean, half = mean_and_half_width(rates[condition == name, :, number])
                panel.plot(centre_s, mean, color=colour)
                if has_bands:
                    band(panel, centre_s, mean - half, mean + half, color=colour)
            panel.axvline(0.0, color="0.5", linewidth=0.7, linestyle=":", zorder=0)
            panel.set_title(fitting(panel, unit_title(session, int(columns[number]))), loc="left")
            panel.margins(x=0.0)
            if number + n_columns >= len(columns):
                panel.set_xlabel(fitting(panel, f"time from {event_words(session)} (s)"))
                panel.tick_params(labelbottom=True)
        for panel in panels[len(columns) :]:
            panel.set_visible(False)
        for row in grid:
            row[0].set_ylabel("firing rate (Hz)")
            row[0].set_ylim(bottom=min(0.0, row[0].get_ylim()[0]))
        handles = condition_handles(palette, condition)
        if has_bands:
            for handle in handles:
                name = "" if handle.get_label() == "no condition" else handle.get_label()
                handle.set_label(f"{handle.get_label()} (n = {n_of[name]})")
        legend_below(figure, handles, title="condition (n: trials)" if len(handles) > 1 else "")
        recipe = session.recipe
        sigma = f"smoothed ({recipe.smooth_kernel} kernel of {1e3 * recipe.smooth_sigma_s:g} ms)"
        bands = "bands: 95 % interval of the mean over trials, none of fewer than 3" if has_bands else (
            f"no bands: {len(palette)} conditions of {from_to(list(n_of.values()))} trials"
        )  # fmt: skip
        caption(
            figure,
            f"{session.name}: {trial_words(session, rows, split)}, {unit_words(session, columns, units)}",
            f"Mean rates of each condition, {sigma}; {bands}; dotted: {event_words(session)}",
        )
        return settled(figure)


def mean_and_half_width(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean over trials and half the width of its 95 % interval (Student's t).

    Parameters
    ----------
    values
        Shape ``(trial, …)``; NaN counts for nothing.

    Returns
    -------
    mean, half
        Without the first dimension; `half` is NaN where fewer than three trials are known.

    Examples
    --------
    >>> mean, half = mean_and_half_width(np.array([[1.0], [2.0], [3.0]]))
    >>> mean.tolist(), round(float(half[0]), 2)
    ([2.0], 2.48)
    """
    from scipy.stats import t as student  # noqa: PLC0415

    n = np.isfinite(values).sum(axis=0)
    known = np.maximum(n, 1)
    mean = np.where(n > 0, np.nansum(values, axis=0) / known, np.nan)
    squares = np.nansum(np.square(values - mean), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(squares / np.maximum(n - 1, 1) / known)
        half = np.where(n > 2, student.ppf(0.975, np.maximum(n - 1, 1)) * error, np.nan)
    return mean, half
