"""Compiled time loops: few sequences without a gradient, as when one trial is decoded at a time.

A loop over bins in Python spends more on starting its operations than on what they do. The same loop in C
(``compiled_gru.c``) is built only when `build` is called (or ``pipeline doctor --build-kernels``), in about a
second and once for a machine; where there is none, `models.kernels.gru_loops` and
`models.kernels.controlled_loop` do the same. They differ by rounding: about 1e-6 of states within ±1.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nwb_latents.models.kernels.switch import is_fast

if TYPE_CHECKING:
    from nwb_latents.models.kernels.controlled_loop import Cell, Feedback, Posterior

FEW_SEQUENCES = 8
"""Sequences up to which the compiled loops, which use one thread, are taken."""

_SOURCE = Path(__file__).with_name("compiled_gru.c")
_NATIVE = "-march=native" if platform.machine() in {"x86_64", "AMD64", "i686"} else "-mcpu=native"
_FLAGS = ("-O3", _NATIVE, "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_PLAIN = (torch.Tensor, nn.Parameter)


class Kernels:
    """The loops of a library that was built.

    Parameters
    ----------
    library
        File of the library.

    Raises
    ------
    OSError
        If the file is no library of this machine.
    """

    def __init__(self, library: Path) -> None:
        loaded = ctypes.CDLL(str(library))
        whole, place, real = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float
        row, rows = (place, whole), (place, whole, whole)
        self._gru, self._controlled = loaded.run_gru, loaded.run_controlled
        self._gru.argtypes = [*[whole] * 3, *rows, place, *row, real, *rows]
        cell = (*rows, *row, *row, place)
        self._controlled.argtypes = [*[whole] * 7, *cell, *cell, *[place] * 4, real, *[place] * 4]

    def gru(
        self, given: Tensor, w_hh: Tensor, h0: Tensor, out: Tensor, *, clip: float | None, backwards: bool
    ) -> None:
        """Run one direction of a GRU with ``reset="before"``.

        Parameters
        ----------
        given
            What gates and candidate are given from the input, biases included. Shape
            ``(sequence, time, 3 H)``.
        w_hh
            Recurrent weights. Shape ``(3 H, H)``.
        h0
            States ahead of the first bin that is read. Shape ``(sequence, H)``.
        out
            Takes the states. Shape ``(sequence, time, H)``.
        clip
            Largest absolute value of a state; None: no limit.
        backwards
            Whether the last bin is read first.
        """
        M, T, H = out.shape
        ends, sign = ((T - 1) * 4, -1) if backwards else (0, 1)
        start, w_hh = _rows(h0), w_hh.contiguous()
        short = self._gru(
            T, M, H,
            given.data_ptr() + ends * given.stride(1), sign * given.stride(1), given.stride(0),
            w_hh.data_ptr(), start.data_ptr(), start.stride(0), math.inf if clip is None else clip,
            out.data_ptr() + ends * out.stride(1), sign * out.stride(1), out.stride(0),
        )  # fmt: skip
        _check(short)

    def controlled(
        self,
        controller: Cell,
        generator: Cell,
        posterior: Posterior,
        feedback: Feedback | None,
        *,
        clip: float | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Run a controller and a generator without dropout, as `controlled_loop.run_controlled` does.

        Returns
        -------
        driven
            The fields of `models.kernels.controlled_loop.Driven`.
        """
        T, M, _ = controller.given.shape
        K, G, C = controller.h0.shape[-1], generator.h0.shape[-1], generator.w_beside.shape[-1]
        weight, bias = posterior.weight.contiguous(), posterior.bias.contiguous()
        noise = None if posterior.noise is None else posterior.noise.contiguous()
        rows = None if feedback is None else feedback.rows.contiguous()
        F = 0 if rows is None else len(rows)
        states, moments, inputs, factors = (
            controller.given.new_empty(T, M, width) for width in (G, len(weight), C, F)
        )
        controller, generator = _prepared(controller), _prepared(generator)
        short = self._controlled(
            T, M, K, G, F, C, len(weight),
            *_places(controller), *_places(generator),
            weight.data_ptr(), bias.data_ptr(),
            None if noise is None else noise.data_ptr(), None if rows is None else rows.data_ptr(),
            math.inf if clip is None else clip,
            states.data_ptr(), moments.data_ptr(), inputs.data_ptr(), factors.data_ptr(),
        )  # fmt: skip
        _check(short)
        return states, moments, inputs, None if rows is None else factors


