"""k-step forecasts: equal to plain loops, and nothing is learnt from test trials."""

import dataclasses

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.baselines.known import known_baselines
from nwb_latents.pipeline.evaluation.decoding.session_decoder import decode_session
from nwb_latents.pipeline.evaluation.forecasting.curves import curves_of, mean_curves
from nwb_latents.pipeline.evaluation.forecasting.ensemble import fit_ensemble
from nwb_latents.pipeline.evaluation.forecasting.foreseen import Foreseen
from nwb_latents.pipeline.evaluation.forecasting.kstep_scores import rates_kstep_r2, velocity_kstep_r2
from nwb_latents.pipeline.evaluation.forecasting.measured_forecasts import (
    curves_of_forecast,
    measurements_of,
    recorded_signal,
)
from nwb_latents.pipeline.evaluation.forecasting.session_forecast import prepare_forecast
from nwb_latents.pipeline.evaluation.forecasting.simple_forecasts import fit_linear_forecast
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.forecasting import ForecastSettings


def test_r2_of_observations_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    y, guess = rng.normal(size=(7, 12, 3)), rng.normal(size=(7, 5, 3))
    found = rates_kstep_r2(y, guess, first_bin=4)
    errors, totals = [], []
    for k in range(5):
        error = total = 0.0
        for b in range(7):
            error += ((y[b, 4 + k] - guess[b, k]) ** 2).sum()
            total += ((y[b, 4 + k] - y[b].mean(axis=0)) ** 2).sum()
        errors.append(error)
        totals.append(total)
    np.testing.assert_allclose(found.per_step, 1 - np.array(errors) / np.array(totals), rtol=1e-12)
    assert found.pooled == pytest.approx(1 - sum(errors) / sum(totals), rel=1e-12)
    assert rates_kstep_r2(y, y[:, 4:9], first_bin=4).pooled == 1.0


def test_r2_of_velocity_is_that_of_a_plain_loop():
    rng = np.random.default_rng(1)
    y, guess = rng.normal(size=(9, 4, 2)), rng.normal(size=(9, 4, 2))
    y[2, 1] = np.nan
    found = velocity_kstep_r2(y, guess)
    for k in range(4):
        kept = np.isfinite(y[:, k]).all(axis=1)
        true, made = y[kept, k], guess[kept, k]
        each = [
            1 - ((true[:, a] - made[:, a]) ** 2).sum() / ((true[:, a] - true[:, a].mean()) ** 2).sum()
            for a in range(2)
        ]
        assert found.per_step[k] == pytest.approx(np.mean(each), rel=1e-12)


def test_forecasts_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="does not fit into trials"):
        rates_kstep_r2(np.zeros((2, 5, 1)), np.zeros((2, 4, 1)), first_bin=2)
    with pytest.raises(DataError, match=r"expected \(trial, time, unit\) twice"):
        rates_kstep_r2(np.zeros((2, 5)), np.zeros((2, 4)), first_bin=0)


@pytest.fixture(scope="module")
def session(make_session):
    return make_session(n_trials=60)


BASELINES = [each for each in known_baselines()[0] if each.forecast]


def without_models(task):
    return [task.of_baseline(each, BaselineSettings()) for each in BASELINES]


def of_model(task, rates):
    """What a model of the name m forecasts whose rates of test trials are these, and of others are noise."""
    rng = np.random.default_rng(0)

    def foresee(rows):
        if np.array_equal(rows, task.test):
            return Foreseen(np.asarray(rates, np.float32))
        return Foreseen(rng.gamma(2.0, 10.0, size=(len(rows), *rates.shape[1:])).astype(np.float32))

    made = [task.of_run(foresee, run="m"), task.decoded(foresee, run="m")]
    return [each for each in made if each is not None]


def recorded(task):
    found = recorded_signal(task)
    return [] if found is None else [found]


def curves(task, rates=None):
    made = [*without_models(task), *recorded(task), *([] if rates is None else of_model(task, rates))]
    found = [curve for each in made for curve in curves_of_forecast(task, each)]
    return {(c.quantity, c.source): c for c in found}


def test_a_perfect_forecast_scores_as_the_recorded_rates(session):
    task = prepare_forecast(session_in_memory(*session), ForecastSettings())
    found = curves(task, task.rates[:, 13:33])
    assert found["rates", "forecast"].per_step == pytest.approx((1.0,) * 20)
    assert found["velocity", "forecast_decoded"].per_step == found["velocity", "rates"].per_step
    assert found["velocity", "forecast"].definition == "r2_uniform"
    assert found["rates", "forecast"].definition == "r2_trialmean"


