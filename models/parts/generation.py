"""Free runs of a model: what its dynamics make of given states under given embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.models.interface import Output
from nwb_latents.models.parts.rollout import rollout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from nwb_latents.models.families.mdssm import MDSSM


def generate(
    model: MDSSM, sessions: Sequence[str], z0: Tensor, *, n_bins: int, embedding: Tensor, n_units: int
) -> Output:
    """Roll states out along the mean dynamics, and read them out.

    Parameters
    ----------
    model
        The model.
    sessions
        Session whose read-out each row uses; one session may come several times, with an embedding each.
    z0
        States of the first bin. Shape ``(session, trial, D)``.
    n_bins
        Bins, the first included.
    embedding
        Shape ``(session, E)``. Where the model's dynamics are shared, it changes nothing.
    n_units
        Units of the largest session.

    Returns
    -------
    output
        Of `n_bins` bins, no terms.

    References
    ----------
    Vermani et al. 2025, eqs 11-14 (the weights an embedding stands for) and eq. 10 (the read-out).

    Examples
    --------
    >>> import torch
    >>> from nwb_latents.models.families.mdssm import MDSSM
    >>> from nwb_latents.schemas.models import MDSSMSettings
    >>> model = MDSSM(MDSSMSettings(latent_dim=2, embedding_dim=1, rank=1), {"a": 3})
    >>> e = torch.zeros(4, 1)
    >>> output = generate(model, ["a"] * 4, torch.zeros(4, 5, 2), n_bins=6, embedding=e, n_units=3)
    >>> tuple(output.latents.shape), tuple(output.mean.shape)
    ((4, 5, 6, 2), (4, 5, 6, 3))
    """
    rows = model.names.index(list(sessions), z0.device)
    path = rollout(model.dynamics, z0, n_bins, weights=model.conditioner(embedding))
    params = model.read_out(path.z, rows, n_units)
    return Output(params=params, mean=model.likelihood.mean(params), factors=path.z, latents=path.z)
