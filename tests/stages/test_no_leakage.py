"""What is held out has no influence on anything that is fitted or chosen: perturb it, and no bit changes.

Held out are test trials (counts, rates, velocity), held-out units of trials that are scored, and the bins
after windows of trials that are scored. Every test also perturbs what is *not* held out, and sees a change:
a comparison that could not fail would show nothing.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch

from nwb_latents.pipeline.evaluation.baselines.known import baselines_by_name
from nwb_latents.pipeline.evaluation.decoding.lag_scan import scan_lags
from nwb_latents.pipeline.evaluation.decoding.session_decoder import fit_session_decoder
from nwb_latents.pipeline.evaluation.forecasting.session_forecast import prepare_forecast
from nwb_latents.pipeline.evaluation.nlb.velocity import fit_nlb_decoder
from nwb_latents.pipeline.evaluation.scored_session import prepare_session
from nwb_latents.pipeline.evaluation.spike_task import spike_task
from nwb_latents.pipeline.stages.forecast_sources import foresight
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.trials import read_continuous, read_trials
from nwb_latents.pipeline.training.feed import with_forward_bins
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.training_start import begin
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.training import TrainSettings

BASELINES = baselines_by_name()
N_FORWARD = 5
LAG = 5
FAST = BaselineSettings(sigmas_ms=(30.0, 60.0), latents=(2, 4), penalties=(1e-3, 1e-1), folds=3)
FORECASTS = {name: one for name, one in BASELINES.items() if one.forecast}
SMALL = {
    "mdssm": {"latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8},
    "lfads": {"generator_dim": 8, "ic_dim": 4, "factor_dim": 4, "encoder_dim": 6, "controller_dim": 4},
    "ndt": {"layers": 1, "hidden": 8, "read_in": {"hidden": 8, "width": 8}, "mask": {"max_span": 3}},
}


@pytest.fixture(scope="module")
def session(tmp_path_factory, make_reaches, as_recording, enter_recording):
    """Return the groups of a store of forty trials that lie apart from each other."""
    path = tmp_path_factory.mktemp("leakage") / "catalog.yaml"
    entry = enter_recording(path, as_recording(make_reaches(n_trials=40, n_units=10, seed=3)))
    store = path.parent / entry.store
    return read_trials(store).load(), read_continuous(store).load()


def perturbed(session, *, split="test", units=None, ahead_only=False):
    """Return the session with other values in the trials of a split and in the bins after them.

    Also what the bins hold in the continuous recording is changed, but for bins of other trials.
    """
    trials, continuous = (group.copy(deep=True) for group in session)
    rng = np.random.default_rng(1)
    length, rows = trials.sizes["time"], np.flatnonzero(trials["split"].values == split)
    start = trials["start_bin"].values.astype(int)
    bins = start[rows, None] + np.arange(length + N_FORWARD + LAG)
    others = np.setdiff1d(np.arange(len(start)), rows)
    taken = (start[others, None] + np.arange(-LAG, length + N_FORWARD + LAG)).ravel()
    if ahead_only:
        bins = bins[:, length:]
    free = np.setdiff1d(bins.ravel(), taken)
    columns = np.arange(10) if units is None else np.flatnonzero(units)
    for name, noise in (("counts", rng.integers(1, 9, 10)), ("rates", rng.uniform(5, 50, 10))):
        whole, cut = continuous[name].values, trials[name].values
        whole[np.ix_(free, columns)] += noise[columns].astype(whole.dtype)
        if not ahead_only:
            cut[np.ix_(rows, np.arange(length), columns)] += noise[columns].astype(cut.dtype)
    if units is None:
        continuous["velocity"].values[free] += rng.normal(size=(len(free), 2)) * 30
        if not ahead_only:
            trials["velocity"].values[rows] += 30.0
    return trials, continuous


def same_bits(one, other):
    """Whether two results hold the same numbers, whatever they are made of."""
    if is_dataclass(one):
        return all(same_bits(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_bits(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same_bits, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray) and one.dtype.kind == "f":
        return np.array_equal(one, other, equal_nan=True)
    return np.array_equal(one, other)


@pytest.mark.parametrize("decoder", ["ridge", "wiener"])
def test_velocity_decoders_do_not_see_test_trials(session, decoder):
    settings = DecodeSettings(lag_scan_ms=(0.0, 60.0, 100.0), decoders=(decoder,))

    def fitted(groups):
        scan = scan_lags(session_in_memory(*groups), settings, decoder=decoder)
        return (
            fit_session_decoder(session_in_memory(*groups), settings, decoder=decoder).fitted,
            scan.fitted,
            scan.best_lag_ms,
        )

    assert same_bits(fitted(session), fitted(perturbed(session)))
    assert not same_bits(fitted(session), fitted(perturbed(session, split="train")))


def trained(groups, name, tmp_path, **changes):
    settings = TrainSettings.model_validate({
        "model": {"name": name, **SMALL[name]}, "signal": "counts", "device": "cpu", "max_steps": 4,
        "validate_every": 2, "checkpoint_every": 4, "batch": {"trials_per_session": 8}, **changes,
    })  # fmt: skip
    session = session_in_memory(*groups)
    if settings.forward_ms:
        session = with_forward_bins(session, N_FORWARD)
    model, feeds = begin([session], settings)
    fit(model, feeds, settings, tmp_path / str(len(list(tmp_path.iterdir()))))
    scaling = next(iter(feeds.values())).scaling
    return dict(model.state_dict()), scaling.offset, scaling.scale


@pytest.mark.parametrize("name", SMALL)
def test_training_does_not_see_test_trials(session, name, tmp_path):
    asked = {"co_smoothing": True, "heldout_fraction": 0.3}
    if name != "mdssm":
        asked["forward_ms"] = 20.0 * N_FORWARD
    first = trained(session, name, tmp_path, **asked)
    assert same_bits(first, trained(perturbed(session), name, tmp_path, **asked))
    assert not same_bits(first, trained(perturbed(session, split="train"), name, tmp_path, **asked))


def test_training_in_a_common_frame_does_not_see_test_trials(session, tmp_path):
    asked = {"model": {"name": "mdssm", **SMALL["mdssm"], "start": "principal"}, "signal": "rates"}
    first = trained(session, "mdssm", tmp_path, **asked)
    assert same_bits(first, trained(perturbed(session), "mdssm", tmp_path, **asked))
    assert not same_bits(first, trained(perturbed(session, split="train"), "mdssm", tmp_path, **asked))


@pytest.mark.filterwarnings("ignore:.*GPFA has not converged")
@pytest.mark.parametrize("name", [name for name, one in BASELINES.items() if one.rates])
def test_baselines_do_not_see_what_they_predict(session, name):
    heldout = session_in_memory(*session).heldout(fraction=0.3)
    settings = FAST.model_copy(update={"gpfa_iterations": 5, "gpfa_latents": 2})

    def predicted(groups):
        task, _ = spike_task(session_in_memory(*groups), heldout=heldout, forward_bins=N_FORWARD)
        with np.errstate(all="ignore"):
            return BASELINES[name].rates(task, settings)

    first = predicted(session)
    for hidden in (
        perturbed(session, units=heldout),
        perturbed(session, ahead_only=True),
    ):
        assert same_bits(first, predicted(hidden))
    # Held-in counts of the trials to predict are seen, but change neither parameters nor choices.
    assert same_bits(first.train, predicted(perturbed(session)).train)
    assert not same_bits(first.train, predicted(perturbed(session, split="train")).train)


def test_a_scored_session_fits_its_decoders_to_training_trials(session):
    settings = EvaluateSettings(baseline=FAST, heldout_fraction=0.3, forward_ms=100.0)

    problem = prepare_session(session_in_memory(*session), settings).forecast.problem
    seen, velocity_seen, condition = problem.counts, problem.velocity_seen, problem.condition

    def fitted(groups):
        scored = prepare_session(session_in_memory(*groups), settings)
        train = scored.task.train
        task = scored.forecast
        # Of trials that do not change: nothing of other trials comes in.
        shown = replace(task.problem, counts=seen, velocity_seen=velocity_seen, condition=condition)
        guesses = [one.forecast(shown, FAST) for one in FORECASTS.values()]
        decoder = fit_nlb_decoder(train, scored.velocity[0], folds=settings.folds)
        return scored.task.train_forward, decoder.ridges, task.decoder, guesses

    assert same_bits(fitted(session), fitted(perturbed(session)))
    assert not same_bits(fitted(session), fitted(perturbed(session, split="train")))


@pytest.mark.parametrize("name", FORECASTS)
def test_forecasts_without_a_model_see_no_spike_after_the_bins_shown(session, name):
    """Redraw every spike after the cut: no bit changes. Change one before it: the forecast does."""
    settings = EvaluateSettings(baseline=FAST, heldout_fraction=0.3)

    def guessed(trials):
        scored = prepare_session(session_in_memory(trials, session[1]), settings)
        return FORECASTS[name].forecast(scored.forecast.problem, FAST)

    trials = session[0]
    test, rng = np.flatnonzero(trials["split"].values == "test"), np.random.default_rng(5)
    later, before = trials.copy(deep=True), trials.copy(deep=True)
    n_seen = settings.forecast.seen_bins
    after = later["counts"].values[test, n_seen:]
    later["counts"].values[test, n_seen:] = rng.integers(0, 9, size=after.shape)
    later["rates"].values[test] = rng.uniform(0, 99, size=later["rates"].values[test].shape)
    before["counts"].values[test, n_seen - 1] += 3
    first = guessed(trials)
    assert same_bits(first, guessed(later))
    assert same_bits(first, guessed(before)) == (name == "condition_mean")


def forecasts_of_all(session, run, *, names):
    """Forecasts of test and validation trials by every source, those of a run and of ensembles included."""
    task = prepare_forecast(session, ForecastSettings(folds=3))
    foresee = foresight(run, session, task)
    made = {name: task.of_baseline(FORECASTS[name], FAST) for name in names}
    made["run"] = task.of_run(foresee, run="run")
    made["decoded"] = task.decoded(foresee, run="run")
    made["ensemble"] = task.ensemble([made["run"], *(made[name] for name in names)])
    return {
        name: (each.rates, each.velocity, each.calibration, each.band(task.val_true).half_width)
        for name, each in made.items()
    }


def test_no_source_of_forecasts_sees_a_spike_after_the_bins_shown(session, tmp_path):
    """Redraw all spikes after the cut, of test and validation trials: no bit of any of them changes."""
    settings = TrainSettings.model_validate({
        "model": {"name": "mdssm", **SMALL["mdssm"]}, "device": "cpu", "max_steps": 2, "validate_every": 1,
        "checkpoint_every": 2, "batch": {"trials_per_session": 8},
    })  # fmt: skip
    first = session_in_memory(*session)
    model, feeds = begin([first], settings)
    fit(model, feeds, settings, tmp_path)
    scalings = {name: feed.scaling for name, feed in feeds.items()}
    run = TrainedRun("run", settings, model.eval(), scalings, torch.device("cpu"), embedding_from="trial")
    names = [name for name in FORECASTS if name != "condition_mean"]

    def redrawn(bins):
        trials, rng = session[0].copy(deep=True), np.random.default_rng(5)
        rows = np.flatnonzero(np.isin(trials["split"].values, ["test", "val"]))
        there = trials["counts"].values[rows][:, bins]
        for row in rows:
            trials["counts"].values[row, bins] = rng.integers(0, 9, size=there.shape[1:])
        trials["rates"].values[rows] = rng.uniform(0, 99, size=trials["rates"].values[rows].shape)
        return forecasts_of_all(session_in_memory(trials, session[1]), run, names=names)

    seen = ForecastSettings().seen_bins
    expected = forecasts_of_all(first, run, names=names)
    later, before = redrawn(slice(seen, None)), redrawn(slice(seen - 1, seen))
    assert expected.keys() == {*names, "run", "decoded", "ensemble"}
    for name, values in expected.items():
        assert same_bits(values, later[name]), name
        # The velocity that `hold_last` holds is told to it.
        for part in (0,) if name == "hold_last" else (1, 2):
            assert not same_bits(values[part], before[name][part]), name


def test_the_validation_phase_does_not_look_at_test_trials(session):
    settings = EvaluateSettings(heldout_fraction=0.3, forward_ms=100.0, phase="val")

    def laid_ready(groups):
        scored = prepare_session(session_in_memory(*groups), settings)
        return scored.task, scored.answers, scored.velocity

    assert same_bits(laid_ready(session), laid_ready(perturbed(session)))
    assert not same_bits(laid_ready(session), laid_ready(perturbed(session, split="val")))
