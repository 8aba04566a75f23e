"""Identity overfitting: a model that copies its input, and what coordinated dropout does about it.

``python -m benchmarks.reproduce.lfads_identity`` trains a bidirectional recurrent network with a linear
read-out of log rates, which is free to copy every spike into its own bin's rate, on 150 trials of
Lorenz-driven spikes, with and without coordinated dropout. A fifth of the samples is held back for sample
validation (Keshtkaran and Pandarinath 2019).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.reproduce import tables
from benchmarks.reproduce.known_rates import (
    NEVER,
    Experiment,
    Result,
    Schedule,
    Show,
    cell,
    feed,
    gate,
    main,
    progress,
    rate_r2,
    reconstruct,
    train_settings,
)
from benchmarks.reproduce.systems.lorenz import LorenzRecipe, simulate_lorenz
from nwb_latents.models.batching.views import View, observe, weighted
from nwb_latents.models.interface import Model, Output, Term
from nwb_latents.models.losses.likelihoods import Poisson
from nwb_latents.models.parts.encoders import GRUEncoder
from nwb_latents.models.parts.session_maps import ReadOut
from nwb_latents.pipeline.training.loop import fit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.reproduce.systems.spiking import SpikingTrials
    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.parts.distributions import DiagGaussian

SESSION = "lorenz"
HIDDEN = 64
N_TRAIN, N_VAL = 150, 200
RECIPE = LorenzRecipe(
    n_units=30, n_conditions=N_TRAIN + N_VAL, n_repeats=1, mean_count=0.25, log_rate_deviation=0.85
)
SNAPSHOTS = (150, 900)
AGREE = 0.02
"""Nats per sample by which the two validations may differ with coordinated dropout."""


class CopyingAutoencoder(Model):
    """Log rates linear in the states of a bidirectional network: no bottleneck in time.

    Parameters
    ----------
    n_units
        Units of its only session.
    """

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.encoder = GRUEncoder(n_units, HIDDEN)
        self.read_out = ReadOut([n_units], n_factors=self.encoder.width)
        self.likelihood = Poisson()

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Return the masked negative log likelihood, summed over bins and units."""
        del step, generator
        output = self._rates(view.x)
        nll = weighted(self.likelihood.nll(output.params, view.target, self._session()), view).sum((2, 3))
        trial = batch.trial_mask / batch.n_trials[:, None]
        term = Term("nll", (nll * trial).sum())
        return Output(output.params, output.mean, output.factors, output.latents, (term,))

    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        """Reconstruct a batch; there is nothing to sample."""
        del n_samples, generator, embedding
        return self._rates(observe(batch).x)

    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        """Refuse: it has no dynamics."""
        raise ValueError("a model without dynamics does not forecast")

    def start_from(self, means: Mapping[str, torch.Tensor]) -> None:
        """Let every unit start at its mean."""
        self.read_out.bias.set_row(0, self.likelihood.bias(means[SESSION]))

    def _rates(self, x: torch.Tensor) -> Output:
        states = self.encoder(x).seq
        params = self.read_out(states, self._session(), x.shape[3])
        return Output(params, self.likelihood.mean(params), states, states)

    def _session(self) -> torch.Tensor:
        return torch.zeros(1, dtype=torch.int64)


@dataclass(frozen=True)
class Row:
    """Share of samples coordinated dropout hides."""

    dropout: float
    recipe: LorenzRecipe = RECIPE
    n_train: int = N_TRAIN
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=900, lr=2e-3, final_lr=2e-3, validate_every=NEVER)
    )

    @property
    def snapshots(self) -> tuple[int, ...]:
        """Steps at which it is scored."""
        return tuple(sorted({min(step, self.schedule.steps) for step in SNAPSHOTS}))


NO_CD = "no CD"
COLUMNS = {"standard": "standard validation", "held_back": "sample validation", "rate_r2": "rate R²"}
ROWS = {NO_CD: Row(0.0), "CD .3": Row(0.3), "CD .5": Row(0.5)}


