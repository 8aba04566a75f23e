"""Co-smoothing by one read-out for every source, from many training trials or from few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.common_read_out import features_of, read_out
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Found, Metric
from nwb_latents.pipeline.evaluation.metrics.resampling import MeanOf
from nwb_latents.pipeline.evaluation.metrics.spike_scores import SpikeSums
from nwb_latents.pipeline.evaluation.spike_task import fitted_trials

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput

READ_OUT = "poisson_regression"
FEATURES = "own latents or held-in rates"
"""What the common read-out is fitted on."""
FEW_TRIALS = 16
"""Trials a read-out from few is fitted on."""
N_DRAWS = 10
"""Times as many are drawn; the metric is the mean over them."""


def _by_the_common_read_out(session: ScoredSession, made: SourceOutput) -> Found:
    features = features_of(session, made)
    if features is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    found = read_out(features, session.task.train_heldout, session.settings.baseline)
    return Found(
        statistic=SpikeSums.of(found.rates, session.answers.eval_heldout),
        decoder_settings={"penalty": found.penalty},
        fitted_on=f"{FEATURES}, {fitted_trials(session.settings.phase)}",
        details={"read_from": features.kind, "n_features": features.train.shape[2]},
    )


def _from_few_trials(session: ScoredSession, made: SourceOutput) -> Found:
    features = features_of(session, made)
    if features is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    n_train = len(features.train)
    if n_train < FEW_TRIALS:
        raise CannotBeHadError(f"{n_train} training trials are fewer than the {FEW_TRIALS} to fit on")
    settings = session.settings.baseline
    rng = np.random.default_rng(settings.seed)
    drawn = [np.sort(rng.permutation(n_train)[:FEW_TRIALS]) for _ in range(N_DRAWS)]
    made_by = [read_out(features, session.task.train_heldout, settings, rows=rows) for rows in drawn]
    return Found(
        statistic=MeanOf(tuple(SpikeSums.of(one.rates, session.answers.eval_heldout) for one in made_by)),
        decoder_settings={"penalty": [one.penalty for one in made_by]},
        fitted_on=f"{FEATURES}, {FEW_TRIALS} {fitted_trials(session.settings.phase)}",
        details={"read_from": features.kind, "n_features": features.train.shape[2]},
    )


METRIC = Metric(
    name="common_co_bps",
    title="co-smoothing, common read-out",
    unit="bits/spike",
    meaning="The same as co-smoothing, but every source is read out alike: by a Poisson regression from its "
    "latents (from the logarithms of its held-in rates where it has none) to held-out units, its penalty by "
    "cross-validation.",
    source="Pei et al. 2021, Neural Latents Benchmark '21, with the read-out of its baselines",
    needs=("heldout",),
    reads=("latents",),
    units="heldout",
    decoder=READ_OUT,
    fitted_on=FEATURES,
    order=11,
    compute={"reconstruction": _by_the_common_read_out},
)

FEW_SHOT = Metric(
    name="few_shot_co_bps",
    title=f"co-smoothing, {FEW_TRIALS}-shot",
    unit="bits/spike",
    meaning=f"The common read-out fitted on {FEW_TRIALS} training trials, mean over {N_DRAWS} draws of them: "
    "latents that hold more than is needed are harder to read out from few trials.",
    source="Dabholkar and Barak 2024, 'When predict can also explain: few-shot prediction to select better "
    "neural latents'",
    needs=("heldout",),
    reads=("latents",),
    units="heldout",
    decoder=READ_OUT,
    fitted_on=f"{FEATURES}, {FEW_TRIALS} training trials",
    order=12,
    compute={"reconstruction": _from_few_trials},
)
