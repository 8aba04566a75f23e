"""Building a model whose packages, or whose own distribution, may not be as they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.models.kernels.switch import KernelSwitchError, chosen
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.schemas.registry import BrokenPartError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.models.interface import Model
    from nwb_latents.schemas.models import ModelSettings


def built_model(settings: ModelSettings, units: Mapping[str, int], *, seed: int) -> Model:
    """Build a model as `models.registry.build_model` does.

    Raises
    ------
    SettingsError
        If ``NWB_LATENTS_KERNELS`` says what there is not.
    MachineError
        If its settings need a package that is not installed, or the distribution it comes from is broken.

    Examples
    --------
    >>> from nwb_latents.schemas.node_sae import NODESAESettings
    >>> type(built_model(NODESAESettings(), {"a": 3}, seed=0)).__name__
    'NODESAE'
    """
    try:
        chosen()
        return build_model(settings, units, seed=seed)
    except KernelSwitchError as error:
        raise SettingsError(str(error)) from error
    except ModuleNotFoundError as error:
        raise MachineError(f"model {settings.name}: {error}") from error
    except BrokenPartError as error:
        raise MachineError(str(error)) from error
