"""The hypernetwork recurrent network against its equations, and the facts its users rely on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nwb_latents.models.batching.cuts import cut_at
from nwb_latents.models.batching.shown_input import ShownSmoothing
from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import compose, observe
from nwb_latents.models.families.hnet import EMBEDDING_GAIN, HNET
from nwb_latents.models.interface import total_loss
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.hnet import HNETSettings

UNITS = {"a": 5, "b": 3}
N_BINS = 9
SMALL = {
    "recurrent_dim": 6,
    "rank": 2,
    "hyper_width": 8,
    "start_bins": 2,
    "process_noise": 0.0,
    "read_in": {"hidden": 4, "width": 3},
}
OWN = {"observed": "units", "start_bins": 1}


def small(units: dict[str, int] | None = None, **changes: object) -> HNET:
    settings = HNETSettings.model_validate({**SMALL, **changes})
    model = build_model(settings, units or UNITS, seed=3).double()
    assert isinstance(model, HNET)
    return model


def batch_of(n_trials: dict[str, int], units: dict[str, int] | None = None, *, n_bins: int = N_BINS) -> Batch:
    source = torch.Generator().manual_seed(5)
    shape = units or UNITS
    return pack([
        TrialTensors(name, torch.randn(n, n_bins, shape[name], generator=source, dtype=torch.float64))
        for name, n in n_trials.items()
    ])  # fmt: skip


def test_a_free_run_is_the_equation_written_out() -> None:
    units = {"a": 4, "b": 4}
    model = small(units, **OWN)
    batch = batch_of({"a": 3, "b": 3}, units)
    made = model.predict(batch).mean
    p = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    for row in range(2):
        e = EMBEDDING_GAIN * p["embedding.vectors.blocks.0"][row]
        hidden = np.tanh(p["hyper.trunk.0.weight"] @ e + p["hyper.trunk.0.bias"])
        hidden = np.tanh(p["hyper.trunk.2.weight"] @ hidden + p["hyper.trunk.2.bias"])
        raw = p["hyper.heads.recurrent.weight"] @ hidden + p["hyper.heads.recurrent.bias"]
        u, v = raw[: 4 * 2].reshape(4, 2), raw[4 * 2 :].reshape(4, 2)
        J = u @ v.T / 2  # √N
        r = batch.y[row].numpy()[:, 0]
        for t in range(N_BINS):
            np.testing.assert_allclose(made[row, :, t].detach().numpy(), r, atol=1e-12)
            r = r + 0.2 * (-r + np.tanh(r) @ J.T)


def test_the_matrix_of_an_embedding_is_the_one_the_network_runs_on() -> None:
    model = small({"a": 4}, **OWN)
    e = model.embed(batch_of({"a": 1}, {"a": 4})).mean
    r = torch.randn(1, 3, 4, dtype=torch.float64)
    stepped = model.dynamics(r, None, model.hyper(e))
    expected = r + 0.2 * (torch.tanh(r) @ model.recurrent_weights(e)[0].T - r)
    torch.testing.assert_close(stepped, expected)


def test_padding_by_another_session_changes_nothing() -> None:
    model = small()
    both = batch_of({"a": 4, "b": 2})
    alone = pack([TrialTensors("b", both.y[1, :2, :, :3])])
    torch.testing.assert_close(model.predict(both).mean[1, :2, :, :3], model.predict(alone).mean[0])
    losses = [float(total_loss(model(b, observe(b), 10**9), 10**9).detach()) for b in (both, alone)]
    first = pack([TrialTensors("a", both.y[0])])
    losses.append(float(total_loss(model(first, observe(first), 10**9), 10**9).detach()))
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-12)


@pytest.mark.parametrize("t0", [1, 2, 6])
def test_a_forecast_reads_no_bin_it_is_asked_for(t0: int) -> None:
    model = small()
    batch = batch_of({"a": 4, "b": 4})
    later = batch.y.clone()
    later[:, :, t0:] += 1
    found = model.forecast(batch, t0, 5).mean
    assert found.shape[2] == 5
    assert torch.equal(found, model.forecast(replace(batch, y=later), t0, 5).mean)
    earlier = batch.y.clone()
    earlier[:, :, t0 - 1] += 1
    assert not torch.equal(found, model.forecast(replace(batch, y=earlier), t0, 5).mean)


def test_a_forecast_of_recorded_units_runs_on_from_the_last_bin_seen() -> None:
    model = small({"a": 4}, **OWN)
    batch = batch_of({"a": 3}, {"a": 4})
    cut = pack([TrialTensors("a", batch.y[0, :, 4:])])
    torch.testing.assert_close(model.forecast(batch, 5, 4).mean, model.predict(cut).mean[:, :, 1:5])


def test_recorded_units_start_at_the_rate_smoothed_from_all_that_is_shown() -> None:
    """One bin's few spikes are no state: whole trials tell the first bin's, bins before a cut the last's."""
    smoothing, units = ShownSmoothing(1.25), {"a": 4}
    counts = torch.poisson(torch.full((3, N_BINS, 4), 1.0), torch.Generator().manual_seed(0)).double()
    batch = pack([TrialTensors("a", counts, smoothing=smoothing)])
    model, raw = small(units, **OWN), counts[None]
    torch.testing.assert_close(model.predict(batch).mean[:, :, 0], smoothing(raw)[:, :, 0])
    cut = compose(observe, cut_at(5))(batch, None, 0)
    last = smoothing(raw[:, :, :5])[:, :, 4]
    torch.testing.assert_close(model.eval()(batch, cut, 10**9).mean[:, :, 0], last)
    next_bin = model._run(batch, last[:, :, None], 2, None).mean[:, :, 1]
    torch.testing.assert_close(model.forecast(batch, 5, 1).mean[:, :, 0], next_bin)
    assert not torch.equal(last, raw[:, :, 4])


