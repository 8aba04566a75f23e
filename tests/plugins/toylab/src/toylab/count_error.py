"""How far expected spike counts lie from those recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Metric
from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
from nwb_latents.pipeline.evaluation.source_output import SourceOutput


@dataclass(frozen=True)
class MeanError:
    """Mean over trials, each of which may count several times: sums and numbers of elements of each."""

    total: NDArray[np.float64]
    n: NDArray[np.int64]

    @property
    def n_trials(self) -> int:
        return len(self.n)

    def value(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return (weights @ self.total) / (weights @ self.n)


def _of_reconstruction(session: ScoredSession, made: SourceOutput) -> MeanError:
    if made.rates is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    recorded = session.answers.eval_heldin
    error = np.abs(made.rates.eval[..., : session.n_heldin] - recorded)
    known = np.isfinite(error)
    return MeanError(np.where(known, error, 0.0).sum((1, 2)), known.sum((1, 2)))


METRIC = Metric(
    name="count_error",
    title="count error",
    unit="spikes/bin",
    meaning="Mean absolute difference between expected and recorded spikes of held-in units.",
    better="less",
    order=200,
    compute={"reconstruction": _of_reconstruction},
)
