"""The quality of a session on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.histograms import draw_counts, draw_histogram
from nwb_latents.pipeline.evaluation.figures.marks import plain
from nwb_latents.pipeline.evaluation.figures.style import COLOURS, STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.quality import SessionQuality

MOST_UNITS_TICKED = 40


def session_quality_figure(session: Session) -> Any:
    """Draw what ingest measured of a session: units, rates over time, trials, what was left out, flags.

    Parameters
    ----------
    session
        Of a store that says its quality.

    Raises
    ------
    DataError
        If the store says none.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, page, settled  # noqa: PLC0415

    quality = session.attributes.quality
    if quality is None:
        raise DataError(
            f"{session.name}: the store says nothing of its quality (attribute quality), as stores of early "
            "versions and imported ones. Ingest the recording again with --force."
        )
    with mpl.rc_context(STYLE):
        figure, grid = page(width="two", rows=3, columns=2, row_mm=46.0)
        (units, rates), (reaction, peak), (dropped, told) = grid
        _draw_units(units, session)
        _draw_rates(rates, session, quality)
        draw_histogram(reaction, session.trials["reaction_time"].values, name="reaction time", unit="s")
        draw_histogram(
            peak, session.trials["peak_speed"].values, name="peak speed", unit=session.velocity_unit
        )
        _draw_dropped(dropped, quality)
        _tell(told, session, quality)
        flags = ", ".join(flag.replace("_", " ") for flag in quality.flags) or "none"
        caption(
            figure,
            f"{session.name}, task {session.attributes.task}: all {session.n_trials} trials, all "
            f"{session.n_units} units; flags: {flags}",
            "Histograms: dot and line, median and quartiles of the trials; rates: every trial (grey) and "
            "the mean of each half of the session (blue)",
        )
        return settled(figure)


def _draw_units(panel: Any, session: Session) -> None:
    rates = np.sort(session.trials["mean_rate"].values.astype(np.float64))[::-1]
    panel.bar(np.arange(1, len(rates) + 1), rates, color="0.65", width=0.85)
    panel.set_xlabel("unit, by rate")
    panel.set_ylabel("mean rate (Hz)")
    panel.set_title(f"n = {len(rates)} units, median {np.median(rates):.1f} Hz", loc="left")


def _draw_rates(panel: Any, session: Session, quality: SessionQuality) -> None:
    rates = session.trials["rates"].values.mean(axis=(1, 2), dtype=np.float64)
    number = np.arange(1, len(rates) + 1)
    panel.plot(number, rates, ".", color="0.6", markersize=2.5)
    half = len(rates) // 2
    for part in (slice(0, half), slice(half, None)):
        if len(rates[part]):
            mean, error = rates[part].mean(), 1.96 * rates[part].std() / np.sqrt(len(rates[part]))
            ends = [number[part][0], number[part][-1]]
            panel.fill_between(ends, mean - error, mean + error, color=COLOURS[0], alpha=0.25, linewidth=0)
            panel.plot(ends, [mean, mean], color=COLOURS[0], linewidth=1.4)
    panel.set_xlabel("trial, in order of time")
    panel.set_ylabel("rate, mean over units (Hz)")
    drift = "not defined" if quality.rates.drift is None else plain(quality.rates.drift)
    panel.set_title(f"drift {drift}; shaded: 95 % interval of each mean", loc="left")


def _draw_dropped(panel: Any, quality: SessionQuality) -> None:
    counts: dict[str, int] = {
        f"{what}: {reason}": n
        for what, found in (("trials", quality.dropped_trials), ("units", quality.dropped_units))
        for reason, n in found.items()
        if n
    }
    n_trials, n_units = _total(quality.dropped_trials), _total(quality.dropped_units)
    panel.set_title(f"left out: {n_trials} trials, {n_units} units", loc="left")
    if counts:
        draw_counts(panel, counts, label="number left out")
    else:
        panel.set_axis_off()


def _total(counts: Mapping[str, int]) -> int:
    return sum(counts.values())


def _tell(panel: Any, session: Session, quality: SessionQuality) -> None:
    limits = session.recipe.quality
    rates, outliers = quality.rates, quality.outliers
    rows = [
        ("decodability (R², cross-validated)", quality.decodability, f"at least {limits.min_decodability:g}"),
        ("drift of the mean rate", rates.drift, f"within ±{limits.max_drift:g}"),
        ("variation of the mean rate (cv)", rates.cv, f"at most {limits.max_cv:g}"),
        ("change of a unit's rate, median", rates.unit_drift, ""),
        ("correlation of rates between halves", rates.correlation, ""),
        ("share of outlying time", outliers.share, f"at most {limits.max_outlier_share:g}"),
    ]
    panel.set_axis_off()
    panel.set_title("measured, and where a flag is raised", loc="left")
    for number, (name, value, limit) in enumerate(rows):
        height = 0.92 - 0.16 * number
        look = {"transform": panel.transAxes, "fontsize": STYLE["legend.fontsize"], "va": "top"}
        panel.text(0.0, height, name, **look)
        panel.text(0.72, height, "not defined" if value is None else plain(value), ha="right", **look)
        panel.text(0.76, height, limit, color="0.35", **look)
