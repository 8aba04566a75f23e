"""DCI and TAD on codes that were planted."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.disentanglement import auroc_difference, dci

MIXED = np.array([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


def planted(n=600, n_factors=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n, n_factors)), rng.normal(size=(n, 1))


def scored(codes, factors):
    half = len(codes) // 2
    return dci(codes[:half], factors[:half], test_codes=codes[half:], test_factors=factors[half:])


def test_codes_that_are_the_factors_are_disentangled_complete_and_informative():
    factors, spare = planted()
    found = scored(np.c_[-3 * factors[:, 1], spare, factors[:, 0] ** 3, np.exp(factors[:, 2])], factors)
    assert found.disentanglement > 0.95
    assert found.completeness > 0.95
    assert (found.informativeness > 0.95).all()
    assert found.importance.argmax(axis=0).tolist() == [2, 0, 3]
    np.testing.assert_allclose(found.importance.sum(axis=0), 1)


def test_turned_codes_are_informative_but_entangled():
    factors, spare = planted()
    found = scored(np.c_[factors, np.tanh(spare)] @ MIXED, factors)
    assert (found.informativeness > 0.7).all()
    assert found.disentanglement < 0.2
    assert found.completeness < 0.2


def test_a_factor_in_two_dimensions_is_disentangled_but_not_complete():
    factors, _ = planted(n_factors=2)
    noise = np.random.default_rng(1).normal(size=(600, 2))
    found = scored(np.c_[factors[:, :1] + 0.3 * noise, factors[:, 1]], factors)
    assert found.disentanglement > 0.9
    assert found.completeness < 0.8


def test_empty_codes_predict_nothing():
    factors, _ = planted()
    found = scored(np.random.default_rng(2).normal(size=(600, 4)), factors)
    assert (found.informativeness < 0.1).all()


def test_area_of_the_best_over_the_second_best_dimension():
    codes = np.array([[0.0, 3], [1, 0], [2, 2], [3, 1]])
    found = auroc_difference(codes, codes[:, :1] > 1.5)
    # Pairs of one trial in each group: all 4 in order along the first dimension, 2 of 4 along the second.
    assert found.best.tolist() == [1.0]
    assert found.difference.tolist() == [0.5]
    assert found.total == 0.5


def test_the_sense_of_a_dimension_does_not_count():
    codes, _ = planted()
    found, turned = (auroc_difference(c, codes > 0) for c in (codes, -codes))
    np.testing.assert_allclose(turned.difference, found.difference)


def test_attributes_another_one_tells_or_no_dimension_captures_do_not_count():
    codes, spare = planted()
    attributes = np.c_[codes[:, 0] > 0, codes[:, 0] > 0.1, codes[:, 1] > 0, spare > 0]
    found = auroc_difference(codes, attributes)
    assert found.is_captured.tolist() == [False, False, True, False]
    assert found.total == pytest.approx(found.difference[2])


def test_what_cannot_be_scored_is_refused():
    codes, _ = planted()
    with pytest.raises(DataError, match="1 dimensions and 3 factors"):
        scored(codes[:, :1], codes)
    with pytest.raises(DataError, match=r"set in \[600\] of 600 trials"):
        auroc_difference(codes, codes[:, :1] < 9)
    with pytest.raises(DataError, match="all finite"):
        auroc_difference(codes * np.nan, codes > 0)
