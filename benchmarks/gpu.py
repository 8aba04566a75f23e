"""What a training step and an inference cost on a GPU, beside the processor of the same machine.

``python benchmarks/gpu.py`` times training as `pipeline run train` does it (drawing, packing and moving of
trials, step, clipping, optimiser, log) at the default settings of every model, on the processor and on the
GPU in turn, MDSSM beside the same model written plainly (`plain_mdssm.py`) on the same GPU, and rates of
recorded trials. It prints medians over rounds, their ratio, memory of the GPU, kernels and reads back to the
host per step, and the share of the rate of a large matrix product that the step reaches. Without a GPU it
says so and ends.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_mdssm import Noise, PlainMDSSM
from torch.profiler import ProfilerActivity, profile
from train import MOTOR, Shape, data, flops

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.training.feed import Scaling, SessionFeed
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.schemas.models import known_models
from nwb_latents.schemas.training import TrainSettings

NEVER = 10**6
SHAPES = {"4 x 32": Shape("4 x 32", 4, 32, 0.0), "20 x 64": Shape("20 x 64", 20, 64, 0.0)}


def feeds_of(trials: dict[str, TrialTensors], *, counts: bool) -> dict[str, SessionFeed]:
    """Return sessions of noise, or of counts where a model wants them."""
    made = {}
    for name, one in trials.items():
        n = one.y.shape[2]
        y = torch.poisson(one.y.square() * 0.3) if counts else one.y
        tensors = TrialTensors(name, y)
        unit = np.ones(n, np.float32)
        scaling = Scaling(0 * unit, unit, np.arange(n), 0.02)
        made[name] = SessionFeed(tensors, tensors.select(torch.arange(0)), scaling)
    return made


def settings_of(model: str, shape: Shape, device: str, steps: int, **changes: Any) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "model": {"name": model},
            "batch": {"trials_per_session": shape.n_trials, "sessions_per_step": shape.n_sessions},
            "max_steps": steps, "validate_every": NEVER, "checkpoint_every": NEVER, "patience": NEVER,
            "device": device, **changes,
        }
    )  # fmt: skip


def seconds_per_step(
    settings: TrainSettings, feeds: dict[str, SessionFeed], *, profiled: bool = False
) -> tuple[float, str]:
    """Return seconds per step after the first ten, and what a profile says."""
    units = {name: feed.train.y.shape[2] for name, feed in feeds.items()}
    model = build_model(settings.model, units, seed=0)
    marks: list[float] = []

    def note(step: int, most: int, metrics: dict[str, float]) -> None:
        del step, most, metrics
        if settings.device == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        if not profiled:
            fit(model, feeds, settings, Path(folder), progress=note)
            return (marks[-1] - marks[0]) / (settings.max_steps - 10), ""
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
            fit(model, feeds, settings, Path(folder), progress=note)
    events = found.key_averages()
    n = settings.max_steps
    count = {event.key: event.count for event in events}
    kernels = sum(
        c
        for key, c in count.items()
        if key in {"cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernelEx"}
    )
    reads = count.get("aten::_local_scalar_dense", 0)
    waits = count.get("cudaStreamSynchronize", 0)
    busy = sum(event.self_device_time_total for event in events) / 1e3 / n
    return (
        0.0,
        (f"{kernels / n:7.0f} kernels, {reads / n:5.1f} read, {waits / n:5.1f} waits, {busy:7.2f} ms busy"),
    )


def compare_models(rounds: int, names: list[str]) -> None:
    print("\nmodel      shape       processor          GPU   ratio    memory   per step")
    for name in names:
        for shape in SHAPES.values():
            settings = settings_of(name, shape, "cuda", 40)
            feeds = feeds_of(data(shape, shape.n_sessions), counts=settings.signal == "counts")
            torch.cuda.reset_peak_memory_stats()
            seconds_per_step(settings, feeds)
            memory = torch.cuda.max_memory_allocated() / 2**30
            there = [seconds_per_step(settings, feeds)[0] for _ in range(rounds)]
            steps = 20 if shape.n_sessions < 10 else 12
            here = [seconds_per_step(settings_of(name, shape, "cpu", steps), feeds)[0] for _ in range(rounds)]
            _, told = seconds_per_step(settings_of(name, shape, "cuda", 10), feeds, profiled=True)
            slow, fast = statistics.median(here), statistics.median(there)
            print(f"{name:10s} {shape.name:8s} {1000 * slow:9.1f} ms {1000 * fast:9.1f} ms "
                  f"{slow / fast:7.2f} {memory:6.2f} GB  {told}", flush=True)  # fmt: skip


def gemm_rate(dtype: torch.dtype, n: int = 8192) -> float:
    """Return the rate of a large matrix product, floating point operations per second."""
    a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
    times = []
    for _ in range(6):
        torch.cuda.synchronize()
        started = time.perf_counter()
        torch.mm(a, b)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * n**3 / min(times)


def compare_plain(rounds: int) -> None:
    """MDSSM beside the same model written plainly, on the GPU."""
    print("\nMDSSM on the GPU       plain         ours     ratio   ours, bf16   share of a large product")
    rate = gemm_rate(torch.float32)
    for shape in SHAPES.values():
        trials = data(shape, shape.n_sessions)
        feeds = feeds_of(trials, counts=False)
        units = {name: one.y.shape[2] for name, one in trials.items()}
        plain = PlainMDSSM(build_model(shape.model, units, seed=0), units).cuda()
        optimiser = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=1e-3, fused=True)

        def step(trials=trials, plain=plain, optimiser=optimiser, shape=shape) -> None:
            drawn = [one.y[torch.randperm(one.n_trials)[: shape.n_trials]].cuda() for one in trials.values()]
            noise = [noise_on_gpu(shape, y.shape) for y in drawn]
            optimiser.zero_grad()
            loss = plain.loss(drawn, noise)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 200.0)
            optimiser.step()
            float(loss.detach())

        def plain_seconds(step=step) -> float:
            for _ in range(3):
                step()
            started = time.perf_counter()
            for _ in range(10):
                step()
            return (time.perf_counter() - started) / 10

        settings = settings_of("mdssm", shape, "cuda", 40)
        settings = settings.model_copy(update={"model": MOTOR})
        half = settings.model_copy(update={"precision": "bf16-mixed"})
        pairs = [
            (plain_seconds(), seconds_per_step(settings, feeds)[0], seconds_per_step(half, feeds)[0])
            for _ in range(rounds)
        ]
        slow, fast, bf16 = (statistics.median(column) for column in zip(*pairs, strict=True))
        share = flops(shape, trials) / fast / rate
        print(f"{shape.name:18s} {1000 * slow:9.1f} ms {1000 * fast:9.1f} ms {slow / fast:9.2f} "
              f"{1000 * bf16:9.1f} ms   {100 * share:5.1f} %", flush=True)  # fmt: skip


def noise_on_gpu(shape: Shape, size: torch.Size) -> Noise:
    """Return the random numbers of one session's step, drawn on the GPU."""
    settings = shape.model
    inferred = torch.rand(size[1], device="cuda") >= settings.mask_probability
    inferred[0] = True
    return Noise(
        torch.randn(settings.embedding_dim, device="cuda"),
        torch.randn(*size[:2], settings.latent_dim, device="cuda"),
        inferred,
    )


