"""What one pass of a generator that is driven by inputs draws, and what it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from nwb_latents.models.parts.distributions import DiagGaussian


class Noise(NamedTuple):
    """Everything random in one pass; None: posterior means, no dropout.

    Attributes
    ----------
    initial
        Standard normal, or Student-t where the posterior is. Shape ``(session, trial, Dic)``.
    inputs
        The same. Shape ``(session, trial, time, C)``.
    keep_state, keep_controller
        Dropout, ``0`` or ``1 / (1 − p)``, of the states that factors read, the one before the first bin
        included, and of the controller's input. Shapes ``(session, trial, time + 1, G)`` and
        ``(session, trial, time, ·)``.
    """

    initial: Tensor | None = None
    inputs: Tensor | None = None
    keep_state: Tensor | None = None
    keep_controller: Tensor | None = None

    def first_bins(self, n_bins: int) -> Noise:
        """Return the random numbers of the first `n_bins` bins."""

        def first(x: Tensor | None, n: int) -> Tensor | None:
            return None if x is None else x[:, :, :n]

        return Noise(
            self.initial,
            first(self.inputs, n_bins),
            first(self.keep_state, n_bins + 1),
            first(self.keep_controller, n_bins),
        )


class Generated(NamedTuple):
    """What a generator made.

    Attributes
    ----------
    states
        Shape ``(session, trial, time, G)``.
    factors
        Shape ``(session, trial, time, F)``.
    inputs
        Inferred inputs. Shape ``(session, trial, time, C)``.
    posterior
        Posterior of the inputs of those bins in which they were inferred; None without a controller.
    """

    states: Tensor
    factors: Tensor
    inputs: Tensor
    posterior: DiagGaussian | None
