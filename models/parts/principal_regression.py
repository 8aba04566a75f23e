"""Maps of stitched sessions by principal-component regression (Pandarinath et al. 2018, stitching)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping


class RegressedMap(NamedTuple):
    """From the units of a session to components all sessions share, and back.

    Attributes
    ----------
    weight, bias
        ``y weight + bias`` are the components. Shapes ``(unit, P)`` and ``(P,)``.
    back
        ``components backᵀ + mean`` is the activity. Shape ``(unit, P)``.
    """

    weight: Tensor
    bias: Tensor
    back: Tensor


def principal_regression(
    means: Mapping[str, Tensor], width: int, *, ridge: float = 1.0
) -> dict[str, RegressedMap]:
    """Regress every session's condition means on the principal components of all of them.

    The means of all sessions side by side, centred, have principal components ``Z``; a ridge regression of
    each session alone predicts them, and another predicts the session from them. Where sessions span all
    components, that is the pseudo-inverse of the first (lfads-torch); where they do not, it stays finite.

    Parameters
    ----------
    means
        Session id → activity averaged over trials, the same conditions in the same order in every session.
        Shape ``(condition · time, unit)``, finite.
    width
        Components (P).
    ridge
        Penalty on the squared weights, in units of `means` squared.

    Returns
    -------
    maps
        Session id → its maps.

    Raises
    ------
    ValueError
        If there are fewer than `width` units in all, or bins of conditions.

    Examples
    --------
    >>> activity = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> maps = principal_regression({"a": activity, "b": activity[:, :4]}, 3)
    >>> tuple(maps["b"].weight.shape), tuple(maps["b"].back.shape)
    ((4, 3), (4, 3))
    """
    centred = {name: x.double() - x.double().mean(0) for name, x in means.items()}
    joined = torch.cat(list(centred.values()), 1)
    if width > min(joined.shape):
        raise ValueError(
            f"{width} components of {joined.shape[1]} units in {joined.shape[0]} bins of conditions; "
            f"{min(joined.shape)} at most"
        )
    u, s, _ = torch.linalg.svd(joined, full_matrices=False)
    components = u[:, :width] * s[:width]
    maps = {}
    for name, x in centred.items():
        weight = ridge_weights(x, components, ridge)
        bias = -means[name].double().mean(0) @ weight
        maps[name] = RegressedMap(weight, bias, ridge_weights(components, x, ridge).T)
    return maps


def ridge_weights(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Return the weights of a ridge regression of centred values.

    Parameters
    ----------
    x, y
        Centred, finite. Shapes ``(sample, n_in)`` and ``(sample, n_out)``.
    penalty
        On the squared weights, in units of `x` squared.

    Returns
    -------
    weights
        ``x weights ≈ y``. Shape ``(n_in, n_out)``.

    Examples
    --------
    >>> x = torch.tensor([[-1.0], [0.0], [1.0]])
    >>> ridge_weights(x, 3 * x, 0.0).tolist()
    [[3.0]]
    """
    gram = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype)
    solved: Tensor = torch.linalg.solve(gram, x.T @ y)
    return solved
