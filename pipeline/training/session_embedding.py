"""The embedding of a session: inferred once from the trials that were trained on, and kept with the weights.

What a run makes of a test trial then hangs on that trial alone: neither on other test trials nor on bins it
is to forecast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nwb_latents.models.batching.tensors import pack
from nwb_latents.models.parts.distributions import DiagGaussian
from nwb_latents.pipeline.training.checkpoint import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nwb_latents.models.batching.tensors import TrialTensors
    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.training.stored_trials import StoredTrials

CHUNK_TRIALS = 512
"""Trials a model is given at once; bounds the memory of long sessions."""


def infer_embedding(model: Model, trials: TrialTensors) -> DiagGaussian | None:
    """Return the posterior of a session's embedding, aggregated over all trials given.

    Parameters
    ----------
    model
        In evaluation mode.
    trials
        Trials of the session; all their bins are read.

    Returns
    -------
    embedding
        Shapes ``(1, E)``; None where the model has none.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors
    >>> from nwb_latents.models.registry import build_model
    >>> from nwb_latents.schemas.ndt import NDTSettings
    >>> infer_embedding(build_model(NDTSettings(), {"a": 3}, seed=0), TrialTensors("a", torch.zeros(2, 6, 3)))
    """
    parameter = next(model.parameters())
    means, variances = [], []
    with torch.inference_mode():
        for part in chunks(trials):
            q = model.embed(pack([part]).to(parameter.device, parameter.dtype))
            if q is None:
                return None
            share = part.n_trials / trials.n_trials
            means.append(q.mean * share)
            variances.append(q.var * share)
        return DiagGaussian(torch.stack(means).sum(0), torch.stack(variances).sum(0))


def keep_embeddings(path: Path, model: Model, trials: Mapping[str, TrialTensors | StoredTrials]) -> None:
    """Write into a checkpoint the embeddings its weights infer from the trials that were trained on.

    Parameters
    ----------
    path
        The checkpoint; one of a model without embedding is left as it is.
    model
        Of the same settings and sessions; left as it was.
    trials
        Session id → its training trials.
    """
    first = next(iter(trials.values()))
    if infer_embedding(model, first.select(torch.arange(1))) is None:
        return
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    was_training = model.training
    state, scalings = load_checkpoint(path, model)
    model.eval()
    found = {name: infer_embedding(model, each.read()) for name, each in trials.items()}
    known = {name: q for name, q in found.items() if q is not None}
    save_checkpoint(path, model, state, scalings=scalings, embeddings=known)
    model.load_state_dict(weights)
    model.train(was_training)


def chunks(trials: TrialTensors) -> list[TrialTensors]:
    """Return the trials in parts of at most `CHUNK_TRIALS`."""
    starts = range(0, trials.n_trials, CHUNK_TRIALS)
    rows = torch.arange(trials.n_trials)
    return [trials.select(rows[start : start + CHUNK_TRIALS]) for start in starts]
