"""What is logged of a step: the loss and its terms, and whether the sessions' embeddings differ.

What a model makes of a block is kept as tensors on its device (`BlockTold`), and read when it is to be
logged: a GPU that is read back after every step waits for the processor, and the processor for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nwb_latents.models.interface import Output, total_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from nwb_latents.models.batching.tensors import Batch

EMBEDDINGS_APART = "embeddings_apart"
"""Metric: deviation of the sessions' embeddings, in deviations of their posteriors."""


@dataclass(frozen=True)
class BlockTold:
    """What is logged of one block, on the device it was computed on.

    Attributes
    ----------
    number
        Number of the block in its step.
    n_sessions
        Its sessions; of one that is cut into several blocks, the share.
    loss
        Scalar, without a gradient.
    terms
        Name → scalar. Several terms of one name are added.
    embedding
        Mean and variance of the sessions' embeddings, shapes ``(session, E)``; None where there are none.
    """

    number: int
    n_sessions: float
    loss: Tensor
    terms: dict[str, Tensor]
    embedding: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class BlockRead:
    """The same, read back: what other processes can be sent."""

    number: int
    n_sessions: float
    loss: float
    terms: dict[str, list[float]]
    embedding: tuple[Tensor, Tensor] | None = None


def told_of(output: Output, batch: Batch, step: int) -> BlockTold:
    """Return what is logged of what a model made of a block, and of nothing it is kept alive by.

    Parameters
    ----------
    output
        With terms.
    batch
        The block.
    step
        Training step, which weights of terms depend on.
    """
    terms: dict[str, Tensor] = {}
    for number, term in enumerate(output.terms):
        value = term.value if term.logged is None else term.logged
        # Two terms of one name stay apart until they are read: they are added in double precision.
        terms[f"{term.name}/{number}"] = _shared(value.detach(), batch)
    embedding = None
    if "embedding_mean" in output.aux:
        embedding = (output.aux["embedding_mean"].detach(), output.aux["embedding_var"].detach())
    loss = _shared(total_loss(output, step).detach(), batch)
    return BlockTold(batch.number, len(batch.sessions) * batch.share, loss, terms, embedding)


def _shared(value: Tensor, batch: Batch) -> Tensor:
    return value if batch.share == 1 else value * batch.share


def read_back(blocks: Sequence[BlockTold]) -> list[BlockRead]:
    """Return what was told of blocks as numbers; their device is waited for once."""
    values = [value for block in blocks for value in (block.loss, *block.terms.values())]
    numbers = iter(torch.stack([value.double() for value in values]).tolist() if values else [])
    found = []
    for block in blocks:
        loss = next(numbers)
        terms: dict[str, list[float]] = {}
        for key in block.terms:
            terms.setdefault(key.rpartition("/")[0], []).append(next(numbers))
        pair = None if block.embedding is None else tuple(part.cpu() for part in block.embedding)
        found.append(BlockRead(block.number, block.n_sessions, loss, terms, pair))  # type: ignore[arg-type]
    return found


def summed(blocks: Sequence[BlockRead]) -> dict[str, float]:
    """Return total and terms of the loss of all blocks of a step, averaged over sessions.

    Parameters
    ----------
    blocks
        All of them, in their order.

    Returns
    -------
    metrics
        As `summary`.
    """
    whole = sum(block.n_sessions for block in blocks)
    n_sessions = round(whole)
    metrics = {"loss": sum(block.loss for block in blocks) / n_sessions}
    for name in blocks[0].terms:
        metrics[name] = sum(value for block in blocks for value in block.terms.get(name, ())) / n_sessions
    apart = _embeddings_apart(blocks)
    return metrics if apart is None else metrics | {EMBEDDINGS_APART: apart}


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
    return summed(read_back([told_of(*pair, step) for pair in zip(outputs, batches, strict=True)]))


def _embeddings_apart(blocks: Sequence[BlockRead]) -> float | None:
    """Return how far embeddings of sessions lie apart, in deviations of their posteriors, where that is told.

    Over sessions the deviation of the means, over the root of the mean variance; of the dimension in which
    that is most.
    """
    pairs = [block.embedding for block in blocks if block.embedding is not None]
    if len(pairs) < len(blocks):
        return None
    mean = torch.cat([pair[0] for pair in pairs])
    variance = torch.cat([pair[1] for pair in pairs]).mean(0)
    if len(mean) < 2 or not mean.numel() or not bool((variance > 0).all()):
        return None
    return float((mean.std(0, correction=0) / variance.sqrt()).max())
