"""Values that cannot be unpacked: a store without a manifest tells of damage where its codecs meet it."""

from __future__ import annotations

import traceback
from pathlib import PurePath

DAMAGED = (
    "a chunk of a trial store cannot be unpacked, because its bytes are not those that were written "
    "({said}). `pipeline catalog verify` names the store and the array; run ingest again with --force."
)


def damaged_chunk(error: BaseException) -> str | None:
    """Return what to tell of an error that a codec of zarr raised; None of any other.

    Parameters
    ----------
    error
        As it was raised, with its traceback.

    Examples
    --------
    >>> damaged_chunk(ValueError("no chunk")) is None
    True
    """
    if not isinstance(error, RuntimeError | ValueError):
        return None
    for frame in traceback.extract_tb(error.__traceback__):
        path = PurePath(frame.filename)
        if path.name == "codec_pipeline.py" or {"zarr", "codecs"} <= set(path.parts):
            return DAMAGED.format(said=" ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__)
    return None
