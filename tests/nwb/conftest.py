"""Small NWB files of every layout, written with h5py: paths, columns and quirks of the published ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = h5py.string_dtype()
N_TRIALS, TRIAL_S, N_UNITS = 8, 2.0, 4
ELECTRODES = "general/extracellular_ephys/electrodes"


@dataclass
class Draft:
    """An NWB file in the making; what a test wants to be odd it changes before `write`.

    Attributes
    ----------
    start, stop, go, onset
        Trials of the session, back to back on whole seconds.
    spikes
        Spike times of each unit.
    """

    session_id: str | None = "1"
    subject: str = "T"
    description: str = "small session"
    arrays: dict[str, object] = field(default_factory=dict)
    attributes: dict[str, dict[str, object]] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(3)
        self.start = 10.0 + TRIAL_S * np.arange(N_TRIALS)
        self.stop = self.start + TRIAL_S - 0.1
        self.go = self.start + 0.5
        self.onset = self.start + 0.8
        self.spikes = [
            np.sort((self.start[:, None] + rng.uniform(0, 1.9, (N_TRIALS, 20 + u))).ravel())
            for u in range(N_UNITS)
        ]
        self.areas_of_groups = ["M1"] * N_UNITS
        self.time = np.arange(10.0, 26.0, 0.01)

    def sampled_in_trials(self) -> Draft:
        """Let the clock be one of 1 kHz that runs within trials only."""
        edges = zip(self.start, self.stop, strict=True)
        self.time = np.concatenate([np.arange(round(a * 1e3), round(b * 1e3)) / 1e3 for a, b in edges])
        return self

    def wave(self, n_columns: int = 2, scale: float = 1.0) -> np.ndarray:
        """Return a smooth movement over `time`, one reach per trial."""
        phase = (self.time % TRIAL_S) / TRIAL_S
        bump = np.where((phase > 0.4) & (phase < 0.8), np.sin(np.pi * (phase - 0.4) / 0.4) ** 2, 0.0)
        return scale * np.column_stack([bump * (k + 1) for k in range(n_columns)])

    def units(self, ids=None, **columns) -> Draft:
        """Add the units table, with electrodes."""
        n = len(self.spikes)
        self.arrays |= {
            "units/id": np.arange(n) if ids is None else np.asarray(ids),
            "units/spike_times": np.concatenate(self.spikes),
            "units/spike_times_index": np.cumsum([len(s) for s in self.spikes]),
            **{f"units/{name}": values for name, values in columns.items()},
        }
        self.columns["units"] = ["spike_times", *columns]
        return self

    def electrodes(self, groups, rows=None) -> Draft:
        """Link unit k to row k of an electrode table with these group names, or to `rows`."""
        n = len(self.spikes)
        self.arrays |= {
            f"{ELECTRODES}/id": np.arange(len(groups)),
            f"{ELECTRODES}/group_name": np.array(groups, dtype=object),
            f"{ELECTRODES}/location": np.array(["unknown"] * len(groups), dtype=object),
            "units/electrodes": np.arange(n) if rows is None else np.asarray(rows),
            "units/electrodes_index": np.arange(1, n + 1),
        }
        return self

    def observed(self, rows) -> Draft:
        """Give every unit the same observed intervals."""
        rows = np.asarray(rows, dtype=float).reshape(-1, 2)
        n = len(self.spikes)
        self.arrays["units/obs_intervals"] = np.tile(rows, (n, 1))
        self.arrays["units/obs_intervals_index"] = len(rows) * np.arange(1, n + 1)
        return self

    def series(self, path: str, data, *, unit="cm", kind="SpatialSeries", time=None, **attributes) -> Draft:
        """Add a series with explicit time stamps."""
        self.arrays[f"{path}/data"] = np.asarray(data)
        self.arrays[f"{path}/timestamps"] = self.time if time is None else time
        self.attributes[f"{path}/data"] = {"unit": unit, "conversion": 1.0, **attributes}
        self.attributes[path] = {"neurodata_type": kind}
        return self

    def trials(self, **columns) -> Draft:
        """Add the trial table; start and stop are there by themselves."""
        table = {"start_time": self.start, "stop_time": self.stop, **columns}
        self.arrays["intervals/trials/id"] = np.arange(len(self.start))
        self.arrays |= {f"intervals/trials/{name}": values for name, values in table.items()}
        self.columns["intervals/trials"] = list(table)
        return self

    def drop(self, *names: str) -> Draft:
        """Leave columns of the trial table out."""
        for name in names:
            del self.arrays[f"intervals/trials/{name}"]
            self.columns["intervals/trials"].remove(name)
        return self

    def write(self, path: Path) -> Path:
        """Write the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as h5:
            h5.attrs["nwb_version"] = "2.7.0"
            h5["session_description"] = self.description
            h5["general/subject/subject_id"] = self.subject
            if self.session_id:
                h5["general/session_id"] = self.session_id
            for name, given in self.arrays.items():
                values = np.asarray(given)
                if values.dtype.kind in "OU":
                    h5.create_dataset(name, data=values.astype(object), dtype=TEXT)
                else:
                    h5[name] = values
            for name, attributes in self.attributes.items():
                h5.require_group(name) if name not in h5 else None
                h5[name].attrs.update(attributes)
            for table, names in self.columns.items():
                h5[table].attrs["colnames"] = np.array(names, dtype=TEXT)
        return path


