"""Files of the datasets of the Neural Latents Benchmark, of which its toolkit can make all its tensors.

What a wrong export would get away with on a tidier file is odd here: units out of the order of their ids,
events off the bins and off the milliseconds, trials of no split, outliers, windows that share time, observed
time that ends within a bin.
"""

from __future__ import annotations

import numpy as np
from nwb.conftest import Draft, held_in_only

N_TRIALS, TRIAL_S, N_UNITS = 48, 2.6, 12
IDS = np.array([7, 3, 11, 0, 5, 9, 1, 10, 2, 8, 6, 4])
HELDOUT = IDS % 3 == 1
FORWARD_END_S = 0.65
"""End of the forward time of the mazes, from the movement's onset."""

MS_AFTER = 1000
"""Milliseconds that are recorded after the last trial."""


def benchmark_file(key: str, *, is_test: bool = False) -> Draft:
    """Return the train file of a dataset, or the file of the trials that are scored on a server."""
    if key.startswith("mc_maze"):
        return _maze(is_test=is_test)
    return {"mc_rtt": _random_target, "area2_bump": _bump, "dmfc_rsg": _ready_set_go}[key](is_test=is_test)


def _session(subject: str, description: str, *, ids: np.ndarray = IDS, in_trials: bool = False) -> Draft:
    rng = np.random.default_rng(11)
    d = Draft(session_id="1", subject=subject, description=description)
    d.start = 10.0 + TRIAL_S * np.arange(N_TRIALS)
    d.stop = d.start + TRIAL_S - (0.1 if in_trials else 0.0)
    # Tenths of a millisecond, so that events lie off the toolkit's clock as well.
    d.go = d.start + np.round(rng.uniform(0.6, 0.9, N_TRIALS), 4)
    d.onset = d.go + np.round(rng.uniform(0.2, 0.4, N_TRIALS), 4)
    if in_trials:
        # What is observed ends within the last of the forward bins, and one unit fires on.
        early = np.arange(N_TRIALS) % 3 == 1
        d.stop = np.where(early, np.round(d.onset + FORWARD_END_S + 0.002, 3), d.stop)
    end = d.stop[-1] + MS_AFTER / 1e3
    stretches = np.column_stack([d.start, d.stop]) if in_trials else np.array([[8.0, end]])
    d.time = np.concatenate([np.arange(round(a * 1e3), round(b * 1e3)) / 1e3 for a, b in stretches])
    d.spikes = [_spikes(stretches, d.onset, unit, rng) for unit in range(N_UNITS)]
    if in_trials:
        beyond = (d.stop[early][:, None] + np.array([0.0004, 0.003, 0.012])).ravel()
        d.spikes[1] = np.sort(np.concatenate([d.spikes[1], beyond]))
    d.units(ids, heldout=HELDOUT).observed(stretches)
    return d


def _spikes(stretches: np.ndarray, onset: np.ndarray, unit: int, rng: np.random.Generator) -> np.ndarray:
    """Spikes at a constant rate, and more of them around the events."""
    length = np.diff(stretches, axis=1)[:, 0]
    counts = rng.poisson((4 + unit) * length)
    steady = [a + rng.uniform(0, s, n) for (a, _), s, n in zip(stretches, length, counts, strict=True)]
    lag = 0.05 * (unit % 5)
    around = onset[:, None] + lag + rng.normal(0, 0.08, (len(onset), 4 + unit % 3))
    return np.sort(np.round(np.concatenate([*steady, around.ravel()]), 5))


def _movement(d: Draft, n_columns: int = 2) -> np.ndarray:
    rng = np.random.default_rng(5)
    period = rng.uniform(0.5, 1.5, n_columns)
    noise = rng.normal(0, 0.05, (len(d.time), n_columns))
    return np.sin(2 * np.pi * d.time[:, None] / period) + noise


def _split(*, is_test: bool) -> np.ndarray:
    number = np.arange(N_TRIALS)
    names = np.where(number % 4 == 2, "val", "train").astype(object)
    names[number % 11 == 7] = "none"
    return np.full(N_TRIALS, "test", dtype=object) if is_test else names


