from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from nwbinspector import Importance, inspect_nwbfile

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_r2
from nwb_latents.pipeline.sources.simulator import (
    SimulatedSession,
    SystemTruth,
    best_forecast,
    read_truth,
    simulate_dandiset,
    simulate_session,
)
from nwb_latents.pipeline.sources.simulator.planar_systems import (
    Duffing,
    HopfNormal,
    HopfVanDerPol,
    LimitCycle,
)
from nwb_latents.pipeline.sources.simulator.simulated_session import session_digest
from nwb_latents.pipeline.sources.simulator.system_runs import REST_BINS, choose_system
from nwb_latents.pipeline.sources.simulator.truth import truth_path
from nwb_latents.schemas.simulation import SimulateSettings

Writer = Callable[..., Path]
BIN_S = 0.02
SYSTEMS = ("limit_cycle", "hopf", "hopf_normal", "duffing")


def _settings(**changes: object) -> SimulateSettings:
    sizes = {"n_subjects": 1, "n_sessions": 1, "n_units": (30, 30), "n_trials": 60, "parameter_range": (2, 2)}
    return SimulateSettings.model_validate({"system": "limit_cycle", **sizes, "seed": 2, **changes})


@pytest.fixture(scope="module")
def cycle() -> SimulatedSession:
    """Sixty runs of one limit cycle."""
    return simulate_session(_settings())


def _system(session: SimulatedSession) -> SystemTruth:
    assert session.truth.system is not None
    return session.truth.system


def _counts(session: SimulatedSession) -> np.ndarray:
    """Spikes per bin. Shape ``(n_bins, n_units)``."""
    ticks = np.round(session.spike_times * 30_000).astype(int) // 600
    units = np.split(ticks, session.spike_index[:-1])
    n_bins = len(session.truth.latents)
    return np.stack([np.bincount(unit, minlength=n_bins) for unit in units], axis=1)


def test_the_digest_of_reaching_sessions_is_what_it_was_before_there_were_systems() -> None:
    found = session_digest(SimulateSettings(preset="classic"))
    assert found == "1:2010d04e7a4c85593f8112daf26f5f5d1c29cddff653a9e720935ca8a731f07f"


@pytest.mark.parametrize(
    ("system", "name", "ends"),
    [("limit_cycle", "omega", (0.5, 5.0)), ("hopf", "mu", (-1.5, 1.5)), ("hopf_normal", "mu", (-1.5, 1.5))],
)
def test_the_parameters_of_all_sessions_are_evenly_spaced(
    system: str, name: str, ends: tuple[float, float]
) -> None:
    settings = SimulateSettings(system=system, n_subjects=3, n_sessions=4)
    chosen = np.array(
        [[getattr(choose_system(settings, subject=s, session=k), name) for k in range(4)] for s in range(3)]
    )
    np.testing.assert_allclose(np.sort(chosen, axis=None), np.linspace(*ends, 12))
    assert (np.ptp(chosen, axis=1) > 0.7 * (ends[1] - ends[0])).all()


def test_twenty_duffing_sessions_have_the_twenty_pairs_of_the_grid() -> None:
    settings = SimulateSettings(system="duffing", n_subjects=4, n_sessions=5)
    found = {choose_system(settings, subject=s, session=k) for s in range(4) for k in range(5)}
    assert len(found) == 20
    assert {type(system) for system in found} == {Duffing}


@pytest.mark.parametrize("n_sessions", [1, 2, 3, 7])
def test_duffing_sessions_all_differ(n_sessions: int) -> None:
    settings = SimulateSettings(system="duffing", n_subjects=1, n_sessions=n_sessions)
    assert len({choose_system(settings, subject=0, session=k) for k in range(n_sessions)}) == n_sessions


def test_a_chosen_range_is_kept() -> None:
    settings = SimulateSettings(system="hopf", n_subjects=1, n_sessions=3, parameter_range=(0.5, 1.0))
    found = [choose_system(settings, subject=0, session=k) for k in range(3)]
    assert found == [HopfVanDerPol(0.5), HopfVanDerPol(0.75), HopfVanDerPol(1.0)]


