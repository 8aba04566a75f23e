"""The models there are, by name. A model is added by one file and one line here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nwb_latents.models.families.gnocchi import GNOCCHI
from nwb_latents.models.families.hnet import HNET
from nwb_latents.models.families.lfads import LFADS
from nwb_latents.models.families.mdssm import MDSSM
from nwb_latents.models.families.ndt import NDT
from nwb_latents.models.families.node_sae import NODESAE
from nwb_latents.models.interface import Model
from nwb_latents.schemas.models import (
    GNOCCHISettings,
    HNETSettings,
    LFADSSettings,
    MDSSMSettings,
    NDTSettings,
    NODESAESettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nwb_latents.schemas.base import Frozen
    from nwb_latents.schemas.models import ModelSettings


@dataclass(frozen=True)
class ModelEntry:
    """Settings class and builder of a model.

    Attributes
    ----------
    settings
        Class of its settings.
    build
        ``(settings, session id → units) -> model``.
    """

    settings: type[Frozen]
    build: Callable[..., Model]


MODELS: dict[str, ModelEntry] = {
    "mdssm": ModelEntry(MDSSMSettings, MDSSM),
    "lfads": ModelEntry(LFADSSettings, LFADS),
    "hnet": ModelEntry(HNETSettings, HNET),
    "node_sae": ModelEntry(NODESAESettings, NODESAE),
    "ndt": ModelEntry(NDTSettings, NDT),
    "gnocchi": ModelEntry(GNOCCHISettings, GNOCCHI),
}


def alignable_models() -> list[str]:
    """Return the names of the models that can be aligned to new sessions.

    Examples
    --------
    >>> alignable_models()
    ['mdssm', 'lfads', 'hnet', 'node_sae', 'ndt', 'gnocchi']
    """
    refuses = Model.alignable_parameters
    return [
        name
        for name, entry in MODELS.items()
        if getattr(entry.build, "alignable_parameters", refuses) is not refuses
    ]


def build_model(settings: ModelSettings, units: Mapping[str, int], *, seed: int) -> Model:
    """Build a model whose initial weights depend on `seed` alone.

    Parameters
    ----------
    settings
        Settings of the model; its ``name`` picks the entry.
    units
        Session id → number of units.
    seed
        Seed of the initial weights. The global random state is left as it was.

    Raises
    ------
    KeyError
        If there is no model of that name.
    ValueError
        If there is no session, or one without units.

    Examples
    --------
    >>> model = build_model(MDSSMSettings(encoder_width=8), {"a": 3}, seed=0)
    >>> type(model).__name__
    'MDSSM'
    """
    entry = MODELS[settings.name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return entry.build(settings, units)
