"""What keeps trials where all are left out: the rules that drop most, and values that would keep them."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.binned import BinnedSession
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray
    from nwb_latents.schemas.recipe import IngestRecipe

KEPT = 0.9
"""Share of the trials a rule drops that the value proposed would keep."""

FEWEST_BINS = 2
FEWEST_SHARE = 0.3
"""Least length of a window that is proposed, and least share of the trials it has to be of."""


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
        said = _window(session, recipe, rows, why)
    elif why == "not_successful":
        said = _outcomes(session)
    elif why == "onset_no_movement":
        said = _too_slow(session, recipe, rows)
    elif why in _SAID:
        said = _SAID[why]
    elif why in {"too_long", "too_short"}:
        said = _duration(events["trial_start"], events["trial_stop"], rows, why)
    elif why in {"reaction_too_slow", "reaction_too_fast"}:
        said = _reaction((events["move_onset"] - events["go_cue"])[rows], why)
    else:
        said = _no_event(session, recipe, why, rows)
    return said


_SAID = {
    "flagged_by_file": "The file itself marks them as not to be used: keep them with --set "
    "trials.keep_flagged=true.",
    "overlaps_previous": "Their windows lie closer to each other than trials.guard_s: lower it, or shorten "
    "window_s.",
    "onset_slow_rise": "The speed rises for longer than reaches.max_rise_s: raise it with --set "
    "reaches.max_rise_s=2.",
    "kinematic_outlier": "Keep them with --set trials.drop_outliers=false.",
}  # fmt: skip

EVENTS = ("go_cue", "move_onset", "target_on", "peak_speed", "trial_start")
"""Events trials can be cut at, those to propose first."""


def _outcomes(session: BinnedSession) -> str:
    """Say what the file's outcomes are, and how to keep the trials."""
    keep = "Keep all trials with --set trials.success_only=false"
    if session.candidates.success.any():
        return f"{session.outcomes or 'The file marks them as failed'}. {keep}."
    if not session.outcomes:
        return f"{keep}, or name the column of outcomes with --set columns.success=NAME."
    first = session.outcomes.partition(" holds ")[2].rpartition(" (")[0].partition(" (")[0]
    return (
        f"{session.outcomes}: none of these means success. {keep}, or say which value means success, e.g. "
        f"--set 'columns.success_values=[{first}]'."
    )


def _too_slow(session: BinnedSession, recipe: IngestRecipe, rows: BoolArray) -> str:
    peak = session.candidates.peak_speed[rows]
    fastest = float(np.nanmedian(peak)) if np.isfinite(peak).any() else 0.0
    least = 0.5 * _low(peak) if np.isfinite(peak).any() else 0.0
    if fastest <= 1e-6 or _is_constant(session.velocity):
        return (
            f"Their speed is {fastest:.3g} throughout: the kinematics do not move. Name another series with "
            "--set position_series=PATH or --set velocity_series=PATH, or mend its conversion."
        )
    if least >= recipe.onset.min_peak_cm_s:
        rule = recipe.onset
        return (
            f"They are fast enough (up to {fastest:.3g} in the median), but no peak of the speed lies where "
            f"it is looked for: from {rule.min_rt_s:g} s after the go cue on (onset.min_rt_s), for at most "
            f"{rule.max_search_s:g} s (onset.max_search_s). Lower the first, raise the second, or cut at "
            "another event with --set align_to=go_cue."
        )
    return (
        f"Their speed peaks at {fastest:.3g} in the median: --set onset.min_peak_cm_s="
        f"{_plain(max(least, 0))}, or mend the unit of the kinematics."
    )


def _is_constant(values: NDArray[np.float32]) -> bool:
    known = values[np.isfinite(values).all(axis=1)]
    return bool(len(known) and (known == known[0]).all())


def _duration(start: FloatArray, stop: FloatArray, rows: BoolArray, why: str) -> str:
    duration = (stop - start)[rows]
    if why == "too_short":
        least = _plain(max(_low(duration), 0.0))
        return f"They last from {np.nanmin(duration):.3g} s on: --set trials.min_duration_s={least}."
    most = _plain(_high(duration))
    known = np.isfinite(start) & np.isfinite(stop)
    order = np.argsort(start[known], kind="stable")
    begin, end = start[known][order], stop[known][order]
    overlapping = int((begin[1:] < end[:-1] - OVERLAP_S).sum())
    cause = ""
    if overlapping > len(begin) / 2:
        cause = (
            f"{overlapping} of {len(begin)} begin before the one before them has stopped: check that their "
            "ends are what is called so, or name them with --set columns.end=NAME. If they do overlap: "
        )
    return f"They last up to {np.nanmax(duration):.4g} s. {cause}--set trials.max_duration_s={most}."


