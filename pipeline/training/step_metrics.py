"""What is logged of a step: the loss and its terms, and whether the sessions' embeddings differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nwb_latents.models.interface import Output, total_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.models.batching.tensors import Batch

EMBEDDINGS_APART = "embeddings_apart"
"""Metric: deviation of the sessions' embeddings, in deviations of their posteriors."""


def summary(outputs: Sequence[Output], batches: Sequence[Batch], step: int) -> dict[str, float]:
    """Return total and terms of the loss, averaged over sessions, and how far embeddings lie apart.

    Parameters
    ----------
    outputs
        What a model made of the blocks of a step.
    batches
        The blocks.
    step
        Training step, which weights of terms depend on.

    Returns
    -------
    metrics
        ``loss``, the terms by name, and `EMBEDDINGS_APART` where the model infers embeddings of several
        sessions.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.models.interface import Term
    >>> batch = pack([TrialTensors("a", torch.zeros(4, 6, 3)), TrialTensors("b", torch.zeros(2, 6, 3))])
    >>> nothing = torch.zeros(0)
    >>> aux = {"embedding_mean": torch.tensor([[-1.0], [1.0]]), "embedding_var": torch.full((2, 1), 0.25)}
    >>> output = Output(nothing, nothing, nothing, nothing, terms=(Term("nll", torch.tensor(8.0)),), aux=aux)
    >>> summary([output], [batch], 0)
    {'loss': 4.0, 'nll': 4.0, 'embeddings_apart': 2.0}
    """
    n_sessions = sum(len(batch.sessions) for batch in batches)
    metrics = {"loss": sum(float(total_loss(output, step).detach()) for output in outputs) / n_sessions}
    for term in outputs[0].terms:
        same = (t for output in outputs for t in output.terms if t.name == term.name)
        logged = (t.value if t.logged is None else t.logged for t in same)
        metrics[term.name] = sum(float(value.detach()) for value in logged) / n_sessions
    apart = _embeddings_apart(outputs)
    return metrics if apart is None else metrics | {EMBEDDINGS_APART: apart}


def _embeddings_apart(outputs: Sequence[Output]) -> float | None:
    """Return how far embeddings of sessions lie apart, in deviations of their posteriors, where that is told.

    Over sessions the deviation of the means, over the root of the mean variance; of the dimension in which
    that is most.
    """
    if any("embedding_mean" not in output.aux for output in outputs):
        return None
    mean = torch.cat([output.aux["embedding_mean"].detach() for output in outputs])
    variance = torch.cat([output.aux["embedding_var"].detach() for output in outputs]).mean(0)
    if len(mean) < 2 or not mean.numel() or not bool((variance > 0).all()):
        return None
    return float((mean.std(0, correction=0) / variance.sqrt()).max())
