"""What came of a spoiled input, held against what came of the unspoiled one."""

from __future__ import annotations

import re
import signal
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from robustness.forked import Ended

from robustness.forked import CPU_S, MOST_BYTES

COLUMNS = ("traceback", "hang", "> 4 GB", "wrong exit code", "silently accepted")
TRACEBACK, HANG, MEMORY, CODE, SILENT = COLUMNS
DONE, USAGE, SOME_FAILED, BAD_DATA, MACHINE, INTERRUPTED = 0, 2, 3, 4, 5, 130
REFUSED = frozenset({USAGE, SOME_FAILED, BAD_DATA, MACHINE})

_UNFORESEEN = re.compile(
    r"unexpected \w*(Error|Exception|Exit|Warning|Interrupt)\b|This is a fault of the program"
)
_OF_PYTHON = re.compile(r"^\S+\.pyx?:\d+: \w*Warning: ", re.MULTILINE)
_NO_MEMORY = re.compile(r"there is not enough memory")
_NUMBERS = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class Mutation:
    """What was done to an input.

    Attributes
    ----------
    text
        What was done.
    names
        Words, one of which has to be in what is said or refused because of it; none: any word will do.
    harmless
        Why another outcome is right though nothing is said: the input is as good as the other one was.
    refused
        Whether it has to be refused.
    """

    text: str
    names: tuple[str, ...] = ()
    harmless: str = ""
    refused: bool = False


@dataclass
class Verdict:
    """What a trial has shown.

    Attributes
    ----------
    trial
        Its id.
    text
        What was done to the input.
    command
        The command line.
    faults
        Column of the table → what is wrong.
    code
        Exit code.
    outcome
        ``refused``, ``said``, ``same`` or ``other``.
    said
        The message, or the beginning of it.
    """

    trial: str
    text: str = ""
    command: str = ""
    faults: dict[str, str] = field(default_factory=dict)
    code: int = 0
    outcome: str = ""
    said: str = ""
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """Return it as JSON would have it."""
        return asdict(self)


def plain_faults(ended: Ended, allowed: Collection[int]) -> dict[str, str]:
    """Return what no command may do, whatever it is given."""
    found: dict[str, str] = {}
    said = f"{ended.err}\n{ended.out}"
    if "Traceback (most recent call last)" in said:
        found[TRACEBACK] = _around(said, said.rindex("Traceback (most recent"), after=900)
    elif unforeseen := _UNFORESEEN.search(said):
        found[TRACEBACK] = _around(said, unforeseen.start())
    elif of_python := _OF_PYTHON.search(said):
        found[TRACEBACK] = f"a line of code: {_around(said, of_python.start())}"
    if ended.is_late or ended.cpu_s > CPU_S:
        found[HANG] = f"{ended.cpu_s:.0f} s of the processor, {ended.wall_s:.0f} s"
    elif ended.code < 0 and -ended.code not in {signal.SIGINT, signal.SIGTERM} and ended.code not in allowed:
        found[TRACEBACK] = f"ended by {signal.Signals(-ended.code).name}: {ended.err[-400:]}"
    if ended.rss > MOST_BYTES:
        found[MEMORY] = f"{ended.rss / 1e9:.1f} GB"
    elif no_memory := _NO_MEMORY.search(said):
        found[MEMORY] = _around(said, no_memory.start())
    if not found and ended.code not in allowed:
        found[CODE] = f"{ended.code}: {(ended.err or ended.out)[-400:]}"
    return found


def judge(
    verdict: Verdict,
    ended: Ended,
    mutation: Mutation,
    *,
    new: Iterable[str],
    difference: Collection[str] | None,
    allowed: Collection[int] = frozenset({DONE, SOME_FAILED, BAD_DATA}),
) -> Verdict:
    """Complete a verdict.

    Parameters
    ----------
    verdict
        With the trial's id and the command.
    ended
        How the command ended.
    mutation
        What was done.
    new
        What is said and was not said of the unspoiled input.
    difference
        What is other than with the unspoiled input; empty: nothing; None: there is no outcome.
    allowed
        Exit codes that this command may have.
    """
    verdict.text, verdict.code = mutation.text, ended.code
    verdict.seconds = round(ended.wall_s, 2)
    verdict.faults |= plain_faults(ended, allowed)
    new = list(new)
    verdict.said = " | ".join(new)[:1200]
    if verdict.faults:
        verdict.outcome = "fault"
        return verdict
    words = "\n".join([*new, *([ended.err] if ended.code != DONE else [])]).lower()
    is_named = bool(words.strip()) and (
        not mutation.names or any(name.lower() in words for name in mutation.names)
    )
    if ended.code != DONE:
        verdict.outcome = "refused"
        verdict.said = verdict.said or ended.err[-900:]
        if not is_named:
            verdict.faults[SILENT] = f"refused without a word on {' / '.join(mutation.names)}: {words[-600:]}"
    elif mutation.refused:
        verdict.outcome = "other"
        verdict.faults[SILENT] = f"taken, though it cannot be right; said: {verdict.said[:300] or 'nothing'}"
    elif difference is not None and not difference:
        verdict.outcome = "same"
    elif is_named:
        verdict.outcome = "said"
    elif mutation.harmless:
        verdict.outcome = f"other: {mutation.harmless}"
    else:
        verdict.outcome = "other"
        other = ", ".join(sorted(difference or ())[:8]) or "no outcome"
        verdict.faults[SILENT] = f"differs: {other}; said: {verdict.said[:400] or 'nothing'}"
    return verdict


def texts_of(ended: Ended) -> set[str]:
    """Return everything a command says to a person, each sentence once."""
    found: set[str] = set()
    for event in ended.events:
        match event.get("event"):
            case "read":
                found.update(f"{c['what']}: {c['value']} ({c['why']})" for c in event["choices"])
                found.update(event["warnings"])
                for what, reasons in event["dropped"].items():
                    found.update(f"dropped {what}: {reason} {n}" for reason, n in reasons.items())
            case "dropped":
                found.update(str(each) for each in event.get("unusual", ()))
            case "note" | "warning":
                found.add(str(event.get("text", "")))
            case "fault":
                found.add(f"{event['path']} {event['where']} {event['text']}. {event['remedy']}")
            case _:
                found.update(str(event[key]) for key in ("reason", "why_stale") if event.get(key))
    found.update(line for line in ended.err.splitlines() if line.startswith(("warning:", "error:", "note:")))
    return found - {""}


def sentences_of_error(ended: Ended) -> set[str]:
    """Return the lines of standard error, numbers left out: progress and seconds differ each time."""
    return {_NUMBERS.sub("#", line) for line in ended.err.splitlines() if line.strip()}


def _around(text: str, at: int, *, after: int = 500) -> str:
    return text[max(text.rfind("\n", 0, at), 0) : at + after].strip()
