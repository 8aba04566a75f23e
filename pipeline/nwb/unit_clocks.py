"""Whether each unit lies on the clock of the session: not in other units, not counted from each trial."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.spike_clock import UNITS, extent_of, first_and_last, lie_inside, share_inside
from nwb_latents.pipeline.scratch import picked, pieces

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, TrialTable

ALIEN, AT_HOME = 0.1, 0.5
"""A unit with a smaller share of its spikes inside the kinematics' time is on another clock, if some unit has
at least the larger one."""

LEAST_SPIKES = 10
"""Of fewer spikes nothing is said: they count as strays."""

MOST_SHOWN = 4

FEW_TRIALS = 5
"""Spikes within the length of one trial are no session's, if the session is this many trials long."""

FITS = 0.1
"""How well the length of a session is met where spikes are in another unit than seconds."""


def require_session_clock(file: NwbFile, spikes: FloatArray, trials: TrialTable | None) -> None:
    """Refuse spike times that count from the start of their trial.

    Parameters
    ----------
    file
        The open file, for messages.
    spikes
        Spike times of all units, s. Shape ``(n_spikes,)``.
    trials
        On the clock of the file; None: nothing tells.

    Raises
    ------
    DataError
        If all spikes lie within the length of one trial, and trials over many times that.
    """
    if trials is None or not len(spikes):
        return
    start, stop = trials.events["start"], trials.events["stop"]
    lengths = (stop - start)[np.isfinite(stop - start)]
    extent = extent_of(start, stop)
    if extent is None or len(lengths) < FEW_TRIALS or not (lengths > 0).any():
        return
    longest = float(lengths.max())
    # A few of the spikes tell, where there is nothing to refuse.
    if picked(spikes, np.arange(0, len(spikes), max(1, len(spikes) // 1000))).max() > 1.5 * longest:
        return
    low = min(float(piece.min()) for piece in pieces(spikes))
    high = max(float(piece.max()) for piece in pieces(spikes))
    span = extent[1] - extent[0]
    if low < -longest or high > 1.5 * longest or span < FEW_TRIALS * longest or high <= low:
        return
    if any(abs(np.log((high - low) * factor / span)) < FITS for factor, _ in UNITS):
        return
    raise DataError(
        f"{file.name}: all spike times (/units/spike_times) lie from {low:g} to {high:g} s, trials from "
        f"{extent[0]:g} to {extent[1]:g} s, and last up to {longest:g} s each: spikes count from the start "
        "of their trial, and which trial that is the file does not say. Write them on the clock of the "
        "session: add the start of its trial to each."
    )


def units_on_clock(
    file: NwbFile, spikes: FloatArray, index: IntArray, ids: IntArray, extent: tuple[float, float] | None
) -> BoolArray:
    """Return which units lie on the clock of the kinematics; the others are named.

    Parameters
    ----------
    file
        The open file.
    spikes, index
        Times, s, and one past the last spike of each unit.
    ids
        Shape ``(n_units,)``.
    extent
        From when to when there are kinematics, s; None: nothing tells.

    Returns
    -------
    is_on_clock
        Shape ``(n_units,)``.

    Raises
    ------
    DataError
        If more than half of the units are on other clocks.
    """
    fine = np.ones(len(index), dtype=bool)
    if extent is None or lie_inside(first_and_last(spikes, index), extent):
        return fine
    own = [spikes[start:stop] for start, stop in pairwise([0, *index.tolist()])]
    shares = np.array([share_inside(each, extent) if len(each) >= LEAST_SPIKES else np.nan for each in own])
    if not (shares >= AT_HOME).any():
        return fine
    alien = shares < ALIEN
    if not alien.any():
        return fine
    shown = "; ".join(_described(ids[unit], own[unit], extent) for unit in np.flatnonzero(alien)[:MOST_SHOWN])
    more = "; …" if alien.sum() > MOST_SHOWN else ""
    what = (
        f"{int(alien.sum())} of {len(index)} units have spike times outside the time of the kinematics "
        f"({extent[0]:g} to {extent[1]:g} s): {shown}{more}"
    )
    if alien.sum() > len(index) / 2:
        raise DataError(
            f"{file.name}: {what}. They are on clocks of their own: write all units in seconds on one clock, "
            "or leave the session out."
        )
    file.say(f"{what}. They are left out")
    return ~alien


def _described(unit: np.integer, times: FloatArray, extent: tuple[float, float]) -> str:
    low, high = float(times.min()), float(times.max())
    text = f"unit {unit} from {low:g} to {high:g}"
    span = max(extent[1] - extent[0], 1e-9)
    fitting = [
        (abs(np.log((high - low) * factor / span)), factor, name)
        for factor, name in UNITS
        if high > low and share_inside(times, extent, factor=factor) > 1 - ALIEN
    ]
    if not fitting or min(fitting)[0] > np.log(2):
        return f"{text} s"
    _, factor, name = min(fitting)
    return f"{text}, which fits as {name} (times {factor:.9g})"
