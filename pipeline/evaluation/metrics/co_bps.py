"""Co-smoothing: how well the spikes of held-out units are foretold from the other units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Metric
from nwb_latents.pipeline.evaluation.metrics.spike_scores import SpikeSums

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput


def _heldout_spikes(session: ScoredSession, made: SourceOutput) -> SpikeSums:
    if made.rates is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    return SpikeSums.of(made.rates.eval[..., session.n_heldin :], session.answers.eval_heldout)


METRIC = Metric(
    name="co_bps",
    title="co-smoothing, own read-out",
    unit="bits/spike",
    meaning="Likelihood of the spikes of held-out units under rates inferred from the other units, above "
    "that of their mean rate; every source reads them out in its own way: a run by the read-out it was "
    "trained with, a baseline by what it fits on training trials.",
    source="Pei et al. 2021, Neural Latents Benchmark '21",
    needs=("heldout",),
    units="heldout",
    order=10,
    compute={"reconstruction": _heldout_spikes},
)
