"""The rates simulated spikes were drawn from: the best any predictor of them can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.pipeline.evaluation.baselines.rate_regression import RATE_FLOOR
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
from nwb_latents.pipeline.evaluation.truth_bins import TrueSignal, unit_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.spike_task import SpikeAnswers
    from nwb_latents.pipeline.sources.simulator.truth import Truth
    from nwb_latents.pipeline.stores.session import Session

    FloatArray = NDArray[np.float64]


def oracle_rates(truth: Truth, session: Session, answers: SpikeAnswers) -> RatePrediction:
    """Return the mean of the true rates over every bin.

    Rates of reaches are linear between the times they are known at; those of a system are constant within its
    bins.

    Parameters
    ----------
    truth
        Truth of the session.
    session
        The session: units are matched by their ids, bins by their time in the session.
    answers
        Order of the units, rows of the trials and number of bins ahead.

    Returns
    -------
    prediction
        Held-in units first. Bins ahead that lie after the session's end have the last rates.

    Raises
    ------
    DataError
        If a unit of the store, or the time of one of its windows, is not in the truth.
    """
    columns = unit_columns(truth, session.trials["unit"].values[answers.order])
    width, n_time = session.bin_size_s, session.n_bins
    n_ahead = 0 if answers.eval_forward is None else answers.eval_forward.shape[1]
    first = session.start_s
    known = TrueSignal.of(truth, truth.rates_hz[:, columns])

    def expected(rows: NDArray[np.int64], n_after: int) -> FloatArray:
        hertz = known.means(first[rows], bin_size_s=width, n_bins=n_time, n_ahead=n_after)
        per_bin: FloatArray = np.maximum(hertz * width, RATE_FLOOR)
        return per_bin

    found = expected(answers.eval_rows, n_ahead)
    return RatePrediction(
        train=expected(answers.train_rows, 0),
        eval=found[:, :n_time],
        eval_forward=found[:, n_time:] if n_ahead else None,
    )


ORACLE = Baseline(
    name="oracle",
    meaning="the rates the spikes were drawn from, of simulated sessions: no source can be better but by "
    "chance",
    told="the true rates",
    is_truth=True,
    order=90,
)
