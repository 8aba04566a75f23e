"""Two signals of the same trials and bins, as the metrics that map one onto the other take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def same_bins(
    one: ArrayLike, other: ArrayLike, *, score: str, names: tuple[str, str], last: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both signals as numbers, which have to be of the same trials and bins and finite.

    Parameters
    ----------
    one, other
        Shapes ``(…, bin, dimension)``, of as many dimensions each as it has.
    score, names, last
        What is computed, what the signals are called and what their last axis holds, for messages.

    Raises
    ------
    DataError
        If the shapes do not fit, or a value is not finite.

    Examples
    --------
    >>> names = ("true states", "inferred states")
    >>> same_bins([[1, 2]], [[3]], score="state R²", names=names, last="dimensions")
    (array([[1., 2.]]), array([[3.]]))
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (one, other))
    if first.ndim < 2 or first.shape[:-1] != second.shape[:-1]:
        raise DataError(
            f"{score}: {names[0]} have shape {first.shape}, {names[1]} {second.shape}; both need the same "
            f"trials and bins, with the {last} last"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataError(f"{score}: a bin of {names[0]} or {names[1]} is not finite; leave its trial out")
    return first, second
