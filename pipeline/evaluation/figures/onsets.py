"""How good the movement onsets of a session are: how they were found, and what the hand does around them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.histograms import draw_counts, draw_histogram
from nwb_latents.pipeline.evaluation.figures.marks import band
from nwb_latents.pipeline.evaluation.figures.session_words import event_words
from nwb_latents.pipeline.evaluation.figures.style import COLOURS, MARKERS, STYLE

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.session import Session

    FloatArray = NDArray[np.float64]


def onsets_figure(session: Session, events: xr.Dataset | None = None) -> Any:
    """Draw how the onsets of a session were found, the speed around them, reaction times and peak speeds.

    Parameters
    ----------
    session
        With the velocity of its trials; where none is recorded, that panel says so.
    events
        Group ``events`` of the store: what could have become a trial. None: of the trials kept alone.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, page, settled  # noqa: PLC0415

    trials = session.trials
    kinds = trials["onset_quality"].values.astype(str)
    with mpl.rc_context(STYLE):
        figure, grid = page(width="two", rows=2, columns=2, row_mm=52.0)
        kept, speed, reaction, peaks = grid.ravel()
        draw_counts(kept, Counter(kinds.tolist()), label="trials", colour=COLOURS[0])
        kept.set_title("how the onset was found, trials kept", loc="left")
        _draw_speed(speed, session)
        draw_histogram(reaction, trials["reaction_time"].values, name="reaction time", unit="s")
        _draw_peaks(peaks, session, kinds)
        lost = _lost(events)
        caption(
            figure,
            (
                f"{session.name}: movement onsets of all {session.n_trials} trials, cut at "
                f"{event_words(session)}"
            ),
            "Speed: every trial, median (black) and quartiles (shaded); histogram: dot and line, median and "
            f"quartiles{lost}",
        )
        return settled(figure)


def _draw_speed(panel: Any, session: Session) -> None:
    velocity = session.trials["velocity"].values.astype(np.float64)
    speed = np.sqrt(np.square(velocity).sum(axis=-1))
    whole = np.isfinite(speed).any(axis=1)
    time_s = session.time_s + 0.5 * session.bin_size_s
    panel.set_xlabel(f"time from {event_words(session)} (s)")
    panel.set_ylabel(f"hand speed ({session.velocity_unit})")
    panel.set_title(f"n = {int(whole.sum())} trials with a known speed", loc="left")
    if not whole.any():
        return
    for line in speed[whole]:
        panel.plot(time_s, line, color="0.6", linewidth=0.3, alpha=0.5)
    known = np.isfinite(speed).any(axis=0)
    low, middle, high = np.full((3, len(time_s)), np.nan)
    low[known], middle[known], high[known] = np.nanquantile(speed[:, known], [0.25, 0.5, 0.75], axis=0)
    band(panel, time_s, low, high, color=COLOURS[0], alpha=0.35, zorder=3)
    panel.plot(time_s, middle, color="black", linewidth=1.2, zorder=4)
    panel.axvline(0.0, color="0.4", linewidth=0.7, linestyle=":")
    panel.set_ylim(bottom=0)
    panel.margins(x=0.0)


def _draw_peaks(panel: Any, session: Session, kinds: NDArray[np.str_]) -> None:
    x = session.trials["reaction_time"].values.astype(np.float64)
    y = session.trials["peak_speed"].values.astype(np.float64)
    known = np.isfinite(x) & np.isfinite(y)
    names = sorted(set(kinds[known].tolist()))
    for number, name in enumerate(names):
        mine = known & (kinds == name)
        panel.plot(
            x[mine],
            y[mine],
            MARKERS[number % len(MARKERS)],
            color=COLOURS[number % len(COLOURS)],
            markersize=2.2,
            alpha=0.8,
            label=f"{name.replace('_', ' ')} (n = {int(mine.sum())})",
        )
    panel.set_xlabel("reaction time (s)")
    panel.set_ylabel(f"peak speed ({session.velocity_unit})")
    panel.set_title(f"n = {int(known.sum())} trials where both are known", loc="left")
    if names:
        panel.legend(
            loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.2, borderaxespad=0.2, title="onset"
        )


def _lost(events: xr.Dataset | None) -> str:
    """Return how many candidates became no trial, by how their onset was found."""
    if events is None:
        return ""
    reasons = events["reason"].values.astype(str)
    lost = Counter(events["onset_quality"].values.astype(str)[reasons != ""].tolist())
    if not lost:
        return f"; all {len(reasons)} candidates became trials"
    words = ", ".join(f"{n} {(name or 'not looked for').replace('_', ' ')}" for name, n in lost.most_common())
    return f"; {sum(lost.values())} of {len(reasons)} candidates became no trial (their onsets: {words})"
