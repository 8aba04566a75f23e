"""One step along a flow, for arrays and tensors alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

State = TypeVar("State", "NDArray[np.float64]", "Tensor")


def runge_kutta_step(velocity: Callable[[State], State], state: State, dt: float) -> State:
    """Return the states a time `dt` on, by the classical Runge-Kutta method of fourth order.

    Parameters
    ----------
    velocity
        Time derivative of states; shape in, shape out.
    state
        States. Any shape `velocity` takes.
    dt
        Time of the step.

    Examples
    --------
    >>> import numpy as np
    >>> step = runge_kutta_step(lambda x: -x, np.array([1.0]), 0.1)
    >>> bool(abs(step[0] - np.exp(-0.1)) < 1e-7)
    True
    """
    k1 = velocity(state)
    k2 = velocity(state + dt / 2 * k1)
    k3 = velocity(state + dt / 2 * k2)
    k4 = velocity(state + dt * k3)
    return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
