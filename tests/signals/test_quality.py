"""Quality of a session: numbers with known answers, flags, and what training may ask."""

import dataclasses

import numpy as np
import pytest

from nwb_latents.pipeline.signals.quality import (
    cross_validated_r2,
    flags_of,
    objections,
    percentiles,
    rate_stability,
)
from nwb_latents.pipeline.signals.recording import Series
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.schemas.quality import QualityFilter, QualitySettings, SessionQuality
from nwb_latents.schemas.recipe import IngestRecipe


def quality_of(recording, **settings):
    settings = {"max_position_cm": None, **settings}
    return make_trials(recording, IngestRecipe(quality=QualitySettings(**settings))).quality


def test_a_good_session_has_no_flags_and_plausible_numbers(make_reaches, as_recording):
    reaches = make_reaches(n_trials=60, n_units=40)
    quality = quality_of(as_recording(reaches))
    assert quality.flags == ()
    assert (quality.n_trials, quality.n_units) == (60, 40)
    assert 0.6 < quality.decodability < 1
    true = reaches.onsets - reaches.go
    assert quality.reaction_time_s.p50 == pytest.approx(np.median(true), abs=0.02)
    peak = 8 / reaches.duration * 1.875
    assert quality.peak_speed_cm_s.p95 == pytest.approx(np.percentile(peak, 95), rel=0.05)
    assert sum(quality.onset_quality.values()) == 60


def test_units_that_know_nothing_of_the_movement_are_flagged(recording):
    rng = np.random.default_rng(0)
    spikes = [np.sort(rng.uniform(0, recording.velocity.time[-1], 800)) for _ in range(12)]
    blind = dataclasses.replace(
        recording, spike_times=np.concatenate(spikes), spike_index=np.cumsum([800] * 12)
    )
    quality = quality_of(blind)
    assert quality.decodability < 0.2
    assert "low_decodability" in quality.flags


def test_test_trials_have_no_part_in_decodability(recording):
    made = make_trials(recording, IngestRecipe())
    test = made.trials["start_bin"][made.trials["split"] == "test"]
    edges = made.continuous["time"][test]
    velocity = recording.velocity.values.copy()
    for edge in edges:
        inside = (recording.velocity.time > edge + 0.5) & (recording.velocity.time < edge + 0.6)
        velocity[inside] *= -1
    spoilt = dataclasses.replace(recording, velocity=Series(recording.velocity.time, velocity))
    table = dataclasses.replace(
        recording.trials,
        events={**recording.trials.events, "move_onset": made.events["move_onset"]},
    )
    a = quality_of(dataclasses.replace(recording, trials=table))
    b = quality_of(dataclasses.replace(spoilt, trials=table))
    assert a.decodability == b.decodability


def test_a_session_that_falls_silent_drifts(recording):
    last = recording.velocity.time[-1]
    starts = np.concatenate([[0], recording.spike_index[:-1]])
    thinned = []
    for lo, hi in zip(starts, recording.spike_index, strict=True):
        times = recording.spike_times[lo:hi]
        thinned.append(np.concatenate([times[times < last / 2], times[times >= last / 2][::4]]))
    fading = dataclasses.replace(
        recording, spike_times=np.concatenate(thinned), spike_index=np.cumsum([len(t) for t in thinned])
    )
    quality = quality_of(fading)
    assert quality.rates.drift < -0.8
    assert quality.rates.unit_drift > 0.8
    assert {"rate_drift", "variable_rates"} <= set(quality.flags)


def test_stability_of_known_rates():
    counts = np.zeros((4, 10, 2), np.uint8)
    counts[:2, :, 0], counts[2:, :, 0], counts[:, :, 1] = 1, 2, 3
    found = rate_stability(counts[::-1], np.arange(4)[::-1], bin_size_s=0.1)
    assert found.drift == pytest.approx((25 - 20) / 22.5, rel=1e-4)
    assert found.cv == pytest.approx(2.5 / 22.5, rel=1e-4)
    assert found.unit_drift == pytest.approx(0.5 * 10 / 15, rel=1e-4)
    assert found.correlation == 1.0
    assert rate_stability(counts[:1], np.arange(1), bin_size_s=0.1).drift is None
    assert rate_stability(counts * 0, np.arange(4), bin_size_s=0.1).cv is None


def test_cross_validation_scores_samples_the_fit_has_not_seen():
    rng = np.random.default_rng(1)
    x, fold = rng.normal(size=(60, 40)), np.repeat(np.arange(5), 12)
    assert cross_validated_r2(x, rng.normal(size=(60, 2)), fold, alpha=1.0) < 0.2
    signal = x[:, :2] @ np.array([[1.0, 0.0], [2.0, 1.0]])
    assert cross_validated_r2(x, signal, fold, alpha=1e-3) > 0.9
    assert cross_validated_r2(x, np.zeros((60, 1)), fold, alpha=1.0) is None


def test_it_is_the_same_as_fitting_each_fold_by_itself():
    rng = np.random.default_rng(2)
    x, fold = rng.normal(size=(50, 3)), np.arange(50) % 5
    y = x @ rng.normal(size=(3, 2)) + 0.1 * rng.normal(size=(50, 2))
    scaled = (x - x.mean(0)) / x.std(0)
    error = 0.0
    for one in range(5):
        seen = fold != one
        design = np.column_stack([scaled, np.ones(50)])
        penalty = 2.0 * np.diag([1, 1, 1, 0])
        weights = np.linalg.solve(design[seen].T @ design[seen] + penalty, design[seen].T @ y[seen])
        error = error + np.square(y - design @ weights)[~seen].sum(axis=0)
    expected = (1 - error / np.square(y - y.mean(0)).sum(axis=0)).mean()
    assert cross_validated_r2(x, y, fold, alpha=2.0) == pytest.approx(expected, rel=1e-6)


