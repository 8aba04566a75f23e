"""Codes of simulated reaching sessions: the information-maximising diffusion model beside LFADS.

``python -m benchmarks.reproduce.gnocchi_sessions`` simulates two centre-out sessions of different subjects,
ingests them with the default recipe, moves every trial to one of the 16 targets into a split of its own that
no training reads, and trains each row on both sessions by the stage ``train``:

- *GNOCCHI*: a code of four dimensions; *weak prior*: its weight ζ a tenth of the default.
- *LFADS*: without controller, an initial condition of four dimensions; its posterior mean is the code.
- *LFADS, 32*: an initial condition of 32 dimensions, of which the first four principal components are the
  code; trials of new conditions are made from all 32.
- *LFADS of rates*: the smoothed rates GNOCCHI is shown and scored on in place of counts, Gaussian.

Factors of behaviour are the direction of the target and the peak speed, from the simulator's truth. That is
all in which the neurons of two reaches differ but for a bow of a few millimetres: windows are aligned to
movement onset, and a movement is prepared long before.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from benchmarks.reproduce import tables
from benchmarks.reproduce.known_rates import NEVER, Experiment, Result, Schedule, Show, main, progress
from nwb_latents.models.batching.tensors import pack
from nwb_latents.pipeline.evaluation.decoding.ridge import fit_ridge
from nwb_latents.pipeline.evaluation.metrics.disentanglement import auroc_difference, dci
from nwb_latents.pipeline.evaluation.metrics.r2 import r2, r2_per_output
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.simulator import read_truth
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.simulate import simulate
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.trials import read_continuous, read_events, read_trials, write_store
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.trial_codes import generate_trials, infer_codes
from nwb_latents.schemas.events import Event, ProgressEvent
from nwb_latents.schemas.gnocchi import GNOCCHISettings
from nwb_latents.schemas.lfads import LFADSSettings
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.models import ModelSettings

    FloatArray = NDArray[np.float64]

CODE_DIM, SAMPLES = 4, 50
"""Dimensions of a code; trials of the diffusion model that are averaged, as many as LFADS averages."""

UNSEEN = "unseen"
"""Split of the target that is left out."""


@dataclass(frozen=True)
class Row:
    """What is trained on which sessions.

    Attributes
    ----------
    model
        The model.
    schedule
        Training.
    clip_norm
        Gradients are scaled down to this norm.
    n_trials, n_targets
        Of each session.
    left_out
        Number of the target no training sees.
    """

    model: ModelSettings
    schedule: Schedule
    clip_norm: float = 200.0
    n_trials: int = 400
    n_targets: int = 16
    left_out: int = 2


def _gnocchi(mmd_weight: float) -> Row:
    settings = GNOCCHISettings(
        code_dim=CODE_DIM, encoder_width=32, channels=32, mmd_weight=mmd_weight, cut_probability=0.0
    )
    return Row(settings, Schedule(steps=1500, lr=1e-3, weight_decay=1e-5, trials_per_step=32), clip_norm=1.0)


def _lfads(ic_dim: int, likelihood: Literal["poisson", "gaussian"] = "poisson") -> Row:
    settings = LFADSSettings(
        ic_dim=ic_dim, factor_dim=16, controller_dim=0, input_dim=0, ic_prior_variance=1.0, l2_generator=0.0,
        likelihood=likelihood, cut_probability=0.0,
    )  # fmt: skip
    return Row(settings, Schedule(steps=1500, trials_per_step=32))


ROWS = {
    "GNOCCHI": _gnocchi(0.1),
    "GNOCCHI, weak prior": _gnocchi(0.01),
    "LFADS": _lfads(CODE_DIM),
    "LFADS, 32": _lfads(32),
    "LFADS of rates": _lfads(CODE_DIM, "gaussian"),
}


@dataclass(frozen=True)
class CodedSession:
    """Trials of a session and their factors of behaviour.

    Attributes
    ----------
    trials
        The store's trials.
    behaviour
        cos θ, sin θ, peak speed over 30 cm/s. Shape ``(trial, 3)``.
    target
        Number of the target. Shape ``(trial,)``.
    """

    trials: xr.Dataset
    behaviour: FloatArray
    target: NDArray[np.int64]

    @property
    def stored(self) -> Session:
        """The session as a run takes it."""
        return session_in_memory(self.trials)

    def rows(self, split: str) -> NDArray[np.bool_]:
        """Trials of a split."""
        found: NDArray[np.bool_] = self.trials["split"].values.astype(str) == split
        return found


@dataclass
class Recorded:
    """A catalog of simulated sessions; lasts as long as the process.

    Attributes
    ----------
    folder
        Of the catalog.
    sessions
        Session id → its trials.
    """

    folder: tempfile.TemporaryDirectory[str]
    sessions: dict[str, CodedSession] = field(default_factory=dict)

    @property
    def catalog(self) -> Path:
        """The catalog file."""
        return Path(self.folder.name) / "catalog.yaml"


@lru_cache(maxsize=1)
def record(seed: int, n_trials: int, n_targets: int, left_out: int) -> Recorded:
    """Simulate and ingest two sessions, and put the trials of a target into the split `UNSEEN`."""
    made = Recorded(tempfile.TemporaryDirectory())
    nwb = made.catalog.parent / "nwb"
    settings = SimulateSettings(
        preset="classic", n_sessions=1, n_trials=n_trials, n_targets=n_targets, waveforms=False, seed=seed
    )
    truths = {truth.session: truth for truth in map(read_truth, simulate(nwb, settings))}
    ingest(made.catalog, FolderSource([nwb]))
    for entry in read_catalog(made.catalog).sessions.values():
        where = store_path(made.catalog, entry.store)
        trials, truth = read_trials(where).load(), truths[entry.session]
        place = {int(row): k for k, row in enumerate(truth.trial_row)}
        k = [place[int(trial)] for trial in trials["trial"].values]
        angle, speed = truth.target_dir_rad[k], truth.peak_speed_cm_s[k] / 30
        target = np.round(angle * n_targets / (2 * np.pi)).astype(np.int64) % n_targets
        split = np.where(target == left_out, UNSEEN, trials["split"].values.astype(str))
        trials = trials.assign(split=("trial", split.astype(object)))
        behaviour = np.c_[np.cos(angle), np.sin(angle), speed]
        made.sessions[entry.session] = CodedSession(trials, behaviour, target)
        groups = [trials, read_continuous(where).load(), read_events(where)]
        write_store(where, *(group for group in groups if group is not None))
    return made


class Coder:
    """Codes of trials and rates of codes, of either model."""

    def __init__(self, run: TrainedRun) -> None:
        self.run = run
        self.is_diffusion = run.settings.model.name == "gnocchi"

    def codes(self, session: CodedSession) -> FloatArray:
        """Return the codes of trials; of LFADS, posterior means of the initial condition."""
        if self.is_diffusion:
            return infer_codes(self.run, session.stored).astype(np.float64)
        with torch.inference_mode():
            output: Any = self.run.model.predict(pack([self.run._tensors(session.stored)]))
        codes: FloatArray = output.aux["ic_mean"][0].numpy().astype(np.float64)
        return codes

    def rates(self, name: str, codes: FloatArray, n_bins: int, n_samples: int) -> FloatArray:
        """Return the rates in Hz codes stand for; of the diffusion model, the mean of samples, if any."""
        if self.is_diffusion:
            made = generate_trials(self.run, name, codes, n_bins=n_bins, n_samples=n_samples)
            return made.astype(np.float64)
        model: Any = self.run.model
        scaling = self.run.scalings[name]
        with torch.inference_mode():
            code = torch.tensor(codes, dtype=torch.float32)[None]
            factors = model.decoder(code, n_bins, seen=None, external=None).factors
            params = model.read_out(factors, model.names.index([name]), len(scaling.units))
            per_bin = model.likelihood.mean(params)[0].numpy()
        return scaling.to_hz(per_bin).astype(np.float64)


def run(row: Row, seed: int, show: Show) -> Result:
    recorded = record(seed, row.n_trials, row.n_targets, row.left_out)
    schedule = row.schedule
    settings = TrainSettings.model_validate({
        "model": row.model,
        "batch": {"trials_per_session": schedule.trials_per_step},
        "optimiser": {"lr": schedule.lr, "weight_decay": schedule.weight_decay, "clip_norm": row.clip_norm},
        "max_steps": schedule.steps,
        "validate_every": schedule.validate_every,
        "checkpoint_every": NEVER,
        "patience": NEVER,
        "seed": seed,
        "device": "cpu",
    })  # fmt: skip
    shown = progress(f"{row.model.name}, seed {seed}", show)

    def report(event: Event) -> None:
        if isinstance(event, ProgressEvent):
            shown(event.step, event.total, event.model_dump())

    entry = train(recorded.catalog, settings, report=report)
    coder = Coder(load_run(recorded.catalog.parent / "runs" / entry.run, device="cpu"))
    return {name: measure(coder, name, session, seed) for name, session in recorded.sessions.items()}


def measure(coder: Coder, name: str, session: CodedSession, seed: int) -> Result:
    """Return what is asked of the codes of one session, ready for JSON."""
    whole = coder.codes(session)
    principal = _principal(whole, session.rows("train"))
    found = {
        "code": of_code(whole if whole.shape[1] == CODE_DIM else principal, session, seed),
        "principal": of_code(principal, session, seed),
        "unseen": of_unseen(coder, name, session, whole, SAMPLES),
    }
    if coder.is_diffusion:
        found["expected"] = of_unseen(coder, name, session, whole, 0)
    return found


def of_code(code: FloatArray, session: CodedSession, seed: int) -> Result:
    """Return how behaviour is read from codes: learnt on training trials, scored on test trials."""
    learn, test = session.rows("train"), session.rows("test")
    y = session.behaviour

    def read(features: FloatArray) -> list[float]:
        ridge = fit_ridge(features[learn], y[learn], alpha=1.0)
        return r2_per_output(y[test], ridge.predict(features[test])).tolist()

    found = dci(code[learn], y[learn], test_codes=code[test], test_factors=y[test], seed=seed)
    middle = np.array([0.0, 0.0, np.median(y[:, 2])])
    seen = ~session.rows(UNSEEN)
    tad = auroc_difference(code[seen], y[seen] > middle)
    return {
        "deviation": code[learn].std(axis=0).tolist(),
        "linear": read(code),
        "products": read(_with_products(code)),
        "trees": found.informativeness.tolist(),
        "dci": [found.disentanglement, found.completeness],
        "tad": [tad.total, int(tad.is_captured.sum())],
    }


def of_unseen(coder: Coder, name: str, session: CodedSession, code: FloatArray, n_samples: int) -> Result:
    """Return how near rates of the target left out come to those recorded, condition means of both.

    ``rates``: R² over time and units. ``direction``: the share of what sets the target apart from the mean of
    all others, ``1 − Σ (true − made)² / Σ (true − mean of the others)²``; 0 is no better than that mean.
    """
    learn, unseen = session.rows("train"), session.rows(UNSEEN)
    rates, y = session.trials["rates"].values.astype(np.float64), session.behaviour
    true, others = rates[unseen].mean(axis=0), rates[learn].mean(axis=0)
    towards = fit_ridge(y[learn], code[learn], alpha=1.0).predict(y[unseen])
    flat = fit_ridge(y[learn], rates[learn].reshape(learn.sum(), -1), alpha=1.0).predict(y[unseen])
    angle = np.arctan2(y[:, 1], y[:, 0])
    apart = np.abs(np.angle(np.exp(1j * (angle - angle[unseen].mean()))))
    nearest = np.unique(session.target[learn & np.isclose(apart, apart[learn].min(), atol=1e-3)])
    copies = [rates[learn & (session.target == target)].mean(axis=0) for target in nearest]
    guesses = {
        "model": [coder.rates(name, towards, rates.shape[1], n_samples).mean(axis=0)],
        "nearest": copies,
        "linear": [flat.mean(axis=0).reshape(true.shape)],
        "recorded": [coder.rates(name, code[unseen], rates.shape[1], n_samples).mean(axis=0)],
    }
    return {
        what: {
            "rates": fmean(r2(true, guess, definition="r2_pooled") for guess in made),
            "direction": fmean(
                1 - np.square(true - guess).sum() / np.square(true - others).sum() for guess in made
            ),
        }
        for what, made in guesses.items()
    }


def _with_products(code: FloatArray) -> FloatArray:
    first, second = np.triu_indices(code.shape[1])
    return np.c_[code, code[:, first] * code[:, second]]


def _principal(code: FloatArray, learn: NDArray[np.bool_]) -> FloatArray:
    """Return the first `CODE_DIM` principal components, found on training trials."""
    mean = code[learn].mean(axis=0)
    axes = np.linalg.svd(code[learn] - mean, full_matrices=False)[2][:CODE_DIM]
    components: FloatArray = (code - mean) @ axes.T
    return components


def table(results: list[Result]) -> str:
    """Return the tables of codes and of the target left out."""
    codes, unseen = [], []
    for name in dict.fromkeys(result["row"] for result in results):
        found = [result for result in results if result["row"] == name]
        scores = [score for result in found for score in result.values() if isinstance(score, dict)]
        seeds = tables.seeds_of(results, name, by="row")
        for kind, label in (("code", ""), ("principal", ", principal components")):
            if kind == "code" and name == "LFADS, 32":
                continue
            codes.append([f"{name}{label}", seeds, *_code_cells([score[kind] for score in scores])])
        seconds = tables.mean_sem([result["seconds"] for result in found], 0)
        for kind, label in (("unseen", ""), ("expected", ", expected at once")):
            cells = _unseen_cells([score[kind] for score in scores if kind in score])
            unseen += [[f"{name}{label}", seeds, *cells, seconds]] if kind in scores[0] else []
    return (
        tables.markdown("Simulated sessions: codes", CODE_HEADER, codes)
        + "\n"
        + tables.markdown("Simulated sessions: a target left out of all training", UNSEEN_HEADER, unseen)
    )


CODE_HEADER = [
    "code", "seeds", "deviation", "ridge R²: cos θ, sin θ, speed", "speed, with products of dimensions",
    "R² by trees", "DCI: disentanglement", "completeness", "TAD", "attributes captured, of 3",
]  # fmt: skip
UNSEEN_HEADER = [
    "model", "seeds", "R² of its rates, made of its behaviour", "nearest targets, copied",
    "behaviour → rates, linear", "made of its own codes", "share of its direction", "nearest", "linear",
    "of its own codes", "seconds",
]  # fmt: skip


def _code_cells(scores: list[Result]) -> list[str]:
    def column(what: str, k: int) -> list[float]:
        return [score[what][k] for score in scores]

    deviations = [value for score in scores for value in score["deviation"]]
    return [
        f"{min(deviations):.2f}–{max(deviations):.2f}",
        ", ".join(f"{fmean(column('linear', k)):.2f}" for k in range(3)),
        tables.mean_sem(column("products", 2)),
        ", ".join(f"{fmean(column('trees', k)):.2f}" for k in range(3)),
        *(tables.mean_sem(column("dci", k)) for k in range(2)),
        tables.mean_sem(column("tad", 0)),
        f"{fmean(column('tad', 1)):.1f}",
    ]


def _unseen_cells(scores: list[Result]) -> list[str]:
    return [
        tables.mean_sem([score[what][how] for score in scores])
        for how in ("rates", "direction")
        for what in ("model", "nearest", "linear", "recorded")
    ]


if __name__ == "__main__":
    main(Experiment("gnocchi-sessions", ROWS, run, table))
