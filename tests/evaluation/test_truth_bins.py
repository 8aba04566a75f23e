"""Truth of simulated sessions in the bins of a store."""

from dataclasses import replace

import numpy as np
import pytest

from nwb_latents.pipeline.evaluation.truth_bins import TrueSignal
from nwb_latents.pipeline.sources.simulator import simulate_session
from nwb_latents.schemas.simulation import SimulateSettings

FEW = {
    "preset": "classic",
    "n_subjects": 1,
    "n_sessions": 1,
    "n_units": (4, 4),
    "silent_units": 1,
    "n_trials": 3,
}
VALUES = np.array([[1.0], [3.0], [5.0], [7.0], [9.0]])


def course(**changes):
    truth = simulate_session(SimulateSettings(**{**FEW, **changes})).truth
    return TrueSignal.of(replace(truth, latent_time_s=0.01 * np.arange(5)), VALUES)


def test_states_of_reaches_are_linear_between_the_times_they_are_known_at():
    means = course().means([0.0, 0.01], bin_size_s=0.015, n_bins=2)
    assert means[..., 0] == pytest.approx(np.array([[2.5, 5.5], [4.5, 7.5]]))


def test_states_of_a_system_hold_for_their_bin():
    of_system = course(system="hopf")
    assert of_system.means([0.0], bin_size_s=0.02, n_bins=2)[0, :, 0] == pytest.approx([2.0, 6.0])
    ahead = of_system.means([0.03], bin_size_s=0.01, n_bins=2, n_ahead=2)
    assert ahead[0, :, 0] == pytest.approx([7.0, 9.0, 9.0, 9.0])
