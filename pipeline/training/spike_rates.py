"""What a trained run predicts of the spikes of a session: held-out units, and bins after the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.spike_scores import LEAST_RATE
from nwb_latents.pipeline.evaluation.nlb.files import raised
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
from nwb_latents.pipeline.training.feed import hidden_units, with_forward_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.spike_task import SpikeAnswers
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun


def run_rates(
    run: TrainedRun,
    session: Session,
    answers: SpikeAnswers,
    *,
    forward_bins: int = 0,
    floor: float = LEAST_RATE,
    seed: int = 0,
    reconstructed: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> tuple[RatePrediction, int]:
    """Return the rates a run infers of all units, held-in ones first.

    Trials that are fitted and trials that are scored are given to the run each by themselves. Units a run
    trained with ``co_smoothing`` hides are inferred from the others; any other run is shown all units, those
    that are held out too (`hides`).

    Parameters
    ----------
    run
        Knows the session.
    session
        The session.
    answers
        Whose rows and units are predicted, as from `pipeline.evaluation.spike_task.spike_task`.
    forward_bins
        Bins after each window to be predicted; not for a run of which `why_no_forward` has something to say.
    floor
        Spikes per bin to which lower rates are raised: a Gaussian likelihood may give rates below 0.
    seed
        Of the samples of the posterior.
    reconstructed
        What `reconstruct_parts` gave of the same, where it was asked before; None: it is asked now.

    Returns
    -------
    prediction
        Expected spikes per bin, at least `floor`.
    n_raised
        How many were raised to it.

    Raises
    ------
    DataError
        If the run does not know the session, or the store holds other units or bins.
    """

    def per_bin(rates: NDArray[np.float32]) -> tuple[NDArray[np.float64], int]:
        return raised(rates.astype(np.float64)[..., answers.order] * session.bin_size_s, floor=floor)

    hertz = reconstructed or reconstruct_parts(run, session, answers, seed=seed)
    train, eval_ = (per_bin(rates) for rates in hertz)
    ahead = None
    if forward_bins:
        ready = with_forward_bins(session, forward_bins) if "external" in session.trials else session
        scored = ready.select(answers.eval_rows)
        ahead = per_bin(run.forward(scored, n_bins=forward_bins, seed=seed))
    n_raised = train[1] + eval_[1] + (ahead[1] if ahead else 0)
    return RatePrediction(train[0], eval_[0], ahead[0] if ahead else None), n_raised


def reconstruct_parts(
    run: TrainedRun, session: Session, answers: SpikeAnswers, *, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the rates a run infers of the trials fitted on, and of those scored, each given by themselves.

    Parameters
    ----------
    run, session, answers, seed
        As for `run_rates`.

    Returns
    -------
    train, scored
        Hz, units in the order of the store. Shapes ``(trial, time, unit)``, ``(eval trial, time, unit)``.

    Raises
    ------
    DataError
        As for `run_rates`.
    """
    train, scored = (
        run.reconstruct(session.select(rows), seed=seed) for rows in (answers.train_rows, answers.eval_rows)
    )
    return train, scored


def why_no_forward(run: TrainedRun) -> str:
    """Say why a run cannot predict bins it has not seen; empty where it can."""
    if run.settings.sees_ahead:
        return (
            f"run {run.name} is shown the recorded smoothed rates, which hold spikes of the bins after "
            f"the window; "
            "train it with input_smoothing: shown, or with signal: counts, to predict these"
        )
    return ""


def hides(run: TrainedRun, session: Session, heldout: NDArray[np.bool_]) -> bool:
    """Return whether these units, at least one, are those the run was not shown. Shape ``(unit,)``, bool."""
    return bool(heldout.any()) and bool(np.array_equal(hidden_units(session, run.settings), heldout))


def refuse_shown_units(run: TrainedRun, session: Session, heldout: NDArray[np.bool_]) -> None:
    """Raise if a run has seen what it is to predict.

    Parameters
    ----------
    run
        The run.
    session
        The session.
    heldout
        Units to be predicted. Shape ``(unit,)``, bool.

    Raises
    ------
    DataError
        If the run was not trained with ``co_smoothing``, or other units than those it hides are to be
        predicted.
    """
    if not run.settings.co_smoothing:
        raise DataError(
            f"Run {run.name} was shown the units it is to predict. Train one with `pipeline run train "
            "--set co_smoothing=true`, which hides the units a store marks as held out, or with "
            "heldout_fraction a share of them."
        )
    if not hides(run, session, heldout):
        hidden = int(hidden_units(session, run.settings).sum())
        raise DataError(
            f"{session.name}: {int(heldout.sum())} units are to be predicted, run {run.name} was not shown "
            f"{hidden}, and they are not the same. Choose a session whose file marks held-out units (column "
            "heldout of its units), or give the same heldout_fraction, and seed 0, as in training."
        )
