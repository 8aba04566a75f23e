"""Bands hold what they say, of errors of any shape, and say when they cannot."""

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.forecasting.conformal import conformal_band, least_trials, why_lower


@pytest.mark.parametrize("n_val", [9, 14, 29, 60])
@pytest.mark.parametrize("kind", ["normal", "cauchy", "skewed"])
def test_coverage_is_that_of_the_rank_whatever_the_errors(n_val, kind):
    rng = np.random.default_rng(n_val)
    draw = {
        "normal": lambda size: rng.normal(size=size),
        "cauchy": lambda size: rng.standard_cauchy(size=size),
        "skewed": lambda size: rng.exponential(size=size) - 0.2,
    }[kind]
    # Bins and axes are independent here: each is one more draw of validation and test trials.
    n_bins, n_test = 4000, 5
    band = conformal_band(draw((n_val, n_bins, 1)))
    held = band.holds(draw((n_test, n_bins, 1)), np.zeros((n_test, n_bins, 1)))
    expected = np.ceil(round((n_val + 1) * 0.9, 9)) / (n_val + 1)
    # Test trials of a bin share its band, so that bins are the independent draws.
    error = held.mean(axis=0).std() / np.sqrt(n_bins)
    assert abs(held.mean() - expected) < 4 * error
    assert band.level == 0.9
    assert 0.9 <= expected < 0.9 + 1 / n_val


def test_too_few_trials_give_what_can_be_given_and_say_so():
    rng = np.random.default_rng(0)
    band = conformal_band(rng.normal(size=(8, 3, 2)))
    assert band.level == pytest.approx(8 / 9)
    assert "8 validation trials" in why_lower(band)
    assert "takes 9" in why_lower(band)
    assert why_lower(conformal_band(rng.normal(size=(9, 3, 2)))) == ""
    assert (least_trials(0.9), least_trials(0.8), least_trials(0.99)) == (9, 4, 99)


def test_trials_that_are_not_known_do_not_count():
    errors = np.random.default_rng(1).normal(size=(20, 2, 1))
    with_gaps = np.concatenate([errors, np.full((5, 2, 1), np.nan)])
    assert np.array_equal(conformal_band(with_gaps).half_width, conformal_band(errors).half_width)
    with_gaps[4:20, 1] = np.nan
    assert conformal_band(with_gaps).n_trials == 4
    assert conformal_band(with_gaps).level == pytest.approx(0.8)
    assert not conformal_band(errors).holds(np.full((1, 2, 1), np.nan), np.zeros((1, 2, 1))).any()
    with pytest.raises(DataError, match=r"split\.val"):
        conformal_band(np.full((5, 2, 1), np.nan))
    with pytest.raises(DataError, match=r"split\.val"):
        conformal_band(np.zeros((0, 2, 1)))
