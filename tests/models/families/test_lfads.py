"""LFADS against its equations written out, and the facts its users rely on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.families.lfads import LFADS
from nwb_latents.models.interface import total_loss
from nwb_latents.models.parts.distributions import DiagGaussian
from nwb_latents.models.parts.priors import AR1, EachBin, PriorContext, StudentT
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.lfads import LFADSSettings

if TYPE_CHECKING:
    from torch import Tensor

UNITS = {"a": 5, "b": 3}
N_BINS = 7
SMALL = {
    "generator_dim": 6,
    "ic_dim": 4,
    "factor_dim": 3,
    "encoder_dim": 5,
    "controller_dim": 4,
    "input_dim": 2,
    "read_in": {"hidden": 4, "width": 4},
}


def small(**changes: object) -> LFADS:
    model = build_model(LFADSSettings.model_validate({**SMALL, **changes}), UNITS, seed=3).double()
    assert isinstance(model, LFADS)
    return model.eval()


def trials(n: dict[str, int] | None = None, *, n_bins: int = N_BINS, ext: int = 0) -> list[TrialTensors]:
    source = torch.Generator().manual_seed(5)
    made = []
    for name, count in (n or {"a": 4, "b": 2}).items():
        y = torch.poisson(torch.full((count, n_bins, UNITS[name]), 0.8), generator=source).double()
        known = torch.randn(count, n_bins, ext, generator=source, dtype=torch.float64) if ext else None
        made.append(TrialTensors(name, y, ext=known))
    return made


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def naive_gru(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> Tensor:
    """Return the next state of the LFADS cell: reset ahead of the product, clipped to ±5."""
    H = len(h)
    r = torch.sigmoid(w_ih[:H] @ x + w_hh[:H] @ h + bias[:H])
    z = torch.sigmoid(w_ih[H : 2 * H] @ x + w_hh[H : 2 * H] @ h + bias[H : 2 * H])
    c = torch.tanh(w_ih[2 * H :] @ x + w_hh[2 * H :] @ (r * h) + bias[2 * H :])
    return (z * h + (1 - z) * c).clamp(-5, 5)


def naive_trial(model: LFADS, y: Tensor, row: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log rates, inputs, and moments of q(g_0) of one trial, at the posterior means."""
    p = {name: value.detach() for name, value in model.state_dict().items()}
    hidden = y @ p["read_in.weight.blocks.0"][row, : y.shape[1]] + p["read_in.bias.blocks.0"][row]
    x = hidden @ p["read_in.head.weight"].T + p["read_in.head.bias"]
    T = len(x)

    def encode(name: str, direction: int) -> list[Tensor]:
        w_ih, w_hh = p[f"{name}.gru.w_ih"][direction], p[f"{name}.gru.w_hh"][direction]
        bias = (p[f"{name}.gru.b_ih"] + p[f"{name}.gru.b_hh"])[direction]
        h, states = p[f"{name}.start"][direction, 0], []
        for t in range(T) if direction == 0 else reversed(range(T)):
            h = naive_gru(x[t], h, w_ih, w_hh, bias)
            states.append(h)
        return states if direction == 0 else states[::-1]

    e = torch.cat([encode("ic_encoder", 0)[-1], encode("ic_encoder", 1)[0]])
    mean = p["ic_mean.weight"] @ e + p["ic_mean.bias"]
    var = (p["ic_log_variance.weight"] @ e + p["ic_log_variance.bias"]).exp() + 1e-4
    h = p["decoder.start.weight"] @ mean + p["decoder.start.bias"]
    forward, backward = encode("controller_encoder", 0), encode("controller_encoder", 1)
    nothing = torch.zeros_like(forward[0])
    rows = p["decoder.read"] / p["decoder.read"].norm(dim=1, keepdim=True)
    k, rates, inputs = p["decoder.controller_start"], [], []
    for t in range(T):
        past = forward[t - 1] if t else nothing
        future = backward[t + 1] if t + 1 < T else nothing
        k = naive_gru(
            torch.cat([past, future, rows @ h]), k,
            p["decoder.controller.w_ih"][0], p["decoder.controller.w_hh"][0],
            (p["decoder.controller.b_ih"] + p["decoder.controller.b_hh"])[0],
        )  # fmt: skip
        u = p["decoder.input_mean.weight"] @ k
        g = "decoder.generator.gru."
        h = naive_gru(u, h, p[g + "w_ih"][0], p[g + "w_hh"][0], (p[g + "b_ih"] + p[g + "b_hh"])[0])
        n = y.shape[1]
        weight, bias = p["read_out.weight.blocks.0"][row, :n, 0], p["read_out.bias.blocks.0"][row, :n, 0]
        rates.append(weight @ rows @ h + bias)
        inputs.append(u)
    return torch.stack(rates), torch.stack(inputs), mean, var


