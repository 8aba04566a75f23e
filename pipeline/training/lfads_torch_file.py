"""Checkpoints of lfads-torch, read without running anything that is in them.

PyTorch Lightning pickles a checkpoint whole: beside weights and numbers lie objects of lfads-torch. Only what
``torch.load(weights_only=True)`` allows is built; every other class or function the file names is replaced by
an inert object, which none of what is used here may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.machine import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REMEDY = (
    "Save its weights and numbers alone and import that file; the page on imports in the manual shows how."
)

USABLE_SHARE = 0.8
"""Share of the memory an import may take."""

COPIES = 4
"""Of each weight: as it is read, as it is here, in the model, and as it is written down."""


class Unread:
    """Stands for an object of a class that is not loaded; keeps its state, and does nothing.

    Examples
    --------
    >>> Unread("whatever", it=1).state
    """

    state: object

    def __new__(cls, *args: object, **words: object) -> Self:
        """Take whatever the object was made of, and forget it."""
        del args, words
        made = super().__new__(cls)
        made.state = None
        return made

    def __init__(self, *args: object, **words: object) -> None:
        """Do nothing."""

    def __setstate__(self, state: object) -> None:
        """Keep the state the file gives the object."""
        self.state = state


@dataclass(frozen=True)
class LfadsTorchFile:
    """What is used of a checkpoint.

    Attributes
    ----------
    path
        The file.
    weights
        Name in lfads-torch → finite values, float32.
    numbers
        Hyper-parameters that are numbers.
    prior_df
        Degrees of freedom of the priors that are Student-t and that the file holds, by ``co_prior`` (inferred
        inputs) and ``ic_prior`` (initial condition).
    steps
        Training steps taken.
    """

    path: Path
    weights: Mapping[str, Tensor]
    numbers: Mapping[str, float]
    prior_df: Mapping[str, float]
    steps: int

    def fault(self, text: str) -> DataError:
        """Return the error that says `text` of this file."""
        return DataError(f"{self.path}: {text}")

    def number(self, name: str) -> float:
        """Return a hyper-parameter.

        Raises
        ------
        DataError
            If the file does not hold it as a number.
        """
        if name not in self.numbers:
            raise self.fault(
                f"hyper_parameters has no number {name!r}, which decides what the weights mean; there are: "
                f"{', '.join(sorted(self.numbers)) or 'none'}. {REMEDY}"
            )
        return self.numbers[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a weight.

        Raises
        ------
        DataError
            If there is no such weight.
        """
        if name not in self.weights:
            raise self.fault(
                f"state_dict has no {name!r}. Give a checkpoint of the model LFADS of lfads-torch, not one "
                "of another model."
            )
        return tuple(self.weights[name].shape)


def read_lfads_torch(path: Path, *, force: bool = False) -> LfadsTorchFile:
    """Read a checkpoint of lfads-torch.

    Parameters
    ----------
    path
        File written by PyTorch Lightning, with ``state_dict`` and ``hyper_parameters``.
    force
        Go on though the weights, or the model made of them, are larger than this machine can hold.

    Raises
    ------
    DataError
        If there is no such file, it is none of PyTorch's, needs more than inert objects, lacks weights, or
        states larger ones than this machine can hold.
    """
    content = _load(path)
    weights = content.get("state_dict") if isinstance(content, dict) else None
    hyper = content.get("hyper_parameters") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not isinstance(hyper, dict):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise DataError(
            f"{path}: expected state_dict and hyper_parameters, found {found or 'nothing'}. "
            "Give a .ckpt file that lfads-torch wrote."
        )
    for name, value in weights.items():
        if not isinstance(value, Tensor) or value.is_complex():
            raise DataError(f"{path}: {name}: expected numbers, found {type(value).__name__}. {REMEDY}")
    if not force:
        _require_room(path, weights)
    for name, value in weights.items():
        if not value.isfinite().all():
            raise DataError(f"{path}: {name}: holds NaN or infinity. Import an earlier checkpoint.")
    steps = content.get("global_step", 0)
    return LfadsTorchFile(
        path=path,
        weights={str(name): value.detach().float() for name, value in weights.items()},
        numbers={str(k): float(v) for k, v in hyper.items() if isinstance(v, bool | int | float)},
        prior_df={
            name: float(df)
            for name in ("co_prior", "ic_prior")
            if isinstance(df := _state(hyper.get(name)).get("df"), int | float)
        },
        steps=steps if isinstance(steps, int) else 0,
    )


def _require_room(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that are larger than the memory: a few bytes of a file can state a shape of any size."""
    needed = COPIES * 4 * sum(value.numel() for value in weights.values())
    most = int(memory_bytes() * USABLE_SHARE)
    if needed <= most:
        return
    name, largest = max(weights.items(), key=lambda item: item[1].numel())
    raise DataError(
        f"{path}: its weights, their model and what is written of it take {needed / 1e9:,.1f} GB, and "
        f"{most / 1e9:,.1f} GB may be used here; the largest is {name} of the shape {tuple(largest.shape)}. "
        "Look at what wrote the file; a model that is meant to be so large needs a larger machine, or "
        "--force to try all the same."
    )


def _state(prior: object) -> Mapping[str, object]:
    return prior.state if isinstance(prior, Unread) and isinstance(prior.state, dict) else {}


def _load(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file. Check the path.")
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        # Each name has a class of its own: the loader knows what it may build by the class.
        inert: list[Any] = [(type("Unread", (Unread,), {}), name) for name in named]
        with torch.serialization.safe_globals(inert):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged or hostile file can make the loader fail in any way; it runs nothing of it.
        first = str(error).strip().split("\n")[0]
        raise DataError(f"{path}: cannot be loaded as weights alone ({first}). {REMEDY}") from error
