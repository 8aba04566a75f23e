"""What a training step costs, side by side with the same model written plainly (`plain_mdssm.py`).

``python benchmarks/train.py`` times training as `pipeline run train` does it (`pipeline.training.loop.fit`:
drawing and packing of trials, step, clipping, optimiser, log) against a step of the plain model over the same
trials, in turn, and prints medians over rounds and their ratio. It also prints the share of the machine's
measured rate of matrix products that the step's own products reach, and seconds per step for 1 to 44
sessions.

The plain model is first shown to have the same loss, on the same trials and noise, to 1e-5.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from lfads import compare as compare_lfads
from plain_mdssm import Noise, PlainMDSSM
from torch.utils.flop_counter import FlopCounterMode

from nwb_latents.models.batching.draws import BatchPlan, draw_batches
from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.interface import total_loss
from nwb_latents.models.kernels.products import product
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.training.feed import Scaling, SessionFeed
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings
from nwb_latents.schemas.training import BatchSettings, OptimiserSettings, TrainSettings

if TYPE_CHECKING:
    from nwb_latents.models.families.mdssm import MDSSM

NEVER = 10**6
AS_PUBLISHED = {"embedding_pooling": "last", "embedding_start_variance": None, "embedding_kl": "session"}
"""What the plain implementation knows of the embedding."""

MOTOR = MDSSMSettings(cut_probability=0.0, **AS_PUBLISHED)
CYCLE = MDSSMSettings(
    latent_dim=2, embedding_dim=1, rank=1, dynamics_width=64, hyper_width=64, encoder_width=64,
    read_in=ReadInSettings(hidden=32, width=16, activation="silu"), cut_probability=0.0, **AS_PUBLISHED,
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A training step: its data, its model and what is asked of it."""

    name: str
    n_sessions: int
    n_trials: int
    target: float
    n_bins: int = 36
    units: tuple[int, int] = (60, 190)
    model: MDSSMSettings = field(default_factory=lambda: MOTOR)
    steps: int = 5
    aligns: bool = False


SHAPES = (
    Shape("20 sessions x 64 trials", 20, 64, 1.9, steps=3),
    Shape("20 sessions x 8 trials", 20, 8, 3.5, steps=10),
    Shape("limit cycles, 4 sets x 8 trials", 4, 8, 3.5, n_bins=100, units=(30, 100), model=CYCLE, steps=20),
    Shape("alignment, 1 session x 8 trials", 1, 8, 1.2, steps=40, aligns=True),
)


def data(shape: Shape, n_sessions: int) -> dict[str, TrialTensors]:
    rng = np.random.default_rng(0)
    made = {}
    for k in range(n_sessions):
        n_units = int(rng.integers(shape.units[0], shape.units[1] + 1))
        y = rng.standard_normal((2 * shape.n_trials, shape.n_bins, n_units), dtype=np.float32)
        made[f"session{k:02d}"] = TrialTensors(f"session{k:02d}", torch.from_numpy(y))
    return made


