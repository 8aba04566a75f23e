"""What a run foresees of trials from their first bins: rates, states and, with a head for it, velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Foreseen:
    """The bins after those shown, of some trials of a session.

    Attributes
    ----------
    rates
        Hz, finite. Shape ``(trial, bin, unit)``, float32.
    states
        Latent states that were rolled out, finite. Shape ``(trial, bin, D)``, float32; None where the model
        has none.
    velocity
        Hand velocity by the model's own head, cm/s, finite. Shape ``(trial, bin, axis)``, float32; None where
        it was trained without one.
    """

    rates: NDArray[np.float32]
    states: NDArray[np.float32] | None = None
    velocity: NDArray[np.float32] | None = None

    @property
    def features(self) -> NDArray[np.float64]:
        """What velocity is read out of: the states, or the rates where there are none.

        Examples
        --------
        >>> Foreseen(np.ones((2, 3, 4), np.float32)).features.shape
        (2, 3, 4)
        """
        return np.asarray(self.rates if self.states is None else self.states, dtype=np.float64)
