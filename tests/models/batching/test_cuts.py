"""Cut trials: no model is shown a bin after the cut, and every model scores these bins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from small_models import SMALL

from nwb_latents.models.batching.cuts import cut_at, cut_some, fixed_cuts
from nwb_latents.models.batching.shown_input import ShownSmoothing
from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import compose, coordinated_dropout, encoder_input, observe
from nwb_latents.models.interface import total_loss
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.models import model_settings
from nwb_latents.schemas.registry import MODELS

if TYPE_CHECKING:
    from nwb_latents.models.interface import Model

UNITS, N_BINS, CUT = {"a": 5, "b": 3}, 12, 7
ALL = [*MODELS, "hnet: units"]
SMOOTHING = ShownSmoothing(1.25)


def built(name: str) -> Model:
    """Return a small model in double precision, away from every 0 it starts with."""
    name, _, observed = name.partition(": ")
    kind = model_settings(name)
    changes = {**SMALL.get(name, {}), **({"observed": observed, "start_bins": 1} if observed else {})}
    if "horizon_every" in kind.model_fields:  # whole trials from the start
        changes["horizon_every"] = 0
    units = dict.fromkeys(UNITS, 4) if observed else UNITS
    model = build_model(kind.model_validate(changes), units, seed=0).double()
    torch.manual_seed(1)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.05 * torch.randn_like(each))
    return model


def batch_for(name: str) -> Batch:
    units = dict.fromkeys(UNITS, 4) if name.endswith("units") else UNITS
    drawn = torch.Generator().manual_seed(2)
    counts = {n: torch.poisson(torch.full((4, N_BINS, k), 1.5), drawn).double() for n, k in units.items()}
    return pack([TrialTensors(n, each, smoothing=SMOOTHING) for n, each in counts.items()])


@pytest.mark.parametrize("name", ALL)
def test_bins_after_a_cut_are_scored_and_not_shown(name: str) -> None:
    """Changed after the cut, the loss is another; what the model makes of the bins it was shown is not."""
    model, batch = built(name).eval(), batch_for(name)
    later = batch.y.clone()
    later[:, :, CUT:] += 2.0
    # Targets as they were: what is shown is all that differs.
    shown = replace(batch, y=later)
    view = compose(observe, cut_at(CUT))

    def mean(of: Batch) -> torch.Tensor:
        return model(of, view(of, None, 0), 10**9).mean

    assert torch.equal(mean(batch), mean(shown))
    assert not torch.equal(mean(batch), model(shown, observe(shown), 10**9).mean)
    scored = replace(batch, target=later)
    losses = [float(total_loss(model(of, view(of, None, 0), 10**9), 0).detach()) for of in (batch, scored)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("name", [each for each in ALL if each != "gnocchi"])
def test_a_cut_trial_is_trained_as_it_will_be_forecast(name: str) -> None:
    """Along posterior means, what is scored after the cut is the forecast, number by number."""
    model, batch = built(name).eval(), batch_for(name)
    output = model(batch, compose(observe, cut_at(CUT))(batch, None, 0), 10**9)
    ahead = model.forecast(batch, CUT, N_BINS - CUT)
    torch.testing.assert_close(output.mean[:, :, -(N_BINS - CUT) :], ahead.mean, rtol=1e-9, atol=1e-12)


def test_the_code_of_a_cut_trial_is_that_of_its_forecast() -> None:
    """A diffusion model has no other forecast than the trials of a code."""
    model, batch = built("gnocchi").eval(), batch_for("gnocchi")
    output = model(batch, compose(observe, cut_at(CUT))(batch, None, 0), 10**9)
    torch.testing.assert_close(output.aux["code"], model.forecast(batch, CUT, 2).aux["code"])


def test_cuts_are_drawn_from_a_quarter_of_the_trial_to_its_last_bin() -> None:
    batch = batch_for("mdssm")
    draw = compose(observe, cut_some(1.0))
    shown = [draw(batch, torch.Generator().manual_seed(seed), 0).n_shown for seed in range(60)]
    assert (min(shown), max(shown)) == (N_BINS // 4, N_BINS - 1)
    half = compose(observe, cut_some(0.5))
    drawn = [half(batch, torch.Generator().manual_seed(seed), 0).n_shown for seed in range(200)]
    assert 70 < sum(each is None for each in drawn) < 130
    assert draw(batch, None, 0).n_shown is None


def test_no_cut_draws_no_random_number() -> None:
    batch = batch_for("mdssm")
    mine, other = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    view = compose(observe, cut_some(0.0))(batch, mine, 0)
    assert view.n_shown is None
    assert torch.equal(mine.get_state(), other.get_state())


def test_what_is_shown_before_a_cut_is_smoothed_from_itself() -> None:
    batch = batch_for("mdssm")
    view = compose(observe, cut_at(CUT))(batch, None, 0)
    assert torch.equal(view.x, encoder_input(batch, CUT))
    assert not torch.equal(view.x, observe(batch).x[:, :, :CUT])


def test_bins_after_a_cut_drive_the_gradient_whatever_another_mask_says() -> None:
    batch = batch_for("lfads")
    view = compose(observe, coordinated_dropout(0.3), cut_at(CUT))(batch, torch.Generator().manual_seed(0), 0)
    assert view.sg is not None
    recorded = observe(batch).weight
    assert torch.equal(view.weight[:, :, CUT:], recorded[:, :, CUT:])
    assert not view.sg[:, :, CUT:].any()
    assert view.sg[:, :, :CUT].any()
    assert torch.equal((view.weight + view.sg)[:, :, :CUT], recorded[:, :, :CUT])


@pytest.mark.parametrize("n_bins", [3, 4, 7, 36])
@pytest.mark.parametrize("n_cuts", [0, 1, 3, 50])
def test_fixed_cuts_are_cuts_that_training_draws(n_bins: int, n_cuts: int) -> None:
    cuts = fixed_cuts(n_bins, n_cuts)
    assert len(set(cuts)) == len(cuts) <= n_cuts
    assert all(n_bins // 4 <= each < n_bins for each in cuts)
    assert bool(cuts) == (n_bins >= 4 and n_cuts > 0)
