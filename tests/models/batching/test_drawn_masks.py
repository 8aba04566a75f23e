"""Masks as training settings: what must not count has a derivative of exactly zero, in every model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from nwb_latents.models.batching.augmentation import spike_jitter, temporal_shift
from nwb_latents.models.batching.drawn_masks import held_back_masker, mask_once, training_masker
from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.batching.views import compose, observe
from nwb_latents.models.interface import Model, total_loss
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.lfads import LFADSSettings
from nwb_latents.schemas.masks import MaskSettings
from nwb_latents.schemas.mdssm import MDSSMSettings

if TYPE_CHECKING:
    from nwb_latents.models.batching.views import View

UNITS = {"a": 3, "b": 2}
T = 4
SETTINGS = {
    "lfads": LFADSSettings.model_validate(
        {
            "generator_dim": 5, "ic_dim": 3, "factor_dim": 3, "encoder_dim": 4, "controller_dim": 4,
            "read_in": {"hidden": 4, "width": 4},
        }
    ),
    "mdssm": MDSSMSettings.model_validate(
        {
            "latent_dim": 3, "embedding_dim": 1, "rank": 1, "dynamics_width": 6, "hyper_width": 5,
            "encoder_width": 4, "read_in": {"hidden": 4, "width": 4}, "likelihood": "poisson",
        }
    ),
}  # fmt: skip


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(name: str) -> Model:
    return build_model(SETTINGS[name], UNITS, seed=1).double()


def trials(masks: MaskSettings | None = None) -> list[TrialTensors]:
    made = []
    for name, n in UNITS.items():
        y = torch.poisson(torch.full((3, T, n), 1.0), generator=rng(n)).double()
        one = TrialTensors(name, y, target=y.clone())
        made.append(one if masks is None else mask_once(one, masks, seed=4, part="train"))
    return made


def with_gradient(batch: Batch) -> Batch:
    return replace(
        batch, y=batch.y.clone().requires_grad_(), target=batch.target.clone().requires_grad_()
    )  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_no_sample_teaches_its_own_rate_under_coordinated_dropout(name: str) -> None:
    model = model_of(name)
    batch = with_gradient(pack(trials()))
    view = training_masker(MaskSettings(coordinated_dropout=0.4))(batch, rng(), 0)
    reached = 0
    for element in torch.nonzero(batch.real()).tolist():
        only = torch.zeros_like(view.weight)
        only[tuple(element)] = 1
        alone = replace(view, weight=view.weight * only, sg=view.sg * only)
        nll = next(t for t in model(batch, alone, 0, rng(1)).terms if t.name == "nll").value
        (gradient,) = torch.autograd.grad(nll, batch.y, allow_unused=True, retain_graph=True)
        assert gradient[tuple(element)] == 0
        reached += bool(gradient.any())
    assert reached > 5


@pytest.mark.parametrize("name", SETTINGS)
def test_a_pass_rate_of_one_is_training_on_everything_with_the_masked_input(name: str) -> None:
    model, batch = model_of(name), pack(trials())
    learning = [p for p in model.parameters() if p.requires_grad]
    gradients = []
    for rate in (1.0, 0.0):
        view = training_masker(MaskSettings(coordinated_dropout=0.4, pass_rate=rate))(batch, rng(), 0)
        if rate == 0.0:
            view = replace(view, weight=view.weight + view.sg, sg=None)
        loss = total_loss(model(batch, view, 5, rng(1)), 5)
        gradients.append(torch.autograd.grad(loss, learning, allow_unused=True))
    assert all(a is None or torch.allclose(a, b) for a, b in zip(*gradients, strict=True) if b is not None)


@pytest.mark.parametrize("name", SETTINGS)
def test_samples_held_back_for_validation_reach_nothing(name: str) -> None:
    masks = MaskSettings(sample_validation=0.3, coordinated_dropout=0.3)
    batch = with_gradient(pack(trials(masks)))
    view = training_masker(masks)(batch, rng(), 0)
    loss = total_loss(model_of(name)(batch, view, 5, rng(1)), 5)
    shown, scored = torch.autograd.grad(loss, (batch.y, batch.target))
    assert batch.held_back.any()
    assert not shown[batch.held_back].any()
    assert not scored[batch.held_back].any()
    assert shown.any()
    assert scored.any()


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(
    "extra", [{}, {"coordinated_dropout": 0.3}, {"temporal_shift": 2.0}, {"spike_jitter": 1}], ids=str
)
def test_what_is_not_recorded_reaches_nothing(name: str, extra: dict[str, float]) -> None:
    masks = MaskSettings(observed_share=0.5, **extra)
    losses, gradients = [], []
    for other in (0.0, 7.0):
        parts = []
        for one in trials():
            missing = ~mask_once(one, masks, seed=4, part="train").y.isfinite()
            changed = replace(one, y=one.y + other * missing, target=one.target + other * missing)
            parts.append(mask_once(changed, masks, seed=4, part="train"))
        batch = with_gradient(pack(parts))
        model = model_of(name)
        loss = total_loss(model(batch, training_masker(masks)(batch, rng(), 0), 5, rng(1)), 5)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        if batch.y.grad is not None:
            assert not batch.y.grad[batch.y.isnan()].any()
            assert not batch.target.grad[batch.target.isnan()].any()
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_every_bin_of_every_trial_keeps_the_same_number_of_units() -> None:
    one = TrialTensors("a", torch.ones(6, 9, 29), target=torch.ones(6, 9, 29))
    few = mask_once(one, MaskSettings(observed_share=10 / 29), seed=0, part="train")
    assert few.y.isfinite().sum(2).unique().tolist() == [10]
    assert torch.equal(few.y.isfinite(), few.target.isfinite())
    assert len({tuple(row) for row in few.y.isfinite().reshape(-1, 29).tolist()}) > 40
    least = mask_once(one, MaskSettings(observed_share=0.01), seed=0, part="train")
    assert least.y.isfinite().sum(2).unique().tolist() == [1]
    again = mask_once(one, MaskSettings(observed_share=10 / 29), seed=0, part="train")
    assert torch.equal(again.y.isnan(), few.y.isnan())


def test_without_missing_samples_the_loss_is_the_plain_one_bit_for_bit() -> None:
    model, batch = model_of("lfads"), pack(trials())
    plain = total_loss(model(batch, observe(batch), 5, rng(1)), 5)
    masked = pack(trials(MaskSettings()))
    assert torch.equal(
        plain, total_loss(model(masked, training_masker(MaskSettings())(masked, rng(), 0), 5, rng(1)), 5)
    )


def test_what_coordinated_dropout_shows_is_scaled_up_by_the_share_it_hides() -> None:
    batch = pack([TrialTensors("a", torch.ones(40, 20, 10))])
    shown = training_masker(MaskSettings(coordinated_dropout=0.2))(batch, rng(), 0).x
    assert shown.unique().tolist() == [0, 1.25]
    assert float(shown.mean()) == pytest.approx(1, abs=0.02)


def test_what_is_masked_once_hangs_on_the_seed_the_part_and_the_session() -> None:
    masks = MaskSettings(sample_validation=0.5)
    ones = torch.ones(6, 9, 20)

    def held_back(session: str, part: str, seed: int) -> bytes:
        made = mask_once(TrialTensors(session, ones), masks, seed=seed, part=part).held_back
        return made.numpy().tobytes()

    asked = [("a", "train", 0), ("b", "train", 0), ("a", "val", 0), ("a", "train", 1)]
    assert len({held_back(*each) for each in asked}) == 4
    assert held_back(*asked[0]) == held_back(*asked[0])


def test_held_back_samples_alone_are_scored_on_the_scale_of_all() -> None:
    masks = MaskSettings(sample_validation=0.25)
    one = TrialTensors("a", torch.ones(40, 20, 10))
    batch = pack([mask_once(one, masks, seed=0, part="val")])
    train, held = training_masker(masks)(batch, rng(), 0), held_back_masker(masks)(batch, rng(), 0)
    assert torch.equal(train.x, held.x)
    assert ((train.weight > 0) ^ (held.weight > 0)).all()
    for view in (train, held):
        assert float(view.weight.mean()) == pytest.approx(1, abs=0.05)
    assert float(train.x.max()) == pytest.approx(1 / 0.75)


def test_units_the_encoders_never_see_are_neither_held_back_nor_scaled() -> None:
    masks = MaskSettings(sample_validation=0.5)
    one = TrialTensors("a", torch.ones(4, 5, 3), target=torch.ones(4, 6, 4))
    batch = pack([mask_once(one, masks, seed=0, part="train")])
    view = training_masker(masks)(batch, rng(), 0)
    assert (view.weight[..., 5:, :] == 1).all()
    assert (view.weight[..., 3:] == 1).all()
    assert sorted(view.weight[..., :5, :3].unique().tolist()) == [0, 2]
    assert not held_back_masker(masks)(batch, rng(), 0).weight[..., 3:].any()


def jittered(view_of: TrialTensors, width: int) -> View:
    return compose(observe, spike_jitter(width))(pack([view_of]), rng(), 0)


def test_jitter_keeps_every_spike_within_its_width() -> None:
    y = torch.zeros(5, 30, 2)
    y[:, 10] = 3
    view = jittered(TrialTensors("a", y, target=y.clone()), 2)
    for moved in (view.x[0], view.target[0]):
        assert torch.equal(moved.sum(1), y.sum(1))
        assert not moved[:, :8].any()
        assert not moved[:, 13:].any()
    assert not torch.equal(view.x, view.target)
    edge = torch.zeros(1, 6, 1)
    edge[:, [0, -1]] = 4
    assert float(jittered(TrialTensors("a", edge), 9).x.sum()) == 8
    assert torch.equal(jittered(TrialTensors("a", y), 0).x[0], y)


def test_shift_moves_a_unit_of_a_trial_as_a_whole_and_independently_for_input_and_target() -> None:
    ramp = torch.arange(20.0)[:, None].expand(30, 20, 4).clone()
    batch = pack([TrialTensors("a", ramp, target=ramp.clone())])
    view = compose(observe, temporal_shift(3.0, 6))(batch, rng(), 0)
    for moved in (view.x[0], view.target[0]):
        shift = moved[:, 10] - 10
        assert shift.abs().max() == 6
        expected = (torch.arange(20.0)[:, None] + shift[:, None]).clamp(0, 19)
        assert torch.equal(moved, expected)
    assert not torch.equal(view.x, view.target)


def test_off_means_off() -> None:
    batch = pack(trials())
    for change in (spike_jitter(0), temporal_shift(0.0, 6)):
        view = observe(batch)
        assert change(view, batch, rng(), 0) is view
    assert mask_once(trials()[0], MaskSettings(), seed=0, part="train").held_back is None
