"""Co-smoothing by the rules of the Neural Latents Benchmark where the true rates are known.

``python -m benchmarks.reproduce.nlb`` makes a session of the size of the benchmark's: 182 units, 45 of them
held out, 400 trials of 700 ms and 200 ms after them. Ten latents, the leading principal components of a
chaotic network, decide the logarithms of the rates. True rates, LFADS, baselines and the null are written as
submissions, checked, and scored from the file.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.reproduce import tables
from benchmarks.reproduce.known_rates import (
    Experiment,
    Result,
    Schedule,
    Show,
    cell,
    gate,
    main,
    reconstruct,
    train_lfads,
)
from benchmarks.reproduce.systems.chaotic import ChaoticRecipe, simulate_chaotic
from nwb_latents.models.batching.tensors import TrialTensors
from nwb_latents.pipeline.evaluation.baselines.known import baseline_called
from nwb_latents.pipeline.evaluation.nlb.files import raised, submission_arrays, write_submission
from nwb_latents.pipeline.evaluation.nlb.group_sizes import identity_of
from nwb_latents.pipeline.evaluation.nlb.scores import score_rates, score_submission
from nwb_latents.pipeline.evaluation.nlb.submission import check_submission
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction, SpikeTask
from nwb_latents.pipeline.stores.exporters.hdf5 import write_groups
from nwb_latents.pipeline.training.feed import Scaling, SessionFeed
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.lfads import LFADSReadInSettings, LFADSSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

SESSION = "chaotic_maze"
N_UNITS, N_HELDOUT, N_LATENTS = 182, 45, 10
FINE_S, WINDOW_BINS, FORWARD_BINS = 0.005, 140, 40
N_REPEATS, N_STOPPING, N_EVAL = 10, 2, 2
"""Trials of each of 40 conditions; those that decide when training stops, and those that are scored."""

NETWORK = ChaoticRecipe(
    gain=2.5, bin_s=FINE_S, n_bins=WINDOW_BINS + FORWARD_BINS, n_conditions=40, n_repeats=N_REPEATS
)
TYPICAL_RATE_HZ, SPREAD, DEPTH = 6.0, 0.5, 0.8
"""Geometric mean of the rates; deviation of their logarithm over units, and of each unit's over time."""

MODEL = LFADSSettings(
    cut_probability=0.0,
    generator_dim=64,
    ic_dim=32,
    factor_dim=20,
    encoder_dim=64,
    controller_dim=0,
    input_dim=0,
    read_in=LFADSReadInSettings(hidden=40, width=40),
)
SMOOTHING = BaselineSettings(
    sigmas_ms=(20.0, 30.0, 50.0, 70.0), penalties=(1e-2, 1e-1, 1.0, 10.0), folds=5, choice_trials=320
)
"""All fitted trials choose: the best penalty of fewer trials is too large for all of them."""

NULL, TRUE, LFADS = "mean of the scored spikes", "true rates", "LFADS"
COMPARED = {"smoothing": "smoothing", "condition_mean": "mean of the condition", "null": "mean of the fitted"}
ROW_NAMES = (TRUE, LFADS, *COMPARED.values(), NULL)


@dataclass(frozen=True)
class Row:
    """Width of the bins, and how LFADS is trained."""

    bin_size_ms: int
    n_samples: int = 20
    model: LFADSSettings = MODEL
    network: ChaoticRecipe = NETWORK
    smoothing: BaselineSettings = SMOOTHING
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=1000, lr=1e-2, masks={"coordinated_dropout": 0.2})
    )


ROWS = {
    "20 ms": Row(20),
    "5 ms": Row(5, schedule=Schedule(steps=800, lr=1e-2, masks={"coordinated_dropout": 0.2})),
}


@dataclass(frozen=True)
class Session:
    """What a session of known rates gives: the task, its targets, the true rates.

    Attributes
    ----------
    task
        What may be seen. Rows of its training trials that decide when training stops are `stopping`.
    counts, rates
        Of all trials and bins, held-in units first. Shape ``(trial, bin, unit)``.
    stopping, is_eval
        Shapes ``(fitted trial,)`` and ``(trial,)``, bool.
    """

    task: SpikeTask
    counts: FloatArray
    rates: FloatArray
    stopping: NDArray[np.bool_]
    is_eval: NDArray[np.bool_]

    @property
    def n_bins(self) -> int:
        """Bins of the window."""
        return self.task.train_heldin.shape[1]

    @property
    def truth(self) -> RatePrediction:
        """The true rates as a prediction."""
        scored = self.rates[self.is_eval]
        return RatePrediction(
            self.rates[~self.is_eval, : self.n_bins], scored[:, : self.n_bins], scored[:, self.n_bins :]
        )

    @property
    def targets(self) -> dict[str, FloatArray]:
        """What is scored against, under the names of the benchmark."""
        n_in = self.task.train_heldin.shape[2]
        found = {}
        for part, rows in (("train", ~self.is_eval), ("eval", self.is_eval)):
            for kind, units in (("heldin", slice(None, n_in)), ("heldout", slice(n_in, None))):
                mine = self.counts[rows][..., units]
                found[f"{part}_spikes_{kind}"] = mine[:, : self.n_bins]
                found[f"{part}_spikes_{kind}_forward"] = mine[:, self.n_bins :]
        return found


