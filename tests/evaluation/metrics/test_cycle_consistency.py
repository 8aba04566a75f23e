"""Cycle consistency: latents that leave no trace in the rates are not had back from them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.cycle_consistency import METRIC, way_back
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError
from nwb_latents.pipeline.evaluation.source_output import SourceOutput
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction

N_UNITS, FITTED = 12, 30


@pytest.fixture(scope="module")
def true():
    """Three latents that all matter, and the rates they make. Shapes (50, 20, 3) and (50, 20, 12)."""
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(50, 20, 3))
    rates = np.exp(-1.0 + latents @ np.linalg.qr(rng.normal(size=(N_UNITS, 3)))[0].T)
    return latents, rates


def score(latents, rates, *, as_states=True):
    parts = latents[:FITTED], latents[FITTED:]
    made = SourceOutput(
        rates=RatePrediction(rates[:FITTED], rates[FITTED:], latents=None if as_states else parts),
        states=parts if as_states else None,
    )
    found = METRIC.compute["reconstruction"](SimpleNamespace(), made)
    return float(found.statistic.value(np.ones((1, len(parts[1]))))[0]), found.details


@pytest.mark.parametrize("as_states", [True, False])
def test_latents_that_all_matter_are_had_back(true, as_states):
    value, details = score(*true, as_states=as_states)
    assert value == pytest.approx(1.0, abs=1e-9)
    assert details == {"n_latents": 3, "n_kept": 3}


def test_needless_latents_are_lost_by_their_share_of_the_variance(true):
    latents, rates = true
    needless = np.random.default_rng(1).normal(size=(50, 20, 3))
    values = [score(np.concatenate([latents, needless[..., :n]], -1), rates)[0] for n in range(4)]
    np.testing.assert_allclose(values, [1, 3 / 4, 3 / 5, 3 / 6], atol=0.02)
    # Which axes the latents are told in does not matter, only what they do.
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    turned = np.concatenate([latents, needless], -1) @ turn + 5.0
    assert score(turned, rates)[0] == pytest.approx(values[3], abs=1e-6)


def test_it_is_that_of_the_benchmarks_definition_with_scikit_learn(true):
    latents, rates = true
    rng = np.random.default_rng(3)
    inferred = np.concatenate([latents, 0.7 * rng.normal(size=(50, 20, 4))], -1) @ rng.normal(size=(7, 7))
    noisy = rates * np.exp(0.1 * rng.normal(size=rates.shape))
    z, logs = inferred.reshape(-1, 7), np.log(noisy).reshape(-1, N_UNITS)
    seen = FITTED * 20
    z = z - z[:seen].mean(axis=0)
    there = LinearRegression().fit(z[:seen], logs[:seen])
    left, size, right = np.linalg.svd(there.coef_, full_matrices=False)
    kept = np.searchsorted(np.cumsum(size**2 / np.sum(size**2)), 0.99) + 1
    inverse = right[:kept].T @ np.diag(1 / size[:kept]) @ left[:, :kept].T
    back = (logs[seen:] - there.intercept_) @ inverse.T
    expected = r2_score(z[seen:], back, multioutput="variance_weighted")
    value, details = score(inferred, noisy)
    assert value == pytest.approx(expected, abs=1e-9)
    assert details["n_kept"] == kept < 7


def test_what_cannot_be_had_is_said(true):
    latents, rates = true
    train, scored = rates[:FITTED], rates[FITTED:]
    compute = METRIC.compute["reconstruction"]
    with pytest.raises(CannotBeHadError, match="no latents"):
        compute(SimpleNamespace(), SourceOutput(rates=RatePrediction(train, scored)))
    flat = np.ones((50, 20, 2))
    still = SourceOutput(rates=RatePrediction(train, scored), states=(flat[:FITTED], flat[FITTED:]))
    with pytest.raises(CannotBeHadError, match="do not vary"):
        compute(SimpleNamespace(), still)
    with pytest.raises(DataError, match="same trials and bins"):
        way_back(latents[:9], np.log(rates))
    with pytest.raises(DataError, match="not finite"):
        way_back(np.where(latents > 2, np.nan, latents), np.log(rates))


def test_latents_without_effect_are_worth_nothing(true):
    _, rates = true
    latents = np.random.default_rng(4).normal(size=(50, 20, 2))
    value, details = score(latents, np.ones_like(rates))
    assert value == pytest.approx(0.0, abs=0.01)
    assert details["n_kept"] == 0