def test_the_model_is_its_equations_written_out() -> None:
    model = small()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and starts are 0 at first and would hide a mistake
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng(1), dtype=torch.float64))
    data = trials()
    output = model.predict(pack(data))
    for row, session in enumerate(data):
        for trial, y in enumerate(session.y):
            rates, inputs, mean, var = naive_trial(model, y, row)
            assert torch.allclose(output.params[row, trial, :, : y.shape[1]], rates, atol=1e-12)
            assert torch.allclose(output.aux["inputs"][row, trial], inputs, atol=1e-12)
            assert torch.allclose(output.aux["ic_mean"][row, trial], mean, atol=1e-12)
            assert torch.allclose(output.aux["ic_var"][row, trial], var, atol=1e-12)


def test_the_loss_is_the_bound_written_out() -> None:
    model = small(l2_generator=50.0, l2_controller=20.0)
    (session,) = trials({"a": 4})
    batch = pack([session])
    output = model(batch, observe(batch), 100, rng())
    terms = {term.name: term for term in output.terms}
    rates, y = output.params[0], session.y
    assert torch.allclose(terms["nll"].value, (rates.exp() - y * rates).sum() / 4)
    mean, var = output.aux["ic_mean"][0], output.aux["ic_var"][0]
    prior_mean = model.state_dict()["ic_prior.mean"]
    kl = 0.5 * (torch.log(0.1 / var) + (var + (mean - prior_mean) ** 2) / 0.1 - 1).sum() / 4
    assert torch.allclose(terms["kl_initial"].value, kl, atol=1e-6)
    generator, controller = model.decoder.generator.gru.w_hh, model.decoder.controller.w_hh
    l2 = 0.5 * 50 * generator.square().sum() / generator.numel()
    l2 += 0.5 * 20 * controller.square().sum() / controller.numel()
    assert torch.allclose(terms["l2"].value, l2)
    assert [terms[name].weight(100) for name in ("kl_initial", "kl_input", "l2")] == [0.25] * 3
    assert terms["kl_input"].weight(10**9) == 1.0


def test_rows_of_the_factor_matrix_have_unit_norm() -> None:
    model = small()
    columns = model.decoder.factors(torch.eye(6, dtype=torch.float64))
    assert torch.allclose(columns.norm(dim=0), torch.ones(3, dtype=torch.float64))


def test_kl_of_independent_inputs_to_the_autoregressive_prior() -> None:
    """Posterior N(0, stationary variance), independent in time: 3.6627 nats for each bin but the first."""
    for variance in (0.1, 2.0):
        prior = AR1(1, tau=10.0, variance=variance)
        stationary = variance / (1 - torch.exp(torch.tensor(-0.2)))
        shape = (200_000, 2, 1)
        q = DiagGaussian(torch.zeros(shape), stationary.expand(shape))
        sample = q.rsample(rng())
        per_bin = (q.log_prob(sample) - prior.log_prob(sample)).mean(0).detach()
        alpha2 = torch.exp(torch.tensor(-0.2))
        analytic = 0.5 * (torch.log(1 - alpha2) + (1 + alpha2) / (1 - alpha2) - 1)
        assert float(analytic) == pytest.approx(3.6627, abs=1e-4)
        assert float(per_bin[0]) == pytest.approx(0, abs=1e-4)
        assert float(per_bin[1]) == pytest.approx(float(analytic), abs=0.06)
        penalty = prior.penalty(q, sample, PriorContext()).mean().detach()
        assert float(penalty) == pytest.approx(float(per_bin.sum()), abs=1e-3)


