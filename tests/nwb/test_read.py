"""Reading NWB files: what is found, in which units, and what is refused with which words."""

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.nwb.file import open_nwb
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.schemas.recipe import IngestRecipe

RECIPE = IngestRecipe()
POSITION = "processing/behavior/Position/hand_pos"
VELOCITY = "processing/behavior/Velocity/hand_vel"


def change(path, **what):
    """Replace datasets (value) or delete them (None)."""
    with h5py.File(path, "r+") as h5:
        for key, value in what.items():
            name = key.replace("__", "/")
            if name in h5:
                del h5[name]
            if value is not None:
                h5[name] = value
    return path


def test_a_generic_file_is_read_whole(small_nwb, reaches):
    recording = read_recording(small_nwb, RECIPE)
    assert (recording.session, recording.subject, recording.task) == ("sub-T_ses-CO-1", "T", "CO")
    assert recording.layout == "generic"
    assert len(recording.spike_times) == sum(len(s) for s in reaches.spikes)
    assert recording.position.values == pytest.approx(reaches.position)
    assert recording.trials.events["go_cue"] == pytest.approx(reaches.go)
    assert recording.observed.tolist() == [[reaches.time[0], reaches.time[-1]]]


def test_an_array_that_was_read_is_the_readers_own(small_nwb):
    with open_nwb(small_nwb) as file:
        first = file.array("intervals/trials/start_time")
        stored = first.copy()
        first[:] = -1.0
        second = file.array("intervals/trials/start_time")
        assert second.tolist() == stored.tolist()
        second[:] = -2.0
        assert file.array("intervals/trials/start_time").tolist() == stored.tolist()


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("m", 100.0), ("meters", 100.0), ("cm", 1.0), ("mm", 0.1), ("inch", 2.54), ("µm", 1e-4)],
)
def test_lengths_become_centimetres(small_nwb, reaches, unit, factor):
    with h5py.File(small_nwb, "r+") as h5:
        h5[f"{POSITION}/data"][...] = reaches.position / factor
        h5[f"{POSITION}/data"].attrs["unit"] = unit
    assert read_recording(small_nwb, RECIPE).position.values == pytest.approx(reaches.position)


def test_the_conversion_factor_is_applied(small_nwb, reaches):
    with h5py.File(small_nwb, "r+") as h5:
        h5[f"{POSITION}/data"].attrs.update({"unit": "m", "conversion": 0.01})
    assert read_recording(small_nwb, RECIPE).position.values == pytest.approx(reaches.position)


def test_a_conversion_that_is_not_a_number_is_reported_and_never_multiplied(small_nwb, reaches):
    with h5py.File(small_nwb, "r+") as h5:
        h5[f"{POSITION}/data"][...] = reaches.position * 10
        h5[f"{POSITION}/data"].attrs.update({"unit": "m", "conversion": np.nan})
    recording = read_recording(small_nwb, RECIPE)
    assert recording.position.values == pytest.approx(reaches.position)
    assert any("conversion is nan" in w for w in recording.warnings)
    assert any("taken as mm" in w for w in recording.warnings)


def test_repeated_time_stamps_are_dropped_and_reported(small_nwb, reaches):
    time = reaches.time.copy()
    time[10] = time[9]
    change(small_nwb, **{f"{POSITION}/timestamps": time})
    recording = read_recording(small_nwb, RECIPE)
    assert len(recording.position.time) == len(time) - 1
    assert any("1 repeated time stamps" in w for w in recording.warnings)


def test_observed_intervals_are_read(small_nwb):
    n = 12
    change(
        small_nwb,
        units__obs_intervals=np.tile([[0.0, 10.0], [20.0, 60.0]], (n, 1)),
        units__obs_intervals_index=2 * np.arange(1, n + 1),
    )
    assert read_recording(small_nwb, RECIPE).observed.tolist() == [[0.0, 10.0], [20.0, 60.0]]


def test_units_observed_at_different_times_share_what_is_common(small_nwb):
    rows = np.array([[0.0, 50.0]] * 11 + [[10.0, 60.0]])
    change(small_nwb, units__obs_intervals=rows, units__obs_intervals_index=np.arange(1, 13))
    recording = read_recording(small_nwb, RECIPE)
    assert recording.observed.tolist() == [[10.0, 50.0]]
    assert any("different times" in w for w in recording.warnings)


def test_an_in_band_warning_is_surfaced(small_nwb):
    change(small_nwb, session_description="CO task. Warning: the clock   was odd")
    assert "Warning: the clock was odd" in read_recording(small_nwb, RECIPE).warnings


