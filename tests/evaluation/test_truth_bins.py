"""Truth of simulated sessions in the bins of a store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

from pipeline.errors import DataError
from pipeline.evaluation.truth_bins import binned_truth, unit_columns
from pipeline.sources.simulator import simulate_session
from schemas.simulation import SimulateSettings

if TYPE_CHECKING:
    from pipeline.sources.simulator.truth import Truth


@pytest.fixture(scope="module")
def truth() -> Truth:
    few = SimulateSettings(n_subjects=1, n_sessions=1, n_units=(4, 4), silent_units=1, n_trials=3)
    return simulate_session(few).truth


def store(session: str, start: list[int], *, width: float = 0.02) -> tuple[xr.Dataset, xr.Dataset]:
    attrs = {"session": session, "bin_size_s": width}
    trials = xr.Dataset(coords={"start_bin": ("trial", start)}, attrs=attrs)
    return trials, xr.Dataset(coords={"time": width * np.arange(100)})


def test_a_bin_is_the_mean_of_what_held_in_it(truth: Truth) -> None:
    time = np.array([0.0, 0.01, 0.02, 0.03, 0.04])
    known = replace(truth, latent_time_s=time)
    trials, continuous = store(truth.session, [0, 1])
    values = np.array([[1.0], [3.0], [5.0], [7.0], [9.0]])
    binned = binned_truth(known, values, trials, continuous, n_bins=2)
    # The last value is held beyond the end.
    assert binned[..., 0].tolist() == [
        [pytest.approx(2.0), pytest.approx(6.0)],
        [pytest.approx(6.0), pytest.approx(9.0)],
    ]
    ahead = binned_truth(known, values, trials, continuous, first_bin=1, n_bins=1)
    assert ahead[:, 0, 0] == pytest.approx([6.0, 9.0])
    trials, continuous = store(truth.session, [0], width=0.015)
    assert binned_truth(known, values, trials, continuous, n_bins=2)[0, :, 0] == pytest.approx(
        [(0.01 * 1 + 0.005 * 3) / 0.015, (0.005 * 3 + 0.01 * 5) / 0.015]
    )


def test_units_are_found_by_their_ids(truth: Truth) -> None:
    shuffled = truth.unit_ids[[2, 0]]
    assert unit_columns(truth, shuffled).tolist() == [2, 0]
    with pytest.raises(DataError, match="has no unit 99999; the store was made from another file"):
        unit_columns(truth, [truth.unit_ids[0], 99999])


def test_truth_of_another_session_is_refused(truth: Truth) -> None:
    trials, continuous = store("sub-Z", [0])
    with pytest.raises(DataError, match="was given for sub-Z"):
        binned_truth(truth, truth.latents, trials, continuous, n_bins=1)
