"""MDSSM against its definition: a plain per-session implementation, padding, masks, forecasts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, pad, softplus

from nwb_latents.models.batching.cuts import cut_some
from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import compose, observe
from nwb_latents.models.families.mdssm import MDSSM
from nwb_latents.models.interface import Output, total_loss

Build = Callable[..., MDSSM]


def _loss(model: MDSSM, batch: Batch, seed: int | None = 0) -> tuple[Tensor, Output]:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    output = model(batch, observe(batch), 0, generator)
    return total_loss(output, 0), output


def _gru(x: Tensor, gru: torch.nn.Module) -> Tensor:
    """Both directions, states of all bins; torch's own GRU does the work."""
    theirs = torch.nn.GRU(x.shape[-1], gru.w_hh.shape[-1], batch_first=True, bidirectional=True).double()
    names = {"weight_ih": gru.w_ih, "weight_hh": gru.w_hh, "bias_ih": gru.b_ih, "bias_hh": gru.b_hh}
    state = {f"{k}_l0{s}": v[d] for k, v in names.items() for d, s in ((0, ""), (1, "_reverse"))}
    return torch.func.functional_call(theirs, state, (x,))


def _kl(m: Tensor, v: Tensor, mu: Tensor, s: Tensor) -> Tensor:
    return 0.5 * ((s / v).log() + (v + (m - mu) ** 2) / s - 1).sum(-1)


def _reference(model: MDSSM, y: Tensor, row: int) -> Tensor:
    """§ ELBO of one session, one bin at a time, posterior means in place of samples, nothing masked."""
    N = y.shape[2]
    p = dict(model.named_parameters())
    hidden = y @ p["read_in.weight.blocks.0"][row, :N] + p["read_in.bias.blocks.0"][row]
    head = hidden @ p["read_in.head.weight"].T + p["read_in.head.bias"]
    ybar = layer_norm(head, head.shape[-1:], p["read_in.norm.weight"], p["read_in.norm.bias"])
    _, h = _gru(ybar, model.embedding.encoder.gru)
    raw = torch.cat([h[0], h[1]], -1) @ p["embedding.head.weight"].T + p["embedding.head.bias"]
    E = raw.shape[1] // 2
    e_mean, e_var = raw[:, :E].mean(0), (softplus(raw[:, E:]) + 1e-6).mean(0)
    shown = torch.cat([ybar, e_mean.detach().expand(*ybar.shape[:2], E)], -1)
    raw = _gru(shown, model.state_encoder.gru)[0] @ p["state_head.weight"].T + p["state_head.bias"]
    D = raw.shape[2] // 2
    z, v = raw[..., :D], softplus(raw[..., D:]) + 1e-6
    R = model.settings.rank
    trunk = e_mean
    for layer in (0, 2):
        trunk = torch.tanh(
            trunk @ p[f"conditioner.trunk.{layer}.weight"].T + p[f"conditioner.trunk.{layer}.bias"]
        )
    W, change = {}, torch.zeros((), dtype=y.dtype)
    for k in (0, 1):
        shared = p[f"dynamics.layers.{k}.weight"]
        raw_uv = trunk @ p[f"conditioner.heads.layer{k}.weight"].T + p[f"conditioner.heads.layer{k}.bias"]
        uv = raw_uv.reshape(-1, R)
        delta = uv[: shared.shape[0]] @ uv[shared.shape[0] :].T
        W[k] = shared + delta
        change = change + torch.linalg.matrix_norm(delta)
    Q = softplus(p["state_noise.blocks.0"][row]) + 1e-6
    C, d = p["read_out.weight.blocks.0"][row, :N, 0], p["read_out.bias.blocks.0"][row, :N, 0]
    noise = softplus(p["likelihood.raw_variance.blocks.0"][row, :N]) + 1e-6
    elbo = torch.zeros(y.shape[0], dtype=y.dtype)
    for t in range(y.shape[1]):
        rate = z[:, t] @ C.T + d
        elbo = elbo - 0.5 * ((y[:, t] - rate) ** 2 / noise + noise.log() + math.log(2 * math.pi)).sum(-1)
        if t == 0:
            start = softplus(p["initial.raw_variance"]) + 1e-6
            elbo = elbo - _kl(z[:, 0], v[:, 0], p["initial.mean"], start)
            continue
        x = z[:, t - 1]
        for k in (0, 1):
            x = torch.tanh(x @ W[k].T + p[f"dynamics.layers.{k}.bias"])
        expected = z[:, t - 1] + x @ p["dynamics.layers.2.weight"].T + p["dynamics.layers.2.bias"]
        elbo = elbo - _kl(z[:, t], v[:, t], expected, Q)
    zero, one = torch.zeros_like(e_mean), torch.ones_like(e_mean)
    kl_e = _kl(e_mean, e_var, zero, one)
    return -elbo.mean() + kl_e + model.settings.weight_change_penalty * change


