from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nwb_latents.pipeline.sources.simulator import SimulatedSession, simulate_session
from nwb_latents.schemas.simulation import SimulateSettings

BIN_S = 0.02
Matrix = NDArray[np.float64]


def _rates_per_bin(session: SimulatedSession) -> Matrix:
    rates = session.truth.rates_hz.astype(np.float64)
    n_bins = (len(rates) - 1) // 2
    return rates[: 2 * n_bins].reshape(n_bins, 2, -1).mean(axis=1)


def _smoothed_spikes(session: SimulatedSession, sigma_s: float) -> Matrix:
    n_bins = (len(session.truth.latent_time_s) - 1) // 2
    spikes = np.split(session.spike_times, session.spike_index[:-1])
    counts = np.stack([np.histogram(unit, n_bins, (0, n_bins * BIN_S))[0] for unit in spikes], axis=1)
    return gaussian_filter1d(counts / BIN_S, sigma_s / BIN_S, axis=0)


def _velocity_r2(session: SimulatedSession, rates: Matrix, lag_s: float = 0.1) -> float:
    """R² of a ridge decoder around onset, trained on the first four fifths of the rewarded reaches."""
    truth = session.truth
    active = truth.rates_hz.mean(axis=0) > 0.1
    onsets = np.round(truth.onset_s[truth.success] / BIN_S).astype(int)
    rows = onsets[:, None] + np.arange(-13, 18)
    n_train = int(0.8 * len(rows))
    x = rates[:, active]
    y = truth.velocity[1::2][: len(rates)]
    x_train, y_train = x[rows[:n_train]].reshape(-1, active.sum()), y[rows[:n_train] + round(lag_s / BIN_S)]
    x_test, y_test = x[rows[n_train:]].reshape(-1, active.sum()), y[rows[n_train:] + round(lag_s / BIN_S)]
    y_train, y_test = y_train.reshape(-1, 2), y_test.reshape(-1, 2)
    centre, spread = x_train.mean(axis=0), x_train.std(axis=0)
    x_train, x_test = (x_train - centre) / spread, (x_test - centre) / spread
    gram = x_train.T @ x_train + np.eye(x_train.shape[1])
    weights = np.linalg.solve(gram, x_train.T @ (y_train - y_train.mean(axis=0)))
    error = y_test - x_test @ weights - y_train.mean(axis=0)
    return float(1 - (error**2).sum() / ((y_test - y_test.mean(axis=0)) ** 2).sum())


def test_velocity_can_be_decoded_from_the_true_rates(centre_out: SimulatedSession) -> None:
    assert _velocity_r2(centre_out, _rates_per_bin(centre_out)) >= 0.95


def test_spikes_leave_a_denoising_model_room_to_improve(centre_out: SimulatedSession) -> None:
    assert 0.65 < _velocity_r2(centre_out, _smoothed_spikes(centre_out, 0.025)) < 0.92


def test_neurons_lead_behaviour_by_100_ms(centre_out: SimulatedSession) -> None:
    rates = _rates_per_bin(centre_out)
    at_lead = _velocity_r2(centre_out, rates, lag_s=0.1)
    assert at_lead > _velocity_r2(centre_out, rates, lag_s=0.04)
    assert at_lead > _velocity_r2(centre_out, rates, lag_s=0.16)


def test_counts_follow_the_effective_rates(centre_out: SimulatedSession) -> None:
    rates = centre_out.truth.rates_hz.astype(np.float64)
    expected = ((rates[1:] + rates[:-1]) * 0.005).sum(axis=0)
    counts = np.diff(centre_out.spike_index, prepend=0)
    # A dead time only makes counts more regular than Poisson, so Poisson limits hold.
    assert (np.abs(counts - expected) < 4.5 * np.sqrt(expected) + 1).all()
    assert abs(counts.sum() - expected.sum()) < 4 * np.sqrt(expected.sum())


def test_effective_rates_hold_for_fast_units_too() -> None:
    settings = SimulateSettings(
        preset="classic", n_units=(5, 5), silent_units=0, mean_rate_hz=60, n_trials=60, seed=9
    )
    fast = simulate_session(settings)
    expected = fast.truth.rates_hz.astype(np.float64).mean(axis=0) * fast.truth.latent_time_s[-1]
    counts = np.diff(fast.spike_index, prepend=0)
    assert (np.abs(counts - expected) < 4.5 * np.sqrt(expected)).all()


