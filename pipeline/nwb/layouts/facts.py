"""Facts all files of a published family share, beside the names of their series.

A lab's own file may well have a series ``cursor_pos`` and a column ``result``; that alone makes it no file of
a dandiset. What a file lacks of a family is returned in words, for the person who wonders why it was read
otherwise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nwb_latents.pipeline.nwb.layouts.trial_table import TRIALS

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile

GROUP_NAMES = "general/extracellular_ephys/electrodes/group_name"


def lacking_columns(file: NwbFile, *alternatives: tuple[str, ...]) -> list[str]:
    """Return the columns of the trial table that are not there.

    Parameters
    ----------
    file
        The open file.
    alternatives
        Names of which one must be there, each.
    """
    there = set(file.columns(TRIALS))
    return [f"a column {' or '.join(names)} in /{TRIALS}" for names in alternatives if not there & set(names)]


def lacking_series(file: NwbFile, *alternatives: tuple[str, ...]) -> list[str]:
    """Return the paths that are not there, of each of which one must be."""
    return [f"/{' or /'.join(paths)}" for paths in alternatives if not any(file.has(path) for path in paths)]


def lacking_groups(file: NwbFile, pattern: str, shown: str) -> list[str]:
    """Return `shown` where the electrodes are not all in groups whose names match a regular expression."""
    names = file.array(GROUP_NAMES).ravel() if file.shape(GROUP_NAMES) else ()
    if len(names) and all(re.fullmatch(pattern, str(name)) for name in names):
        return []
    return [f"electrode groups called {shown}"]


def lacking_session(file: NwbFile, pattern: str, shown: str) -> list[str]:
    """Return `shown` where the session id does not begin with a regular expression."""
    session = file.session.partition("_ses-")[2]
    return [] if re.match(pattern, session) else [f"a session id like {shown}"]
