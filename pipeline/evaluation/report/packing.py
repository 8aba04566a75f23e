"""Data as the page carries it: JSON, compressed, in the letters of base64, which hold no markup."""

from __future__ import annotations

import base64
import gzip
import json
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from nwb_latents.pipeline.evaluation.report.content import Json


def pack(content: Json) -> str:
    """Return data as text that can stand in a page. Equal data give equal text.

    Examples
    --------
    >>> unpack(pack({"name": "</script>", "value": 0.5}))
    {'name': '</script>', 'value': 0.5}
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return pack_text(text)


def pack_text(text: str) -> str:
    """Return text compressed, in base64."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def unpack(packed: str) -> Json:
    """Return the data of `pack`."""
    content: Json = json.loads(gzip.decompress(base64.b64decode(packed)))
    return content


def numbers(values: ArrayLike, digits: int = 2) -> list[object]:
    """Return an array as nested lists of rounded numbers; what is not finite is None.

    Parameters
    ----------
    values
        Of any shape.
    digits
        Decimal places kept; 0: whole numbers.

    Examples
    --------
    >>> numbers([[1.234, float("nan")]]), numbers([2.6], digits=0)
    ([[1.23, None]], [3])
    """
    array = np.round(np.asarray(values, dtype=np.float64), digits)
    flat = [
        None if not math.isfinite(one) else int(one) if digits == 0 else one for one in array.ravel().tolist()
    ]
    return _nested(flat, array.shape)


def _nested(flat: Sequence[object], shape: tuple[int, ...]) -> list[object]:
    if len(shape) <= 1:
        return list(flat)
    size = math.prod(shape[1:])
    return [_nested(flat[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]