def test_an_autoregressive_prior_is_a_gaussian_with_its_covariance() -> None:
    prior = AR1(2, tau=4.0, variance=0.3).double()
    sample = torch.randn(3, 5, 2, generator=rng(), dtype=torch.float64)
    alpha = torch.exp(torch.tensor(-0.25, dtype=torch.float64))
    lags = (torch.arange(5)[:, None] - torch.arange(5)).abs()
    covariance = 0.3 / (1 - alpha**2) * alpha**lags
    whole = torch.distributions.MultivariateNormal(torch.zeros(5, dtype=torch.float64), covariance)
    expected = whole.log_prob(sample.transpose(1, 2)).sum(-1)
    assert torch.allclose(prior.log_prob(sample).sum(-1), expected)


def test_student_t_density_is_that_of_torch() -> None:
    prior = StudentT(2, df=5.0, scale=0.3).double()
    sample = torch.randn(4, 2, generator=rng(), dtype=torch.float64)
    reference = torch.distributions.StudentT(5.0, 0.0, torch.tensor(0.3, dtype=torch.float64))
    assert torch.allclose(prior.log_prob(sample), reference.log_prob(sample).sum(-1))


@pytest.mark.parametrize("prior", [AR1(1), EachBin(StudentT(1))])
def test_bins_without_weight_are_free(prior: AR1 | EachBin) -> None:
    q = DiagGaussian(torch.zeros(2, 4, 1), torch.ones(2, 4, 1))
    weight = torch.tensor([1.0, 1.0, 0.0, 0.0])
    sample = torch.randn(2, 4, 1, generator=rng())
    ctx = PriorContext(weight=weight)
    shorter = DiagGaussian(q.mean[:, :2], q.var[:, :2])
    expected = prior.penalty(shorter, sample[:, :2], PriorContext())
    assert torch.allclose(prior.penalty(q, sample, ctx), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"controller_dim": 0},
        {"input_dim": 0, "external_inputs": 2},
        {"external_inputs": 2},
        {"causal_controller": True},
        {"input_prior": "student_t", "likelihood": "gamma"},
        {"input_prior": "normal", "likelihood": "zero_inflated_gamma"},
        {"ic_prior": "none", "input_prior": "none", "likelihood": "mse"},
    ],
    ids=str,
)
def test_every_learnt_part_gets_a_gradient(changes: dict[str, object]) -> None:
    model = small(**changes, l2_controller=1.0).train()
    batch = pack(trials(ext=2 if "external_inputs" in changes else 0))
    output = model(batch, observe(batch), 10, rng())
    total_loss(output, 10).backward()
    idle = [
        name for name, p in model.named_parameters()
        if p.requires_grad and p.numel() and (p.grad is None or not p.grad.any())
    ]  # fmt: skip
    assert not idle
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_padding_of_sessions_changes_nothing() -> None:
    model, data = small(), trials()
    together = model.predict(pack(data))
    for row, session in enumerate(data):
        alone = model.predict(pack([session]))
        n, _, units = session.y.shape
        assert torch.allclose(together.mean[row, :n, :, :units], alone.mean[0], atol=1e-13)
    both = pack(data)
    one_by_one = sum(total_loss(model(b, observe(b), 9), 9) for b in (pack([s]) for s in data))
    assert torch.allclose(total_loss(model(both, observe(both), 9), 9), one_by_one)


