"""No forecast of any model reads a spike after the bins it is shown, nor one of another test trial."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nwb_latents.models.batching.tensors import pack
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.feed import feed_sessions, session_tensors
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.schemas.registry import MODELS
from nwb_latents.schemas.training import TrainSettings

SMALL = {
    "mdssm": {"latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8},
    "lfads": {"generator_dim": 8, "ic_dim": 4, "factor_dim": 4, "encoder_dim": 6, "controller_dim": 4},
    "hnet": {"recurrent_dim": 8, "rank": 2, "hyper_width": 8, "start_bins": 4},
    "node_sae": {"field_width": 8, "encoder_dim": 6},
    "ndt": {"layers": 1, "hidden": 8, "read_in": {"hidden": 8, "width": 8}, "mask": {"max_span": 3}},
    "gnocchi": {"code_dim": 3, "encoder_width": 6, "channels": 8, "blocks": 2, "sampling_steps": 4},
}
A, SEEN, AHEAD = "sub-A_ses-1", 6, 4
CASES = [(name, signal) for name in MODELS for signal in ("rates", "counts")]


def a_run(datasets, name, signal, **model):
    settings = TrainSettings.model_validate(
        {"model": {"name": name, **SMALL.get(name, {}), **model}, "signal": signal, "device": "cpu"}
    )
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for each in model.parameters():  # so that nothing stands at a 0 it starts with
            each.add_(0.05 * torch.randn_like(each))
    scalings = {n: f.scaling for n, f in feeds.items()}
    return TrainedRun("r", settings, model.eval(), scalings, torch.device("cpu"))


def redrawn(dataset, bins):
    """Return trials with other spikes in some bins, and rates of nothing that is so."""
    other, rng = dataset.copy(deep=True), np.random.default_rng(3)
    shape = other["counts"].values[:, bins].shape
    other["counts"].values[:, bins] = rng.integers(0, 9, shape)
    other["rates"].values[:, bins] = rng.uniform(0, 99, shape)
    return other


@pytest.mark.parametrize(("name", "signal"), CASES)
def test_no_spike_after_the_cut_is_in_a_forecast(datasets, name, signal):
    """Redraw all spikes after the cut: no bit changes. Change one before it: the forecast does."""
    run, trials = a_run(datasets, name, signal), datasets[A]

    def ahead(of):
        return run.forecast(session_in_memory(of), seen_bins=SEEN, n_bins=AHEAD)

    first = ahead(trials)
    assert np.array_equal(first, ahead(redrawn(trials, slice(SEEN, None))))
    one_more = trials.copy(deep=True)
    one_more["counts"].values[:, SEEN - 1, 0] += 1
    assert not np.array_equal(first, ahead(one_more))


@pytest.mark.parametrize(("name", "signal"), CASES)
def test_no_model_reads_ahead_though_it_is_handed_whole_trials(datasets, name, signal):
    """The models by themselves, without the care `TrainedRun` takes of what it hands over."""
    run = a_run(datasets, name, signal)

    def ahead(of):
        batch = pack([session_tensors(session_in_memory(of), run.scalings[A], run.settings)])
        with torch.inference_mode():
            return run.model.forecast(batch, SEEN, AHEAD).mean

    first = ahead(datasets[A])
    assert torch.equal(first, ahead(redrawn(datasets[A], slice(SEEN, None))))
    assert not torch.equal(first, ahead(redrawn(datasets[A], slice(SEEN - 1, SEEN))))


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_of_rates_is_shown_no_recorded_rate(datasets, name):
    run, other = a_run(datasets, name, "rates"), datasets[A].copy(deep=True)
    other["rates"].values[:] = 1e3
    session, changed = map(session_in_memory, (datasets[A], other))
    assert np.array_equal(run.reconstruct(session, seed=1), run.reconstruct(changed, seed=1))


def test_training_steps_that_are_cut_show_what_a_forecast_is_shown(datasets):
    """A step that shows 6 bins encodes what a forecast from 6 bins encodes."""
    settings = TrainSettings.model_validate({"model": SMALL["mdssm"], "device": "cpu"})
    feed = feed_sessions([session_in_memory(datasets[A])], settings)[A]
    later = redrawn(datasets[A], slice(SEEN, None))
    tensors = session_tensors(session_in_memory(later), feed.scaling, settings)
    rows = torch.from_numpy(np.flatnonzero(datasets[A]["split"].values == "train"))
    from nwb_latents.models.batching.views import encoder_input, observe

    assert torch.equal(
        observe(pack([feed.train])).shown(SEEN), encoder_input(pack([tensors.select(rows)]), SEEN)
    )
