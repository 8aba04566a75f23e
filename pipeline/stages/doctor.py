"""``pipeline doctor``: what this machine offers."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.machine import available_cores

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
    """Look at Python, packages, processors, GPU and disk.

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
    }
    for name in PACKAGES:
        try:
            findings[name] = version(name)
        except PackageNotFoundError:
            findings[name] = "not installed"
    return [{"name": name, "found": found} for name, found in findings.items()]