def test_order_of_trials_does_not_matter() -> None:
    model = small()
    (session,) = trials({"a": 4})
    order = torch.tensor([2, 0, 3, 1])
    straight = model.predict(pack([session])).mean[0]
    assert torch.allclose(model.predict(pack([session.select(order)])).mean[0], straight[order], atol=1e-14)


@pytest.mark.parametrize("changes", [{}, {"controller_dim": 0}, {"external_inputs": 2}], ids=str)
def test_posterior_averaging_is_the_mean_of_single_passes(changes, monkeypatch) -> None:
    model = small(**changes)
    batch = pack(trials(ext=changes.get("external_inputs", 0)))
    noise = rng(7)
    singles = [model.predict(batch, n_samples=1, generator=noise) for _ in range(6)]
    for values in (1 << 24, 1):  # all at once, one by one
        monkeypatch.setattr("nwb_latents.models.families.lfads.SAMPLED_VALUES", values)
        averaged = model.predict(batch, n_samples=6, generator=rng(7))
        for name in ("mean", "factors", "latents", "params"):
            expected = torch.stack([getattr(single, name) for single in singles]).mean(0)
            assert torch.allclose(getattr(averaged, name), expected, atol=1e-12), name
    assert not torch.allclose(averaged.mean, model.predict(batch).mean, atol=1e-6)


def test_the_encoders_run_once_for_all_samples() -> None:
    model, calls = small(), []
    model.read_in.register_forward_hook(lambda *_: calls.append(1))
    model.predict(pack(trials()), n_samples=20, generator=rng())
    assert calls == [1]


def test_dropout_acts_in_training_only() -> None:
    model = small(dropout=0.4)
    batch = pack(trials())
    once = model(batch, observe(batch), 0, rng())
    assert torch.equal(once.params, small(dropout=0.0)(batch, observe(batch), 0, rng()).params)
    model.train()
    assert not torch.equal(once.params, model(batch, observe(batch), 0, rng()).params)


def held_out(scored: Tensor) -> Batch:
    return pack([TrialTensors("a", scored[:, :5, :3], target=scored)])


def test_held_out_units_and_forward_bins_are_scored_but_not_shown() -> None:
    model = small()
    (session,) = trials({"a": 4})
    batch = held_out(session.y)
    output = model(batch, observe(batch))
    assert output.mean.shape == (1, 4, N_BINS, 5)
    other = session.y.clone()
    other[:, 5:] += 1
    other[:, :, 3:] += 1
    changed = model(held_out(other), observe(held_out(other)))
    assert torch.equal(output.params, changed.params)
    assert total_loss(output, 0) != total_loss(changed, 0)
    assert torch.equal(output.params, model.predict(batch).params)


def test_a_forecast_sees_nothing_after_its_start_and_begins_as_a_trial_of_that_length() -> None:
    model = small()
    data = trials()
    batch = pack(data)
    ahead = model.forecast(batch, 4, 6)
    assert ahead.mean.shape == (2, 4, 6, 5)
    later = replace(batch, y=batch.y.clone())
    later.y[:, :, 4:] = 9
    assert torch.equal(ahead.mean, model.forecast(later, 4, 6).mean)
    with pytest.raises(ValueError, match="forecast of 1 bins after 8 seen"):
        model.forecast(batch, 8, 1)


def test_inputs_of_a_forecast_fall_towards_zero_with_the_time_constant_of_the_prior() -> None:
    model = small(input_prior_tau=2.0)
    inputs = model.forecast(pack(trials()), 4, 5).aux["inputs"]
    ratio = inputs[:, :, 1:] / inputs[:, :, :-1]
    real = pack(trials()).trial_mask
    assert torch.allclose(ratio[real], torch.exp(torch.tensor(-0.5)).double().expand_as(ratio[real]))


def test_each_divergence_has_the_weight_of_its_own_setting() -> None:
    model = small(kl_initial_weight=2.0, kl_input_weight=3.0)
    batch = pack(trials())
    weights = {term.name: term.weight(10**9) for term in model(batch, observe(batch), 0, rng()).terms}
    assert (weights["kl_initial"], weights["kl_input"]) == (2.0, 3.0)