def simulate(row: Row, seed: int) -> Session:
    """Make a session; bins of other than 5 ms hold the sums of the same rates."""
    network = row.network
    states = simulate_chaotic(network, seed=seed)
    active = np.tanh(states.latents)
    flat = active.reshape(-1, network.n_units) - active.mean((0, 1))
    axes = np.linalg.svd(flat, full_matrices=False)[2][:N_LATENTS]
    rng = np.random.default_rng([seed, 2])
    log_rate = flat @ axes.T @ rng.standard_normal((N_LATENTS, N_UNITS))
    log_rate *= DEPTH / log_rate.std(0)
    typical = np.log(TYPICAL_RATE_HZ * FINE_S) + SPREAD * rng.standard_normal(N_UNITS)
    fine = np.exp(typical + log_rate).reshape(len(active), -1, N_UNITS)
    fold = row.bin_size_ms // round(1e3 * FINE_S)
    rates = fine.reshape(len(fine), -1, fold, N_UNITS).sum(2)
    counts = rng.poisson(rates).astype(np.float64)
    condition = np.array([f"c{number:02d}" for number in states.condition], dtype=object)
    repeat = np.tile(np.arange(network.n_repeats), network.n_conditions)
    is_eval, n_in, n_bins = repeat >= network.n_repeats - N_EVAL, N_UNITS - N_HELDOUT, WINDOW_BINS // fold
    fitted, scored = counts[~is_eval], counts[is_eval]
    task = SpikeTask(
        session=SESSION,
        train_heldin=fitted[:, :n_bins, :n_in],
        train_heldout=fitted[:, :n_bins, n_in:],
        eval_heldin=scored[:, :n_bins, :n_in],
        train_condition=condition[~is_eval],
        eval_condition=condition[is_eval],
        bin_size_s=row.bin_size_ms / 1e3,
        train_forward=fitted[:, n_bins:],
    )
    stopping = repeat[~is_eval] >= network.n_repeats - N_EVAL - N_STOPPING
    return Session(task, counts, rates, stopping, is_eval)


def lfads_rates(row: Row, made: Session, *, seed: int, show: Show) -> tuple[RatePrediction, dict[str, float]]:
    """Train LFADS with held-out units and forward bins hidden, and return what it makes of all trials."""
    task = made.task
    scored = np.concatenate([task.train, task.train_forward], axis=1)
    fitted, stopping = (
        _tensors(task.train_heldin[w], scored[w], task) for w in (~made.stopping, made.stopping)
    )
    nothing, one = np.zeros(N_UNITS, np.float32), np.ones(N_UNITS, np.float32)
    plain = Scaling(nothing, one, np.arange(N_UNITS), task.bin_size_s, scaled_target=False)
    feeds = {SESSION: SessionFeed(train=fitted, val=stopping, scaling=plain)}
    label = f"{row.bin_size_ms} ms, seed {seed}"
    model, metrics = train_lfads(feeds, row.model, row.schedule, seed=seed, label=label, show=show)

    def rates(heldin: FloatArray) -> FloatArray:
        unknown = np.full((len(heldin), *scored.shape[1:]), np.nan)
        parts = [
            reconstruct(
                model, _tensors(heldin[a : a + 80], unknown[a : a + 80], task), n_samples=row.n_samples
            )
            for a in range(0, len(heldin), 80)
        ]
        mean = np.concatenate([part.mean[0].numpy() for part in parts])
        return raised(mean.astype(np.float64))[0]

    train, held = rates(task.train_heldin), rates(task.eval_heldin)
    n = made.n_bins
    return RatePrediction(train[:, :n], held[:, :n], held[:, n:]), metrics


def _tensors(heldin: FloatArray, scored: FloatArray, task: SpikeTask) -> TrialTensors:
    hidden = np.full((*heldin.shape[:2], N_HELDOUT), np.nan)
    shown = np.concatenate([heldin, hidden], axis=2).astype(np.float32)
    target = torch.from_numpy(scored.astype(np.float32))
    return TrialTensors(SESSION, torch.from_numpy(shown), target=target, bin_s=task.bin_size_s)