def perich() -> Draft:
    """000688, centre-out: cm at 100 Hz, no onsets, no observed intervals, waveforms."""
    d = Draft(session_id="CO-20131003", subject="C")
    angle = np.arange(N_TRIALS) * np.pi / 4
    x, y = 8 * np.cos(angle), 8 * np.sin(angle)
    d.units().electrodes(["electrode_group_M1", "electrode_group_PMd"] * 2)
    d.arrays["units/waveforms"] = np.zeros((48 * sum(map(len, d.spikes)), 1), np.int16)
    d.columns["units"].append("waveforms")
    velocity = 40 * d.wave()
    d.series("processing/behavior/Position/cursor_pos", np.cumsum(velocity, axis=0) * np.diff(d.time[:2]))
    d.series("processing/behavior/Velocity/cursor_vel", velocity, unit="cm/s", kind="TimeSeries")
    return d.trials(
        target_on_time=d.start + 0.2, go_cue_time=d.go, result=np.array(list("RRRFRAIR"), dtype=object),
        target_id=np.arange(N_TRIALS, dtype=float), target_dir=angle,
        target_corners=np.column_stack([x - 1, y + 1, x + 1, y - 1]),
    )  # fmt: skip


def perich_random_target() -> Draft:
    """000688, random targets: up to four reaches per trial."""
    d = perich()
    go = d.start[:, None] + np.array([0.1, 0.5, 0.9, 1.3])
    go[1, 2:] = np.nan
    d.session_id = "RT-20131004"
    d.drop("target_on_time", "go_cue_time", "target_dir", "target_corners", "target_id")
    columns = {"go_cue_time_array": go, "num_targets": np.full(N_TRIALS, 4, np.uint8)}
    return d.trials(result=np.array(["R"] * N_TRIALS, dtype=object), **columns)


def churchland() -> Draft:
    """000070: millimetres at 1 kHz within trials, ``conversion`` NaN, groups 1 (PMd) and 2 (M1)."""
    d = Draft(session_id=None, subject="Jenkins")
    d.units().electrodes(["1", "1", "2", "2"]).observed(np.column_stack([d.start, d.stop]))
    d.sampled_in_trials()
    for name in ("Eye", "Hand", "Cursor"):
        d.series(f"processing/behavior/Position/{name}", 80 * d.wave(), unit="meters", conversion=np.nan)
    hit = np.array([[80, 0], [-80, 0], [0, 80], [0, -80]] * 2, dtype=np.int16)
    ones, none = np.ones(N_TRIALS, np.uint8), np.zeros(N_TRIALS, np.uint8)
    return d.trials(
        target_presentation_time=d.start + 0.1, go_cue_time=d.go, move_begins_time=d.onset,
        move_ends_time=d.onset + 0.5, reaction_time=d.onset - d.go, discard_trial=none.copy(),
        task_success=ones.copy(), trial_type=np.arange(N_TRIALS, dtype=np.uint8), trial_version=ones.copy(),
        correct_reach=ones.copy(), maze_condition=ones.copy(), novel_maze=none.copy(),
        proto_trial=none.copy(),
        hit_target_position=hit, target_size=ones.copy(),
    )  # fmt: skip


def even_chen() -> Draft:
    """000121: hand in three dimensions, ``conversion`` NaN, groups the other way round, no onsets."""
    d = Draft(session_id=None, subject="JenkinsC")
    d.units().electrodes(["1", "1", "2", "2"]).observed([[9.0, 30.0]])
    for name, n in (("Hand", 3), ("Cursor", 2), ("Eye", 2), ("DecodePos", 2)):
        d.series(f"processing/behavior/Position/{name}", 80 * d.wave(n), unit="meters", conversion=np.nan)
    return d.trials(
        go_cue_time=d.go, target_shown_time=d.start + 0.1, target_held_time=d.stop - 0.1,
        is_successful=np.array([1, 1, 1, 1, 1, 1, 1, 0], np.uint8), task_id=np.ones(N_TRIALS),
    )  # fmt: skip


