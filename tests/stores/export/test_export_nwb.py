"""Derived NWB files: other tools read them, and their numbers are those of the store."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.stores.exporters.exporter import exporter_named, write_export
from nwb_latents.pipeline.stores.exporters.hdf5 import is_up_to_date
from nwb_latents.schemas.export import NwbExport


def write(store, path, settings=NwbExport(), **changes):  # noqa: B008 (frozen)
    write_export(exporter_named("nwb"), replace(store, **changes).session, path, settings=settings)


@pytest.fixture
def exported(store, tmp_path):
    path = tmp_path / "session.nwb"
    write(store, path)
    return path


def test_pynwb_reads_rates_units_and_kinematics(store, exported):
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(exported), "r") as io:
        nwb = io.read()
        activity = nwb.processing["ecephys"]
        rates = activity["smoothed_rates"]
        assert np.array_equal(rates.data[:], store.continuous["rates"].values, equal_nan=True)
        assert (rates.unit, rates.rate) == ("Hz", pytest.approx(50.0))
        assert rates.starting_time == pytest.approx(float(store.continuous["time"][0]))
        assert np.array_equal(activity["spike_counts"].data[:], store.continuous["counts"].values)
        units = activity["unit_table"]
        assert list(units.id[:]) == list(store.trials["unit"].values)
        assert list(units["area"][:]) == list(store.trials["area"].values)
        hand = nwb.processing["behavior"]["Position"]["hand_pos"]
        assert hand.unit == "meters"
        metres = hand.data[:] * hand.conversion
        assert metres * 100 == pytest.approx(store.continuous["position"].values, nan_ok=True)
        assert hand.starting_time == pytest.approx(float(store.continuous["time"][0]) + 0.01)


def test_trials_carry_window_events_and_split(store, exported):
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(exported), "r") as io:
        table = io.read().trials.to_dataframe()
    assert len(table) == store.trials.sizes["trial"]
    assert table["start_time"].is_monotonic_increasing
    same = store.trials.sel(trial=table["trial"].values)
    assert table["move_onset"].values == pytest.approx(same["move_onset"].values)
    assert list(table["split"]) == list(same["split"].values)
    left = store.continuous["time"].values[table["start_bin"]]
    assert table["start_time"].values == pytest.approx(left)
    assert (table["stop_time"] - table["start_time"]).values == pytest.approx(0.72)


def test_the_source_is_named_by_its_digest_and_the_recipe_is_kept(store, exported):
    with h5py.File(exported) as h5:
        assert "sha256:00" in h5["session_description"].asstr()[()]
        notes = json.loads(h5["general/notes"].asstr()[()])
        identifier = h5["identifier"].asstr()[()]
    assert notes["provenance"]["asset_digest"] == "sha256:00"
    assert notes["recipe"] == store.attributes.recipe.model_dump(mode="json")
    assert identifier == exporter_named("nwb").key(NwbExport(), store.attributes.store_key)
    assert is_up_to_date(exported, identifier)
    assert not is_up_to_date(exported, "other")


def test_observed_time_is_a_table_of_intervals(store, tmp_path):
    from pynwb import NWBHDF5IO

    continuous = store.continuous.copy(deep=True)
    continuous["observed"][:] = True
    continuous["observed"][100:150] = False
    path = tmp_path / "gap.nwb"
    write(store, path, continuous=continuous)
    with NWBHDF5IO(str(path), "r") as io:
        table = io.read().intervals["observed"].to_dataframe()
    assert table[["start_time", "stop_time"]].values[:, :] == pytest.approx(
        np.array([[0.0, 2.0], [3.0, float(continuous["time"][-1]) + 0.02]])
    )


def test_parts_that_are_not_wanted_are_left_out_and_the_start_is_taken(store, tmp_path):
    from pynwb import NWBHDF5IO

    path = tmp_path / "small.nwb"
    start = datetime(2013, 10, 3, 9, tzinfo=UTC)
    settings = NwbExport(counts=False, kinematics=False, session_start=start)
    write(store, path, settings)
    with NWBHDF5IO(str(path), "r") as io:
        nwb = io.read()
        assert set(nwb.processing) == {"ecephys"}
        assert set(nwb.processing["ecephys"].data_interfaces) == {"unit_table", "smoothed_rates"}
        assert nwb.session_start_time == start
        assert "placeholder" not in nwb.session_description


def stating(attributes, **facts):
    return attributes.model_copy(update={"provenance": attributes.provenance.model_copy(update=facts)})


@pytest.mark.parametrize(
    ("stated", "asked", "written"),
    [
        ({}, {}, (None, "U", "P0D/")),
        ({"species": "Macaca mulatta", "sex": "F", "age": "P8Y"}, {}, ("Macaca mulatta", "F", "P8Y")),
        (
            {"species": "Macaca mulatta", "sex": "F"},
            {"species": "Macaca fascicularis", "age": "P5Y"},
            ("Macaca fascicularis", "F", "P5Y"),
        ),
    ],
    ids=["nothing known", "from the source", "settings win"],
)
def test_the_subject_is_as_in_the_source_unless_it_is_given(store, tmp_path, stated, asked, written):
    from pynwb import NWBHDF5IO

    path = tmp_path / "session.nwb"
    attributes = stating(store.attributes, **stated)
    write(store, path, NwbExport(**asked), attributes=attributes)
    with NWBHDF5IO(str(path), "r") as io:
        subject = io.read().subject
        assert (subject.species, subject.sex, subject.age) == written


def test_nwbinspector_complains_less_where_the_source_states_the_subject(store, tmp_path):
    from nwbinspector import inspect_nwbfile

    def complaints(attributes):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.nwb"
        write(store, path, attributes=attributes)
        return {message.check_function_name for message in inspect_nwbfile(nwbfile_path=str(path))}

    silent = complaints(store.attributes)
    stated = complaints(stating(store.attributes, species="Macaca mulatta", sex="F", age="P8Y"))
    assert silent - stated == {"check_subject_species_exists"}
    assert stated < silent


@pytest.mark.parametrize(
    ("species", "worst"), [(None, "CRITICAL"), ("Macaca mulatta", "BEST_PRACTICE_VIOLATION")]
)
def test_nwbinspector_finds_nothing_critical(store, tmp_path, species, worst):
    from nwbinspector import Importance, inspect_nwbfile

    path = tmp_path / "session.nwb"
    settings = NwbExport(species=species)
    write(store, path, settings)
    found = list(inspect_nwbfile(nwbfile_path=str(path)))
    assert found, "the inspector always has suggestions for so small a file"
    severe = [m for m in found if m.importance.value >= Importance[worst].value]
    assert not severe, [m.message for m in severe]


@pytest.mark.parametrize("bin_size_s", [0.01, 0.05])
def test_series_and_trials_stand_at_the_times_of_bins_of_any_width(store_of, recording, tmp_path, bin_size_s):
    from pynwb import NWBHDF5IO

    store = store_of(recording, bin_size_s=bin_size_s, window_s=(-0.25, 0.45))
    left = store.continuous["time"].values
    write(store, tmp_path / "session.nwb")
    with NWBHDF5IO(str(tmp_path / "session.nwb"), "r") as io:
        nwb = io.read()
        activity, behaviour = nwb.processing["ecephys"], nwb.processing["behavior"]
        hand = behaviour["Position"]["hand_pos"], behaviour["Velocity"]["hand_vel"]
        of_bins = activity["smoothed_rates"], activity["spike_counts"]
        for series, shift in [*((one, 0.0) for one in of_bins), *((one, bin_size_s / 2) for one in hand)]:
            assert series.rate == pytest.approx(1 / bin_size_s)
            assert series.starting_time == pytest.approx(left[0] + shift)
            assert len(series.data) == len(left)
        for series, name, unit in zip(hand, ("position", "velocity"), ("meters", "m/s"), strict=True):
            assert series.unit == unit
            assert series.data[:] * series.conversion * 100 == pytest.approx(
                store.continuous[name].values, nan_ok=True
            )
        table = nwb.trials.to_dataframe()
    assert table["start_time"].values == pytest.approx(left[table["start_bin"]])
    assert (table["stop_time"] - table["start_time"]).values == pytest.approx(0.7)


def test_every_column_of_trials_and_units_is_that_of_the_store(store, tmp_path):
    from pynwb import NWBHDF5IO

    heldout = np.arange(12) % 4 == 1
    marked = replace(store, trials=store.trials.assign_coords(heldout=("unit", heldout)))
    write(marked, tmp_path / "session.nwb")
    with NWBHDF5IO(str(tmp_path / "session.nwb"), "r") as io:
        nwb = io.read()
        table = nwb.trials.to_dataframe()
        units = nwb.processing["ecephys"]["unit_table"]
        assert units["mean_rate"][:] == pytest.approx(store.trials["mean_rate"].values)
        assert units["heldout"][:].tolist() == heldout.tolist()
    same = store.trials.sel(trial=table["trial"].values)
    numbers = "event_time go_cue target_on move_onset peak_time peak_speed reaction_time target_dir start_bin"
    for name in numbers.split():
        assert table[name].values == pytest.approx(same[name].values, nan_ok=True), name
    for name in ("onset_quality", "condition", "split"):
        assert table[name].tolist() == same[name].values.tolist(), name
