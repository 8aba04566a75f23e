"""The information-maximising diffusion model against its equations, and the facts its users rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.families.gnocchi import GNOCCHI
from nwb_latents.models.interface import total_loss
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.gnocchi import GNOCCHISettings

UNITS = {"a": 5, "b": 3}
N_BINS = 9
SMALL = {
    "code_dim": 2,
    "encoder_width": 4,
    "channels": 8,
    "blocks": 2,
    "kernel": 3,
    "groups": 4,
    "noise_steps": 20,
    "sampling_steps": 20,
    "read_in": {"hidden": 4, "width": 4},
}


def small(units: dict[str, int] | None = None, **changes: object) -> GNOCCHI:
    settings = GNOCCHISettings.model_validate({**SMALL, **changes})
    model = build_model(settings, units or UNITS, seed=3).double()
    assert isinstance(model, GNOCCHI)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in model.denoiser.blocks:
            torch.nn.init.normal_(block.second.weight, std=0.3)
    return model


def batch_of(n_trials: dict[str, int], units: dict[str, int] | None = None) -> Batch:
    source = torch.Generator().manual_seed(5)
    shape = units or UNITS
    return pack([
        TrialTensors(name, torch.randn(n, N_BINS, shape[name], generator=source, dtype=torch.float64))
        for name, n in n_trials.items()
    ])  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("predict", ["x0", "eps"])
def test_the_loss_is_the_error_of_one_noisy_step_and_the_discrepancy_of_the_codes(predict: str) -> None:
    model = small({"a": 5}, predict=predict, mmd_weight=0.7)
    batch = batch_of({"a": 6}, {"a": 5})
    output = model(batch, observe(batch), 0, seeded())
    source = seeded()
    level = torch.randint(1, 21, (1, 6), generator=source)
    noise = torch.randn(batch.y.shape, generator=source, dtype=torch.float64)
    kept = model.schedule.kept[level][..., None, None]
    noisy = kept.sqrt() * batch.y + (1 - kept).sqrt() * noise
    code = model.encode(batch)
    sessions = torch.tensor([0])
    said = model.read_out(model.denoiser(model.read_in(noisy, sessions), level, code), sessions, 5)
    wanted = batch.y if predict == "x0" else noise
    estimate = said if predict == "x0" else (noisy - (1 - kept).sqrt() * said) / kept.sqrt()
    nll, mmd = output.terms
    torch.testing.assert_close(nll.value, (said - wanted).square().mean())
    torch.testing.assert_close(output.mean, estimate)
    torch.testing.assert_close(total_loss(output, 0), nll.value + 0.7 * mmd.value)


def test_what_is_said_of_a_session_does_not_depend_on_the_sessions_beside_it() -> None:
    model = small()
    both = batch_of({"a": 4, "b": 2})
    alone = pack([TrialTensors("b", both.y[1, :2, :, :3])])
    torch.testing.assert_close(model.encode(both)[1, :2], model.encode(alone)[0])
    torch.testing.assert_close(model.predict(both).mean[1, :2, :, :3], model.predict(alone).mean[0])
    torch.testing.assert_close(
        model.forecast(both, 4, 3).mean[1, :2, :, :3], model.forecast(alone, 4, 3).mean[0]
    )


def test_padding_gets_no_gradient() -> None:
    model = small()
    batch = batch_of({"a": 4, "b": 2})
    total_loss(model(batch, observe(batch), 0, seeded()), 0).backward()
    for weight in (model.read_in.weight.blocks[0], model.read_out.weight.blocks[0]):
        assert weight.grad is not None
        assert not weight.grad[1, 3:].any()
        assert weight.grad[1, :3].any()


def test_missing_samples_change_neither_code_nor_loss() -> None:
    model = small({"a": 5})
    y = batch_of({"a": 4}, {"a": 5}).y[0]
    y[:, 3, 2] = float("nan")
    batch = pack([TrialTensors("a", y)])
    output = model(batch, observe(batch), 0, seeded())
    assert output.terms[0].value.isfinite()
    zero = pack([TrialTensors("a", y.nan_to_num())])
    torch.testing.assert_close(model.encode(batch), model.encode(zero))
    view = observe(zero)
    weight = view.weight.clone()
    weight[:, :, 3, 2] = 0
    same = model(zero, replace(view, weight=weight), 0, seeded())
    torch.testing.assert_close(same.terms[0].value, output.terms[0].value)


def test_a_trial_made_of_its_own_noise_is_the_trial_again_and_of_another_code_another() -> None:
    model = small({"a": 5}, predict="eps", noise_steps=400, sampling_steps=400, last_noise=0.02)
    batch = batch_of({"a": 3}, {"a": 5})
    with torch.no_grad():
        code = model.encode(batch)
        noise = model.encode_noise(batch, code)
        back = model.decode(["a"], code, noise).mean
        other = model.decode(["a"], code + 2, noise).mean
    assert float((back - batch.y).norm()) < 0.1 * float((other - batch.y).norm())


def test_where_the_last_step_holds_data_a_prediction_takes_all_steps() -> None:
    model = small({"a": 5})
    batch = batch_of({"a": 3}, {"a": 5})
    made = model.decode(["a"], model.encode(batch), torch.zeros_like(batch.y))
    torch.testing.assert_close(model.predict(batch).mean, made.mean)
    torch.testing.assert_close(model.predict(batch).latents[:, :, 4], model.encode(batch))


def test_where_the_last_step_is_noise_a_prediction_is_its_estimate_of_the_data() -> None:
    model = small({"a": 5}, last_noise=0.5)
    batch = batch_of({"a": 3}, {"a": 5})
    calls = []
    model.denoiser.register_forward_hook(lambda _, given, __: calls.append(given[1].unique().tolist()))
    made = model.predict(batch).mean
    assert calls == [[20]]
    code, nothing = model.encode(batch), torch.zeros_like(batch.y)
    model.settings = model.settings.model_copy(update={"sampling_steps": 1})
    torch.testing.assert_close(made, model.decode(["a"], code, nothing).mean)
    other = small({"a": 5}, last_noise=0.5, predict="eps")
    other.denoiser.register_forward_hook(lambda _, given, __: calls.append(given[1].unique().tolist()))
    calls.clear()
    other.predict(batch)
    assert len(calls) == SMALL["sampling_steps"]


def test_a_prediction_from_samples_is_their_average() -> None:
    model = small({"a": 5})
    batch = batch_of({"a": 3}, {"a": 5})
    source = seeded(1)
    noise = [torch.randn(batch.y.shape, generator=source, dtype=torch.float64) for _ in range(3)]
    code = model.encode(batch)
    expected = sum(model.decode(["a"], code, one).mean for one in noise) / 3
    torch.testing.assert_close(model.predict(batch, n_samples=3, generator=seeded(1)).mean, expected)


@pytest.mark.parametrize("last_noise", [0.04, 0.5], ids=["all steps", "at once"])
def test_a_forecast_reads_only_the_bins_seen(last_noise: float) -> None:
    model = small(last_noise=last_noise)
    batch = batch_of({"a": 4, "b": 4})
    later = batch.y.clone()
    later[:, :, 5:] += 3
    found = model.forecast(batch, 5, 6).mean
    assert found.shape == (2, 4, 6, 5)
    torch.testing.assert_close(found, model.forecast(replace(batch, y=later), 5, 6).mean)
    earlier = batch.y.clone()
    earlier[:, :, 4] += 1
    assert not torch.allclose(found, model.forecast(replace(batch, y=earlier), 5, 6).mean)
    with pytest.raises(ValueError, match="after 10 seen bins of trials with 9 bins"):
        model.forecast(batch, 10, 1)


def test_training_on_two_kinds_of_trials_tells_them_apart_by_code() -> None:
    model = small({"a": 5}).float()
    source = seeded(2)
    kind = torch.arange(64) % 2
    shape = torch.randn(2, N_BINS, 5, generator=source)
    y = shape[kind] + 0.1 * torch.randn(64, N_BINS, 5, generator=source)
    batch = pack([TrialTensors("a", y)])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(150):
        optimiser.zero_grad()
        total_loss(model(batch, observe(batch), step, seeded(step)), step).backward()
        optimiser.step()
    with torch.no_grad():
        made = model.eval().predict(batch)
    error = (made.mean[0] - shape[kind]).square().mean() / shape.var()
    assert float(error) < 0.2
    code = made.aux["code"][0]
    middle = [code[kind == k].mean(0) for k in range(2)]
    spread = max(float(code[kind == k].std(0).max()) for k in range(2))
    assert float((middle[0] - middle[1]).norm()) > 3 * spread


def test_alignment_trains_read_in_and_read_out_of_the_new_session() -> None:
    known, new = small(), small({"c": 4})
    new.start_aligned(known.state_dict())
    names = new.alignable_parameters(["c"])
    assert names == {"read_in.weight.blocks.0", "read_in.bias.blocks.0", "read_out.weight.blocks.0",
                     "read_out.bias.blocks.0"}  # fmt: skip
    for name, value in new.state_dict().items():
        if name not in names:
            assert torch.equal(value, known.state_dict()[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"channels": 12}, "12 channels and 8 groups"), ({"kernel": 4}, "set it to 5")],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GNOCCHISettings.model_validate(changes)