def maze() -> Draft:
    """NLB mazes, train file; M1 units point 96 rows too low and so into PMd."""
    d = Draft(session_id="full", subject="Jenkins").sampled_in_trials()
    heldout = np.array([False, True, False, True])
    d.units([1001, 1002, 2001, 2002], heldout=heldout).observed(np.column_stack([d.start, d.stop]))
    d.electrodes(["electrode_group_PMd"] * 96 + ["electrode_group_M1"] * 96, rows=[0, 1, 0, 1])
    for name, unit in (("hand_pos", "mm"), ("cursor_pos", "mm"), ("eye_pos", "mm"), ("hand_vel", "mm/s")):
        scale = 400 if name == "hand_vel" else 80
        kind = "TimeSeries" if name == "hand_vel" else "SpatialSeries"
        d.series(f"processing/behavior/{name}", scale * d.wave(), unit=unit, kind=kind)
    return d.trials(
        target_on_time=d.start + 0.1, go_cue_time=d.go, move_onset_time=d.onset,
        success=np.ones(N_TRIALS, bool), trial_type=np.arange(N_TRIALS), trial_version=np.ones(N_TRIALS, int),
        split=np.array(["train", "train", "train", "train", "val", "val", "none", "train"], dtype=object),
    )  # fmt: skip


def held_in_only(d: Draft, *columns: str) -> Draft:
    """Make the test file of a benchmark of its train file: no kinematics, held-in units, these columns."""
    keep = ~np.asarray(d.arrays["units/heldout"])
    ids = np.asarray(d.arrays["units/id"])[keep]
    d.spikes = [s for s, k in zip(d.spikes, keep, strict=True) if k]
    d.arrays = {k: v for k, v in d.arrays.items() if not k.startswith(("processing", "units", "general"))}
    d.attributes = {}
    d.drop(*(c for c in d.columns["intervals/trials"][2:] if c not in columns))
    if "split" in d.columns["intervals/trials"]:
        d.arrays["intervals/trials/split"] = np.array(["test"] * len(d.start), dtype=object)
    return d.units(ids, heldout=np.zeros(len(ids), bool)).observed(np.column_stack([d.start, d.stop]))


def random_target() -> Draft:
    """000129: finger in mm, pieces of 600 ms for trials, targets as a series."""
    d = Draft(session_id="20170202_02", subject="Indy", description="Indy: self-paced random target reaching")
    d.units(heldout=np.array([False, True, False, True])).observed([[10.0, 26.0]])
    d.series("processing/behavior/finger_pos", 80 * d.wave(3), unit="mm")
    d.series("processing/behavior/finger_vel", 400 * d.wave(), unit="mm/s", kind="TimeSeries")
    place = np.array([[30.0, 0], [30.0, 30.0], [0, 30.0], [0.0, 0]] * 2)
    target = np.repeat(place, 200, axis=0)
    d.series("processing/behavior/target_pos", target, unit="mm")
    d.start = np.arange(10.0, 25.0, 0.6)
    d.stop = d.start + 0.6
    return d.trials(split=np.array(["train"] * len(d.start), dtype=object))


def bump() -> Draft:
    """000127: degrees, active and passive trials."""
    d = Draft(
        session_id="20171207", subject="Han", description="Han performing center-out active-passive task"
    )
    d.units(heldout=np.array([False, True, False, True])).observed([[10.0, 26.0]])
    d.series("processing/behavior/hand_pos", 8 * d.wave())
    d.series("processing/behavior/hand_vel", 40 * d.wave(), unit="cm/s", kind="TimeSeries")
    d.series("processing/behavior/joint_vel", d.wave(7), unit="deg/s", kind="TimeSeries")
    passive = np.arange(N_TRIALS) % 2 == 1
    return d.trials(
        target_on_time=d.start + 0.1, go_cue_time=d.go,
        move_onset_time=np.where(passive, d.go - 0.2, d.onset),
        ctr_hold_bump=passive, bump_dir=np.where(passive, 90.0, np.nan), bump_time=d.go - 0.3,
        target_dir=np.where(passive, np.nan, 0.0), cond_dir=np.where(passive, 90.0, 0.0),
        result=np.array(["R"] * N_TRIALS, dtype=object),
        split=np.array(["train"] * 6 + ["val"] * 2, dtype=object),
    )  # fmt: skip