def test_the_pooled_velocity_score_is_that_of_decoding(session):
    trials, continuous = session
    task = prepare_forecast(session_in_memory(trials, continuous), ForecastSettings())
    guess = task.rates[:, 13:33] + np.random.default_rng(0).normal(size=(len(task.test), 20, 20))
    decoded = decode_session(
        session_in_memory(trials, continuous), DecodeSettings(sources=("forecast",)), forecast=guess
    )
    assert curves(task, guess.astype(np.float32))["velocity", "forecast_decoded"].pooled == pytest.approx(
        decoded.scores[0].value, rel=1e-6
    )


def test_baselines_are_what_they_say(session):
    task = prepare_forecast(session_in_memory(*session), ForecastSettings(seen_bins=10, bins=5))
    trials, _ = session
    counts = trials["counts"].values[task.test, :10].astype(float)
    # The Gaussian of 25 ms over bins of 20 ms, at the last bin shown, of the bins shown alone.
    weights = np.exp(-0.5 * ((np.arange(10) - 9) * 20 / 25) ** 2)
    last = np.einsum("t,ktu->ku", weights / weights.sum(), counts) / 0.02
    held = np.repeat(last[:, None], 5, axis=1)
    found = curves(task, held)
    np.testing.assert_allclose(
        found["rates", "hold_last"].per_step, found["rates", "forecast"].per_step, rtol=1e-6
    )
    held = np.repeat(task.velocity[:, 9:10], 5, axis=1)
    expected = velocity_kstep_r2(task.velocity[:, 10:15], held)
    assert found["velocity", "hold_last"].per_step == tuple(expected.per_step)
    train = trials.isel(trial=np.flatnonzero(trials["split"].values == "train"))
    mean = train["rates"].astype(float).groupby("condition").mean()
    by_hand = np.stack(
        [mean.sel(condition=c).transpose("time", "unit").values[10:15] for c in task.problem.condition]
    )
    expected = rates_kstep_r2(task.rates, by_hand, first_bin=10)
    np.testing.assert_allclose(found["rates", "condition_mean"].per_step, expected.per_step, rtol=1e-6)


def fitted(task, seen):
    """Every number that was learnt: of the decoder, and of each baseline what it makes of given trials."""
    values = [getattr(task.decoder, field.name) for field in dataclasses.fields(task.decoder)]
    problem = dataclasses.replace(task.problem, **seen)
    for each in BASELINES:
        made = each.forecast(problem, BaselineSettings())
        values += [made.rates, made.velocity, *(v for d in made.details.values() for v in d.values())]
    return [np.asarray(value) for value in values]


def test_test_trials_have_no_part_in_what_is_fitted(session):
    trials, continuous = (dataset.copy(deep=True) for dataset in session)
    task = prepare_forecast(session_in_memory(trials, continuous), ForecastSettings())
    seen = {name: getattr(task.problem, name) for name in ("counts", "velocity_seen", "condition")}
    before = fitted(task, seen)
    rng = np.random.default_rng(3)
    test = np.flatnonzero(trials["split"].values == "test")
    trials["counts"].values[test] = rng.integers(0, 9, size=trials["counts"].values[test].shape)
    trials["rates"].values[test] = rng.gamma(2.0, 50.0, size=trials["rates"].values[test].shape)
    for start in trials["start_bin"].values[test]:
        # The gap between trials is wider than the lag: no training trial reads these bins.
        continuous["velocity"].values[start : start + 36 + 5] = 1e4 * rng.normal(size=(41, 2))
    after = fitted(prepare_forecast(session_in_memory(trials, continuous), ForecastSettings()), seen)
    assert len(before) == len(after) > 10
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_without_velocity_the_rates_are_scored_alone(session):
    trials, continuous = session
    continuous = continuous.copy(deep=True)
    continuous["velocity"].values[:] = np.nan
    task = prepare_forecast(session_in_memory(trials, continuous), ForecastSettings())
    made = [*of_model(task, task.rates[:, 13:33]), *without_models(task)]
    assert {curve.quantity for each in made for curve in curves_of_forecast(task, each)} == {"rates"}
    records = measurements_of(task, made)
    assert {one.name for one in records} == {"forecast_rates_r2"}
    assert {one.source: one.value for one in records if one.step is None}["forecast"] == 1.0
    assert {one.decoder for one in records} == {None}


