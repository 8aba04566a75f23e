"""The packed model has the loss and the gradients of the same equations written as a loop over sessions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.interface import total_loss
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.lfads import LFADSSettings
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
UNITS = {"a": 5, "b": 9, "c": 7}

if not BENCHMARKS.is_dir():
    pytest.skip("benchmarks are not part of the source distribution", allow_module_level=True)


@pytest.mark.parametrize("residual", [True, False])
def test_loss_and_gradients_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch, residual: bool) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from plain_mdssm import PlainMDSSM
    from train import AS_PUBLISHED, same_noise

    settings = MDSSMSettings(
        latent_dim=3, embedding_dim=2, rank=2, dynamics_width=12, hyper_width=8, encoder_width=6,
        read_in=ReadInSettings(hidden=7, width=4, activation="silu"), residual=residual, cut_probability=0.0,
        mask_probability=0.4, **AS_PUBLISHED,
    )  # fmt: skip
    model = build_model(settings, UNITS, seed=0).double()
    torch.manual_seed(0)
    trials = {name: torch.randn(4, 11, n, dtype=torch.float64) for name, n in UNITS.items()}
    plain = PlainMDSSM(model, UNITS).double()
    batch = pack([TrialTensors(name, y) for name, y in trials.items()])
    loss = total_loss(model(batch, observe(batch), 0, _generator()), 0)
    expected = plain.loss(
        list(trials.values()), same_noise(settings, batch.y.shape, _generator(), torch.float64)
    )
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)

    loss.backward()
    expected.backward()
    mine, theirs = model.embedding.encoder.gru, plain.embedding_encoder
    pairs = [
        (model.conditioner.trunk[0].weight.grad, plain.trunk[0].weight.grad),
        (model.dynamics.linears()[1].weight.grad, plain.layers[1].weight.grad),
        (model.read_in.head.weight.grad, plain.head.weight.grad),
        (model.read_in.weight.blocks[0].grad[2, :7], plain.read_in[2].weight.grad.T),
        (model.state_noise.blocks[0].grad[1], plain.noise_raw[1].grad),
        (mine.w_hh.grad[1], theirs.weight_hh_l0_reverse.grad),
        (mine.b_hh.grad[0], theirs.bias_hh_l0.grad),
        (model.state_encoder.gru.w_ih.grad[0], plain.state_encoder.weight_ih_l0.grad),
    ]
    for packed, looped in pairs:
        assert looped.abs().max() > 0
        torch.testing.assert_close(packed, looped, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("n_inputs", [2, 0])
def test_loss_and_gradients_of_lfads_are_those_of_cells_in_a_loop(
    monkeypatch: pytest.MonkeyPatch, n_inputs: int
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from plain_lfads import PlainLFADS

    settings = LFADSSettings(
        generator_dim=6, ic_dim=4, factor_dim=3, encoder_dim=5, controller_dim=5, input_dim=n_inputs,
        dropout=0.0, l2_controller=1.0,
    )  # fmt: skip
    model = build_model(settings, {"a": 5}, seed=0).double()
    plain = PlainLFADS(model)
    y = torch.poisson(torch.full((4, 9, 5), 0.8), generator=_generator()).double()
    batch = pack([TrialTensors("a", y)])
    output = model(batch, observe(batch), 10**6, _generator())
    noise = model.decoder.draw(output.aux["ic_mean"], 9, _generator())
    loss, expected = total_loss(output, 10**6), plain.loss(y, noise)
    # The variance of the prior of g_0 was rounded to single precision when the model was built.
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=0)
    loss.backward()
    expected.backward()
    compared = [(p.grad, plain.of(name).grad) for name, p in model.named_parameters() if p.grad is not None]
    assert len(compared) > 15
    for mine, theirs in compared:
        torch.testing.assert_close(
            mine, torch.zeros_like(mine) if theirs is None else theirs, rtol=1e-6, atol=1e-6
        )


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)
