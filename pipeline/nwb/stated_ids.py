"""What a file states of its session, subject and format, where that is not what it should be."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from nwb_latents.pipeline.nwb.plain_words import array_words, value_words
from nwb_latents.pipeline.nwb.session_ids import LONGEST, NAMELESS, entity, label, subject_of_name

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile

SESSION, SUBJECT = "general/session_id", "general/subject/subject_id"
_VERSION = re.compile(r"2\.\d+(\.\d+)?\S*")
_HARMLESS = re.compile(r"[\w+\- .:]*")
MOST_SHOWN = 40


def say_stated(file: NwbFile) -> None:
    """Say what was odd about the ids and the version a file states, and what is taken in their place.

    Parameters
    ----------
    file
        The open file.
    """
    _say_version(file)
    _say_id(file, SESSION, taken=file.session, in_name=entity(file.name, "ses"), what="session")
    _say_id(file, SUBJECT, taken=file.subject, in_name=subject_of_name(file.name), what="subject")


def _say_version(file: NwbFile) -> None:
    version = file.attribute("", "nwb_version")
    if not isinstance(version, str) or not _VERSION.fullmatch(version.strip()):
        file.say(
            f"nwb_version is {value_words(version)}, expected a version of NWB 2 such as '2.7.0'; the file "
            "is read as NWB 2"
        )


def _say_id(file: NwbFile, path: str, *, taken: str, in_name: str | None, what: str) -> None:
    found = _odd(file, path)
    if found is None:
        return
    is_used, why = found
    if not is_used and why.endswith("is not there") and in_name is not None:
        # NWB does not ask for these, and a name after BIDS states them.
        return
    how = "" if is_used else ", after the name of the file" if taken != NAMELESS else ""
    file.say(f"{why}: the {what} is called {taken}{how}")


def _odd(file: NwbFile, path: str) -> tuple[bool, str] | None:
    """Return whether a stated id is used all the same, and what is odd about it; None: nothing is."""
    text = file.text(path)
    if file.shape(path) is None:
        why = _absent(file, path)
    elif text is None:
        why = f"/{path} holds {array_words(file.array(path))}, which names nothing"
    elif not text.strip():
        why = f"/{path} is empty"
    elif label(text) == NAMELESS and text != NAMELESS:
        why = f"/{path} is {_shown(text)}, without a letter or digit that an id may have"
    else:
        odd = _odd_text(file, path, text)
        return None if odd is None else (True, odd)
    return False, why


def _odd_text(file: NwbFile, path: str, text: str) -> str | None:
    """Return what is odd about an id that is used."""
    values = file.array(path).ravel()
    if len(values) > 1:
        return f"/{path} holds {len(values)} values, of which the first is taken"
    if not isinstance(values[0], str):
        return f"/{path} is the number {text}, and no text"
    if len(label(text)) > LONGEST:
        return f"/{path} has {len(text)} characters, more than names of files have room for"
    if not _HARMLESS.fullmatch(unicodedata.normalize("NFC", text)):
        return f"/{path} is {_shown(text)}, with characters that no id may have"
    return None


def _absent(file: NwbFile, path: str) -> str:
    broken = file.tree.broken_link(path)
    if broken is not None:
        return f"{broken}, and there is nothing"
    parent = path.rsplit("/", 1)[0]
    if file.has(path):
        return f"/{path} is a group, and no text"
    if file.shape(parent) is not None:
        return f"/{parent} is an array, and no group"
    return f"/{path} is not there"


def _shown(text: str) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return f"'{plain[:MOST_SHOWN]}{'…' if len(plain) > MOST_SHOWN else ''}'"
