"""Packing and drawing of trials."""

from __future__ import annotations

import pytest
import torch

from nwb_latents.models.batching.draws import BatchPlan, draw_batches
from nwb_latents.models.batching.tensors import TrialTensors, pack


def test_a_draw_depends_on_seed_and_step_only(trials: dict[str, TrialTensors]) -> None:
    plan = BatchPlan(per_session=2, sessions_per_step=2)
    (first,) = draw_batches(trials, plan, seed=3, step=5)
    draw_batches(trials, plan, seed=3, step=6)
    shuffled = dict(reversed(trials.items()))
    (again,) = draw_batches(shuffled, plan, seed=3, step=5)
    assert first.sessions == again.sessions
    assert torch.equal(first.y, again.y)
    others = [draw_batches(trials, plan, seed=3, step=step)[0] for step in range(8)]
    assert len({float(other.y.sum()) for other in others}) > 4


def test_trials_of_a_step_are_distinct_and_come_from_their_session() -> None:
    data = {
        "a": TrialTensors("a", torch.arange(10.0).reshape(10, 1, 1)),
        "b": TrialTensors("b", torch.full((1, 1, 1), 99.0)),
    }
    (batch,) = draw_batches(data, BatchPlan(per_session=6), seed=0, step=0)
    drawn = batch.y[0].flatten().tolist()
    assert len(set(drawn)) == 6
    assert set(drawn) <= set(range(10))
    assert batch.y[1, 0].item() == 99
    assert batch.trial_mask.sum(1).tolist() == [6, 1]


def test_total_is_shared_out_over_sessions(trials: dict[str, TrialTensors]) -> None:
    (batch,) = draw_batches(trials, BatchPlan(total=6), seed=0, step=0)
    assert batch.trial_mask.sum(1).tolist() == [2, 2, 2]


def test_sessions_of_unequal_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="equal bins"):
        pack([TrialTensors("a", torch.zeros(1, 3, 2)), TrialTensors("b", torch.zeros(1, 4, 2))])
    with pytest.raises(ValueError, match="no session"):
        pack([])