def test_every_number_is_one_record_with_its_protocol(session):
    task = prepare_forecast(session_in_memory(*session), ForecastSettings(seen_bins=10, bins=5))
    made = [*of_model(task, task.rates[:, 10:15]), *without_models(task), *recorded(task)]
    curves = [curve for each in made for curve in curves_of_forecast(task, each)]
    records = measurements_of(task, made)
    # Of every forecast of velocity: slope, coverage and width of its band beside the curves.
    assert len(records) == len(curves) * 6 + 3 * (len(made) - 1)
    assert len({one.key for one in records}) == len(records)
    assert {(one.seen_bins, one.bins, one.split, one.stage) for one in records} == {
        (10, 5, "test", "forecast")
    }
    of_runs = {"forecast", "forecast_decoded"}
    assert {one.run for one in records if one.source in of_runs} == {"m"}
    assert {one.run for one in records if one.source not in of_runs} == {None}
    assert {one.source for one in records if one.is_baseline} == {each.name for each in BASELINES}
    assert {"linear_forecast", "condition_mean", "hold_last"} <= {each.name for each in BASELINES}
    decoded = [one for one in records if one.decoder is not None]
    assert {(one.source, one.decoder, one.fitted_on, one.lag_ms) for one in decoded} == {
        ("forecast", "all_states", "forecasts of training trials", 100.0),
        ("forecast_decoded", "ridge", "recorded rates", 100.0),
        ("rates", "ridge", "recorded rates", 100.0),
    }
    assert {one.decoder_settings["alpha"] for one in decoded if one.decoder == "ridge"} == {
        task.decoder.alpha
    }
    for curve in curves:
        mine = [one for one in records if (one.source, one.definition) == (curve.source, curve.definition)]
        assert [one.value for one in mine] == [curve.pooled, *curve.per_step]
        assert [one.step for one in mine] == [None, 1, 2, 3, 4, 5]


def test_wrong_uses_are_refused(session):
    trials, continuous = session
    with pytest.raises(SettingsError, match="30 bins seen and 20 forecast are more than the 36"):
        prepare_forecast(session_in_memory(trials, continuous), ForecastSettings(seen_bins=30))
    alone = trials.isel(trial=np.flatnonzero(trials["split"].values == "train"))
    with pytest.raises(DataError, match="42 training and 0 test trials"):
        prepare_forecast(session_in_memory(alone, continuous), ForecastSettings())
    task = prepare_forecast(session_in_memory(trials, continuous), ForecastSettings())
    with pytest.raises(DataError, match=r"expected \(\d+, 20, 20\), all finite"):
        of_model(task, np.zeros((3, 20, 20)))
    with pytest.raises(DataError, match="values that are not finite"):
        of_model(task, np.full((len(task.test), 20, 20), np.nan))


def of_baseline(task, name):
    (found,) = (each for each in BASELINES if each.name == name)
    return found.forecast(task.problem, BaselineSettings())


@pytest.mark.parametrize("quantity", ["rates", "velocity"])
def test_the_linear_forecast_is_fitted_with_the_settings_asked_for(make_session, quantity):
    alphas = tuple(np.geomspace(1e-3, 1e5, 160).round(6))
    settings = ForecastSettings(seen_bins=10, bins=5, folds=3, linear_alphas=alphas, lag_ms=60.0)
    own = session_in_memory(*make_session(n_trials=60, noise_hz=25.0))
    task = prepare_forecast(own, settings)
    train = own.rows("train")
    values = (
        own.velocity(60.0).velocity if quantity == "velocity" else own.trials["rates"].values.astype(float)
    )
    expected = {
        seed: fit_linear_forecast(
            task.problem.train_shown,
            values[train, 10:15],
            alphas=alphas,
            folds=3,
            seed=seed,
            min_deviation=1.0,
        )
        for seed in range(9)
    }
    # The folds decide the penalty, so that another seed is noticed.
    other = next(seed for seed in expected if expected[seed].alpha != expected[0].alpha)
    for seed in (0, other):
        task = prepare_forecast(own, settings.model_copy(update={"seed": seed}))
        made = of_baseline(task, "linear_forecast")
        assert made.details[quantity] == {"alpha": expected[seed].alpha}
        assert getattr(made, quantity) == pytest.approx(expected[seed].predict(task.problem.shown))


def test_velocities_forecast_without_a_model_say_lag_and_penalty(session):
    task = prepare_forecast(session_in_memory(*session), ForecastSettings(seen_bins=10, bins=5, lag_ms=60.0))
    made = of_baseline(task, "linear_forecast")
    records = measurements_of(task, [*without_models(task), *recorded(task)])
    said = {one.source: one for one in records if one.name == "velocity_r2"}
    assert said["linear_forecast"].details["alpha"] == made.details["velocity"]["alpha"]
    assert {one.lag_ms for one in said.values()} == {60.0}
    assert said["rates"].is_baseline is False


