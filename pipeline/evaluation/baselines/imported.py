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
    from nwb_latents.pipeline.stores.session import Session

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
        Held-in units first, at least `RATE_FLOOR`. Bins ahead only where there are rates of all of them; else
        it says how far they reach.

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

    rates, ahead, why = store.trials["imported_rates"].values, None, ""
    if n_ahead:
        after = _after_the_windows(store, answers.eval_rows, n_bins=n_ahead)
        reach = int(np.isfinite(after).all(axis=(0, 2)).cumprod().sum())
        ahead = per_bin(after) if reach == n_ahead else None
        why = "" if reach == n_ahead else _too_short(reach, n_ahead, width)
    return RatePrediction(
        per_bin(rates[answers.train_rows]),
        per_bin(rates[answers.eval_rows]),
        ahead,
        why_no_forward=why,
    )


def _after_the_windows(store: Session, rows: NDArray[np.int64], *, n_bins: int) -> NDArray[np.float32]:
    """Return the rates of the bins after each window, Hz, NaN where there are none."""
    whole = store.continuous["imported_rates"].values
    first = store.trials["start_bin"].values[rows].astype(np.int64) + store.n_bins
    bins = first[:, None] + np.arange(n_bins)
    found: NDArray[np.float32] = whole[np.minimum(bins, len(whole) - 1)]
    found[bins >= len(whole)] = np.nan
    return found


def _too_short(reach: int, n_bins: int, width_s: float) -> str:
    if not reach:
        return "its rates came with the file and end with the window"
    return (
        f"its rates came with the file and reach {reach} of the {n_bins} bins after the window that are "
        f"scored; --set forward_ms={reach * width_s * 1e3:g} scores those"
    )


IMPORTED = Baseline(
    name="imported",
    meaning="rates a model of another program made of the same trials, which came with the file they were "
    "imported from (lfads-torch: output_params)",
    of_store=imported_rates,
    order=80,
)
