"""Checkpoints: one safetensors file holds the weights, the optimiser and where training stands.

Never pickle: a checkpoint can be opened without running what is in it. A file is written under a
temporary name and renamed, so that it exists whole or not at all. Its header holds a digest of the numbers,
so that a run that is not complete, and has no manifest, does not go on from bits that flipped.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from nwb_latents.models.parts.distributions import DiagGaussian
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.atomic import machine_error, write_bytes
from nwb_latents.pipeline.stores.manifest import require_whole
from nwb_latents.pipeline.stores.plain_files import open_file
from nwb_latents.pipeline.training.feed import Scaling, VelocityScaling

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

CHECKPOINT_SCHEMA_VERSION = 1


@dataclass
class TrainState:
    """Where training stands.

    Attributes
    ----------
    step
        Steps taken.
    best_loss
        Lowest validation loss so far; None before the first validation.
    best_step
        Step it was reached at.
    since_best
        Validations since then.
    """

    step: int = 0
    best_loss: float | None = None
    best_step: int = 0
    since_best: int = 0


def save_checkpoint(
    path: Path,
    model: nn.Module,
    state: TrainState,
    *,
    scalings: Mapping[str, Scaling],
    optimiser: torch.optim.Optimizer | None = None,
    embeddings: Mapping[str, DiagGaussian] | None = None,
) -> None:
    """Write a checkpoint whole or not at all.

    Parameters
    ----------
    path
        File to write.
    model
        Its state dict is saved.
    state
        Where training stands; goes into the header.
    scalings
        Session id → scaling of its units.
    optimiser
        Saved too, so that training can go on; None for a checkpoint to infer with.
    embeddings
        Session id → posterior of its embedding, shapes ``(1, E)``, inferred from its training trials.

    Raises
    ------
    MachineError
        If the disk refuses; a checkpoint that was there before is untouched.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if optimiser is not None:
        for name, parameter in _optimised(model, optimiser):
            for key, value in optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{name}.{key}"] = torch.as_tensor(value)
    for session, scaling in scalings.items():
        tensors[f"session.{session}.offset"] = torch.from_numpy(scaling.offset)
        tensors[f"session.{session}.scale"] = torch.from_numpy(scaling.scale)
        tensors[f"session.{session}.units"] = torch.from_numpy(scaling.units)
        if scaling.velocity is not None:
            tensors[f"session.{session}.velocity_offset"] = torch.from_numpy(scaling.velocity.offset)
            tensors[f"session.{session}.velocity_scale"] = torch.from_numpy(scaling.velocity.scale)
    for session, embedding in (embeddings or {}).items():
        tensors[f"session.{session}.embedding_mean"] = embedding.mean
        tensors[f"session.{session}.embedding_var"] = embedding.var
    header = {
        "schema_version": CHECKPOINT_SCHEMA_VERSION,
        "state": asdict(state),
        "sessions": {
            session: {"bin_size_s": scaling.bin_size_s, "scaled_target": scaling.scaled_target}
            for session, scaling in scalings.items()
        },
    }
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header["sha256"] = _tensor_digest(plain)
    write_bytes(path, save(plain, metadata={"nwb_latents": json.dumps(header)}))


def load_checkpoint(
    path: Path, model: nn.Module, *, optimiser: torch.optim.Optimizer | None = None
) -> tuple[TrainState, dict[str, Scaling]]:
    """Load a checkpoint into a model, and into an optimiser where one is given.

    Parameters
    ----------
    path
        File to read.
    model
        Of the same settings and sessions as the one that was saved.
    optimiser
        Over the parameters of `model`.

    Returns
    -------
    state
        Where training stood.
    scalings
        Session id → scaling of its units.

    Raises
    ------
    DataError
        If the file is missing, damaged, of another schema version or of another model.
    """
    tensors, header = _read(path)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    own = model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        expected = tuple(own[name].shape) if name in own else "nothing"
        found = tuple(weights[name].shape) if name in weights else "nothing"
        if expected != found:
            raise DataError(
                f"{path}: {name}: the model of these settings expects {expected}, the checkpoint holds "
                f"{found}. Settings and checkpoint are of different runs: train again with --force, or "
                "under another name."
            )
    model.load_state_dict(weights)
    # Before its first step an optimiser has nothing to keep, and a training may be ended there.
    has_kept = any(name.startswith("optimiser.") for name in tensors) or header["state"]["step"] > 0
    if optimiser is not None and has_kept:
        _load_optimiser(path, tensors, model, optimiser)
    scalings = {
        session: Scaling(
            offset=tensors[f"session.{session}.offset"].numpy(),
            scale=tensors[f"session.{session}.scale"].numpy(),
            units=tensors[f"session.{session}.units"].numpy(),
            bin_size_s=float(told["bin_size_s"]),
            scaled_target=bool(told["scaled_target"]),
            velocity=_velocity_scaling(tensors, session),
        )
        for session, told in header["sessions"].items()
    }
    return TrainState(**header["state"]), scalings