def test_hand_comes_before_cursor_and_eye_never(small_nwb, reaches):
    with h5py.File(small_nwb, "r+") as h5:
        for name in ("cursor_pos", "eye_pos"):
            h5.copy(h5[POSITION], h5["processing/behavior/Position"], name=name)
        assert read_recording(small_nwb, RECIPE).position_series == POSITION
        del h5[POSITION]
    assert read_recording(small_nwb, RECIPE).position_series.endswith("cursor_pos")
    named = IngestRecipe(position_series="/processing/behavior/Position/eye_pos")
    assert read_recording(small_nwb, named).velocity is None


def check_refused(path, match, recipe=RECIPE, error=DataError):
    with pytest.raises(error, match=match):
        read_recording(path, recipe)


def test_missing_file(tmp_path):
    check_refused(tmp_path / "none.nwb", "no such file")


def test_not_hdf5(tmp_path):
    path = tmp_path / "text.nwb"
    path.write_text("hello")
    check_refused(path, "not an NWB file: expected HDF5")


def test_hdf5_but_not_nwb(tmp_path):
    path = tmp_path / "other.nwb"
    with h5py.File(path, "w") as h5:
        h5["a"] = 1
    check_refused(path, "no attribute nwb_version")


def test_truncated_file(small_nwb):
    content = small_nwb.read_bytes()
    small_nwb.write_bytes(content[: len(content) // 2])
    check_refused(small_nwb, r"not an NWB file|damaged")


def test_no_units(small_nwb):
    check_refused(change(small_nwb, units=None), "has no units with spike times")


def test_empty_units(small_nwb):
    empty = change(small_nwb, units__spike_times=np.zeros(0), units__spike_times_index=np.zeros(12, int))
    check_refused(empty, "units table .* is empty")


def test_no_kinematics(small_nwb):
    check_refused(
        change(small_nwb, processing=None), r"no position or velocity series .* --set position_series"
    )


def test_a_series_that_is_not_there(small_nwb):
    check_refused(
        small_nwb, "has no series processing/x", recipe=IngestRecipe(position_series="processing/x")
    )


def test_unsorted_spike_times_are_refused_or_sorted(small_nwb, reaches):
    times = np.concatenate(reaches.spikes)
    n = len(reaches.spikes[0])
    times[n + 1], times[n + 2] = times[n + 2], times[n + 1]
    change(small_nwb, units__spike_times=times)
    check_refused(
        small_nwb, r"1 of 12 units do not ascend, the first in row 1 .* --set on_unsorted_spikes=sort"
    )
    recording = read_recording(small_nwb, IngestRecipe(on_unsorted_spikes="sort"))
    assert np.array_equal(recording.spike_times, np.concatenate(reaches.spikes))
    assert any("were sorted" in w for w in recording.warnings)


def test_equal_consecutive_spike_times_are_kept(small_nwb, reaches):
    times = np.concatenate(reaches.spikes)
    times[1] = times[0]
    recording = read_recording(change(small_nwb, units__spike_times=times), RECIPE)
    assert len(recording.spike_times) == len(times)


def test_nan_spike_times(small_nwb, reaches):
    times = np.concatenate(reaches.spikes)
    times[-1] = np.nan
    check_refused(
        change(small_nwb, units__spike_times=times),
        r"1 of \d+ spike times are NaN .* row 11.*on_not_finite_spikes=drop",
    )


def test_nan_time_stamps(small_nwb, reaches):
    time = reaches.time.copy()
    time[5] = np.nan
    check_refused(
        change(small_nwb, **{f"{POSITION}/timestamps": time}),
        r"1 values that are not finite, the first at sample 5",
    )


def test_a_clock_reset(small_nwb, reaches):
    time = reaches.time.copy()
    time[500:] -= 3
    check_refused(change(small_nwb, **{f"{VELOCITY}/timestamps": time}), "run backwards at sample 500")


def test_as_many_times_as_samples(small_nwb, reaches):
    check_refused(
        change(small_nwb, **{f"{POSITION}/timestamps": reaches.time[:-1]}), "expected as many time stamps"
    )


def test_unknown_layout(small_nwb):
    check_refused(
        small_nwb,
        "layout: no layout is called 'nope'.* There are: .*generic.* auto takes the one that recognises",
        recipe=IngestRecipe(layout="nope"),
        error=SettingsError,
    )


def test_a_layout_that_does_not_fit(small_nwb):
    check_refused(small_nwb, "is not of the layout 000688", recipe=IngestRecipe(layout="000688"))


@pytest.mark.real_data
def test_the_real_recording_is_read(real_data):
    recording = read_recording(next(real_data.rglob("*.nwb")), RECIPE)
    assert len(recording.units) == 171
    assert recording.trials is None
    assert recording.velocity_series.endswith("hand_vel")