def kernels_for(n_sequences: int, *tensors: Tensor | None) -> Kernels | None:
    """Return the compiled loops where they can stand in.

    Parameters
    ----------
    n_sequences
        Sequences of the run.
    tensors
        What it reads.

    Returns
    -------
    kernels
        None where they are not built or switched off, a gradient may be asked for, there are many sequences,
        or something is not of single precision and on a CPU.
    """
    few = 0 < n_sequences <= FEW_SEQUENCES
    if not few or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    for x in tensors:
        if x is not None and (x.dtype is not torch.float32 or not x.is_cpu or type(x) not in _PLAIN):
            return None
    return _built() if is_fast() else None


def library_file() -> Path:
    """Return the file of the library of this source on this kind of processor, built or not.

    It lies in ``nwb-latents`` under ``$XDG_CACHE_HOME``, or ``~/.cache``.
    """
    told = hashlib.sha256(_SOURCE.read_bytes())
    told.update(" ".join((*_FLAGS, platform.system(), platform.machine(), _instructions())).encode())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "nwb-latents" / f"gru-{told.hexdigest()[:16]}.so"


def build() -> Path:
    """Build the compiled loops of this machine, anew where they are built already.

    The compiler is that of the environment variable ``CC``, else ``cc``, ``gcc`` or ``clang``.

    Returns
    -------
    library
        File of the library, which every later process finds by itself.

    Raises
    ------
    RuntimeError
        If there is no compiler, or it fails; its message says what to do.
    """
    named = shlex.split(os.environ.get("CC", ""))
    known = [named] if named else [["cc"], ["gcc"], ["clang"]]
    command = next((words for words in known if shutil.which(words[0])), None)
    if command is None:
        raise RuntimeError(
            f"no C compiler found (looked for {', '.join(words[0] for words in known)}). Install gcc 12 or "
            "clang, or name one in the environment variable CC"
        )
    library = library_file()
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as room:
        made = Path(room) / library.name
        words = [*command, *_FLAGS, "-o", str(made), str(_SOURCE)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip() or f"exit code {done.returncode}"
            raise RuntimeError(f"{shlex.join(words)} failed (gcc 12 or clang is needed): {reason}")
        made.replace(library)
    _built.cache_clear()
    return library


@functools.cache
def _built() -> Kernels | None:
    library = library_file()
    if not library.is_file():
        return None
    try:
        return Kernels(library)
    except (OSError, AttributeError) as error:
        warnings.warn(f"{library} is left alone: {error}. Build it anew with `build`", stacklevel=2)
        return None


def _instructions() -> str:
    """Name what the processor can do; a home folder may be shared by machines that differ in it."""
    told = Path("/proc/cpuinfo")
    if not told.is_file():
        return platform.processor()
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _prepared(cell: Cell) -> Cell:
    """Return the cell with values of a row side by side, as the loops read them."""
    return cell._replace(
        given=_rows(cell.given), h0=_rows(cell.h0), w_beside=_rows(cell.w_beside), w_hh=cell.w_hh.contiguous()
    )


def _places(cell: Cell) -> tuple[int, ...]:
    """Return where the fields of a cell lie, and the distances of their bins and rows."""
    given, h0, w_beside, w_hh = cell
    return (
        given.data_ptr(), given.stride(0), given.stride(1), h0.data_ptr(), h0.stride(0),
        w_beside.data_ptr(), w_beside.stride(0), w_hh.data_ptr(),
    )  # fmt: skip


def _rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _check(short: int) -> None:
    if short:
        raise MemoryError("no memory for the states of one bin")
