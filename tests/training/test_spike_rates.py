"""What a run predicts of units and bins it was not shown does not depend on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import xarray as xr

from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.spike_task import spike_task
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.feed import feed_sessions, with_forward_bins
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.spike_rates import hides, refuse_shown_units, run_rates, why_no_forward
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.stores.session import Session

NAME, AHEAD, BIN_MS = "sub-A_ses-1", 4, 20.0
HELD = np.array([False, True, False, False, True, False])
MODELS = {
    "lfads": {"generator_dim": 8, "ic_dim": 4, "factor_dim": 4, "encoder_dim": 6, "controller_dim": 4},
    "ndt": {"layers": 1, "hidden": 8, "read_in": {"hidden": 6, "width": 6}},
    "mdssm": {"latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8},
}


@pytest.fixture
def store(make_dataset: Callable[..., xr.Dataset]) -> tuple[xr.Dataset, xr.Dataset]:
    """Return trials of six units, two of them held out, and the session they are five bins apart in."""
    trials = make_dataset(NAME, n_trials=20, n_units=6)
    start = 2 + 15 * np.arange(20)
    whole = np.random.default_rng(0).poisson(0.3, (310, 6))
    bins = start[:, None] + np.arange(10)
    trials = trials.assign(counts=(("trial", "time", "unit"), whole[bins])).assign_coords(
        heldout=("unit", HELD), start_bin=("trial", start), condition=("trial", np.full(20, "a", object))
    )
    everything = {"counts": (("time", "unit"), whole), "observed": ("time", np.ones(310, bool))}
    return trials, xr.Dataset(everything)


def a_run(store: tuple[xr.Dataset, xr.Dataset], name: str, **settings: object) -> TrainedRun:
    """Return a run that was never trained."""
    content = {"model": {"name": name, **MODELS[name]}, "co_smoothing": True, "signal": "counts"}
    chosen = TrainSettings.model_validate(content | settings)
    model = build_model(chosen.model, {NAME: 6}, seed=0)
    session = session_in_memory(*store)
    feed = feed_sessions([with_forward_bins(session, AHEAD) if chosen.forward_ms else session], chosen)[NAME]
    return TrainedRun("r", chosen, model.eval(), {NAME: feed.scaling}, torch.device("cpu"))


def changed(store: tuple[xr.Dataset, xr.Dataset], bins: slice, units: np.ndarray) -> Session:
    trials = store[0].copy(deep=True)
    part = trials["counts"].values[:, bins]
    part[..., units] = 9
    return session_in_memory(trials, store[1])


CASES = [("lfads", AHEAD), ("lfads", 0), ("ndt", AHEAD), ("ndt", 0), ("mdssm", 0)]


@pytest.mark.parametrize(("name", "taught"), CASES)
def test_rates_ahead_come_from_the_window_alone(
    store: tuple[xr.Dataset, xr.Dataset], name: str, taught: int
) -> None:
    run = a_run(store, name, forward_ms=BIN_MS * taught)
    trials = store[0]
    found = run.forward(session_in_memory(trials), n_bins=AHEAD)
    assert found.shape == (20, AHEAD, 6)
    assert np.isfinite(found).all()
    assert np.array_equal(
        run.forward(with_forward_bins(session_in_memory(*store), AHEAD), n_bins=AHEAD), found
    )
    assert np.array_equal(run.forward(changed(store, slice(None), HELD), n_bins=AHEAD), found)
    assert not np.array_equal(run.forward(changed(store, slice(9, None), ~HELD), n_bins=AHEAD), found)


def test_a_model_gives_the_bins_ahead_as_it_was_taught(store: tuple[xr.Dataset, xr.Dataset]) -> None:
    trials = store[0]
    taught, other = a_run(store, "ndt", forward_ms=BIN_MS * AHEAD), a_run(store, "ndt")
    longer = with_forward_bins(session_in_memory(*store), AHEAD)
    assert np.array_equal(
        taught.forward(session_in_memory(trials), n_bins=AHEAD), taught.reconstruct(longer)[:, 10:]
    )
    forecast = other.forecast(session_in_memory(trials), seen_bins=10, n_bins=AHEAD)
    assert np.array_equal(other.forward(session_in_memory(trials), n_bins=AHEAD), forecast)


def test_bins_a_model_cannot_reach_are_refused(store: tuple[xr.Dataset, xr.Dataset]) -> None:
    run = a_run(store, "ndt", model={"name": "ndt", **MODELS["ndt"], "max_bins": 12})
    with pytest.raises(DataError, match="cannot go on for 4 bins after windows of 10"):
        run.forward(session_in_memory(store[0]), n_bins=AHEAD)
    with pytest.raises(DataError, match="0 bins after the window"):
        run.forward(session_in_memory(store[0]), n_bins=0)


@pytest.mark.parametrize(("name", "taught"), CASES)
def test_predictions_are_rates_per_bin_of_the_tasks_rows_and_units(
    store: tuple[xr.Dataset, xr.Dataset], name: str, taught: int
) -> None:
    run = a_run(store, name, forward_ms=BIN_MS * taught)
    task, answers = spike_task(session_in_memory(*store), heldout=HELD, forward_bins=AHEAD)
    prediction, n_raised = run_rates(run, session_in_memory(*store), answers, forward_bins=AHEAD)
    assert prediction.train.shape == task.train.shape
    assert prediction.eval.shape == (*task.eval_heldin.shape[:2], 6)
    assert prediction.eval_forward is not None
    assert answers.eval_forward is not None
    assert prediction.eval_forward.shape == answers.eval_forward.shape
    whole = run.reconstruct(session_in_memory(store[0].isel(trial=answers.eval_rows)))
    order = [0, 2, 3, 5, 1, 4]
    assert prediction.eval == pytest.approx(
        np.maximum(0.02 * whole[..., order].astype(float), 1e-9), abs=1e-12
    )
    everything = (prediction.train, prediction.eval, prediction.eval_forward)
    assert min(rates.min() for rates in everything) >= 1e-9
    assert n_raised == sum((rates == 1e-9).sum() for rates in everything)
    other, _ = run_rates(run, changed(store, slice(None), HELD), answers, forward_bins=AHEAD)
    assert np.array_equal(other.eval, prediction.eval)
    assert np.array_equal(other.eval_forward, prediction.eval_forward)


def test_a_run_that_was_shown_what_it_predicts_is_refused(store: tuple[xr.Dataset, xr.Dataset]) -> None:
    trials = session_in_memory(*store)
    refuse_shown_units(a_run(store, "ndt"), trials, HELD)
    with pytest.raises(DataError, match=r"Run r was shown the units it is to predict.*co_smoothing=true"):
        refuse_shown_units(a_run(store, "ndt", co_smoothing=False), trials, HELD)
    with pytest.raises(DataError, match="4 units are to be predicted, run r was not shown 2"):
        refuse_shown_units(a_run(store, "ndt"), trials, ~HELD)
    none = session_in_memory(store[0].assign_coords(heldout=("unit", np.zeros(6, bool))))
    assert not hides(a_run(store, "ndt"), none, np.zeros(6, bool))
    drawn = none.heldout(fraction=0.34)
    assert hides(a_run(store, "ndt", heldout_fraction=0.34), none, drawn)
    assert not hides(a_run(store, "ndt", heldout_fraction=0.5), none, drawn)


def test_smoothed_rates_hold_spikes_of_the_bins_ahead(store: tuple[xr.Dataset, xr.Dataset]) -> None:
    recorded = a_run(store, "mdssm", signal="rates", input_smoothing="recorded")
    assert "recorded smoothed rates" in why_no_forward(recorded)
    assert why_no_forward(a_run(store, "mdssm", signal="rates")) == ""
    assert why_no_forward(a_run(store, "mdssm")) == ""
