"""What every metric promises, whatever the data: order does not matter, weights are repetitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_sums
from nwb_latents.pipeline.evaluation.metrics.psth import PsthSums
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums
from nwb_latents.pipeline.evaluation.metrics.spike_scores import SpikeSums, bits_per_spike
from nwb_latents.pipeline.evaluation.nlb.timing import TimingSums
from nwb_latents.pipeline.evaluation.nlb.velocity import fit_nlb_decoder

N_TRIALS, N_BINS, N_UNITS = 9, 6, 4
seeds = st.integers(0, 2**32 - 1)
times = st.lists(st.integers(0, 3), min_size=N_TRIALS, max_size=N_TRIALS).filter(any)


def bits(rates, counts, **_):
    return SpikeSums.of(rates, counts)


def of_rates(definition):
    return lambda rates, truth, **_: R2Sums.of(truth, rates, definition=definition)


def ahead(rates, truth, **_):
    return kstep_sums(truth, rates[:, 2:], t0=2)


def of_conditions(rates, psth, index, **_):
    return PsthSums.of(rates, index, psth)


def timing(rates, interval, index, **_):
    return TimingSums.of(rates, interval, [str(c) for c in index], np.ones(rates.shape[:2], bool))


METRICS = {
    "bits_per_spike": bits,
    "r2_uniform": of_rates("r2_uniform"),
    "r2_pooled": of_rates("r2_pooled"),
    "r2_trialmean": of_rates("r2_trialmean"),
    "kstep": ahead,
    "psth": of_conditions,
    "timing": timing,
}
BY_TRIAL = ("rates", "counts", "truth", "interval", "index")
BY_UNIT = ("rates", "counts", "truth", "psth")


def draw(seed):
    """Arrays for every metric: 9 trials of 3 conditions, counts not recorded here and there."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(2.0, 0.5, size=(N_TRIALS, N_BINS, N_UNITS))
    counts = rng.poisson(rates).astype(float)
    counts[rng.random(counts.shape) < 0.05] = np.nan
    return {
        "rates": rates,
        "counts": counts,
        "truth": rates + rng.normal(size=rates.shape),
        "psth": rng.gamma(2.0, 0.5, size=(3, N_BINS, N_UNITS)),
        "index": np.repeat([0, 1, 2], 3),
        "interval": rng.uniform(0.5, 1.0, size=N_TRIALS),
    }


def whole(statistic):
    return statistic.value(np.ones((1, statistic.n_trials)))[0]


@pytest.mark.parametrize("name", METRICS)
@given(seed=seeds, random=st.randoms(use_true_random=False))
def test_order_of_trials_and_units_does_not_matter(name, seed, random):
    data = draw(seed)
    trials, units = list(range(N_TRIALS)), list(range(N_UNITS))
    random.shuffle(trials)
    random.shuffle(units)
    turned = {key: values[trials] if key in BY_TRIAL else values for key, values in data.items()}
    turned |= {key: turned[key][..., units] for key in BY_UNIT}
    make = METRICS[name]
    assert whole(make(**turned)) == pytest.approx(whole(make(**data)), abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
@given(seed=seeds, repeat=times)
def test_a_weight_is_a_repetition(name, seed, repeat):
    data = draw(seed)
    rows = np.repeat(np.arange(N_TRIALS), repeat)
    repeated = {key: values[rows] if key in BY_TRIAL else values for key, values in data.items()}
    weighted = METRICS[name](**data).value(np.array([repeat], dtype=float))[0]
    again = whole(METRICS[name](**repeated))
    if name == "timing" and len(set(rows // 3)) < 3:
        # The repeated trials do not know of a condition that is not among them.
        assert np.isnan(weighted)
    else:
        assert weighted == pytest.approx(again, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", METRICS)
@given(seed=seeds, factor=st.floats(0.01, 100.0))
def test_weights_count_against_each_other_only(name, seed, factor):
    statistic = METRICS[name](**draw(seed))
    weights = np.random.default_rng(seed).random((3, N_TRIALS))
    assert statistic.value(factor * weights) == pytest.approx(statistic.value(weights), abs=1e-9)


@given(seed=seeds, factor=st.floats(0.2, 5.0))
def test_no_constant_beats_the_null(seed, factor):
    counts = draw(seed)["counts"]
    mean = np.nanmean(counts, axis=(0, 1))
    found = bits_per_spike(np.broadcast_to(factor * mean, counts.shape), counts)
    assert found <= 1e-12
    assert found == pytest.approx(-(factor - 1 - np.log(factor)) / np.log(2), abs=1e-9)


@given(seed=seeds)
def test_a_perfect_prediction_has_an_r2_of_one_in_every_resample(seed):
    truth = draw(seed)["truth"]
    weights = np.random.default_rng(seed).integers(1, 4, size=(5, N_TRIALS)).astype(float)
    for definition in ("r2_uniform", "r2_pooled", "r2_trialmean"):
        assert (R2Sums.of(truth, truth, definition=definition).value(weights) == 1.0).all()


@given(seed=seeds)
def test_decoded_velocity_does_not_depend_on_the_order_of_units(seed):
    data = draw(seed)
    velocity = data["truth"][..., :2]
    units = np.random.default_rng(seed).permutation(N_UNITS)
    one = fit_nlb_decoder(data["rates"], velocity)
    other = fit_nlb_decoder(data["rates"][..., units], velocity)
    assert other.ridges[""].alpha == one.ridges[""].alpha
    assert other.predict(data["rates"][..., units]) == pytest.approx(one.predict(data["rates"]), abs=1e-9)
