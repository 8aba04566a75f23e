"""What is written down of a session of reaching, whatever its preset: trials, ids, events, peak speeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.sources.simulator.hand_kinematics import FINE_RATE_HZ, Kinematics

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import BoolArray, IntArray
    from nwb_latents.pipeline.sources.simulator.neurons import Neurons
    from nwb_latents.pipeline.sources.simulator.trial_script import Script
    from nwb_latents.schemas.simulation import SimulateSettings

HELDOUT_SHARE = 0.25


def choose_heldout(n_units: int, rng: np.random.Generator) -> BoolArray:
    """Return which units the benchmark's layout holds out: a quarter. Shape ``(n_units,)``.

    Examples
    --------
    >>> int(choose_heldout(9, np.random.default_rng(0)).sum())
    2
    """
    heldout = np.zeros(n_units, dtype=np.bool_)
    heldout[rng.permutation(n_units)[: int(HELDOUT_SHARE * n_units)]] = True
    return heldout


def listed_trials(settings: SimulateSettings, script: Script) -> IntArray:
    """Return the trials of the file's table: in the benchmark's files those rewarded, in a generic file none.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Script, Trial
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> script = Script((Trial(1.0, result="F"), Trial(3.0)), movements=(), duration_s=5.0)
    >>> [listed_trials(SimulateSettings(layout=name), script).tolist() for name in ("nlb", "000070")]
    [[1], [0, 1]]
    """
    if settings.layout == "generic":
        return np.empty(0, dtype=np.int64)
    is_listed = [settings.layout != "nlb" or trial.result == "R" for trial in script.trials]
    return np.flatnonzero(is_listed).astype(np.int64)


def unit_ids(settings: SimulateSettings, neurons: Neurons) -> IntArray:
    """Return ids as the layout has them: in the benchmark's files 1xxx is PMd and 2xxx is M1.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator.neurons import draw_neurons
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings = SimulateSettings(layout="nlb", n_units=(4, 4))
    >>> unit_ids(settings, draw_neurons(settings, np.random.default_rng(0))).tolist()
    [2001, 2002, 1003, 1004]
    """
    ids = np.arange(len(neurons), dtype=np.int64)
    if settings.layout != "nlb":
        return ids
    return np.where(neurons.area == "PMd", 1001, 2001) + ids


def reach_columns(script: Script, kinematics: Kinematics, *, listed: IntArray) -> dict[str, Any]:
    """Return the columns of the truth with one entry per target, or per trial that showed none.

    Parameters
    ----------
    script, kinematics
        Trials, and the hand at 1 kHz.
    listed
        As from `listed_trials`.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator.hand_kinematics import kinematics_of
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Script, Trial
    >>> script = Script((Trial(1.0, result="A"),), movements=(), duration_s=2.0)
    >>> still = kinematics_of(np.zeros((2001, 2)))
    >>> reach_columns(script, still, listed=np.array([0]))["onset_s"].tolist()
    [nan]
    """
    row = np.full(len(script.trials), -1, dtype=np.int64)
    row[listed] = np.arange(len(listed))
    speed = kinematics.speed()
    rows: list[tuple[float, ...]] = []
    for number, trial in enumerate(script.trials):
        for reach in range(max(len(trial.target_id), 1)):
            events: tuple[float, ...] = (np.nan,) * 5
            peak = np.nan
            if trial.target_id:
                series = (
                    trial.target_on_s,
                    trial.go_cue_s,
                    trial.onset_s,
                    trial.move_end_s,
                    trial.target_dir,
                )
                events = tuple(values[reach] for values in series)
            if np.isfinite(events[2]):
                first, last = (round(moment * FINE_RATE_HZ) for moment in events[2:4])
                peak = float(speed[first : last + 1].max())
            rows.append((number, row[number], reach, trial.result == "R", *events, peak))
    table = np.array(rows, dtype=np.float64)
    whole = dict(zip(("trial", "trial_row", "reach"), table[:, :3].T.astype(np.int64), strict=True))
    names = ("target_on_s", "go_cue_s", "onset_s", "move_end_s", "target_dir_rad", "peak_speed_cm_s")
    return {**whole, "success": table[:, 3].astype(np.bool_), **dict(zip(names, table[:, 4:].T, strict=True))}
