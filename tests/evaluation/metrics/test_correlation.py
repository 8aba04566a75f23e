"""Correlations are numpy's, of the trials as they are and of any that are drawn."""

from types import SimpleNamespace

import numpy as np
import pytest

from nwb_latents.pipeline.evaluation.metrics.correlation import POSITION, VELOCITY, CorrelationSums
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError
from nwb_latents.pipeline.evaluation.source_output import SourceOutput


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(6, 9, 2)) * [3.0, 40.0] + 1000.0
    made = true * 0.3 + rng.normal(size=true.shape) * [1.0, 9.0] - 7.0
    true[2, 4] = np.nan
    true[5] = np.nan
    return true, made


def plain(true, made, rows):
    found = []
    for axis in range(2):
        x, y = (np.concatenate([part[row, :, axis] for row in rows]) for part in (true, made))
        known = np.isfinite(x)
        found.append(np.corrcoef(x[known], y[known])[0, 1])
    return np.mean(found)


def test_correlations_are_those_of_numpy_with_trials_drawn_again(pair):
    sums = CorrelationSums.of(*pair)
    for rows in (range(6), [0, 0, 3, 1, 5, 2]):
        weights = np.bincount(list(rows), minlength=6).astype(float)[None]
        assert sums.value(weights)[0] == pytest.approx(plain(*pair, rows), rel=1e-9)


def test_scale_and_offset_are_forgiven_and_what_does_not_vary_has_none(pair):
    true, _ = pair
    ones = np.ones((1, 6))
    assert CorrelationSums.of(true, 5 - 2 * np.nan_to_num(true)).value(ones)[0] == pytest.approx(-1.0)
    assert np.isnan(CorrelationSums.of(true, np.zeros_like(true)).value(ones)[0])


def test_position_is_velocity_summed_up_and_unknown_after_a_gap(pair):
    true, made = pair
    session = SimpleNamespace(
        velocity=(true, true),
        velocity_decoder=SimpleNamespace(predict=lambda rates: rates),
        describe_decoder=lambda fitted: SimpleNamespace(settings={}, chosen={"alpha": 1.0}),
        task=SimpleNamespace(bin_size_s=0.02),
    )
    ways = [np.cumsum(each, axis=1) for each in (true, made)]
    found = {
        metric: metric.compute["reconstruction"](session, SourceOutput(rates_hz=made))
        for metric in (VELOCITY, POSITION)
    }
    assert found[POSITION].statistic.value(np.ones((1, 6)))[0] == pytest.approx(plain(*ways, range(6)))
    assert found[VELOCITY].statistic.value(np.ones((1, 6)))[0] == pytest.approx(plain(true, made, range(6)))
    assert (found[VELOCITY].n_samples, found[POSITION].n_samples) == (44, 40)
    assert found[POSITION].decoder_settings == {"alpha": 1.0}
    with pytest.raises(CannotBeHadError, match="it only forecasts"):
        VELOCITY.compute["reconstruction"](session, SourceOutput())
