"""What the neural data transformer costs, side by side with `torch.nn.TransformerEncoder` (`plain_ndt.py`).

``python benchmarks/ndt.py`` shows the two to have the same loss and gradients on the same masked trials,
times a training step of each in turn (masks, forward, backward, clipping, AdamW; dropout in both), and prints
medians and their ratio. Then it times a whole trial of 45 bins, and single bins of a stream with velocity.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from lfads import timed
from plain_ndt import PlainNDT

from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import View, observe
from nwb_latents.models.families.ndt import NDT
from nwb_latents.models.families.ndt_stream import SessionRates
from nwb_latents.models.interface import total_loss
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.evaluation.decoding.ridge import Ridge
from nwb_latents.pipeline.training.device import reuse_freed_memory
from nwb_latents.pipeline.training.feed import Scaling
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.online_decoding import StreamingDecoder
from nwb_latents.schemas.ndt import NDTSettings
from nwb_latents.schemas.training import TrainSettings

TRIALS, BINS, UNITS = 64, 50, 30
CONTEXT = {"layers": 6, "context_back": 10, "context_forward": 10}
STEPS = {width: {**CONTEXT, "read_in": {"hidden": width, "width": width}} for width in (UNITS, 64)}
"""In the publication a transformer is as wide as there are units; 64 is the default here."""
WHOLE_UNITS, WHOLE_BINS, STREAM_UNITS, STREAM_BINS = 182, 45, 200, 36


def build(n_units: int, **changes: object) -> NDT:
    model = build_model(NDTSettings.model_validate(changes), {"a": n_units}, seed=0)
    assert isinstance(model, NDT)
    return model


def counts(n_trials: int, n_bins: int, n_units: int) -> np.ndarray:
    return np.random.default_rng(0).poisson(0.4, (n_trials, n_bins, n_units)).astype(np.float32)


def packed(n_trials: int, n_bins: int, n_units: int) -> Batch:
    return pack([TrialTensors("a", torch.from_numpy(counts(n_trials, n_bins, n_units)))])


def same(changes: dict[str, object]) -> None:
    """Print by how much loss and gradients of the two differ."""
    model, batch = build(UNITS, **changes).eval(), packed(TRIALS, BINS, UNITS)
    plain = PlainNDT(model, UNITS).eval()
    shown, scored = plain.masked(batch.y[0])
    view = View(shown[None], target=batch.target, weight=scored[None].float())
    ours, theirs = total_loss(model(batch, view), 0), plain.loss(shown, batch.y[0], scored)
    ours.backward()
    theirs.backward()
    pairs = [(model.encoder.position.grad, plain.position.grad)]
    for mine, other in zip(model.encoder.layers, plain.encoder.layers, strict=True):
        pairs += [
            (mine.query_key_value.weight.grad, other.self_attn.in_proj_weight.grad),
            (mine.down.weight.grad, other.linear2.weight.grad),
        ]
    worst = max(float((a - b).norm() / b.norm()) for a, b in pairs)
    loss = abs(1 - theirs.item() / ours.item())
    print(f"  loss differs by {loss:.1e}, gradients by {worst:.1e} at most (relative)")
    if loss > 1e-5 or worst > 1e-4:
        raise RuntimeError("this is not the same model")


def training(rounds: int, changes: dict[str, object]) -> None:
    """Time a training step of the two in turn."""
    model, batch = build(UNITS, **changes).train(), packed(TRIALS, BINS, UNITS)
    plain = PlainNDT(model, UNITS).train()
    source = torch.Generator().manual_seed(0)
    fused = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)  # as the training loop has it
    usual = torch.optim.AdamW(plain.parameters(), lr=1e-3)

    def ours() -> None:
        fused.zero_grad()
        total_loss(model(batch, observe(batch), 0, source), 0).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 200.0)
        fused.step()

    def theirs() -> None:
        usual.zero_grad()
        shown, scored = plain.masked(batch.y[0])
        plain.loss(shown, batch.y[0], scored).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 200.0)
        usual.step()

    taken = timed((theirs, ours), rounds)
    ratios = [a / b for a, b in zip(*taken, strict=True)]
    print(
        f"  training step, {TRIALS} × {BINS} × {UNITS}: plain {_told(taken[0])} | ours {_told(taken[1])} | "
        f"{statistics.median(taken[0]) / statistics.median(taken[1]):.2f}, median of rounds "
        f"{statistics.median(ratios):.2f}, target 1.4"
    )


def whole_trial(rounds: int) -> None:
    """Time the rates of a single trial, all bins at once."""
    model = build(WHOLE_UNITS).eval()
    batch = packed(1, WHOLE_BINS, WHOLE_UNITS)
    alone, plain = SessionRates(model, "a"), PlainNDT(model, WHOLE_UNITS).eval()
    program = torch.export.export(alone, (batch.y[0],)).module()

    def each(make):
        def call() -> None:
            with torch.inference_mode():
                make()

        return call

    ways = {
        "plain": lambda: plain(batch.y[0]).exp(),
        "NDT.predict": lambda: model.predict(batch),
        "SessionRates": lambda: alone(batch.y[0]),
        "SessionRates, exported": lambda: program(batch.y[0]),
    }
    taken = timed(tuple(each(way) for way in ways.values()), 10 * rounds)
    print(
        f"one trial of {WHOLE_BINS} bins, {WHOLE_UNITS} units, {model.settings.layers} layers; target 1.2 ms"
    )
    for name, seconds in zip(ways, taken, strict=True):
        print(f"  {name:24} {_told(seconds)}")


def stream(rounds: int) -> None:
    """Time single bins of a stream, counts in, rates and velocity out."""
    model = build(STREAM_UNITS, context_forward=0, context_back=STREAM_BINS).eval()
    one = np.ones(STREAM_UNITS, np.float32)
    scaling = Scaling(0.4 * one, 0.6 * one, np.arange(STREAM_UNITS), 0.02, scaled_target=False)
    settings = TrainSettings.model_validate({"model": model.settings})
    run = TrainedRun("benchmark", settings, model, {"a": scaling}, torch.device("cpu"))
    weights = np.random.default_rng(0).standard_normal((STREAM_UNITS, 2))
    ridge = Ridge(weights, 20.0 * np.ones(STREAM_UNITS), np.zeros(2), 1.0)
    decoder = StreamingDecoder(run, "a", velocity=ridge, lag_s=0.1)
    layers, seconds = model.settings.layers, []
    for trial in counts(rounds, STREAM_BINS, STREAM_UNITS):
        decoder.reset()
        for found in trial:
            begin = time.perf_counter()
            decoder.step(found)
            seconds.append(time.perf_counter() - begin)
    print(f"one bin of a stream, {STREAM_UNITS} units, {STREAM_BINS} bins, {layers} layers; target 1 ms")
    print(f"  {'StreamingDecoder.step':24} {_told(seconds[3 * STREAM_BINS :])}")


def _told(seconds: list[float]) -> str:
    median, p95, p99 = np.percentile(1e3 * np.array(seconds), [50, 95, 99])
    return f"{median:8.2f} ms (p95 {p95:.2f}, p99 {p99:.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    reuse_freed_memory()  # as a training does
    print(f"{asked.threads} threads")
    for width, changes in STEPS.items():
        print(f"width {width}, {CONTEXT['layers']} layers")
        same(changes)
        training(asked.rounds, changes)
    whole_trial(asked.rounds)
    stream(asked.rounds)
