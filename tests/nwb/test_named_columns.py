"""Columns a person named are read whatever the layout knows, or refused, as are settings at odds."""

import h5py
import numpy as np
import pytest
from nwb.odd_files import SESSION, TEXT, TRIALS, changed, read, write_plain

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.schemas.recipe import IngestRecipe

BLOCKS = np.array(["A"] * 20 + ["B"] * 20, dtype=object)
DEGREES = np.round(np.rad2deg(SESSION.angle)).astype(int) % 360


def add(name: str, values: object):
    """Return the change that adds a column to the trial table."""

    def change(h5: h5py.File) -> None:
        is_text = np.asarray(values).dtype.kind == "O"
        h5[TRIALS].create_dataset(name, data=values, **({"dtype": TEXT} if is_text else {}))
        h5[TRIALS].attrs["colnames"] = np.array([*h5[TRIALS].attrs["colnames"], name], dtype=object)

    return change


def no_table(h5: h5py.File) -> None:
    del h5["intervals"]


def conditions(path, *words):
    """Return the condition of every row of the trial table, and what was said."""
    recording, trials = read(path, *words)
    return trials.events["condition"], (*recording.warnings, *trials.notes)


def test_a_block_is_added_to_the_direction_of_the_target(tmp_path):
    found, said = conditions(changed(tmp_path, add("block", BLOCKS)), "columns.block=block")
    assert found.tolist() == [f"dir{d:03d}-{b}" for d, b in zip(DEGREES, BLOCKS, strict=True)]
    assert not any("block" in text for text in said)


def test_a_block_is_added_to_a_condition_and_to_an_octant(tmp_path):
    path = changed(tmp_path, add("block", np.repeat([1.0, 2.0], 20)))
    found, _ = conditions(path, "columns.block=block", "columns.condition=[result]")
    assert found.tolist() == ["R-1"] * 20 + ["R-2"] * 20
    with h5py.File(path, "r+") as h5:
        del h5[f"{TRIALS}/target_dir"]
    found, _ = conditions(path, "columns.block=block")
    assert found.tolist() == [f"dir{d:03d}-{b}" for d, b in zip(DEGREES, [1] * 20 + [2] * 20, strict=True)]


def test_trials_of_no_block_and_blocks_of_one_trial_are_said(tmp_path):
    path = changed(tmp_path, add("block", np.r_[np.full(5, np.nan), np.ones(35)]))
    found, said = conditions(path, "columns.block=block")
    assert sum(name.endswith("-unknown") for name in found) == 5
    assert any("/intervals/trials/block: 5 of 40 trials are of no block" in text for text in said)
    _, said = conditions(path, "columns.block=go_cue_time")
    assert any("nearly every trial has a value of its own (40 in 40 trials): as blocks" in s for s in said)


def test_labels_rename_a_condition_in_all_blocks_or_in_one(tmp_path):
    path = changed(tmp_path, add("block", BLOCKS))
    labels = "columns.labels={dir000: right, dir045-B: north-east}"
    found, said = conditions(path, "columns.block=block", labels)
    for name, degrees, block in zip(found, DEGREES, BLOCKS, strict=True):
        if degrees == 0:
            assert name == f"right-{block}"
        elif (degrees, block) == (45, "B"):
            assert name == "north-east"
        else:
            assert name == f"dir{degrees:03d}-{block}"
    assert not any("labels" in text for text in said)


def test_a_label_of_no_condition_is_said_and_one_a_session_lacks_is_not(tmp_path):
    path = write_plain(tmp_path / "odd.nwb")
    _, said = conditions(path, "columns.labels={dir00: right, dir090: up}")
    assert [s for s in said if "labels" in s] == [
        "columns.labels: no trial is of the condition dir00; did you mean dir000?"
    ]
    assert not any("labels" in s for s in conditions(path, "columns.labels={dir020: r, dir090: up}")[1])
    _, said = conditions(path, "columns.labels={left: l}")
    assert any("no trial is of the condition left; there are dir000, dir045" in s for s in said)


