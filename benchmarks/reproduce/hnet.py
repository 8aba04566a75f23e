"""What a hypernetwork recurrent network must show (HNET, JEDI): frequencies, spectra, regimes.

``python -m benchmarks.reproduce.hnet`` runs three experiments with one seed each:

- *rotations*: six contexts whose teachers rotate in one plane at 1 to 6 Hz. Free run on held-out trials,
  leading eigenvalue of the generated weights, order of the embeddings.
- *rank one*: the same at rank 1, which has no complex pair and cannot rotate.
- *regimes*: contexts that rotate, decay or settle in one of two states. Embeddings of contexts that were not
  trained on are inferred with everything else frozen, and classified by their nearest neighbour.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial import KDTree
from scipy.stats import spearmanr

from benchmarks.reproduce import tables
from benchmarks.reproduce.systems.rate_networks import (
    DT_S,
    TAU_S,
    RateNetwork,
    bistable,
    random_plane,
    rotation,
    simulate_rates,
)
from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.training.feed import Scaling, SessionFeed
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.schemas.hnet import HNETSettings
from nwb_latents.schemas.training import BatchSettings, OptimiserSettings, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from nwb_latents.models.families.hnet import HNET

    FloatArray = NDArray[np.float64]

UNITS, BINS, TRAIN, TEST = 40, 100, 16, 8
FREQUENCIES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
PER_REGIME, KNOWN = 9, 6
STEPS = 1500
NEVER = 10**6


def contexts(networks: Mapping[str, RateNetwork], plane: FloatArray, seed: int) -> dict[str, FloatArray]:
    """Return trials of every network, training trials first. Shape ``(trial, time, unit)``."""
    rng = np.random.default_rng(seed)
    return {
        name: simulate_rates(network, TRAIN + TEST, BINS, plane=plane, rng=rng)
        for name, network in networks.items()
    }


def model_settings(*, rank: int, steps: int) -> HNETSettings:
    """Return those of the experiments: the horizon is whole after half the steps."""
    every = max(steps // 2 // (BINS // 10), 1)
    return HNETSettings(
        observed="units", start_bins=1, embedding_dim=2, rank=rank, hyper_width=64,
        dt_over_tau=DT_S / TAU_S, process_noise=0.0, horizon_block=10, horizon_every=every,
    )  # fmt: skip


def train(
    rates: Mapping[str, FloatArray], *, rank: int, steps: int, seed: int, show: Callable[[str], None]
) -> HNET:
    """Train one model on all contexts."""
    settings = model_settings(rank=rank, steps=steps)
    model: Any = build_model(settings, dict.fromkeys(rates, UNITS), seed=seed)
    _fit(model, rates, settings, steps=steps, seed=seed, show=show)
    return model  # type: ignore[no-any-return]


def infer_embeddings(
    model: HNET, rates: Mapping[str, FloatArray], *, steps: int, seed: int, show: Callable[[str], None]
) -> FloatArray:
    """Return the embeddings of new contexts, everything else frozen. Shape ``(context, E)``."""
    new: Any = build_model(model.settings, dict.fromkeys(rates, UNITS), seed=seed)
    new.start_aligned(model.state_dict())
    names = new.alignable_parameters(list(rates))
    settings = model.settings.model_copy(update={"horizon_every": 0})
    _fit(new, rates, settings, steps=steps, seed=seed, show=show, trainable=names.__contains__)
    return _embeddings(new, list(rates))


def free_run_r2(model: HNET, name: str, rates: FloatArray) -> float:
    """Return R² of the free run of test trials from their first bin, pooled over units."""
    test = rates[TRAIN:]
    with torch.inference_mode():
        made = model.eval().predict(pack([_tensors(name, test)])).mean[0].numpy()
    return r2(test[:, 1:], made[:, 1:], definition="r2_pooled")


def leading_frequency(weights: FloatArray) -> float:
    """Return ``|Im λ| / 2π`` of the leading eigenvalue of ``(J − I) / τ``, Hz."""
    return abs(RateNetwork(weights).leading_eigenvalue().imag) / (2 * np.pi)


def rotations(*, rank: int, steps: int, seed: int, show: Callable[[str], None]) -> dict[str, Any]:
    """Train on the six frequencies; return R², frequencies, largest Re λ(J) and order of the embeddings."""
    plane = random_plane(UNITS, rng=np.random.default_rng([seed, 1]))
    rates = contexts({f"{f:g} Hz": rotation(f, plane) for f in FREQUENCIES}, plane, seed)
    model = train(rates, rank=rank, steps=steps, seed=seed, show=show)
    e = _embeddings(model, list(rates))
    with torch.inference_mode():
        weights = model.recurrent_weights(torch.tensor(e, dtype=torch.float32)).numpy().astype(np.float64)
    centred = e - e.mean(0)
    first = centred @ np.linalg.svd(centred)[2][0]
    return {
        "r2": [free_run_r2(model, name, trials) for name, trials in rates.items()],
        "frequency": [leading_frequency(J) for J in weights],
        "gain": [float(np.linalg.eigvals(J).real.max()) for J in weights],
        "spearman": abs(float(spearmanr(first, FREQUENCIES).statistic)),
    }


def regimes(*, steps: int, seed: int, show: Callable[[str], None]) -> dict[str, Any]:
    """Train on contexts of three regimes and return how well embeddings of others tell their regime."""
    rng = np.random.default_rng([seed, 2])
    plane = random_plane(UNITS, rng=rng)
    networks: dict[str, RateNetwork] = {}
    for k in range(PER_REGIME):
        networks[f"rotation {k}"] = rotation(rng.uniform(1, 6), plane)
        networks[f"decay {k}"] = rotation(rng.uniform(1, 6), plane, gain=rng.uniform(0.2, 0.8))
        networks[f"two states {k}"] = bistable(plane[:, 0], gain=rng.uniform(1.3, 1.9))
    rates = contexts(networks, plane, seed)
    known, new = ({n: r for n, r in rates.items() if (int(n.split()[-1]) < KNOWN) == is_known}
                  for is_known in (True, False))  # fmt: skip
    model = train(known, rank=2, steps=steps, seed=seed, show=show)
    e_known = _embeddings(model, list(known))
    e_new = infer_embeddings(model, new, steps=max(steps // 5, 1), seed=seed, show=show)
    kinds, wanted = ([name.rsplit(" ", 1)[0] for name in part] for part in (known, new))
    found = np.array(kinds)[KDTree(e_known).query(e_new)[1]]
    return {
        "accuracy": float(np.mean(found == np.array(wanted))),
        "r2": [free_run_r2(model, name, trials) for name, trials in known.items()],
        "n_new": len(new),
    }


def report(seed: int, steps: int, show: Callable[[str], None]) -> str:
    """Run everything and return the tables."""
    started = time.perf_counter()
    full, flat = (rotations(rank=rank, steps=steps, seed=seed, show=show) for rank in (2, 1))
    after_rotations = time.perf_counter()
    told = regimes(steps=steps, seed=seed, show=show)
    rows = [
        [f"{f:g}", f"{a:.3f}", f"{b:.2f}", f"{g:.2f}", f"{c:.2f}"]
        for f, a, b, g, c in zip(FREQUENCIES, full["r2"], full["frequency"], full["gain"], flat["r2"],
                                 strict=True)
    ]  # fmt: skip
    header = ["teacher, Hz", "free run R²", "leading eigenvalue, Hz", "max Re λ(J), teacher 1.6",
              "free run R² at rank 1"]  # fmt: skip
    off = max(abs(a - b) for a, b in zip(full["frequency"], FREQUENCIES, strict=True))
    gates = [
        ("free run R² of every context ≥ .95", min(full["r2"]), min(full["r2"]) >= 0.95),
        ("leading frequency within .2 Hz", off, off <= 0.2),
        ("Spearman of the embeddings' first PC with frequency ≥ .95", full["spearman"],
         full["spearman"] >= 0.95),
        ("rank 1 does not rotate: R² ≤ .3", max(flat["r2"]), max(flat["r2"]) <= 0.3),
        (f"regime of {told['n_new']} held-out contexts from their embeddings ≥ .95", told["accuracy"],
         told["accuracy"] >= 0.95),
    ]  # fmt: skip
    lines = [f"- {what}: {value:.3f}, {'met' if met else 'MISSED'}" for what, value, met in gates]
    seconds = (after_rotations - started, time.perf_counter() - after_rotations)
    title = f"Hypernetwork recurrent network, seed {seed}: {steps} steps"
    tail = (
        f"\nFree run R² of the {len(told['r2'])} contexts of three regimes trained on: "
        f"{min(told['r2']):.3f} to {max(told['r2']):.3f}. {seconds[0]:.0f} s for the rotations at both "
        f"ranks, {seconds[1]:.0f} s for the regimes.\n"
    )
    return tables.markdown(title, header, rows) + "\n" + "\n".join(lines) + "\n" + tail


def _fit(
    model: Any, rates: Mapping[str, FloatArray], settings: HNETSettings, *, steps: int, seed: int,
    show: Callable[[str], None], trainable: Callable[[str], bool] | None = None,
) -> None:  # fmt: skip
    feeds = {name: _feed(name, trials[:TRAIN]) for name, trials in rates.items()}
    training = TrainSettings(
        model=settings,
        batch=BatchSettings(
            trials_per_session=TRAIN, sessions_per_step=len(rates), sessions_per_block=len(rates)
        ),
        optimiser=OptimiserSettings(lr=1e-3, weight_decay=0.0, clip_norm=1.0),
        max_steps=steps,
        validate_every=NEVER,
        checkpoint_every=NEVER,
        patience=NEVER,
        seed=seed,
        device="cpu",
    )

    def progress(step: int, last: int, metrics: dict[str, float]) -> None:
        if step % 100 == 0 or step == last:
            show(f"step {step}/{last}, squared error {metrics['nll']:.4f}")

    with tempfile.TemporaryDirectory() as folder:
        fit(model, feeds, training, Path(folder), progress=progress, trainable=trainable)


def _feed(name: str, trials: FloatArray) -> SessionFeed:
    every = _tensors(name, trials)
    one = np.ones(UNITS, np.float32)
    return SessionFeed(
        train=every, val=every.select(torch.arange(0)), scaling=Scaling(0 * one, one, np.arange(UNITS), DT_S)
    )


def _tensors(name: str, trials: FloatArray) -> TrialTensors:
    return TrialTensors(name, torch.tensor(trials, dtype=torch.float32), bin_s=DT_S)


def _embeddings(model: Any, names: list[str]) -> FloatArray:
    blank = pack([TrialTensors(name, torch.zeros(1, 1, UNITS)) for name in names])
    with torch.inference_mode():
        found: FloatArray = model.embed(blank).mean.numpy().astype(np.float64)
    return found


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--steps", type=int, default=STEPS)
    given = words.parse_args()
    torch.set_num_threads(1)
    print(report(given.seed, given.steps, lambda line: print(line, flush=True)))
