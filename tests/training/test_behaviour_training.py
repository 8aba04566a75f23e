"""Velocity as a target of training: scaled per session, in cm/s again in use, said where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.lenient import CatalogWarning
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.checkpoint import load_checkpoint, read_embeddings
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.run_files import BEST

LAG = 5
A, B = "sub-A_ses-1", "sub-B_ses-1"


@pytest.fixture
def sessions(datasets):
    """Two sessions whose velocity is a map of their rates, in one ten times the other's."""
    made = {}
    for number, (name, trials) in enumerate(datasets.items()):
        n_trials, n_bins = trials.sizes["trial"], trials.sizes["time"]
        start = np.arange(n_trials) * 30
        velocity = np.full((n_trials * 30 + 20, 2), np.nan)
        along = np.random.default_rng(number).normal(size=(trials.sizes["unit"], 2))
        for row, first in enumerate(start):
            course = (trials["rates"].values[row] - 15) @ along
            velocity[first + LAG : first + LAG + n_bins] = 10.0**number * course + 3.0
        continuous = xr.Dataset({
            "velocity": (("time", "axis"), velocity), "observed": ("time", np.ones(len(velocity), bool)),
        })  # fmt: skip
        made[name] = (trials.assign(start_bin=("trial", start)), continuous)
    return made


def headed(make_settings, **changes):
    model = {"behaviour_weight": 1.0, **changes.pop("model", {})}
    return make_settings(model=model, **changes)


def test_velocity_is_that_of_the_lag_scaled_by_training_trials(sessions, make_settings):
    feeds = feed_sessions([session_in_memory(*one) for one in sessions.values()], headed(make_settings))
    for name, feed in feeds.items():
        known, scaling = feed.train.behaviour.numpy(), feed.scaling.velocity
        np.testing.assert_allclose(known.mean((0, 1)), 0, atol=1e-4)
        assert np.square(known).mean() == pytest.approx(1, rel=1e-4)
        whole = session_in_memory(*sessions[name])
        there = whole.select(whole.rows("val")).velocity(100.0).velocity
        np.testing.assert_allclose(scaling.to_cm_s(feed.val.behaviour.numpy()), there, rtol=1e-4, atol=1e-3)
    assert feeds[B].scaling.velocity.scale > 2 * feeds[A].scaling.velocity.scale


def test_test_trials_have_no_part_in_the_scale(sessions, make_settings):
    def scale(trials, continuous):
        return feed_sessions([session_in_memory(trials, continuous)], headed(make_settings))[
            A
        ].scaling.velocity

    trials, continuous = sessions[A]
    other = continuous.copy(deep=True)
    for first in trials["start_bin"].values[trials["split"].values != "train"]:
        other["velocity"].values[first + LAG : first + 20] *= 50
    one, same = scale(trials, continuous), scale(trials, other)
    assert np.array_equal(one.scale, same.scale)
    assert np.array_equal(one.offset, same.offset)


def test_without_weight_no_velocity_is_read(datasets, make_settings):
    """These sessions have no continuous recording to read it from."""
    feeds = feed_sessions(map(session_in_memory, datasets.values()), make_settings())
    assert feeds[A].train.behaviour is None


@pytest.mark.parametrize("how", ["none", "unknown"])
def test_a_session_without_velocity_is_said_and_trained_without(sessions, make_settings, tmp_path, how):
    trials, continuous = sessions[B]
    without = continuous.drop_vars("velocity") if how == "none" else continuous * np.nan
    without = without.assign(observed=continuous["observed"])
    # Said once in the life of a process: of a session of its own in each case.
    trials = trials.assign_attrs(session=f"sub-{how}_ses-1")
    settings = headed(make_settings, max_steps=2, validate_every=2)
    both = [session_in_memory(*sessions[A]), session_in_memory(trials, without)]
    with pytest.warns(CatalogWarning, match=r"no hand velocity of a training trial is known 100 ms after"):
        feeds = feed_sessions(both, settings)
    name = trials.attrs["session"]
    assert feeds[name].train.behaviour is None
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=0)
    found = fit(model, feeds, settings, tmp_path)
    assert found.metrics["velocity"] > 0
    run = TrainedRun(
        "r", settings, model.eval(), {n: f.scaling for n, f in feeds.items()}, torch.device("cpu")
    )
    assert run.velocity(both[1]) is None
    assert run.velocity(both[0]) is not None


def test_other_axes_than_the_heads_are_refused(sessions, make_settings):
    with pytest.raises(
        DataError, match=r"its velocity has 2 axes, the model's head 3. Set model.behaviour_axes=2"
    ):
        feed_sessions([session_in_memory(*sessions[A])], headed(make_settings, model={"behaviour_axes": 3}))


def test_a_head_tells_velocity_in_cm_s_of_forecasts_and_of_whole_trials(sessions, make_settings, tmp_path):
    """Rates are free of noise here, and shown as recorded: what is wanted is the way there and back."""
    settings = headed(
        make_settings, max_steps=150, optimiser={"lr": 2e-2}, validate_every=50, checkpoint_every=50,
        input_smoothing="recorded", model={"behaviour_weight": 5.0, "behaviour_head": "session"},
    )  # fmt: skip
    whole = {name: session_in_memory(*one) for name, one in sessions.items()}
    feeds = feed_sessions(whole.values(), settings)
    units = {n: f.train.y.shape[2] for n, f in feeds.items()}
    fit(build_model(settings.model, units, seed=0), feeds, settings, tmp_path)
    model = build_model(settings.model, units, seed=1)
    _, scalings = load_checkpoint(tmp_path / BEST, model)
    kept = read_embeddings(tmp_path / BEST)
    run = TrainedRun("r", settings, model.eval(), scalings, torch.device("cpu"), embeddings=kept)
    for session in whole.values():
        test = session.select(session.rows("test"))
        there = test.velocity(100.0).velocity
        left = np.square(run.velocity(test) - there).sum() / np.square(there - there.mean((0, 1))).sum()
        assert left < 0.3
        ahead, name = run.foresee(test, seen_bins=7, n_bins=3), test.name
        with torch.no_grad():
            told = model.behaviour(torch.from_numpy(ahead.states)[None], model.names.index([name]))[0].numpy()
        np.testing.assert_allclose(
            ahead.velocity, scalings[name].velocity.to_cm_s(told), rtol=1e-4, atol=1e-3
        )