def build(shape: Shape, units: dict[str, int]) -> tuple[MDSSM, set[str] | None]:
    """Return the model, and what of it learns; None: all of it."""
    if not shape.aligns:
        return build_model(shape.model, units, seed=0), None
    model = build_model(shape.model, {"known": 100}, seed=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.add_sessions(units)
    return model, set(model.alignable_parameters(list(units)))


def ours(shape: Shape, trials: dict[str, TrialTensors], steps: int) -> float:
    """Return seconds per step."""
    model, learns = build(shape, {name: one.y.shape[2] for name, one in trials.items()})
    settings = TrainSettings(
        model=shape.model,
        batch=BatchSettings(trials_per_session=shape.n_trials, sessions_per_step=len(trials)),
        optimiser=OptimiserSettings(),
        max_steps=steps, validate_every=NEVER, checkpoint_every=NEVER, patience=NEVER, device="cpu",
    )  # fmt: skip
    feeds = {name: _feed(one) for name, one in trials.items()}
    with tempfile.TemporaryDirectory() as folder:
        trainable = None if learns is None else learns.__contains__
        return fit(model, feeds, settings, Path(folder), trainable=trainable).metrics["seconds_per_step"]


def _feed(trials: TrialTensors) -> SessionFeed:
    n = trials.y.shape[2]
    one = np.ones(n, np.float32)
    return SessionFeed(trials, trials.select(torch.arange(0)), Scaling(0 * one, one, np.arange(n), 0.02))


class PlainTraining:
    """Steps of the plain model."""

    def __init__(self, shape: Shape, trials: dict[str, TrialTensors]) -> None:
        units = {name: one.y.shape[2] for name, one in trials.items()}
        self.shape, self.trials = shape, list(trials.values())
        self.model = PlainMDSSM(build_model(shape.model, units, seed=0), units)
        if shape.aligns:
            own = ("read_in.", "read_out.", "variance_raw.", "noise_raw.")
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(name.startswith(own))
        self.learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.learning, lr=1e-3, weight_decay=1e-3)

    def seconds(self, steps: int) -> float:
        """Return seconds per step."""
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        return (time.perf_counter() - started) / steps

    def step(self) -> None:
        """Draw trials and noise, and take a step."""
        drawn, noise = [], []
        for one in self.trials:
            y = one.y[torch.randperm(one.n_trials)[: self.shape.n_trials]]
            drawn.append(y)
            noise.append(self._noise(y))
        self.optimiser.zero_grad()
        loss = self.model.loss(drawn, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, 200.0)
        self.optimiser.step()
        float(loss.detach())

    def _noise(self, y: torch.Tensor) -> Noise:
        settings = self.shape.model
        inferred = torch.rand(y.shape[1]) >= settings.mask_probability
        inferred[0] = True
        return Noise(
            torch.randn(settings.embedding_dim), torch.randn(*y.shape[:2], settings.latent_dim), inferred
        )


def loss_difference(shape: Shape, trials: dict[str, TrialTensors]) -> float:
    """Return the relative difference of the two losses on the same trials and noise."""
    units = {name: one.y.shape[2] for name, one in trials.items()}
    model = build_model(shape.model, units, seed=0)
    batch = pack([one.select(torch.arange(shape.n_trials)) for one in trials.values()])
    with torch.no_grad():
        mine = float(total_loss(model(batch, observe(batch), 0, torch.Generator().manual_seed(3)), 0))
        noise = same_noise(shape.model, batch.y.shape, torch.Generator().manual_seed(3))
        drawn = [one.y[: shape.n_trials] for one in trials.values()]
        plain = float(PlainMDSSM(model, units).loss(drawn, noise))
    return abs(mine - plain) / abs(plain)


