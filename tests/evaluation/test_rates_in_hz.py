"""Rates of a scored session, held-in units first, as the store has them."""

from types import SimpleNamespace

import numpy as np

from nwb_latents.pipeline.evaluation.scored_session import ScoredSession


def test_rates_come_back_to_their_own_units_in_hz():
    of_store = np.array([[5.0, 10.0, 15.0, 20.0], [0.0, 50.0, 25.0, 75.0]])
    order = np.array([3, 0, 2, 1])  # held-in units 3 and 0, then the hidden ones
    scored = SimpleNamespace(answers=SimpleNamespace(order=order), task=SimpleNamespace(bin_size_s=0.02))
    per_bin = of_store[:, order] * 0.02
    np.testing.assert_allclose(ScoredSession.in_hz(scored, per_bin), of_store)
