"""What keeps trials where all are left out: the rules that drop most, and values that would keep them."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.binned import BinnedSession
    from nwb_latents.pipeline.signals.recording import BoolArray, IntArray
    from nwb_latents.schemas.recipe import IngestRecipe

KEPT = 0.9
"""Share of the trials a rule drops that the value proposed would keep."""


def remedies(session: BinnedSession, recipe: IngestRecipe, reason: NDArray[np.object_]) -> list[str]:
    """Say of the rules that drop most trials what would keep them.

    Parameters
    ----------
    session
        The binned session with its candidates.
    recipe
        The recipe that leaves no trial.
    reason
        Why each candidate is left out. Shape ``(n,)``.

    Returns
    -------
    remedies
        A sentence for each rule, that which drops most first; at most three.
    """
    counts = Counter(str(why) for why in reason)
    return [_remedy(session, recipe, why, reason == why) for why, _ in counts.most_common(3)]


def _remedy(session: BinnedSession, recipe: IngestRecipe, why: str, rows: BoolArray) -> str:
    events = session.candidates.events
    if why in {"unobserved", "outside_recording"}:
        return _window(session, recipe, rows, why)
    if why == "onset_no_movement":
        peak = session.candidates.peak_speed[rows]
        fastest = float(np.nanmedian(peak)) if np.isfinite(peak).any() else 0.0
        return (
            f"Their speed peaks at {fastest:.3g} in the median: --set onset.min_peak_cm_s={fastest / 2:.2g}, "
            "or mend the unit of the kinematics."
        )
    duration = (events["trial_stop"] - events["trial_start"])[rows]
    reaction = (events["move_onset"] - events["go_cue"])[rows]
    by_value = {
        "too_long": f"They last up to {_high(duration):g} s: "
        f"--set trials.max_duration_s={_high(duration):g}.",
        "too_short": f"They last from {_low(duration):g} s on: "
        f"--set trials.min_duration_s={_low(duration):g}.",
        "reaction_too_slow": f"Reaction times reach {_high(reaction):g} s: "
        f"--set onset.max_rt_s={_high(reaction):g}.",
        "reaction_too_fast": f"Reaction times begin at {_low(reaction):g} s: --set onset.min_rt_s="
        f"{max(_low(reaction), 0):g}, or --set trials.check_reaction_time=false; check that the go cue is "
        "what is called so.",
    }
    return by_value.get(why) or _SAID.get(why) or f"`pipeline schema recipe` lists what {why} depends on."


_SAID = {
    "not_successful": "Keep them with --set trials.success_only=false, or say what success is: "
    "--set columns.success_values=[VALUE].",
    "flagged_by_file": "The file itself marks them as not to be used: keep them with --set "
    "trials.keep_flagged=true.",
    "no_start_or_stop": "Their start or stop is missing in the trial table.",
    "overlaps_previous": "Their windows lie closer to each other than trials.guard_s: lower it, or shorten "
    "window_s.",
    "onset_unobserved": "The kinematics are missing at these times: check their time stamps, or cut at "
    "another event with --set align_to=go_cue.",
    "onset_no_crossing": "The hand moves from the go cue on: cut at another event, --set align_to=go_cue.",
    "onset_no_column_value": "The file's column of onsets is empty there: --set onset.method=profile finds "
    "them.",
    "onset_slow_rise": "The speed rises for longer than reaches.max_rise_s.",
    "kinematic_outlier": "Keep them with --set trials.drop_outliers=false.",
}  # fmt: skip


def _high(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return math.ceil(10 * float(np.quantile(known, KEPT))) / 10 if len(known) else math.nan


def _low(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return math.floor(10 * float(np.quantile(known, 1 - KEPT))) / 10 if len(known) else math.nan


def _window(session: BinnedSession, recipe: IngestRecipe, rows: BoolArray, why: str) -> str:
    """Propose the window around the event that was recorded in most of the trials."""
    event = session.candidates.events[recipe.align_to][rows]
    at = session.grid.bin_of(event[np.isfinite(event)])
    at = at[(at >= 0) & (at < session.grid.n_bins)]
    at = at[session.observed[at]] if len(at) else at
    what = "were not recorded throughout" if why == "unobserved" else "reach beyond the recording"
    if not len(at):
        return (
            f"Their {recipe.align_to} lies where nothing was recorded; observed are {_stretches(session)}: "
            "check the observed intervals of the file (obs_intervals of its units, invalid_times) and the "
            "clock of the events."
        )
    before, after = _reach(session.observed, at)
    first = -int(np.quantile(before, 1 - KEPT, method="lower"))
    last = int(np.quantile(after, 1 - KEPT, method="lower"))
    first, last = max(first, recipe.window_bins[0]), min(last, recipe.window_bins[1])
    if last - first < 2:
        return f"Windows around {recipe.align_to} {what}: cut at another event with --set align_to=EVENT."
    edges = [round(bins * recipe.bin_ns / 1e9, 9) for bins in (first, last)]
    return (
        f"Windows of {recipe.window_s[0]:g} to {recipe.window_s[1]:g} s {what}; most trials were from "
        f"{edges[0]:g} to {edges[1]:g} s: --set window_s=[{edges[0]:g},{edges[1]:g}]."
    )


def _stretches(session: BinnedSession) -> str:
    """Return how many stretches were observed, and how long they are."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], session.observed, [False]]).astype(np.int8)))
    lengths = np.diff(edges.reshape(-1, 2), axis=1) * session.grid.bin_ns / 1e9
    if not len(lengths):
        return "no bins"
    return (
        f"{len(lengths)} stretches of {float(np.median(lengths)):.3g} s in the median, "
        f"{float(lengths.sum()):.4g} s in all"
    )


def _reach(observed: BoolArray, at: IntArray) -> tuple[IntArray, IntArray]:
    """Return how many bins before each bin, and how many from it on, were observed without a break."""
    bins = np.arange(len(observed))
    last_gap = np.maximum.accumulate(np.where(observed, -1, bins))
    next_gap = np.minimum.accumulate(np.where(observed, len(observed), bins)[::-1])[::-1]
    return at - last_gap[at] - 1, next_gap[at] - at
