"""What LFADS costs, side by side with the same model written plainly (`plain_lfads.py`).

``python benchmarks/lfads.py`` (also run by ``benchmarks/train.py``) times a training step (forward,
backward, clipping, AdamW), the inference of a single trial, and posterior averaging over 50 samples against
50 passes of one sample. All are timed in turn; the medians over rounds and their ratios are printed. A single
trial is timed a second time with the compiled loops of ``pipeline doctor --build-kernels``.

First the two are shown to have the same loss and the same gradients, on the same trials and noise.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from plain_lfads import PlainLFADS

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.interface import total_loss
from nwb_latents.models.kernels import compiled
from nwb_latents.models.parts.generated import Noise
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.lfads import LFADSSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.families.lfads import LFADS

TRIALS, BINS, UNITS, SAMPLES = 64, 50, 30, 50
SIZES = {
    "generator_dim": 200, "ic_dim": 64, "factor_dim": 100, "encoder_dim": 64, "controller_dim": 64,
    "input_dim": 4, "dropout": 0.0, "read_in": {"hidden": UNITS, "width": UNITS}, "l2_controller": 1.0,
}  # fmt: skip
AFTER_RAMPS = 10**6
FEW_SEQUENCES = compiled.FEW_SEQUENCES
WORDS = {
    "step": "training step",
    "single": "single trial",
    "compiled": "  compiled",
    "average": f"{SAMPLES} samples",
}
TARGETS = {
    "with controller": {"step": 1.65, "single": 4.0, "compiled": 4.0, "average": 5.0},
    "without controller": {"step": 1.6, "single": 4.0, "compiled": 4.0, "average": 5.0},
}


def build(how: str) -> LFADS:
    changes = {} if how == "with controller" else {"controller_dim": 0, "input_dim": 0}
    return build_model(LFADSSettings.model_validate(SIZES | changes), {"a": UNITS}, seed=0)


def data(n_trials: int) -> Batch:
    counts = np.random.default_rng(0).poisson(0.4, (n_trials, BINS, UNITS)).astype(np.float32)
    return pack([TrialTensors("a", torch.from_numpy(counts))])


def same(how: str) -> None:
    """Print by how much loss and gradients of the two differ."""
    model, batch = build(how), data(8)
    plain = PlainLFADS(model)
    output = model(batch, observe(batch), AFTER_RAMPS, torch.Generator().manual_seed(0))
    noise = model.decoder.draw(output.aux["ic_mean"], BINS, torch.Generator().manual_seed(0))
    ours, theirs = total_loss(output, AFTER_RAMPS), plain.loss(batch.y[0], noise)
    ours.backward()
    theirs.backward()
    worst = 0.0
    for name, parameter in model.named_parameters():
        other = plain.of(name).grad
        if parameter.grad is not None and other is not None:
            size = parameter.grad.norm().clamp_min(1e-3)
            worst = max(worst, float((parameter.grad - other).norm() / size))
    loss = abs(1 - theirs.item() / ours.item())
    print(f"\nLFADS {how}: loss differs by {loss:.1e}, gradients by {worst:.1e} at most (relative)")
    if loss > 1e-4 or worst > 1e-4:
        raise RuntimeError("this is not the same model")


def training(how: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a step of the plain model and one of ours."""
    model, batch = build(how).train(), data(TRIALS)
    plain = PlainLFADS(model)
    source = torch.Generator().manual_seed(0)
    shape = torch.zeros(1, TRIALS, model.settings.ic_dim)

    def step(
        module: torch.nn.Module, optimiser: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]
    ) -> None:
        optimiser.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 200.0)
        optimiser.step()

    def ours() -> torch.Tensor:
        return total_loss(model(batch, observe(batch), AFTER_RAMPS, source), AFTER_RAMPS)

    def theirs() -> torch.Tensor:
        return plain.loss(batch.y[0], model.decoder.draw(shape, BINS, source))

    usual = torch.optim.AdamW(plain.parameters(), lr=1e-3)
    fused = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)  # as the training loop has it
    return lambda: step(plain, usual, theirs), lambda: step(model, fused, ours)


def inference(how: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return the inference of one trial by the plain model and by ours, at the posterior means."""
    model, batch = build(how).eval(), data(1)
    plain = PlainLFADS(model).eval()

    def theirs() -> None:
        with torch.inference_mode():
            plain(batch.y[0], Noise())["rates"].exp()

    def ours() -> None:
        with torch.inference_mode():
            model.predict(batch)

    return theirs, ours


def averaging(how: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return 50 passes of one sample, and one call that averages over 50; both ours."""
    model, batch, source = build(how).eval(), data(1), torch.Generator().manual_seed(0)

    def serial() -> None:
        with torch.inference_mode():
            for _ in range(SAMPLES):
                model.predict(batch, n_samples=1, generator=source)

    def together() -> None:
        with torch.inference_mode():
            model.predict(batch, n_samples=SAMPLES, generator=source)

    return serial, together


def timed(ways: tuple[Callable[[], None], ...], rounds: int) -> list[list[float]]:
    """Time all in turn. Seconds of every round, after three to warm up."""
    taken: list[list[float]] = [[] for _ in ways]
    for k in range(rounds + 3):
        for way, seconds in zip(ways, taken, strict=True):
            begin = time.perf_counter()
            way()
            if k >= 3:
                seconds.append(time.perf_counter() - begin)
    return taken


def built_here() -> bool:
    """Build the compiled loops for this process alone, where there is a compiler."""
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()
    try:
        compiled.build()
    except RuntimeError as error:
        print(f"without the compiled loops: {error}")
        return False
    return True


def compare(rounds: int = 30) -> None:
    built = built_here()
    for how, targets in TARGETS.items():
        same(how)
        for what, make, n in (
            ("step", training, rounds),
            ("single", inference, 10 * rounds),
            *([("compiled", inference, 10 * rounds)] if built else []),
            ("average", averaging, max(5, rounds // 3)),
        ):
            # Without the compiled loops, those in Python.
            compiled.FEW_SEQUENCES = FEW_SEQUENCES if what == "compiled" else 0
            plain, ours = timed(make(how), n)
            ratio = statistics.median(plain) / statistics.median(ours)
            print(
                f"  {WORDS[what]:15} {_told(plain)} | {_told(ours)} | {ratio:5.2f}, target {targets[what]:g}"
            )


def _told(seconds: list[float]) -> str:
    median, p95, p99 = np.percentile(1e3 * np.array(seconds), [50, 95, 99])
    return f"{median:8.2f} ms (p95 {p95:.2f}, p99 {p99:.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"{asked.threads} threads; plain | ours | plain / ours")
    compare(asked.rounds)
