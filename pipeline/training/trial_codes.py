"""Codes of trials, and trials of codes, of a run whose model has them; rates in hertz."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from nwb_latents.models.interface import MakesTrialsOfCodes
from nwb_latents.models.randomness import derived_generator
from nwb_latents.models.registry import models_that
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.training.session_embedding import CHUNK_TRIALS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun


def infer_codes(run: TrainedRun, session: Session) -> NDArray[np.float32]:
    """Return the code of each trial.

    Parameters
    ----------
    run
        A run of a model with codes of trials (gnocchi).
    session
        One the model was trained on, with any of its trials.

    Returns
    -------
    codes
        Shape ``(trial, L)``, finite, float32.

    Raises
    ------
    DataError
        If the run is of another model, or as in `TrainedRun.reconstruct`.
    """
    _of_codes(run)
    states: NDArray[np.float32] = run.states(session)[:, 0]
    return states


def generate_trials(
    run: TrainedRun, session: str, codes: ArrayLike, *, n_bins: int, n_samples: int = 0, seed: int = 0
) -> NDArray[np.float32]:
    """Return the rates that codes stand for, of trials that were recorded or of others.

    Parameters
    ----------
    run
        A run of a model with codes of trials (gnocchi).
    session
        Session whose units the rates are of.
    codes
        Shape ``(trial, L)``, finite.
    n_bins
        Bins of a trial.
    n_samples
        Draws of the noise that are averaged for each trial, the same draws for all trials; 0: the mean of the
        trials of a code, estimated at once (`GNOCCHI.expected`).
    seed
        Of the draws.

    Returns
    -------
    rates
        Hz. Shape ``(trial, n_bins, unit)``, float32; may be slightly below 0.

    Raises
    ------
    DataError
        If the run is of another model or does not know the session, or the codes do not fit.
    """
    model = _of_codes(run)
    if session not in run.scalings:
        raise DataError(
            f"Run {run.name} was not trained on {session}; it knows {', '.join(run.sessions)}. "
            "Choose one of these."
        )
    given = np.asarray(codes, dtype=np.float64)
    L = model.code_size()
    if given.ndim != 2 or given.shape[1] != L or not np.isfinite(given).all() or n_bins < 1:
        raise DataError(
            f"Run {run.name}: cannot make {n_bins} bins of codes of shape {given.shape}; expected at least 1 "
            f"bin and finite codes of shape (trial, {L})."
        )
    n_units, kind = len(run.scalings[session].units), next(run.model.parameters()).dtype
    source = derived_generator(seed, "generate", session)
    noises = torch.randn(n_samples, n_bins, n_units, generator=source).to(run.device, kind)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(given), CHUNK_TRIALS):
            code = torch.as_tensor(given[start : start + CHUNK_TRIALS], dtype=kind, device=run.device)[None]
            like = code.new_empty(1, code.shape[1], n_bins, n_units)
            made = [model.decode([session], code, noise.expand_as(like)).mean for noise in noises]
            made = made or [model.expected([session], code, like).mean]
            parts.append(torch.stack(made).mean(0)[0].cpu().numpy())
    stacked = np.concatenate(parts) if parts else np.zeros((0, n_bins, n_units), np.float32)
    return run.scalings[session].to_hz(stacked)


def _of_codes(run: TrainedRun) -> MakesTrialsOfCodes:
    if not isinstance(run.model, MakesTrialsOfCodes):
        raise DataError(
            f"Run {run.name}: the model {run.settings.model.name} has no code of a trial. "
            f"Choose a run of {' or '.join(models_that(MakesTrialsOfCodes))}."
        )
    return run.model
