"""What a reading chose beyond single columns: series, where trials come from, onsets, conditions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.tables import Table
from nwb_latents.pipeline.signals.conditions import directions

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.kinematics import Kinematics
    from nwb_latents.pipeline.signals.recording import TrialTable
    from nwb_latents.schemas.recipe import IngestRecipe

TRIALS = "intervals/trials"

SPEED = "the speed"
"""Value of the choice ``trials`` where reaches are found from it."""

STORED = "stored times"
"""Value of the choice ``onset`` where the file's onsets are used."""

_OF_TARGETS = re.compile(r"(target|tgt)(?!_?(on|show|appear|present|cue|display|time))|direction|angle|cond")

ACROSS = 0.2
"""Sine of the angle between a line and a direction that does not lie along it."""

DERIVATIVE = "the derivative of the position"
"""Value of the choice ``velocity`` where there is no series of it, or none is wanted."""


def note_series(
    file: NwbFile, recipe: IngestRecipe, *, position: tuple[str, ...], velocity: tuple[str, ...]
) -> None:
    """Note which series position and velocity are read from, unless that was noted where they were found.

    Parameters
    ----------
    file
        The open file.
    recipe
        May name series.
    position, velocity
        Paths; several are columns of one series; none: there is none.
    """
    if recipe.velocity_from == "position":
        file.withdraw("velocity")
        velocity = ()
    for what, paths, named in (
        ("position", position, recipe.position_series),
        ("velocity", velocity, recipe.velocity_series),
    ):
        if paths and not any(choice.what == what for choice in file.choices):
            why = f"named by {what}_series" if named else "the path the layout knows"
            file.choose(what, " + ".join(f"/{path}" for path in paths), why)
    if position and not velocity and not any(choice.what == "velocity" for choice in file.choices):
        is_wanted = recipe.velocity_from == "position"
        file.choose(
            "velocity", DERIVATIVE, "velocity_from is position" if is_wanted else "there is no series of it"
        )


def note_trials(file: NwbFile, recipe: IngestRecipe, trials: TrialTable | None) -> None:
    """Note where trials, onsets and conditions come from.

    Parameters
    ----------
    file
        The open file.
    recipe
        Onset rule.
    trials
        The trial table as it was read; None: reaches are found from the speed.
    """
    if recipe.chop.enabled:
        file.choose("trials", "windows of continuous time", "chop.enabled is true")
        return
    if trials is None:
        source = recipe.trials.source
        why = "trials.source is speed" if source == "speed" else "there is no trial table with rows"
        file.choose("trials", SPEED, why)
        by_rise = recipe.onset.method in {"auto", "column", "profile", "peak_fraction"}
        rise = "where the speed begins to rise to a peak" if by_rise else recipe.onset.method
        file.choose("onset", rise, "reaches are found from the speed")
        if recipe.onset.method == "profile":
            file.say(
                "onset.method is profile, which needs trials of a table: onsets of reaches found from the "
                "speed are where it begins to rise (reaches.onset_fraction)"
            )
        file.choose("condition", "octants of the movement", "reaches have no targets")
        return
    where = f"/{file.trials_path}" if file.has(file.trials_path) else "as the layout reads them"
    file.choose("trials", where, f"{len(trials)} row{'s' * (len(trials) != 1)}")
    _note_onset(file, recipe, trials)
    if (trials.condition != "").any():
        if not any(choice.what == "condition" for choice in file.choices):
            file.choose("condition", "as the table names them", "the layout reads them")
    elif np.isfinite(trials.target_dir).any():
        _note_directions(file, recipe, trials)
    else:
        named = [name for name in Table(file, file.trials_path).names if _OF_TARGETS.search(name.lower())]
        why = "the table says nothing of targets"
        if named:
            why = (
                f"no direction, position or condition was read from {', '.join(named[:4])}; "
                f"columns.condition={named[0]} names conditions by its values"
            )
        file.choose("condition", "octants of the movement", why)


def note_other_tables(file: NwbFile) -> None:
    """Note tables of intervals that hold rows and were not read: events may stand in one of their own."""
    others = []
    for path in file.tree.groups("intervals"):
        is_read = path == file.trials_path or any(name.startswith(f"{path}/") for name in file.opened)
        shape = file.shape(f"{path}/start_time")
        if path.count("/") == 1 and not is_read and shape and shape[0]:
            others.append(f"/{path} ({shape[0]} rows)")
    if others:
        file.choose(
            "other tables", ", ".join(others[:4]), "not read; their events can be added to the trials"
        )


def note_axes(file: NwbFile, moved_by: Kinematics, trials: TrialTable | None) -> None:
    """Say where targets lie in directions that the one axis of the kinematics cannot show.

    Parameters
    ----------
    file
        The open file.
    moved_by
        Position and velocity.
    trials
        The trial table as it was read; None: reaches are found from the speed.
    """
    series = moved_by.position or moved_by.velocity
    if series is None or series.values.shape[1] > 1 or trials is None:
        return
    angles = trials.target_dir[np.isfinite(trials.target_dir)]
    if not (np.abs(np.sin(angles)) > ACROSS).any():
        return
    path = (moved_by.position_series or moved_by.velocity_series or ("",))[0]
    file.say(
        f"/{path} has one column, but targets lie in {len(np.unique(np.round(angles, 2)))} directions: one "
        "axis of the movement is known alone, and reaches across it show no speed; name a series of both "
        "with --set position_series=PATH, or a column each with --set position_series=PATH+PATH"
    )


def _note_directions(file: NwbFile, recipe: IngestRecipe, trials: TrialTable) -> None:
    tolerance = recipe.columns.tolerance_deg
    if directions(trials.target_dir, tolerance_rad=np.deg2rad(tolerance)) is not None:
        file.choose("condition", "directions of the targets", f"those within {tolerance:g}° are one")
        return
    known = trials.target_dir[np.isfinite(trials.target_dir)]
    n = len(np.unique(known.round(6)))
    file.choose(
        "condition", "octants of the target directions",
        f"{n} directions in {len(known)} trials are no few targets; columns.tolerance_deg joins neighbours, "
        "columns.condition names a column",
    )  # fmt: skip


def _note_onset(file: NwbFile, recipe: IngestRecipe, trials: TrialTable) -> None:
    given, method = trials.events.get("move_onset"), recipe.onset.method
    n_given = 0 if given is None else int(np.isfinite(given).sum())
    if method == "column" or (method == "auto" and n_given):
        file.choose("onset", STORED, f"{n_given} of {len(trials)} trials have one")
    elif method == "auto":
        file.choose("onset", "profile", "no stored onsets: it is found from the speed")
    else:
        file.choose("onset", method, f"onset.method is {method}")
