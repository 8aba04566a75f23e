"""Samples of a series, one in each row, however they were stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.movement_checks import require_unwrapped
from nwb_latents.pipeline.nwb.plain_words import array_words, shape_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import FloatArray


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the dimensions of one that make it more than a table.

    Examples
    --------
    >>> squeezed((1, 500, 2)), squeezed((500, 2, 1)), squeezed((500, 1)), squeezed((500, 1, 1))
    ((500, 2), (500, 2), (500, 1), (500,))
    """
    return shape if len(shape) <= 2 else tuple(n for n in shape if n != 1)


def read_samples(file: NwbFile, path: str, *, what: str) -> FloatArray:
    """Read the samples of a series.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the series.
    what
        ``position`` or ``velocity``: which setting names another series.

    Returns
    -------
    values
        As stored, not converted. Shape ``(n_samples, n_axes)``.

    Raises
    ------
    DataError
        If there is no such series, it holds no numbers, or whole numbers that ran over their type.
    """
    another = f"Name another series with --set {what}_series=PATH."
    file.require_link(f"{path}/data")
    if not file.has(f"{path}/data"):
        raise DataError(
            f"{file.name}: has no series {path}. Name one that exists with --set {what}_series=PATH."
        )
    if file.shape(f"{path}/data") is None:
        raise DataError(f"{file.name}: /{path}/data is a group; expected an array of samples. {another}")
    values = file.array(f"{path}/data")
    if values.dtype.names and all(values.dtype[name].kind in "iuf" for name in values.dtype.names):
        file.say(f"/{path}/data holds records of {', '.join(values.dtype.names)}; each is an axis")
        values = np.column_stack([values[name].astype(np.float64) for name in values.dtype.names])
    shape = squeezed(values.shape)
    if shape != values.shape:
        file.say(f"/{path}/data is stored as {shape_words(values.shape)}; it is read as {shape_words(shape)}")
        values = values.reshape(shape)
    if values.dtype.kind not in "iuf" or values.ndim not in (1, 2) or not values.size:
        raise DataError(
            f"{file.name}: /{path}/data holds {array_words(values)}, {shape_words(values.shape)}; expected "
            f"numbers, one row a sample. {another}"
        )
    values = _upright(file, path, values if values.ndim == 2 else values[:, None])
    require_unwrapped(file, path, values)
    return file.as_floats(values)


def _upright(file: NwbFile, path: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return values whose rows are samples."""
    stamps = file.shape(f"{path}/timestamps")
    n_stamps = int(np.prod(stamps)) if stamps else None
    is_turned = (
        values.shape[1] == n_stamps != values.shape[0]
        if n_stamps
        else values.shape[0] in (1, 2, 3) and values.shape[1] > 10
    )
    if not is_turned:
        return values
    file.say(f"/{path}/data is stored with its axes as rows {values.shape}; it is read transposed")
    return np.ascontiguousarray(values.T)
