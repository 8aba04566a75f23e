"""Kinematic outliers: found in physical units, whatever the sampling rate."""

import dataclasses

import numpy as np
import pytest

from nwb_latents.pipeline.signals.outliers import kinematic_outliers
from nwb_latents.pipeline.signals.recording import Series
from nwb_latents.pipeline.signals.timebase import Grid
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.schemas.quality import QualitySettings
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import TrialSelection

GRID = Grid(0, 500, 20_000_000)
ONLY_ACCELERATION = QualitySettings(max_position_cm=None)


def glitch(rate_hz, jump_cm_s=80.0):
    """Return ten seconds of slow movement with one velocity step of 50 ms at 5 s."""
    time = np.arange(0, 10, 1 / rate_hz)
    velocity = 10 * np.sin(time)
    velocity[(time >= 5.0) & (time < 5.05)] += jump_cm_s
    return Series(time, np.column_stack([velocity, np.zeros_like(time)]))


@pytest.mark.parametrize("rate_hz", [100, 250, 1000])
def test_a_glitch_is_found_at_every_sampling_rate_and_only_around_it(rate_hz):
    outlier, (n_fast, n_far) = kinematic_outliers(None, glitch(rate_hz), GRID, ONLY_ACCELERATION)
    # A step of h cm/s smoothed by s is steeper than a for s·√(2·log(h / (√(2π)·s·a))) to both sides.
    sigma, limit = ONLY_ACCELERATION.acceleration_smooth_s, ONLY_ACCELERATION.max_acceleration_cm_s2
    steep = 2 * sigma * np.sqrt(2 * np.log(80 / (np.sqrt(2 * np.pi) * sigma * limit)))
    assert n_fast / rate_hz == pytest.approx(2 * steep, abs=4 / rate_hz)
    assert n_far == 0
    bins = np.flatnonzero(outlier)
    assert bins.min() >= (5.0 - 0.1) / 0.02
    assert bins.max() <= (5.05 + 0.1) / 0.02


def test_a_normal_reach_is_no_outlier(recording):
    grid = Grid.covering(0, recording.velocity.time[-1], 20_000_000)
    outlier, n = kinematic_outliers(None, recording.velocity, grid, ONLY_ACCELERATION)
    assert not outlier.any()
    assert n.tolist() == [0, 0]


def test_no_acceleration_is_made_up_across_a_gap():
    time = np.concatenate([np.arange(0, 4, 0.01), np.arange(6, 10, 0.01)])
    velocity = np.where(time < 5, 0.0, 90.0)[:, None]
    assert not kinematic_outliers(None, Series(time, velocity), GRID, ONLY_ACCELERATION)[0].any()


def test_positions_off_the_workspace_are_dilated_and_eroded_in_seconds():
    time = np.arange(0, 10, 0.01)
    position = np.where((time > 4.995) & (time < 5.995), 30.0, 1.0)[:, None]
    settings = QualitySettings(position_dilate_s=2.0, position_erode_s=0.5)
    outlier, n = kinematic_outliers(Series(time, position), None, GRID, settings)
    assert n.tolist() == [0, 100]
    assert outlier.sum() * 0.02 == pytest.approx(1.0 + 2 * 1.5, abs=0.05)


def test_the_workspace_is_measured_from_its_middle():
    time = np.arange(0, 10, 0.01)
    moved = Series(time, np.column_stack([np.sin(time), np.sin(time) - 35.0]))
    assert not kinematic_outliers(moved, None, GRID, QualitySettings())[0].any()


def test_trials_at_outliers_are_dropped_on_demand_and_counted(reaches, recording):
    velocity = recording.velocity.values.copy()
    at = np.searchsorted(recording.velocity.time, reaches.onsets[4] + 0.3)
    velocity[at] += 500.0
    noisy = dataclasses.replace(recording, velocity=Series(recording.velocity.time, velocity))
    recipe = IngestRecipe(quality=ONLY_ACCELERATION)
    kept = make_trials(noisy, recipe)
    assert kept.quality.outliers.n_acceleration > 0
    assert 0 < kept.quality.outliers.share < 0.01
    dropped = make_trials(noisy, recipe.model_copy(update={"trials": TrialSelection(drop_outliers=True)}))
    assert dropped.dropped.trials["kinematic_outlier"] == 1
    assert 4 not in dropped.trials["trial"]