def run(row: Row, seed: int, show: Show) -> Result:
    trials = simulate_lorenz(row.recipe, seed=seed)
    order = np.arange(trials.n_trials)
    train, val = trials.select(order[: row.n_train]), trials.select(order[row.n_train :])
    fed = feed(SESSION, train, val, standardise=False)
    torch.manual_seed(seed)
    model = CopyingAutoencoder(trials.n_units)
    settings = train_settings(row.schedule, seed)
    masks = settings.masks.model_copy(update={"sample_validation": 0.2, "coordinated_dropout": row.dropout})
    settings = settings.model_copy(update={"masks": masks})
    n_samples = val.counts[0].size
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for step in row.snapshots:
            result = fit(
                model, {SESSION: fed}, settings, Path(folder), resume=True, stop_at=step,
                progress=progress(f"CD {row.dropout}, seed {seed}", show),
            )  # fmt: skip
            model.eval()
            found[str(step)] = {
                "standard": result.metrics["val_nll"] / n_samples,
                "held_back": result.metrics["val_held_nll"] / n_samples,
                "rate_r2": rate_r2(val, reconstruct(model, fed.val)),
            }
    return {"snapshots": found, **_bounds(train, val)}


def _bounds(train: SpikingTrials, val: SpikingTrials) -> dict[str, float]:
    """Return the loss of the true rates and of each unit's mean, nats per sample of validation trials."""
    mean = train.counts.mean((0, 1))
    return {
        "oracle": float((val.rates - val.counts * np.log(val.rates)).mean()),
        "null": float((mean - val.counts * np.log(mean)).mean()),
    }


def table(results: list[Result]) -> str:
    rows = []
    for name in ROWS:
        for step in SNAPSHOTS:
            cells = [cell(_values(results, name, step, what)) for what in COLUMNS]
            rows.append([f"{name}, step {step}", tables.seeds_of(results, name, by="row"), *cells])
    for name, title in (("oracle", "true rates"), ("null", "mean of each unit")):
        level = cell([r[name] for r in results if r["row"] == NO_CD])
        rows.append([title, "–", level, level, "–"])
    header = ["model", "seeds", *COLUMNS.values()]
    body = tables.markdown("Identity overfitting: nats per sample of validation trials", header, rows)
    return f"{body}\n{_readings(results)}\n"


def _values(results: list[Result], name: str, step: int, what: str) -> list[float]:
    found = (r["snapshots"].get(str(step)) for r in results if r["row"] == name)
    return [snapshot[what] for snapshot in found if snapshot is not None]


def _readings(results: list[Result]) -> str:
    """Say whether each reading holds in every seed: the worst of them decides."""
    last = max(SNAPSHOTS)
    per_row = {
        name: {what: _values(results, name, last, what) for what in COLUMNS} for name in ROWS
    }  # fmt: skip
    oracle = [r["oracle"] for r in results if r["row"] == NO_CD]
    if not all(len(values["standard"]) == len(oracle) > 0 for values in per_row.values()):
        return "The readings need all rows of the same seeds, trained to the end."
    none, dropped = per_row[NO_CD], [values for name, values in per_row.items() if name != NO_CD]
    below = min(o - s for o, s in zip(oracle, none["standard"], strict=True))
    above = min(
        h - o for values in per_row.values() for h, o in zip(values["held_back"], oracle, strict=True)
    )
    ranked = min(
        bad - good
        for values in dropped
        for bad, good in zip(none["held_back"], values["held_back"], strict=True)
    )
    apart = max(
        abs(s - h) for values in dropped for s, h in zip(values["standard"], values["held_back"], strict=True)
    )
    gain = min(
        good - bad for values in dropped for good, bad in zip(values["rate_r2"], none["rate_r2"], strict=True)
    )
    return "\n".join([
        f"Readings at step {last}, the worst seed and row:\n",
        gate("without CD, standard validation below the true rates by > .1", below, met=below > 0.1),
        gate("sample validation above the true rates in every row by ≥ 0", above, met=above >= 0),
        gate("sample validation worse without CD than with it by > .1", ranked, met=ranked > 0.1),
        gate(f"with CD, the two validations apart by ≤ {AGREE}", apart, met=apart <= AGREE),
        gate("rate R² with CD less without ≥ 1", gain, met=gain >= 1),
    ])  # fmt: skip


if __name__ == "__main__":
    main(Experiment("lfads_identity", ROWS, run, table))