def _reaction(reaction: FloatArray, why: str) -> str:
    if why == "reaction_too_slow":
        most = _plain(_high(reaction))
        return f"Reaction times reach {np.nanmax(reaction):.3g} s: --set onset.max_rt_s={most}."
    least = _low(reaction)
    check = "check that the go cue is what is called so"
    if least < 0:
        return (
            f"Reaction times begin at {np.nanmin(reaction):.3g} s, before the go cue: {check}, or use --set "
            "trials.check_reaction_time=false."
        )
    return (
        f"Reaction times begin at {np.nanmin(reaction):.3g} s: --set onset.min_rt_s={_plain(least)}; {check}."
    )


def _no_event(session: BinnedSession, recipe: IngestRecipe, why: str, rows: BoolArray) -> str:
    """Say why trials lack the event they are cut at, and which event they have."""
    known = np.isfinite(session.velocity).all(axis=1)
    events = session.candidates.events
    has = [name for name in EVENTS if name != recipe.align_to and np.isfinite(events[name][rows]).any()]
    cut = f"cut at another event with --set align_to={has[0]}" if has else ""
    other = f", or {cut}" if cut else ""
    if why == "no_start_or_stop":
        return "Their start or stop is missing in the trial table: mend it, or use --set trials.source=speed."
    if why == "onset_no_column_value":
        return "The file's column of onsets is empty there: --set onset.method=profile finds them."
    if why == "onset_no_crossing":
        return f"The hand moves from the go cue on: {cut or 'check the go cue'}."
    if why == "onset_unobserved" and not known.any():
        other = ""
        if np.isfinite(session.position).any():
            other = ", or take it from the position with --set velocity_from=position"
        return (
            "The velocity holds no number at any time: mend the series, its conversion and offset, name "
            f"another with --set velocity_series=PATH{other}."
        )
    if why == "onset_unobserved":
        time = session.grid.left_s[known]
        start = events["trial_start"][rows]
        start = start[np.isfinite(start)]
        trials = f", the trials from {start.min():g} to {start.max():g} s" if len(start) else ""
        return (
            "The kinematics are missing at these times: they run from "
            f"{time[0]:g} to {time[-1]:g} s{trials}. Check that both are on one clock{other}."
        )
    what = why.removeprefix("no_")
    return f"They have no {what}: name its column with --set columns.{what}=NAME{other}."


OVERLAP_S = 0.1
"""A trial that begins so long before the end of the one before it overlaps with it."""


def _plain(value: float) -> str:
    """Return a number as settings take it."""
    return np.format_float_positional(value, trim="-")


def _high(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return math.ceil(10 * float(np.quantile(known, KEPT))) / 10 if len(known) else 0.0


def _low(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return math.floor(10 * float(np.quantile(known, 1 - KEPT))) / 10 if len(known) else 0.0


def _window(session: BinnedSession, recipe: IngestRecipe, rows: BoolArray, why: str) -> str:
    """Propose the window around the event that was recorded in most of the trials, or another event's."""
    what = "were not recorded throughout" if why == "unobserved" else "reach beyond the recording"
    wanted = f"Windows of {recipe.window_s[0]:g} to {recipe.window_s[1]:g} s around {recipe.align_to} {what}"
    found = [(name, _recorded(session, recipe, rows, name)) for name in (recipe.align_to, *EVENTS)]
    fits = [(name, edges) for name, edges in found if edges is not None]
    if not fits:
        return (
            f"{wanted}; observed are {_stretches(session)}, of which less than two bins lie at any event: "
            "check the observed intervals of the file (/units/obs_intervals, /intervals/invalid_times) and "
            "the clock of the events."
        )
    name, (before, after) = fits[0]
    edges = f"{_plain(before)} to {_plain(after)} s"
    setting = f"--set window_s=[{_plain(before)},{_plain(after)}]"
    if name == recipe.align_to:
        return f"{wanted}; most trials were from {edges}: {setting}."
    return (
        f"{wanted}; observed are {_stretches(session)}, of most trials {edges} around {name}: check the "
        f"observed intervals of the file, or use --set align_to={name} {setting}."
    )


def _recorded(
    session: BinnedSession, recipe: IngestRecipe, rows: BoolArray, name: str
) -> tuple[float, float] | None:
    """Return the window around an event that was recorded in most trials, s; None: of less than two bins."""
    event = session.candidates.events[name][rows]
    at = session.grid.bin_of(event[np.isfinite(event)])
    at = at[(at >= 0) & (at < session.grid.n_bins)]
    at = at[session.observed[at]] if len(at) else at
    if len(at) < FEWEST_SHARE * int(rows.sum()):
        return None
    before, after = _reach(session.observed, at)
    first = -int(np.quantile(before, 1 - KEPT, method="lower"))
    last = int(np.quantile(after, 1 - KEPT, method="lower"))
    first, last = max(first, recipe.window_bins[0]), min(last, recipe.window_bins[1])
    if last - first < FEWEST_BINS:
        return None
    return round(first * recipe.bin_ns / 1e9, 9), round(last * recipe.bin_ns / 1e9, 9)


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
