"""Large matrix products by the library that makes them fastest.

On processors with AVX-512 that are not Intel's, torch's own products (MKL) run at half the rate of those of
oneDNN, which torch has on board too, but gives no gradient: it is written out here.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nwb_latents.models.kernels.switch import is_fast

LARGE = 3 << 20
"""Products of numbers, for each thread, from which the other library pays: it takes longer to be called."""


def is_faster(n_products: int, *tensors: Tensor) -> bool:
    """Say whether `product` pays in place of torch's own.

    ``torch.backends.mkldnn.flags(enabled=False)`` leaves it alone, and so does ``NWB_LATENTS_KERNELS=torch``.

    Parameters
    ----------
    n_products
        Products of numbers in a matrix product.
    tensors
        What is multiplied.

    Examples
    --------
    >>> is_faster(1, torch.zeros(1, 1))
    False
    """
    # First of all: a comparison of sizes would be a condition of whatever is exported or compiled.
    if torch.compiler.is_compiling() or not torch.backends.mkldnn.enabled:
        return False
    if n_products < LARGE * torch.get_num_threads() or not is_fast():
        return False
    if any(x.dtype is not torch.float32 or not x.is_cpu for x in tensors):
        return False
    return outruns_mkl()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x weightᵀ + bias``, as `torch.nn.functional.linear` does, by whichever library is faster.

    Parameters
    ----------
    x, weight, bias
        Shapes ``(..., n_in)``, ``(n_out, n_in)`` and ``(n_out,)``.

    Returns
    -------
    y
        Shape ``(..., n_out)``.

    Examples
    --------
    >>> linear(torch.ones(2, 3), torch.ones(4, 3), torch.ones(4)).tolist()
    [[4.0, 4.0, 4.0, 4.0], [4.0, 4.0, 4.0, 4.0]]
    """
    others = (weight,) if bias is None else (weight, bias)
    if torch.is_autocast_enabled("cpu") or not is_faster(x.numel() * weight.shape[0], x, *others):
        return nn.functional.linear(x, weight, bias)
    y = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
    return cast("Tensor", y).view(*x.shape[:-1], -1)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        d_weight = None
        if of_weight:
            # What stands first is laid out anew, so the narrower of the two does.
            narrow = dy.shape[1] <= x.shape[1]
            d_weight = product(dy.t(), x.t()) if narrow else product(x.t(), dy.t()).t()
        return product(dy, weight.t()) if of_x else None, d_weight, dy.sum(0) if of_bias else None


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x weightᵀ + bias`` without a gradient.

    Parameters
    ----------
    x, weight, bias
        Shapes ``(n, n_in)``, ``(n_out, n_in)`` and ``(n_out,)``; single precision.

    Returns
    -------
    y
        Shape ``(n, n_out)``.
    """
    made: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, _packed(weight), bias, "none", [], "")
    return made


def added_product(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return ``y + x weightᵀ`` without a gradient; shapes as in `product`."""
    made: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, y, _packed(weight), None, "add")
    return made


def _packed(weight: Tensor) -> Tensor:
    """Return weights without gaps: others are multiplied a thousand times as slowly."""
    return weight if weight.is_contiguous() or weight.t().is_contiguous() else weight.contiguous()


@functools.cache
def outruns_mkl() -> bool:
    """Whether the products of oneDNN are the faster ones on this processor, and this torch has them."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return not _is_intel() and _answers()


def _answers() -> bool:
    """Say whether this torch has the products under the names used here, which it does not document."""
    x, weight = torch.ones(2, 3), torch.ones(4, 3)
    try:
        made = added_product(product(x, weight), x, weight)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool((made == 6).all())


def _is_intel() -> bool:
    told = Path("/proc/cpuinfo")
    known = told.read_text(encoding="utf-8", errors="replace") if told.is_file() else platform.processor()
    return "GenuineIntel" in known
