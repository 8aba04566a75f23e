"""The transformer encoder against its equations, and what can reach what within it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nwb_latents.models.parts.dropout import STEPS, dropout
from nwb_latents.models.parts.transformer import (
    TFIXUP,
    TransformerEncoder,
    TransformerLayer,
    attend,
    context_mask,
)

N_BINS = 12


def encoder(**changes: object) -> TransformerEncoder:
    torch.manual_seed(0)
    sizes = {"width": 8, "layers": 2, "heads": 2, "hidden": 6, "max_bins": N_BINS}
    return TransformerEncoder(5, **{**sizes, **changes}).double()


@pytest.mark.parametrize(("back", "ahead", "layers"), [(2, 0, 2), (1, 2, 3), (0, 0, 2), (3, None, 1)])
def test_a_bin_hears_of_its_receptive_field_and_of_nothing_else(back, ahead, layers) -> None:
    made = encoder(back=back, forward=ahead, layers=layers)
    x = torch.randn(1, N_BINS, 5, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda y: made(y).seq[0], x)[:, :, 0]
    reaches = jacobian.abs().amax((1, 3)) > 0  # (bin that hears, bin heard of)
    for t in range(N_BINS):
        for s in range(N_BINS):
            in_past = s >= t - layers * back
            in_future = ahead is None or s <= t + layers * ahead
            assert bool(reaches[t, s]) == (in_past and in_future)


@pytest.mark.parametrize("limits", [(None, None), (2, 1)])
def test_it_computes_what_the_layers_of_torch_compute(limits) -> None:
    made = encoder(back=limits[0], forward=limits[1])
    like = {"dropout": 0.0, "batch_first": True, "norm_first": True}
    theirs = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 6, **like), 2, norm=nn.LayerNorm(8), enable_nested_tensor=False
    ).double()
    for ours, layer in zip(made.layers, theirs.layers, strict=True):
        nn.init.normal_(ours.query_key_value.bias)
        pairs = {
            "norm1": ours.attention_norm, "norm2": ours.network_norm, "linear1": ours.up,
            "linear2": ours.down, "self_attn.out_proj": ours.mix,
        }  # fmt: skip
        state = {
            f"{name}.{key}": value for name, part in pairs.items() for key, value in part.state_dict().items()
        }
        for key, value in ours.query_key_value.state_dict().items():
            state[f"self_attn.in_proj_{key}"] = value
        layer.load_state_dict(state)
    x = torch.randn(3, N_BINS, 5, dtype=torch.float64)
    shown = made.project(x) + made.position
    torch.testing.assert_close(made(x).seq, theirs(shown, mask=~made.mask), atol=1e-12, rtol=0)


@pytest.mark.parametrize("mask", [None, context_mask(N_BINS, 3, 1)])
def test_attention_with_a_gradient_is_that_without(mask) -> None:
    parts = torch.randn(3, 2, 4, N_BINS, 5, dtype=torch.float64)
    live = parts.clone().requires_grad_()
    torch.testing.assert_close(attend(*live, mask), attend(*parts, mask), atol=1e-12, rtol=0)
    assert torch.autograd.gradcheck(
        lambda each: attend(*each, mask), parts[:, :1, :1].clone().requires_grad_()
    )


def test_initial_weights_shrink_with_the_number_of_layers() -> None:
    torch.manual_seed(0)
    one, more = (TransformerLayer(64, heads=2, hidden=128, gain=TFIXUP * n**-0.25) for n in (1, 16))
    for name in ("mix", "up", "down"):
        ratio = getattr(more, name).weight.std() / getattr(one, name).weight.std()
        assert float(ratio.detach()) == pytest.approx(0.5, rel=0.05)
    query, key, value = one.query_key_value.weight.detach().chunk(3)
    assert float(value.std() / query.std()) == pytest.approx(TFIXUP, rel=0.05)
    assert float(key.std() / query.std()) == pytest.approx(1, rel=0.05)


def test_leading_axes_are_sequences_and_the_context_is_shown_in_every_bin() -> None:
    made = encoder(width=6)
    x, ctx = torch.randn(2, 3, N_BINS, 4).double(), torch.randn(2, 3, 1).double()
    whole = made(x, ctx)
    alone = made(torch.cat([x[1, 2], ctx[1, 2].expand(N_BINS, 1)], -1))
    torch.testing.assert_close(whole.seq[1, 2], alone.seq)
    assert torch.equal(whole.last, whole.seq[:, :, -1])


def test_sequences_longer_than_the_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="sequences of 13 bins, the encoder has positions for 12"):
        encoder()(torch.zeros(1, N_BINS + 1, 5).double())


def test_a_width_that_the_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="width of 9 cannot be shared out over 2 heads"):
        encoder(width=9)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75])
def test_dropout_keeps_the_mean_drops_the_share_and_sends_no_gradient_to_what_is_dropped(rate) -> None:
    x = torch.ones(401, 501, requires_grad=True)
    thinned = dropout(x, rate, torch.Generator().manual_seed(0))
    share = float((thinned == 0).float().mean())
    assert share == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / x.numel()))
    kept = STEPS / (STEPS - round(rate * STEPS))
    assert thinned.unique().tolist() == pytest.approx([0.0, kept])
    thinned.sum().backward()
    assert torch.equal(x.grad, thinned.detach())


def test_neighbouring_elements_are_dropped_independently() -> None:
    gone = dropout(torch.ones(400_000), 0.5, torch.Generator().manual_seed(1)) == 0
    for lag in (1, 2, 3, 4):
        together = float((gone[:-lag] & gone[lag:]).float().mean())
        assert together == pytest.approx(0.25, abs=0.005)
