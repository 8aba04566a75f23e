"""Where the embedding of a session comes from: inferred from its trials, learned, or fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor, nn

from nwb_latents.models.parts.distributions import DiagGaussian, from_raw, inverse_positive
from nwb_latents.models.parts.per_session import PerSession

if TYPE_CHECKING:
    from nwb_latents.models.parts.encoders import GRUEncoder


class EmbeddingSource(Protocol):
    """From trials of sessions to one Gaussian per session."""

    def __call__(self, shared: Tensor, trial_mask: Tensor, sessions: Tensor) -> DiagGaussian:
        """Return the embedding's distribution. Shapes ``(session, E)``.

        Parameters
        ----------
        shared
            Read-in of the trials. Shape ``(session, trial, time, P)``.
        trial_mask
            Real trials. Shape ``(session, trial)``, bool.
        sessions
            Positions of the sessions. Shape ``(session,)``.
        """
        ...


class Encoded(nn.Module):
    """Amortised posterior: means and variances are averaged over a session's trials (eq. 17).

    Variances are averaged, not precision-weighted: the posterior does not sharpen with more trials.

    Parameters
    ----------
    encoder
        Reads trials.
    embedding_dim
        E.
    pooling
        ``"last"``: the encoder's last state (the paper); ``"mean"``: the mean of its states over time.
    start_variance
        Variance each trial starts with; None: that of a random head, about 0.7. Where the embedding starts
        as little more than noise, the dynamics may learn not to listen to it.
    """

    def __init__(
        self,
        encoder: GRUEncoder,
        embedding_dim: int,
        *,
        pooling: Literal["last", "mean"] = "last",
        start_variance: float | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.head = nn.Linear(encoder.width, 2 * embedding_dim)
        if start_variance is not None:
            nn.init.constant_(self.head.bias[embedding_dim:], inverse_positive(start_variance))

    def forward(self, shared: Tensor, trial_mask: Tensor, sessions: Tensor) -> DiagGaussian:
        """Return the aggregate over real trials."""
        del sessions
        read = self.encoder(shared)
        each = from_raw(self.head(read.last if self.pooling == "last" else read.seq.mean(-2)))
        weight = trial_mask.to(shared.dtype)
        weight = (weight / weight.sum(1, keepdim=True).clamp_min(1))[:, :, None]
        return DiagGaussian((each.mean * weight).sum(1), (each.var * weight).sum(1))


class Table(nn.Module):
    """One learned vector per session, with no variance (HNET).

    Parameters
    ----------
    n_sessions, embedding_dim
        Size of the table.
    scale
        Standard deviation of the initial vectors.

    Examples
    --------
    >>> trials, real = torch.zeros(1, 4, 5, 6), torch.ones(1, 4, dtype=torch.bool)
    >>> tuple(Table(3, 2)(trials, real, torch.tensor([2])).mean.shape)
    (1, 2)
    """

    def __init__(self, n_sessions: int, embedding_dim: int, *, scale: float = 0.1) -> None:
        super().__init__()
        self.vectors = PerSession(scale * torch.randn(n_sessions, embedding_dim))

    def forward(self, shared: Tensor, trial_mask: Tensor, sessions: Tensor) -> DiagGaussian:
        """Return the sessions' vectors."""
        del shared, trial_mask
        mean = self.vectors(sessions)
        return DiagGaussian(mean, torch.zeros_like(mean))


class Fixed(nn.Module):
    """No embedding: zeros without variance, for models that share everything.

    Examples
    --------
    >>> Fixed(1)(torch.zeros(2, 4, 5, 6), torch.ones(2, 4), torch.arange(2)).mean.tolist()
    [[0.0], [0.0]]
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim

    def forward(self, shared: Tensor, trial_mask: Tensor, sessions: Tensor) -> DiagGaussian:
        """Return zeros."""
        del trial_mask, sessions
        zero = shared.new_zeros(shared.shape[0], self.embedding_dim)
        return DiagGaussian(zero, zero)
