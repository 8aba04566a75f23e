"""What the information-maximising diffusion model must show, beside an LFADS-type variational autoencoder.

``python -m benchmarks.reproduce.gnocchi --row ROW`` trains one model on simulated reaches and prints a row of
the table; without ``--row``, all rows:

- *x0*: the default, estimating the data; reaches to a sector of 45° are in no training.
- *x0-weak*: the same with a prior of weight .02.
- *eps*, *eps-strong*: estimating the noise, with the prior's weight .1 and 10, which empties the code.
- *lfads*: an autonomous LFADS whose initial condition has as many dimensions as the code.

Reaches go in any direction at a peak speed that varies; 24 channels read velocity linearly, with noise.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.randomness import derived_generator
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.evaluation.decoding.ridge import fit_ridge
from nwb_latents.pipeline.evaluation.metrics.disentanglement import auroc_difference, dci
from nwb_latents.pipeline.evaluation.metrics.r2 import r2, r2_per_output
from nwb_latents.pipeline.training.feed import Scaling, SessionFeed
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.schemas.gnocchi import GNOCCHISettings
from nwb_latents.schemas.lfads import LFADSSettings
from nwb_latents.schemas.training import BatchSettings, OptimiserSettings, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nwb_latents.schemas.models import ModelSettings

    FloatArray = NDArray[np.float64]

CHANNELS, BINS, TRAIN, TEST = 24, 32, 1024, 512
ONSET_BIN, DURATION_BINS, NOISE = 6, 16, 0.15
SECTOR = (np.pi / 4, np.pi / 2)
CODE_DIM, STEPS, SAMPLES = 4, 3000, 4
NEVER = 10**6
NAME = "reaches"


@dataclass(frozen=True)
class Reaches:
    """Trials of simulated reaches.

    Attributes
    ----------
    observed, clean
        Channels with and without noise, both in units of the training trials' deviation.
        Shape ``(trial, time, channel)``.
    behaviour
        cos θ, sin θ, peak speed. Shape ``(trial, 3)``.
    """

    observed: FloatArray
    clean: FloatArray
    behaviour: FloatArray

    @property
    def in_sector(self) -> NDArray[np.bool_]:
        """Reaches whose direction lies in `SECTOR`."""
        angle = np.arctan2(self.behaviour[:, 1], self.behaviour[:, 0])
        within: NDArray[np.bool_] = (angle >= SECTOR[0]) & (angle < SECTOR[1])
        return within

    def select(self, rows: NDArray[np.bool_]) -> Reaches:
        """Return some of the trials."""
        return Reaches(self.observed[rows], self.clean[rows], self.behaviour[rows])


def simulate(seed: int) -> tuple[Reaches, Reaches]:
    """Return training and test trials."""
    rng = np.random.default_rng(seed)
    n = TRAIN + TEST
    angle, speed = rng.uniform(-np.pi, np.pi, n), rng.uniform(0.7, 1.3, n)
    # Minimum jerk: a fast reach is as long as a slow one, and over sooner.
    along = np.clip((np.arange(BINS) - ONSET_BIN) * speed[:, None] / DURATION_BINS, 0, 1)
    profile = speed[:, None] * 16 * along**2 * (1 - along) ** 2
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    velocity = profile[:, :, None] * direction[:, None]
    clean = velocity @ rng.normal(size=(2, CHANNELS))
    observed = clean + NOISE * rng.normal(size=clean.shape)
    mean, deviation = (f(observed[:TRAIN], axis=(0, 1)) for f in (np.mean, np.std))
    reaches = Reaches((observed - mean) / deviation, (clean - mean) / deviation, np.c_[direction, speed])
    is_train = np.arange(n) < TRAIN
    return reaches.select(is_train), reaches.select(~is_train)


ROWS: dict[str, ModelSettings] = {
    name: GNOCCHISettings(
        code_dim=CODE_DIM, encoder_width=32, channels=32, predict=predict, mmd_weight=weight,
        cut_probability=0.0,
    )
    for name, predict, weight in (
        ("x0", "x0", 0.1), ("x0-weak", "x0", 0.02), ("eps", "eps", 0.1), ("eps-strong", "eps", 10.0),
    )
} | {
    "lfads": LFADSSettings(
        generator_dim=64, ic_dim=CODE_DIM, factor_dim=16, encoder_dim=32, controller_dim=0, input_dim=0,
        dropout=0.0, likelihood="gaussian", ic_prior_variance=1.0,
        l2_generator=0.0, cut_probability=0.0,
    )
}  # fmt: skip


class Coder:
    """Codes of trials and trials of codes, of either model."""

    def __init__(self, model: Any, settings: ModelSettings) -> None:
        self.model, self.is_lfads = model.eval(), settings.name == "lfads"

    def codes(self, reaches: Reaches) -> FloatArray:
        """Return the codes of trials; of LFADS, posterior means of the initial condition."""
        batch = pack([_tensors(reaches)])
        with torch.inference_mode():
            code = self.model.predict(batch).aux["ic_mean"] if self.is_lfads else self.model.encode(batch)
        found: FloatArray = code[0].numpy().astype(np.float64)
        return found

    def trials(self, codes: FloatArray) -> FloatArray:
        """Return the trials codes stand for; of the diffusion model, the mean of `SAMPLES` samples."""
        code = torch.tensor(codes, dtype=torch.float32)[None]
        with torch.inference_mode():
            if self.is_lfads:
                factors = self.model.decoder(code, BINS, seen=None, external=None).factors
                made = self.model.read_out(factors, torch.tensor([0]), CHANNELS)
            else:
                source = derived_generator(0, "reaches")
                noise = torch.randn(SAMPLES, len(codes), BINS, CHANNELS, generator=source)
                made = torch.stack([self.model.decode([NAME], code, one[None]).mean for one in noise]).mean(0)
        trials: FloatArray = made[0].numpy().astype(np.float64)
        return trials


def measure(row: str, *, seed: int, steps: int, show: Callable[[str], None]) -> dict[str, Any]:
    """Train the model of a row, and return what is asked of it."""
    started = time.perf_counter()
    train, test = simulate(seed)
    train = train.select(~train.in_sector)
    seen, unseen = test.select(~test.in_sector), test.select(test.in_sector)
    settings = ROWS[row]
    model: Any = build_model(settings, {NAME: CHANNELS}, seed=seed)
    _fit(model, train, settings, steps=steps, seed=seed, show=lambda line: show(f"{row}: {line}"))
    seconds = time.perf_counter() - started
    coder = Coder(model, settings)
    c_train, c_test = coder.codes(train), coder.codes(seen)
    read = fit_ridge(c_train, train.behaviour, alpha=1.0)
    found = dci(c_train, train.behaviour, test_codes=c_test, test_factors=seen.behaviour, seed=seed)
    middle = np.array([0.0, 0.0, 1.0])
    towards = fit_ridge(train.behaviour, c_train, alpha=1.0)
    apart = np.square(unseen.behaviour[:, None] - train.behaviour[None]).sum(axis=2)
    return {
        "row": row,
        "sd": c_test.std(axis=0),
        "decoding": r2_per_output(seen.behaviour, read.predict(c_test)),
        "generation": r2(seen.clean, coder.trials(c_test), definition="r2_pooled"),
        "unseen": r2(unseen.clean, coder.trials(towards.predict(unseen.behaviour)), definition="r2_pooled"),
        "nearest": r2(unseen.clean, train.clean[apart.argmin(axis=1)], definition="r2_pooled"),
        "dci": found,
        "tad": auroc_difference(c_test, seen.behaviour > middle),
        "seconds": seconds,
    }


def line(found: dict[str, Any]) -> str:
    """Return the row of the table."""
    sd, decoding = found["sd"], ", ".join(f"{value:.2f}" for value in found["decoding"])
    scores, tad = found["dci"], found["tad"]
    nonlinear = ", ".join(f"{value:.2f}" for value in scores.informativeness)
    cells = [
        found["row"], f"{sd.min():.2f}–{sd.max():.2f}", decoding, f"{found['generation']:.2f}",
        f"{found['unseen']:.2f}", f"{found['nearest']:.2f}",
        f"{scores.disentanglement:.2f}, {scores.completeness:.2f}", nonlinear,
        f"{tad.total:.2f} ({int(tad.is_captured.sum())})", f"{found['seconds']:.0f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| model | deviation of the code | ridge R² of cos θ, sin θ, speed from the code | generation R² "
    "| reaches to the sector left out, R² | nearest reach seen, R² | DCI: disentanglement, completeness "
    "| R² by trees | TAD (attributes captured) | seconds |\n" + "|---" * 10 + "|"
)


def _fit(
    model: Any,
    reaches: Reaches,
    settings: ModelSettings,
    *,
    steps: int,
    seed: int,
    show: Callable[[str], None],
) -> None:
    every = _tensors(reaches)
    one = np.ones(CHANNELS, np.float32)
    feed = SessionFeed(
        train=every,
        val=every.select(torch.arange(0)),
        scaling=Scaling(0 * one, one, np.arange(CHANNELS), 0.02),
    )
    rate, clip = (4e-3, 200.0) if settings.name == "lfads" else (1e-3, 1.0)
    training = TrainSettings(
        model=settings,
        signal="rates",
        batch=BatchSettings(trials_per_session=64),
        optimiser=OptimiserSettings(lr=rate, weight_decay=1e-5, clip_norm=clip),
        max_steps=steps,
        validate_every=NEVER,
        checkpoint_every=NEVER,
        patience=NEVER,
        seed=seed,
        device="cpu",
    )

    def progress(step: int, last: int, metrics: dict[str, float]) -> None:
        if step % 250 == 0 or step == last:
            show(f"step {step}/{last}, loss {metrics['loss']:.4f}, nll {metrics['nll']:.4f}")

    with tempfile.TemporaryDirectory() as folder:
        fit(model, {NAME: feed}, training, Path(folder), progress=progress)


def _tensors(reaches: Reaches) -> TrialTensors:
    return TrialTensors(NAME, torch.tensor(reaches.observed, dtype=torch.float32))


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--row", choices=sorted(ROWS), action="append")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--steps", type=int, default=STEPS)
    given = words.parse_args()
    torch.set_num_threads(1)
    lines = []
    for name in given.row or list(ROWS):
        made = measure(name, seed=given.seed, steps=given.steps, show=lambda text: print(text, flush=True))
        lines.append(line(made))
        print(made, lines[-1], sep="\n", flush=True)
    print("\n".join([HEADER, *lines]))
