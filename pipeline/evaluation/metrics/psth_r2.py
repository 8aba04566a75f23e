"""Condition means: rates averaged by condition against smoothed spikes averaged by condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Metric
from nwb_latents.pipeline.evaluation.metrics.psth import PsthSums

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput


def _condition_means(session: ScoredSession, made: SourceOutput) -> PsthSums:
    known = session.psth
    if known is None or made.rates is None:
        raise CannotBeHadError(made.lacks("reconstruction") or "fewer than two conditions")
    return PsthSums.of(made.rates.eval[..., known.units], known.condition, known.psth)


METRIC = Metric(
    name="psth_r2",
    title="PSTH",
    definition="r2_uniform",
    meaning="Rates averaged by condition against smoothed spikes averaged by condition; these are not drawn "
    "anew with the trials, so intervals are of the rates alone.",
    source="Pei et al. 2021, Neural Latents Benchmark '21",
    needs=("conditions",),
    order=50,
    compute={"reconstruction": _condition_means},
)
