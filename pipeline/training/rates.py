"""The rates of a trained run as spikes are scored by them: expected spikes per bin, held-in units first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.rate_regression import RATE_FLOOR
from pipeline.evaluation.spike_task import RatePrediction
from pipeline.training.feed import FORWARD, FORWARD_INPUTS, hidden_units

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from pipeline.evaluation.spike_task import SpikeAnswers
    from pipeline.training.inference import TrainedRun

    FloatArray = NDArray[np.float64]


def predict_rates(
    run: TrainedRun, session: str, trials: xr.Dataset, answers: SpikeAnswers, *, forward_bins: int = 0
) -> RatePrediction:
    """Return the rates a run infers, held-in units first.

    Parameters
    ----------
    run
        A trained run that knows the session.
    session
        Session id.
    trials
        Group ``trials`` of its store.
    answers
        Which units and trials are asked for. Of their spikes nothing is used here.
    forward_bins
        Bins after the window to predict, from all bins of the window.

    Returns
    -------
    prediction
        Expected spikes per bin, at least `RATE_FLOOR`, as that of baselines: a Gaussian likelihood may give
        values below 0, under which no spike can be. Units a run trained with ``co_smoothing`` hides are
        inferred from the others; every other run is shown all units, held-out ones too
        (`hides`).

    Raises
    ------
    DataError
        If the run does not know the session, or the store holds other units or bins.
    """
    parts = {
        name: trials.isel(trial=rows)
        for name, rows in (("train", answers.train_rows), ("eval", answers.eval_rows))
    }
    width = float(trials.attrs["bin_size_s"])

    def ordered(hertz: NDArray[np.float32]) -> FloatArray:
        per_bin: FloatArray = np.maximum(hertz.astype(np.float64) * width, RATE_FLOOR)[..., answers.order]
        return per_bin

    found = {name: ordered(run.reconstruct(session, part)) for name, part in parts.items()}
    ahead = ordered(forward_rates(run, session, parts["eval"], n_bins=forward_bins)) if forward_bins else None
    return RatePrediction(train=found["train"], eval=found["eval"], eval_forward=ahead)


def forward_rates(run: TrainedRun, session: str, trials: xr.Dataset, *, n_bins: int) -> NDArray[np.float32]:
    """Return the rates of the bins after the window, from a model that is shown the whole window.

    Runs trained with ``forward_bins`` infer them as they learnt to, up to that number; all others forecast.

    Parameters
    ----------
    run, session, trials
        As in `TrainedRun.reconstruct`.
    n_bins
        Bins after the window.

    Returns
    -------
    rates
        Hz. Shape ``(trial, n_bins, unit)``, float32.

    Raises
    ------
    DataError
        As in `TrainedRun.forecast`, or if the run is shown smoothed rates, which reach beyond the window.
    """
    n_seen = trials.sizes["time"]
    if run.settings.signal != "counts":
        raise DataError(
            f"Run {run.name} is shown smoothed rates: those of the last bins hold spikes of the bins after "
            "them. Train it with --set signal=counts to have these predicted."
        )
    if n_bins > run.settings.forward_bins:
        return run.forecast(session, trials, seen_bins=n_seen, n_bins=n_bins)
    # What was recorded there is not handed over: the model needs to know how many bins, not what is in them.
    unknown = np.full((trials.sizes["trial"], n_bins, trials.sizes["unit"]), np.nan, np.float32)
    asked = trials.assign({FORWARD: (("trial", "forward", "unit"), unknown)})
    if "external" in trials:
        inputs = np.zeros((trials.sizes["trial"], n_bins, trials.sizes["input"]), np.float32)
        asked = asked.assign({FORWARD_INPUTS: (("trial", "forward", "input"), inputs)})
    return run.reconstruct(session, asked)[:, n_seen:]


def hides(run: TrainedRun, trials: xr.Dataset, answers: SpikeAnswers) -> bool:
    """Return whether the units held out are those the run was not shown."""
    hidden = hidden_units(trials, run.settings)
    return bool(answers.heldout.any()) and bool(np.array_equal(hidden, answers.heldout))