def _file(d: Draft, *, is_test: bool, keeps: tuple[str, ...] = ()) -> Draft:
    if not is_test:
        return d
    observed = np.asarray(d.arrays["units/obs_intervals"])
    rows = observed[: len(observed) // N_UNITS]
    return held_in_only(d, "split", *keeps).observed(rows)


def _maze(*, is_test: bool) -> Draft:
    d = _session("Jenkins", "maze", ids=1001 + 1000 * (IDS > 5) + IDS, in_trials=True)
    for name, scale in (("hand_pos", 80.0), ("hand_vel", 400.0)):
        kind = "TimeSeries" if name == "hand_vel" else "SpatialSeries"
        unit = "mm/s" if name == "hand_vel" else "mm"
        d.series(f"processing/behavior/{name}", scale * _movement(d), unit=unit, kind=kind)
    d.trials(
        target_on_time=d.start + 0.1, go_cue_time=d.go, move_onset_time=d.onset,
        success=np.ones(N_TRIALS, bool), trial_type=np.arange(N_TRIALS) % 3 + 9,
        trial_version=np.arange(N_TRIALS) % 2, split=_split(is_test=is_test),
    )  # fmt: skip
    return _file(d, is_test=is_test, keeps=("move_onset_time",))


def _random_target(*, is_test: bool) -> Draft:
    d = _session("Indy", "Indy: self-paced random target reaching")
    d.series("processing/behavior/finger_pos", 80 * _movement(d, 3), unit="mm")
    d.series("processing/behavior/finger_vel", 400 * _movement(d), unit="mm/s", kind="TimeSeries")
    target = np.repeat(np.arange(len(d.time) // 500 + 1), 500)[: len(d.time)]
    d.series(
        "processing/behavior/target_pos", np.column_stack([target % 7, target % 5]).astype(float), unit="mm"
    )
    d.start = np.round(10.0003 + 0.6 * np.arange(N_TRIALS), 4)
    d.stop = d.start + 0.6
    return _file(d.trials(split=_split(is_test=is_test)), is_test=is_test)


def _bump(*, is_test: bool) -> Draft:
    d = _session("Han", "Han performing center-out active-passive task")
    d.series("processing/behavior/hand_pos", 8 * _movement(d))
    d.series("processing/behavior/hand_vel", 40 * _movement(d), unit="cm/s", kind="TimeSeries")
    passive = np.arange(N_TRIALS) % 3 == 1
    angle = 90.0 * (np.arange(N_TRIALS) % 4)
    d.trials(
        target_on_time=d.start + 0.1, go_cue_time=d.go,
        move_onset_time=np.where(passive, d.go - 0.2, d.onset),
        ctr_hold_bump=passive, bump_dir=np.where(passive, angle, np.nan), bump_time=d.go - 0.3,
        target_dir=np.where(passive, np.nan, angle), cond_dir=angle,
        result=np.array(["R"] * N_TRIALS, dtype=object), split=_split(is_test=is_test),
    )  # fmt: skip
    return _file(d, is_test=is_test, keeps=("move_onset_time",))


def _ready_set_go(*, is_test: bool) -> Draft:
    d = _session("Haydn", "ready-set-go")
    rng = np.random.default_rng(2)
    short = np.arange(N_TRIALS) % 4 < 2
    produced = np.round(np.where(short, 0.6, 1.25) + rng.uniform(-0.15, 0.2, N_TRIALS), 4)
    go = d.go + produced
    outlier = np.arange(N_TRIALS) % 9 == 4
    d.trials(
        target_on_time=d.start + 0.05, ready_time=d.start + 0.1, set_time=d.go, go_time=go,
        bad_time=np.full(N_TRIALS, np.nan), is_outlier=outlier, is_eye=np.arange(N_TRIALS) % 2 == 0,
        is_short=short, ts=np.where(short, 640.0, 1200.0), tp=np.round(1e3 * produced, 1),
        theta=np.where(np.arange(N_TRIALS) % 8 < 4, 0.0, 180.0), split=_split(is_test=is_test),
    )  # fmt: skip
    return _file(d, is_test=is_test, keeps=("go_time",))
