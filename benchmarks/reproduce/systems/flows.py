"""Trajectories of flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.models.parts.integrators import runge_kutta_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


def flow_path(
    velocity: Callable[[FloatArray], FloatArray],
    start: FloatArray,
    n_bins: int,
    *,
    dt: float,
    substeps: int = 1,
) -> FloatArray:
    """Follow a flow from several states at once.

    Parameters
    ----------
    velocity
        Time derivative of states of shape ``(trial, D)``.
    start
        States of the first bin. Shape ``(trial, D)``.
    n_bins
        Bins, the first included.
    dt
        Time between two bins.
    substeps
        Runge-Kutta steps between two bins.

    Returns
    -------
    path
        Shape ``(trial, time, D)``, float64.

    Examples
    --------
    >>> flow_path(lambda x: -x, np.ones((4, 2)), 10, dt=0.1).shape
    (4, 10, 2)
    """
    path = np.empty((len(start), n_bins, start.shape[1]))
    state = path[:, 0] = start
    for t in range(1, n_bins):
        for _ in range(substeps):
            state = runge_kutta_step(velocity, state, dt / substeps)
        path[:, t] = state
    return path
