"""Masks: what is hidden has no influence, what is scored has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import (
    compose,
    coordinated_dropout,
    encoder_input,
    masked_mean,
    observe,
    weighted,
)
from nwb_latents.models.interface import total_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.models.families.mdssm import MDSSM


def test_missing_samples_are_zero_in_the_input_and_not_scored() -> None:
    y = torch.ones(2, 3, 2)
    y[1, 2, 0] = float("nan")
    view = observe(pack([TrialTensors("a", y)]))
    assert view.x[0, 1, 2].tolist() == [0.0, 1.0]
    assert view.weight[0, 1, 2].tolist() == [0.0, 1.0]
    assert view.weight.sum() == 11


def test_the_encoder_input_alone_is_that_of_observe() -> None:
    y = torch.tensor([1.0, torch.nan, torch.inf, -torch.inf, -2.0, 0.0]).reshape(1, 2, 3)
    longer = TrialTensors("b", torch.ones(3, 2, 4), target=torch.ones(3, 5, 6))
    for trials in (
        [TrialTensors("a", y)],
        [TrialTensors("a", y), TrialTensors("b", torch.ones(3, 2, 4))],
        [TrialTensors("a", y, target=torch.zeros(1, 5, 4)), longer],
    ):
        batch = pack(trials)
        torch.testing.assert_close(encoder_input(batch), observe(batch).x, rtol=0, atol=0)


def test_missing_samples_leave_a_finite_gradient(small: Callable[..., MDSSM], batch: Batch) -> None:
    batch.y[0, 1, 3:7] = float("nan")
    model = small()
    total_loss(model(batch, observe(batch), 0, torch.Generator().manual_seed(0)), 0).backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_coordinated_dropout_never_lets_an_element_teach_its_own_output(batch: Batch) -> None:
    x = batch.y.clone().requires_grad_()
    live = Batch(**{**batch.__dict__, "y": x, "target": batch.y})
    view = compose(observe, coordinated_dropout(0.4))(live, torch.Generator().manual_seed(0), 0)
    # The identity is the worst copier there is: output (b,t,n) is input (b,t,n).
    loss = weighted((view.x - view.target.detach()).square(), view)
    (grad,) = torch.autograd.grad(loss.sum(), x)
    assert torch.equal(grad, torch.zeros_like(grad))
    assert (view.weight > 0).any()
    assert ((view.weight + view.sg) == batch.real().double()).all()


def test_elements_that_only_count_in_the_value_have_no_gradient() -> None:
    nll = torch.tensor([[[[2.0, 4.0]]]], requires_grad=True)
    one = torch.tensor([[[[1.0, 0.0]]]])
    view = observe(pack([TrialTensors("a", torch.ones(1, 1, 2))]))
    view = replace(view, weight=one, sg=1 - one)
    mean = masked_mean(nll, view)
    mean.backward()
    assert mean == 3.0
    assert nll.grad.flatten().tolist() == [0.5, 0.0]
