"""What settings say reaches the model: masks, modes, noise, learning rate, decay, clipping.

A model that only watches: it keeps what every call was given, and its loss has gradients that are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nwb_latents.models.batching.cuts import fixed_cuts
from nwb_latents.models.interface import Model, Output, Term
from nwb_latents.models.randomness import derived_seed
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import xarray as xr

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.batching.views import View
    from nwb_latents.pipeline.training.feed import SessionFeed


@dataclass(frozen=True)
class Call:
    """One call of the model."""

    is_training: bool
    has_gradient: bool
    sessions: tuple[str, ...]
    shown: float
    scored: float
    step: int
    noise: int
    first: float
    n_shown: int | None = None
    n_trials: tuple[int, ...] = ()


class Watching(Model):
    """Its loss at step k is ``gradients[k] * (a − b)``: both learn, and nothing else counts."""

    def __init__(self, gradients: Sequence[float] = (0.0,)) -> None:
        super().__init__()
        self.gradients = gradients
        self.a = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.b = torch.nn.Parameter(torch.tensor(-5.0, dtype=torch.float64))
        self.calls: list[Call] = []
        self.began: dict[str, torch.Tensor] = {}

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        known = batch.target.isfinite() & batch.real()
        self.calls.append(
            Call(
                is_training=self.training,
                has_gradient=torch.is_grad_enabled(),
                sessions=batch.sessions,
                shown=float((view.samples[known] != 0).double().mean()),
                scored=float((view.weight[known] > 0).double().mean()),
                step=step,
                noise=generator.initial_seed() if generator is not None else -1,
                first=float(batch.target[0, 0, 0, 0]),
                n_shown=view.n_shown,
                n_trials=tuple(batch.real().any(dim=3).any(dim=2).sum(dim=1).tolist()),
            )
        )
        if not self.training:
            loss = self.a.detach() * 0 + 1.0
        else:
            loss = self.gradients[step % len(self.gradients)] * (self.a - self.b)
        zero = torch.zeros(1)
        return Output(zero, zero, zero, zero, (Term("nll", loss),))

    def predict(self, batch: Batch, **_: Any) -> Output:
        raise NotImplementedError

    def forecast(self, batch: Batch, t0: int, k: int, **_: Any) -> Output:
        raise NotImplementedError

    def start_from(self, means: Any) -> None:
        self.began = dict(means)


@pytest.fixture
def watch(datasets: dict[str, xr.Dataset], tmp_path: Path) -> Callable[..., Watching]:
    """Return a function that trains the watching model with some settings."""

    def run(gradients: Sequence[float] = (0.0,), **settings: Any) -> Watching:
        chosen = {"device": "cpu", "precision": "64-true", "max_steps": 6, "validate_every": 2, **settings}
        chosen.setdefault("model", {"cut_probability": 0.0})
        made = TrainSettings.model_validate(chosen)
        model = Watching(gradients)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        model.result = fit(model, feeds_of(datasets, made), made, folder)
        return model

    return run


def feeds_of(datasets: dict[str, xr.Dataset], settings: TrainSettings) -> dict[str, SessionFeed]:
    return feed_sessions(map(session_in_memory, datasets.values()), settings)


def test_steps_are_taken_in_training_mode_and_validated_in_evaluation_mode(watch):
    calls = watch().calls
    assert [c.is_training for c in calls] == [True, True, False] * 3
    assert all(c.has_gradient == c.is_training for c in calls)


def test_the_step_a_model_is_told_is_that_of_the_training(watch):
    calls = watch().calls
    assert [c.step for c in calls if c.is_training] == list(range(6))
    assert [c.step for c in calls if not c.is_training] == [2, 4, 6]


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_masks_of_the_settings_reach_every_step_and_no_validation(watch, share):
    # Standardised values are never exactly 0: what is 0 was hidden.
    calls = watch(masks={"coordinated_dropout": share}).calls
    for call in calls:
        if call.is_training:
            assert call.scored == pytest.approx(share, abs=0.08)
            assert call.shown == pytest.approx(1 - share, abs=0.08)
        else:
            assert (call.shown, call.scored) == (1.0, 1.0)


def test_a_share_of_the_steps_is_cut_and_validations_are_whole_and_cut_at_fixed_bins(watch):
    calls = watch(model={"cut_probability": 0.5}, max_steps=40, validate_every=20).calls
    shown = [c.n_shown for c in calls if c.is_training]
    assert 10 < sum(each is None for each in shown) < 30
    assert {each for each in shown if each is not None} <= set(range(2, 10))
    assert [c.n_shown for c in calls if not c.is_training] == [None, *fixed_cuts(10, 3)] * 2
    alone = watch(model={"cut_probability": 0.5}, validation_cuts=0).calls
    assert [c.n_shown for c in alone if not c.is_training] == [None] * 3


def test_samples_held_back_are_scored_by_themselves_in_validation(watch):
    calls = watch(masks={"sample_validation": 0.3}).calls
    trained = [c for c in calls if c.is_training]
    validated = [c for c in calls if not c.is_training]
    assert all(c.scored == pytest.approx(0.7, abs=0.08) for c in trained)
    # Twice each time: on all there is, and on what was held back.
    assert len(validated) == 2 * 3
    assert [round(c.scored, 1) for c in validated] == [1.0, 0.3] * 3


def test_a_share_of_the_units_counts_in_training_and_in_validation(watch):
    calls = watch(masks={"observed_share": 0.5}).calls
    # 3 of 6 units and 2 of 4; what is not known is not among what could be scored.
    assert all((c.shown, c.scored) == (1.0, 1.0) for c in calls)


def test_every_noise_is_of_the_seed_the_step_and_the_block(watch):
    one_block = {"batch": {"sessions_per_block": 1}}
    calls = watch(seed=7, **one_block).calls
    drawn = [c.noise for c in calls if c.is_training]
    assert drawn == [derived_seed(7, "noise", step, block) for step in range(6) for block in range(2)]
    fixed = [c.noise for c in calls if not c.is_training]
    assert fixed == [derived_seed(7, "validation", block) for block in range(2)] * 3
    other = watch(seed=8, **one_block).calls
    assert not {c.noise for c in calls} & {c.noise for c in other}


def test_the_seed_draws_the_trials_of_a_step_and_what_is_masked_once(watch):
    few = {"batch": {"trials_per_session": 1}}
    first = [[c.first for c in watch(seed=seed, **few).calls if c.is_training] for seed in (1, 1, 2)]
    assert first[0] == first[1] != first[2]
    once = {"masks": {"sample_validation": 0.5}, **few}
    held = [[c.scored for c in watch(seed=seed, **once).calls if not c.is_training] for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


def test_a_model_starts_from_the_mean_of_what_is_scored(watch, datasets):
    began = watch(signal="counts", standardise=False).began
    for name, dataset in datasets.items():
        trials = dataset["counts"].values[dataset["split"].values == "train"]
        assert began[name].tolist() == pytest.approx(trials.mean((0, 1)).tolist(), rel=1e-6)


def test_weights_decay_by_themselves_where_there_is_no_gradient(watch):
    """Decoupled: the decay is not scaled by the size of past gradients."""
    model = watch(optimiser={"lr": 0.1, "final_lr": 0.1, "weight_decay": 0.5}, max_steps=3, validate_every=3)
    kept = (1 - 0.1 * 0.5) ** 3
    assert (float(model.a), float(model.b)) == pytest.approx((2.0 * kept, -5.0 * kept), rel=1e-9)


def adamw(start: float, gradients: Sequence[float], rates: Sequence[float], decay: float) -> float:
    """Return where AdamW takes a weight: Loshchilov and Hutter 2019, algorithm 2."""
    weight, mean, square = start, 0.0, 0.0
    for number, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        step = (mean / (1 - 0.9**number)) / (math.sqrt(square / (1 - 0.999**number)) + 1e-8)
        weight = weight * (1 - rate * decay) - rate * step
    return weight


def test_a_step_is_that_of_adamw_with_the_rate_of_its_step_and_clipped_gradients(watch):
    gradients, clip = [3.0, -500.0, 2.0, 0.5, -1.0], 10.0
    options = {"lr": 0.02, "final_lr": 0.004, "warmup_steps": 2, "weight_decay": 0.3, "clip_norm": clip}
    model = watch(gradients, optimiser=options, max_steps=5, validate_every=5)
    # Two weights of the same gradient: the norm is √2 times it.
    taken = [g * min(1.0, clip / (math.sqrt(2) * abs(g) + 1e-6)) for g in gradients]
    fall = [0.004 + 0.016 * 0.5 * (1 + math.cos(math.pi * k / 3)) for k in range(3)]
    rates = [0.01, 0.02, *fall]
    assert float(model.a) == pytest.approx(adamw(2.0, taken, rates, 0.3), rel=1e-6)
    assert float(model.b) == pytest.approx(adamw(-5.0, [-g for g in taken], rates, 0.3), rel=1e-6)
    assert model.result.metrics["gradient_norm"] == pytest.approx(math.sqrt(2) * 1.0, rel=1e-6)


def test_batches_hold_as_many_trials_and_sessions_as_the_settings_say(watch):
    calls = watch(batch={"sessions_per_step": 1}).calls
    assert [len(c.sessions) for c in calls if c.is_training] == [1] * 6
    assert [len(c.sessions) for c in calls if not c.is_training] == [2] * 3
    blocks = watch(batch={"sessions_per_block": 1}).calls
    assert [c.sessions for c in blocks if c.is_training][:2] == [("sub-A_ses-1",), ("sub-B_ses-1",)]


@pytest.mark.parametrize("n_trials", [3, 5])
def test_a_step_holds_as_many_trials_of_each_session_as_the_settings_say(watch, n_trials):
    calls = watch(batch={"trials_per_session": n_trials}).calls
    assert {c.n_trials for c in calls if c.is_training} == {(n_trials, n_trials)}


def test_a_validation_that_is_no_better_counts_and_patience_ends_a_training(watch):
    model = watch(max_steps=50, validate_every=2, patience=4)
    # The loss of the watching model never changes: the first validation is the best.
    assert (model.result.steps, model.result.best_step, model.result.stopped) == (10, 2, "patience")
