"""How recordings were read, as a person follows it: in full once, then only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.schemas.events import ReadEvent
    from nwb_latents.schemas.store import ReadChoice


class ReadText:
    """Words for one session after the other.

    The first session of a layout is told in full; of a later one, what was chosen otherwise than for the
    session most like it. A warning that was said before, word for word, is counted.

    Examples
    --------
    >>> from nwb_latents.schemas.events import ReadEvent
    >>> said = ReadText()
    >>> said.lines(ReadEvent(session="a", source="a.nwb", layout="generic", warnings=("odd",)))
    ['  warning: odd']
    >>> said.lines(ReadEvent(session="b", source="b.nwb", layout="generic", warnings=("odd",)))
    ['  read as a', '  1 warning as of a']
    """

    def __init__(self) -> None:
        self._read: list[ReadEvent] = []
        self._warned: dict[str, str] = {}

    def lines(self, event: ReadEvent) -> list[str]:
        """Return what is to be said of a session, a line each."""
        lines = self._choices(event)
        again: dict[str, int] = {}
        for warning in event.warnings:
            first = self._warned.setdefault(warning, event.session)
            if first == event.session:
                lines.append(f"  warning: {warning}")
            else:
                again[first] = again.get(first, 0) + 1
        lines += [f"  {n} warning{'s' * (n > 1)} as of {session}" for session, n in again.items()]
        self._read.append(event)
        return lines

    def _choices(self, event: ReadEvent) -> list[str]:
        alike = [earlier for earlier in self._read if earlier.layout == event.layout]
        if not alike:
            return choice_lines(event.choices)
        own = _values(event)
        nearest = min(alike, key=lambda earlier: len(_values(earlier) ^ own))
        other = _values(nearest)
        if own == other:
            return [f"  read as {nearest.session}"]
        differ = [choice for choice in event.choices if (choice.what, choice.value) not in other]
        lost = sorted({what for what, _ in other} - {what for what, _ in own})
        return [
            f"  read as {nearest.session}, but",
            *choice_lines(differ, indent=4),
            *(f"    {what}: none" for what in lost),
        ]


def choice_lines(choices: Sequence[ReadChoice], *, indent: int = 2) -> list[str]:
    """Return a line for each choice.

    Examples
    --------
    >>> from nwb_latents.schemas.store import ReadChoice
    >>> choice_lines([ReadChoice(what="layout", value="generic", why="any file")])
    ['  layout: generic (any file)']
    """
    return [f"{'':{indent}}{each.what}: {each.value} ({each.why})" for each in choices]


def _values(event: ReadEvent) -> set[tuple[str, str]]:
    return {(choice.what, choice.value) for choice in event.choices}
