"""nlb_tools and we take the same from the same files: its ``NWBDataset`` loads them, at bins of 1 ms."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from nwb.field_readers.agreement import SECONDS
from nwb.field_readers.draft_files import write_with_pynwb

from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.binning import bin_spikes, observed_fraction
from nwb_latents.pipeline.signals.timebase import Grid
from nwb_latents.pipeline.stores.nlb_settings import nlb_recipe
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nwb.field_readers.conftest import Take

    from nwb_latents.pipeline.signals.recording import Recording

pytestmark = pytest.mark.field_readers

BIN_NS = 1_000_000
EVENTS = {
    "start": "start_time",
    "stop": "end_time",
    "target_on": "target_on_time",
    "go_cue": "go_cue_time",
    "move_onset": "move_onset_time",
}


class Case(NamedTuple):
    """A dataset of the benchmark.

    Attributes
    ----------
    key, layout
        Its name in the benchmark, and the small file of it that is written; none: simulated.
    position, velocity
        Names of its series, None where it has none.
    per_cm
        Its unit of length: mm or cm.
    """

    key: str
    layout: str | None
    position: str | None
    velocity: str | None
    per_cm: float


CASES = {
    case.key + ("" if case.layout else "_simulated"): case
    for case in (
        Case("mc_maze", None, "hand_pos", "hand_vel", 10.0),
        Case("mc_maze", "nlb", "hand_pos", "hand_vel", 10.0),
        Case("mc_rtt", "000129", "finger_pos", "finger_vel", 10.0),
        Case("area2_bump", "000127", "hand_pos", "hand_vel", 1.0),
        Case("dmfc_rsg", "000130", None, None, 1.0),
    )
}


class Both(NamedTuple):
    """What both made of a file."""

    case: Case
    recording: Recording
    taken: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, simulated: Callable[..., Path]
) -> Callable[[Case], Path]:
    """Return the function that writes the file of a dataset."""
    from nwb.conftest import DRAFTS

    def write(case: Case) -> Path:
        if case.layout is None:
            return simulated(layout="nlb")
        folder = tmp_path_factory.mktemp("drafts")
        return write_with_pynwb(DRAFTS[case.layout](), folder / f"sub-T_ses-{case.key}.nwb")

    return write


@pytest.fixture(scope="module", params=CASES)
def both(request: pytest.FixtureRequest, written: Callable[[Case], Path], take: Take) -> Both:
    """Return what our reader and theirs made of a file of each dataset."""
    case = CASES[request.param]
    path = written(case)
    return Both(case, read_recording(path, nlb_recipe(case.key)), take("nlb_dataset", path))


def test_counts_of_held_in_and_held_out_units_are_the_same(both):
    """Theirs are in the order of the units' ids, and NaN where the first unit was not observed."""
    _, recording, taken = both
    grid = Grid(0, len(taken["clock_time"]), BIN_NS)
    counts = bin_spikes(recording.spike_times, recording.spike_index, grid)
    observed = observed_fraction(recording.observed, grid) > 0.999
    for name, is_heldout in (("spikes", False), ("heldout_spikes", True)):
        units = np.flatnonzero(recording.units.heldout == is_heldout)
        units = units[np.argsort(recording.units.ids[units])]
        assert recording.units.ids[units].tolist() == taken[f"{name}/channel"].tolist()
        assert np.isfinite(taken[name][:, 0]).tolist() == observed.tolist()
        assert np.array_equal(counts[units][:, observed].T, taken[name][observed])
        assert counts[units].any()


def test_trials_events_and_splits_are_the_same(both):
    case, recording, taken = both
    trials = recording.trials
    theirs = {
        event: taken[f"trial_info/{column}"]
        for event, column in EVENTS.items()
        if f"trial_info/{column}" in taken
    }
    if case.key == "dmfc_rsg":
        theirs |= {"go_cue": taken["trial_info/set_time"], "move_onset": taken["trial_info/go_time"]}
    assert theirs.keys() == trials.events.keys()
    for event, times in theirs.items():
        np.testing.assert_allclose(trials.events[event], times, rtol=0, atol=SECONDS, err_msg=event)
    split = taken["trial_info/split"]
    assert np.where(split == "none", "", split).tolist() == trials.split.astype(str).tolist()
    assert not (trials.valid & (split == "none")).any()


def test_outliers_are_a_column_of_theirs_and_marked_here(both):
    case, recording, taken = both
    if case.key != "dmfc_rsg":
        assert "trial_info/is_outlier" not in taken
        return
    assert (~recording.trials.valid).tolist() == taken["trial_info/is_outlier"].tolist()


def test_kinematics_are_the_same(both):
    """Theirs are in the file's unit, and NaN where there is no sample."""
    case, recording, taken = both
    for name, series in ((case.position, recording.position), (case.velocity, recording.velocity)):
        if name is None:
            assert series is None
            continue
        there = np.isfinite(taken[name]).all(axis=1)
        np.testing.assert_allclose(series.time, taken["clock_time"][there], rtol=0, atol=SECONDS)
        n_axes = series.values.shape[1]
        np.testing.assert_allclose(case.per_cm * series.values, taken[name][there, :n_axes], atol=1e-9)


def test_the_frame_of_000121_is_the_same(draft, tmp_path, take):
    """It is no dataset of the benchmark, but its reader reads it. `conversion` is NaN and counts as 1."""
    path = write_with_pynwb(draft("000121"), tmp_path / "sub-T_ses-1.nwb")
    recording, taken = read_recording(path, IngestRecipe()), take("nlb_dataset", path, split_heldout=False)
    grid = Grid(0, len(taken["clock_time"]), BIN_NS)
    counts = bin_spikes(recording.spike_times, recording.spike_index, grid)
    observed = observed_fraction(recording.observed, grid) > 0.999
    assert np.array_equal(counts[:, observed].T, taken["spikes"][observed])
    there = np.isfinite(taken["Position_Hand"]).all(axis=1)
    np.testing.assert_allclose(recording.position.time, taken["clock_time"][there], rtol=0, atol=SECONDS)
    scale = taken["Position_Hand"][there, :2].max() / recording.position.values.max()
    assert scale == pytest.approx(10.0)
    np.testing.assert_allclose(
        scale * recording.position.values, taken["Position_Hand"][there, :2], atol=1e-9
    )
    for event, column in {"go_cue": "go_cue_time", "target_on": "target_shown_time"}.items():
        np.testing.assert_allclose(
            recording.trials.events[event], taken[f"trial_info/{column}"], atol=SECONDS
        )
    assert recording.trials.success.tolist() == taken["trial_info/is_successful"].astype(bool).tolist()


@pytest.mark.real_data
@pytest.mark.slow
def test_counts_of_the_real_recording_are_the_same(real_data, take):
    """It has no trial table, which theirs needs: one trial is laid over all of it.

    Some of its time stamps lie half a millisecond off theirs, and they drop such series whole.
    """
    path = next(real_data.rglob("*.nwb"))
    recording = read_recording(path, IngestRecipe())
    end = float(recording.observed[-1, 1])
    taken = take("nlb_dataset", path, split_heldout=False, one_trial_s=[0.0, end])
    grid = Grid(0, len(taken["clock_time"]), BIN_NS)
    counts = bin_spikes(recording.spike_times, recording.spike_index, grid)
    observed = observed_fraction(recording.observed, grid) > 0.999
    assert counts.shape[0] == taken["spikes"].shape[1]
    assert np.array_equal(counts[:, observed].T, taken["spikes"][observed])
    assert "Position_Hand" not in taken
