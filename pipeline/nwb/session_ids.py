"""Who and when: session and subject ids from metadata and file names."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

_BENCHMARK_PART = re.compile(r"[-_](held[-_](?:in|out)[-_](?:calib|minival|eval|test))$", re.IGNORECASE)


LONGEST = 80
"""Characters of a session's or a subject's label."""

NAMELESS = "unknown"
"""The label of a text without any letter or digit."""


def label(text: str) -> str:
    """Turn text into a label that is safe in ids and shell patterns: letters and digits of any language.

    What is written in two ways, é as one sign or as two, becomes one label. In paths it stands encoded
    (`pipeline.stores.location.path_name`).

    Examples
    --------
    >>> label("CO_20131003/../x")
    'CO-20131003-x'
    >>> label("Zoë 猴1")
    'Zoë-猴1'
    """
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" or c in "-+" else "-" for c in composed)
    return "-".join(part for part in kept.split("-") if part) or NAMELESS


def short(text: str) -> str:
    """Return a label that is no longer than names of files allow: of a longer one the beginning and a digest.

    Examples
    --------
    >>> short("CO-20131003"), len(short("x" * 300))
    ('CO-20131003', 89)
    """
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def split_subject(subject: str) -> tuple[str, str | None]:
    """Split the name of a benchmark's part off a subject id.

    The FALCON dandisets (000941, 000953, 000954) publish each part of their sessions as a subject of its own.

    Returns
    -------
    subject, part
        The part is None where there is none.

    Examples
    --------
    >>> split_subject("MonkeyL-held-in-calib")
    ('MonkeyL', 'held-in-calib')
    >>> split_subject("Jenkins")
    ('Jenkins', None)
    """
    found = _BENCHMARK_PART.search(subject)
    if found is None:
        return subject, None
    return subject[: found.start()], label(found[1].lower())


def session_id(file_name: str, *, subject: str | None, session: str | None) -> str:
    """Return the BIDS-like id of a session.

    Parameters
    ----------
    file_name
        Name of the NWB file; its ``sub-``, ``ses-`` and ``desc-`` entities fill in what the metadata lack.
    subject, session
        Metadata of the file.

    Examples
    --------
    >>> session_id("sub-C_ses-CO-20131003_behavior+ecephys.nwb", subject="C", session="CO-20131003")
    'sub-C_ses-CO-20131003'
    >>> session_id("sub-C_ses-CO-20160909_x.nwb", subject="C", session="sub-C_ses-CO-20160909")
    'sub-C_ses-CO-20160909'
    >>> session_id("monkey.nwb", subject=None, session=None)
    'sub-unknown_ses-monkey'
    >>> session_id("sub-L-held-out-calib_ses-1_x.nwb", subject="L-held-out-calib", session=None)
    'sub-L_ses-1_desc-held-out-calib'
    """
    named = entity(file_name, "sub")
    part = split_subject(subject)[1] if subject else None
    # Parts of one session differ in nothing else, so that the part has to stay in the id.
    part = part or (split_subject(named)[1] if named else None)
    # Some files (000688) repeat the whole id as their session id.
    given = label(entity(session, "ses") or session) if session else NAMELESS
    ses = given if given != NAMELESS else label(entity(file_name, "ses") or _stem(file_name))
    desc = entity(file_name, "desc") or part
    return f"sub-{subject_label(file_name, subject)}_ses-{short(ses)}" + (
        f"_desc-{short(label(desc))}" if desc else ""
    )


def subject_label(file_name: str, subject: str | None) -> str:
    """Return the label of a subject, without the suffix that marks a benchmark's part of its sessions.

    Parameters
    ----------
    file_name
        Name of the NWB file; its ``sub-`` entity is taken where the metadata name nobody.
    subject
        Metadata of the file.

    Examples
    --------
    >>> subject_label("sub-C_x.nwb", None), subject_label("x.nwb", "MonkeyL-held-in-calib")
    ('C', 'MonkeyL')
    """
    given = label(split_subject(subject)[0]) if subject else NAMELESS
    return short(given if given != NAMELESS else label(split_subject(subject_of_name(file_name) or "")[0]))


def subject_of_name(file_name: str) -> str | None:
    """Return the subject a file's name states, or None.

    Examples
    --------
    >>> subject_of_name("sub-C_ses-1_ecephys.nwb")
    'C'
    """
    return entity(file_name, "sub")


def _stem(file_name: str) -> str:
    return PurePosixPath(PurePosixPath(file_name).name.removesuffix(".zarr")).stem


def entity(file_name: str, key: str) -> str | None:
    """Return what a name after BIDS states under a key, or None.

    Examples
    --------
    >>> entity("sub-C_ses-1_ecephys.nwb", "ses")
    '1'
    """
    for part in _stem(file_name).split("_"):
        if part.startswith(f"{key}-") and len(part) > len(key) + 1:
            return part[len(key) + 1 :]
    return None
