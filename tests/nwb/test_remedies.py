"""Where no trial is left, the message says why and what keeps them: pasted into the next run, it does."""

from __future__ import annotations

import re

import numpy as np
import pytest
from nwb.odd_files import N_TRIALS, SESSION, both, changed, column, observed, of_series, put, read

from nwb_latents.pipeline.errors import DataError

GO = SESSION.go
EVERY = np.array([0.0, 130.0])


def added(name, values):
    return lambda h: put(h, f"intervals/trials/{name}", values)


def around(before, after):
    """Return the change to intervals around the go cues."""
    return observed([np.stack([GO - before, GO + after], 1)] * 6)


def covered(h):
    h["intervals/invalid_times/id"] = [0]
    h["intervals/invalid_times/start_time"] = [0.0]
    h["intervals/invalid_times/stop_time"] = [200.0]


CASES = {
    "all fail": (
        column("result", lambda _: ["fail"] * N_TRIALS),
        [],
        r"result holds fail \(40\): none of these",
    ),
    "all F": (column("result", lambda _: ["F"] * N_TRIALS), [], r"result holds False \(40\)"),
    "all 0": (column("result", lambda _: np.zeros(N_TRIALS)), [], r"result holds 0 \(40\)"),
    "too long": (column("stop_time", lambda v: v * 1.0), ["trials.max_duration_s=1"], "last up to 2.6 s"),
    "too short": (column("stop_time", lambda v: v * 1.0), ["trials.min_duration_s=5"], "last from 2.6 s on"),
    "overlapping": (column("stop_time", lambda v: v + 10), [], "39 of 40 begin before the one before them"),
    "too slow to react": (
        column("start_time", lambda v: v),
        ["onset.max_rt_s=0.2"],
        "Reaction times reach 0.25",
    ),
    "too fast to react": (
        column("start_time", lambda v: v),
        ["onset.min_rt_s=0.27", "onset.max_search_s=3"],
        "Reaction times begin at 0",
    ),
    "a hand that moves before it is looked at": (
        column("start_time", lambda v: v),
        ["onset.min_rt_s=1.5", "onset.max_search_s=3"],
        r"fast enough .*from 1\.5 s after the go cue on \(onset.min_rt_s\)",
    ),
    "slow hand": (of_series(lambda v: v / 20), [], "speed peaks at 1"),
    "observed briefly around the onset": (around(-0.1, 0.4), [], r"--set window_s=\["),
    "observed around the go cue alone": (
        around(0.3, 0.2),
        [],
        "around go_cue: .* --set align_to=go_cue --set window_s",
    ),
    "a window that is too long": (
        column("start_time", lambda v: v),
        ["window_s=[-140,140]"],
        "--set window_s=",
    ),
    "onsets that are missing": (
        both(
            added("movement_onset_time", np.where(np.arange(N_TRIALS) < 1, GO + 0.25, np.nan)),
            column("result", lambda _: ["F"] + ["R"] * (N_TRIALS - 1)),
        ),
        [],
        "onset.method=profile",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_settings_that_are_named_keep_trials(name, tmp_path):
    change, words, message = CASES[name]
    path = changed(tmp_path, change)
    with pytest.raises(DataError, match=message) as caught:
        read(path, *words)
    text = str(caught.value)
    assert text.startswith("odd.nwb: /intervals/trials: none of 40 trials is valid")
    assert "nan" not in text
    assert not re.search(r"\de[+-]?\d", text), "a number nobody types"
    settings = [found.strip("'").rstrip(".,;:") for found in re.findall(r"--set ('[^']+'|\S+)", text)]
    usable = [setting for setting in settings if "NAME" not in setting and "PATH" not in setting]
    assert usable
    # Where two belong together they are named without a word between them; else each does it alone.
    together = [usable] if "window_s" in text and "align_to" in text else [[setting] for setting in usable]
    for chosen in together:
        replaced = {setting.partition("=")[0] for setting in chosen}
        kept = [word for word in words if word.partition("=")[0] not in replaced]
        _, trials = read(path, *kept, *chosen)
        assert trials.trials["counts"].shape[0] >= 1, chosen


REFUSED = {
    "data that are NaN": (of_series(lambda v: v * np.nan), "no number|NaN"),
    "a hand that stands still": (of_series(lambda v: v * 0 + 3), "stands still"),
    "invalid times everywhere": (covered, "invalid_times"),
    "trials in ms, go cues in s": (
        both(column("start_time", lambda v: v * 1000), column("stop_time", lambda v: v * 1000)),
        r"go_cue_time .*They fit if the trials are in ms: write start and stop of the trials in seconds",
    ),
    "go cues in ms, trials in s": (
        column("go_cue_time", lambda v: v * 1000),
        r"go_cue_time .*They fit in ms: write the column in seconds",
    ),
    "intervals elsewhere": (observed([np.array([1e4, 1e4 + 130])] * 6), "obs_intervals"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_cause_is_named(name, tmp_path):
    change, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as caught:
        read(changed(tmp_path, change))
    assert str(caught.value).startswith("odd.nwb: ")
