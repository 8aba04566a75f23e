"""Hand velocity as the Neural Latents Benchmark decodes it: by a decoder of each source's own rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Found, Metric
from nwb_latents.pipeline.evaluation.nlb.velocity import fit_nlb_decoder
from nwb_latents.pipeline.evaluation.spike_task import fitted_trials

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput

OWN_RATES = "own rates"


def own_rates(phase: str) -> str:
    """Return what decoders of own rates are fitted on.

    Examples
    --------
    >>> own_rates("test"), own_rates("not known")
    ('own rates, train and val trials', 'own rates')
    """
    trials = fitted_trials(phase)
    return f"{OWN_RATES}, {trials}" if trials else OWN_RATES


def _of_own_rates(session: ScoredSession, made: SourceOutput) -> Found:
    if made.rates is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    if session.velocity is None:
        raise CannotBeHadError("no hand velocity was recorded")
    train, scored = session.velocity
    decoder = fit_nlb_decoder(made.rates.train, train, folds=session.settings.folds)
    return Found(
        statistic=decoder.score(made.rates.eval, scored),
        fitted_on=own_rates(session.settings.phase),
        decoder_settings={"alpha": decoder.ridges[""].alpha, "folds": session.settings.folds},
    )


METRIC = Metric(
    name="nlb_velocity_r2",
    title="velocity, own decoder",
    definition="r2_uniform",
    meaning="Hand velocity by a decoder fitted to the rates of the source itself, as in the benchmark.",
    source="Pei et al. 2021, Neural Latents Benchmark '21",
    needs=("velocity",),
    decoder="nlb_ridge",
    fitted_on=OWN_RATES,
    has_lag=True,
    order=40,
    compute={"reconstruction": _of_own_rates},
)