def _velocity_scaling(tensors: Mapping[str, Tensor], session: str) -> VelocityScaling | None:
    offset, scale = (tensors.get(f"session.{session}.velocity_{part}") for part in ("offset", "scale"))
    return None if offset is None or scale is None else VelocityScaling(offset.numpy(), scale.numpy())


def require_weights_of(path: Path, run_key: str) -> None:
    """Refuse the weights of another run; those of earlier versions, which do not say of which, are taken.

    Parameters
    ----------
    path
        A checkpoint that was read; its header alone is looked at.
    run_key
        Key of the run it is to be of.

    Raises
    ------
    DataError
        If the header has another key.
    """
    found = _header(path).get("run_key", run_key)
    if found != run_key:
        raise DataError(
            f"{path}: holds the weights of the run {found}, its folder is of {run_key}: files of two runs "
            "were exchanged. Put back a copy of the folder, or train the run again with --force."
        )


def read_state(path: Path) -> TrainState:
    """Return where training stood when a checkpoint was written that was read already."""
    return TrainState(**_header(path)["state"])


def _header(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        told: dict[str, Any] = json.loads(file.metadata()["nwb_latents"])
    return told


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict of the model in a checkpoint.

    Raises
    ------
    DataError
        If the file is missing, damaged or of another schema version.
    """
    tensors, _ = _read(path)
    return {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}


def read_embeddings(path: Path) -> dict[str, DiagGaussian]:
    """Return the embeddings kept in a checkpoint, by session; none in one of an earlier version.

    Raises
    ------
    DataError
        As `read_weights`.
    """
    tensors, header = _read(path)
    mean, var = (f"session.{{}}.embedding_{part}" for part in ("mean", "var"))
    return {
        session: DiagGaussian(tensors[mean.format(session)], tensors[var.format(session)])
        for session in header["sessions"]
        if mean.format(session) in tensors
    }


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    remedy = "Train again with --force, or put back a copy of the file."
    require_whole(path.parent, [path.name], remedy=remedy)
    try:
        # The library would wait for a pipe.
        open_file(path).close()
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no checkpoint here. Train the run to its end, or train it again."
        ) from error
    except SafetensorError as error:
        raise DataError(f"{path}: the checkpoint is damaged ({error}). {remedy}") from error
    except OSError as error:
        raise machine_error(error, path, doing="read this checkpoint") from error
    try:
        header = json.loads(metadata["nwb_latents"])
        version = header["schema_version"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a checkpoint of this program: its header has no state. {remedy}"
        ) from error
    if version != CHECKPOINT_SCHEMA_VERSION:
        raise DataError(
            f"{path}: checkpoint of schema version {version}, this program reads "
            f"{CHECKPOINT_SCHEMA_VERSION}. Train again with --force, or use the version of the "
            "program that wrote it."
        )
    if header.get("sha256", expected := _tensor_digest(tensors)) != expected:
        raise DataError(
            f"{path}: the checkpoint is damaged: its numbers are not those that were written (SHA-256 "
            f"{expected[:12]}…, expected {str(header['sha256'])[:12]}…). {remedy}"
        )
    return tensors, header


def _tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, kinds, shapes and bytes, whatever order they come in."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _optimised(model: nn.Module, optimiser: torch.optim.Optimizer) -> list[tuple[str, nn.Parameter]]:
    mine = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    return [(name, parameter) for name, parameter in model.named_parameters() if id(parameter) in mine]


def _load_optimiser(
    path: Path, tensors: Mapping[str, Tensor], model: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    known = {name for name in tensors if name.startswith("optimiser.")}
    if not known:
        raise DataError(
            f"{path}: holds no optimiser, so training cannot go on from it. Train again with --force."
        )
    for name, parameter in _optimised(model, optimiser):
        prefix = f"optimiser.{name}."
        state = {k.removeprefix(prefix): tensors[k] for k in known if k.startswith(prefix)}
        if not state:
            continue
        for key, value in state.items():
            if value.ndim and value.shape != parameter.shape:
                expected, found = tuple(parameter.shape), tuple(value.shape)
                raise DataError(
                    f"{path}: {prefix}{key}: expected {expected}, found {found}. Train again with --force."
                )
        optimiser.state[parameter] = {key: value.to(parameter.device) for key, value in state.items()}
