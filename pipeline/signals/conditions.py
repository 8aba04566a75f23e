"""Conditions of trials: one for each target, as far apart as they were."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray

MOST_DIRECTIONS = 16
"""With more distinct directions they are continuous, as of random targets, and are put into octants."""


def directions(angles: FloatArray, *, tolerance_rad: float) -> IntArray | None:
    """Group target directions that are the same but for rounding.

    Parameters
    ----------
    angles
        Radians, NaN where unknown. Shape ``(n,)``.
    tolerance_rad
        Angles closer than this are of one target.

    Returns
    -------
    degrees
        Direction of the group each belongs to, whole degrees from 0 to 359; −1 where unknown. None where
        there are more than `MOST_DIRECTIONS`. Shape ``(n,)``.

    Examples
    --------
    >>> directions(np.deg2rad([30.0, 70.0, 110.0, -10.0, 29.9999]), tolerance_rad=0.03).tolist()
    [30, 70, 110, 350, 30]
    """
    out = np.full(len(angles), -1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(angles))
    if not len(known):
        return out
    turned = np.mod(angles[known], 2 * np.pi)
    order = np.argsort(turned, kind="stable")
    sorted_angles = turned[order]
    group = np.concatenate([[0], np.cumsum(np.diff(sorted_angles) > tolerance_rad)])
    # Groups at both ends of the circle may be one.
    if group[-1] > 0 and sorted_angles[0] + 2 * np.pi - sorted_angles[-1] <= tolerance_rad:
        group[group == group[-1]] = 0
    numbers = np.unique(group)
    if len(numbers) > MOST_DIRECTIONS or _widest(sorted_angles, group) > 2 * tolerance_rad:
        return None
    for number in numbers:
        members = known[order[group == number]]
        mean = np.angle(np.exp(1j * angles[members]).mean())
        out[members] = int(np.round(np.rad2deg(mean))) % 360
    return out


def _widest(ordered: FloatArray, group: IntArray) -> float:
    """Return the largest extent of a group of neighbours: of a chain of them it has no bound."""
    widths = []
    for number in np.unique(group):
        members = ordered[group == number]
        turned = np.angle(np.exp(1j * (members - np.angle(np.exp(1j * members).mean()))))
        widths.append(float(np.ptp(turned)))
    return max(widths, default=0.0)


def octants(angles: FloatArray) -> IntArray:
    """Return the nearest multiple of 45 degrees; −1 where unknown. Shape ``(n,)``.

    Examples
    --------
    >>> octants(np.array([0.1, np.pi, np.nan])).tolist()
    [0, 180, -1]
    """
    degrees = np.round(np.nan_to_num(angles) / (np.pi / 4)).astype(np.int64) % 8 * 45
    return np.where(np.isfinite(angles), degrees, -1)


def condition_names(degrees: IntArray, *, prefix: str = "dir") -> NDArray[np.object_]:
    """Return names such as ``dir030``; ``unknown`` where the direction is not known.

    Examples
    --------
    >>> condition_names(np.array([30, -1])).tolist()
    ['dir030', 'unknown']
    """
    return np.array([f"{prefix}{d:03d}" if d >= 0 else "unknown" for d in degrees], dtype=object)


FEWEST_TO_GROUP = 20
"""Of fewer trials it is not said that their conditions group nothing."""


def groups_of_nothing(names: NDArray[np.object_]) -> list[str]:
    """Say that conditions do not repeat: a column of another thing may have been taken for theirs.

    Parameters
    ----------
    names
        Conditions of the trials. Shape ``(n_trials,)``, object.

    Examples
    --------
    >>> groups_of_nothing(np.array([f"{0.01 * k:g}" for k in range(30)], dtype=object))
    ['30 conditions among 30 trials (0, 0.01, 0.02 …): they group nothing; name another column with --set ...
    >>> groups_of_nothing(np.array(["left", "right"] * 15, dtype=object))
    []
    """
    there = list(dict.fromkeys(str(name) for name in names))
    if len(names) < FEWEST_TO_GROUP or len(there) <= len(names) / 2:
        return []
    shown = f"{len(there)} conditions among {len(names)} trials ({', '.join(there[:3])} …)"
    return [f"{shown}: they group nothing; name another column with --set columns.condition=NAME if one does"]


def labels_of_nothing(names: NDArray[np.object_], labels: Mapping[str, str]) -> list[str]:
    """Say which labels seem to be meant for conditions of other names: a condition may lack in a session.

    Parameters
    ----------
    names
        Conditions of the trials, labelled. Shape ``(n_trials,)``, object.
    labels
        Condition → the name it was to have.

    Returns
    -------
    said
        One text for each label that is of no trial, where a condition has nearly its name or no label is of
        any trial.

    Examples
    --------
    >>> labels_of_nothing(np.array(["dir000", "up"], dtype=object), {"dir00": "right", "dir090": "up"})
    ['columns.labels: no trial is of the condition dir00; did you mean dir000?']
    """
    there = sorted({str(name) for name in names})
    used = {v for v in labels.values() if any(name == v or name.startswith(f"{v}-") for name in there)}
    said = []
    for condition, label in labels.items():
        if label in used:
            continue
        near = difflib.get_close_matches(condition, there, n=1, cutoff=0.7)
        is_typed_wrong = bool(near) and len(near[0]) != len(condition)
        if is_typed_wrong or not used:
            hint = f"did you mean {near[0]}?" if is_typed_wrong else f"there are {', '.join(there[:12])}"
            said.append(f"columns.labels: no trial is of the condition {condition}; {hint}")
    return said