def test_without_a_velocity_decodability_is_undefined_not_zero(recording):
    blind = dataclasses.replace(recording, velocity=None, position=None)
    made = make_trials(blind, IngestRecipe(align_to="go_cue"))
    assert made.quality.decodability is None
    assert "no_decodability" in made.quality.flags
    assert made.quality.peak_speed_cm_s.n == 0


def test_every_threshold_raises_its_flag(recording):
    base = quality_of(recording)
    assert flags_of(base, QualitySettings(min_trials=25, min_units=13)) == ("few_trials", "few_units")
    doubtful = base.model_copy(update={"onset_quality": {"ok": 1, "slow_rise": 23}})
    assert "doubtful_onsets" in flags_of(doubtful, QualitySettings())
    dropped = base.model_copy(update={"dropped_trials": {"too_long": 25}})
    assert "many_dropped" in flags_of(dropped, QualitySettings())


def test_percentiles_leave_missing_values_out():
    assert percentiles(np.array([np.nan, np.nan])).p50 is None
    found = percentiles(np.array([1.0, np.nan, 3.0]))
    assert (found.n, found.p50) == (2, 2.0)


def test_objections_say_what_was_asked_and_found(recording):
    quality = quality_of(recording, min_units=20)
    assert objections(quality, QualityFilter()) == ()
    assert objections(quality, QualityFilter(min_trials=30)) == ("24 trials, fewer than 30",)
    assert objections(quality, QualityFilter(exclude_flags=("few_units",))) == ("flagged few_units",)
    assert "more than 0" in objections(quality, QualityFilter(max_flags=0))[0]
    (phrase,) = objections(quality, QualityFilter(min_decodability=0.99))
    assert phrase.endswith("less than 0.99")


def test_percentiles_are_those_of_their_names():
    found = percentiles(np.random.default_rng(0).permutation(np.arange(101.0)))
    assert (found.n, found.p5, found.p25, found.p50, found.p75, found.p95) == (101, 5, 25, 50, 75, 95)


@pytest.mark.parametrize(
    ("bin_size_s", "lag_s", "lag_bins"), [(0.02, 0.1, 5), (0.05, 0.1, 2), (0.02, 0.0, 0)]
)
def test_decodability_is_a_ridge_regression_of_training_trials_onto_the_velocity_after_them(
    make_reaches, as_recording, bin_size_s, lag_s, lag_bins
):
    recipe = IngestRecipe(
        bin_size_s=bin_size_s,
        window_s=(-0.2, 0.4),
        quality=QualitySettings(lag_s=lag_s, folds=4, ridge_alpha=3.0, max_position_cm=None),
    )
    made = make_trials(as_recording(make_reaches(n_trials=40, n_units=20)), recipe)
    start = made.trials["start_bin"][made.trials["split"] == "train"]
    features, targets, fold = [], [], []
    for place, first in enumerate(start):
        for one in range(first, first + recipe.n_bins):
            velocity = made.continuous["velocity"][one + lag_bins]
            if np.isfinite(velocity).all():
                features.append(made.continuous["rates"][one])
                targets.append(velocity)
                fold.append(place * 4 // len(start))
    x, y = np.array(features, dtype=np.float64), np.array(targets, dtype=np.float64)
    expected = cross_validated_r2(x, y, np.array(fold), alpha=3.0)
    assert made.quality.decodability == pytest.approx(expected, abs=1e-5)


BEYOND = {
    "few_trials": ({"n_trials": 29}, {"n_trials": 30}, {"min_trials": 30}),
    "few_units": ({"n_units": 6}, {"n_units": 7}, {"min_units": 7}),
    "low_decodability": ({"decodability": 0.49}, {"decodability": 0.5}, {"min_decodability": 0.5}),
    "no_decodability": ({"decodability": None}, {"decodability": -1.0}, {"min_decodability": -1.0}),
    "rate_drift": ({"rates": {"drift": -0.31}}, {"rates": {"drift": -0.3}}, {"max_drift": 0.3}),
    "variable_rates": ({"rates": {"cv": 0.31}}, {"rates": {"cv": 0.3}}, {"max_cv": 0.3}),
    "many_outliers": (
        {"outliers": {"share": 0.11}}, {"outliers": {"share": 0.1}}, {"max_outlier_share": 0.1},
    ),
    "doubtful_onsets": (
        {"onset_quality": {"ok": 10, "column": 5, "chop": 4, "slow_rise": 11}},
        {"onset_quality": {"ok": 10, "column": 5, "chop": 5, "slow_rise": 10}},
        {"max_doubtful_onsets": 0.25},
    ),
    "many_dropped": (
        {"dropped_trials": {"too_long": 8, "unobserved": 3}},
        {"dropped_trials": {"too_long": 7, "unobserved": 3}},
        {"max_dropped_share": 0.2},
    ),
}  # fmt: skip
"""Flag → what is beyond its threshold, what lies on it, and the threshold."""


@pytest.mark.parametrize("flag", BEYOND)
def test_what_lies_on_a_threshold_is_good_enough_and_what_lies_beyond_it_is_flagged(flag):
    beyond, on_it, threshold = BEYOND[flag]
    nothing = percentiles(np.zeros(0))
    good = {
        "n_trials": 40, "n_units": 20, "reaction_time_s": nothing, "peak_speed_cm_s": nothing, "rates": {},
        "outliers": {}, "decodability": 0.9,
    }  # fmt: skip
    settings = QualitySettings(**threshold)
    assert flags_of(SessionQuality.model_validate(good | on_it), settings) == ()
    assert flags_of(SessionQuality.model_validate(good | beyond), settings) == (flag,)
