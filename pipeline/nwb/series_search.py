"""Which series of a file is the hand's: looked for by name, shape and type where nobody says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile

_PREFERENCE = ("hand", "cursor", "finger", "wrist", "arm", "elbow", "pos", "vel")
_NEVER = ("target", "force", "muscle", "emg", "acc", "stimul")
_NEVER_ANYWHERE = ("eye", "gaze", "pupil", "saccade")
_NEVER_TYPES = frozenset({"EyeTracking", "PupilTracking", "CompassDirection", "ElectricalSeries"})
_ROOTS = ("processing", "acquisition")
_JOINTS = ("elbow", "wrist", "shoulder", "angle", "joint", "lever", "handle")
_AXIS_ENDING = re.compile(r"(?:^|[_\-. ])?([xyz])$", re.IGNORECASE)

SeriesPath = str | tuple[str, ...]


def find_series(file: NwbFile) -> tuple[SeriesPath | None, SeriesPath | None]:
    """Find the series that look like hand position and hand velocity.

    Two or three columns come before one; series named x and y belong together. Eyes and pupils are never
    taken for a hand.

    Returns
    -------
    position, velocity
        Paths; None where there is none. Hand comes before cursor before finger; a velocity is paired with
        the position of the same effector where there is one.
    """
    several: dict[bool, list[SeriesPath]] = {False: [], True: []}
    single: dict[bool, list[SeriesPath]] = {False: [], True: []}
    for path, kind, width in _candidates(file):
        is_velocity = "vel" in path.lower()
        if not is_velocity and not _may_be_position(path, kind):
            continue
        (single if width == 1 else several)[is_velocity].append(path)
    for found in (single[False], single[True]):
        found[:] = [*_joined([path for path in found if isinstance(path, str)])]
    for is_velocity in (False, True):
        joined = [path for path in single[is_velocity] if isinstance(path, tuple)]
        several[is_velocity] += joined
    joints: dict[bool, list[SeriesPath]] = {
        v: [path for path in single[v] if isinstance(path, str) and _names_joint(path)] for v in (False, True)
    }
    chosen = several if any(several.values()) else joints
    position = min(chosen[False], key=_rank, default=None)
    velocities = chosen[True]
    if position is not None:
        last = _last(position)
        effector = next((w for w in _PREFERENCE if w in last), "")
        velocities = [v for v in velocities if effector and effector in _last(v)] or velocities
    velocity = min(velocities, key=_rank, default=None)
    _say(file, position, velocity, chosen)
    for broken in [link for root in _ROOTS for link in file.tree.broken_links(root)]:
        file.say(f"{broken}, and there is nothing; it is passed over")
    if position is not None or velocity is not None:
        for path in untyped_series(file):
            file.say(f"/{path} holds data, but no neurodata_type that says what it is; it is passed over")
    return position, velocity


def _candidates(file: NwbFile) -> list[tuple[str, str, int]]:
    """Return path, type and number of columns of every series that may be a hand's."""
    found = []
    never: list[str] = []
    for path, kind in file.objects(*_ROOTS):
        if kind in _NEVER_TYPES:
            never.append(path)
        shape = file.shape(f"{path}/data")
        if shape is None or not (1 <= len(shape) <= 2) or any(path.startswith(n) for n in never):
            continue
        if any(word in path.lower() for word in _NEVER_ANYWHERE) or any(
            word in path.lower().rsplit("/", 1)[-1] for word in _NEVER
        ):
            continue
        if not kind.endswith("Series") or max(shape) < 2:
            continue
        width = 1 if len(shape) == 1 else shape[0] if shape[0] in (2, 3) and shape[1] > 10 else shape[1]
        if width in (1, 2, 3):
            found.append((path, kind, width))
    return found


def untyped_series(file: NwbFile) -> list[str]:
    """Return the paths of groups that hold data and times, but do not say as text what they are."""
    return [
        path
        for path in file.tree.groups(*_ROOTS)
        if file.shape(f"{path}/data") is not None
        and not isinstance(file.attribute(path, "neurodata_type"), str)
        and (file.has(f"{path}/timestamps") or file.has(f"{path}/starting_time"))
    ]


def _may_be_position(path: str, kind: str) -> bool:
    name = path.lower()
    return kind == "SpatialSeries" or "pos" in name or _names_joint(path)


def _names_joint(path: str) -> bool:
    last = path.lower().rsplit("/", 1)[-1]
    return any(word in last for word in _JOINTS) or any(word in last for word in _PREFERENCE)


def _joined(paths: list[str]) -> list[SeriesPath]:
    """Join series whose names differ in a final x, y and z alone."""
    stems: dict[str, dict[str, str]] = {}
    out: list[SeriesPath] = []
    for path in paths:
        ending = _AXIS_ENDING.search(path)
        if ending is None:
            out.append(path)
        else:
            stems.setdefault(path[: ending.start(1)], {})[ending[1].lower()] = path
    for axes in stems.values():
        if {"x", "y"} <= set(axes):
            out.append(tuple(axes[axis] for axis in "xyz" if axis in axes))
        else:
            out += list(axes.values())
    return out


def _last(path: SeriesPath) -> str:
    one = path if isinstance(path, str) else path[0]
    return one.lower().rsplit("/", 1)[-1]


def _rank(path: SeriesPath) -> tuple[int, str]:
    found = [i for i, word in enumerate(_PREFERENCE) if word in _last(path)]
    return (min(found, default=len(_PREFERENCE)), path if isinstance(path, str) else path[0])


def _say(
    file: NwbFile,
    position: SeriesPath | None,
    velocity: SeriesPath | None,
    chosen: dict[bool, list[SeriesPath]],
) -> None:
    for what, path, among in (
        ("position", position, chosen[False]),
        ("velocity", velocity, chosen[True]),
    ):
        if path is None:
            continue
        others = [_text(other) for other in among if other != path]
        why = (
            f"looks most like a hand's, before {', '.join(others[:4])}"
            if others
            else "the only one like a hand's"
        )
        file.choose(what, _text(path), why)


def _text(path: SeriesPath) -> str:
    return "/" + (path if isinstance(path, str) else " + /".join(path))
