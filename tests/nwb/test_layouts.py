"""Every family of files is told from the others and read under canonical names, in cm, cm/s and seconds."""

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.nwb.file import open_nwb
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.nwb.recognition import by_priority, layout_of, require_layouts
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.known_dandisets import known_dandisets
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.registry import LAYOUTS

RECIPE = IngestRecipe()
EXPECTED = {
    # layout: task, areas, axes, speed at the peak, events beside start and stop
    "000688": ("CO", {"M1", "PMd"}, ("x", "y"), 40.0, {"target_on", "go_cue"}),
    "000070": ("maze", {"M1", "PMd"}, ("x", "y"), None, {"target_on", "go_cue", "move_onset", "move_end"}),
    "000121": ("delayed_reach", {"M1", "PMd"}, ("x", "y"), None, {"target_on", "go_cue"}),
    "nlb": ("maze", {"M1", "PMd"}, ("x", "y"), 40.0, {"target_on", "go_cue", "move_onset"}),
    "000129": ("RTT", {"M1"}, ("x", "y"), 40.0, {"target_on", "go_cue"}),
    "000127": ("bump", {"area2"}, ("x", "y"), 40.0, {"target_on", "go_cue", "move_onset"}),
    "000130": ("RSG", {"DMFC"}, ("x", "y"), None, {"target_on", "go_cue", "move_onset"}),
    "000941": ("reach_to_grasp", {"M1"}, ("x", "y"), None, {"go_cue", "move_onset"}),
    "000953": ("finger", {"M1"}, ("index", "mrs"), None, {"target_on", "go_cue"}),
    "000954": ("reach_grasp_7dof", {"M1"}, ("tx", "ty", "tz", "rx", "g1", "g2", "g3"), 1.0, set()),
}


@pytest.mark.parametrize("layout", EXPECTED)
def test_a_file_is_told_from_all_others_and_read_under_canonical_names(draft, nwb_path, layout):
    task, areas, axes, peak, events = EXPECTED[layout]
    recording = read_recording(draft(layout).write(nwb_path), RECIPE)
    assert (recording.layout, recording.task, recording.axes) == (layout, task, axes)
    assert set(recording.units.area) == areas
    assert set(recording.trials.events) == {"start", "stop"} | events
    if peak is not None:
        assert np.nanmax(recording.velocity.values[:, 0]) == pytest.approx(peak, rel=1e-3)


def test_every_family_but_the_generic_one_has_a_small_file_here():
    assert set(EXPECTED) == set(LAYOUTS) - {"generic"}
    assert by_priority()[-1].name == "generic"


@pytest.mark.parametrize("dandiset", known_dandisets())
def test_the_layout_the_catalog_names_exists_and_names_its_tasks(draft, nwb_path, dandiset):
    entry = known_dandisets()[dandiset]
    assert entry.layout in LAYOUTS
    recording = read_recording(draft(entry.layout).write(nwb_path), RECIPE)
    assert recording.task in entry.tasks


@pytest.mark.parametrize(
    ("layout", "events"),
    [("nlb", {"move_onset"}), ("000127", {"move_onset"}), ("000130", {"move_onset"}), ("000129", set())],
)
def test_test_files_of_the_benchmark_lack_kinematics_and_are_read(
    draft, benchmark_test_file, nwb_path, layout, events
):
    columns = {"000130": "go_time"}.get(layout, "move_onset_time")
    path = benchmark_test_file(draft(layout), columns, "split").write(nwb_path)
    recording = read_recording(path, RECIPE)
    assert recording.layout == layout
    assert recording.position is None
    assert recording.velocity is None
    assert not [text for text in recording.warnings if "is read: " in text]
    assert not recording.units.heldout.any()
    assert set(recording.trials.events) == {"start", "stop"} | events
    assert set(recording.trials.split) == {"test"}


@pytest.mark.parametrize("align_to", ["go_cue", "move_onset"])
def test_sessions_without_kinematics_become_trials(draft, nwb_path, align_to):
    recording = read_recording(draft("000130").write(nwb_path), RECIPE)
    made = make_trials(recording, IngestRecipe(align_to=align_to, min_rate_hz=0.0))
    assert len(made.trials["trial"]) == 6
    assert made.dropped.trials == {"flagged_by_file": 1, "not_successful": 1}
    assert np.isnan(made.trials["velocity"]).all()
    assert made.trials["velocity"].shape[2] == 2
    left = made.continuous["time"][made.trials["start_bin"]]
    for row, begin in enumerate(left):
        inside = (recording.spike_times >= begin - 1e-9) & (recording.spike_times < begin + 0.72 - 1e-9)
        assert made.trials["counts"][row].sum() == np.count_nonzero(inside)


def test_intervals_without_events_can_be_aligned_to_their_start(draft, benchmark_test_file, nwb_path):
    recording = read_recording(benchmark_test_file(draft("000129"), "split").write(nwb_path), RECIPE)
    recipe = IngestRecipe(
        align_to="trial_start", window_s=(0.0, 0.38), trials={"guard_s": 0.0}, min_rate_hz=0.0
    )
    assert len(make_trials(recording, recipe).trials["trial"]) > 10


def test_the_last_cue_is_the_go_cue_and_the_response_the_onset(draft, nwb_path):
    d = draft("000130")
    events = read_recording(d.write(nwb_path), RECIPE).trials.events
    assert events["go_cue"] == pytest.approx(d.go)
    assert events["move_onset"] == pytest.approx(d.onset + 0.2)


