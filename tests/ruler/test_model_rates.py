"""Rates of a model are in Hz whatever the width of a bin: a model that says the mean gives the mean rates."""

import numpy as np
import pytest
import torch

from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.training_start import begin
from nwb_latents.schemas.training import TrainSettings
from ruler import recording
from ruler.test_store import WIDTHS

SMALL = {"hidden": 8, "width": 8}
MODELS = {
    "ndt": {"name": "ndt", "layers": 1, "hidden": 8, "read_in": SMALL},
    "lfads": {"name": "lfads"},
    "mdssm": {"name": "mdssm", "likelihood": "gaussian", "read_in": SMALL},
    "mdssm of counts": {"name": "mdssm", "likelihood": "poisson", "read_in": SMALL},
}


@pytest.fixture(scope="module", params=WIDTHS)
def session(request, tmp_path_factory):
    """Return the session of the recording with bins of one width."""
    folder = tmp_path_factory.mktemp("rates")
    source = FolderSource([recording.write_recording(folder / "nwb" / "sub-R_ses-1.nwb")])
    [entry] = ingest(folder / "catalog.yaml", source, recipe=WIDTHS[request.param][0])
    return open_session(folder / entry.store).loaded()


def run_that_says_the_mean(session, model):
    """Return a run whose read-out knows nothing but where it starts: the mean of the training trials."""
    settings = TrainSettings.model_validate({"model": model, "device": "cpu"})
    model, feeds = begin([session], settings)
    model.start_from({name: feed.train.scored.nanmean((0, 1)) for name, feed in feeds.items()})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "read_out" in name and "bias" not in name:
                parameter.zero_()
    scalings = {name: feed.scaling for name, feed in feeds.items()}
    run = TrainedRun("mean", settings, model.eval(), scalings, torch.device("cpu"))
    return run, settings


@pytest.mark.parametrize("name", MODELS)
def test_rates_of_a_model_that_says_the_mean_are_the_mean_rates(session, name):
    run, settings = run_that_says_the_mean(session, MODELS[name])
    training = session.trials["split"].values == "train"
    if settings.signal == "counts":
        counted = session.trials["counts"].values[training]
        wanted = counted.sum(axis=(0, 1)) / (counted.shape[0] * counted.shape[1] * session.bin_size_s)
    else:
        wanted = session.trials["rates"].values[training].astype(float).mean(axis=(0, 1))
    rates = run.reconstruct(session)
    assert rates.shape == session.trials["counts"].shape
    np.testing.assert_allclose(rates, np.broadcast_to(wanted, rates.shape), rtol=2e-4, atol=2e-3)
    ahead = run.forecast(session, seen_bins=session.n_bins - 3, n_bins=3)
    np.testing.assert_allclose(ahead, np.broadcast_to(wanted, ahead.shape), rtol=2e-4, atol=2e-3)