def test_recorded_rates_are_decoded_where_the_forecast_is(session):
    task = prepare_forecast(session_in_memory(*session), ForecastSettings(seen_bins=10, bins=5))
    (curve,) = curves_of_forecast(task, recorded_signal(task))
    expected = velocity_kstep_r2(task.velocity[:, 10:15], task.decoder.predict(task.rates[:, 10:15]))
    assert (curve.quantity, curve.source) == ("velocity", "rates")
    assert (curve.per_step, curve.pooled) == (tuple(expected.per_step), expected.pooled)


def test_the_mean_of_the_condition_is_that_of_the_bins_ahead(session):
    own = session_in_memory(*session)
    task = prepare_forecast(own, ForecastSettings(seen_bins=10, bins=5))
    made = of_baseline(task, "condition_mean").velocity
    train, condition = own.rows("train"), own.condition.astype(str)
    velocity = own.velocity(100.0).velocity
    for row, trial in enumerate(task.test):
        mine = train[condition[train] == condition[trial]]
        assert made[row] == pytest.approx(velocity[mine, 10:15].mean(axis=0))


def test_a_trial_without_a_known_velocity_holds_the_mean_of_the_training_trials(session):
    trials, continuous = (dataset.copy(deep=True) for dataset in session)
    start = int(trials["start_bin"].values[trials["split"].values == "test"][0])
    continuous["velocity"].values[start : start + 5 + 10] = np.nan
    own = session_in_memory(trials, continuous)
    task = prepare_forecast(own, ForecastSettings(seen_bins=10, bins=5))
    held = of_baseline(task, "hold_last").velocity
    mean = own.velocity(100.0).velocity[own.rows("train"), :10].mean(axis=(0, 1))
    assert held[0] == pytest.approx(np.tile(mean, (5, 1)))
    assert held[1] == pytest.approx(np.tile(task.velocity[1, 9], (5, 1)))


def test_curves_are_put_together_as_they_were_taken_apart(session):
    task = prepare_forecast(session_in_memory(*session), ForecastSettings(seen_bins=10, bins=5))
    made = [*of_model(task, task.rates[:, 9:14]), *without_models(task), *recorded(task)]
    curves = [curve for each in made for curve in curves_of_forecast(task, each)]
    records = measurements_of(task, made)
    for quantity in ("velocity", "rates"):
        found = curves_of(records, quantity)
        expected = {one.source: (one.per_step, one.pooled) for one in curves if one.quantity == quantity}
        assert {key: (one.per_step, one.pooled) for key, one in found.items()} == {
            (task.session, source): values for source, values in expected.items()
        }
        # Two sessions, of which the second is scored by 1 more everywhere: the mean lies half way.
        other = [
            one.model_copy(update={"session": "other", "value": None if one.value is None else one.value + 1})
            for one in records
        ]
        means = mean_curves([*records, *other], quantity)
        assert means.keys() == expected.keys()
        for source, (per_step, pooled) in expected.items():
            assert means[source] == pytest.approx([value + 0.5 for value in (*per_step, pooled)])


def test_bands_are_as_wide_as_the_errors_in_validation_trials(session):
    """A model that knows the velocity of training and test trials, and not that of validation trials."""
    whole = session_in_memory(*session)
    task = prepare_forecast(whole, ForecastSettings())
    velocity = whole.velocity(task.settings.lag_ms).velocity[:, task.settings.ahead]

    def model(is_known):
        def foresee(rows):
            states = np.nan_to_num(velocity[rows])
            if not is_known and np.array_equal(rows, task.val):
                states = states + 100.0
            rates = np.ones((len(rows), *task.rates[0, task.settings.ahead].shape), np.float32)
            return Foreseen(rates, states.astype(np.float32))

        return task.of_run(foresee, run="m")

    sure, unsure = (model(each).band(task.val_true).half_width.mean() for each in (True, False))
    assert unsure > 50 > 10 > sure


def test_an_ensemble_is_calibrated_with_weights_chosen_without_each_trial(session):
    task = prepare_forecast(session_in_memory(*session), ForecastSettings())
    members = [each for each in without_models(task) if each.velocity is not None][:2]
    made = task.ensemble(members)
    own = [each.calibration for each in members]
    weights = np.array(list(made.details["velocity"]["weights"].values()))
    assert made.velocity == pytest.approx(
        np.tensordot(weights, [each.velocity for each in members], axes=1), abs=1e-2
    )
    assert np.array_equal(made.calibration, fit_ensemble(own, task.val_true).calibration)
    assert not np.allclose(made.calibration, np.tensordot(weights, own, axes=1), atol=1e-2)