def test_kinematics_are_needed_where_the_layout_has_them(draft, nwb_path):
    d = draft("000954")
    for table in (d.arrays, d.attributes):
        for path in [p for p in table if p.startswith("acquisition/OpenLoopKinematicsVelocity")]:
            del table[path]
    with pytest.raises(DataError, match="has no series acquisition/OpenLoopKinematicsVelocity"):
        read_recording(d.write(nwb_path), RECIPE)


@pytest.mark.parametrize(("lost", "says"), [("data", "has no data"), ("", "is not there")])
def test_kinematics_that_lack_where_the_layout_can_do_without_are_said(draft, nwb_path, lost, says):
    """The test file of a benchmark has no behaviour at all, of which nothing need be said."""
    d = draft("nlb")
    position = "processing/behavior/hand_pos"
    for table in (d.arrays, d.attributes):
        for path in [p for p in table if p.startswith(f"{position}/{lost}" if lost else position)]:
            del table[path]
    recording = read_recording(d.write(nwb_path), RECIPE)
    assert recording.position is None
    assert recording.velocity is not None
    assert f"no position is read: /{position} {says}, where the layout has it" in recording.warnings


def test_a_layout_that_does_not_fit_is_refused_by_name(draft, nwb_path):
    with open_nwb(draft("000130").write(nwb_path)) as file:
        assert layout_of(file, "nlb").name == "nlb"
        with pytest.raises(DataError, match=r"is not of the layout 000070 .*layout=auto"):
            layout_of(file, "000070")


LAB = """
from nwb_latents.pipeline.nwb.layouts.layout import Layout
LAYOUT = Layout(name="lab", summary="of a lab", recognises=lambda file: file.has("acquisition"), **{more})
"""


def lab_layout(plug, **more):
    plug("lab_layouts", LAB.replace("{more}", repr(more)), layouts={"lab": "lab_layouts:LAYOUT"})


def test_a_layout_of_another_distribution_reads_its_files(draft, nwb_path, plug):
    lab_layout(plug, priority=1, finds_series=False, needs_kinematics=False)
    path = draft("000954").write(nwb_path)
    with open_nwb(path) as file:
        assert layout_of(file).name == "lab"
        assert layout_of(file, "000954").name == "000954"
    assert read_recording(path, IngestRecipe(layout="lab")).layout == "lab"


def test_two_layouts_that_recognise_a_file_are_refused_and_both_named(draft, nwb_path, plug):
    lab_layout(plug)
    with (
        open_nwb(draft("000954").write(nwb_path)) as file,
        pytest.raises(DataError, match=r"000954 \(nwb-latents .*\) and lab \(lab_layouts 1.0\) .*layout="),
    ):
        layout_of(file)


def test_a_layout_there_is_not_is_refused_before_anything_is_read(plug):
    with pytest.raises(SettingsError, match="no layout is called '000689'; did you mean 000688"):
        require_layouts("000689")
    plug("broken_layouts", "import nothing_of_that_name", layouts={"lab": "broken_layouts:LAYOUT"})
    for name in ("lab", "auto"):
        with pytest.raises(MachineError, match=r"'lab' of broken_layouts 1.0 .*nothing_of_that_name"):
            require_layouts(name)
    require_layouts("000688")


def test_a_layout_is_registered_under_its_own_name(plug):
    plug("lab_layouts", LAB.replace("{more}", "{}"), layouts={"other": "lab_layouts:LAYOUT"})
    with pytest.raises(MachineError, match=r"'other' of lab_layouts 1.0 is called 'lab'"):
        require_layouts("other")


@pytest.mark.parametrize(
    ("name", "change", "lacks"),
    [
        ("000688", lambda d: d.drop("target_id"), "a column target_id"),
        ("000688", lambda d: setattr(d, "session_id", "monkeyX-day3"), "a session id like CO-20131003"),
        ("000688", lambda d: d.electrodes(["M1"] * 4), "electrode groups called"),
        ("000070", lambda d: d.electrodes(["probe0"] * 4), "electrode groups called 1 and 2"),
        ("000121", lambda d: d.drop("target_held_time"), "a column target_held_time"),
        ("nlb", lambda d: d.arrays.update({"units/id": np.arange(4)}), "unit ids from 1000 to 2999"),
    ],
)
def test_a_file_with_the_names_of_a_dandiset_is_read_by_generic_and_that_is_said(
    draft, nwb_path, name, change, lacks
):
    d = draft(name)
    change(d)
    with open_nwb(d.write(nwb_path)) as file:
        assert layout_of(file).name == "generic"
        said = next(text for text in file.said if "has names of the layout" in text)
        assert lacks in said
        assert f"--set layout={name}" in said
        assert file.choices[0].what == "layout"
        assert "no other layout knows it" in file.choices[0].why
    with open_nwb(nwb_path) as file:
        assert layout_of(file, name).name == name
        assert any(lacks in text for text in file.said)
    recording = read_recording(nwb_path, IngestRecipe(layout="auto")) if name == "000688" else None
    assert recording is None or (recording.layout == "generic" and said in recording.warnings)


@pytest.mark.parametrize("name", [*EXPECTED, "000688-RT"])
def test_every_layout_says_what_its_files_are_known_by(draft, nwb_path, name):
    with open_nwb(draft(name).write(nwb_path)) as file:
        layout = layout_of(file)
        assert layout.known_by
        assert layout.known_by in file.choices[0].why
        assert not file.said
