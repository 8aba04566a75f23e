"""Columns of the trial tables of the real files, filled from simulated trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.sources.simulator.trial_script import RT_TARGETS, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray
    from nwb_latents.pipeline.sources.simulator.nwb_tables import Column

MM_PER_CM = 10.0
TARGET_HALF_WIDTH_CM = 1.0
BARRIERS_MM = np.array([[0.0, 130.0, 100.0, 2.0]])
"""The one barrier of every maze, above the workspace and in nobody's way: x, y, half width, half height."""


def centre_out_columns(trials: Sequence[Trial]) -> list[Column]:
    """Return the trial columns of a centre-out session of layout 000688.

    Parameters
    ----------
    trials
        Trials of the table.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Pace, write_script
    >>> rng = np.random.default_rng(0)
    >>> script = write_script(SimulateSettings(n_trials=3), rng, pace=Pace())
    >>> [name for name, _, _ in centre_out_columns(script.trials)][2:5]
    ['target_on_time', 'go_cue_time', 'result']
    """
    places = _first_target(trials)
    half = TARGET_HALF_WIDTH_CM
    corner = np.array([-half, half])
    corners = np.concatenate([places + corner, places - corner], axis=1)
    return [
        *_edges(trials),
        ("target_on_time", "time when the target is shown", _first(trials, "target_on_s")),
        ("go_cue_time", "time when the go cue is given", _first(trials, "go_cue_s")),
        _result(trials),
        ("target_id", "target id", _first(trials, "target_id")),
        ("target_dir", "target direction", _first(trials, "target_dir")),
        ("target_corners", "target corners", corners),
    ]


def random_target_columns(trials: Sequence[Trial]) -> list[Column]:
    """Return the trial columns of a random-target session of layout 000688.

    Parameters
    ----------
    trials
        Trials of the table.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Pace, write_script
    >>> rng = np.random.default_rng(0)
    >>> script = write_script(SimulateSettings(n_trials=3, task="RT"), rng, pace=Pace())
    >>> [name for name, _, _ in random_target_columns(script.trials)][2:5]
    ['go_cue_time_array', 'num_targets', 'num_attempted']
    """
    attempted = np.array([np.isfinite(trial.onset_s).sum() for trial in trials], dtype=np.float64)
    return [
        *_edges(trials),
        ("go_cue_time_array", "time when the go cue is given", _up_to_four(trials, "go_cue_s")),
        ("num_targets", "number of targets", np.full(len(trials), RT_TARGETS, dtype=np.uint8)),
        ("num_attempted", "number of attempted targets", attempted),
        _result(trials),
        ("target_id", "target id", _up_to_four(trials, "target_id")),
        ("target_dir", "target direction", _first(trials, "target_dir")),
        ("target_size", "target size", np.full(len(trials), 2 * TARGET_HALF_WIDTH_CM)),
    ]


def maze_columns(trials: Sequence[Trial], rng: np.random.Generator) -> list[Column]:
    """Return the trial columns of layout 000070 that have one value per trial.

    Parameters
    ----------
    trials
        Trials of the table.
    rng
        Chooses the trials that are to be discarded.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Pace, write_script
    >>> rng = np.random.default_rng(0)
    >>> script = write_script(SimulateSettings(n_trials=3), rng, pace=Pace())
    >>> [name for name, _, _ in maze_columns(script.trials, rng)][2:5]
    ['target_presentation_time', 'go_cue_time', 'reaction_time']
    """
    success = np.array([trial.result == "R" for trial in trials], dtype=np.uint8)
    discard = (rng.random(len(trials)) < 0.02).astype(np.uint8)
    onset, go_cue = _first(trials, "onset_s"), _first(trials, "go_cue_s")
    shown = np.nan_to_num(_first(trials, "target_id"))
    hit = np.where(success[:, None] == 1, np.nan_to_num(_first_target(trials)), 0.0)
    none = np.zeros(len(trials), dtype=np.uint8)
    return [
        *_edges(trials),
        ("target_presentation_time", "time of target presentation", _first(trials, "target_on_s")),
        ("go_cue_time", "time of go cue", go_cue),
        ("reaction_time", "reaction time", np.round(onset - go_cue, 3)),
        ("move_begins_time", "movement onset time", onset),
        ("move_ends_time", "movement stop time", _first(trials, "move_end_s")),
        ("discard_trial", "1 if there was a problem during the trial", discard),
        ("task_success", "indicates whether the monkey was successful on this trial", success),
        ("trial_type", "trial type", shown.astype(np.uint8)),
        ("hit_target_position", "x,y position on screen of the target hit", _whole_mm(hit)),
        ("target_size", "half width of the targets", none + np.uint8(MM_PER_CM * TARGET_HALF_WIDTH_CM)),
        ("correct_reach", "whether the reach looked like the others of its condition", success),
        ("trial_version", "0 for a random maze", none + np.uint8(1)),
        ("maze_condition", "number of the maze", shown.astype(np.uint8) + np.uint8(1)),
        ("novel_maze", "novel maze", none),
        ("proto_trial", "whether the trial was the prototype of its condition", none),
        ("maze_num_barriers", "number of barriers presented", none + np.uint8(1)),
        ("maze_num_targets", "number of targets presented", none + np.uint8(1)),
    ]


