"""The behaviour head: what is not known does not count, and sessions share it or have one each."""

from __future__ import annotations

import pytest
import torch

from nwb_latents.models.batching.cuts import cut_at
from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import compose, observe
from nwb_latents.models.interface import total_loss
from nwb_latents.models.parts.behaviour_head import BehaviourHead
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.mdssm import MDSSMSettings

SMALL = {"latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8}
UNITS = {"a": 4, "b": 3}


def settings_of(**more):
    return MDSSMSettings.model_validate({**SMALL, "behaviour_weight": 2.0, **more})


def batch_of(**behaviour):
    torch.manual_seed(0)
    rows = {"a": 5, "b": 3}
    return pack([
        TrialTensors(name, torch.randn(rows[name], 8, n), behaviour=behaviour.get(name))
        for name, n in UNITS.items()
    ])  # fmt: skip


def terms_of(output):
    return {term.name: term for term in output.terms}


def test_the_term_is_the_squared_error_of_what_is_known():
    known = torch.randn(5, 8, 2)
    known[1, 3] = float("nan")
    known[2, 4, 1] = float("nan")
    batch = batch_of(a=known)
    told = torch.randn(2, 5, 8, 2)
    term = BehaviourHead(settings_of(), n_sessions=2, width=3).term(told, batch)
    counted = torch.ones(5, 8)
    counted[1, 3] = counted[2, 4] = 0
    expected = ((told[0] - known.nan_to_num()).square().sum(-1) * counted).sum() / 5
    assert float(term.value) == pytest.approx(float(expected), rel=1e-6)
    assert term.weight(0) == 2.0


def test_sessions_without_velocity_and_padding_have_no_part_in_it():
    known = torch.randn(3, 8, 2)
    head = BehaviourHead(settings_of(), n_sessions=2, width=3)
    told = torch.randn(2, 5, 8, 2, requires_grad=True)
    head.term(told, batch_of(b=known)).value.backward()
    assert not told.grad[0].any()
    assert told.grad[1, :3].all()
    assert not told.grad[1, 3:].any()
    assert float(head.term(told, batch_of()).value) == 0


@pytest.mark.parametrize("kind", ["shared", "session"])
def test_its_gradient_reaches_the_states_of_bins_that_are_rolled_out(kind):
    model = build_model(settings_of(behaviour_head=kind), UNITS, seed=0)
    batch = batch_of(a=torch.randn(5, 8, 2), b=torch.randn(3, 8, 2))
    output = model(batch, compose(observe, cut_at(4))(batch, None, 0), 0, torch.Generator().manual_seed(0))
    terms_of(output)["velocity"].value.backward()
    of_dynamics = [p.grad for name, p in model.named_parameters() if name.startswith("dynamics")]
    assert of_dynamics
    assert all(grad is not None and grad.any() for grad in of_dynamics)
    assert output.velocity.shape == (2, 5, 8, 2)
    assert model.forecast(batch, 4, 3).velocity.shape == (2, 5, 3, 2)
    assert model.predict(batch).velocity.shape == (2, 5, 8, 2)


def test_without_weight_there_is_none_of_it():
    """Not a parameter more, and the same start as a model that never heard of it."""
    plain = build_model(settings_of(behaviour_weight=0.0), UNITS, seed=0)
    headed = build_model(settings_of(), UNITS, seed=0)
    own, other = plain.state_dict(), headed.state_dict()
    assert {name for name in other if name not in own} == {"behaviour.shared"}
    assert all(torch.equal(other[name], value) for name, value in own.items())
    batch = batch_of(a=torch.randn(5, 8, 2))
    output = plain(batch, observe(batch), 0, torch.Generator().manual_seed(0))
    assert "velocity" not in terms_of(output)
    assert output.velocity is None
    headed_loss = total_loss(headed(batch, observe(batch), 0, torch.Generator().manual_seed(0)), 0)
    assert headed_loss > total_loss(output, 0)


def test_a_shared_head_stays_as_it_is_when_sessions_are_aligned_and_one_of_their_own_is_trained():
    for kind, aligned in (("shared", set()), ("session", {"behaviour.own.blocks.1"})):
        model = build_model(settings_of(behaviour_head=kind), UNITS, seed=0)
        model.add_sessions({"c": 5})
        trained = {name for name in model.alignable_parameters(["c"]) if name.startswith("behaviour")}
        assert trained == aligned
        batch = pack([TrialTensors("c", torch.randn(2, 6, 5))])
        assert model.predict(batch).velocity.shape == (1, 2, 6, 2)


def test_a_forecast_is_handed_no_behaviour():
    assert batch_of(a=torch.randn(5, 8, 2)).first_bins(4).behaviour is None
