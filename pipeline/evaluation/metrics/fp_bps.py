"""Forward prediction: how well the spikes after the window are foretold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Metric
from nwb_latents.pipeline.evaluation.metrics.spike_scores import SpikeSums

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput


def _spikes_after_the_window(session: ScoredSession, made: SourceOutput) -> SpikeSums:
    ahead = session.answers.eval_forward
    if made.rates is None or made.rates.eval_forward is None or ahead is None:
        raise CannotBeHadError("no bins after the window are predicted")
    return SpikeSums.of(made.rates.eval_forward, ahead)


METRIC = Metric(
    name="fp_bps",
    title="forward prediction",
    unit="bits/spike",
    meaning="Likelihood of the spikes of all units in the bins after the window, above that of their mean "
    "rate there.",
    source="Pei et al. 2021, Neural Latents Benchmark '21",
    needs=("forward",),
    order=20,
    compute={"reconstruction": _spikes_after_the_window},
)