REFUSED = {
    "a slip of the pen": ("columns.go_cue=go_cue_tim", "no column 'go_cue_tim'. Did you mean go_cue_time?"),
    "another case": ("columns.target_dir=TargetDir", "Did you mean target_dir?"),
    "a whole path": ("columns.success=/intervals/trials/result", "Did you mean result?"),
    "an end": ("columns.end=stop", "no column stop. Did you mean stop_time?"),
    "no name like it": ("columns.block=xyz", r"no column 'xyz'. Its columns are: start_time"),
    "relative to nothing": (
        "columns.relative=[go_cue_tme]",
        "columns.relative: .* Did you mean go_cue_time?",
    ),
    "relative and no time": (
        "columns.relative=[result]",
        "result, which is not read as the time of any event",
    ),
    "times of text": ("columns.go_cue=result", "holds text such as 'R'; expected times in seconds"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_the_table_lacks_is_refused_with_the_name_that_was_meant(name, tmp_path):
    word, said = REFUSED[name]
    with pytest.raises(DataError, match=said.replace("?", r"\?")):
        read(write_plain(tmp_path / "odd.nwb"), word)


@pytest.mark.parametrize("word", ["columns.go_cue=cue", "columns.success_values=[R]", "columns.relative=[a]"])
def test_columns_of_a_table_that_is_not_there_are_refused(word, tmp_path):
    path = changed(tmp_path, no_table)
    with pytest.raises(
        DataError, match=r"columns\..*, but /intervals/trials is not there.*trials.source=speed"
    ):
        read(path, word)
    recording, _ = read(path, word, "trials.source=speed")
    assert any("trials.source is speed" in text for text in recording.warnings)


def test_stored_onsets_of_reaches_from_speed_are_a_contradiction(tmp_path):
    path = changed(tmp_path, add("move_onset_time", SESSION.go + 0.25))
    with pytest.raises(DataError, match=r"onset.method is column, but trials.source is speed"):
        read(path, "trials.source=speed", "onset.method=column")
    with pytest.raises(DataError, match=r"onset.method is column.*not there.*onset.method=auto"):
        read(changed(tmp_path, no_table), "onset.method=column")


def test_the_rule_by_which_onsets_of_reaches_from_speed_are_found_is_said(tmp_path):
    path = write_plain(tmp_path / "odd.nwb")
    recording, _ = read(path, "trials.source=speed", "onset.method=profile")
    assert any("onset.method is profile, which needs trials of a table" in w for w in recording.warnings)
    recording, _ = read(path, "trials.source=speed", "onset.method=threshold")
    assert ("onset", "threshold") in [(choice.what, choice.value) for choice in recording.choices]
    assert not any("onset.method" in w for w in recording.warnings)


def test_a_column_listed_alone_is_not_offered_as_the_condition(tmp_path):
    recording, _ = read(changed(tmp_path, lambda h5: h5.__delitem__(f"{TRIALS}/target_dir")))
    (why,) = [choice.why for choice in recording.choices if choice.what == "condition"]
    assert why == "the table says nothing of targets"


@pytest.mark.parametrize("layout", ["000688", "000070", "nlb", "000127", "000130", "000941"])
def test_columns_named_stand_before_what_a_layout_makes_of_its_own(draft, nwb_path, layout):
    path = draft(layout).write(nwb_path)
    with h5py.File(path, "r+") as h5:
        n = len(h5[f"{TRIALS}/id"])
        add("mine", np.resize(np.array(["p", "q", "r"], dtype=object), n))(h5)
        add("angle", np.resize([10.0, 130.0, 250.0], n))(h5)
    words = ["columns.condition=[mine]", "columns.target_dir=angle", "columns.target_dir_unit=degrees"]
    trials = read_recording(path, settings_from(IngestRecipe, words=words)).trials
    assert trials.condition.tolist() == np.resize(["p", "q", "r"], n).tolist()
    np.testing.assert_allclose(np.rad2deg(trials.target_dir), np.resize([10.0, 130.0, 250.0], n))


@pytest.mark.parametrize("layout", ["000129", "000954"])
@pytest.mark.parametrize(
    "word", ["columns.condition=[mine]", "columns.go_cue=start_time", "columns.block=mine"]
)
def test_a_layout_that_makes_trials_in_its_own_way_refuses_columns(draft, nwb_path, layout, word):
    path = draft(layout).write(nwb_path)
    with pytest.raises(DataError, match=rf"columns\.\w+ cannot be followed: layout {layout} makes trials"):
        read_recording(path, settings_from(IngestRecipe, words=[word]))


@pytest.mark.parametrize("layout", ["000129", "000688-RT"])
def test_stored_onsets_of_a_layout_that_reads_none_are_not_called_missing(draft, nwb_path, layout):
    path = draft(layout).write(nwb_path)
    with h5py.File(path, "r+") as h5:
        add("movement_onset", h5[f"{TRIALS}/start_time"][()] + 0.2)(h5)
    with pytest.raises(DataError, match=r"does not read /intervals/trials/movement_onset.*layout=generic"):
        read_recording(path, settings_from(IngestRecipe, words=["onset.method=column"]))


def test_stored_onsets_that_are_all_missing_are_called_so(tmp_path):
    path = changed(tmp_path, add("move_onset_time", SESSION.go * np.nan))
    with pytest.raises(DataError, match=r"/intervals/trials/move_onset_time holds no times. Name another"):
        read(path, "onset.method=column")


def test_an_onset_of_000688_is_chosen_once(draft, nwb_path):
    path = draft("000688").write(nwb_path)
    with h5py.File(path, "r+") as h5:
        add("move_begins_time", h5[f"{TRIALS}/start_time"][()] + 0.2)(h5)
    choices = read_recording(path, IngestRecipe()).choices
    assert len([choice for choice in choices if choice.what == "move_onset"]) == 1


def test_success_named_for_a_layout_is_that_column_alone(draft, nwb_path):
    path = draft("000130").write(nwb_path)
    with h5py.File(path, "r+") as h5:
        n = len(h5[f"{TRIALS}/id"])
        add("mine", np.resize([1, 0], n))(h5)
    trials = read_recording(path, settings_from(IngestRecipe, words=["columns.success=mine"])).trials
    assert trials.success.tolist() == np.resize([True, False], n).tolist()