def test_loss_and_gradient_equal_a_plain_implementation_session_by_session(
    small: Build, trials: dict[str, TrialTensors], batch: Batch
) -> None:
    model = small(embedding_pooling="last", embedding_kl="session")
    loss, _ = _loss(model, batch, seed=None)
    plain = sum(_reference(model, s.y, row) for row, s in enumerate(trials.values()))
    torch.testing.assert_close(loss, plain, rtol=1e-10, atol=1e-10)
    names = [name for name, _ in model.named_parameters()]
    mine = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    theirs = torch.autograd.grad(plain, list(model.parameters()), allow_unused=True)
    for name, a, b in zip(names, mine, theirs, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


def test_what_is_in_the_padding_has_no_influence_at_all(small: Build, batch: Batch) -> None:
    model = small()
    loss, output = _loss(model, batch)
    grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    spoilt = batch.y.clone()
    spoilt[~batch.real()] = 1e6
    for junk in (spoilt, torch.where(batch.real(), batch.y, float("nan"))):
        other = replace(batch, y=junk, target=junk)
        again, changed = _loss(model, other)
        assert torch.equal(loss, again)
        assert torch.equal(output.params[batch.real()], changed.params[batch.real()])
        for a, b in zip(
            grads, torch.autograd.grad(again, list(model.parameters()), allow_unused=True), strict=True
        ):
            assert a is b is None or torch.equal(a, b)


def test_a_larger_block_gives_the_same_loss(small: Build, batch: Batch) -> None:
    model = small()
    _, B, _, N = batch.y.shape
    y = pad(batch.y, (0, 3, 0, 0, 0, 2))
    bigger = Batch(
        sessions=batch.sessions,
        y=y,
        target=y,
        unit_mask=pad(batch.unit_mask, (0, 3)),
        trial_mask=pad(batch.trial_mask, (0, 2)),
        time_mask=pad(batch.time_mask, (0, 0, 0, 2)),
    )
    torch.testing.assert_close(
        _loss(model, bigger, None)[0], _loss(model, batch, None)[0], rtol=1e-12, atol=0
    )
    mean = model.predict(bigger).mean[:, :B, :, :N]
    torch.testing.assert_close(mean[batch.real()], model.predict(batch).mean[batch.real()])


def test_parameters_of_padded_units_get_no_gradient(small: Build, batch: Batch) -> None:
    model = small()
    _loss(model, batch)[0].backward()
    for parameter in (model.read_in.weight, model.read_out.weight, model.likelihood.raw_variance):
        grad = parameter.blocks[0].grad
        assert torch.equal(grad[1, 3:], torch.zeros_like(grad[1, 3:]))
        assert (grad[1, :3] != 0).any()


def test_a_silent_hypernetwork_is_shared_dynamics(small: Build, batch: Batch) -> None:
    model, shared = small(), small(conditioner="shared")
    with torch.no_grad():
        for head in model.conditioner.heads.values():
            head.weight.zero_()
            head.bias.zero_()
        # What is left of the embedding is that the state encoder sees it.
        width = model.settings.read_in.width
        model.state_encoder.gru.w_ih[..., width:] = 0
    own = shared.state_dict()
    same = {k: v for k, v in model.state_dict().items() if k in own}
    same["state_encoder.gru.w_ih"] = same["state_encoder.gru.w_ih"][..., :width]
    shared.load_state_dict(same)
    a, b = _loss(model, batch, None)[1], _loss(shared, batch, None)[1]
    torch.testing.assert_close(a.params, b.params, rtol=1e-12, atol=1e-12)
    for x, y in zip(a.terms[:3], b.terms[:3], strict=True):
        torch.testing.assert_close(x.value, y.value, rtol=1e-12, atol=1e-12)
    assert shared.embed(batch) is None
    assert float(b.terms[3].value) == 0
    loss = total_loss(a, 0)
    loss.backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_masking_all_but_the_first_bin_is_a_free_run_with_one_kl(
    small: Build, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small()
    only_first = torch.zeros(batch.y.shape[2], dtype=torch.bool)
    only_first[0] = True
    monkeypatch.setattr(model, "_draw_mask", lambda *_: only_first)
    _, output = _loss(model, batch, seed=None)
    q = model.embed(batch)
    weights = model.conditioner(q.mean)
    z = output.latents[:, :, 0]
    for t in range(1, batch.y.shape[2]):
        z = model.dynamics(z, None, weights)
        torch.testing.assert_close(output.latents[:, :, t], z)
    terms = {term.name: float(term.value.detach()) for term in output.terms}
    assert terms["kl_transition"] == 0
    assert terms["kl_initial"] > 0


def test_masks_hit_the_share_of_bins_they_should_and_never_the_first(small: Build) -> None:
    model = small(mask_probability=0.2)
    generator = torch.Generator().manual_seed(0)
    masks = torch.tensor([model._draw_mask(50, generator) for _ in range(400)])
    assert bool(masks[:, 0].all())
    assert abs(float((~masks[:, 1:]).double().mean()) - 0.2) < 0.01


def test_the_embedding_is_blind_to_the_order_of_trials(small: Build, trials: dict[str, TrialTensors]) -> None:
    model = small()
    turned = [s.select(torch.arange(s.n_trials).flip(0)) for s in trials.values()]
    a, b = model.embed(pack(list(trials.values()))), model.embed(pack(turned))
    torch.testing.assert_close(a.mean, b.mean)
    torch.testing.assert_close(a.var, b.var)


@pytest.mark.parametrize("conditioner", ["low_rank", "linear", "concat", "shared"])
def test_a_forecast_knows_nothing_of_later_bins(small: Build, batch: Batch, conditioner: str) -> None:
    model = small(conditioner=conditioner)
    later = batch.y.clone()
    later[:, :, 5:] = torch.randn_like(later[:, :, 5:]) * 100
    later[0, 0, 7] = float("nan")
    a = model.forecast(batch, 5, 9)
    b = model.forecast(replace(batch, y=later, target=later), 5, 9)
    assert a.mean.shape == (3, 4, 9, 5)
    assert torch.equal(a.mean, b.mean)
    assert torch.equal(a.aux["embedding_mean"], b.aux["embedding_mean"])
    earlier = batch.y.clone()
    earlier[:, :, 4] += 1
    assert not torch.equal(a.mean, model.forecast(replace(batch, y=earlier, target=earlier), 5, 9).mean)


def test_a_forecast_starts_from_the_last_seen_state(small: Build, batch: Batch) -> None:
    model = small()
    seen = replace(batch, y=batch.y[:, :, :5], target=batch.y[:, :, :5], time_mask=batch.time_mask[:, :, :5])
    q = model.embed(seen)
    z = model.dynamics(model.predict(seen).latents[:, :, -1], None, model.conditioner(q.mean))
    torch.testing.assert_close(model.forecast(batch, 5, 3).latents[:, :, 0], z)
    with pytest.raises(ValueError, match="seen bins"):
        model.forecast(batch, 0, 3)


def test_the_state_encoder_sends_no_gradient_into_the_embedding(small: Build, batch: Batch) -> None:
    for detach in (True, False):
        model = small(detach_embedding=detach, mask_probability=0.0, cut_probability=0.0)
        output = model(batch, observe(batch), 0, torch.Generator().manual_seed(0))
        nll = next(term.value for term in output.terms if term.name == "nll")
        (grad,) = torch.autograd.grad(nll, [model.embedding.head.weight], allow_unused=True)
        assert (grad is None) == detach


def test_more_samples_approach_the_posterior_mean(small: Build, batch: Batch) -> None:
    model = small()
    exact = model.predict(batch).mean
    few = model.predict(batch, n_samples=2, generator=torch.Generator().manual_seed(0)).mean
    many = model.predict(batch, n_samples=200, generator=torch.Generator().manual_seed(0)).mean
    assert (many - exact).abs().mean() < 0.3 * (few - exact).abs().mean()


def test_sessions_added_later_leave_the_others_as_they_were(small: Build, batch: Batch) -> None:
    model = small()
    before = model.predict(batch).mean
    held = {name: value.clone() for name, value in model.state_dict().items()}
    model.add_sessions({"new": 9})
    assert torch.equal(model.predict(batch).mean, before)
    both = pack(
        [TrialTensors("new", torch.randn(2, 12, 9).double()), TrialTensors("b", batch.y[1, :2, :, :3])]
    )
    torch.testing.assert_close(model.predict(both).mean[1, :, :, :3], before[1, :2, :, :3])
    fresh = {name for name in model.state_dict() if name not in held}
    assert fresh
    assert all(name.endswith("blocks.1") for name in fresh)
    with pytest.raises(ValueError, match="already"):
        model.add_sessions({"b": 3})
    with pytest.raises(KeyError, match="nowhere"):
        model.predict(pack([TrialTensors("nowhere", torch.zeros(1, 12, 3).double())]))


def test_initial_weights_depend_on_the_seed_alone(small: Build) -> None:
    state = torch.get_rng_state()
    a = small().state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(123)
    b = small().state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_poisson_counts_are_reconstructed_as_expected_counts(small: Build) -> None:
    model = small(likelihood="poisson")
    counts = torch.poisson(torch.full((4, 12, 5), 0.3, dtype=torch.float64))
    batch = pack([TrialTensors("a", counts)])
    assert (model.predict(batch).mean > 0).all()
    assert math.isfinite(float(_loss(model, batch)[0].detach()))


def test_all_bins_after_a_cut_are_rolled_out(small: Build, batch: Batch) -> None:
    model = small(mask_probability=0.0)
    cut = compose(observe, cut_some(1.0))

    def latents(y: Tensor, seed: int) -> tuple[Tensor, int]:
        other, generator = replace(batch, y=y, target=y), torch.Generator().manual_seed(seed)
        output = model(other, cut(other, generator, 0), 0, generator)
        return output.latents, int(output.aux["inferred"].sum())

    seen = [latents(batch.y, seed)[1] for seed in range(30)]
    assert min(seen) == batch.y.shape[2] // 4
    assert max(seen) == batch.y.shape[2] - 1
    z, n_seen = latents(batch.y, 0)
    later = batch.y.clone()
    later[:, :, n_seen:] += 100
    assert torch.equal(latents(later, 0)[0], z)
    whole = model(batch, observe(batch), 0, torch.Generator().manual_seed(0))
    assert int(whole.aux["inferred"].sum()) == batch.y.shape[2]


def test_a_warm_up_weighs_the_kl_terms_alone(small: Build, batch: Batch) -> None:
    output = _loss(small(kl_warmup_steps=10), batch)[1]
    weights = {term.name: [term.weight(step) for step in (0, 5, 10**9)] for term in output.terms}
    assert {name for name, w in weights.items() if w == [0.0, 0.5, 1.0]} == {
        "kl_initial",
        "kl_transition",
        "kl_embedding",
    }
    assert small().settings.kl_warmup == 0
    assert small(likelihood="poisson").settings.kl_warmup == 400
