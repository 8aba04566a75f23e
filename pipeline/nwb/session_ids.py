"""Who and when: session and subject ids from metadata and file names."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

MOST_CHARACTERS = 80
"""Length of a session id; what is longer is cut, and told apart by a digest of the whole."""

_BENCHMARK_PART = re.compile(r"[-_](held[-_](?:in|out)[-_](?:calib|minival|eval|test))$", re.IGNORECASE)


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
    return "-".join(part for part in kept.split("-") if part) or "unknown"


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
    >>> len(session_id("a.nwb", subject="C", session=300 * "x"))
    80
    """
    named = _entity(file_name, "sub")
    sub, part = split_subject(subject or named or "unknown")
    # Parts of one session differ in nothing else, so that the part has to stay in the id.
    part = part or (split_subject(named)[1] if named else None)
    # Some files (000688) repeat the whole id as their session id.
    given = _entity(session, "ses") or session if session else None
    ses = label(given or _entity(file_name, "ses") or _stem(file_name))
    desc = _entity(file_name, "desc") or part
    return shortened(f"sub-{label(sub)}_ses-{ses}" + (f"_desc-{label(desc)}" if desc else ""))


def shortened(session: str) -> str:
    """Return a session id of at most `MOST_CHARACTERS`; a longer one is cut and ends in a digest of it all.

    Examples
    --------
    >>> shortened("sub-C_ses-1")
    'sub-C_ses-1'
    >>> shortened(f"sub-C_ses-{100 * 'x'}")[-12:]
    'xx-aeeedd09f'
    """
    if len(session) <= MOST_CHARACTERS:
        return session
    digest = hashlib.sha256(session.encode()).hexdigest()[:9]
    return f"{session[: MOST_CHARACTERS - len(digest) - 1]}-{digest}"


def subject_of_name(file_name: str) -> str | None:
    """Return the subject a file's name states, or None.

    Examples
    --------
    >>> subject_of_name("sub-C_ses-1_ecephys.nwb")
    'C'
    """
    return _entity(file_name, "sub")


def _stem(file_name: str) -> str:
    return PurePosixPath(PurePosixPath(file_name).name.removesuffix(".zarr")).stem


def _entity(file_name: str, key: str) -> str | None:
    for part in _stem(file_name).split("_"):
        if part.startswith(f"{key}-") and len(part) > len(key) + 1:
            return part[len(key) + 1 :]
    return None
