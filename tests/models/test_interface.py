"""The shared blocks carry models that are nothing like MDSSM.

Each composition below takes one training step. What is asserted is not quality but that every learnt part
gets a gradient through blocks, masks and batches that are used as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from nwb_latents.models.batching.masked_bins import mask_bins
from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import (
    Masker,
    View,
    compose,
    coordinated_dropout,
    hold_out,
    masked_mean,
    observe,
    weighted,
)
from nwb_latents.models.interface import Model, Output, Term, total_loss
from nwb_latents.models.losses.likelihoods import MSE, Poisson
from nwb_latents.models.losses.schedules import horizon, linear_ramp
from nwb_latents.models.parts.conditioning import LowRankHyper
from nwb_latents.models.parts.distributions import DiagGaussian, from_raw
from nwb_latents.models.parts.dynamics import GRUCell, MLPMap, RateRNN
from nwb_latents.models.parts.embedding import Table
from nwb_latents.models.parts.encoders import Encoding, GRUEncoder, Identity
from nwb_latents.models.parts.priors import MMD, Learned, Null, PriorContext
from nwb_latents.models.parts.recurrent import GRUParameters, gru_step
from nwb_latents.models.parts.rollout import rollout
from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames
from nwb_latents.models.parts.weight_changes import FiLM, apply_linear
from nwb_latents.schemas.mdssm import ReadInSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

UNITS = {"a": 5, "b": 3}
N_BINS = 8


class Composition(Model):
    """What the compositions below have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.names = SessionNames(list(UNITS))

    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        del n_samples, embedding
        return self(batch, observe(batch), 0, generator)

    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        raise NotImplementedError


class LFADSLike(Composition):
    """Variational initial condition, GRU generator, controller that sees the factors of the bin before."""

    def __init__(self) -> None:
        super().__init__()
        n = list(UNITS.values())
        self.read_in = ReadIn(n, ReadInSettings(hidden=6, width=4))
        self.ic_encoder = GRUEncoder(4, 5, learned_start=True, reset="before", clip=5.0)
        self.controller_encoder = GRUEncoder(4, 5, reset="before", clip=5.0)
        self.ic_head = nn.Linear(10, 12)
        self.controller = GRUParameters(10 + 3, 4, update_bias=1.0)
        self.input_head = nn.Linear(4, 4)
        self.generator = GRUCell(6, n_in=2, reset="before", clip=5.0, update_bias=1.0)
        self.factors = nn.Linear(6, 3, bias=False)
        self.prior, self.no_prior = Learned(6, variance=0.1, fixed_variance=True), Null()
        self.likelihood = Poisson()
        self.read_out = ReadOut(n, n_factors=3)

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        sessions = self.names.index(batch.sessions)
        shared = self.read_in(view.x, sessions)
        q = from_raw(self.ic_head(self.ic_encoder(shared).last))
        seen = self.controller_encoder(shared).seq
        state = {"k": shared.new_zeros(*shared.shape[:2], 4), "log_q": shared.new_zeros(shared.shape[:2])}

        def controller(t: int, g: Tensor) -> Tensor:
            state["k"] = gru_step(
                torch.cat([seen[:, :, t], self.factors(g)], -1), state["k"], self.controller()
            )
            inferred = from_raw(self.input_head(state["k"]))
            u = inferred.rsample(generator)
            state["log_q"] = state["log_q"] + inferred.log_prob(u)
            return u

        g0 = q.rsample(generator)
        path = rollout(self.generator, g0, N_BINS, step_hook=controller)
        factors = self.factors(path.z)
        params = self.read_out(factors, sessions, view.target.shape[-1])
        trial = batch.trial_mask / batch.n_trials[:, None]
        nll = weighted(self.likelihood.nll(params, view.target, sessions), view).sum((2, 3))
        ramp = linear_ramp(0, 10)
        terms = (
            Term("nll", (nll * trial).sum()),
            Term("kl_initial", (self.prior.penalty(q, g0, PriorContext()) * trial).sum(), ramp),
            Term("kl_input", (state["log_q"] * trial).sum(), ramp),
        )
        return Output(params, self.likelihood.mean(params), factors, path.z, terms)


