"""All backends of the recurrent primitive agree with torch and with the equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nwb_latents.models.kernels.switch import SWITCH
from nwb_latents.models.parts.recurrent import GRUParameters, GRUWeights, cudnn_gru, gru_sequence, gru_step


def _naive(x: Tensor, w: GRUWeights, h0: Tensor, *, reset: str, clip: float | None) -> Tensor:
    """The equations, one direction and one bin at a time."""
    H = h0.shape[-1]
    sides = []
    for d in range(h0.shape[0]):
        order = range(x.shape[1]) if d == 0 else range(x.shape[1] - 1, -1, -1)
        h, states = h0[d], {}
        for t in order:
            gx = x[:, t] @ w.w_ih[d].T + w.b_ih[d]
            gh = h @ w.w_hh[d].T + w.b_hh[d]
            r = torch.sigmoid(gx[:, :H] + gh[:, :H])
            z = torch.sigmoid(gx[:, H : 2 * H] + gh[:, H : 2 * H])
            inner = (
                r * gh[:, 2 * H :]
                if reset == "after"
                else (r * h) @ w.w_hh[d][2 * H :].T + w.b_hh[d][2 * H :]
            )
            h = z * h + (1 - z) * torch.tanh(gx[:, 2 * H :] + inner)
            h = h if clip is None else h.clamp(-clip, clip)
            states[t] = h
        sides.append(torch.stack([states[t] for t in range(x.shape[1])], 1))
    return torch.cat(sides, -1)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(
    ("reset", "clip"), [("after", None), ("before", None), ("before", 0.2), ("before", 1.5), ("after", 0.2)]
)
@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_value_and_gradient_equal_the_equations(
    directions: int, reset: str, clip: float | None, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, kernels)
    torch.manual_seed(0)
    parameters = GRUParameters(3, 4, directions=directions).double()
    x = torch.randn(5, 6, 3, dtype=torch.float64, requires_grad=True)
    h0 = (3 * torch.randn(directions, 5, 4, dtype=torch.float64)).requires_grad_()
    weigh = torch.randn(5, 6, 4 * directions, dtype=torch.float64)
    wanted = [x, h0, *parameters.parameters()]

    expected = _naive(x, parameters(), h0, reset=reset, clip=clip)
    sequence, last = gru_sequence(x, parameters(), h0, reset=reset, clip=clip)
    torch.testing.assert_close(sequence, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last[:, :4], sequence[:, -1, :4])
    if directions == 2:
        torch.testing.assert_close(last[:, 4:], sequence[:, 0, 4:])
    grads = torch.autograd.grad((sequence * weigh).sum() + last.square().sum(), wanted)
    last_expected = torch.cat([expected[:, -1, :4], expected[:, 0, 4:]], -1)
    reference = torch.autograd.grad((expected * weigh).sum() + last_expected.square().sum(), wanted)
    for mine, theirs in zip(grads, reference, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("directions", [1, 2])
def test_what_runs_on_a_gpu_equals_the_equations_and_knows_when_it_trains(
    directions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN refuses a gradient of what was not computed for training, and start states that are a view."""
    told, real = [], torch.gru

    def gru(x: Tensor, h0: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
        assert h0.is_contiguous()
        told.append(rest[4])
        return real(x, h0, *rest)

    monkeypatch.setattr(torch, "gru", gru)
    torch.manual_seed(0)
    parameters = GRUParameters(3, 4, directions=directions).double()
    x = torch.randn(5, 6, 3, dtype=torch.float64, requires_grad=True)
    h0 = torch.randn(directions, 1, 4, dtype=torch.float64).expand(-1, 5, -1).requires_grad_()
    wanted = [x, h0, *parameters.parameters()]
    expected = _naive(x, parameters(), h0, reset="after", clip=None)
    sequence, last = cudnn_gru(x, parameters(), h0)
    torch.testing.assert_close(sequence, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last[:, :4], sequence[:, -1, :4])
    grads = torch.autograd.grad(sequence.square().sum(), wanted)
    for mine, theirs in zip(grads, torch.autograd.grad(expected.square().sum(), wanted), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        cudnn_gru(x, parameters(), h0)
    assert told == [True, False]


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("reset", ["after", "before"])
def test_a_context_is_one_more_input_in_every_bin(reset: str, learns: bool) -> None:
    torch.manual_seed(0)
    parameters = GRUParameters(5, 4, directions=2).double()
    x = torch.randn(6, 7, 3, dtype=torch.float64, requires_grad=True)
    context = torch.randn(6, 2, dtype=torch.float64, requires_grad=learns)
    beside = torch.cat([x, context[:, None].expand(-1, 7, -1)], -1)
    wanted = [x, *parameters.parameters(), *([context] if learns else [])]
    grads = []
    for sequence, last in (
        gru_sequence(x, parameters(), context=context, reset=reset),
        gru_sequence(beside, parameters(), reset=reset),
    ):
        loss = sequence.square().sum() + last.sum()
        grads.append([loss.detach(), *torch.autograd.grad(loss, wanted, retain_graph=True)])
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("reset", "clip"), [("after", None), ("before", None), ("before", 0.3)])
def test_the_gradient_is_the_same_whatever_is_made_at_a_time(
    monkeypatch: pytest.MonkeyPatch, reset: str, clip: float | None
) -> None:
    parameters = GRUParameters(3, 4, directions=2).double()
    x = torch.randn(5, 9, 3, dtype=torch.float64, requires_grad=True)
    grads = []
    for values in (1, 400, 10**9):
        monkeypatch.setattr("nwb_latents.models.kernels.gru_loops.CACHED_VALUES", values)
        sequence, last = gru_sequence(x, parameters(), reset=reset, clip=clip)
        loss = sequence.square().sum() + last.sum()
        grads.append([loss.detach(), *torch.autograd.grad(loss, [x, *parameters.parameters()])])
    for mine, theirs in zip(grads[0] + grads[1], grads[2] * 2, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_it_is_the_gru_of_torch() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.GRU(3, 4, batch_first=True, bidirectional=True).double()
    mine = GRUParameters(3, 4, directions=2).double()
    with torch.no_grad():
        for name in ("w_ih", "w_hh", "b_ih", "b_hh"):
            long = name.replace("w_", "weight_").replace("b_", "bias_") + "_l0"
            getattr(mine, name).copy_(
                torch.stack([getattr(theirs, long), getattr(theirs, long + "_reverse")])
            )
    x = torch.randn(5, 6, 3, dtype=torch.float64)
    sequence, last = gru_sequence(x, mine())
    expected, h = theirs(x)
    torch.testing.assert_close(sequence, expected)
    torch.testing.assert_close(last, h.transpose(0, 1).reshape(5, 8))
    sequence.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(mine.w_hh.grad[1], theirs.weight_hh_l0_reverse.grad)
    torch.testing.assert_close(mine.w_ih.grad[0], theirs.weight_ih_l0.grad)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_steps_make_the_sequence(reset: str) -> None:
    torch.manual_seed(0)
    weights = GRUParameters(3, 4)()
    x, h = torch.randn(2, 5, 3), torch.zeros(2, 4)
    sequence, _ = gru_sequence(x, weights, reset=reset)
    for t in range(5):
        h = gru_step(x[:, t], h, weights, reset=reset)
        torch.testing.assert_close(h, sequence[:, t])


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("values", [1, 400, 10**9])
def test_many_sequences_have_the_same_value_and_gradient(
    monkeypatch: pytest.MonkeyPatch, directions: int, values: int
) -> None:
    torch.manual_seed(0)
    parameters = GRUParameters(5, 4, directions=directions)
    x, context = torch.randn(6, 7, 3, requires_grad=True), torch.randn(6, 2)
    h0 = torch.randn(directions, 6, 4, requires_grad=True)
    weigh = torch.randn(6, 7, 4 * directions)
    wanted = [x, h0, *parameters.parameters()]
    monkeypatch.setattr("nwb_latents.models.kernels.products.LARGE", 0)
    monkeypatch.setattr("nwb_latents.models.kernels.gru_loops.CACHED_VALUES", values)
    made = []
    for faster in (False, True):
        monkeypatch.setattr("nwb_latents.models.kernels.products.outruns_mkl", lambda faster=faster: faster)
        sequence, last = gru_sequence(x, parameters(), h0, context=context)
        assert (type(last.grad_fn).__name__ == "WideLoopBackward") == faster
        losses = (sequence * weigh).sum(), last.square().sum()
        grads = [torch.autograd.grad(loss, wanted, retain_graph=True) for loss in losses]
        made.append([sequence, last, *grads[0], *grads[1]])
    for mine, theirs in zip(*made, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_many_sequences_are_read_in_by_weights_that_do_not_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = GRUParameters(3, 4, directions=2).requires_grad_(requires_grad=False)
    x = torch.randn(6, 7, 3, requires_grad=True)
    monkeypatch.setattr("nwb_latents.models.kernels.products.LARGE", 0)
    grads = []
    for faster in (False, True):
        monkeypatch.setattr("nwb_latents.models.kernels.products.outruns_mkl", lambda faster=faster: faster)
        grads.append(torch.autograd.grad(gru_sequence(x, parameters())[0].square().sum(), x)[0])
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)