@pytest.mark.parametrize("system", SYSTEMS)
def test_parameters_are_in_the_truth_and_in_the_file(nwb_of: Writer, system: str) -> None:
    path = nwb_of(system=system, failure_rate=0.12)
    truth = read_truth(path).system
    assert truth is not None
    assert truth.name == system
    with h5py.File(path) as file:
        text = file["session_description"].asstr()[()]
    for name, value in truth.parameters.items():
        assert f"{name} = {value:.6g}" in text
    kind = {"limit_cycle": LimitCycle, "hopf": HopfVanDerPol, "hopf_normal": HopfNormal, "duffing": Duffing}
    assert truth.equations() == kind[system](**truth.parameters)
    assert f"_ses-{system.replace('_', '')}-" in path.name


@pytest.mark.parametrize("system", SYSTEMS)
def test_nwbinspector_finds_nothing_critical(nwb_of: Writer, system: str) -> None:
    path = nwb_of(system=system, failure_rate=0.12)
    found = inspect_nwbfile(nwbfile_path=path, importance_threshold=Importance.CRITICAL)
    assert [str(message) for message in found] == []


def test_the_trial_table_lists_the_runs(nwb_of: Writer) -> None:
    path = nwb_of(system="limit_cycle", failure_rate=0.12)
    truth = read_truth(path)
    assert truth.system is not None
    with h5py.File(path) as file:
        trials = file["intervals/trials"]
        start, stop, onset = (trials[name][:] for name in ("start_time", "stop_time", "move_onset_time"))
    np.testing.assert_allclose(start, BIN_S * truth.system.start_bin)
    np.testing.assert_allclose(stop - start, BIN_S * truth.system.trial_bins)
    np.testing.assert_allclose(onset - start, 0.1)
    np.testing.assert_array_equal(truth.trial_row, np.arange(12))
    assert (start[1:] - stop[:-1] > 0.5).all()


@pytest.mark.parametrize("trial_bins", [10, 24, 100])
def test_no_run_seems_longer_than_it_is(trial_bins: int) -> None:
    trials = simulate_session(_settings(trial_bins=trial_bins)).script.trials
    assert all(trial.stop_s - trial.start_s <= trial_bins * BIN_S for trial in trials)


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    settings = _settings(n_trials=4)
    (one,), (two,) = (simulate_dandiset(tmp_path / name, settings) for name in ("one", "two"))
    (other,) = simulate_dandiset(tmp_path / "other", _settings(n_trials=4, seed=3))
    assert one.read_bytes() == two.read_bytes()
    assert truth_path(one).read_bytes() == truth_path(two).read_bytes()
    assert not np.array_equal(read_truth(one).latents, read_truth(other).latents)


def test_a_dandiset_of_a_system_does_not_grow(tmp_path: Path) -> None:
    simulate_dandiset(tmp_path, _settings(n_trials=2))
    with pytest.raises(SettingsError, match="other origin"):
        simulate_dandiset(tmp_path, _settings(n_trials=2, n_sessions=2))


def test_truth_of_a_system_survives_the_round_trip(tmp_path: Path) -> None:
    settings = _settings(n_trials=3)
    (path,) = simulate_dandiset(tmp_path, settings)
    expected, found = _system(simulate_session(settings)), read_truth(path).system
    assert found is not None
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(value, getattr(found, name), err_msg=name)
        assert type(value) is type(getattr(found, name)), name


def test_states_follow_the_equations_but_for_the_noise(cycle: SimulatedSession) -> None:
    system = _system(cycle)
    runs = cycle.truth.latents[system.start_bin[:, None] + np.arange(system.trial_bins)]
    noise = runs[:, 1:] - system.equations().advance(runs[:, :-1])
    assert noise.std() == pytest.approx(system.noise_per_step, rel=0.03)
    assert system.noise_per_step == pytest.approx(0.1)
    assert np.hypot(*runs[:, 50:].reshape(-1, 2).T).mean() == pytest.approx(np.sqrt(2), rel=0.05)
    assert _system(simulate_session(_settings(noise_scaling="dt"))).noise_per_step == pytest.approx(0.02)


