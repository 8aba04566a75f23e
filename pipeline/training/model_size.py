"""Models and batches that do not fit the memory are refused before they are allocated.

A model is built once on torch's device without memory, ``meta``, which counts its parameters whatever the
family. What a training step keeps for its gradient is measured on one and on two trials, which tells what
all of them take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch.autograd.graph import saved_tensors_hooks

from nwb_latents.models.batching.tensors import pack
from nwb_latents.models.interface import total_loss
from nwb_latents.models.randomness import derived_generator
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline import machine
from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.schemas.base import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nwb_latents.models.batching.tensors import TrialTensors
    from nwb_latents.models.batching.views import Masker
    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.training.feed import SessionFeed
    from nwb_latents.pipeline.training.stored_trials import StoredFeed, StoredTrials
    from nwb_latents.schemas.models import ModelSettings
    from nwb_latents.schemas.training import TrainSettings

USABLE_SHARE = 0.8
"""Share of the memory a training may take."""

COPIES = 5
"""Of each parameter: itself, its gradient, two moments of the optimiser, and what is written down."""

ALWAYS_FITS_SHARE = 0.05
"""Batches of which a generous guess takes less of the memory are not measured."""

GUESSED_COPIES = 200
"""Numbers a step keeps for each of the widest layer, in a generous guess."""


def count_parameters(settings: ModelSettings, units: Mapping[str, int]) -> int | None:
    """Return the parameters of a model, without allocating them.

    Parameters
    ----------
    settings, units
        As for `models.registry.build_model`.

    Returns
    -------
    n_parameters
        None where the model cannot be built without memory, as one of another distribution may not.

    Examples
    --------
    >>> from nwb_latents.schemas.ndt import NDTSettings
    >>> count_parameters(NDTSettings(hidden=8, layers=1), {"a": 3}) < 100_000
    True
    """
    try:
        with torch.device("meta"):
            model = build_model(settings, units, seed=0)
    except Exception:
        return None
    return sum(parameter.numel() for parameter in model.parameters())


def require_model_fits(settings: TrainSettings, units: Mapping[str, int], *, at_once: int = 1) -> None:
    """Refuse a model that is larger than the memory, before it is built.

    Parameters
    ----------
    settings
        Of the training.
    units
        Session → number of units.
    at_once
        Processes of this machine that train such a model at the same time.

    Raises
    ------
    SettingsError
        If it does not fit; the message names the setting its size is due to.
    """
    n_parameters = count_parameters(settings.model, units)
    if n_parameters is None:
        return
    needed, most = _bytes_of(n_parameters, settings), available_bytes(settings, at_once=at_once)
    if needed <= most:
        return
    name, value = _due_to(settings.model, units, n_parameters)
    raise SettingsError(
        f"model.{name} {value}: the model {settings.model.name} has {n_parameters:,} parameters; with "
        "gradients and the "
        f"state of the optimiser they take {needed / 1e9:,.1f} GB, and {most / 1e9:,.1f} GB may be used "
        f"here{_by_each(at_once)}. Lower "
        f"model.{name}, use {_fewer(at_once)}a machine with more memory, or --force to try all the same."
    )


def require_step_fits(
    model: Model,
    feeds: Mapping[str, SessionFeed] | Mapping[str, StoredFeed],
    settings: TrainSettings,
    masker: Masker,
    *,
    at_once: int = 1,
) -> None:
    """Refuse batches of which a training step is larger than the memory, before the first one is drawn.

    Parameters
    ----------
    model
        Freshly built; it is not changed.
    feeds
        Session → its trials.
    settings
        Of the training.
    masker
        What a step hides.
    at_once
        Processes of this machine that train such a model at the same time.

    Raises
    ------
    SettingsError
        If a step does not fit; the message says how many trials would.
    """
    trains = [feed.train for feed in feeds.values()]
    largest = sorted(trains, key=lambda one: one.n_bins * one.n_units, reverse=True)
    block = largest[: min(settings.batch.sessions_per_block, settings.batch.sessions_per_step)]
    n_trials = min(settings.batch.trials_per_session, max(one.n_trials for one in block))
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    left = available_bytes(settings, at_once=at_once) - _bytes_of(n_parameters, settings)
    n_bins = max(one.n_bins for one in block)
    width = max([*(one.n_units for one in block), *(value for _, value in _whole_numbers(settings.model))])
    guess = len(block) * n_trials * n_bins * width * GUESSED_COPIES * _width_of(settings)
    if n_trials < 2 or guess < ALWAYS_FITS_SHARE * left:
        return
    one, two = (_kept_bytes(model, block, settings, masker, n_trials=n) for n in (1, 2))
    each = max(two - one, 1)
    needed = one + (n_trials - 1) * each
    if needed <= left:
        return
    fitting = max(1, int((left - one) / each) + 1)
    raise SettingsError(
        f"batch.trials_per_session {settings.batch.trials_per_session}: a step of {n_trials} trials of "
        f"{len(block)} session{'s' * (len(block) > 1)} takes {needed / 1e9:,.1f} GB, and {left / 1e9:,.1f} "
        "GB are left "
        f"beside the model{_by_each(at_once)}. Use batch.trials_per_session of at most {fitting}, a lower "
        "batch.sessions_per_block "
        f"({settings.batch.sessions_per_block}), {_fewer(at_once)}a machine with more memory, or --force to "
        "try all the same.",
        setting="batch.trials_per_session",
    )


def available_bytes(settings: TrainSettings, *, at_once: int = 1) -> int:
    """Return the memory a training may take: of the GPU if it runs there, else of this machine.

    Parameters
    ----------
    settings
        Of the training.
    at_once
        Processes of this machine that train at the same time; GPUs are dealt out among them.

    Examples
    --------
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> cpu = TrainSettings(device="cpu")
    >>> round(available_bytes(cpu) / available_bytes(cpu, at_once=4), 3)
    4.0
    """
    if settings.device != "cpu" and torch.cuda.is_available():
        # What is free shrinks as the others begin, so that a share is one of the whole.
        free, whole = torch.cuda.mem_get_info()
        return int(min(free, whole / -(-at_once // torch.cuda.device_count())) * USABLE_SHARE)
    return int(machine.memory_bytes() * USABLE_SHARE / at_once)


def _by_each(at_once: int) -> str:
    return f" by each of {at_once} processes" if at_once > 1 else ""


def _fewer(at_once: int) -> str:
    return "fewer processes (--workers), " if at_once > 1 else ""


def _width_of(settings: TrainSettings) -> int:
    return 8 if settings.precision == "64-true" else 4


def _bytes_of(n_parameters: int, settings: TrainSettings) -> int:
    return n_parameters * COPIES * _width_of(settings)


def _kept_bytes(
    model: Model,
    block: Sequence[TrialTensors | StoredTrials],
    settings: TrainSettings,
    masker: Masker,
    *,
    n_trials: int,
) -> int:
    """Return the bytes of what a step keeps for its gradient, parameters apart."""
    ours = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    few = [one.select(torch.arange(n_trials).clamp(max=one.n_trials - 1)) for one in block]
    device = next(model.parameters()).device
    batch = pack(few).to(device, next(model.parameters()).dtype)
    noise = derived_generator(settings.seed, "size", device=device)
    was_training = model.training
    with torch.random.fork_rng(devices=[]), saved_tensors_hooks(keep, lambda tensor: tensor):
        # Kept until the last is counted: storage that was freed would be counted as another's.
        loss = total_loss(model.eval()(batch, masker(batch, noise, 0), 0, noise), 0)
    model.train(was_training)
    del loss
    return sum(kept.values())


def _due_to(settings: ModelSettings, units: Mapping[str, int], n_parameters: int) -> tuple[str, int]:
    """Return the whole number among the settings of which half would leave the fewest parameters."""
    best = ("name", 0, n_parameters)
    for name, value in _whole_numbers(settings):
        halved = _with(settings, name.split("."), value // 2)
        n = None if halved is None else count_parameters(halved, units)
        if n is not None and n < best[2]:
            best = (name, value, n)
    return best[:2]


def _whole_numbers(settings: Frozen, prefix: str = "") -> Iterator[tuple[str, int]]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Frozen):
            yield from _whole_numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int) and not isinstance(value, bool) and value > 1:
            yield f"{prefix}{name}", value


def _with(settings: Any, path: list[str], value: int) -> Any:
    """Return settings with another value; None if it does not fit."""
    first, *rest = path
    inner: object = value if not rest else _with(getattr(settings, first), rest, value)
    if inner is None:
        return None
    try:
        return type(settings).model_validate({**settings.model_dump(), first: inner})
    except ValidationError:
        return None
