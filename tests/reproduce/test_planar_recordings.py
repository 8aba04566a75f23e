"""Recordings of synthetic systems: seeds, noise, and the forecast nothing can beat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.reproduce.systems.planar_recordings import (
    Recipe,
    hopf_systems,
    limit_cycles,
    simulate_recording,
)
from nwb_latents.pipeline.evaluation.forecasting.simple_forecasts import hold_last
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_r2
from nwb_latents.pipeline.sources.simulator.planar_systems import (
    Duffing,
    HopfVanDerPol,
    LimitCycle,
    System,
    duffing_systems,
)

FEW = Recipe(n_bins=60, n_trials={"train": 6, "val": 2, "test": 5})


def test_a_recording_depends_on_name_and_seed_alone() -> None:
    one, again = (simulate_recording("a", LimitCycle(2.0), FEW, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.observations["test"], again.observations["test"])
    for other in (
        simulate_recording("a", LimitCycle(2.0), FEW, seed=4),
        simulate_recording("b", LimitCycle(2.0), FEW, seed=3),
    ):
        assert other.latents["train"].tolist() != one.latents["train"].tolist()


def test_observations_are_linear_in_the_latents_up_to_their_noise() -> None:
    recording = simulate_recording("a", HopfVanDerPol(1.0), FEW, seed=0)
    assert 30 <= recording.n_units <= 100
    for split, n in FEW.n_trials.items():
        noise = recording.observations[split] - recording.latents[split] @ recording.read_out.T
        assert noise.shape == (n, 60, recording.n_units)
        assert noise.var() == pytest.approx(0.01, rel=0.05)
    splits = [recording.latents[split][0] for split in ("train", "val", "test")]
    assert not np.allclose(splits[0], splits[1])
    assert not np.allclose(splits[1], splits[2])


def test_without_noise_the_best_forecast_is_the_future() -> None:
    still = Recipe(n_bins=60, n_trials=FEW.n_trials, sigma=0.0, observation_variance=0.0)
    recording = simulate_recording("a", Duffing(-0.4, -0.8), still, seed=0)
    forecast = recording.best_forecast("test", 20, 40)
    np.testing.assert_allclose(forecast, recording.observations["test"][:, 20:], atol=1e-9)


def test_a_forecast_from_no_bin_is_refused() -> None:
    recording = simulate_recording("a", LimitCycle(2.0), FEW, seed=0)
    with pytest.raises(ValueError, match="after 0 seen bins"):
        recording.best_forecast("test", 0, 5)


def test_the_mean_of_noisy_futures_forecasts_better_than_the_future_without_noise() -> None:
    recipe = Recipe(n_bins=120, n_trials={"train": 0, "val": 0, "test": 200})
    recording = simulate_recording("a", HopfVanDerPol(1.0), recipe, seed=0)
    observed = recording.observations["test"]
    sure, unsure = (
        kstep_r2(observed, recording.best_forecast("test", 40, 80, n_futures=n), t0=40) for n in (0, 200)
    )
    assert unsure[-1] > sure[-1] + 0.05
    assert (unsure > sure - 0.01).all()


def test_without_noise_all_futures_are_one() -> None:
    still = replace(FEW, sigma=0.0)
    recording = simulate_recording("a", LimitCycle(2.0), still, seed=0)
    one, many = (recording.best_forecast("test", 20, 10, n_futures=n) for n in (0, 3))
    np.testing.assert_allclose(one, many, atol=1e-12)


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (LimitCycle(5.0), (0.93, 0.89, 0.86)),
        (LimitCycle(2.0), (0.93, 0.88, 0.83)),
        (LimitCycle(0.25), (0.73, 0.59, 0.46)),
        (HopfVanDerPol(1.5), (0.97, 0.92, 0.86)),
        (Duffing(-0.1, 1.0), (0.95, 0.91, 0.89)),
    ],
    ids=["cycle-5", "cycle-2", "cycle-0.25", "hopf", "duffing"],
)
def test_the_best_forecasts_are_those_measured_before(system: System, expected: tuple[float, ...]) -> None:
    # Measured once on 64 trials; 0.08 is about three deviations over draws of 64 trials at k = 30.
    recipe = Recipe(n_trials={"train": 0, "val": 0, "test": 400})
    recording = simulate_recording("oracle", system, recipe, seed=0)
    observed = recording.observations["test"]
    curve = kstep_r2(observed, recording.best_forecast("test", 100, 30), t0=100)
    np.testing.assert_allclose(curve[[9, 19, 29]], expected, atol=0.08)


@pytest.mark.parametrize("noise_scaling", ["sqrt_dt", "dt"])
def test_the_best_forecast_beats_the_last_seen_bin(noise_scaling: str) -> None:
    recipe = Recipe(n_bins=120, n_trials={"train": 0, "val": 0, "test": 100}, noise_scaling=noise_scaling)
    systems = limit_cycles([0.5, 5.0]) | hopf_systems([-0.8, 1.1]) | duffing_systems(2, 2)
    systems |= {f"normal {name}": s for name, s in hopf_systems([1.1], normal_form=True).items()}
    for name, system in systems.items():
        recording = simulate_recording(name, system, recipe, seed=0)
        observed = recording.observations["test"]
        best = kstep_r2(observed, recording.best_forecast("test", 60, 40), t0=60)
        held = kstep_r2(observed, hold_last(observed[:, :60], n_bins=40, otherwise=np.nan), t0=60)
        assert (best[4:] > held[4:]).all(), name


def test_the_families_have_their_sizes() -> None:
    assert len(duffing_systems()) == 20
    wells = {np.sign(system.b) for system in duffing_systems().values()}  # type: ignore[attr-defined]
    assert wells == {-1.0, 1.0}
    assert len(hopf_systems(np.linspace(-1.5, 1.5, 11))) == 11
