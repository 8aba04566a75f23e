"""The models by their settings: sizes and choices, no training schedule (that is `schemas.training`).

Beside its fields each class says ``reads_counts``, whether it is trained on spike counts by default where its
likelihood is Poisson; ``scores_forward_bins``, whether it can score bins after those it is shown; where it
was published (``paper``); and the settings one looks at first (``main_settings``).
"""

from __future__ import annotations

from nwb_latents.schemas.gnocchi import GNOCCHIReadInSettings, GNOCCHISettings
from nwb_latents.schemas.hnet import HNETReadInSettings, HNETSettings
from nwb_latents.schemas.lfads import LFADSReadInSettings, LFADSSettings
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings
from nwb_latents.schemas.ndt import NDTMaskSettings, NDTReadInSettings, NDTSettings
from nwb_latents.schemas.node_sae import NODESAEReadInSettings, NODESAESettings

__all__ = [
    "MODELS",
    "SCALED_LIKELIHOODS",
    "GNOCCHIReadInSettings",
    "GNOCCHISettings",
    "HNETReadInSettings",
    "HNETSettings",
    "LFADSReadInSettings",
    "LFADSSettings",
    "MDSSMSettings",
    "ModelSettings",
    "NDTMaskSettings",
    "NDTReadInSettings",
    "NDTSettings",
    "NODESAEReadInSettings",
    "NODESAESettings",
    "ReadInSettings",
]

ModelSettings = MDSSMSettings | LFADSSettings | HNETSettings | NODESAESettings | NDTSettings | GNOCCHISettings

MODELS: dict[str, type[ModelSettings]] = {
    "mdssm": MDSSMSettings,
    "lfads": LFADSSettings,
    "hnet": HNETSettings,
    "node_sae": NODESAESettings,
    "ndt": NDTSettings,
    "gnocchi": GNOCCHISettings,
}
"""Settings class of every model, by name; the first line of its docstring presents it."""

SCALED_LIKELIHOODS = frozenset({"gaussian", "mse"})
"""Likelihoods that score standardised values, where a training standardises; the others score what was
recorded."""
