"""brainsets and we take the same from the same files: its pipelines run, and what they store is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from nwb.field_readers.agreement import (
    SECONDS,
    assert_same_spikes,
    inside,
    spikes_of,
    spikes_of_brainsets,
)

from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.outliers import kinematic_outliers
from nwb_latents.pipeline.signals.resample import differentiate
from nwb_latents.pipeline.signals.timebase import Grid
from nwb_latents.schemas.quality import QualitySettings
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nwb.field_readers.conftest import Take

    from nwb_latents.pipeline.signals.recording import Recording

    Both = tuple[Recording, dict[str, np.ndarray]]

pytestmark = pytest.mark.field_readers

RECIPE = IngestRecipe()
TRIALS = "intervals/trials"
PERICH = "perich_miller_population_2018"
CHURCHLAND = "churchland_shenoy_neural_2012"
PEI = "pei_pandarinath_nlb_2021"
EVENTS = {
    PERICH: {"target_on": "target_on_time", "go_cue": "go_cue_time"},
    CHURCHLAND: {
        "start": "start",
        "stop": "end",
        "target_on": "target_on_time",
        "go_cue": "go_cue_time",
        "move_onset": "move_begins_time",
        "move_end": "move_ends_time",
    },
    PEI: {
        "start": "start",
        "stop": "end",
        "target_on": "target_on_time",
        "go_cue": "go_cue_time",
        "move_onset": "move_onset_time",
    },
}


@pytest.fixture(scope="module")
def both(take: Take) -> Callable[..., Both]:
    """Return the function that reads a file with our reader and with a pipeline of brainsets."""
    return lambda path, pipeline: (read_recording(path, RECIPE), take("brainsets", path, pipeline=pipeline))


@pytest.fixture(scope="module")
def centre_out(simulated: Callable[..., Path], both: Callable[..., Both]) -> Both:
    """Return a session of 000688 with a target of no number, and two glitches of the tracker."""
    path = simulated(layout="000688")
    with h5py.File(path, "r+") as h5:
        rewarded = np.flatnonzero(h5[f"{TRIALS}/result"].asstr()[:] == "R")
        h5[f"{TRIALS}/target_id"][rewarded[3]] = np.nan
        behavior = h5["processing/behavior"]
        time = behavior["Velocity/cursor_vel/timestamps"][:]
        position, velocity = behavior["Position/cursor_pos/data"], behavior["Velocity/cursor_vel/data"]
        position[5000:5005] += 14.0
        velocity[9000:9003, 0] += 60.0
        behavior["Acceleration/cursor_acc/data"][...] = np.gradient(velocity[:], time, axis=0)
    return both(path, PERICH)


@pytest.fixture(scope="module")
def random_target(simulated: Callable[..., Path], both: Callable[..., Both]) -> Both:
    """Return a session of 000688 with random targets."""
    return both(simulated(layout="000688", task="RT"), PERICH)


@pytest.fixture(scope="module")
def maze(simulated: Callable[..., Path], both: Callable[..., Both]) -> Both:
    """Return a session of 000070."""
    return both(simulated(layout="000070"), CHURCHLAND)


@pytest.fixture(scope="module")
def maze_after_resets(simulated: Callable[..., Path], both: Callable[..., Both]) -> Both:
    """Return a session of 000070 whose clock was set back twice; one unit falls more often than that."""
    path = simulated(layout="000070")
    with h5py.File(path, "r+") as h5:
        start = h5[f"{TRIALS}/start_time"][:]
        limits = start[[12, 27]]
        set_back(h5, limits, back_s=20.5)
        last = h5["units/spike_times_index"][:2]
        spikes = h5["units/spike_times"][last[0] : last[1]]
        h5["units/spike_times"][last[0] : last[1]] = np.roll(spikes, 7)
    return both(path, CHURCHLAND)


def set_back(h5: h5py.File, limits: np.ndarray, *, back_s: float) -> None:
    """Set the clock back at each of these times, everywhere in the file."""
    times = [h5[TRIALS][name] for name in h5[TRIALS] if name.endswith("_time") and name != "reaction_time"]
    times += [series["timestamps"] for series in h5["processing/behavior/Position"].values()]
    times += [h5["units/spike_times"], h5["units/obs_intervals"]]
    start = h5[f"{TRIALS}/start_time"][:]
    for each in times:
        values = each[:]
        # All that belongs to a trial goes with its start.
        trial = np.maximum(np.searchsorted(start, values, side="right") - 1, 0)
        each[...] = values - back_s * np.searchsorted(limits, start[trial], side="right")


@pytest.fixture(scope="module")
def benchmark_maze(simulated: Callable[..., Path], both: Callable[..., Both]) -> Both:
    """Return a session of the mazes of the Neural Latents Benchmark."""
    return both(simulated(layout="nlb"), PEI)


SESSIONS = {"centre_out": PERICH, "random_target": PERICH, "maze": CHURCHLAND, "benchmark_maze": PEI}


@pytest.mark.parametrize("session", SESSIONS)
def test_all_units_have_the_same_spikes(session, request):
    recording, taken = request.getfixturevalue(session)
    assert_same_spikes(spikes_of(recording), spikes_of_brainsets(taken))


@pytest.mark.parametrize("session", [name for name in SESSIONS if name != "random_target"])
def test_the_same_trials_are_used_and_their_events_are_the_same(session, request):
    recording, taken = request.getfixturevalue(session)
    trials = recording.trials
    used = trials.success & trials.valid
    theirs = taken.get("trials/is_valid", taken.get("trials/success")).astype(bool)
    assert used.tolist() == theirs.tolist()
    assert used.sum() > 0
    for event, column in EVENTS[SESSIONS[session]].items():
        np.testing.assert_array_equal(trials.events[event], taken[f"trials/{column}"], err_msg=event)


def test_random_target_trials_are_used_whole_and_cut_at_the_same_cues(random_target):
    recording, taken = random_target
    trials = recording.trials
    used = trials.success & trials.valid
    whole = np.unique(trials.row[used] // 4)
    assert whole.tolist() == np.flatnonzero(taken["trials/is_valid"]).tolist()
    cues = taken["trials/go_cue_time_array"]
    np.testing.assert_array_equal(trials.events["go_cue"], cues[np.isfinite(cues)])


@pytest.mark.parametrize("session", ["centre_out", "random_target"])
def test_the_cursor_of_000688_is_the_same(session, request):
    recording, taken = request.getfixturevalue(session)
    np.testing.assert_array_equal(recording.position.time, taken["cursor/timestamps"])
    np.testing.assert_array_equal(recording.position.values, taken["cursor/pos"])
    np.testing.assert_array_equal(recording.velocity.values, taken["cursor/vel"])
    (observed,) = recording.observed
    assert observed.tolist() == [*taken["cursor/domain/start"], *taken["cursor/domain/end"]]


def test_target_directions_of_000688_are_the_same(centre_out):
    recording, taken = centre_out
    known = np.isfinite(taken["trials/target_dir"])
    turned = np.exp(1j * recording.trials.target_dir[known])
    np.testing.assert_allclose(turned, np.exp(1j * taken["trials/target_dir"][known]), atol=1e-9)


def test_glitches_of_000688_are_the_same(centre_out):
    """Theirs begin and end between samples, ours last up to three samples longer; by default, far longer."""
    recording, taken = centre_out
    theirs = np.column_stack([taken[f"cursor_outlier_segments/{edge}"] for edge in ("start", "end")])
    sample = 0.01
    grid = Grid.covering(*recording.observed[0], 10_000_000)

    def ours(**settings: float) -> np.ndarray:
        chosen = QualitySettings.model_validate(settings)
        is_out, _ = kinematic_outliers(recording.position, recording.velocity, grid, chosen)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], is_out, [False]]).astype(int)))
        return sample * edges.reshape(-1, 2)

    same = ours(position_dilate_s=2.0, position_erode_s=0.5)
    assert len(theirs) == 2
    np.testing.assert_allclose(same, theirs, atol=3.5 * sample)
    wide = ours()
    assert np.all(wide[:, 0] <= theirs[:, 0] + SECONDS)
    assert np.all(wide[:, 1] >= theirs[:, 1] - SECONDS)
    np.testing.assert_allclose(wide[0], same[0] + [-1.5, 1.5], atol=2 * sample)


@pytest.mark.parametrize("session", ["maze", "maze_after_resets"])
def test_the_hand_of_000070_is_the_same_and_moves_alike(session, request):
    """Theirs is in mm and mm/s."""
    recording, taken = request.getfixturevalue(session)
    np.testing.assert_allclose(recording.position.time, taken["hand/timestamps"], rtol=0, atol=SECONDS)
    np.testing.assert_allclose(10 * recording.position.values, taken["hand/pos_2d"], atol=1e-9)
    velocity = differentiate(recording.position)
    # The ends of a trial: theirs is the chord of two samples, ours the slope of three.
    inner = np.ones(len(velocity.time), bool)
    cuts = np.flatnonzero(np.diff(velocity.time) > 0.0015)
    inner[np.concatenate([[0], cuts, cuts + 1, [-1]])] = False
    np.testing.assert_allclose(10 * velocity.values[inner], taken["hand/vel_2d"][inner], atol=1e-6)


@pytest.mark.parametrize("session", ["maze", "maze_after_resets"])
def test_observed_time_of_000070_are_its_trials(session, request):
    recording, taken = request.getfixturevalue(session)
    domain = np.column_stack([taken["spikes/domain/start"], taken["spikes/domain/end"]])
    np.testing.assert_allclose(recording.observed, domain, rtol=0, atol=SECONDS)


def test_blocks_of_000070_after_resets_lie_where_those_of_brainsets_do(maze_after_resets):
    recording, taken = maze_after_resets
    trials = recording.trials
    assert (trials.success & trials.valid).tolist() == taken["trials/is_valid"].tolist()
    for event, column in EVENTS[CHURCHLAND].items():
        np.testing.assert_allclose(
            trials.events[event], taken[f"trials/{column}"], atol=SECONDS, err_msg=event
        )
    # They name units by their rows.
    rows = [int(name.rpartition("elec")[2]) for name in taken["units/id"]]
    ours = dict(zip(recording.units.ids.tolist(), spikes_of(recording), strict=True))
    assert_same_spikes([ours[row] for row in rows], spikes_of_brainsets(taken), within=SECONDS)
    # Unit 0 is silent in the first block. Unit 1 falls too often for both; the few spikes of unit 3 could be
    # of either of two blocks.
    assert ours.keys() - set(rows) == {0}
    assert len(ours[0]) == 3
    assert any("(units 1, 3)" in text for text in recording.warnings)


def test_the_hand_of_the_benchmark_is_the_same(benchmark_maze):
    """Theirs is in mm and mm/s, at every millisecond from first to last, NaN between trials."""
    recording, taken = benchmark_maze
    clock = taken["hand/domain/start"][0] + np.arange(len(taken["hand/pos"])) / 1e3
    there = np.isfinite(taken["hand/pos"]).all(axis=1)
    np.testing.assert_allclose(recording.position.time, clock[there], rtol=0, atol=SECONDS)
    np.testing.assert_allclose(10 * recording.position.values, taken["hand/pos"][there], atol=1e-9)
    np.testing.assert_allclose(10 * recording.velocity.values, taken["hand/vel"][there], atol=1e-9)
    assert inside(recording.position.time, recording.observed).all()


def test_the_split_of_the_benchmark_is_the_same(benchmark_maze):
    recording, taken = benchmark_maze
    split = recording.trials.split
    assert (split == "train").tolist() == taken["trials/train_mask_nwb"].tolist()
    assert set(split) == {"train", "val", "test"} & set(split)
    assert (split != "train").tolist() == taken["trials/test_mask_nwb"].tolist()
