"""What is said of an error that nobody foresaw, and the file that tells who mends it what happened."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
import tempfile
import time
import traceback
from pathlib import Path

from nwb_latents import __version__
from nwb_latents.pipeline.cli.in_place_of import in_place_of_packages
from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stores.damaged_chunk import damaged_chunk

_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "cannot allocate memory")


def unexpected(error: Exception, words: list[str]) -> tuple[str, int]:
    """Return what to tell a person of an unforeseen error, and the exit code; write a report of it.

    Parameters
    ----------
    error
        What was raised.
    words
        The command line, without the name of the program.

    Returns
    -------
    text
        One paragraph: what happened and where the report lies.
    code
        5 where memory or the operating system refused, else 4.

    Examples
    --------
    >>> text, code = unexpected(MemoryError(), ["--catalog", "nowhere/catalog.yaml"])
    >>> code, text.startswith("there is not enough memory")
    (5, True)
    """
    said = " ".join(_message(error).split()) or "no reason given"
    report = _written(error, words)
    where = f" The report {report} says what happened where" if report else " No report could be written"
    if is_out_of_memory(error):
        # What asked for it need not be known to say what helps.
        text = (
            f"there is not enough memory for this ({said[:200]}). Use fewer sessions at once, smaller "
            f"settings or a machine with more.{where}."
        )
        return text, MachineError.exit_code
    if isinstance(error, ImportError | AttributeError) and (other := in_place_of_packages()):
        return (
            f"{other} What came of it: {type(error).__name__}: {said[:200]}.{where}.",
            MachineError.exit_code,
        )
    if (damage := damaged_chunk(error)) is not None:
        return f"{damage}{where}.", DataError.exit_code
    kind = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        text = (
            f"{place}the operating system refuses: {error.strerror or said}. Check disk, permissions and "
            f"network, and run the same command again.{where}."
        )
        return text, MachineError.exit_code
    text = (
        f"unexpected {kind}: {said[:500]}. This is a fault of the program, or a file it does not "
        f"understand; what was done before is kept.{where}; please send it with a line on what you did."
    )
    return text, DataError.exit_code


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused; torch says so in words alone.

    Examples
    --------
    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _OUT_OF_MEMORY)


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _written(error: Exception, words: list[str]) -> Path | None:
    """Write the report beside the catalog, or where that cannot be, among temporary files."""
    name = f"pipeline-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    content = _report(error, words).encode("utf-8", "backslashreplace")
    for folder in (_folder_of_catalog(words), Path(tempfile.gettempdir())):
        if folder is None:
            continue
        try:
            (folder / name).write_bytes(content)
        except OSError:
            continue
        return folder / name
    return None


def _folder_of_catalog(words: list[str]) -> Path | None:
    """Return the folder of the catalog, where there is a catalog."""
    said = Path("catalog.yaml")
    for k, word in enumerate(words):
        if word == "--catalog" and k + 1 < len(words):
            said = Path(words[k + 1])
        elif word.startswith("--catalog="):
            said = Path(word.partition("=")[2])
    try:
        return said.absolute().parent if said.is_file() else None
    except (OSError, ValueError):
        return None


def _report(error: Exception, words: list[str]) -> str:
    # A name and password within an address are nobody's business.
    command = re.sub(r"://[^/@\s]*@", "://…@", shlex.join(["pipeline", *words]))
    try:
        trace = "".join(traceback.format_exception(error))
    except Exception as again:
        trace = f"{type(error).__name__}; its traceback cannot be written: {type(again).__name__}\n"
    return (
        f"nwb-latents {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}\n{command}\nin {Path.cwd()}\n"
        f"packages: {', '.join(_packages())}\n\n{trace}"
    )


def _packages() -> list[str]:
    """Return the versions of packages that were loaded; none is loaded to ask."""
    names = ("numpy", "scipy", "h5py", "zarr", "xarray", "torch", "pydantic", "distributed", "matplotlib")
    loaded = ((name, sys.modules.get(name)) for name in names)
    return [f"{name} {getattr(module, '__version__', '?')}" for name, module in loaded if module]
