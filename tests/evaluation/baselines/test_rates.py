"""Rates without a trained model: blind to what is scored, and in the order they are known to come in."""

from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.known import baselines_by_name
from nwb_latents.pipeline.evaluation.baselines.poisson_regression import fit_poisson
from nwb_latents.pipeline.evaluation.baselines.rate_regression import choose, feature_scale, forward_rates
from nwb_latents.pipeline.evaluation.metrics.spike_scores import bits_per_spike
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction, SpikeTask
from nwb_latents.schemas.baselines import BaselineSettings

N_TIME, N_FORWARD, N_IN, N_OUT = 25, 5, 24, 8
SETTINGS = BaselineSettings(
    sigmas_ms=(20.0, 40.0, 60.0),
    latents=(2, 3, 6),
    folds=3,
    choice_trials=60,
    gpfa_latents=3,
    gpfa_trials=30,
    gpfa_iterations=100,
)


@dataclass(frozen=True)
class Population:
    """A task, the counts it does not show, and the rates both come from."""

    task: SpikeTask
    heldout: np.ndarray
    forward: np.ndarray
    truth: RatePrediction


def draw_population(n_train=120, n_eval=60):
    """Draw trials of 4 conditions, 3 latent variables, 32 units, 25 bins of 20 ms and 5 after them."""
    rng = np.random.default_rng(0)
    n_trials, bins = n_train + n_eval, N_TIME + N_FORWARD
    condition = rng.integers(4, size=n_trials)
    phase = rng.uniform(0, 2 * np.pi, (4, 3))
    own = rng.normal(size=(n_trials, bins, 3))
    for step in range(1, bins):
        own[:, step] = 0.95 * own[:, step - 1] + 0.3 * own[:, step]
    latents = np.sin(0.15 * np.arange(bins)[None, :, None] + phase[condition][:, None]) + own
    rates = np.exp(latents @ rng.normal(size=(3, N_IN + N_OUT)) * 0.5 + np.log(0.3))
    counts = rng.poisson(rates).astype(float)
    names = np.array([f"reach {index}" for index in condition], dtype=object)
    train, new = counts[:n_train], counts[n_train:]
    task = SpikeTask(
        session="made",
        train_heldin=train[:, :N_TIME, :N_IN],
        train_heldout=train[:, :N_TIME, N_IN:],
        eval_heldin=new[:, :N_TIME, :N_IN],
        train_condition=names[:n_train],
        eval_condition=names[n_train:],
        bin_size_s=0.02,
        train_forward=train[:, N_TIME:],
    )
    truth = RatePrediction(rates[:n_train, :N_TIME], rates[n_train:, :N_TIME], rates[n_train:, N_TIME:])
    return Population(task, new[:, :N_TIME, N_IN:], new[:, N_TIME:], truth)


@pytest.fixture(scope="module")
def made():
    return draw_population()


RATES = {name: one.rates for name, one in baselines_by_name().items() if one.rates is not None}
INSTALLED = sorted(set(RATES) - ({"gpfa"} if find_spec("elephant") is None else set()))


@pytest.fixture(scope="module")
def predicted(made):
    """Return what every baseline predicts."""
    return {name: RATES[name](made.task, SETTINGS) for name in INSTALLED}


@pytest.fixture(params=INSTALLED)
def name(request):
    return request.param


def test_every_baseline_predicts_all_units_above_0(made, predicted, name):
    found = predicted[name]
    assert found.train.shape == (120, N_TIME, N_IN + N_OUT)
    assert found.eval.shape == (60, N_TIME, N_IN + N_OUT)
    assert found.eval_forward.shape == (60, N_FORWARD, N_IN + N_OUT)
    for rates in (found.train, found.eval, found.eval_forward):
        assert rates.dtype == np.float64
        assert np.isfinite(rates).all()
        assert (rates > 0).all()


def test_held_out_units_are_predicted_in_the_order_that_is_known(made, predicted):
    bits = {name: bits_per_spike(found.eval[..., N_IN:], made.heldout) for name, found in predicted.items()}
    best = bits_per_spike(made.truth.eval[..., N_IN:], made.heldout)
    assert best > bits["factor_analysis"] > bits["smoothing"] > bits["condition_mean"] > bits["null"]
    for name in {"pca", "gpfa"} & set(bits):
        assert best > bits[name] > bits["smoothing"], name
    assert 0.3 * best < bits["smoothing"] < 0.8 * best
    assert -0.02 < bits["null"] <= 0.0