def run(row: Row, seed: int, show: Show) -> Result:
    made = simulate(row, seed)
    targets = made.targets
    began = time.perf_counter()
    model, metrics = lfads_rates(row, made, seed=seed, show=show)
    seconds = {LFADS: time.perf_counter() - began}
    predictions = {TRUE: made.truth, LFADS: model}
    for name, shown in COMPARED.items():
        began = time.perf_counter()
        predictions[shown] = baseline_called(name).rates(made.task, row.smoothing)
        seconds[shown] = time.perf_counter() - began
        show(f"{row.bin_size_ms} ms, seed {seed}: {shown}, {seconds[shown]:.0f} s")
    predictions[NULL] = _null(made, targets)
    scores, apart = {}, 0.0
    for name, prediction in predictions.items():
        memory = score_rates(prediction, targets)
        scores[name] = _from_file(prediction, targets, bin_size_ms=row.bin_size_ms)
        apart = max(apart, *(abs(scores[name][score] - memory[score]) for score in memory))
    return {"scores": scores, "apart": apart, "seconds_of": seconds, "metrics": metrics}


def _null(made: Session, targets: dict[str, FloatArray]) -> RatePrediction:
    """Return the rates the benchmark calls null: means of the very spikes that are scored."""

    def flat(suffix: str) -> FloatArray:
        spikes = np.concatenate([targets[f"eval_spikes_{kind}{suffix}"] for kind in ("heldin", "heldout")], 2)
        return np.broadcast_to(spikes.mean((0, 1)), spikes.shape)

    return RatePrediction(made.truth.train, raised(flat(""))[0], raised(flat("_forward"))[0])


def _from_file(
    prediction: RatePrediction, targets: dict[str, FloatArray], *, bin_size_ms: int
) -> dict[str, float]:
    """Return the scores of a submission after it was written, checked and read."""
    group = SESSION if bin_size_ms == round(1e3 * FINE_S) else f"{SESSION}_{bin_size_ms}"
    with tempfile.TemporaryDirectory() as folder:
        rates, spikes = Path(folder) / "rates.h5", Path(folder) / "targets.h5"
        arrays = submission_arrays(prediction, n_heldin=N_UNITS - N_HELDOUT)
        write_submission(rates, [(group, arrays, identity_of(targets))])
        write_groups(spikes, [(group, targets, {})], attributes={"bin_size_s": bin_size_ms / 1e3})
        problems = check_submission(rates, spikes)
        if problems:
            raise ValueError("; ".join(map(str, problems)))
        return score_submission(rates, spikes)[group]


def table(results: list[Result]) -> str:
    rows = []
    for width in ROWS:
        mine = [result for result in results if result["row"] == width]
        for name in ROW_NAMES if mine else ():
            cells = [[r["scores"][name][score] for r in mine] for score in ("co_bps", "fp_bps")]
            took = [r["seconds_of"][name] for r in mine if name in r["seconds_of"]]
            share = [r["scores"][name]["co_bps"] / r["scores"][TRUE]["co_bps"] for r in mine]
            rows.append([
                width, name, tables.seeds_of(results, width, by="row"), *map(cell, cells),
                f"{100 * fmean(share):.0f} %", f"{fmean(took):.0f}" if took else "–",
            ])  # fmt: skip
    header = ["bins", "rates", "seeds", "co-bps", "fp-bps", "co-bps, share of the true rates'", "seconds"]
    return f"{tables.markdown('Co-smoothing of a chaotic network', header, rows)}\n{_gates(results)}\n"


def _gates(results: list[Result]) -> str:
    def worst(value: str, *, highest: bool = False) -> float:
        pick = max if highest else min
        return pick((_margins(r)[value] for r in results), default=math.nan)

    share = (worst("share"), worst("share", highest=True))
    below, above = worst("of_model"), worst("of_smoothing")
    apart = max((r["apart"] for r in results), default=math.nan)
    null = worst("null", highest=True)
    return "\n".join([
        gate("true rates ahead of LFADS by > 0, the least", below, met=below > 0),
        gate("LFADS ahead of smoothing by > 0, the least", above, met=above > 0),
        gate("smoothing reaches ≥ 30 % of the true rates, the least", share[0], met=share[0] >= 0.3),
        gate("smoothing reaches ≤ 80 % of the true rates, the most", share[1], met=share[1] <= 0.8),
        gate("the null is 0, greatest distance", null, met=null == 0),
        gate("the file scores what memory does, greatest distance", apart, met=apart < 1e-9),
    ])  # fmt: skip


def _margins(result: Result) -> dict[str, float]:
    bits = {name: scores["co_bps"] for name, scores in result["scores"].items()}
    return {
        "of_model": bits[TRUE] - bits[LFADS],
        "of_smoothing": bits[LFADS] - bits["smoothing"],
        "share": bits["smoothing"] / bits[TRUE],
        "null": abs(bits[NULL]),
    }


if __name__ == "__main__":
    main(Experiment("nlb", ROWS, run, table))
