"""Whether fast kernels run: one switch for the loops, the products of oneDNN and the compiled C.

Every kernel has a reference in plain torch operations beside it, which gives the same values and gradients
but for rounding. ``NWB_LATENTS_KERNELS=torch`` runs the reference everywhere: to compare, or to look for a
fault. Without the variable, or with ``auto``, each kernel runs where it pays.
"""

from __future__ import annotations

import os
from typing import Literal, cast, get_args

Choice = Literal["auto", "torch"]

SWITCH = "NWB_LATENTS_KERNELS"
"""Environment variable, looked at whenever a kernel might run."""


class KernelSwitchError(ValueError):
    """The environment variable says what there is not."""


def chosen() -> Choice:
    """Return what the environment variable says; ``auto`` where it is not set.

    Raises
    ------
    KernelSwitchError
        If it is neither ``auto`` nor ``torch``.

    Examples
    --------
    >>> import pytest
    >>> with pytest.MonkeyPatch.context() as patch:
    ...     patch.setenv(SWITCH, "torch")
    ...     chosen()
    'torch'
    """
    said = os.environ.get(SWITCH) or "auto"
    if said not in get_args(Choice):
        raise KernelSwitchError(f"{SWITCH}: expected {' or '.join(get_args(Choice))}, found {said!r}.")
    return cast("Choice", said)


def is_fast() -> bool:
    """Whether kernels may run in place of plain torch operations."""
    return chosen() == "auto"
