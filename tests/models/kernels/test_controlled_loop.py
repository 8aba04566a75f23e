"""The loop of controller and generator has the values and gradients of the two stepped by autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nwb_latents.models.parts.controlled import ControlledGenerator
from nwb_latents.models.parts.dynamics import GRUCell
from nwb_latents.models.parts.encoders import GRUEncoder, encode_together
from nwb_latents.models.parts.generated import Noise
from nwb_latents.models.parts.priors import AR1, EachBin, Learned
from nwb_latents.models.parts.rollout import rollout
from nwb_latents.schemas.lfads import LFADSSettings

N_BINS, N_SEEN = 6, 3
SMALL = {
    "generator_dim": 5, "ic_dim": 4, "factor_dim": 3, "controller_dim": 4, "input_dim": 2, "dropout": 0.0,
}  # fmt: skip


def decoder_of(**changes: object) -> ControlledGenerator:
    torch.manual_seed(0)
    decoder = ControlledGenerator(LFADSSettings.model_validate({**SMALL, **changes}), n_seen=N_SEEN).double()
    with torch.no_grad():  # biases and starts are 0 at first and would hide a mistake
        for parameter in decoder.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return decoder


def arguments(decoder: ControlledGenerator, *, sampled: bool) -> tuple[list[Tensor], Noise, Tensor | None]:
    source = torch.Generator().manual_seed(1)
    lead, settings = (2, 3), decoder.settings
    initial, seen = (
        torch.randn(*lead, *shape, generator=source, dtype=torch.float64).requires_grad_()
        for shape in ((settings.ic_dim,), (N_BINS, N_SEEN))
    )
    external = None
    if settings.external_inputs:
        external = torch.randn(*lead, N_BINS, settings.external_inputs, generator=source, dtype=torch.float64)
    noise = decoder.draw(initial, N_BINS, source, dropout=True) if sampled else Noise()
    return [initial, seen], noise, external


def run(
    how: str, decoder: ControlledGenerator, inner: list[Tensor], noise: Noise, external: Tensor | None
) -> list[Tensor]:
    initial, seen = inner
    h0 = 6 * decoder.start(initial)
    way = {"at once": decoder._at_once, "stepwise": decoder._stepwise}[how]
    made = way(h0, N_BINS, seen, external, noise=noise)
    assert made.posterior is not None
    return [made.states, made.factors, made.inputs, made.posterior.mean, made.posterior.var]


def gradients(values: list[Tensor], wanted: list[Tensor]) -> list[Tensor]:
    source = torch.Generator().manual_seed(2)
    weighed = [v * torch.randn(v.shape, generator=source, dtype=v.dtype) for v in values if v.requires_grad]
    loss = torch.stack([each.sum() for each in weighed]).sum()
    return list(torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropout": 0.4},
        {"clip": 0.3},
        {"clip": 1.2},
        {"causal_controller": True},
        {"causal_controller": True, "dropout": 0.4},
        {"input_prior": "none"},
        {"input_bias": True, "external_inputs": 2},
        {"input_bias": True, "external_inputs": 2, "causal_controller": True, "input_prior": "none"},
    ],
    ids=str,
)
def test_value_and_gradient_are_those_of_single_steps(changes: dict[str, object], sampled: bool) -> None:
    decoder = decoder_of(**changes)
    given = arguments(decoder, sampled=sampled)
    wanted = [*given[0], *decoder.parameters()]
    expected, made = run("stepwise", decoder, *given), run("at once", decoder, *given)
    for mine, theirs in zip(made, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    assert bool((made[0].abs() == decoder.clip).any())
    for mine, theirs in zip(gradients(made, wanted), gradients(expected, wanted), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("changes", [{}, {"causal_controller": True}], ids=str)
def test_gradients_come_from_any_single_output(changes: dict[str, object]) -> None:
    decoder = decoder_of(**changes)
    given = arguments(decoder, sampled=True)
    wanted = [*given[0], *decoder.parameters()]
    for which in range(5):
        expected, made = run("stepwise", decoder, *given), run("at once", decoder, *given)
        reference = gradients([expected[which]], wanted)
        assert any(bool(each.any()) for each in reference)
        for mine, theirs in zip(gradients([made[which]], wanted), reference, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_what_is_frozen_does_not_change_the_other_gradients() -> None:
    decoder = decoder_of(dropout=0.3)
    given = arguments(decoder, sampled=True)
    names = ["controller.w_ih", "input_mean.weight", "read"]
    learning = [decoder.get_parameter(name) for name in names]
    expected = gradients(run("at once", decoder, *given), learning)
    decoder.requires_grad_(False)
    for parameter in learning:
        parameter.requires_grad_()
    for mine, theirs in zip(gradients(run("at once", decoder, *given), learning), expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_gradient_is_the_slope_of_the_values() -> None:
    decoder = decoder_of(generator_dim=3, controller_dim=2, factor_dim=2, ic_dim=2, input_dim=1, dropout=0.3)
    (initial, seen), noise, _ = arguments(decoder, sampled=True)

    def values(*inner: Tensor) -> tuple[Tensor, ...]:
        return tuple(run("at once", decoder, list(inner[:2]), noise, None))

    assert torch.autograd.gradcheck(values, (initial, seen, *decoder.parameters()))


def test_single_precision_autocast_and_inference_agree_with_double() -> None:
    double = decoder_of()
    inner, noise, _ = arguments(double, sampled=True)
    expected = run("at once", double, inner, noise, None)
    decoder = decoder_of().float()
    with torch.inference_mode():
        single = run("at once", decoder, [x.float() for x in inner], _single(noise), None)
    for mine, theirs in zip(single, expected, strict=True):
        torch.testing.assert_close(mine, theirs.float(), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = run("at once", decoder, [x.float() for x in inner], _single(noise), None)
    for mine, theirs in zip(half, expected, strict=True):
        torch.testing.assert_close(mine, theirs.float(), rtol=0.1, atol=0.1)
    grads = gradients(half, list(decoder.parameters()))
    assert all(bool(each.isfinite().all()) for each in grads)


def _single(noise: Noise) -> Noise:
    return Noise(*(None if each is None else each.float() for each in noise))


def test_inputs_go_on_beyond_the_bins_that_are_seen_as_if_there_were_no_more() -> None:
    decoder = decoder_of()
    (initial, seen), _, _ = arguments(decoder, sampled=False)
    longer = decoder(initial, N_BINS + 2, seen=seen)
    for mine, theirs in zip(decoder(initial, N_BINS, seen=seen)[:3], longer[:3], strict=True):
        torch.testing.assert_close(mine, theirs[:, :, :N_BINS])
    assert not longer.inputs[:, :, N_BINS:].any()


@pytest.mark.parametrize("n_in", [0, 2])
@pytest.mark.parametrize(("reset", "clip"), [("before", 5.0), ("before", 0.5), ("after", None)])
def test_a_run_of_a_cell_is_its_rollout(n_in: int, reset: str, clip: float | None) -> None:
    torch.manual_seed(0)
    cell = GRUCell(4, n_in=n_in, reset=reset, clip=clip, update_bias=1.0).double()
    h0 = (4 * torch.randn(2, 3, 4, dtype=torch.float64)).requires_grad_()
    inputs = torch.randn(2, 3, N_BINS, n_in, dtype=torch.float64) if n_in else None
    shown = None if inputs is None else torch.cat([inputs[:, :, :1], inputs], 2)
    expected = rollout(cell, h0, N_BINS + 1, inputs=shown).z[:, :, 1:]
    states = cell.run(h0, N_BINS, inputs)
    torch.testing.assert_close(states, expected, rtol=1e-12, atol=1e-12)
    wanted = [h0, *cell.parameters()]
    for mine, theirs in zip(gradients([states], wanted), gradients([expected], wanted), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_a_cell_without_inputs_is_one_whose_inputs_are_zero() -> None:
    cell = GRUCell(4, n_in=2, reset="before", clip=5.0)
    h0 = torch.randn(2, 3, 4)
    expected = cell.run(h0, N_BINS, torch.zeros(2, 3, N_BINS, 2))
    torch.testing.assert_close(cell.run(h0, N_BINS), expected)


@pytest.mark.parametrize(("widths", "bidirectional"), [((4, 4), (True, True)), ((4, 3), (True, False))])
def test_encoders_give_together_what_each_gives_alone(
    widths: tuple[int, int], bidirectional: tuple[bool, bool]
) -> None:
    torch.manual_seed(0)
    encoders = [
        GRUEncoder(3, width, bidirectional=both, learned_start=True, reset="before", clip=5.0).double()
        for width, both in zip(widths, bidirectional, strict=True)
    ]
    x = torch.randn(2, 3, N_BINS, 3, dtype=torch.float64, requires_grad=True)
    wanted = [x, *(p for each in encoders for p in each.parameters())]
    made, expected = encode_together(encoders, x), [each(x) for each in encoders]
    # As LFADS uses them: the last state of the first, the states of all bins of the second.
    ours, theirs = ([first.last, second.seq] for first, second in (made, expected))
    for one, other in zip(gradients(ours, wanted), gradients(theirs, wanted), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    for one, other in zip(made, expected, strict=True):
        torch.testing.assert_close(one.seq, other.seq, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(one.last, other.last, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("prior", [None, "ar1", "normal"])
@pytest.mark.parametrize("changes", [{"dropout": 0.4}, {"external_inputs": 2}, {"causal_controller": True}])
def test_bins_after_those_seen_are_run_as_single_steps_are(
    changes: dict[str, object], prior: str | None, sampled: bool
) -> None:
    """Values and gradients, the prior's own among them, of what runs on without a view of the data."""
    decoder = decoder_of(**changes)
    (initial, whole), noise, external = arguments(decoder, sampled=sampled)
    seen = whole[:, :, :4]
    carries = {None: None, "ar1": AR1(2, tau=3.0, variance=0.1), "normal": EachBin(Learned(2))}[prior]
    if carries is not None:
        carries = carries.double()

    def made(*, fast: bool) -> list[Tensor]:
        if fast:
            out = decoder(initial, N_BINS, seen=seen, external=external, noise=noise, prior=carries)
        else:
            h0 = decoder.start(initial)
            out = decoder._stepwise(h0, N_BINS, seen, external, noise=noise, prior=carries)
        assert out.posterior is not None
        return [out.states, out.factors, out.inputs, out.posterior.mean, out.posterior.var]

    wanted = [initial, whole, *decoder.parameters()]
    if carries is not None:
        wanted.extend(each for each in carries.parameters() if each.requires_grad)
    mine, other = made(fast=True), made(fast=False)
    for one, two in zip(mine, other, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)
    for one, two in zip(gradients(mine, wanted), gradients(other, wanted), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-11)
