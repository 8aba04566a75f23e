"""One switch for all kernels: with ``torch`` none runs, and nothing but rounding changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.interface import Model, total_loss
from nwb_latents.models.kernels import products
from nwb_latents.models.kernels.controlled_loop import ControlledLoop
from nwb_latents.models.kernels.gru_loops import ResetAfterLoop, ResetBeforeLoop
from nwb_latents.models.kernels.gru_wide import WideLoop
from nwb_latents.models.kernels.switch import SWITCH, KernelSwitchError, chosen
from nwb_latents.models.parts.recurrent import GRUParameters, gru_sequence
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.training.model_building import built_model
from nwb_latents.schemas.mdssm import MDSSMSettings
from nwb_latents.schemas.models import model_settings
from nwb_latents.schemas.registry import MODELS

UNITS = {"a": 5, "b": 3}
NAMES = list(MODELS)


def model_of(name: str) -> Model:
    return build_model(model_settings(name)(), UNITS, seed=1)


def batch_of(kind: torch.dtype) -> Batch:
    source = torch.Generator().manual_seed(3)
    trials = [
        TrialTensors(name, torch.poisson(torch.ones(n_trials, 14, n), generator=source).to(kind))
        for (name, n), n_trials in zip(UNITS.items(), (9, 4), strict=True)
    ]
    return pack(trials)


def loss_and_gradients(model: Model, batch: Batch) -> list[Tensor]:
    source = torch.Generator().manual_seed(5)
    loss = total_loss(model(batch, observe(batch), 10**6, source), 10**6)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)
    return [loss.detach(), *gradients]


@pytest.mark.parametrize("name", NAMES)
def test_losses_gradients_and_rates_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = model_of(name).double(), batch_of(torch.float64)
    found = {}
    for value in ("auto", "torch"):
        monkeypatch.setenv(SWITCH, value)
        model.train()
        trained = loss_and_gradients(model, batch)
        model.eval()
        with torch.inference_mode():
            found[value] = [*trained, model.predict(batch).mean, model.forecast(batch, 8, 4).mean]
    for fast, plain in zip(*found.values(), strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_no_kernel_runs_where_plain_torch_is_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise AssertionError("a kernel ran")

    for loop in (ResetAfterLoop, ResetBeforeLoop, WideLoop, ControlledLoop):
        monkeypatch.setattr(loop, "apply", fails)
    for product in ("product", "added_product"):
        monkeypatch.setattr(products, product, fails)
    monkeypatch.setattr(products, "LARGE", 0)
    monkeypatch.setenv(SWITCH, "torch")
    model, batch = model_of(name), batch_of(torch.float32)
    loss_and_gradients(model, batch)
    model.eval()
    assert torch.isfinite(model.predict(batch).mean).all()


def test_kernels_run_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    calls = []
    run = ResetBeforeLoop.apply
    monkeypatch.setattr(ResetBeforeLoop, "apply", lambda *a: calls.append(1) or run(*a))
    gru_sequence(torch.zeros(9, 5, 2), GRUParameters(2, 3)(), reset="before")
    assert calls == [1]
    monkeypatch.setenv(SWITCH, "")
    assert chosen() == "auto"


def test_another_word_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "off")
    with pytest.raises(KernelSwitchError, match="NWB_LATENTS_KERNELS: expected auto or torch, found 'off'"):
        gru_sequence(torch.zeros(1, 5, 2), GRUParameters(2, 3)())
    with pytest.raises(SettingsError, match="expected auto or torch, found 'off'"):
        built_model(MDSSMSettings(), {"a": 3}, seed=0)
