"""When something was measured, in an order that a clock which goes back does not turn round.

Of two records of the same measurement the later counts (`measurements`), so that a clock that was set back
would have the new number count as the older one. A process therefore never writes an earlier time than it
did before, nor, for its first one, an earlier time than the newest that is there.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic_core import from_json

from nwb_latents.pipeline.stores.lenient import say
from nwb_latents.pipeline.stores.measurement_lines import SUFFIX
from nwb_latents.pipeline.stores.plain_files import open_file

if TYPE_CHECKING:
    from pathlib import Path

SAID_FROM = timedelta(seconds=5)
"""Clocks of machines differ by less than this, which is not told."""

TRUSTED = timedelta(days=1)
"""What is further ahead is no clock that was set back, but a time that was never true."""

_TAIL = 65_536
_TICK = timedelta(milliseconds=1)
_latest: dict[tuple[int, str], datetime] = {}
_turn = threading.Lock()


def time_of_now(folder: Path) -> str:
    """Return the time for what is added to a folder of measurements now.

    Parameters
    ----------
    folder
        The folder; it need not exist. Its files are looked at once by each process.

    Returns
    -------
    time
        ISO 8601, UTC. By the clock of this machine, or 1 ms after the newest measurement that is there if the
        clock is behind that, which is said (`CatalogWarning`) where it is more than `SAID_FROM`.

    Examples
    --------
    >>> from pathlib import Path
    >>> time_of_now(Path("nowhere/catalog.measurements"))[-6:]
    '+00:00'
    """
    place = os.getpid(), os.path.abspath(folder)  # noqa: PTH100 - without asking the disk
    now = datetime.now(UTC)
    with _turn:
        before = _latest.get(place)
        if before is None:
            before = _newest(folder, now)
        if before is not None and now < before:
            now = before + _TICK
        _latest[place] = now
    return now.isoformat(timespec="milliseconds")


def _newest(folder: Path, now: datetime) -> datetime | None:
    """Return the newest time in a folder if it is after now; say so if that is not by a hair."""
    found = [(time, path) for path in _changed_later(folder, now) if (time := _last_time(path)) is not None]
    if not found:
        return None
    newest, path = max(found)
    ahead = newest - now
    if ahead <= timedelta(0):
        return None
    if ahead > TRUSTED:
        say(
            f"{path}: its last measurement says {newest.isoformat(timespec='seconds')}, but the clock of "
            f"this machine {now.isoformat(timespec='seconds')}. Where the same is measured now, that one "
            "still counts as the later. Mend the clock, or the times in the file."
        )
        return None
    if ahead > SAID_FROM:
        say(
            f"the clock of this machine is {ahead.total_seconds():.0f} s behind the newest measurement in "
            f"{path}: what is measured now is given the times after that one, so that it counts as the "
            "later. Look at the clock."
        )
    return newest


def _changed_later(folder: Path, now: datetime) -> list[Path]:
    """Return the files that say, by name or by when they were changed, that they go beyond now."""
    name = now.strftime("%Y%m%dT%H%M%SZ")
    try:
        with os.scandir(folder) as entries:
            return [
                folder / one.name
                for one in entries
                if one.name.endswith(SUFFIX)
                and one.name[:1].isdigit()
                and (one.name[: len(name)] > name or one.stat().st_mtime > now.timestamp())
            ]
    except OSError:
        return []


def _last_time(path: Path) -> datetime | None:
    """Return the time of the last whole line of a file."""
    try:
        with open_file(path) as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            said = from_json(line)
            return datetime.fromisoformat(said["time"]).astimezone(UTC)
        except (ValueError, KeyError, TypeError):
            continue
    return None
