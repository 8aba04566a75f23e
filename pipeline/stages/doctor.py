"""``pipeline doctor``: what this machine offers."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.machine import available_cores

PACKAGES = (
    "nwb-latents",
    "torch",
    "numpy",
    "scipy",
    "zarr",
    "xarray",
    "dask",
    "pynwb",
    "dandi",
    "lightning-fabric",
)


def examine(folder: Path | None = None) -> list[dict[str, str]]:
    """Look at Python, packages, processors, GPU, disk and compiled kernels.

    Parameters
    ----------
    folder
        Folder whose disk is looked at; default: the current one.

    Returns
    -------
    findings
        Name and finding of each check.

    Examples
    --------
    >>> [f["name"] for f in examine()][:2]
    ['python', 'processors']
    """
    import torch  # noqa: PLC0415

    gpu = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())) or "none"
    free = shutil.disk_usage(folder or Path.cwd()).free
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    findings = {
        "python": platform.python_version(),
        "processors": str(available_cores()),
        "memory": f"{memory / 1e9:.1f} GB" if memory else "unknown",
        "gpu": gpu,
        "free disk": f"{free / 1e9:.1f} GB",
        **_kernels(),
    }
    for name in PACKAGES:
        try:
            findings[name] = version(name)
        except PackageNotFoundError:
            findings[name] = "not installed"
    return [{"name": name, "found": found} for name, found in findings.items()]


def _kernels() -> dict[str, str]:
    """Say which kernels run on this machine, and what decides it."""
    from nwb_latents.models.kernels.compiled import library_file  # noqa: PLC0415
    from nwb_latents.models.kernels.products import outruns_mkl  # noqa: PLC0415
    from nwb_latents.models.kernels.switch import SWITCH, KernelSwitchError, is_fast  # noqa: PLC0415

    try:
        fast = is_fast()
    except KernelSwitchError as error:
        return {"kernels": f"none can run: {error}"}
    if not fast:
        return {"kernels": f"none: plain torch everywhere ({SWITCH}=torch)"}
    library = library_file()
    return {
        "kernels": f"time loops with their gradient ({SWITCH}=auto)",
        "large products": "oneDNN" if outruns_mkl() else "as torch makes them",
        "compiled loops": str(library)
        if library.is_file()
        else "not built (pipeline doctor --build-kernels)",
    }


def build_kernels() -> Path:
    """Build the compiled loops of `models.kernels.compiled`, which infer single trials faster.

    Returns
    -------
    library
        Where they lie. Every later process of this machine finds them there.

    Raises
    ------
    MachineError
        If there is no compiler, or it fails.
    """
    from nwb_latents.models.kernels.compiled import build  # noqa: PLC0415

    try:
        return build()
    except (OSError, RuntimeError) as error:
        raise MachineError(f"the compiled loops were not built: {error}") from error