def test_rests_lead_from_one_run_to_the_next_without_a_jump(cycle: SimulatedSession) -> None:
    latents, starts = cycle.truth.latents, _system(cycle).start_bin
    steps = np.hypot(*np.diff(latents, axis=0).T)
    rests = steps[starts[:, None] - np.arange(1, REST_BINS + 1)]
    assert rests.max() < 0.4
    assert np.hypot(*latents[0]) < 0.1 * np.hypot(*latents[starts[0]])
    assert np.hypot(*latents[-1]) < 0.1 * np.hypot(*latents[-1 - REST_BINS])


def test_rates_are_those_of_the_state_and_have_the_mean_asked_for(cycle: SimulatedSession) -> None:
    system, truth = _system(cycle), cycle.truth
    expected = np.minimum(np.exp(truth.latents @ system.read_out.T + system.log_rate), system.rate_cap_hz)
    np.testing.assert_allclose(truth.rates_hz, expected, rtol=1e-5)
    assert truth.rates_hz.mean() == pytest.approx(12, rel=0.01)
    assert truth.rates_hz.max() <= 150.001
    assert (truth.rates_hz.mean(axis=0) < 0.1).sum() == cycle.settings.silent_units


@pytest.mark.parametrize("mean_rate_hz", [1.0, 60.0])
def test_unusual_mean_rates_are_met(mean_rate_hz: float) -> None:
    session = simulate_session(_settings(mean_rate_hz=mean_rate_hz, silent_units=0, n_units=(80, 80)))
    means = session.truth.rates_hz.mean(axis=0)
    np.testing.assert_allclose(means, session.neurons.mean_hz, rtol=0.01)
    assert means.max() < 76
    assert means.mean() == pytest.approx(mean_rate_hz, rel=0.2 if mean_rate_hz > 30 else 0.01)


def test_counts_are_poisson_with_the_true_rates(cycle: SimulatedSession) -> None:
    counts, expected = _counts(cycle), BIN_S * cycle.truth.rates_hz.astype(np.float64)
    assert counts.sum() == len(cycle.spike_times)
    error = counts.sum(axis=0) - expected.sum(axis=0)
    assert (np.abs(error) < 4.5 * np.sqrt(expected.sum(axis=0)) + 1).all()
    for part in np.array_split(np.argsort(expected, axis=None), 20):
        mean = expected.ravel()[part]
        assert abs(counts.ravel()[part].sum() - mean.sum()) < 4.5 * np.sqrt(mean.sum())
    spread = np.square(counts - expected).sum() / expected.sum()
    assert spread == pytest.approx(1, abs=0.02)


def test_spikes_ascend_lie_anywhere_in_their_bin_and_never_coincide(cycle: SimulatedSession) -> None:
    for unit in np.split(cycle.spike_times, cycle.spike_index[:-1]):
        assert (np.diff(unit) > 0).all()
    within = np.round(cycle.spike_times * 30_000).astype(int) % 600
    share = np.histogram(within, 10, (0, 600))[0] / len(within)
    np.testing.assert_allclose(share, 0.1, atol=0.01)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_hand_reads_the_state_100_ms_earlier(system: str) -> None:
    session = simulate_session(_settings(system=system, parameter_range=None))
    truth, hand = _system(session), session.kinematics
    bins = truth.start_bin[:, None] + np.arange(truth.trial_bins)
    read = hand.velocity[bins * 20 + 10 + 100]
    np.testing.assert_allclose(read, session.truth.latents[bins] @ truth.velocity_weights.T, atol=1e-9)
    at_start = hand.position[bins[:, 0] * 20 + 10 + 100]
    assert np.abs(at_start).max() < 1e-3
    assert np.abs(hand.position[bins * 20 + 10 + 100]).max() <= 5.01
    assert np.hypot(*hand.acceleration.T).max() < 1500


def test_the_best_forecast_of_a_cycle_without_noise_is_what_happens() -> None:
    session = simulate_session(_settings(n_trials=3))
    system = _system(session)
    runs = [np.array([[1.0, 0.5], [0.2, -1.0], [-1.4, 0.3]])]
    for _ in range(99):
        runs.append(system.equations().advance(runs[-1]))
    latents = session.truth.latents.copy()
    latents[system.start_bin[:, None] + np.arange(100)] = np.stack(runs, axis=1)
    truth = replace(session.truth, latents=latents, system=replace(system, noise_per_step=0.0))
    for n_futures in (0, 2):
        found = best_forecast(truth, 40, 20, trials=[2, 0], units=[5, 3], n_futures=n_futures)
        expected = system.rates(np.stack(runs, axis=1))[[2, 0], 40:60][..., [5, 3]]
        np.testing.assert_allclose(found, expected)