def same_noise(
    settings: MDSSMSettings,
    shape: torch.Size,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> list[Noise]:
    """Return the random numbers that `MDSSM.forward` draws from a generator."""
    S, B, T, _ = shape
    embedding = torch.randn(S, settings.embedding_dim, generator=generator, dtype=dtype)
    state = torch.randn(S, B, T, settings.latent_dim, generator=generator, dtype=dtype)
    inferred = torch.rand(T, generator=generator) >= settings.mask_probability
    inferred[0] = True
    return [Noise(e, z, inferred) for e, z in zip(embedding, state, strict=True)]


def _added_product(_: object, a: tuple[int, ...], b: tuple[int, ...], **__: object) -> int:
    return 2 * math.prod(a) * b[-1]


def flops(shape: Shape, trials: dict[str, TrialTensors]) -> int:
    """Return the floating point operations of the matrix products of one step."""
    model, learns = build(shape, {name: one.y.shape[2] for name, one in trials.items()})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(learns is None or name in learns)
    plan = BatchPlan(per_session=shape.n_trials, group=BatchSettings().sessions_per_block)
    counted = {torch.ops.aten.baddbmm_: _added_product}
    if torch.backends.mkldnn.is_available():
        counted[torch.ops.mkldnn._linear_pointwise] = _transposed_product
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        for batch in draw_batches(trials, plan, seed=0, step=0):
            total_loss(model(batch, observe(batch), 0, torch.Generator().manual_seed(0)), 0).backward()
    return counter.get_total_flops()


def _transposed_product(a: tuple[int, ...], *others: tuple[int, ...] | None, **__: object) -> int:
    """Of `models.kernels.products`: the weight is the first of two matrices, or the second of three."""
    b = [other for other in others if isinstance(other, tuple) and len(other) == 2][-1]
    return 2 * math.prod(a) * b[0]


def gemm_rates(n: int = 2048, repeats: int = 10) -> dict[str, float]:
    """Return the rate of a large matrix product by each library, floating point operations per second."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    ways = {"torch's product": torch.mm}
    if torch.backends.mkldnn.is_available():
        ways["oneDNN's"] = product
    rates = {}
    for name, multiply in ways.items():
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            multiply(a, b)
            times.append(time.perf_counter() - started)
        rates[name] = 2 * n**3 / min(times)
    return rates


_plain: list[PlainTraining] = []


def _start_plain(shape: Shape, threads: int) -> None:
    torch.set_num_threads(threads)
    _plain.append(PlainTraining(shape, data(shape, shape.n_sessions)))


def _plain_seconds(steps: int) -> float:
    return _plain[0].seconds(steps)


def compare(shape: Shape, rounds: int, rate: float) -> None:
    trials = data(shape, shape.n_sessions)
    print(f"\n{shape.name} x {shape.n_bins} bins, {shape.units[0]}-{shape.units[1]} units")
    if not shape.aligns:
        print(f"  losses differ by               {loss_difference(shape, trials):.1e}")
    # In a process of its own: training sets the C library's allocator for the whole process.
    with multiprocessing.get_context("spawn").Pool(
        1, _start_plain, (shape, torch.get_num_threads())
    ) as other:
        ours(shape, trials, 2), other.apply(_plain_seconds, (1,))
        pairs = [
            (other.apply(_plain_seconds, (shape.steps,)), ours(shape, trials, shape.steps))
            for _ in range(rounds)
        ]
    slow, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    met = "met" if ratio >= shape.target else "MISSED"
    print(f"  plain                    {1000 * slow:10.1f} ms")
    print(f"  ours                     {1000 * fast:10.1f} ms, {1 / fast:.2f} steps per second")
    print(f"  plain / ours             {ratio:10.2f}   target >= {shape.target}: {met}")
    work = flops(shape, trials)
    print(
        f"  products                 {work / 1e9:10.2f} GFLOP, {100 * work / fast / rate:.0f} % of the rate"
    )


def curve(n_trials: int, rounds: int) -> None:
    print(f"\nsessions per step, {n_trials} trials each")
    shape = Shape("", 44, n_trials, 0.0)
    trials = data(shape, 44)
    one = None
    for n in (1, 5, 20, 44):
        some = dict(list(trials.items())[:n])
        ours(shape, some, 2)
        seconds = statistics.median(ours(shape, some, max(2, 40 // n)) for _ in range(rounds))
        one = one or seconds
        print(f"  {n:3d}   {1000 * seconds:8.1f} ms   {1000 * seconds / n:6.1f} per session   "
              f"{seconds / one:5.1f} x one")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", type=int, nargs="*", default=list(range(len(SHAPES))), help="by number")
    parser.add_argument("--curves", type=int, nargs="*", default=[8, 64], help="trials per session")
    parser.add_argument("--lfads", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rates = gemm_rates()
    told = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates.items())
    print(f"{platform.machine()}, torch {torch.__version__}, {options.threads} threads, "
          f"GFLOP/s of 2048 x 2048: {told}")  # fmt: skip
    rate = max(rates.values())
    for number in options.shapes:
        compare(SHAPES[number], options.rounds, rate)
        sys.stdout.flush()
    for n_trials in options.curves:
        curve(n_trials, max(1, options.rounds // 2))
    if options.lfads:
        compare_lfads(6 * options.rounds)


if __name__ == "__main__":
    main()