def compare_inference(rounds: int, names: list[str]) -> None:
    print("\nrates of 512 trials of 36 bins of 120 units, posterior means")
    for name in names:
        settings = settings_of(name, SHAPES["4 x 32"], "cuda", 1)
        model = build_model(settings.model, {"a": 120}, seed=0).eval()
        y = torch.poisson(torch.full((512, 36, 120), 0.3))
        times: dict[str, list[float]] = {"cpu": [], "cuda": []}
        for _ in range(rounds + 1):
            for device, kept in times.items():
                on = model.to(device)
                batch = pack([TrialTensors("a", y)]).to(torch.device(device))
                with torch.inference_mode():
                    started = time.perf_counter()
                    on.predict(batch).mean.sum().item()
                    kept.append(time.perf_counter() - started)
        here, there = (statistics.median(kept[1:]) for kept in times.values())
        print(f"{name:10s} {1000 * here:9.1f} ms {1000 * there:9.1f} ms {here / there:7.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=list(known_models()))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch finds no CUDA device here: nothing was measured.")
        return
    warnings.filterwarnings("ignore", module="lightning_fabric")
    print(f"{torch.cuda.get_device_name()}, {platform.machine()}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}")  # fmt: skip
    compare_plain(options.rounds)
    compare_models(options.rounds, options.models)
    compare_inference(options.rounds, options.models)


if __name__ == "__main__":
    main()