def test_states_within_reach_are_known(cycle: SimulatedSession) -> None:
    system, truth = _system(cycle), cycle.truth
    found = best_forecast(truth, 95, 10, reach_bins=5)
    bins = system.start_bin[:, None] + np.arange(95, 100)
    np.testing.assert_allclose(found[:, :5], truth.rates_hz[bins], rtol=1e-5)
    assert found.shape == (60, 10, 30)
    assert np.isfinite(found).all()


def test_many_futures_forecast_better_than_the_one_without_noise() -> None:
    truth = simulate_session(_settings(n_trials=400, parameter_range=(5, 5), n_units=(12, 12))).truth
    assert truth.system is not None
    rates = truth.rates_hz[truth.system.start_bin[:, None] + np.arange(100)]
    sure, unsure = (kstep_r2(rates, best_forecast(truth, 40, 60, n_futures=n), t0=40) for n in (0, 100))
    assert sure[0] == pytest.approx(unsure[0], abs=0.01)
    assert (unsure > sure - 0.01).all()
    assert unsure[-1] > sure[-1] + 0.05


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"t0": 0}, SettingsError, "after 0 seen bins"),
        ({"t0": 101}, SettingsError, "runs of 100 bins"),
        ({"k": 0}, SettingsError, "forecast of 0 bins"),
        ({"reach_bins": -1}, SettingsError, "reach -1"),
        ({"trials": [60]}, DataError, "no trial 60"),
        ({"trials": [-1]}, DataError, "no trial -1"),
        ({"units": [30]}, DataError, "no unit 30"),
    ],
)
def test_forecasts_that_cannot_be_made_are_refused(
    cycle: SimulatedSession, changes: dict[str, object], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        best_forecast(cycle.truth, **{"t0": 10, "k": 5, **changes})  # type: ignore[arg-type]


def test_reaches_have_no_best_forecast() -> None:
    truth = simulate_session(SimulateSettings(n_units=(4, 4), n_trials=2)).truth
    with pytest.raises(DataError, match="simulate a system instead"):
        best_forecast(truth, 10, 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"system": "hopf", "parameter_range": (900, 900)},
        {"system": "duffing", "parameter_range": None, "n_sessions": 20, "trial_bins": 2000},
    ],
    ids=str,
)
def test_a_system_that_diverges_is_named(changes: dict[str, object]) -> None:
    settings = _settings(**changes)
    last = settings.n_sessions - 1
    with pytest.raises(SettingsError, match=r"diverges within trial_bins.*Narrow parameter_range"):
        simulate_session(settings, session=last)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"system": "hopf", "layout": "nlb"}, "layout 'nlb' holds reaches"),
        ({"system": "hopf", "layout": "000688"}, "layout '000688' holds reaches"),
        ({"system": "hopf", "task": "RT"}, "task has no meaning"),
        ({"system": "hopf", "failure_rate": 0.5}, "failure_rate has no meaning"),
        ({"system": "hopf", "n_targets": 4}, "n_targets has no meaning"),
        ({"trial_bins": 50}, "trial_bins has no meaning for system 'reaching'"),
        ({"noise_scaling": "dt"}, "noise_scaling has no meaning"),
        ({"parameter_range": (0, 1)}, "parameter_range has no meaning"),
        ({"system": "duffing", "parameter_range": (0, 1)}, "pairs of parameters"),
        ({"system": "hopf", "parameter_range": (1, 0)}, "the smaller one first"),
        ({"system": "hopf", "parameter_range": (0, float("inf"))}, "finite"),
        ({"system": "hopf", "silent_units": 40}, "silent_units"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SimulateSettings.model_validate(changes)


def test_a_system_brings_its_layout() -> None:
    settings = SimulateSettings(system="duffing")
    assert settings.layout == "generic"
    assert SimulateSettings.model_validate(settings.model_dump()) == settings
    assert SimulateSettings().layout == "000688"
