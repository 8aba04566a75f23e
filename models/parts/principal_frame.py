"""Coordinates every session can be started in: its principal components, turned to slow features.

Read-in and read-out of a session that start at random put its states into a frame of their own: the same
dynamics then look turned or mirrored from one session to the next, and what sessions share has to be found
against that. Within the space of the principal components, which coordinate is slowest does not depend on
the units recorded, and the sense in which the states rotate decides on signs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping


class Frame(NamedTuple):
    """Coordinates of a session's units: ``y ≈ mean + z axesᵀ``.

    Attributes
    ----------
    axes
        Shape ``(unit, D)``; orthogonal columns of length ``sqrt(n_units / D)``, or 0 beyond the units.
    mean
        Mean of each unit. Shape ``(unit,)``.
    left_over
        Variance of each unit outside the axes. Shape ``(unit,)``.
    total
        Variance of each unit. Shape ``(unit,)``.
    """

    axes: Tensor
    mean: Tensor
    left_over: Tensor
    total: Tensor

    @property
    def projection(self) -> Tensor:
        """From units to coordinates, the pseudo-inverse of the axes. Shape ``(unit, D)``."""
        n_units, dim = self.axes.shape
        return self.axes * (dim / n_units)

    def turned(self, angle: float) -> Frame:
        """Return the frame with its first two axes turned by an angle in rad."""
        if self.axes.shape[1] == 1:
            return self
        turn = torch.eye(self.axes.shape[1], dtype=self.axes.dtype, device=self.axes.device)
        c, s = math.cos(angle), math.sin(angle)
        turn[:2, :2] = torch.tensor([[c, -s], [s, c]])
        return self._replace(axes=self.axes @ turn)


def principal_frame(y: Tensor, dim: int) -> Frame:
    """Return axes of the space of the principal components of trials, from slow to fast.

    Slow is what changes least within a tenth of a trial, relative to its variance (slow feature analysis,
    Wiskott & Sejnowski 2002); each axis is made orthogonal to the slower ones. Of each two axes the first
    is given the sign that makes its third moment positive, and the second the sign that makes the states
    rotate from the first to the second on average, as the planes of jPCA do (Churchland et al. 2012).

    Parameters
    ----------
    y
        Trials. Shape ``(trial, time, unit)``; NaN counts as the unit's mean.
    dim
        Number of axes D; those beyond the number of units are 0.

    Returns
    -------
    frame
        Axes are scaled so that states have the same size whatever the number of units.

    Examples
    --------
    >>> t = torch.linspace(0, 12.0, 60)
    >>> y = torch.stack([2 * t.sin(), -t.cos(), 0 * t], -1)[None]
    >>> z = (y - principal_frame(y, 2).mean) @ principal_frame(y, 2).projection
    >>> bool((z[0, :-1, 0] * z[0, 1:, 1] - z[0, 1:, 0] * z[0, :-1, 1]).mean() > 0)
    True
    """
    n_units = y.shape[2]
    mean = y.nanmean((0, 1)).nan_to_num()
    x = torch.where(y.isnan(), 0.0, y - mean).double()
    flat = x.reshape(-1, n_units)
    _, vectors = torch.linalg.eigh(flat.T @ flat)
    axes = vectors.flip(-1)[:, :dim]
    axes = axes @ _slow_axes(x @ axes)
    z = x @ axes
    for a in range(0, axes.shape[1], 2):
        if z[..., a].pow(3).mean() < 0:
            axes[:, a] *= -1
            z[..., a] *= -1
        if a + 1 < axes.shape[1]:
            here, there = z[:, :-1, a : a + 2], z[:, 1:, a : a + 2]
            if (here[..., 0] * there[..., 1] - there[..., 0] * here[..., 1]).mean() < 0:
                axes[:, a + 1] *= -1
                z[..., a + 1] *= -1
    left_over = (flat - z.reshape(len(flat), -1) @ axes.T).square().mean(0)
    axes = torch.nn.functional.pad(axes * math.sqrt(n_units / dim), (0, max(0, dim - n_units)))
    total = flat.square().mean(0)
    return Frame(*(part.to(y.dtype) for part in (axes, mean.double(), left_over, total)))


def _slow_axes(z: Tensor) -> Tensor:
    """Return orthogonal axes from slow to fast. Shape ``(D, D)``."""
    lag = max(1, z.shape[1] // 10)
    change = (z[:, lag:] - z[:, :-lag]).reshape(-1, z.shape[2])
    flat = z.reshape(-1, z.shape[2])
    values, vectors = torch.linalg.eigh(flat.T @ flat)
    whiten = vectors / values.clamp_min(1e-9 * float(values.max()) + 1e-30).sqrt()
    _, slow = torch.linalg.eigh(whiten.T @ (change.T @ change) @ whiten)
    axes: Tensor = torch.linalg.qr(whiten @ slow)[0]
    return axes


class Entry(NamedTuple):
    """What a unit of latent state is read in as.

    Attributes
    ----------
    weight, bias
        Shapes ``(D, P0)`` and ``(P0,)``.
    """

    weight: Tensor
    bias: Tensor


def mean_entry(weights: Mapping[str, Tensor]) -> Entry:
    """Return how the sessions of a trained model read in their own read-outs, averaged over sessions.

    Parameters
    ----------
    weights
        State dict of an `MDSSM` with a Gaussian likelihood.
    """

    def blocks(name: str) -> list[Tensor]:
        return [value for key, value in weights.items() if key.startswith(f"{name}.blocks.")]

    maps, biases = [], []
    for w, b, c, d in zip(
        blocks("read_in.weight"), blocks("read_in.bias"), blocks("read_out.weight"), blocks("read_out.bias"),
        strict=True,
    ):  # fmt: skip
        maps.append(torch.einsum("snd,snh->sdh", c[:, :, 0], w))
        biases.append(b + torch.einsum("sn,snh->sh", d[:, :, 0], w))
    return Entry(torch.cat(maps).mean(0), torch.cat(biases).mean(0))