def test_bins_ahead_are_predicted_better_than_by_the_mean(made, predicted):
    bits = {name: bits_per_spike(found.eval_forward, made.forward) for name, found in predicted.items()}
    best = bits_per_spike(made.truth.eval_forward, made.forward)
    # 60 trials of five bins that move slowly: their mean is further from that of the training trials.
    assert -0.1 < bits["null"] <= 0.0
    for name in set(predicted) - {"null"}:
        # These trials repeat nothing: a library of others can say little of them.
        least = bits["null"] if name == "trial_library" else 0.05
        assert least < bits[name] < best, name


def test_training_is_blind_to_the_trials_to_predict(made, predicted, name):
    rng = np.random.default_rng(1)
    other = replace(
        made.task,
        eval_heldin=rng.poisson(2.0, size=(7, N_TIME, N_IN)).astype(float),
        eval_condition=np.array(["new"] * 7, dtype=object),
    )
    found = RATES[name](other, SETTINGS)
    assert np.array_equal(found.train, predicted[name].train)
    assert found.eval.shape[0] == 7


def test_every_trial_is_predicted_on_its_own(made, predicted, name):
    task = made.task
    alone = replace(task, eval_heldin=task.eval_heldin[3:4], eval_condition=task.eval_condition[3:4])
    found = RATES[name](alone, SETTINGS)
    np.testing.assert_allclose(found.eval[0], predicted[name].eval[3], rtol=1e-9)
    np.testing.assert_allclose(found.eval_forward[0], predicted[name].eval_forward[3], rtol=1e-9)


def test_held_in_counts_of_a_trial_change_its_own_prediction_alone(made, predicted, name):
    counts = made.task.eval_heldin.copy()
    counts[5] = counts[5, ::-1] + 1.0
    found = RATES[name](replace(made.task, eval_heldin=counts), SETTINGS)
    others = np.arange(60) != 5
    np.testing.assert_allclose(found.eval[others], predicted[name].eval[others], rtol=1e-9)
    looks_at_counts = name not in {"null", "condition_mean"}
    assert np.array_equal(found.eval[5], predicted[name].eval[5]) == (not looks_at_counts)


def test_no_bins_ahead_are_predicted_where_none_are_asked_for(made, predicted, name):
    found = RATES[name](replace(made.task, train_forward=None), SETTINGS)
    assert found.eval_forward is None
    assert np.array_equal(found.eval, predicted[name].eval)


def test_a_session_without_held_out_units_is_predicted(made, name):
    task = replace(made.task, train_heldout=np.empty((120, N_TIME, 0)), train_forward=None)
    found = RATES[name](task, SETTINGS)
    assert found.eval.shape == (60, N_TIME, N_IN)
    assert (found.eval > 0).all()


def test_silent_units_and_bins_not_recorded_leave_predictions_finite(made, name):
    if name == "gpfa":
        pytest.skip("GPFA needs whole trials")
    heldin, heldout = made.task.train_heldin.copy(), made.task.train_heldout.copy()
    ahead, new = made.task.train_forward.copy(), made.task.eval_heldin.copy()
    heldin[..., 0] = heldout[..., 0] = ahead[..., 0] = ahead[..., N_IN] = 0.0
    heldin[3, :4] = new[2, 20:] = new[4] = ahead[:7, 3:] = np.nan
    heldout[3, :4] = heldout[:, 0] = np.nan
    task = replace(
        made.task, train_heldin=heldin, train_heldout=heldout, train_forward=ahead, eval_heldin=new
    )
    found = RATES[name](task, SETTINGS)
    for rates in (found.train, found.eval, found.eval_forward):
        assert np.isfinite(rates).all()
        assert (rates > 0).all()
    assert found.eval[..., N_IN].max() < 0.01


def test_bins_ahead_are_regressed_on_the_last_bin_of_the_window(made):
    rng = np.random.default_rng(2)
    train, new = rng.normal(size=(120, 4, 3)), rng.normal(size=(9, 4, 3))
    ahead = rng.poisson(np.exp(train[:, -1:, :2] - 1.0), size=(120, 2, 2)).astype(float)
    ahead[:, 1, 0] = 0.0
    task = replace(
        made.task,
        train_heldin=np.ones((120, 4, 1)),
        train_heldout=np.ones((120, 4, 1)),
        train_forward=ahead,
    )
    found = forward_rates(train, new, task, BaselineSettings(penalties=(0.01, 10.0)))
    mean = ahead.mean(axis=(0, 1))
    fit = fit_poisson(
        np.concatenate([train[:, -1], train[:, -1].mean(axis=0)[None]]),
        np.concatenate([ahead.reshape(120, 4), np.tile(mean, 2)[None]]),
        penalty=0.01,
    )
    np.testing.assert_allclose(found, fit.predict(new[:, -1]).reshape(9, 2, 2), rtol=1e-2)
    # A unit that never fired in a bin is not taken to be unable to: one trial in 121 has its mean.
    assert found[:, 1, 0].mean() == pytest.approx(mean[0] / 121, rel=0.2)


