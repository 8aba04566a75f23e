"""Why a trial is left out, as far as the table decides: what lies on a threshold is kept."""

import numpy as np
import pytest

from nwb_latents.pipeline.signals.candidates import Candidates, selection_reasons
from nwb_latents.schemas.recipe import IngestRecipe

LIMITS = {
    "trials": {"min_duration_s": 0.5, "max_duration_s": 4.0},
    "onset": {"min_rt_s": 0.125, "max_rt_s": 1.0},
    "reaches": {"max_rise_s": 0.25},
}
GOOD = {
    "trial_start": 0.0, "trial_stop": 2.0, "target_on": 0.25, "go_cue": 0.5, "move_onset": 0.75,
    "peak_speed": 1.0, "onset_quality": "ok", "split_hint": "", "success": True, "valid": True,
    "is_reach": False,
}  # fmt: skip
EVENTS = ("trial_start", "trial_stop", "target_on", "go_cue", "move_onset", "peak_speed")


def reason_of(*trials, **recipe):
    """Return the reasons of trials, each given by what is other than in a good one."""
    rows = [GOOD | trial for trial in trials]
    n = len(rows)

    def column(name, kind=object):
        return np.array([row[name] for row in rows], dtype=kind)

    changed = {**LIMITS, "align_to": "move_onset"}
    for name, values in recipe.items():
        changed[name] = {**changed[name], **values} if isinstance(values, dict) else values
    candidates = Candidates(
        row=np.arange(n), events={name: column(name, float) for name in EVENTS}, peak_speed=np.ones(n),
        target_dir=np.zeros(n), onset_quality=column("onset_quality"),
        condition=np.full(n, "a", dtype=object), split_hint=column("split_hint"),
        success=column("success", bool), valid=column("valid", bool), is_reach=column("is_reach", bool),
    )  # fmt: skip
    return selection_reasons(candidates, IngestRecipe.model_validate(changed)).tolist()


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        ({}, ""),
        ({"valid": False}, "flagged_by_file"),
        ({"success": False}, "not_successful"),
        ({"trial_stop": 0.5, "go_cue": 0.25, "move_onset": 0.5}, ""),
        ({"trial_stop": 0.49, "go_cue": 0.25, "move_onset": 0.5}, "too_short"),
        ({"trial_stop": 4.0}, ""),
        ({"trial_stop": 4.01}, "too_long"),
        ({"trial_stop": np.nan}, "no_start_or_stop"),
        ({"trial_start": np.nan}, "no_start_or_stop"),
        ({"move_onset": 0.625}, ""),
        ({"move_onset": 0.62}, "reaction_too_fast"),
        ({"move_onset": 1.5}, ""),
        ({"move_onset": 1.51}, "reaction_too_slow"),
        ({"move_onset": np.nan, "onset_quality": "no_movement"}, "onset_no_movement"),
        ({"go_cue": np.nan}, ""),
        # A trial that is flagged, has failed and is too short is told by the first.
        ({"valid": False, "success": False, "trial_stop": 0.1}, "flagged_by_file"),
        ({"success": False, "trial_stop": 0.1}, "not_successful"),
    ],
    ids=str,
)
def test_a_trial_is_left_out_for_its_first_fault(trial, expected):
    assert reason_of(trial) == [expected]


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        # A reach has no beginning and end of its own, but rises as fast as a reach.
        ({"trial_stop": np.nan}, ""),
        ({"trial_stop": 0.1}, ""),
        ({"peak_speed": 1.0}, ""),
        ({"peak_speed": 1.01}, "onset_slow_rise"),
    ],
    ids=str,
)
def test_reaches_are_judged_by_their_rise(trial, expected):
    assert reason_of(GOOD | {"is_reach": True} | trial) == [expected]
    assert reason_of({"peak_speed": 9.0}) == [""]


@pytest.mark.parametrize("align_to", ["move_onset", "peak_speed", "go_cue", "target_on"])
def test_onsets_and_reaction_times_count_where_trials_are_cut_by_them(align_to):
    fast, none = {"move_onset": 0.55}, {"move_onset": np.nan, "onset_quality": "no_movement"}
    by_movement = align_to in ("move_onset", "peak_speed")
    expected = ["reaction_too_fast", "onset_no_movement"] if by_movement else ["", ""]
    assert reason_of(fast, none, align_to=align_to) == expected
    unchecked = reason_of(fast, none, align_to=align_to, trials={"check_reaction_time": False})
    assert unchecked == ["", expected[1]]


def test_onsets_that_the_file_states_are_taken_as_they_are():
    stated = {"onset_quality": "column"}
    assert reason_of(stated | {"move_onset": 0.55}, stated | {"move_onset": 1.9}) == ["", ""]
    assert reason_of({"move_onset": 0.55}, {"onset_quality": "no_column_value"}) == ["", ""]


def test_what_is_asked_of_trials_is_what_is_looked_at():
    assert reason_of({"valid": False}, trials={"keep_flagged": True}) == [""]
    assert reason_of({"success": False}, trials={"success_only": False}) == [""]


def test_only_trials_of_a_split_are_kept_where_the_file_knows_any():
    trials = ({"split_hint": "train"}, {"split_hint": "none"}, {"split_hint": "test"})
    assert reason_of(*trials, trials={"only_split": True}) == ["", "in_no_split", ""]
    assert reason_of(*trials, trials={"only_split": False}) == ["", "", ""]
    assert reason_of({}, {}, trials={"only_split": True}) == ["", ""]
