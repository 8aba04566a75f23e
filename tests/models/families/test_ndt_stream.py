"""One session of a transformer by itself: exported, and bin by bin."""

from __future__ import annotations

import pytest
import torch

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.families.ndt import NDT
from nwb_latents.models.families.ndt_stream import RateStream, SessionRates
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.ndt import NDTSettings

UNITS = {"a": 5, "b": 3}
N_BINS = 15


def small(**changes: object) -> NDT:
    sizes = {"layers": 3, "hidden": 8, "max_bins": 16, "read_in": {"hidden": 6, "width": 8}}
    model = build_model(NDTSettings.model_validate({**sizes, **changes}), UNITS, seed=3).eval()
    assert isinstance(model, NDT)
    for name, n in UNITS.items():
        model.start_from({name: torch.rand(n)})
    return model


@pytest.mark.parametrize("back", [0, 2, 4, None])
def test_a_stream_gives_what_the_whole_trial_does_bin_by_bin(back) -> None:
    model = small(context_back=back, context_forward=0)
    rates = SessionRates(model, "b")
    stream = RateStream(rates)
    for trial in torch.randn(3, N_BINS, 3):
        stream.reset()
        found = torch.stack([stream.step(x) for x in trial])
        torch.testing.assert_close(found, rates(trial[None])[0], atol=1e-5, rtol=0)


def test_a_bin_is_given_before_the_next_is_known() -> None:
    stream = RateStream(SessionRates(small(context_forward=0), "a"))
    trial, other = torch.randn(2, N_BINS, 5)
    first = [stream.step(x) for x in trial[:6]]
    stream.reset()
    again = [stream.step(x) for x in [*trial[:5], other[5]]]
    assert all(torch.equal(x, y) for x, y in zip(first[:5], again[:5], strict=True))
    assert not torch.equal(first[5], again[5])


def test_a_model_that_looks_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match=r"attends to 2 bins after a bin.*context_forward: 0"):
        RateStream(SessionRates(small(context_forward=2), "a"))
    with pytest.raises(ValueError, match="attends to all bins after a bin"):
        RateStream(SessionRates(small(context_forward=None), "a"))


def test_a_stream_longer_than_the_positions_is_refused() -> None:
    stream = RateStream(SessionRates(small(context_forward=0, max_bins=4), "a"))
    for _ in range(4):
        stream.step(torch.zeros(5))
    with pytest.raises(ValueError, match="positions for 4 bins"):
        stream.step(torch.zeros(5))
    stream.reset()
    assert stream.step(torch.zeros(5)).shape == (5,)


@pytest.mark.parametrize("read_in", [{}, {"activation": "silu"}, {"layernorm": True}])
def test_one_session_by_itself_is_the_session_within_the_model(read_in) -> None:
    model = small(context_back=3, read_in={"hidden": 6, "width": 8, **read_in})
    y = {name: torch.randn(4, N_BINS, n) for name, n in UNITS.items()}
    whole = model.predict(pack([TrialTensors(name, each) for name, each in y.items()])).mean
    for row, (name, n) in enumerate(UNITS.items()):
        torch.testing.assert_close(SessionRates(model, name)(y[name]), whole[row, :, :, :n])


@pytest.mark.parametrize(
    "context", [{"context_back": None, "context_forward": None}, {"context_back": 4, "context_forward": 0}]
)
def test_the_exported_program_computes_the_same_for_any_number_of_trials_and_bins(context, tmp_path) -> None:
    rates = SessionRates(small(**context), "a")
    sizes = {0: torch.export.Dim("trial", min=1, max=64), 1: torch.export.Dim("time", min=2, max=15)}
    program = torch.export.export(rates, (torch.randn(3, N_BINS, 5),), dynamic_shapes=(sizes,))
    torch.export.save(program, tmp_path / "rates.pt2")
    loaded = torch.export.load(tmp_path / "rates.pt2").module()
    for n_trials, n_bins in ((1, 15), (7, 5)):
        x = torch.randn(n_trials, n_bins, 5)
        torch.testing.assert_close(loaded(x), rates(x), atol=1e-6, rtol=0)