def ready_set_go() -> Draft:
    """000130: units and trials, nothing else."""
    d = Draft(session_id="20161211", subject="Haydn")
    d.units(heldout=np.array([False, True, False, True])).observed([[10.0, 26.0]])
    nothing = np.full(N_TRIALS, np.nan)
    failed = nothing.copy()
    failed[7] = d.stop[7]
    return d.trials(
        target_on_time=d.start + 0.1, ready_time=d.start + 0.2, set_time=d.go, go_time=d.onset + 0.2,
        bad_time=failed, is_outlier=np.arange(N_TRIALS) == 6, is_eye=np.arange(N_TRIALS) % 2 == 0,
        is_short=np.ones(N_TRIALS, bool), ts=np.full(N_TRIALS, 480.0),
        tp=1e3 * (d.onset + 0.2 - d.go), theta=np.array([0.0, 180.0] * 4),
        split=np.array(["train"] * N_TRIALS, dtype=object),
    )  # fmt: skip


def _falcon(d: Draft, mask) -> Draft:
    d.series("acquisition/eval_mask", mask, unit="n/a", kind="TimeSeries")
    return d


def falcon_m1() -> Draft:
    """000941: muscle activity in bins stamped at their end."""
    d = Draft(session_id=None, subject="MonkeyL-held-in-calib")
    d.time = 10.0 + 0.02 * np.arange(1, 801)
    d.units().electrodes(["H_electrode_group"] * 4).observed([[9.0, 27.0]])
    for muscle in ("FCR", "ECU"):
        d.series(f"acquisition/preprocessed_emg/{muscle}", d.wave()[:, 0], unit="a.u.", kind="TimeSeries")
    mask = (d.time > 14.01) | (d.time < 12.01)
    return _falcon(d, mask).trials(
        gocue_time=d.go, move_onset_time=d.onset, contact_time=d.stop - 0.5, reward_time=d.stop,
        result=np.array(["success"] * 7 + ["failure"], dtype=object), tgt_loc=np.arange(N_TRIALS) * 45.0,
        condition_id=np.arange(N_TRIALS) % 3, tgt_obj=np.array(["mallet"] * N_TRIALS, dtype=object),
    )  # fmt: skip


def falcon_m2() -> Draft:
    """000953: two series of one column each, per bin, in bins stamped at their start."""
    d = Draft(session_id="2020-10-19_Run1", subject="MonkeyN-held-in-calib")
    d.time = 10.0 + 0.02 * np.arange(800)
    d.units().electrodes(["M1_array"] * 4).observed([[9.0, 27.0]])
    for k, finger in enumerate(("index", "mrs")):
        wave = 0.4 * d.wave()[:, k]
        d.series(f"acquisition/finger_pos/{finger}", wave, unit="AU", kind="TimeSeries")
        d.series(f"acquisition/finger_vel/{finger}", np.gradient(wave), unit="AU/bin", kind="TimeSeries")
    return _falcon(d, np.ones(len(d.time))).trials(tgt_loc=np.full((N_TRIALS, 2), 0.5, np.float32))


def falcon_h1() -> Draft:
    """000954: the step stands for the rate, the offset for the start; no electrodes, no trial table."""
    d = Draft(session_id=None, subject="HumanPitt-held-out-calib")
    d.time = 10.0 + 0.02 * np.arange(800)
    d.units()
    number = np.floor((d.time - 9.99) / TRIAL_S)
    mask = (d.time < 20.01) | (d.time > 22.01)
    values = {"OpenLoopKinematics": d.wave(7), "OpenLoopKinematicsVelocity": d.wave(7), "TrialNum": number}
    for name, data in {**values, "eval_mask": mask}.items():
        path = f"acquisition/{name}"
        d.arrays |= {f"{path}/data": data, f"{path}/starting_time": 0.0}
        d.attributes[path] = {"neurodata_type": "TimeSeries"}
        d.attributes[f"{path}/data"] = {"unit": "arbitrary", "conversion": 1.0, "offset": 10.0}
        d.attributes[f"{path}/starting_time"] = {"rate": 0.02, "unit": "seconds"}
    return d


DRAFTS: dict[str, Callable[[], Draft]] = {
    "000688": perich, "000070": churchland, "000121": even_chen, "nlb": maze, "000129": random_target,
    "000127": bump, "000130": ready_set_go, "000941": falcon_m1, "000953": falcon_m2, "000954": falcon_h1,
}  # fmt: skip


@pytest.fixture
def draft() -> Callable[[str], Draft]:
    """Return a function from the name of a layout to a small file of it, not yet written."""
    others = {"000688-RT": perich_random_target}
    return lambda name: {**DRAFTS, **others}[name]()


@pytest.fixture
def benchmark_test_file() -> Callable[..., Draft]:
    """Return the function that makes a benchmark's test file of its train file."""
    return held_in_only


@pytest.fixture
def nwb_path(tmp_path: Path) -> Path:
    """Return where a test writes its file."""
    return tmp_path / "sub-T_ses-1.nwb"
