"""Principal frames: equal coordinates from sessions that were observed through other units."""

from __future__ import annotations

import pytest
import torch

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.families.mdssm import MDSSM
from nwb_latents.models.interface import total_loss
from nwb_latents.models.parts.principal_frame import mean_entry, principal_frame
from nwb_latents.schemas.mdssm import MDSSMSettings

N_TRIALS, T = 40, 60


def _spiral(generator: torch.Generator) -> torch.Tensor:
    """Rotations whose second coordinate varies more and is faster. Shape ``(trial, time, 2)``."""
    t = torch.linspace(0, 6, T) + 6.28 * torch.rand(N_TRIALS, 1, generator=generator)
    return torch.stack([t.cos(), 1.5 * (t.sin() + (3 * t).sin())], -1)


def _observed(z: torch.Tensor, n_units: int, generator: torch.Generator) -> torch.Tensor:
    """Orthogonal read-outs, so that the frame of the states is the one expected."""
    axes = torch.linalg.qr(torch.randn(n_units, 2, generator=generator))[0] * (n_units / 2) ** 0.5
    return z @ axes.T + torch.randn(n_units, generator=generator)


@pytest.mark.parametrize("n_units", [7, 60])
def test_the_same_states_have_the_same_coordinates_whatever_the_units(n_units: int) -> None:
    generator = torch.Generator().manual_seed(n_units)
    z = _spiral(generator)
    y = _observed(z, n_units, generator)
    frame = principal_frame(y, 2)
    found = (y - frame.mean) @ frame.projection
    wanted = z - z.mean((0, 1))
    if (found * wanted).mean() < 0:  # these rotations look the same from behind
        found = -found
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)
    assert frame.left_over.max() < 1e-6 < frame.total.min()


def test_a_mirrored_session_is_turned_the_same_way_round() -> None:
    generator = torch.Generator().manual_seed(0)
    y = _observed(_spiral(generator) * torch.tensor([1.0, -1.0]), 20, generator)
    frame = principal_frame(y, 2)
    z = (y - frame.mean) @ frame.projection
    assert (z[:, :-1, 0] * z[:, 1:, 1] - z[:, 1:, 0] * z[:, :-1, 1]).mean() > 0


def test_missing_values_and_more_axes_than_units() -> None:
    y = torch.randn(5, 9, 3, generator=torch.Generator().manual_seed(1))
    y[0, 2, 1] = torch.nan
    y[:, :, 2] = torch.nan
    frame = principal_frame(y, 4)
    assert frame.axes.shape == (3, 4)
    assert all(part.isfinite().all() for part in frame)
    assert (frame.axes[:, 3] == 0).all()


def test_four_quarter_turns_are_none() -> None:
    frame = principal_frame(torch.randn(5, 9, 6, generator=torch.Generator().manual_seed(1)), 3)
    turned = frame
    for _ in range(4):
        turned = turned.turned(torch.pi / 2)
    torch.testing.assert_close(turned.axes, frame.axes, atol=1e-5, rtol=0)
    assert not torch.allclose(frame.turned(torch.pi / 2).axes, frame.axes)


SMALL = {
    "latent_dim": 2, "embedding_dim": 1, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8,
    "read_in": {"hidden": 8, "width": 4}, "start": "principal",
}  # fmt: skip


def test_sessions_started_in_frames_are_read_in_alike_and_read_out_as_they_were() -> None:
    generator = torch.Generator().manual_seed(2)
    z = _spiral(generator)
    sessions = {name: _observed(z, n, generator) for name, n in (("a", 12), ("b", 31))}
    model = MDSSM(MDSSMSettings.model_validate(SMALL), {name: y.shape[2] for name, y in sessions.items()})
    frames = {name: principal_frame(y, 2) for name, y in sessions.items()}
    model.start_at(frames)
    batch = pack([TrialTensors(name, y) for name, y in sessions.items()])
    rows = model.names.index(["a", "b"])
    with torch.no_grad():
        a, b = model.read_in(batch.y, rows)
        torch.testing.assert_close(a, b, atol=0.1, rtol=0)
        read = model.read_out((sessions["a"] - frames["a"].mean)[None] @ frames["a"].projection, rows[:1], 12)
    torch.testing.assert_close(read[0], sessions["a"], atol=1e-4, rtol=0)

    entry = mean_entry(model.state_dict())
    model.add_sessions({"c": 20})
    y = _observed(z, 20, generator)
    model.start_at({"c": principal_frame(y, 2)}, entry)
    with torch.no_grad():
        c = model.read_in(y[None], model.names.index(["c"]))
    torch.testing.assert_close(c[0], b, atol=0.1, rtol=0)


def test_principal_start_needs_a_gaussian_likelihood() -> None:
    with pytest.raises(ValueError, match=r"start.*Use likelihood gaussian"):
        MDSSMSettings.model_validate(SMALL | {"likelihood": "poisson"})


def test_the_kl_of_the_embedding_is_shared_by_the_trials_where_asked() -> None:
    y = torch.randn(5, 9, 3, generator=torch.Generator().manual_seed(1))
    batch = pack([TrialTensors("a", y)])
    losses = {}
    for kl in ("session", "trial"):
        torch.manual_seed(0)
        model = MDSSM(MDSSMSettings.model_validate(SMALL | {"embedding_kl": kl}), {"a": 3})
        output = model(batch, observe(batch), 0, torch.Generator().manual_seed(0))
        (term,) = [term for term in output.terms if term.name == "kl_embedding"]
        losses[kl] = (term.value.item(), total_loss(output, 0).item())
    assert losses["trial"][0] == pytest.approx(losses["session"][0] / 5)
    assert losses["session"][1] - losses["trial"][1] == pytest.approx(0.8 * losses["session"][0], rel=1e-3)
