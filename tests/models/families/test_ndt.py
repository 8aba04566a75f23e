"""The neural data transformer against its equations, and the facts its users rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from nwb_latents.models.batching.masked_bins import mask_bins
from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import View, compose, observe
from nwb_latents.models.families.ndt import NDT
from nwb_latents.models.interface import total_loss
from nwb_latents.models.losses.schedules import linear_ramp
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.ndt import NDTSettings

UNITS = {"a": 5, "b": 3}
N_BINS = 9
SMALL = {
    "layers": 2,
    "hidden": 8,
    "max_bins": 20,
    "read_in": {"hidden": 6, "width": 4},
    "input_dropout": 0.0,
    "dropout": 0.0,
    "rate_dropout": 0.0,
    "mask": {"ratio": 0.3, "zero": 1.0},
}


def small(units: dict[str, int] | None = None, **changes: object) -> NDT:
    settings = NDTSettings.model_validate({**SMALL, **changes})
    model = build_model(settings, units or UNITS, seed=3).double()
    assert isinstance(model, NDT)
    return model


def batch_of(n_trials: dict[str, int], *, n_bins: int = N_BINS) -> Batch:
    source = torch.Generator().manual_seed(5)
    return pack([
        TrialTensors(
            name, torch.poisson(torch.full((n, n_bins, UNITS[name]), 0.8), generator=source).double()
        )
        for name, n in n_trials.items()
    ])  # fmt: skip


def masked(batch: Batch, change, *, seed: int = 0, step: int = 0) -> View:
    return compose(observe, change)(batch, torch.Generator().manual_seed(seed), step)


def test_padding_by_another_session_changes_nothing() -> None:
    model = small()
    both = batch_of({"a": 4, "b": 2})
    alone = pack([TrialTensors("b", both.y[1, :2, :, :3])])
    torch.testing.assert_close(model.predict(both).mean[1, :2, :, :3], model.predict(alone).mean[0])
    losses = [float(total_loss(model(b, observe(b)), 0).detach()) for b in (both, alone)]
    first = pack([TrialTensors("a", both.y[0])])
    losses.append(float(total_loss(model(first, observe(first)), 0).detach()))
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-12)


def test_only_masked_bins_are_scored_and_what_they_held_is_not_shown() -> None:
    model = small()
    batch = batch_of({"a": 4, "b": 2})
    view = masked(batch, mask_bins(0.3))
    hidden = view.weight.amax(3) > 0
    assert hidden.any()
    assert (view.x[hidden] == 0).all()
    other = batch.y.clone()
    other[hidden] += 3
    changed = replace(batch, y=other, target=batch.target)
    draws = [torch.Generator().manual_seed(0) for _ in range(2)]
    outputs = [model(b, observe(b), 0, draw) for b, draw in zip((batch, changed), draws, strict=True)]
    assert torch.equal(outputs[0].params, outputs[1].params)
    target = batch.target.clone().requires_grad_()
    live = replace(observe(batch), target=target)
    total_loss(model(batch, live, 0, torch.Generator().manual_seed(0)), 0).backward()
    assert target.grad is not None
    assert torch.equal(target.grad != 0, view.weight > 0)


def test_the_loss_is_the_mean_over_masked_elements() -> None:
    model = small()
    batch = batch_of({"a": 4})
    view = masked(batch, mask_bins(0.3))
    output = model(batch, observe(batch), 0, torch.Generator().manual_seed(0))
    elements = output.mean - batch.target * output.mean.log()
    assert float(output.terms[0].value.detach()) == pytest.approx(
        float(elements[view.weight > 0].mean().detach())
    )


def test_held_out_units_and_forward_bins_are_always_scored_and_never_shown() -> None:
    model = small({"a": 5})
    counts = torch.ones(3, N_BINS + 2, 5, dtype=torch.float64)
    y = counts[:, :N_BINS].clone()
    y[:, :, 3:] = float("nan")
    batch = pack([TrialTensors("a", y, target=counts)])
    view = masked(batch, mask_bins(0.3))
    assert (view.weight[:, :, N_BINS:] == 1).all()
    assert (view.weight[:, :, :, 3:] == 1).all()
    assert 0 < float(view.weight[:, :, :N_BINS, :3].mean()) < 1
    output = model(batch, observe(batch), 0, torch.Generator().manual_seed(0))
    assert output.mean.shape == (1, 3, N_BINS + 2, 5)
    assert model.predict(batch).mean.shape == (1, 3, N_BINS + 2, 5)


@pytest.mark.parametrize("span", [1, 2, 5])
def test_runs_of_masked_bins_are_at_least_as_long_as_asked_and_keep_the_share(span) -> None:
    y = torch.ones(3000, 30, 1)
    change = mask_bins(0.2, max_span=span)
    lengths = set()
    for seed in range(8):
        hidden = masked(pack([TrialTensors("a", y)]), change, seed=seed).weight[0, :, :, 0] > 0
        edges = hidden.int().diff(dim=1)
        first, last = (edges == 1).nonzero(), (edges == -1).nonzero()
        starts = {int(trial): int(t) for trial, t in reversed(first.tolist())}
        runs = [t - starts[trial] for trial, t in last.tolist() if trial in starts and t > starts[trial]]
        lengths.add(shortest := min(runs))
        expected = 1 - (1 - 0.2 / shortest) ** shortest
        assert float(hidden.float().mean()) == pytest.approx(expected, abs=0.01)
        by_bin = hidden.float().mean(0)
        assert float(by_bin.max() - by_bin.min()) < 0.06
    assert max(lengths) <= span
    assert span == 1 or len(lengths) > 1


def test_runs_come_with_the_ramp() -> None:
    y = torch.ones(400, 30, 1)
    change = mask_bins(0.2, max_span=7, expand=linear_ramp(10, 10))

    def shares(step: int) -> set[float]:
        return {
            round(float(masked(pack([TrialTensors("a", y)]), change, seed=seed, step=step).weight.mean()), 2)
            for seed in range(12)
        }

    assert min(shares(10)) > 0.19
    assert min(shares(20)) < 0.19


def test_masked_samples_are_zero_random_or_as_they_were_by_their_shares() -> None:
    counts = torch.full((500, 40, 10), 5.0)
    view = masked(pack([TrialTensors("a", counts)]), mask_bins(0.5, zero=0.6, random=0.25))
    inside = view.x[view.weight > 0]
    assert set(inside.unique().tolist()) == {0.0, 5.0}  # between 5 and 5 the only value is 5
    assert float((inside == 0).float().mean()) == pytest.approx(0.6, abs=0.01)
    counts[:, :, 0] = 0.0
    view = masked(pack([TrialTensors("a", counts)]), mask_bins(0.5, zero=0.6, random=0.25))
    inside = view.x[..., 1:][view.weight[..., 1:] > 0]
    shares = [float((inside == value).float().mean()) for value in range(6)]
    assert shares == pytest.approx([0.62, 0.02, 0.02, 0.02, 0.02, 0.3], abs=0.01)
    assert (view.x[view.weight == 0] == counts[None][view.weight == 0]).all()


def test_what_grows_with_the_step_does_not_outside_training() -> None:
    model = small(mask={"max_span": 5, "span_ramp_start": 100, "zero": 1.0})
    model.eval()
    batch = batch_of({"a": 4, "b": 2})
    losses = {
        float(total_loss(model(batch, observe(batch), step, torch.Generator().manual_seed(2)), step).detach())
        for step in (0, 120, 10**9)
    }
    assert len(losses) == 1


def test_dropout_is_drawn_in_training_only() -> None:
    model = small(dropout=0.3)
    batch = batch_of({"a": 4})

    def run() -> torch.Tensor:
        return model(batch, observe(batch), 0, torch.Generator().manual_seed(4)).mean

    trained = run()
    model.eval()
    scored = run()
    model.encoder.layer_dropout = 0.0
    assert torch.equal(scored, run())
    model.train()
    assert torch.equal(scored, run())
    assert not torch.equal(scored, trained)


@pytest.mark.parametrize("t0", [1, 6])
def test_a_forecast_reads_no_bin_it_is_asked_for(t0: int) -> None:
    model = small()
    batch = batch_of({"a": 4, "b": 4})
    later = batch.y.clone()
    later[:, :, t0:] += 1
    found = model.forecast(batch, t0, 5).mean
    assert found.shape[2] == 5
    assert torch.equal(found, model.forecast(replace(batch, y=later), t0, 5).mean)
    earlier = batch.y.clone()
    earlier[:, :, t0 - 1] += 1
    assert not torch.equal(found, model.forecast(replace(batch, y=earlier), t0, 5).mean)


def test_alignment_trains_what_belongs_to_the_new_session() -> None:
    known, new = small(), small({"c": 4})
    new.start_aligned(known.state_dict())
    own = new.alignable_parameters(["c"])
    assert own == {"read_in.weight.blocks.0", "read_in.bias.blocks.0", "read_out.weight.blocks.0",
                   "read_out.bias.blocks.0"}  # fmt: skip
    for name, value in new.state_dict().items():
        if name not in own:
            assert torch.equal(value, known.state_dict()[name])


def test_heads_that_cannot_share_the_width_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"Set read_in\.width to 6"):
        NDTSettings.model_validate({"heads": 3, "read_in": {"width": 4}})
