"""Where training runs, and in what arithmetic."""

from __future__ import annotations

import ctypes
import logging
import platform
from typing import TYPE_CHECKING, Any

import torch

from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.training.ranks import ALONE, LONGEST_WAIT, Rank, ToldEnvironment

if TYPE_CHECKING:
    from nwb_latents.schemas.training import Device, TrainSettings

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BYTES = 1 << 30


def resolve_device(device: Device) -> torch.device:
    """Return the device to run on; ``"auto"`` is a GPU if there is one.

    Raises
    ------
    SettingsError
        If it is another word.
    MachineError
        If a GPU was asked for and there is none.

    Examples
    --------
    >>> resolve_device("cpu").type
    'cpu'
    """
    if device not in {"auto", "cpu", "cuda"}:
        hint = "; a GPU is cuda" if str(device).lower() in {"gpu", "mps", "cuda:0"} else ""
        raise SettingsError(f"device {device!r}: expected auto, cpu or cuda{hint}.")
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise MachineError(
            "device cuda was asked for, but torch finds no CUDA device on this machine. Use --device auto "
            "or cpu, or install a torch build with CUDA where there is a GPU."
        )
    # Single precision is meant: torch would let cuDNN round the products of recurrent units to ten bits.
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")


def gpus_for(device: Device) -> int | None:
    """Return how many GPUs a training has to choose from; None where it does not run on any.

    Examples
    --------
    >>> gpus_for("cpu") is None
    True
    """
    return torch.cuda.device_count() if resolve_device(device).type == "cuda" else None


def n_gpus() -> int:
    """Return the GPUs torch can compute on here.

    Examples
    --------
    >>> n_gpus() >= 0
    True
    """
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def open_fabric(settings: TrainSettings, rank: Rank = ALONE) -> Any:
    """Return a Lightning Fabric for the device and precision of the settings.

    Parameters
    ----------
    settings
        Device, precision.
    rank
        Place of this process among those that train together. Fabric is told it, and asks no environment: a
        run trains in one process also where the variables of a batch system say it is one of several.

    Raises
    ------
    MachineError
        If the device is not there.
    SettingsError
        If the precision does not exist on the device.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    from lightning_fabric import Fabric  # noqa: PLC0415
    from lightning_fabric.strategies import DDPStrategy  # noqa: PLC0415

    device = resolve_device(settings.device)
    if device.type == "cpu":
        reuse_freed_memory()
    if settings.precision == "16-mixed" and device.type == "cpu":
        raise SettingsError("precision 16-mixed needs a GPU. Use 32-true or bf16-mixed on the CPU.")
    told = ToldEnvironment(rank)
    if rank.of == 1:
        return Fabric(accelerator=device.type, devices=1, precision=settings.precision, plugins=[told])
    strategy = DDPStrategy(
        process_group_backend="gloo" if device.type == "cpu" else "nccl",
        timeout=LONGEST_WAIT,
    )
    fabric = Fabric(
        accelerator=device.type,
        strategy=strategy,
        devices=rank.on_node,
        num_nodes=rank.of // rank.on_node,
        precision=settings.precision,
        plugins=[told],
    )
    fabric.launch()
    return fabric


def reuse_freed_memory() -> None:
    """Let the C library hand freed tensors' memory out again instead of giving it back to the system.

    The GNU library maps fresh pages for every block above 32 MiB, and a training step makes dozens of them:
    the page faults can cost as much as the arithmetic. Up to 1 GiB stays with the process. Elsewhere than
    under the GNU library this does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
    library.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