def benchmark_columns(trials: Sequence[Trial], rng: np.random.Generator) -> list[Column]:
    """Return the trial columns of layout nlb that have one value per trial.

    Parameters
    ----------
    trials
        Trials of the table, all of them successful.
    rng
        Splits the trials into ``train`` and ``val``.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Pace, write_script
    >>> rng = np.random.default_rng(0)
    >>> script = write_script(SimulateSettings(n_trials=3, failure_rate=0), rng, pace=Pace())
    >>> [name for name, _, _ in benchmark_columns(script.trials, rng)][2:5]
    ['target_on_time', 'go_cue_time', 'move_onset_time']
    """
    go_cue, onset = _first(trials, "go_cue_s"), _first(trials, "onset_s")
    target_on = _first(trials, "target_on_s")
    target = _first(trials, "target_id").astype(np.int64)
    is_val = rng.random(len(trials)) < 0.2
    none = np.zeros(len(trials), dtype=np.int64)
    return [
        *_edges(trials),
        ("target_on_time", "Time of target presentation", target_on),
        ("go_cue_time", "Time of go cue delivery", go_cue),
        ("move_onset_time", "Time of movement onset", onset),
        ("rt", "Delay between go cue and movement onset, in ms", _whole_ms(onset - go_cue)),
        ("delay", "Delay between target presentation and go cue, in ms", _whole_ms(go_cue - target_on)),
        ("success", "If the monkey was successful on the trial", np.ones(len(trials), dtype=np.bool_)),
        ("trial_type", "A number representing the maze configuration", target),
        ("trial_version", "1 is 1-target with barriers", none + 1),
        ("maze_id", "A unique identifier for each maze", target + 1),
        ("num_targets", "The number of targets for the trial", none + 1),
        ("active_target", "Which target is reachable and was hit", none),
        ("num_barriers", "The number of barriers for the trial", none + 1),
        ("split", "Trial split that the trial belongs to", np.where(is_val, "val", "train").astype(object)),
    ]


def run_columns(trials: Sequence[Trial]) -> list[Column]:
    """Return the trial columns of a session of a dynamical system: edges of the runs, and the hand's onset.

    Parameters
    ----------
    trials
        Trials of the table.

    Examples
    --------
    >>> [name for name, _, _ in run_columns([Trial(start_s=1.0, stop_s=3.0, onset_s=[1.1])])]
    ['start_time', 'stop_time', 'move_onset_time']
    """
    onset = np.array([trial.onset_s[0] for trial in trials])
    return [*_edges(trials), ("move_onset_time", "time when the hand begins to follow the run", onset)]


def _edges(trials: Sequence[Trial]) -> list[Column]:
    return [
        ("start_time", "Start time of epoch, in seconds", np.array([trial.start_s for trial in trials])),
        ("stop_time", "Stop time of epoch, in seconds", np.array([trial.stop_s for trial in trials])),
    ]


def _result(trials: Sequence[Trial]) -> Column:
    results = np.array([trial.result for trial in trials], dtype=object)
    return "result", "trial outcome, R: reward, A: abort, F: fail, I: incomplete", results


def _first(trials: Sequence[Trial], event: str) -> FloatArray:
    """First entry of an event list, NaN where it is empty. Shape ``(n_trials,)``."""
    return _up_to_four(trials, event)[:, 0]


def _up_to_four(trials: Sequence[Trial], event: str) -> FloatArray:
    """Entries of an event list, NaN beyond its end. Shape ``(n_trials, 4)``."""
    table = np.full((len(trials), RT_TARGETS), np.nan)
    for row, trial in zip(table, trials, strict=True):
        entries = getattr(trial, event)
        row[: len(entries)] = entries
    return table


def _first_target(trials: Sequence[Trial]) -> FloatArray:
    """Place of the first target in cm, NaN where none was shown. Shape ``(n_trials, 2)``."""
    return np.array([trial.target_cm[0] if trial.target_cm else (np.nan, np.nan) for trial in trials])


def target_places(trials: Sequence[Trial]) -> list[NDArray[Any]]:
    """Return where the targets of each trial are, mm.

    Parameters
    ----------
    trials
        Trials of the table.

    Returns
    -------
    places
        One array per trial, each of shape ``(n_targets, 2)``, int16.

    Examples
    --------
    >>> trial = Trial(start_s=0.0)
    >>> trial.show(3, np.array([0.0, 8.0]), hand_cm=np.zeros(2), at_s=0.5)
    >>> target_places([trial])[0].tolist()
    [[0, 80]]
    """
    return [_whole_mm(np.reshape(trial.target_cm, (-1, 2))) for trial in trials]


def _whole_mm(place_cm: FloatArray) -> NDArray[np.int16]:
    return np.round(MM_PER_CM * place_cm).astype(np.int16)


def _whole_ms(span_s: FloatArray) -> IntArray:
    return np.round(1000 * span_s).astype(np.int64)
