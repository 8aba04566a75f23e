"""Changes of weights that a vector per session brings about, and how a layer applies them.

``dynamics(z, None, conditioner(e))`` is the entire difference between MDSSM, its baselines and
hypernetwork models. Full matrices are never formed where a low-rank product will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nwb_latents.models.kernels.products import linear


@dataclass(frozen=True)
class LowRank:
    """``ΔW = u vᵀ`` (Vermani et al. 2025, eq. 14).

    Attributes
    ----------
    u, v
        Shapes ``(session, n_out, R)`` and ``(session, n_in, R)``.
    replace
        Whether the product stands in for the shared weight instead of being added to it.
    """

    u: Tensor
    v: Tensor
    replace: bool = False

    def norm(self) -> Tensor:
        """Return the Frobenius norm from R×R Gram matrices. Shape ``(session,)``.

        ``‖u vᵀ‖² = tr((uᵀu)(vᵀv))``.

        Examples
        --------
        >>> round(float(LowRank(torch.ones(1, 2, 1), 3 * torch.ones(1, 2, 1)).norm()), 6)
        6.0
        """
        gram_u = self.u.transpose(1, 2) @ self.u
        gram_v = self.v.transpose(1, 2) @ self.v
        return _root((gram_u * gram_v).sum((1, 2)))


@dataclass(frozen=True)
class Full:
    """A change of every weight. `weight` has the shape ``(session, n_out, n_in)``."""

    weight: Tensor

    def norm(self) -> Tensor:
        """Return the Frobenius norm. Shape ``(session,)``."""
        return _root(self.weight.square().sum((1, 2)))


@dataclass(frozen=True)
class Concat:
    """A vector shown to the layer beside its input. `value` has the shape ``(session, E)``."""

    value: Tensor

    def norm(self) -> Tensor:
        """Return zeros: no weight changes. Shape ``(session,)``."""
        return self.value.new_zeros(self.value.shape[0])


@dataclass(frozen=True)
class FiLM:
    """Scale and shift of a layer's output. Shapes ``(session, n_out)`` or ``(session, trial, n_out)``."""

    scale: Tensor
    shift: Tensor

    def norm(self) -> Tensor:
        """Return zeros: no weight changes. Shape ``(session,)``."""
        return self.scale.new_zeros(self.scale.shape[0])

    def on(self, y: Tensor) -> Tensor:
        """Return ``y (1 + scale) + shift``, the axes `y` has in between lifted. Shape of `y`.

        Examples
        --------
        >>> FiLM(torch.ones(1, 2), torch.full((1, 2), 3.0)).on(torch.ones(1, 4, 2))[0, 0].tolist()
        [5.0, 5.0]
        """
        lift = (slice(None),) * (self.scale.ndim - 1) + (None,) * (y.ndim - self.scale.ndim)
        return y * (1 + self.scale[lift]) + self.shift[lift]


Delta = LowRank | Full | Concat | FiLM
Weights = Mapping[str, Delta]


def apply_linear(x: Tensor, weight: Tensor, bias: Tensor | None, delta: Delta | None = None) -> Tensor:
    """Apply a linear layer under a change of its weights.

    Parameters
    ----------
    x
        Shape ``(session, ..., n_in)``.
    weight, bias
        Shared by the sessions. Shapes ``(n_out, n_in)``, or ``(n_out, n_in + E)`` under `Concat`, and
        ``(n_out,)``.
    delta
        Change of each session; None: none.

    Returns
    -------
    y
        Shape ``(session, ..., n_out)``.

    Examples
    --------
    >>> x, weight = torch.ones(1, 4, 2), torch.zeros(3, 2)
    >>> delta = LowRank(torch.ones(1, 3, 1), torch.ones(1, 2, 1))
    >>> apply_linear(x, weight, None, delta)[0, 0].tolist()
    [2.0, 2.0, 2.0]
    """
    if delta is None:
        return linear(x, weight, bias)
    if isinstance(delta, FiLM):
        return delta.on(linear(x, weight, bias))
    S, n_in = x.shape[0], x.shape[-1]
    flat = x.reshape(S, -1, n_in)
    if isinstance(delta, Concat):
        shift = linear(delta.value, weight[:, n_in:], bias)[:, None]
        y = linear(flat, weight[:, :n_in]) + shift
    elif isinstance(delta, Full):
        base = linear(flat, weight, bias)
        y = torch.baddbmm(base, flat, delta.weight.transpose(1, 2))
    else:
        base = linear(flat, weight, bias) if not delta.replace else flat.new_zeros(())
        if delta.replace and bias is not None:
            base = bias
        change = torch.bmm(flat, delta.v)
        y = torch.baddbmm(base, change, delta.u.transpose(1, 2))
    return y.reshape(*x.shape[:-1], -1)


def _root(square: Tensor) -> Tensor:
    # The square root has no gradient at 0, where an untouched hypernetwork may start.
    return square.clamp_min(1e-12).sqrt()
