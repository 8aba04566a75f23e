"""Fixed points of a map and the eigenvalues there (Sussillo and Barak 2013; Golub and Sussillo 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.func import jacrev, vmap

if TYPE_CHECKING:
    from collections.abc import Callable

DAMPING = 1e-2


class FixedPoints(NamedTuple):
    """Where a map leaves its state as it is.

    Attributes
    ----------
    states
        Shape ``(point, D)``, float64.
    jacobians
        Of the map. Shape ``(point, D, D)``.
    eigenvalues
        Of each Jacobian, the largest modulus first. Shape ``(point, D)``, complex.
    speeds
        ``½ ‖F(z) − z‖²``. Shape ``(point,)``.
    """

    states: Tensor
    jacobians: Tensor
    eigenvalues: Tensor
    speeds: Tensor


def find_fixed_points(
    step: Callable[[Tensor], Tensor],
    starts: Tensor,
    *,
    max_speed: float = 1e-12,
    merge_within: float = 1e-3,
    max_iterations: int = 200,
) -> FixedPoints:
    """Find the fixed points of a map from many starts, by damped Gauss-Newton steps on its speed.

    Parameters
    ----------
    step
        The map ``F``: states of shape ``(n, D)`` to their successors; every row on its own.
    starts
        Shape ``(n, D)``; states the system visits, with some noise.
    max_speed
        Largest speed ``q(z) = ½ ‖F(z) − z‖²`` of what is kept.
    merge_within
        Points nearer to each other than this are one; that of least speed is kept.
    max_iterations
        Steps at most.

    Returns
    -------
    points
        Each point once, ordered by its first coordinate; none where there are none.

    Examples
    --------
    >>> points = find_fixed_points(lambda z: z + 0.1 * (z - z**3), torch.linspace(-2, 2, 20)[:, None])
    >>> points.states.flatten().round(decimals=6).abs().tolist()
    [1.0, 0.0, 1.0]
    """
    z = starts.detach().to(torch.float64).clone()
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    jacobian = vmap(jacrev(lambda row: step(row[None])[0]))
    damping = torch.full((len(z), 1, 1), DAMPING, dtype=z.dtype, device=z.device)
    with torch.no_grad():
        off = step(z) - z
        speed = 0.5 * off.square().sum(1)
        for _ in range(max_iterations):
            if bool((speed <= 1e-6 * max_speed).all()):
                break
            slope = jacobian(z) - eye
            normal = slope.transpose(1, 2) @ slope
            pull = slope.transpose(1, 2) @ off[:, :, None]
            tried = z - torch.linalg.solve(normal + damping * eye, pull)[:, :, 0]
            off_tried = step(tried) - tried
            speed_tried = 0.5 * off_tried.square().sum(1)
            # Levenberg-Marquardt: trust the linearisation more where it lowered the speed.
            better = speed_tried < speed
            z, off = (torch.where(better[:, None], new, old) for new, old in ((tried, z), (off_tried, off)))
            speed = torch.where(better, speed_tried, speed)
            damping = torch.where(better[:, None, None], damping / 4, damping * 4).clamp(1e-15, 1e12)
        kept = _distinct(z, speed, max_speed=max_speed, merge_within=merge_within)
        states = z[kept]
        jacobians = jacobian(states)
        eigenvalues = torch.linalg.eigvals(jacobians)
        order = eigenvalues.abs().argsort(1, descending=True)
    return FixedPoints(states, jacobians, eigenvalues.gather(1, order), speed[kept])


def _distinct(z: Tensor, speed: Tensor, *, max_speed: float, merge_within: float) -> Tensor:
    """Rows of distinct slow points, by their first coordinate."""
    kept: list[int] = []
    for row in speed.argsort().tolist():
        if not float(speed[row]) <= max_speed:
            break
        if not kept or float((z[kept] - z[row]).norm(dim=1).min()) > merge_within:
            kept.append(row)
    kept.sort(key=lambda row: float(z[row, 0]))
    return torch.tensor(kept, dtype=torch.int64, device=z.device)