@pytest.mark.parametrize("cut", [1, 2, 6])
def test_a_cut_step_starts_the_network_where_a_forecast_does(cut: int) -> None:
    """From ``start_bins`` before the cut; what comes before is neither run nor scored."""
    model, batch = small(horizon_every=0), batch_of({"a": 4, "b": 4})
    target = batch.target.clone().requires_grad_()
    view = replace(compose(observe, cut_at(cut))(batch, None, 0), target=target)
    total_loss(model(batch, view, 0), 0).backward()
    assert target.grad is not None
    touched = target.grad.abs().sum((0, 1, 3)) > 0
    assert touched.tolist() == [t >= max(0, cut - 2) for t in range(N_BINS)]


def test_the_scored_part_of_the_trial_grows() -> None:
    model = small(horizon_block=3, horizon_every=10)
    batch = batch_of({"a": 4, "b": 4})
    for step, n_scored in ((0, 3), (9, 3), (10, 6), (25, 9), (10**9, 9)):
        target = batch.target.clone().requires_grad_()
        view = replace(observe(batch), target=target)
        total_loss(model(batch, view, step), step).backward()
        assert target.grad is not None
        touched = target.grad.abs().sum((0, 1, 3)) > 0
        assert touched.tolist() == [t < n_scored for t in range(N_BINS)]
    model.eval()
    assert model(batch, observe(batch), 0).mean.shape[2] == N_BINS


def test_alignment_trains_what_belongs_to_the_new_session() -> None:
    known = small({"a": 4, "b": 4}, **OWN)
    new = small({"c": 4}, **OWN)
    new.start_aligned(known.state_dict())
    assert new.alignable_parameters(["c"]) == {"embedding.vectors.blocks.0"}
    table = known.state_dict()["embedding.vectors.blocks.0"]
    torch.testing.assert_close(new.state_dict()["embedding.vectors.blocks.0"], table.mean(0, keepdim=True))
    for name, value in new.state_dict().items():
        if not name.startswith("embedding."):
            assert torch.equal(value, known.state_dict()[name])


def test_sessions_of_different_units_are_refused_where_units_are_the_network() -> None:
    with pytest.raises(ValueError, match="found a: 5, b: 3"):
        small(**OWN)


def test_a_second_bin_to_start_from_is_refused_where_units_are_the_network() -> None:
    with pytest.raises(ValueError, match="set start_bins to 1, found 13"):
        HNETSettings(observed="units")


def test_process_noise_is_drawn_in_training_only() -> None:
    model = small(process_noise=0.1)
    batch = batch_of({"a": 4, "b": 4})

    def run(seed: int) -> torch.Tensor:
        return model(batch, observe(batch), 10**9, torch.Generator().manual_seed(seed)).mean

    assert not torch.equal(run(0), run(1))
    model.eval()
    assert torch.equal(run(0), run(1))
