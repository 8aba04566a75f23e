"""The loop over time that every model is defined by.

``z_t`` is the teacher's where there is one for bin ``t``, otherwise what the dynamics make of ``z_{t−1}``.
Free runs, masked training, forecasts and inferred inputs are all this loop. Gated recurrent units have faster
ones for what is never taught, `models.parts.dynamics.GRUCell.run` and `models.kernels.controlled_loop`, which
are held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nwb_latents.models.randomness import placed

if TYPE_CHECKING:
    from nwb_latents.models.parts.dynamics import Dynamics
    from nwb_latents.models.parts.weight_changes import Weights

StepHook = Callable[[int, Tensor], "Tensor | None"]
"""``(t, state of bin t − 1) -> input of bin t``: a controller that sees what it drives."""


@dataclass(frozen=True)
class Path:
    """A trajectory.

    Attributes
    ----------
    z
        States. Shape ``(session, trial, time, D)``.
    predicted
        What the dynamics expect of each bin from the state of the bin before; `z0` in the first.
        Shape of `z`.
    """

    z: Tensor
    predicted: Tensor


def rollout(
    dynamics: Dynamics,
    z0: Tensor,
    steps: int,
    *,
    inputs: Tensor | None = None,
    weights: Weights | None = None,
    teacher: Tensor | None = None,
    use_teacher: Tensor | Sequence[bool] | None = None,
    noise: Tensor | None = None,
    step_hook: StepHook | None = None,
) -> Path:
    """Iterate a dynamics map.

    Parameters
    ----------
    dynamics
        The map.
    z0
        State of the first bin. Shape ``(session, trial, D)``.
    steps
        Number of bins, the first included.
    inputs
        Input of each bin; that of bin ``t`` acts on the step from ``t − 1``. Shape
        ``(session, trial, time, U)``.
    weights
        Changes of weights, one for each session.
    teacher
        States to use where `use_teacher` says so. Shape ``(session, trial, time, D)``.
    use_teacher
        Shape ``(time,)``, the same for all trials, or broadcasting with ``(session, trial, time, 1)``; bool.
        None with a teacher: only the first bin. As a sequence, of length ``time``, it is known without
        waiting for the device a tensor lies on.
    noise
        Added to bins without a teacher. Shape ``(session, trial, time, D)``.
    step_hook
        Makes the input of a bin from the state before it; instead of `inputs`.

    Returns
    -------
    path
        States and predictions.

    Raises
    ------
    ValueError
        If both `inputs` and `step_hook` are given.

    Examples
    --------
    >>> double = lambda z, inp, weights: 2 * z
    >>> rollout(double, torch.ones(1, 1, 1), 4).z.flatten().tolist()
    [1.0, 2.0, 4.0, 8.0]
    >>> taught = torch.tensor([True, False, True, False])
    >>> path = rollout(double, torch.ones(1, 1, 1), 4, teacher=torch.ones(1, 1, 4, 1), use_teacher=taught)
    >>> path.z.flatten().tolist()
    [1.0, 2.0, 1.0, 2.0]
    """
    if inputs is not None and step_hook is not None:
        raise ValueError("give inputs or a step_hook that makes them, not both")
    shared = not isinstance(use_teacher, Tensor) or use_teacher.ndim == 1
    if teacher is not None and use_teacher is not None and shared and inputs is None and step_hook is None:
        taught = use_teacher.tolist() if isinstance(use_teacher, Tensor) else list(use_teacher)
        if taught[0]:
            return _parallel_runs(
                dynamics, z0, teacher[..., :steps, :], taught[:steps], weights=weights, noise=noise
            )
    if use_teacher is not None and not isinstance(use_teacher, Tensor):
        use_teacher = placed(list(use_teacher), z0.device)
    if use_teacher is not None and shared:
        use_teacher = use_teacher[:, None]
    z = z0
    if teacher is not None and use_teacher is not None:
        z = torch.where(use_teacher[..., 0, :], teacher[..., 0, :], z0)
    states, predicted = [z], [z0]
    for t in range(1, steps):
        inp = inputs[..., t, :] if inputs is not None else None
        if step_hook is not None:
            inp = step_hook(t, z)
        expected = dynamics(z, inp, weights)
        z = expected if noise is None else expected + noise[..., t, :]
        if teacher is not None and use_teacher is not None:
            z = torch.where(use_teacher[..., t, :], teacher[..., t, :], z)
        states.append(z)
        predicted.append(expected)
    return Path(torch.stack(states, -2), torch.stack(predicted, -2))


def _parallel_runs(
    dynamics: Dynamics,
    z0: Tensor,
    teacher: Tensor,
    taught: list[bool],
    *,
    weights: Weights | None,
    noise: Tensor | None,
) -> Path:
    """Roll all runs without a teacher out at once, to the depth of the longest instead of over time.

    Every run starts from a taught bin, so bins at the same distance from theirs can be done together, and
    each state goes through the dynamics once.
    """
    device = teacher.device
    level = [t for t, known in enumerate(taught) if known]
    z = teacher if len(level) == len(taught) else teacher.index_select(-2, placed(level, device))
    states, state_bins = [], []
    predicted, predicted_bins = [z0.unsqueeze(-2)], [0]
    while level:
        states.append(z)
        state_bins += level
        rows = [row for row, t in enumerate(level) if t + 1 < len(taught)]
        if not rows:
            break
        source = z if len(rows) == len(level) else z.index_select(-2, placed(rows, device))
        expected = dynamics(source, None, weights)
        after = [level[row] + 1 for row in rows]
        predicted.append(expected)
        predicted_bins += after
        free = [row for row, t in enumerate(after) if not taught[t]]
        level = [after[row] for row in free]
        if level:
            z = expected.index_select(-2, placed(free, device))
            if noise is not None:
                z = z + noise.index_select(-2, placed(level, device))
    return Path(_in_order(states, state_bins), _in_order(predicted, predicted_bins))


def _in_order(parts: list[Tensor], bins: list[int]) -> Tensor:
    joined = parts[0] if len(parts) == 1 else torch.cat(parts, -2)
    if bins == sorted(bins):
        return joined
    order = sorted(range(len(bins)), key=bins.__getitem__)
    return joined.index_select(-2, placed(order, joined.device))
