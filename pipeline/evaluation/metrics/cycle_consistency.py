"""Latents that leave no trace in the rates: how well latents are had back from the rates they make.

A source can infer rates well from latents of which some do nothing, or follow courses nobody asked for:
co-smoothing does not see it, and the true states of a recording are not known. What a latent adds to the
rates can be had back from the rates; a latent that is needless cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.baselines.rate_regression import RATE_FLOOR
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Found, Metric
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums
from nwb_latents.pipeline.evaluation.metrics.same_bins import same_bins

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput

    FloatArray = NDArray[np.float64]

CUT = 0.01
"""Share of the squared singular values of the read-out that is cut off, as in the benchmark's code."""


@dataclass(frozen=True)
class WayBack:
    """The affine way from log rates back to latents, by a truncated pseudo-inverse of the way there.

    Attributes
    ----------
    inverse
        Shape ``(unit, latent)``, float64.
    mean_log_rates, mean_latents
        Over the trials fitted on; what is lost of the latents is taken to be at its mean. Shapes ``(unit,)``,
        ``(latent,)``.
    n_kept
        Directions of the latents that are had back.
    """

    inverse: FloatArray
    mean_log_rates: FloatArray
    mean_latents: FloatArray
    n_kept: int

    def latents(self, log_rates: FloatArray) -> FloatArray:
        """Return the latents these log rates tell of. Shape ``(…, latent)``."""
        back: FloatArray = self.mean_latents + (log_rates - self.mean_log_rates) @ self.inverse
        return back


def way_back(latents: ArrayLike, log_rates: ArrayLike, *, cut: float = CUT) -> WayBack:
    """Fit log rates by an affine map of the latents, and invert it.

    Latents are taken from their mean, which the source does not do: its origin would count where one is lost.

    The map's smallest singular values, those of `cut` of the sum of their squares, are left out: what they
    belong to moves the rates too little to be had back.

    Parameters
    ----------
    latents
        Of the trials fitted on. Shape ``(…, latent)``, finite.
    log_rates
        Logarithms of the rates of the same bins. Shape ``(…, unit)``, finite.
    cut
        Share of the squares left out, from 0 to 1.

    Returns
    -------
    way_back
        Of latents without any effect, nothing is kept.

    Raises
    ------
    DataError
        If the shapes do not fit, or a value is not finite.

    References
    ----------
    Versteeg et al. 2025, "Computation-through-Dynamics Benchmark: simulated datasets and quality metrics for
    dynamical models of neural activity", cycle consistency.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal(size=(100, 2))
    >>> logs = z @ [[1.0, 0.0, 2.0], [0.0, 0.001, 0.0]]
    >>> found = way_back(z, logs)
    >>> found.n_kept, np.allclose(found.latents(logs)[:, 0], z[:, 0])
    (1, True)
    """
    z, made = same_bins(
        latents, log_rates, score="cycle consistency", names=("latents", "log rates"), last="latents or units"
    )
    z, made = z.reshape(-1, z.shape[-1]), made.reshape(-1, made.shape[-1])
    mean_latents, mean_log_rates = z.mean(axis=0), made.mean(axis=0)
    weights = np.linalg.lstsq(z - mean_latents, made - mean_log_rates)[0]
    left, size, right = np.linalg.svd(weights, full_matrices=False)
    share = np.cumsum(size**2)
    total = share[-1]
    n_kept = min(int(np.searchsorted(share, (1 - cut) * total)) + 1, len(size)) if total > 0 else 0
    inverse = (right[:n_kept].T / size[:n_kept]) @ left[:, :n_kept].T
    return WayBack(inverse, mean_log_rates, mean_latents, n_kept)


def _had_back(session: ScoredSession, made: SourceOutput) -> Found:
    del session
    rates = made.rates
    if rates is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    latents = rates.latents if made.states is None else made.states
    if latents is None:
        raise CannotBeHadError("it has no latents")
    train, scored = latents
    if not np.ptp(train.reshape(-1, train.shape[-1]), axis=0).any():
        raise CannotBeHadError("its latents do not vary")
    log_train, log_scored = (np.log(np.maximum(part, RATE_FLOOR)) for part in (rates.train, rates.eval))
    found = way_back(train, log_train)
    return Found(
        statistic=R2Sums.of(scored, found.latents(log_scored), definition="r2_pooled"),
        details={"n_latents": train.shape[-1], "n_kept": found.n_kept},
    )


METRIC = Metric(
    name="cycle_consistency",
    title="cycle consistency",
    definition="r2_pooled",
    meaning="Latents had back from the logarithms of the rates the source makes of them, by the truncated "
    "pseudo-inverse of an affine map fitted on training trials: latents the rates do not need are lost.",
    source="Versteeg et al. 2025, Computation-through-Dynamics Benchmark",
    reads=("latents",),
    order=13,
    compute={"reconstruction": _had_back},
)
