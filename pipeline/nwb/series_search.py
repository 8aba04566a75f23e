"""Which series of a file is the hand's: looked for by name, shape and type where nobody says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nwb_latents.pipeline.nwb.plain_words import shape_words
from nwb_latents.pipeline.nwb.series_samples import squeezed

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile

_PREFERENCE = ("hand", "cursor", "finger", "wrist", "arm", "elbow", "pos", "vel")
_NEVER = ("target", "force", "muscle", "emg", "acc", "stimul", "speed")
_NEVER_ANYWHERE = ("eye", "gaze", "pupil", "saccade")
_OF_EYES = re.compile(r"\b(eyes?|gaze|pupils?|saccades?|eye-?track\w*)\b")
_OF_LIMBS = re.compile(r"\b(hand|cursor|finger|arm|wrist|reach|joystick|manipulandum|limb)")
_NEVER_TYPES = frozenset({"EyeTracking", "PupilTracking", "CompassDirection", "ElectricalSeries"})
ROOTS = ("processing", "acquisition")
_JOINTS = ("elbow", "wrist", "shoulder", "angle", "joint", "lever", "handle")
_NAMED = {
    "speed": "a speed, which has no direction",
    "acc": "an acceleration",
    "stimul": "a stimulus",
    "emg": "muscle activity",
    "force": "a force",
}
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
        side, folder = _side(position), _first(position).rpartition("/")[0]
        velocities = [v for v in velocities if _side(v) == side] or velocities
        velocities = [v for v in velocities if _first(v).rpartition("/")[0] == folder] or velocities
    velocity = min(velocities, key=_rank, default=None)
    _say(file, position, velocity, chosen)
    for is_velocity, found_one in ((False, position), (True, velocity)):
        if found_one is None and (position or velocity) is not None:
            _say_none(file, single[is_velocity] if chosen is several else [], is_velocity=is_velocity)
    for broken in [link for root in ROOTS for link in file.tree.broken_links(root)]:
        file.say(f"{broken}, and there is nothing; it is passed over")
    if position is not None or velocity is not None:
        for path in untyped_series(file):
            file.say(f"/{path} holds data, but no neurodata_type that says what it is; it is passed over")
    return position, velocity


def _candidates(file: NwbFile) -> list[tuple[str, str, int]]:
    """Return path, type and number of columns of every series that may be a hand's."""
    found = []
    never: list[str] = []
    for path, kind in file.objects(*ROOTS):
        if kind in _NEVER_TYPES:
            never.append(f"{path}/")
        if not path.startswith(tuple(never)) and not why_not(file, path, kind):
            found.append((path, kind, _width(file, path)))
    return found


def why_not(file: NwbFile, path: str, kind: str) -> str:
    """Say why a series cannot be of a hand, in words that follow its name; nothing if it may.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the series.
    kind
        Its neurodata type; empty where there is none.
    """
    name = path.lower()
    last = name.rsplit("/", 1)[-1]
    unlike = [w for w in _NEVER_ANYWHERE if w in name] or [w for w in _NEVER if w in last]
    shape = file.shape(f"{path}/data")
    if kind in _NEVER_TYPES or (kind and not kind.endswith("Series")):
        return f"is of the type {kind}"
    if unlike:
        return f"is by its name of {_NAMED.get(unlike[0], unlike[0])}"
    if not kind:
        return "has no neurodata_type"
    if (seen := _described(file, path)) and not _OF_LIMBS.search(seen):
        return f"is by its description of {seen}"
    if shape is None:
        return "has a group in place of its data" if file.has(f"{path}/data") else "has no data"
    return _why_no_columns(shape) or _why_no_movement(path, kind)


def _described(file: NwbFile, path: str) -> str:
    """Return what of an eye a description speaks of, and what else; nothing if of none."""
    words = " ".join(str(file.attribute(path, "description") or "").lower().split())
    return words[:80] if _OF_EYES.search(words) else ""


