"""Codes of a trained run, and the rates they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.trial_codes import generate_trials, infer_codes
from nwb_latents.schemas.training import TrainSettings

A = "sub-A_ses-1"


def run_of(datasets, model) -> TrainedRun:
    settings = TrainSettings.model_validate({"model": model, "device": "cpu"})
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    built = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=0)
    scalings = {name: feed.scaling for name, feed in feeds.items()}
    return TrainedRun("mine", settings, built.eval(), scalings, torch.device("cpu"))


@pytest.fixture
def run(datasets) -> TrainedRun:
    return run_of(datasets, {"name": "gnocchi", "code_dim": 3, "channels": 8, "sampling_steps": 5})


def test_the_codes_of_trials_make_the_reconstruction(run, datasets):
    codes = infer_codes(run, session_in_memory(datasets[A]))
    assert codes.shape == (20, 3)
    made = generate_trials(run, A, codes, n_bins=10)
    np.testing.assert_allclose(made, run.reconstruct(session_in_memory(datasets[A])), rtol=1e-4, atol=1e-3)


def test_samples_share_their_noise_so_that_only_the_code_tells_trials_apart(run):
    codes = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 0]])
    made = generate_trials(run, A, codes, n_bins=7, n_samples=2, seed=3)
    assert made.shape == (3, 7, 6)
    np.testing.assert_allclose(made[0], made[2], rtol=1e-5)
    other = generate_trials(run, A, codes, n_bins=7, n_samples=2, seed=4)
    assert not np.allclose(made, other)


def test_what_does_not_fit_is_refused(run, datasets):
    with pytest.raises(DataError, match=r"shape \(2, 4\).*shape \(trial, 3\)"):
        generate_trials(run, A, np.zeros((2, 4)), n_bins=5)
    with pytest.raises(DataError, match="not trained on nobody"):
        generate_trials(run, "nobody", np.zeros((2, 3)), n_bins=5)
    other = run_of(datasets, {"name": "hnet", "recurrent_dim": 4, "rank": 1})
    with pytest.raises(DataError, match="Choose a run of gnocchi"):
        infer_codes(other, session_in_memory(datasets[A]))
