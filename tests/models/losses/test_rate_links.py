"""Expected counts by another link: the likelihood of torch's Poisson, in every model that has one."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.nn.functional import softplus

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.families.ndt_stream import SessionRates
from nwb_latents.models.interface import total_loss
from nwb_latents.models.losses.likelihoods import GaussianPerBin, Poisson, likelihood_of
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.models import known_models

SESSION = torch.tensor([0])
RATE = {"exp": torch.exp, "softplus": lambda raw: softplus(raw) + 1e-6}
OF_COUNTS = [
    name
    for name, kind in known_models().items()
    if "likelihood" in kind.model_fields and "poisson" in get_args(kind.model_fields["likelihood"].annotation)
]


@pytest.mark.parametrize("link", ["exp", "softplus"])
def test_likelihood_and_gradient_are_those_of_torch(link: str) -> None:
    source = torch.Generator().manual_seed(0)
    params = (4 * torch.randn(1, 4, 50, 3, generator=source, dtype=torch.float64)).requires_grad_()
    counts = torch.poisson(torch.full(params.shape, 2.0, dtype=torch.float64), generator=source)
    mine = Poisson(link).nll(params, counts, SESSION) + torch.lgamma(counts + 1)
    theirs = -torch.distributions.Poisson(RATE[link](params)).log_prob(counts)
    assert float((mine - theirs).detach().abs().max()) < 1e-10
    gradients = [torch.autograd.grad(nll.sum(), params)[0] for nll in (mine, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    assert torch.equal(Poisson(link).mean(params), RATE[link](params))


@pytest.mark.parametrize("value", [-200.0, -30.0, 0.0, 50.0, 1e6])
def test_softplus_rates_stay_finite_where_exponentials_do_not(value: float) -> None:
    params = torch.full((1, 1, 1, 1), value, requires_grad=True)
    nll = Poisson("softplus").nll(params, torch.full((1, 1, 1, 1), 5.0), SESSION)
    nll.sum().backward()
    assert nll.isfinite().all()
    assert params.grad is not None
    assert params.grad.isfinite().all()


def test_a_read_out_can_start_at_the_mean_of_its_unit() -> None:
    mean = torch.tensor([0.0, 1e-3, 0.4, 7.0, 1e4], dtype=torch.float64)
    bias = Poisson("softplus").bias(mean)
    assert torch.allclose(Poisson("softplus").mean(bias)[:, 0], mean.clamp_min(1e-3), rtol=1e-10)


@pytest.mark.parametrize("name", OF_COUNTS)
def test_every_model_of_counts_has_the_link(name: str) -> None:
    kind = known_models()[name]
    settings = kind.model_validate({"name": name, "likelihood": "poisson", "rate_link": "softplus"})
    model = build_model(settings, {"a": 4}, seed=0)
    batch = pack([TrialTensors("a", torch.poisson(torch.full((3, 9, 4), 0.7)))])
    output = model(batch, observe(batch), 0, torch.Generator().manual_seed(0))
    assert total_loss(output, 0).isfinite()
    made = model.eval().predict(batch)
    assert torch.equal(made.mean, softplus(made.params) + 1e-6)
    plain = build_model(kind.model_validate({"name": name, "likelihood": "poisson"}), {"a": 4}, seed=0)
    made = plain.eval().predict(batch)
    assert torch.equal(made.mean, made.params.exp())


def test_models_of_counts_are_those_there_are() -> None:
    assert {"lfads", "mdssm", "ndt", "node_sae"} <= set(OF_COUNTS)


@pytest.mark.parametrize("name", OF_COUNTS)
def test_a_link_of_no_effect_is_refused(name: str) -> None:
    kind = known_models()[name]
    for likelihood in set(get_args(kind.model_fields["likelihood"].annotation)) - {"poisson"}:
        with pytest.raises(ValueError, match=f"the likelihood is {likelihood}. Use likelihood poisson"):
            kind.model_validate({"name": name, "likelihood": likelihood, "rate_link": "softplus"})


def test_a_transformer_streams_the_rates_of_its_link() -> None:
    kind = known_models()["ndt"]
    model = build_model(kind.model_validate({"name": "ndt", "rate_link": "softplus"}), {"a": 4}, seed=0)
    y = torch.poisson(torch.full((3, 9, 4), 0.7))
    whole = model.eval().predict(pack([TrialTensors("a", y)])).mean[0]
    torch.testing.assert_close(SessionRates(model, "a")(y), whole, rtol=1e-5, atol=1e-6)


def test_a_gaussian_of_each_bin() -> None:
    source = torch.Generator().manual_seed(1)
    params = torch.randn(1, 4, 5, 6, generator=source, dtype=torch.float64)
    y = torch.randn(1, 4, 5, 3, generator=source, dtype=torch.float64)
    mean, log_variance = params[..., 0::2], params[..., 1::2]
    expected = -torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(y)
    torch.testing.assert_close(GaussianPerBin().nll(params, y, SESSION), expected)
    assert torch.equal(GaussianPerBin().mean(params), mean)
    assert likelihood_of("gaussian_per_bin", [3]).n_params == 2
