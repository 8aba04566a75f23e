"""A run that was given a few trials is read out by these few alone, and says how many there were."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from nwb_latents.pipeline.errors import PartialFailure
from nwb_latents.pipeline.stages.align import align
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.forecast import forecast
from nwb_latents.pipeline.stages.given_trials import GIVEN
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.training.run_files import read_config
from nwb_latents.schemas.align import AlignSettings
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings
from nwb_latents.schemas.training import BatchSettings, TrainSettings

NEW, OLD = "sub-C_ses-CO-1", ("sub-A_ses-CO-1", "sub-B_ses-CO-1")
N_GIVEN = 6
FAST = BaselineSettings(trial_factors=(2,), folds=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with three sessions, a run ``mine`` of two and its alignment to the third."""
    from conftest import Reaches, recording_of
    from stages.conftest import store_recording

    catalog = tmp_path_factory.mktemp("given") / "catalog.yaml"
    for seed, subject in enumerate("ABC"):
        reaches = Reaches(n_trials=40, n_units=7 + seed, seed=seed)
        store_recording(catalog, recording_of(reaches), subject=subject)
    small = MDSSMSettings(
        latent_dim=3, rank=1, dynamics_width=8, hyper_width=8, encoder_width=8,
        read_in=ReadInSettings(hidden=8, width=4),
    )  # fmt: skip
    settings = TrainSettings(
        model=small, batch=BatchSettings(trials_per_session=4), max_steps=2, device="cpu"
    )
    train(catalog, settings, sessions=OLD, run_name="mine")
    train(catalog, settings, sessions=[NEW], run_name="whole")
    align(catalog, brief(), run="mine", sessions=[NEW], trials=[N_GIVEN])
    return catalog.parent


@pytest.fixture
def catalog(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "work") / "catalog.yaml"


def brief(**changes):
    return AlignSettings(**{"max_steps": 3, "starts": 1, "device": "cpu", **changes})


def aligned_run(catalog):
    (path,) = catalog.parent.glob(f"runs/mine-n{N_GIVEN}-*")
    return path.name


def redrawn(session, rows):
    """Return a session with other activity and other movements in some trials."""
    rng = np.random.default_rng(0)
    trials, continuous = session.trials.copy(deep=True), session.continuous.load().copy(deep=True)
    bins = trials["start_bin"].values[rows].astype(int)[:, None] + np.arange(session.n_bins + 10)
    bins = bins[bins < continuous.sizes["time"]]
    for name in ("counts", "rates"):
        shape = trials[name].values[rows].shape
        trials[name].values[rows] = rng.integers(1, 9, size=shape).astype(trials[name].dtype)
    continuous["velocity"].values[bins] = rng.normal(size=(len(bins), 2)) * 30
    return replace(session.with_trials(trials), _open_continuous=lambda: continuous)


STAGES = {
    "decode": lambda catalog, run: decode(
        catalog,
        DecodeSettings(decoders=("ridge", "wiener"), forecast={"ensemble": ("trial_factors",)}),
        runs=[run],
        sessions=[NEW],
        device="cpu",
    ),
    "forecast": lambda catalog, run: forecast(
        catalog,
        ForecastSettings(ensemble=("trial_factors",), baseline=FAST),
        runs=[run],
        sessions=[NEW],
        device="cpu",
    ),
    "evaluate": lambda catalog, run: evaluate(
        catalog,
        EvaluateSettings(
            baselines=(), baseline=FAST, n_resamples=10, forecast={"ensemble": ("trial_factors",)}
        ),
        runs=[run],
        sessions=[NEW],
        device="cpu",
        force=True,
    ),
}


@pytest.fixture
def no_pictures(monkeypatch):
    for name in ("draw_velocity", "draw_trajectories", "draw_summary"):
        monkeypatch.setattr(
            f"nwb_latents.pipeline.evaluation.figures.velocity.{name}", lambda *args, **kwargs: None
        )


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("stage", list(STAGES))
def test_a_trial_the_run_was_not_given_changes_no_bit_of_its_numbers(stage, catalog, monkeypatch):
    run = aligned_run(catalog)
    given = read_config(catalog.parent / "runs" / run, run_key=None).sessions[NEW].trials
    opened = StageWork.session

    def numbers(which):
        def changed(work, entry):
            session = opened(work, entry)
            mine = np.isin(session.trials["trial"].values, given)
            fitted = np.isin(session.split, ["train", "val"])
            return redrawn(session, np.flatnonzero(fitted & (mine if which == "given" else ~mine)))

        monkeypatch.setattr(StageWork, "session", opened if which == "none" else changed)
        found = [one for one in STAGES[stage](catalog, run) if one.run == run]
        assert {one.details.get(GIVEN) for one in found} == {N_GIVEN}
        return {(one.name, one.source, one.decoder, one.step, one.definition): one.value for one in found}

    first = numbers("none")
    assert {source for _, source, *_ in first} >= {"forecast", "ensemble"} - (
        {"ensemble"} if stage == "evaluate" else set()
    )
    assert numbers("others") == first
    assert numbers("given") != first


@pytest.mark.usefixtures("no_pictures")
def test_the_mean_with_trial_factors_says_that_its_weights_are_equal(catalog):
    found = STAGES["decode"](catalog, aligned_run(catalog))
    (mean,) = [one for one in found if one.source == "ensemble"]
    assert mean.details["weights"] == {aligned_run(catalog): 0.5, "trial_factors": 0.5}
    assert "a few trials" in mean.details["weights_chosen"]


@pytest.mark.usefixtures("no_pictures")
def test_a_run_of_the_whole_split_is_not_averaged_with_one_of_a_few_trials(catalog):
    run = aligned_run(catalog)
    settings = DecodeSettings(forecast={"ensemble": ("whole",)})
    with pytest.raises(PartialFailure, match="was given 6 trials, and whole knows the whole training split"):
        decode(catalog, settings, runs=[run], sessions=[NEW], device="cpu")


def test_a_run_of_one_trial_is_not_read_out(catalog):
    (one,) = align(catalog, brief(), run="mine", sessions=[NEW], trials=[1])
    with pytest.raises(PartialFailure, match="was given one trial of it"):
        forecast(catalog, ForecastSettings(baseline=FAST), runs=[one.run], device="cpu")
