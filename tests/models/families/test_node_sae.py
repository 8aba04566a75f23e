"""The neural ODE autoencoder against its equations, and the facts its users rely on."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.families.node_sae import NODESAE
from nwb_latents.models.interface import total_loss
from nwb_latents.models.parts.dynamics import RK4, Euler, MLPMap
from nwb_latents.models.parts.fixed_points import find_fixed_points
from nwb_latents.models.parts.rollout import rollout
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.training.model_building import built_model
from nwb_latents.schemas.node_sae import NODESAESettings

UNITS = {"a": 5, "b": 3}
N_BINS = 9
SMALL = {
    "field_width": 8,
    "encoder_dim": 6,
    "dropout": 0.0,
    "read_in": {"hidden": 4, "width": 3},
}
DYNAMICS = ["node_euler", "node_rk4", "gru"]


def small(units: dict[str, int] | None = None, **changes: object) -> NODESAE:
    settings = NODESAESettings.model_validate({**SMALL, **changes})
    model = build_model(settings, units or UNITS, seed=3).double()
    assert isinstance(model, NODESAE)
    return model


def batch_of(n_trials: dict[str, int], *, n_bins: int = N_BINS) -> Batch:
    source = torch.Generator().manual_seed(5)
    return pack([
        TrialTensors(name, torch.randn(n, n_bins, UNITS[name], generator=source, dtype=torch.float64).abs())
        for name, n in n_trials.items()
    ])  # fmt: skip


class Decay(torch.nn.Module):
    """``−z``, whose flow is known."""

    def forward(self, z: torch.Tensor, inp: object, weights: object) -> torch.Tensor:
        return -z


def test_the_solvers_have_the_order_they_are_named_for() -> None:
    z0 = torch.ones(1, 1, 1, dtype=torch.float64)
    errors: dict[type, list[float]] = {Euler: [], RK4: []}
    for kind, found in errors.items():
        for n in (10, 20):
            path = rollout(kind(Decay(), 1 / n), z0, n + 1).z
            found.append(abs(float(path[0, 0, -1, 0]) - np.exp(-1)))
    assert errors[Euler][0] / errors[Euler][1] == pytest.approx(2, rel=0.1)
    assert errors[RK4][0] / errors[RK4][1] == pytest.approx(16, rel=0.1)


def test_euler_of_a_field_is_the_residual_map() -> None:
    torch.manual_seed(0)
    field = MLPMap(3, 8, residual=False, hidden_layers=1)
    twin = MLPMap(3, 8, residual=True, hidden_layers=1, step=0.1)
    twin.load_state_dict(field.state_dict())
    z = torch.randn(1, 4, 3)
    torch.testing.assert_close(Euler(field, 0.1)(z, None, None), twin(z, None, None))


def test_the_adaptive_solver_agrees_with_fine_runge_kutta_steps() -> None:
    pytest.importorskip("torchdiffeq")
    fine, solved = small(dynamics="node_rk4"), small(dynamics="node_adaptive", tolerance=1e-8)
    solved.load_state_dict(fine.state_dict())
    batch = batch_of({"a": 4, "b": 2})
    torch.testing.assert_close(solved.predict(batch).latents, fine.predict(batch).latents, atol=1e-6, rtol=0)
    z = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(solved.step(z), fine.step(z), atol=1e-6, rtol=0)
    loss = total_loss(solved(batch, observe(batch), 10**9), 10**9)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in solved.parameters())


def test_the_adaptive_solver_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    settings = NODESAESettings(dynamics="node_adaptive")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'nwb-latents\[ode\]'"):
        build_model(settings, UNITS, seed=0)
    with pytest.raises(MachineError, match="model node_sae: the package torchdiffeq is not installed"):
        built_model(settings, UNITS, seed=0)


def test_rates_are_the_equations_written_out() -> None:
    model = small()
    batch = batch_of({"a": 4, "b": 2})
    made = model.predict(batch)
    p = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    z = made.latents[1, :, 0].detach().numpy()
    for t in range(N_BINS):
        np.testing.assert_allclose(made.latents[1, :, t].detach().numpy(), z, atol=1e-12)
        log_rates = z @ p["read_out.weight.blocks.0"][1, :3, 0].T + p["read_out.bias.blocks.0"][1, :3, 0]
        np.testing.assert_allclose(made.mean[1, :, t, :3].detach().numpy(), np.exp(log_rates), rtol=1e-9)
        hidden = np.tanh(z @ p["dynamics.field.layers.0.weight"].T + p["dynamics.field.layers.0.bias"])
        z = z + 0.1 * (hidden @ p["dynamics.field.layers.1.weight"].T + p["dynamics.field.layers.1.bias"])


def test_the_loop_of_the_gated_unit_is_the_rollout() -> None:
    model = small(dynamics="gru")
    states = model.predict(batch_of({"a": 4, "b": 2})).latents
    torch.testing.assert_close(rollout(model.dynamics, states[:, :, 0], N_BINS).z, states)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_padding_by_another_session_changes_nothing(dynamics: str) -> None:
    model = small(dynamics=dynamics)
    both = batch_of({"a": 4, "b": 2})
    alone = pack([TrialTensors("b", both.y[1, :2, :, :3])])
    torch.testing.assert_close(model.predict(both).mean[1, :2, :, :3], model.predict(alone).mean[0])
    losses = [float(total_loss(model(b, observe(b), 10**9), 10**9).detach()) for b in (both, alone)]
    first = pack([TrialTensors("a", both.y[0])])
    losses.append(float(total_loss(model(first, observe(first), 10**9), 10**9).detach()))
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-12)


@pytest.mark.parametrize("t0", [1, 2, 6])
def test_a_forecast_reads_no_bin_it_is_asked_for(t0: int) -> None:
    model = small()
    batch = batch_of({"a": 4, "b": 4})
    later = batch.y.clone()
    later[:, :, t0:] += 1
    found = model.forecast(batch, t0, 5).mean
    assert found.shape[2] == 5
    assert torch.equal(found, model.forecast(replace(batch, y=later), t0, 5).mean)
    earlier = batch.y.clone()
    earlier[:, :, 0] += 1
    assert not torch.equal(found, model.forecast(replace(batch, y=earlier), t0, 5).mean)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_forecast_goes_on_where_the_reconstruction_of_the_seen_bins_ends(dynamics: str) -> None:
    model = small(dynamics=dynamics)
    batch = batch_of({"a": 3})
    seen = pack([TrialTensors("a", batch.y[0, :, :5])])
    last = model.predict(seen).latents[:, :, -1]
    ahead = model.forecast(batch, 5, 4).latents
    torch.testing.assert_close(ahead, rollout(model.dynamics, last, 5).z[:, :, 1:])


def test_the_scored_part_of_the_trial_grows_and_the_encoder_sees_all_of_it() -> None:
    model = small(horizon_block=3, horizon_every=10)
    batch = batch_of({"a": 4, "b": 4})
    for step, n_scored in ((0, 3), (9, 3), (10, 6), (25, 9), (10**9, 9)):
        x = observe(batch).x.clone().requires_grad_()
        target = batch.target.clone().requires_grad_()
        view = replace(observe(batch), samples=x, target=target)
        total_loss(model(batch, view, step), step).backward()
        assert target.grad is not None
        assert x.grad is not None
        touched = target.grad.abs().sum((0, 1, 3)) > 0
        assert touched.tolist() == [t < n_scored for t in range(N_BINS)]
        assert bool((x.grad.abs().sum((0, 1, 3)) > 0).all())
    model.eval()
    assert model(batch, observe(batch), 0).mean.shape[2] == N_BINS


def test_bins_after_those_shown_are_scored() -> None:
    model = small()
    batch = batch_of({"a": 4, "b": 2})
    shown = replace(batch, y=batch.y[:, :, :6])
    assert model(shown, observe(shown), 10**9).mean.shape[2] == N_BINS
    torch.testing.assert_close(model.predict(shown).mean[:, :, 6:], model.forecast(batch, 6, 3).mean)


def test_dropout_is_drawn_in_training_only() -> None:
    model = small(dropout=0.5)
    batch = batch_of({"a": 4, "b": 4})

    def run(seed: int) -> torch.Tensor:
        return model(batch, observe(batch), 10**9, torch.Generator().manual_seed(seed)).mean

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    model.eval()
    assert torch.equal(run(0), run(1))


def test_alignment_trains_what_belongs_to_the_new_session() -> None:
    known, new = small(), small({"c": 7})
    new.start_aligned(known.state_dict())
    own = new.alignable_parameters(["c"])
    assert own == {
        f"{part}.{what}.blocks.0" for part in ("read_in", "read_out") for what in ("weight", "bias")
    }
    for name, value in new.state_dict().items():
        if name not in own:
            assert torch.equal(value, known.state_dict()[name]), name


def test_fixed_points_of_a_model_are_those_of_its_field() -> None:
    model = small(bin_time=0.3)
    with torch.no_grad():
        for layer in model.dynamics.field.linears():
            layer.weight.mul_(3)
    points = find_fixed_points(
        model.step, 2 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    )
    assert len(points.states)
    speed = model.dynamics.field(points.states[None], None, None)
    torch.testing.assert_close(speed, torch.zeros_like(speed), atol=1e-5, rtol=0)
