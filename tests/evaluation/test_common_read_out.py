"""Every source is read out alike: by the Poisson regression of its latents, fitted as the baselines' is."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor

from nwb_latents.pipeline.evaluation.common_read_out import HELDIN_RATES, LATENTS, features_of, read_out
from nwb_latents.pipeline.evaluation.metrics.common_co_bps import FEW_SHOT, METRIC
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError
from nwb_latents.pipeline.evaluation.metrics.spike_scores import bits_per_spike
from nwb_latents.pipeline.evaluation.source_output import SourceOutput
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
from nwb_latents.schemas.baselines import BaselineSettings

SETTINGS = BaselineSettings(penalties=(1e-3, 1e-1), folds=3)
N_IN, N_OUT = 5, 4


@pytest.fixture(scope="module")
def drawn():
    """Two latents, which held-in and held-out units follow; a session that holds the held-out spikes."""
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(60, 20, 2))
    weights = rng.normal(size=(2, N_IN + N_OUT)) * 0.5
    rates = np.exp(-0.5 + latents @ weights)
    counts = rng.poisson(rates).astype(float)
    session = SimpleNamespace(
        n_heldin=N_IN,
        task=SimpleNamespace(train_heldout=counts[:40, :, N_IN:]),
        answers=SimpleNamespace(eval_heldout=counts[40:, :, N_IN:]),
        settings=SimpleNamespace(baseline=SETTINGS, phase="test"),
    )
    return session, latents, rates, counts


def output(drawn, *, states=None, latents=None):
    _, _, rates, _ = drawn
    return SourceOutput(rates=RatePrediction(rates[:40], rates[40:], latents=latents), states=states)


def test_it_is_read_out_from_states_else_latents_else_held_in_rates(drawn):
    session, latents, rates, _ = drawn
    states = 3.0 * latents[:40], 3.0 * latents[40:]
    of_states = features_of(session, output(drawn, states=states))
    of_latents = features_of(session, output(drawn, latents=(latents[:40], latents[40:])))
    assert (of_states.kind, of_latents.kind) == (LATENTS, LATENTS)
    np.testing.assert_allclose(of_states.train.std(axis=(0, 1)), 1.0)
    np.testing.assert_allclose(of_states.new, of_latents.new)
    of_rates = features_of(session, output(drawn))
    assert (of_rates.kind, of_rates.train.shape[2]) == (HELDIN_RATES, N_IN)
    scale = np.log(rates[:40, :, :N_IN]).std(axis=(0, 1))
    np.testing.assert_allclose(of_rates.new, np.log(rates[40:, :, :N_IN]) / scale)
    assert features_of(session, SourceOutput()) is None


def test_the_read_out_is_scikit_learns_poisson_regression(drawn):
    session, latents, _, counts = drawn
    features = features_of(session, output(drawn, states=(latents[:40], latents[40:])))
    found = read_out(features, session.task.train_heldout, SETTINGS)
    for unit in range(N_OUT):
        plain = PoissonRegressor(alpha=found.penalty, tol=1e-10, max_iter=500)
        plain.fit(features.train.reshape(-1, 2), counts[:40, :, N_IN + unit].ravel())
        expected = plain.predict(features.new.reshape(-1, 2)).reshape(20, 20)
        np.testing.assert_allclose(found.rates[..., unit], expected, rtol=1e-4)


def test_any_invertible_map_of_the_latents_has_the_same_score(drawn):
    session, latents, _, _ = drawn
    near_none = SimpleNamespace(**{**vars(session), "settings": SimpleNamespace(
        baseline=replace_penalties(1e-9), phase="test"
    )})  # fmt: skip
    mixed = latents @ np.array([[2.0, 1.0], [0.0, 0.5]]) + 7.0
    scores = [
        METRIC.compute["reconstruction"](near_none, output(drawn, states=(z[:40], z[40:])))
        .statistic.value(np.ones((1, 20)))[0]
        for z in (latents, mixed)
    ]  # fmt: skip
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def replace_penalties(penalty):
    return SETTINGS.model_copy(update={"penalties": (penalty,)})


def test_the_score_is_that_of_the_rates_and_says_what_was_read(drawn):
    session, latents, rates, _ = drawn
    made = output(drawn, states=(latents[:40], latents[40:]))
    found = METRIC.compute["reconstruction"](session, made)
    best = bits_per_spike(rates[40:, :, N_IN:], session.answers.eval_heldout)
    value = found.statistic.value(np.ones((1, 20)))[0]
    assert value == pytest.approx(best, abs=0.02)
    assert found.details == {"read_from": "latents", "n_features": 2}
    assert found.decoder_settings["penalty"] in SETTINGS.penalties
    # How the source itself reads them out does not matter.
    spoiled = replace(made, rates=RatePrediction(rates[:40] * 9, rates[40:] * 9))
    assert METRIC.compute["reconstruction"](session, spoiled).statistic.value(np.ones((1, 20)))[0] == value


@pytest.mark.parametrize(("phase", "trials"), [("test", "train and val trials"), ("val", "train trials")])
def test_a_number_says_which_trials_its_read_out_was_fitted_on(drawn, phase, trials):
    session, latents, _, _ = drawn
    scored = SimpleNamespace(**{**vars(session), "settings": SimpleNamespace(baseline=SETTINGS, phase=phase)})
    made = output(drawn, states=(latents[:40], latents[40:]))
    said = [metric.compute["reconstruction"](scored, made).fitted_on for metric in (METRIC, FEW_SHOT)]
    assert said == [f"own latents or held-in rates, {trials}", f"own latents or held-in rates, 16 {trials}"]


def test_needless_latents_cost_more_when_there_are_few_trials(drawn):
    session, latents, _, _ = drawn
    noise = np.random.default_rng(1).normal(size=(60, 20, 30))
    crowded = np.concatenate([latents, noise], axis=2)

    def scores(z):
        made = output(drawn, states=(z[:40], z[40:]))
        return [
            m.compute["reconstruction"](session, made).statistic.value(np.ones((1, 20)))[0]
            for m in (METRIC, FEW_SHOT)
        ]

    (many, few), (many_crowded, few_crowded) = scores(latents), scores(crowded)
    assert few <= many + 1e-3
    assert many - many_crowded < few - few_crowded
    short = SimpleNamespace(**{**vars(session), "task": SimpleNamespace(
        train_heldout=session.task.train_heldout[:9]
    )})  # fmt: skip
    with pytest.raises(CannotBeHadError, match="9 training trials are fewer than the 16"):
        FEW_SHOT.compute["reconstruction"](short, output_of_nine(drawn))


def output_of_nine(drawn):
    _, latents, rates, _ = drawn
    return SourceOutput(rates=RatePrediction(rates[:9], rates[40:]), states=(latents[:9], latents[40:]))