def _why_no_columns(shape: tuple[int, ...]) -> str:
    n = squeezed(shape)
    if len(n) > 2 or not n:
        return f"holds {shape_words(shape)}, no table of samples"
    if 0 in n:
        return "holds no samples"
    if max(n) < 2:
        return "holds one sample alone"
    width = _columns_of(n)
    return f"has {width} columns, a hand 1, 2 or 3" if width > 3 else ""


def _why_no_movement(path: str, kind: str) -> str:
    if "vel" in path.lower() or _may_be_position(path, kind):
        return ""
    return "says neither by its name nor by its type that it is a position or velocity"


def _width(file: NwbFile, path: str) -> int:
    return _columns_of(squeezed(file.shape(f"{path}/data") or ()))


def _columns_of(shape: tuple[int, ...]) -> int:
    if len(shape) == 1:
        return 1
    return shape[0] if shape[0] in (1, 2, 3) and shape[1] > 10 else shape[1]


def untyped_series(file: NwbFile) -> list[str]:
    """Return the paths of groups that hold data and times, but do not say as text what they are."""
    return [
        path
        for path in file.tree.groups(*ROOTS)
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


def _first(path: SeriesPath) -> str:
    return path if isinstance(path, str) else path[0]


def _last(path: SeriesPath) -> str:
    return _first(path).lower().rsplit("/", 1)[-1]


def _rank(path: SeriesPath) -> tuple[int, bool, str]:
    # What a lab has processed is what it uses.
    return _effector(path), "raw" in _last(path), _first(path)


def _effector(path: SeriesPath) -> int:
    found = [i for i, word in enumerate(_PREFERENCE) if word in _last(path)]
    return min(found, default=len(_PREFERENCE))


def _side(path: SeriesPath) -> str:
    """Return ``left`` or ``right`` where a name says so."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", _first(path)).lower())
    sides = {"left": "left", "l": "left", "right": "right", "r": "right"}
    return next((sides[word] for word in words if word in sides), "")


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
        others = [other for other in among if other != path]
        alike = [other for other in others if _effector(other) == _effector(path)]
        if not others:
            file.choose(what, _text(path), "the only one like a hand's")
            continue
        named = ", ".join(_text(other) for other in [*alike, *(o for o in others if o not in alike)][:4])
        take = f"--set {what}_series={_named(others[0] if not alike else alike[0])}"
        file.choose(what, _text(path), f"looks most like a hand's, before {named} ({take})")
        if alike:
            file.say(
                f"{what} is read from {_text(path)}, though {', '.join(_text(o) for o in alike[:4])} look"
                f"{'s' * (len(alike) == 1)} as much like a hand's; {take} takes the other"
            )


def _say_none(file: NwbFile, single: list[SeriesPath], *, is_velocity: bool) -> None:
    """Say which series look by their names like what was not found, and why they are not taken."""
    what = "velocity" if is_velocity else "position"
    reasons = [f"{_text(path)} has one column" for path in single if isinstance(path, str)]
    for path, kind in file.objects(*ROOTS):
        is_named = "vel" in path.lower() if is_velocity else _may_be_position(path, kind)
        if is_named and ("vel" in path.lower()) == is_velocity and kind.endswith("Series"):
            shape = file.shape(f"{path}/data")
            no_data = "has a group in place of its data" if file.has(f"{path}/data") else "has no data"
            why = no_data if shape is None else _why_no_columns(shape)
            name = path.lower()
            unlike = any(w in name for w in _NEVER_ANYWHERE) or any(w in _last(path) for w in _NEVER)
            if why and not unlike and kind not in _NEVER_TYPES:
                reasons.append(f"/{path} {why}")
    if reasons:
        file.say(f"no {what} is read: {'; '.join(reasons[:4])}. Name another with --set {what}_series=PATH")


def _text(path: SeriesPath) -> str:
    return "/" + (path if isinstance(path, str) else " + /".join(path))


def _named(path: SeriesPath) -> str:
    return path if isinstance(path, str) else "+".join(path)
