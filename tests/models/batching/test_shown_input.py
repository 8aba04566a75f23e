"""What is shown is smoothed from what is shown: as the recorded rates are, but of nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.models.batching.drawn_masks import training_masker
from nwb_latents.models.batching.shown_input import ShownSmoothing, _weights
from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import encoder_input, hold_out, observe
from nwb_latents.pipeline.signals.smoothing import smooth_counts
from nwb_latents.schemas.masks import MaskSettings

SMOOTHING = ShownSmoothing(1.25)
MASKS = {
    "none": {},
    "coordinated_dropout": {"coordinated_dropout": 0.3},
    "temporal_shift": {"temporal_shift": 1.0, "temporal_shift_max": 2},
}


def batch_of(y, **about):
    return pack([TrialTensors("a", y, target=y.clone(), smoothing=SMOOTHING, **about)])


@given(
    n_bins=st.integers(1, 30),
    sigma=st.floats(0.3, 6.0),
    truncate=st.floats(0.5, 6.0),
    missing=st.sets(st.integers(0, 29)),
)
def test_it_is_the_smoothing_of_the_stores_on_the_bins_shown(n_bins, sigma, truncate, missing):
    counts = np.random.default_rng(n_bins).poisson(2.0, (3, n_bins)).astype(np.uint16)
    observed = np.array([t not in missing for t in range(n_bins)])
    stored = smooth_counts(counts, observed, bin_size_s=1.0, sigma_s=sigma, truncate=truncate)
    shown = torch.from_numpy(counts.T[None, None].astype(np.float64))
    known = torch.from_numpy(np.broadcast_to(observed[:, None], (1, 1, n_bins, 3)).copy())
    found = ShownSmoothing(sigma, truncate)(shown, None if observed.all() else known)[0, 0].numpy()
    np.testing.assert_allclose(found[observed], stored[observed], rtol=1e-5, atol=1e-6)


def test_shifting_and_scaling_may_come_before_or_after():
    counts = torch.poisson(torch.full((2, 9, 4), 1.5))
    offset, scale = torch.rand(4), 0.5 + torch.rand(4)
    before = SMOOTHING(((counts - offset) / scale)[None])
    torch.testing.assert_close(before, (SMOOTHING(counts[None]) - offset) / scale)


@pytest.mark.parametrize("masks", MASKS)
def test_nothing_of_later_bins_is_in_what_is_shown(masks):
    """Whatever a mask hides or moves in the bins shown."""
    torch.manual_seed(0)
    y = torch.randn(3, 12, 5)
    y[0, 2, 1] = float("nan")
    later = y.clone()
    later[:, 8:] = 1e3
    masker = training_masker(MaskSettings(**MASKS[masks]))
    one, other = (masker(batch_of(each), torch.Generator().manual_seed(1), 0) for each in (y, later))
    n_seen = 8 - (2 if masks == "temporal_shift" else 0)
    assert torch.equal(one.shown(n_seen), other.shown(n_seen))
    assert not torch.equal(one.x[:, :, :n_seen], other.x[:, :, :n_seen])
    assert torch.equal(encoder_input(batch_of(y), 8), encoder_input(batch_of(later), 8))
    assert torch.equal(encoder_input(batch_of(y), 8), encoder_input(batch_of(later).first_bins(8)))
    assert torch.equal(observe(batch_of(y)).shown(8), encoder_input(batch_of(y), 8))


def test_a_sample_that_is_dropped_is_in_no_bin_around_it():
    """Hidden counts leave no trace in the input: not even in the bins they would be smoothed into."""
    y = torch.poisson(torch.full((4, 10, 6), 2.0)) + 0.5
    masker = training_masker(MaskSettings(coordinated_dropout=0.5))
    view = masker(batch_of(y), torch.Generator().manual_seed(3), 0)
    hidden = view.samples[0] == 0
    other = masker(batch_of(y + 7.0 * hidden), torch.Generator().manual_seed(3), 0)
    assert hidden.any()
    assert torch.equal(view.x, other.x)


def test_padding_and_forward_bins_weigh_nothing():
    y = torch.ones(2, 6, 3)
    view = hold_out(0, 4)(observe(batch_of(y)), batch_of(y), None, 0)
    torch.testing.assert_close(view.x[:, :, :6], torch.ones(1, 2, 6, 3))
    wider = TrialTensors("b", torch.ones(5, 6, 4), smoothing=SMOOTHING)
    x = encoder_input(pack([TrialTensors("a", y, smoothing=SMOOTHING), wider]))
    torch.testing.assert_close(x[0, :2, :, :3], torch.ones(2, 6, 3))
    assert not x[0, 2:].any()
    assert not x[0, ..., 3].any()


def test_units_that_are_never_shown_stay_at_zero():
    y = torch.randn(2, 6, 3)
    y[..., 1] = float("nan")
    assert not encoder_input(batch_of(y))[..., 1].any()
    assert TrialTensors("a", y, smoothing=SMOOTHING).shown()[..., 1].isnan().all()


def test_sessions_of_one_batch_are_smoothed_alike():
    one = TrialTensors("a", torch.zeros(2, 6, 3), smoothing=SMOOTHING)
    with pytest.raises(ValueError, match=r"smoothed alike, found a: ShownSmoothing.*b: None"):
        pack([one, replace(one, session="b", smoothing=None)])


def test_a_smoothing_that_served_inference_first_serves_a_training():
    fresh, x = ShownSmoothing(0.77), torch.randn(1, 2, 5, 3)
    with torch.inference_mode():
        fresh(x)
    x.requires_grad_()
    fresh(x).square().sum().backward()
    assert x.grad is not None


@given(n_bins=st.integers(1, 20), sigma=st.floats(0.3, 4.0))
def test_a_causal_one_is_that_of_the_stores_and_has_nothing_of_later_bins(n_bins, sigma):
    counts = np.random.default_rng(n_bins).poisson(2.0, (3, n_bins)).astype(np.uint16)
    stored = smooth_counts(counts, np.ones(n_bins, bool), bin_size_s=1.0, sigma_s=sigma, kernel="causal")
    shown = torch.from_numpy(counts.T[None, None].astype(np.float64))
    smoothing = ShownSmoothing(sigma, is_causal=True)
    np.testing.assert_allclose(smoothing(shown)[0, 0].numpy(), stored, rtol=1e-5, atol=1e-6)
    seen = (n_bins + 1) // 2
    torch.testing.assert_close(smoothing(shown)[:, :, :seen], smoothing(shown[:, :, :seen]))


def test_samples_that_were_not_recorded_weigh_nothing_in_a_batch():
    """A rate that stays what it is is shown as it is, also beside a gap."""
    y = torch.ones(3, 8, 2)
    y[1, 4] = y[2, :3, 1] = float("nan")
    batch = batch_of(y)
    for x in (encoder_input(batch), encoder_input(batch, 6), observe(batch).x, observe(batch).shown(6)):
        torch.testing.assert_close(x, torch.ones_like(x))


def test_weights_in_double_precision_do_not_hang_on_who_asked_first():
    smoothing, counts = ShownSmoothing(1.3), torch.ones(1, 1, 9, 1, dtype=torch.float64).cumsum(2)
    made = []
    for default in (torch.float32, torch.float64):
        _weights.cache_clear()
        before = torch.get_default_dtype()
        torch.set_default_dtype(default)
        try:
            made.append(smoothing(counts))
        finally:
            torch.set_default_dtype(before)
    assert torch.equal(*made)
    at = torch.arange(9, dtype=torch.float64)
    weight = torch.exp(-0.5 * ((at[:, None] - at) / 1.3) ** 2) * ((at[:, None] - at).abs() <= 6)
    exact = (weight / weight.sum(1, keepdim=True)) @ counts
    torch.testing.assert_close(made[0], exact, rtol=1e-14, atol=0)