def test_without_priors_the_kl_is_exactly_zero() -> None:
    model = small(ic_prior="none", controller_dim=0, l2_generator=0.0)
    batch = pack(trials())
    output = model(batch, observe(batch), 10**6, rng())
    assert {term.name: float(term.value.detach()) for term in output.terms}["kl_initial"] == 0
    assert total_loss(output, 10**6) == output.terms[0].value
    assert torch.equal(output.params, model.predict(batch).params)


def test_variants_are_one_model_with_parts_left_out() -> None:
    def names(**changes: object) -> set[str]:
        return set(small(**changes).state_dict())

    whole = names()
    plain = names(ic_prior="none", controller_dim=0)
    assert plain < whole
    assert whole - plain == {name for name in whole if "controller" in name or "input" in name or (
        name.startswith(("ic_prior.", "ic_log_variance."))
    )}  # fmt: skip
    assert names(likelihood="gaussian") - whole == {"likelihood.raw_variance.blocks.0"}
    assert names(dropout=0.3) == whole


def test_external_inputs_reach_the_rates_of_their_bin_and_later_ones_only() -> None:
    model = small(external_inputs=2)
    batch = pack(trials(ext=2))
    changed = replace(batch, ext=batch.ext.clone())
    changed.ext[:, :, 4] += 1
    difference = (model.predict(batch).mean - model.predict(changed).mean)[0].abs().sum((0, 2))
    assert not difference[:4].any()
    assert (difference[4:] > 0).all()
    with pytest.raises(ValueError, match="expected 2 external inputs"):
        model.predict(replace(batch, ext=None))


def test_a_causal_controller_infers_inputs_from_the_past_alone() -> None:
    model = small(causal_controller=True)
    initial = torch.zeros(1, 4, 4, dtype=torch.float64)
    (session,) = trials({"a": 4})
    other = session.y.clone()
    other[:, 3:] += 1
    seen = [model._encode(y[None], torch.tensor([0]))[1] for y in (session.y, other)]
    first, second = (model.decoder(initial, N_BINS, seen=s).inputs for s in seen)
    assert torch.equal(first[:, :, :4], second[:, :, :4])
    assert not torch.equal(first[:, :, 4:], second[:, :, 4:])


def test_missing_samples_change_neither_loss_nor_gradient() -> None:
    model = small()
    (session,) = trials({"a": 4})
    missing = torch.rand(session.y.shape, generator=rng(2)) < 0.4
    batch = pack([TrialTensors("a", session.y.masked_fill(missing, float("nan")))])
    total_loss(model(batch, observe(batch), 5, rng()), 5).backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    loss = float(total_loss(model(batch, observe(batch), 5, rng()), 5).detach())
    model.zero_grad()
    # The same with other values where nothing was recorded: only the mask may tell.
    view = observe(batch)
    noisy = replace(view, target=torch.where(missing[None], 17.0, view.target))
    again = total_loss(model(batch, noisy, 5, rng()), 5)
    again.backward()
    assert float(again.detach()) == loss
    assert all(torch.equal(p.grad, before[name]) for name, p in model.named_parameters() if name in before)


def test_rates_start_at_the_mean_of_each_unit() -> None:
    model = small()
    with torch.no_grad():
        for block in model.read_out.weight.blocks:
            block.zero_()
    mean = torch.tensor([0.2, 1.5, 0.7, 3.0, 0.05], dtype=torch.float64)
    model.start_from({"a": mean})
    assert torch.allclose(model.predict(pack(trials({"a": 4}))).mean[0, 0, 0], mean)


def test_frozen_read_in_is_not_among_what_learns() -> None:
    frozen = {name for name, p in small(read_in={"learned": False}).named_parameters() if not p.requires_grad}
    assert {"read_in.weight.blocks.0", "read_in.bias.blocks.0"} <= frozen
