"""What is drawn of a session: trials one by one, PSTHs, unit rates. Thinned, and what was thinned is told."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.figures.condition_colours import mean_direction
from nwb_latents.pipeline.evaluation.report.packing import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.report.content import Json
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.report import ReportSettings

MARKS = {
    "target_on": "target on",
    "go_cue": "go cue",
    "move_onset": "movement onset",
    "peak_time": "peak speed",
}
"""Events of a trial that are marked → their words."""


def session_arrays(session: Session, settings: ReportSettings) -> Json:
    """Return what is drawn of a session.

    Parameters
    ----------
    session
        The session.
    settings
        How many trials, units and conditions.

    Returns
    -------
    arrays
        Time in s from the bin of the event; counts in spikes per bin, rates in Hz (whole ones for trials),
        position and velocity in the units of the store; missing values are None. ``left_out`` says in
        sentences what is not there.

    Raises
    ------
    DataError
        If the store is damaged.

    Examples
    --------
    >>> thinned(10, 4).tolist()
    [0, 3, 6, 9]
    """
    trials = session.trials
    rates = np.asarray(trials["mean_rate"].values, dtype=np.float64)
    order = np.argsort(-rates, kind="stable")
    units = np.sort(order[thinned(session.n_units, settings.units)])
    names, total = ordered_conditions(
        session.condition, trials["target_dir"].values, most=settings.conditions
    )
    rows = chosen_trials(session.condition, names, settings.trials)
    return {
        "session": session.name,
        "time": numbers(session.time_s, digits=4),
        "bin_ms": 1e3 * session.bin_size_s,
        "axes": list(session.axes),
        "position_unit": session.attributes.kinematics_unit,
        "velocity_unit": session.velocity_unit,
        "units": [str(unit) for unit in trials["unit"].values[units]],
        "unit_rates": numbers(rates[order], digits=2),
        "unit_names": [str(unit) for unit in trials["unit"].values[order]],
        "unit_areas": [str(area) for area in trials["area"].values[order]],
        "conditions": list(names),
        "psth": _psths(session, names, units),
        "psth_trials": [int(np.count_nonzero(session.condition == name)) for name in names],
        "trials": [_trial(session, int(row), names, units) for row in rows],
        "left_out": _left_out(session, len(rows), len(units), len(names), total),
    }


def thinned(number: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of `number` positions, evenly spread, ends included."""
    if number <= most:
        return np.arange(number, dtype=np.int64)
    return np.unique(np.linspace(0, number - 1, most).round().astype(np.int64))


def ordered_conditions(
    condition: NDArray[np.object_], target_dir: NDArray[np.float64], *, most: int
) -> tuple[tuple[str, ...], int]:
    """Return the conditions of most trials, by direction where they have one, and how many there are.

    Parameters
    ----------
    condition
        Of each trial; empty: it has none. Shape ``(trial,)``.
    target_dir
        Direction of the target in radians, NaN where there is none. Shape ``(trial,)``.
    most
        Conditions returned at most.

    Examples
    --------
    >>> ordered_conditions(np.array(["b", "a", "a"], dtype=object), np.array([0.1, 3.0, 3.0]), most=2)
    (('b', 'a'), 2)
    """
    names, number = np.unique(condition.astype(str), return_counts=True)
    kept = [str(name) for name in names[np.argsort(-number, kind="stable")][:most]]
    angles = {
        name: mean_direction(np.asarray(target_dir, dtype=np.float64)[condition == name]) for name in kept
    }
    if all(math.isfinite(angle) for angle in angles.values()):
        kept.sort(key=lambda name: (round(angles[name], 6) % round(2 * math.pi, 6), name))
    else:
        kept.sort()
    return tuple(kept), len(names)


def chosen_trials(condition: NDArray[np.object_], names: Sequence[str], most: int) -> NDArray[np.int64]:
    """Return trials of these conditions, as evenly from each as can be, ascending.

    Parameters
    ----------
    condition
        Of each trial. Shape ``(trial,)``.
    names
        Conditions.
    most
        Trials returned at most.

    Examples
    --------
    >>> chosen_trials(np.array(["a", "a", "a", "b"], dtype=object), ["a", "b"], 2).tolist()
    [0, 3]
    """
    of_each = [np.flatnonzero(condition == name) for name in names]
    places = [np.arange(len(rows)) for rows in of_each]
    if not of_each:
        return np.zeros(0, dtype=np.int64)
    turn, rows = np.concatenate(places), np.concatenate(of_each)
    found: NDArray[np.int64] = np.sort(rows[np.argsort(turn, kind="stable")][:most]).astype(np.int64)
    return found


def _psths(session: Session, names: Sequence[str], units: NDArray[np.int64]) -> list[object]:
    """Return the mean rate of each condition, Hz. Shape ``(condition, unit, time)``."""
    found = []
    for name in names:
        rows = np.flatnonzero(session.condition == name)
        mean = session.trials["rates"].values[rows][..., units].mean(axis=0, dtype=np.float64)
        found.append(numbers(mean.T, digits=1))
    return list(found)


def _trial(session: Session, row: int, names: Sequence[str], units: NDArray[np.int64]) -> Json:
    one = session.trials.isel(trial=row)
    zero = float(one["event_time"]) - float(one["event_offset"])
    marks = {word: float(one[name]) - zero for name, word in MARKS.items() if np.isfinite(float(one[name]))}
    return {
        "trial": str(one["trial"].item()),
        "condition": list(names).index(str(one["condition"].item())),
        "split": str(one["split"].item()),
        "onset": str(one["onset_quality"].item()),
        "marks": {word: round(at, 4) for word, at in marks.items()},
        "counts": numbers(one["counts"].values[:, units].T, digits=0),
        "rates": numbers(one["rates"].values[:, units].T, digits=0),
        "position": numbers(one["position"].values.T, digits=2),
        "velocity": numbers(one["velocity"].values.T, digits=1),
    }


def _left_out(session: Session, n_trials: int, n_units: int, n_conditions: int, total: int) -> list[str]:
    said = []
    if n_trials < session.n_trials:
        said.append(
            f"{n_trials} of {session.n_trials} trials can be chosen, as evenly from each condition as can be."
        )
    if n_units < session.n_units:
        said.append(
            f"{n_units} of {session.n_units} units are drawn, evenly spread over mean rates; "
            "unit rates show all."
        )
    if n_conditions < total:
        said.append(f"{n_conditions} of {total} conditions are drawn, those of most trials.")
    said.append(
        "Spikes are counts per bin: a store keeps no spike times. Rates of trials are rounded to 1 Hz."
    )
    return said
