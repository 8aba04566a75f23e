"""Where the windows of trials begin: counted from the event's bin, from the next edge, or moved by a draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.signals.timebase import to_ns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.candidates import Candidates
    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray
    from nwb_latents.pipeline.signals.timebase import Grid
    from nwb_latents.schemas.recipe import IngestRecipe
    from nwb_latents.schemas.recipe_parts import JitterSettings


def first_bins(event: FloatArray, grid: Grid, recipe: IngestRecipe) -> IntArray:
    """Return the first bin of each window, as a position in the grid; it may lie outside.

    Parameters
    ----------
    event
        Finite times of the events, s. Shape ``(n,)``.
    grid
        The bins of the session.
    recipe
        Window, and what it is counted from.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.timebase import Grid
    >>> from nwb_latents.schemas.recipe import IngestRecipe
    >>> grid, event = Grid(0, 100, 20_000_000), np.array([1.0, 1.001, 1.011])
    >>> window = {"window_s": (-0.25, 0.45), "window_from": "next_edge"}
    >>> (grid.left_s[first_bins(event, grid, IngestRecipe(**window))] - event).round(3).tolist()
    [-0.24, -0.241, -0.231]
    """
    if recipe.window_from == "event_bin":
        return grid.bin_of(event) + recipe.window_bins[0]
    begin = to_ns(event) + round(recipe.window_s[0] * 1e9)
    edge: IntArray = -(-begin // grid.bin_ns) - grid.first
    return edge


def drawn_bins(candidates: Candidates, jitter: JitterSettings, *, bin_size_s: float) -> FloatArray:
    """Return by how many bins the window of each candidate is moved to later times.

    The draw is that of nlb_tools: uniform between 0 and what the limit allows, one number a trial in the
    order of the table, from numpy's old generator. Every trial of a split has a number, also one that is
    left out.

    Parameters
    ----------
    candidates
        With the column the limit depends on, in ms, and the splits of the file.
    jitter
        Limits, splits, seed.
    bin_size_s
        Width of a bin, s.

    Returns
    -------
    bins
        Whole numbers; 0 for test trials and those of no split, NaN where the column is. Shape ``(n,)``.

    Raises
    ------
    SettingsError
        If the column was not kept.

    References
    ----------
    nlb_tools 0.0.4, ``make_tensors._prep_jitter``.
    """
    if jitter.column not in candidates.columns:
        raise SettingsError(
            f"jitter.max_s {jitter.max_s:g}: jitter.column {jitter.column} is not one of trial_columns. Add "
            "it to them, or leave windows where they are with --set jitter.max_s=0.",
            setting="jitter.column",
        )
    split = candidates.split_hint.astype(str)
    limit_ms = jitter.limit_s * 1e3 - candidates.columns[jitter.column]
    most = np.where(split == "test", 0.0, np.clip(limit_ms, 0.0, jitter.max_s * 1e3))
    most = np.floor((most / (bin_size_s * 1e3)).round(4))
    bins = np.zeros(len(split))
    together: list[str] = [name for name in ("train", "val") if name in jitter.fitted]
    alone: list[list[str]] = [[name] for name in ("train", "val") if name not in jitter.fitted]
    for names in (together, *alone):
        mine = np.flatnonzero(np.isin(split, names))
        draws = np.random.RandomState(jitter.seed).random_sample(len(mine))
        bins[mine] = (draws * most[mine]).round()
    return bins


def moved(start: IntArray, bins: FloatArray, reason: NDArray[np.object_]) -> tuple[IntArray, IntArray]:
    """Move windows, and add to `reason` where nothing is known of by how much.

    Returns
    -------
    start, shift
        First bin of each window, and bins by which it was moved. Shape ``(n,)``, int64.
    """
    unknown = ~np.isfinite(bins)
    reason[unknown & (reason == "")] = "no_jitter"
    shift = np.where(unknown, 0, bins).astype(np.int64)
    return start + shift, shift