def test_latent_variables_that_are_rounding_alone_are_not_blown_up():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(5, 40, 3)) * [2.0, 1e-16, 0.0]
    scale = feature_scale(features)
    assert scale[0] == pytest.approx(2.0, rel=0.1)
    assert scale[1:].tolist() == [1.0, 1.0]


def test_the_null_model_is_the_mean_of_each_unit(made, predicted):
    mean = made.task.train.mean(axis=(0, 1))
    np.testing.assert_allclose(predicted["null"].eval, np.broadcast_to(mean, (60, N_TIME, 32)))
    ahead = made.task.train_forward.mean(axis=(0, 1))
    np.testing.assert_allclose(predicted["null"].eval_forward, np.broadcast_to(ahead, (60, N_FORWARD, 32)))


def test_a_condition_without_training_trials_has_the_course_of_all():
    counts = np.arange(24.0).reshape(4, 3, 2)
    task = SpikeTask(
        session="made",
        train_heldin=counts,
        train_heldout=np.empty((4, 3, 0)),
        eval_heldin=np.zeros((3, 3, 2)),
        train_condition=np.array(["a", "a", "b", ""], dtype=object),
        eval_condition=np.array(["a", "new", ""], dtype=object),
        bin_size_s=0.02,
    )
    settings = BaselineSettings(sigmas_ms=(0.1,), folds=2)
    found = RATES["condition_mean"](task, settings).eval
    overall = counts.mean(axis=0)
    np.testing.assert_allclose(found[0], (counts[0] + counts[1] + overall) / 3, rtol=1e-9)
    np.testing.assert_allclose(found[1:], [overall, overall], rtol=1e-9)


def test_smoothing_is_the_regression_on_log_smoothed_counts(made):
    settings = BaselineSettings(sigmas_ms=(40.0,), penalties=(0.1,), folds=3)
    found = RATES["smoothing"](made.task, settings)
    kernel = np.exp(-0.5 * ((np.arange(N_TIME)[:, None] - np.arange(N_TIME)) / 2.0) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    train, new = (
        np.log(kernel @ counts + 1e-4).reshape(-1, N_IN)
        for counts in (made.task.train_heldin, made.task.eval_heldin)
    )
    fit = fit_poisson(train, made.task.train_heldout.reshape(-1, N_OUT), penalty=0.1)
    np.testing.assert_allclose(found.eval[..., N_IN:].reshape(-1, N_OUT), fit.predict(new), rtol=1e-7)
    np.testing.assert_allclose(
        found.eval[..., :N_IN], np.maximum(kernel @ made.task.eval_heldin, 1e-4), rtol=1e-7
    )


def test_what_is_chosen_predicts_trials_left_out_best(made):
    tried = []

    def learner(sigma_ms, latents):
        def learn(counts):
            tried.append((sigma_ms, latents, len(counts)))
            noise = np.random.default_rng(int(sigma_ms) + latents)
            clean = sigma_ms == 40.0 and latents == 6

            def transform(trials):
                return trials if clean else trials + noise.normal(scale=30.0, size=trials.shape)

            return transform

        return learn

    settings = SETTINGS.model_copy(update={"latents": (6, 7, 24)})
    choice = choose(learner, made.task, settings, latents=settings.latents)
    assert (choice.sigma_ms, choice.latents) == (40.0, 6)
    assert {number for _, number, _ in tried} == {6, 7}  # not below the number of units: 24
    assert {n_trials for _, _, n_trials in tried} == {40}


@pytest.mark.parametrize("name", ["factor_analysis", "pca"])
def test_there_are_fewer_latent_dimensions_than_units(made, name):
    few = replace(
        made.task,
        train_heldin=made.task.train_heldin[..., :4],
        eval_heldin=made.task.eval_heldin[..., :4],
        train_forward=None,
    )
    three, many = (
        RATES[name](few, SETTINGS.model_copy(update={"latents": latents})).eval
        for latents in ((3,), (24, 32))
    )
    assert np.array_equal(three, many)


def test_a_single_unit_cannot_be_predicted_from_others(made):
    task = replace(
        made.task, train_heldin=made.task.train_heldin[..., :1], train_heldout=np.empty((120, N_TIME, 0))
    )
    with pytest.raises(DataError, match="made: has 1 unit, expected at least 2"):
        RATES["smoothing"](task, SETTINGS)


def test_settings_are_sorted_and_above_0():
    assert BaselineSettings(penalties=(1.0, 0.1, 1.0)).penalties == (0.1, 1.0)
    with pytest.raises(ValueError, match="must all be above 0"):
        BaselineSettings(latents=(0, 2))
