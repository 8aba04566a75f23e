"""Where training runs."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from nwb_latents.pipeline.training.device import reuse_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GNU's")
def test_memory_of_a_freed_tensor_is_used_again() -> None:
    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(64 << 20, dtype=torch.uint8).fill_(1)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    reuse_freed_memory()
    faults()
    # A fresh mapping of 64 MiB faults for each of its pages, of which there are 32 even of the largest kind.
    assert min(faults() for _ in range(5)) < 32
