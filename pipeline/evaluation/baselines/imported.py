"""Rates that a model of another program made of the same trials, as the store was imported with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.pipeline.evaluation.baselines.rate_regression import RATE_FLOOR
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession

    FloatArray = NDArray[np.float64]


def imported_rates(session: ScoredSession) -> RatePrediction:
    """Return the rates that lie in a store.

    Parameters
    ----------
    session
        The session, its store with the array ``imported_rates`` in both groups.

    Returns
    -------
    prediction
        Held-in units first, at least `RATE_FLOOR`. Bins ahead only where there are rates of all of them.

    Raises
    ------
    DataError
        If the store has no such rates.
    """
    store, answers = session.session, session.answers
    if "imported_rates" not in store.trials:
        raise DataError(
            f"{store.name}: the store holds no rates of another program. Import the file that posterior "
            "sampling in lfads-torch wrote, with its output_params: pipeline import lfads-h5."
        )
    width, n_ahead = store.bin_size_s, session.task.n_forward

    def per_bin(hertz: NDArray[np.float32]) -> FloatArray:
        raised: FloatArray = np.maximum(hertz.astype(np.float64)[..., answers.order] * width, RATE_FLOOR)
        return raised

    rates, ahead = store.trials["imported_rates"].values, None
    if n_ahead:
        whole = store.continuous["imported_rates"].values
        first = store.trials["start_bin"].values[answers.eval_rows].astype(np.int64) + store.n_bins
        bins = first[:, None] + np.arange(n_ahead)
        found = whole[np.minimum(bins, len(whole) - 1)]
        if bins.max(initial=-1) < len(whole) and np.isfinite(found).all():
            ahead = per_bin(found)
    return RatePrediction(per_bin(rates[answers.train_rows]), per_bin(rates[answers.eval_rows]), ahead)


IMPORTED = Baseline(
    name="imported",
    meaning="rates a model of another program made of the same trials, which came with the file they were "
    "imported from (lfads-torch: output_params)",
    of_store=imported_rates,
    order=80,
)
