"""From the settings of a model to the model: the classes that settings name as their implementation."""

from __future__ import annotations

import sys
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING

import torch

from nwb_latents.models.interface import Model
from nwb_latents.schemas.models import known_models
from nwb_latents.schemas.registry import MODELS, BrokenPartError, PartWarning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.schemas.models import ModelSettings


def model_class(settings: ModelSettings | type[ModelSettings]) -> type[Model]:
    """Return the class that computes a model.

    Parameters
    ----------
    settings
        Settings of the model, or their class.

    Raises
    ------
    BrokenPartError
        If their ``implementation`` cannot be imported or is no `Model`.

    Examples
    --------
    >>> from nwb_latents.schemas.ndt import NDTSettings
    >>> model_class(NDTSettings).__name__
    'NDT'
    """
    module, _, name = settings.implementation.partition(":")
    try:
        with redirect_stdout(sys.stderr):
            found = getattr(import_module(module), name)
    except (Exception, SystemExit) as error:
        raise _broken(settings, f"cannot be loaded: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Model)):
        raise _broken(settings, "is no class of `nwb_latents.models.interface.Model`")
    return found


def build_model(settings: ModelSettings, units: Mapping[str, int], *, seed: int) -> Model:
    """Build a model whose initial weights depend on `seed` alone.

    Parameters
    ----------
    settings
        Settings of the model.
    units
        Session id → number of units.
    seed
        Seed of the initial weights. The global random state is left as it was.

    Raises
    ------
    BrokenPartError
        If what the settings name as their implementation cannot be loaded.
    ValueError
        If there is no session, or one without units.

    Examples
    --------
    >>> from nwb_latents.schemas.mdssm import MDSSMSettings
    >>> model = build_model(MDSSMSettings(encoder_width=8), {"a": 3}, seed=0)
    >>> type(model).__name__
    'MDSSM'
    """
    build = model_class(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(settings, units)


def models_that(ability: type) -> list[str]:
    """Return the names of the models that have an ability, by alphabet after those of this project.

    A model that cannot be loaded is left out, with a warning.

    Parameters
    ----------
    ability
        One of the protocols of `nwb_latents.models.interface`.

    Examples
    --------
    >>> from nwb_latents.models.interface import Aligns
    >>> models_that(Aligns)
    ['gnocchi', 'hnet', 'lfads', 'mdssm', 'ndt', 'node_sae']
    """
    found = []
    for name, kind in known_models().items():
        try:
            has_it = issubclass(model_class(kind), ability)
        except BrokenPartError as error:
            warnings.warn(str(error), PartWarning, stacklevel=2)
            continue
        if has_it:
            found.append(name)
    return found


def _broken(settings: ModelSettings | type[ModelSettings], fault: str) -> BrokenPartError:
    name = (
        type(settings).model_fields["name"].default if not isinstance(settings, type) else settings.__name__
    )
    owner = f" of {MODELS.owner(name)}" if name in MODELS else ""
    remedy = MODELS.remedy(name) if name in MODELS else "Mend or uninstall that distribution."
    return BrokenPartError(f"the model {name!r}{owner}: {settings.implementation} {fault}. {remedy}")
