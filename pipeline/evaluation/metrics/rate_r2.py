"""How well rates are inferred where the true ones are known: of simulated spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Metric
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums, r2

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput


def rate_r2(true: ArrayLike, predicted: ArrayLike, *, mask: ArrayLike | None = None) -> float:
    """Return the R² of rates against true rates: 1 − SSE/SST of each unit, then the mean over units.

    Every unit counts the same, a quiet one as much as a busy one. For an interval over trials, give the same
    arrays to `pipeline.evaluation.metrics.r2.R2Sums` with ``definition="r2_uniform"``.

    Parameters
    ----------
    true
        True rates, Hz or spikes per bin. Shape ``(…, unit)``, such as ``(trial, time, unit)``.
    predicted
        Rates to score, unit and shape of `true`. Nothing is fitted: a wrong scale or offset counts.
    mask
        True where a value counts. Shape of `true`, or without its last dimension. Default: all count.

    Returns
    -------
    value
        ``r2_uniform``, at most 1; NaN where the true rate of a unit does not vary.

    Raises
    ------
    DataError
        If the shapes do not fit, or a value that counts is not finite.

    References
    ----------
    Sedler, Versteeg and Pandarinath 2023, "Expressive architectures enhance interpretability of
    dynamics-based neural population models"; Keshtkaran et al. 2022, "A large-scale neural network training
    framework for generalized estimation of single-trial population dynamics" (AutoLFADS).

    Examples
    --------
    >>> rate_r2([[10.0, 0.0], [30.0, 1.0]], [[10.0, 0.5], [30.0, 0.5]])
    0.5
    """
    return r2(true, predicted, definition="r2_uniform", mask=mask)


def _against_the_truth(session: ScoredSession, made: SourceOutput) -> R2Sums:
    if session.true_rates is None or made.rates is None:
        raise CannotBeHadError(made.lacks("reconstruction") or "the true rates are not known")
    return R2Sums.of(session.true_rates.eval, made.rates.eval, definition="r2_uniform")


METRIC = Metric(
    name="rate_r2",
    title="true rates",
    definition="r2_uniform",
    meaning="Rates against the true ones of a simulated session; nothing is fitted.",
    source="Sedler, Versteeg and Pandarinath 2023; Keshtkaran et al. 2022 (AutoLFADS)",
    needs=("true_rates",),
    order=70,
    compute={"reconstruction": _against_the_truth},
)