def test_time_varying_rates_predict_the_counts_of_short_windows(centre_out: SimulatedSession) -> None:
    rates = _rates_per_bin(centre_out)
    counts = _smoothed_spikes(centre_out, 1e-9) * BIN_S
    order = np.argsort(rates, axis=None)
    for part in np.array_split(order, 20):
        expected = rates.ravel()[part].sum() * BIN_S
        assert abs(counts.ravel()[part].sum() - expected) < 4.5 * np.sqrt(expected)


def test_refractory_period_is_honoured(centre_out: SimulatedSession) -> None:
    intervals = np.concatenate(
        [np.diff(unit) for unit in np.split(centre_out.spike_times, centre_out.spike_index[:-1])]
    )
    assert intervals.min() >= 0.0015


def test_rates_have_the_mean_asked_for_and_a_long_tail(centre_out: SimulatedSession) -> None:
    mean = np.diff(centre_out.spike_index, prepend=0) / centre_out.truth.latent_time_s[-1]
    assert mean.mean() == pytest.approx(12, rel=0.05)
    assert mean.max() > 2 * np.median(mean)


def test_silent_units_are_silent_and_no_others(centre_out: SimulatedSession) -> None:
    mean = np.diff(centre_out.spike_index, prepend=0) / centre_out.truth.latent_time_s[-1]
    assert (mean < 0.1).sum() == centre_out.settings.silent_units == 2


def test_units_have_both_areas(centre_out: SimulatedSession) -> None:
    assert set(centre_out.neurons.area) == {"M1", "PMd"}


def _rotation_pole(session: SimulatedSession) -> complex:
    """Pole of the rotation, from its course after the kick of each rewarded reach."""
    truth = session.truth
    z = truth.latents[:, 4] + 1j * truth.latents[:, 5]
    onsets = np.round(truth.onset_s[truth.success] * 100).astype(int)
    rows = (onsets[:, None] + np.arange(0, 25)).ravel()
    return complex(np.vdot(z[rows], z[rows + 1]) / np.vdot(z[rows], z[rows]))


def test_sessions_share_dynamics_but_not_neurons() -> None:
    settings = SimulateSettings(preset="classic", n_units=(20, 20), n_trials=16, seed=7)
    first, second = (simulate_session(settings, session=number) for number in range(2))
    other_subject = simulate_session(settings, subject=1)
    other_seed = simulate_session(settings.model_copy(update={"seed": 8}))
    pole = _rotation_pole(first)
    assert _rotation_pole(second) == pytest.approx(pole, rel=1e-9)
    assert _rotation_pole(other_subject) != pytest.approx(pole, rel=1e-6)
    assert np.angle(_rotation_pole(other_subject)) == pytest.approx(np.angle(pole), rel=0.25)
    assert _rotation_pole(other_seed) != pytest.approx(pole, rel=1e-6)
    together = np.corrcoef(first.neurons.loadings.ravel(), second.neurons.loadings.ravel())[0, 1]
    assert abs(together) < 0.4


def test_preparatory_state_foretells_the_direction(centre_out: SimulatedSession) -> None:
    truth = centre_out.truth
    before = np.round(truth.onset_s[truth.success] * 100).astype(int) - 14
    direction = truth.target_dir_rad[truth.success]
    prepared = truth.latents[before, 2] + 1j * truth.latents[before, 3]
    assert np.abs(np.angle(prepared * np.exp(-1j * direction))).max() < np.deg2rad(15)


def test_seed_decides_everything_and_the_size_of_the_dandiset_nothing() -> None:
    settings = SimulateSettings(preset="classic", n_units=(6, 9), n_trials=6, seed=11)
    again = simulate_session(settings.model_copy(update={"n_sessions": 7}), subject=1)
    once = simulate_session(settings, subject=1)
    other = simulate_session(settings.model_copy(update={"seed": 12}), subject=1)
    np.testing.assert_array_equal(once.spike_times, again.spike_times)
    np.testing.assert_array_equal(once.truth.rates_hz, again.truth.rates_hz)
    np.testing.assert_array_equal(once.kinematics.velocity, again.kinematics.velocity)
    assert len(other.spike_times) != len(once.spike_times)


def test_layout_and_sampling_rate_do_not_change_the_neurons() -> None:
    settings = SimulateSettings(preset="classic", n_units=(5, 5), n_trials=4)
    other = settings.model_copy(update={"layout": "nlb", "kinematics_rate_hz": 1000.0})
    np.testing.assert_array_equal(simulate_session(settings).spike_times, simulate_session(other).spike_times)
