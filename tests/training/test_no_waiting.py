"""A training step asks its device for no number: a GPU that has to answer stands still meanwhile."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
from small_models import SMALL
from torch.utils._python_dispatch import TorchDispatchMode

from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training import loop
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import xarray as xr

READ_BACK = {"_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "is_nonzero", "unique"}
"""Operations that end only once the device has answered."""


class WaitedError(Exception):
    """A number of the device was waited for."""


class _Refusing(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name = func.overloadpacket.__name__
        indices = args[1] if name in {"index", "index_put", "index_put_"} else ()
        by_mask = any(each is not None and each.dtype is torch.bool for each in indices)
        if name in READ_BACK or by_mask:
            raise WaitedError(str(func))
        return func(*args, **(kwargs or {}))


@contextmanager
def nothing_read_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse to read tensors, but for draws of the processor that are named so (`randomness.listed`)."""

    def refused(name: str) -> Callable[..., Any]:
        plain = getattr(torch.Tensor, name)

        def read(tensor: torch.Tensor, *args: Any, **words: Any) -> Any:
            if sys._getframe(1).f_code.co_name != "listed":
                raise WaitedError(name)
            return plain(tensor, *args, **words)

        return read

    with monkeypatch.context() as patch, _Refusing():
        for name in ("tolist", "numpy", "__array__", "cpu"):
            patch.setattr(torch.Tensor, name, refused(name))
        yield


MASKS = {"coordinated_dropout": 0.3, "sample_validation": 0.1, "pass_rate": 0.1, "temporal_shift": 1.0}
CASES: dict[str, dict[str, Any]] = {
    **{name: {"model": {"name": name, **SMALL[name]}} for name in SMALL},
    "mdssm with velocity": {"model": {"name": "mdssm", **SMALL["mdssm"], "conditioner": "linear"}},
    "mdssm of counts": {"model": {"name": "mdssm", **SMALL["mdssm"], "likelihood": "poisson"}},
    "lfads with masks": {"model": {"name": "lfads", **SMALL["lfads"]}, "masks": MASKS},
    "lfads with inputs": {"model": {"name": "lfads", **SMALL["lfads"], "input_prior": "normal"}},
    "lfads jittered": {
        "model": {"name": "lfads", **SMALL["lfads"]}, "masks": {"spike_jitter": 2}, "standardise": False,
    },
    "ndt in spans": {"model": {"name": "ndt", **SMALL["ndt"], "cut_probability": 0.5}},
    "node_sae of units": {"model": {"name": "node_sae", **SMALL["node_sae"], "dynamics": "gru"}},
    "bf16": {"model": {"name": "mdssm", **SMALL["mdssm"]}, "precision": "bf16-mixed"},
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_a_step_reads_nothing_back(
    datasets: dict[str, xr.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    settings = TrainSettings.model_validate({
        "batch": {"trials_per_session": 6, "sessions_per_block": 1}, "max_steps": 12, "validate_every": 12,
        "device": "cpu", **CASES[case],
    })  # fmt: skip
    taken, plain = [], loop.take_step

    def watched(training: Any, batches: Any) -> None:
        with nothing_read_back(monkeypatch):
            plain(training, batches)
        taken.append(len(batches))

    monkeypatch.setattr(loop, "take_step", watched)
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    model = build_model(settings.model, {name: one.train.n_units for name, one in feeds.items()}, seed=0)
    loop.fit(model, feeds, settings, tmp_path)
    assert taken == [2] * 12


def test_what_is_refused_is_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    one = torch.ones(2)
    for read in (
        lambda: float(one[0]), lambda: bool(one.all()), lambda: int(one.max()), lambda: one[one > 0],
        *(lambda name=name: getattr(one, name)() for name in ("tolist", "numpy", "nonzero", "cpu")),
    ):  # fmt: skip
        with nothing_read_back(monkeypatch), pytest.raises(WaitedError):
            read()


def test_draws_that_decide_what_a_gpu_does_come_from_the_processor() -> None:
    from nwb_latents.models.randomness import deciding_generator

    class OnGPU:
        device = torch.device("cuda")

        def initial_seed(self) -> int:
            return 3

    drawn = [torch.rand(2, generator=deciding_generator(OnGPU(), name)) for name in ("cut", "cut", "mask")]  # type: ignore[arg-type]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
