"""Flow fields: how far and where the dynamics of an embedding carry a state within one bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


class Stepping(Protocol):
    """What a flow field asks of a run; `pipeline.training.inference.TrainedRun` has it."""

    @property
    def name(self) -> str:
        """Name of the run."""
        ...

    def step(self, states: ArrayLike, embedding: ArrayLike) -> NDArray[np.float32]:
        """Return ``f(z, e)`` of states of shape ``(state, D)``."""
        ...


@dataclass(frozen=True)
class Plane:
    """A plane in the space of latent states.

    Attributes
    ----------
    origin
        Shape ``(D,)``.
    basis
        Orthonormal rows. Shape ``(2, D)``.
    share
        Share of the variance of the states it was made of that lies within it.
    names
        Names of its axes.
    """

    origin: FloatArray
    basis: FloatArray
    share: float
    names: tuple[str, str]

    def project(self, states: ArrayLike) -> FloatArray:
        """Return coordinates within the plane. Shape ``(…, 2)``."""
        flat: FloatArray = (np.asarray(states, dtype=np.float64) - self.origin) @ self.basis.T
        return flat

    def lift(self, points: ArrayLike) -> FloatArray:
        """Return the states of points of the plane. Shape ``(…, D)``."""
        states: FloatArray = self.origin + np.asarray(points, dtype=np.float64) @ self.basis
        return states


def plane_of(latents: ArrayLike) -> Plane:
    """Return the plane of the first two principal components of states; of two dimensions, themselves.

    Parameters
    ----------
    latents
        Shape ``(…, D)``, finite.

    Returns
    -------
    plane
        Through the mean of the states, each component with its largest entry positive.

    Raises
    ------
    DataError
        If there are fewer than two dimensions.

    Examples
    --------
    >>> plane_of([[0.0, 1.0, 3.0], [0.0, -1.0, 3.0], [2.0, 0.0, 3.0], [-2.0, 0.0, 3.0]]).basis.tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    states = np.asarray(latents, dtype=np.float64)
    n_dims = states.shape[-1]
    states = states.reshape(-1, n_dims)
    if n_dims < 2:
        raise DataError("a flow field needs a latent state of at least two dimensions, found 1")
    if n_dims == 2:
        return Plane(np.zeros(2), np.eye(2), 1.0, ("z1", "z2"))
    origin = states.mean(axis=0)
    _, singular, right = np.linalg.svd(states - origin, full_matrices=False)
    if len(right) < 2:
        raise DataError("a flow field needs at least two different states to span its plane")
    basis = right[:2]
    signs = np.sign(basis[np.arange(2), np.abs(basis).argmax(axis=1)])
    total = float(np.square(singular).sum())
    share = float(np.square(singular[:2]).sum()) / total if total > 0 else 1.0
    return Plane(origin, basis * signs[:, None] + 0.0, share, ("PC 1", "PC 2"))


def flow_field(
    run: Stepping,
    embedding: ArrayLike,
    latents: ArrayLike,
    *,
    plane: Plane | None = None,
    n_points: int = 21,
    margin: float = 0.25,
) -> xr.Dataset:
    """Return ``f(z, e) − z`` on a grid of states in a plane.

    Parameters
    ----------
    run
        A trained run.
    embedding
        Shape ``(E,)``; not used where the dynamics are shared.
    latents
        Generated trajectories, which the grid covers. Shape ``(condition, time, D)``.
    plane
        Where the grid lies; None: `plane_of` the trajectories.
    n_points
        Points along each axis.
    margin
        The grid goes beyond the trajectories by this share of their extent.

    Returns
    -------
    field
        ``vector`` of shape ``(y, x, component)``, the projection on the plane, in latent units per bin;
        ``speed`` of shape ``(y, x)``, the length of the whole change; ``trajectory`` of shape
        ``(condition, time, component)``, projected; coordinates ``x`` and ``y``; attribute ``share``, that of
        the trajectories' variance within the plane.

    Raises
    ------
    DataError
        If the latent state has one dimension.

    References
    ----------
    Vermani et al. 2025, vector fields of the inferred dynamics.
    """
    import xarray as xr  # noqa: PLC0415

    trajectories = np.asarray(latents, dtype=np.float64)
    surface = plane or plane_of(trajectories)
    flat = surface.project(trajectories)
    low, high = flat.min(axis=(0, 1)), flat.max(axis=(0, 1))
    # A trajectory at rest in one direction still gets a grid of some width.
    width = np.maximum(high - low, 1e-3 * max(float((high - low).max()), 1.0))
    middle, half = (low + high) / 2, (0.5 + margin) * width
    x, y = (np.linspace(m - h, m + h, n_points) for m, h in zip(middle, half, strict=True))
    states = surface.lift(np.stack(np.meshgrid(x, y), axis=-1))
    flat_states = states.reshape(-1, states.shape[-1])
    change = (np.asarray(run.step(flat_states, embedding), dtype=np.float64) - flat_states).reshape(
        states.shape
    )
    return xr.Dataset(
        {
            "vector": (("y", "x", "component"), change @ surface.basis.T),
            "speed": (("y", "x"), np.linalg.norm(change, axis=-1)),
            "trajectory": (("condition", "time", "component"), flat),
            "embedding_value": (("embedding",), np.atleast_1d(np.asarray(embedding, dtype=np.float64))),
        },
        coords={"x": x, "y": y, "component": np.array(surface.names, dtype=object)},
        attrs={"run": run.name, "share": surface.share},
    )