class TransformerEncoder(nn.Module):
    """Any `SequenceEncoder` will do."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        layer = nn.TransformerEncoderLayer(width, 2, 8, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: Tensor, ctx: Tensor | None = None) -> Encoding:
        seq = self.layers(x.reshape(-1, *x.shape[-2:])).reshape(x.shape)
        return Encoding(seq, seq[..., -1, :])


class NDTLike(Composition):
    """No latent variable and no dynamics: one encoder, a read-out."""

    def __init__(self) -> None:
        super().__init__()
        n = list(UNITS.values())
        self.read_in = ReadIn(n, ReadInSettings(hidden=6, width=4, layernorm=False))
        self.identity, self.encoder = Identity(4), TransformerEncoder(4)
        self.likelihood = Poisson()
        self.read_out = ReadOut(n, n_factors=4)

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        sessions = self.names.index(batch.sessions)
        seq = self.encoder(self.identity(self.read_in(view.x, sessions)).seq).seq
        params = self.read_out(seq, sessions, view.target.shape[-1])
        nll = masked_mean(self.likelihood.nll(params, view.target, sessions), view)
        return Output(params, self.likelihood.mean(params), seq, seq, (Term("nll", nll),))


class NODELike(Composition):
    """Deterministic initial state, Euler steps of a vector field, a horizon that grows."""

    def __init__(self) -> None:
        super().__init__()
        n = list(UNITS.values())
        self.read_in = ReadIn(n, ReadInSettings(hidden=6, width=4))
        self.encoder, self.head = GRUEncoder(4, 5), nn.Linear(10, 3)
        self.field = MLPMap(3, 8, hidden_layers=1, step=0.1)
        self.likelihood = Poisson()
        self.read_out = ReadOut(n, n_factors=3)
        self.horizon = horizon(3, 10, longest=N_BINS)

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        sessions = self.names.index(batch.sessions)
        T = int(self.horizon(step))
        z0 = self.head(self.encoder(self.read_in(view.x, sessions)).last)
        z = rollout(self.field, z0, T).z
        params = self.read_out(z, sessions, view.target.shape[-1])
        near = view.first_bins(T)
        nll = masked_mean(self.likelihood.nll(params, near.target, sessions), near)
        return Output(params, self.likelihood.mean(params), z, z, (Term("nll", nll),))


class CodeLike(Composition):
    """A code per trial conditions a denoiser through scale and shift; no time loop."""

    def __init__(self) -> None:
        super().__init__()
        n = list(UNITS.values())
        self.read_in = ReadIn(n, ReadInSettings(hidden=6, width=4))
        self.encoder, self.code = GRUEncoder(4, 5), nn.Linear(10, 2)
        self.layer, self.film = nn.Linear(4, 6), nn.Linear(2, 12)
        self.prior, self.likelihood = MMD(2), MSE()
        self.read_out = ReadOut(n, n_factors=6)

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        sessions = self.names.index(batch.sessions)
        code = self.code(self.encoder(self.read_in(view.x, sessions)).last)
        noise = torch.randn(view.x.shape, generator=generator, dtype=view.x.dtype)
        noisy = self.read_in(0.8 * view.x + 0.6 * noise, sessions)
        film = FiLM(*self.film(code).chunk(2, -1))
        hidden = torch.tanh(apply_linear(noisy, self.layer.weight, self.layer.bias, film))
        params = self.read_out(hidden, sessions, view.target.shape[-1])
        nll = masked_mean(self.likelihood.nll(params, view.target, sessions), view)
        prior = self.prior.penalty(DiagGaussian(code, torch.zeros_like(code)), code, PriorContext())
        return Output(params, params, hidden, hidden, (Term("mse", nll), Term("mmd", 0.1 * prior.mean())))


class HNETLike(Composition):
    """A table of embeddings writes the whole recurrent matrix of a rate network at low rank."""

    def __init__(self) -> None:
        super().__init__()
        n = list(UNITS.values())
        self.read_in = ReadIn(n, ReadInSettings(hidden=6, width=6))
        self.embedding = Table(len(n), 2)
        self.hyper = LowRankHyper({"recurrent": (6, 6)}, embedding_dim=2, rank=2, width=8, mode="replace")
        self.dynamics = RateRNN(6, dt_over_tau=0.1)
        # The hypernetwork stands in for the shared matrix, which has nothing to learn.
        self.dynamics.recurrent.requires_grad_(requires_grad=False)
        self.likelihood = MSE()
        self.read_out = ReadOut(n, n_factors=6)

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        sessions = self.names.index(batch.sessions)
        shared = self.read_in(view.x, sessions)
        e = self.embedding(shared, batch.trial_mask, sessions)
        weights = self.hyper(e.mean)
        z = rollout(self.dynamics, shared[:, :, 0], N_BINS, weights=weights).z
        params = self.read_out(z, sessions, view.target.shape[-1])
        nll = masked_mean(self.likelihood.nll(params, view.target, sessions), view)
        penalty = self.hyper.penalty(weights, e.mean).sum()
        return Output(params, params, z, z, (Term("mse", nll), Term("weights", 0.01 * penalty)))


COMPOSITIONS: Mapping[str, tuple[type[Composition], Masker]] = {
    "lfads": (LFADSLike, compose(observe, coordinated_dropout(0.3))),
    "ndt": (NDTLike, compose(observe, mask_bins(0.5))),
    "node": (NODELike, observe),
    "code": (CodeLike, observe),
    "hnet": (HNETLike, observe),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_the_shared_blocks_carry_other_models(name: str) -> None:
    make, masker = COMPOSITIONS[name]
    torch.manual_seed(0)
    model = make().double()
    counts = {k: torch.poisson(torch.full((n + 1, N_BINS, n), 0.7)).double() for k, n in UNITS.items()}
    batch = pack([TrialTensors(k, y) for k, y in counts.items()])
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(0)
        view = masker(batch, generator, 5)
        optimiser.zero_grad()
        loss = total_loss(model(batch, view, 5, generator), 5)
        loss.backward()
        losses.append(float(loss.detach()))
        optimiser.step()
    assert losses[1] < losses[0]
    idle = [
        n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert not idle


def test_held_out_units_and_forward_bins_are_scored_but_not_shown() -> None:
    torch.manual_seed(0)
    y, target = torch.randn(4, 6, 3), torch.randn(4, N_BINS, 5)
    target[:, :6, :3] = y
    batch = pack([TrialTensors("a", y, target=target)])
    view = compose(observe, hold_out(2, 2))(batch, None, 0)
    model = NDTLike()
    output = model(batch, view)
    assert output.mean.shape == (1, 4, N_BINS, 5)
    changed = target.clone()
    changed[:, 6:] += 1
    changed[:, :, 3:] += 1
    other = compose(observe, hold_out(2, 2))(pack([TrialTensors("a", y, target=changed)]), None, 0)
    assert torch.equal(output.params, model(batch, other).params)
    assert total_loss(output, 0) != total_loss(model(batch, other), 0)
