"""R² against the lag between activity and velocity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.decoder import described
from nwb_latents.pipeline.evaluation.decoding.lag_scan import TEST_METRIC
from nwb_latents.pipeline.evaluation.figures.marks import from_to, mark_beyond, plain
from nwb_latents.pipeline.evaluation.figures.source_looks import LEAST_R2_SHOWN, colour_of, signal_label
from nwb_latents.pipeline.evaluation.figures.style import MARKERS, STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.evaluation.decoding.lag_scan import LagScan
    from nwb_latents.schemas.measurement import Measurement

MOST_TICKS = 20


def lag_figure(scans: Sequence[LagScan], scores: Sequence[Measurement]) -> Any:
    """Draw R² against lag: cross-validated on the training trials, and of every signal of the test trials.

    Parameters
    ----------
    scans
        Of one session, one for each decoder. The lag chosen on the training trials is marked.
    scores
        What `LagScan.decode` gave for the test trials of that session.

    Raises
    ------
    DataError
        If there is no scan.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, legend_below, page, settled  # noqa: PLC0415

    if not scans:
        raise DataError("No lags were compared, so there is nothing to draw; set lag_scan_ms.")
    mine = [s for s in scores if s.name == TEST_METRIC and s.session == scans[0].session]
    lines: list[tuple[list[float], list[float], dict[str, Any]]] = []
    for scan in scans:
        label = f"rates, cross-validated on training trials{scan.decoder.tag}"
        look = {"color": "black", "linestyle": scan.decoder.dash, "marker": ".", "label": label}
        lines.append((list(scan.lags_ms), list(scan.cv_r2), look))
    lines += _of_test_trials(mine)
    with mpl.rc_context(STYLE):
        figure, grid = page(width="two", rows=1, columns=1, row_mm=62.0)
        panel = grid[0, 0]
        known = [value for _, values, _ in lines for value in values if math.isfinite(value)]
        panel.set_ylim(max(min([*known, 0.0]), LEAST_R2_SHOWN) - 0.02, max([*known, 0.5]) + 0.05)
        for lags, values, look in lines:
            inside = np.where(np.array(values) >= panel.get_ylim()[0], values, np.nan)
            panel.plot(lags, inside, **look)
            mark_beyond(panel, lags, values, color=look["color"])
        for scan in scans:
            panel.axvline(scan.best_lag_ms, color="0.6", linewidth=0.7, linestyle=scan.decoder.dash, zorder=0)
        if len(scans[0].lags_ms) <= MOST_TICKS:
            panel.set_xticks(scans[0].lags_ms)
        panel.axhline(0.0, color="0.6", linewidth=0.6, zorder=0)
        panel.set_xlabel("velocity after the activity (ms)")
        panel.set_ylabel("R² of hand velocity")
        legend_below(figure, [mpl.lines.Line2D([], [], **{"markersize": 3, **look}) for _, _, look in lines])
        caption(figure, *_title(scans, mine))
        return settled(figure)


def _of_test_trials(mine: Sequence[Measurement]) -> list[tuple[list[float], list[float], dict[str, Any]]]:
    runs = sorted({score.run for score in mine if score.run})
    lines = []
    for run, source, decoder in dict.fromkeys((s.run, s.source, s.decoder) for s in mine):
        line = [s for s in mine if (s.run, s.source, s.decoder) == (run, source, decoder)]
        look = {
            "color": colour_of(source),
            "linestyle": described(decoder or "").dash,
            "marker": MARKERS[(runs.index(run) + 1) % len(MARKERS)] if run else MARKERS[0],
            "markersize": 3,
            "label": signal_label(source, run, described(decoder or "")),
        }
        values = [math.nan if s.value is None else s.value for s in line]
        lines.append(([s.lag_ms or 0.0 for s in line], values, look))
    return lines


def _title(scans: Sequence[LagScan], scores: Sequence[Measurement]) -> tuple[str, ...]:
    best = "; ".join(f"{scan.best_lag_ms:g} ms{scan.decoder.tag}" for scan in scans)
    tested = f"{from_to([score.n_trials for score in scores])} test" if scores else ""
    trials = " and ".join(word for word in (f"{scans[0].n_trials} training", tested) if word)
    return (
        scans[0].session,
        f"best lag on training trials: {best} (vertical line)",
        f"{trials} trials, r2_uniform; arrows: below {plain(LEAST_R2_SHOWN, 1)}",
    )
