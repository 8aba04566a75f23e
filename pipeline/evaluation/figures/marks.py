"""Marks that are the same in all pictures: values beyond an axis, bands of intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

BEYOND = "beyond"
"""Mark (gid) of the arrows at the edge of a panel."""


def mark_beyond(panel: Any, x: ArrayLike, y: ArrayLike, *, axis: str = "y", **look: Any) -> int:
    """Put an arrow at the edge of a panel wherever a value lies beyond it; the limits are to be set before.

    Parameters
    ----------
    panel
        The panel.
    x, y
        Values. Shape ``(n,)``; NaN where there is none.
    axis
        Along which values may lie beyond: ``"x"`` or ``"y"``.
    look
        Colour and whatever else a marker has.

    Returns
    -------
    n_beyond
        Number of values beyond the edge.
    """
    across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    values = up if axis == "y" else across
    low, high = sorted(panel.get_ylim() if axis == "y" else panel.get_xlim())
    n_beyond = 0
    for beyond, edge, marker in (
        (values < low, low, "v" if axis == "y" else "<"),
        (values > high, high, "^" if axis == "y" else ">"),
    ):
        if not beyond.any():
            continue
        at = (across[beyond], np.full(beyond.sum(), edge))
        at = at if axis == "y" else (at[1], up[beyond])
        panel.plot(*at, marker, gid=BEYOND, clip_on=False, **{"markersize": 3.5, "zorder": 5, **look})
        n_beyond += int(beyond.sum())
    return n_beyond


def band(panel: Any, x: ArrayLike, low: ArrayLike, high: ArrayLike, **look: Any) -> None:
    """Shade between the ends of intervals."""
    panel.fill_between(x, low, high, linewidth=0, **{"alpha": 0.2, **look})


def plain(number: float, digits: int = 2) -> str:
    """Return a number as text, with the sign for minus.

    Examples
    --------
    >>> plain(-0.5), plain(1.25, 1)
    ('−0.50', '1.2')
    """
    return f"{number:.{digits}f}".replace("-", "−")


def from_to(numbers: ArrayLike) -> str:
    """Return the smallest and the largest of some whole numbers, or the one they all are.

    Examples
    --------
    >>> from_to([3, 5, 4]), from_to([3, 3])
    ('3 to 5', '3')
    """
    found = np.asarray(numbers, dtype=np.int64).ravel()
    if not len(found):
        return "0"
    ends = dict.fromkeys((int(found.min()), int(found.max())))
    return " to ".join(str(n) for n in ends)
