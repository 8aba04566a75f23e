"""What is said of an error nobody foresaw, in one file among several."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from nwb_latents.pipeline.stores.damaged_chunk import damaged_chunk

logger = logging.getLogger(__name__)


def unforeseen_words(where: str, error: Exception) -> str:
    """Return what a person is told; the traceback goes to the log, which ``--verbose`` shows.

    Parameters
    ----------
    where
        The file it happened in.
    error
        What was raised.

    Examples
    --------
    >>> unforeseen_words("a.nwb", KeyError("x")).startswith("a.nwb: unexpected KeyError: 'x'. Please")
    True
    """
    if isinstance(error, MemoryError):
        return f"{where}: there is not enough memory for this file. Use a machine with more."
    logger.debug("%s: unexpected", where, exc_info=error)
    if (damage := damaged_chunk(error)) is not None:
        return f"{where}: {damage}"
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return (
        f"{where}: unexpected {type(error).__name__}: {error}{at}. Please report it with the file's name; "
        "other files are unharmed."
    )
