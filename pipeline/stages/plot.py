"""``pipeline plot``: pictures of what a catalog holds, from stores, runs and kept measurements."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import MachineError, UsageError
from nwb_latents.pipeline.stages import plot_figures
from nwb_latents.pipeline.stages.picture_folder import note_settings, of_sessions, settings_folder
from nwb_latents.pipeline.stages.report import Report, ignore, noted
from nwb_latents.pipeline.stages.trained_runs import FAILURES, Failures, choose, named_runs
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.schemas.events import PictureEvent
from nwb_latents.schemas.pictures import PictureSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.pictures import PlotSettings
    from nwb_latents.schemas.training import Device

KINDS: dict[str, str] = {
    "raster": "spikes of some units in every trial, by condition",
    "psth": "mean rates of some units in each condition, with intervals",
    "onsets": "how movement onsets were found, speed around them, reaction times",
    "session-quality": "units, rates over the session, what was left out, flags",
    "latents": "a run's latent states: trajectories and components over time",
    "velocity": "decoded on recorded velocity of some test trials",
    "paths": "hand paths of all test trials, recorded and decoded",
    "forecast": "R² of a run's forecasts step by step, as measured",
    "training": "training curves of runs, together",
    "few-shot": "R² of a run's alignments by the number of trials given, as measured",
    "scores": "R² of velocity of every session and source, as measured",
}
"""What can be drawn, and what it shows."""

OF_SESSIONS = ("raster", "psth", "onsets", "session-quality")
OF_BOTH = ("latents", "velocity", "paths")


@dataclass(frozen=True)
class Plan:
    """One picture to draw: its name, and how."""

    name: str
    draw: Callable[[], Any]


@dataclass(frozen=True)
class Asked:
    """What was asked for."""

    catalog_path: Path
    kind: str
    settings: PlotSettings
    sessions: Sequence[str]
    runs: Sequence[str]
    recipe_id: str | None
    device: Device
    report: Report


def plot(
    catalog_path: Path,
    kind: str,
    settings: PlotSettings,
    *,
    sessions: Sequence[str] = ("*",),
    runs: Sequence[str] = (),
    recipe_id: str | None = None,
    device: Device = "auto",
    pictures: PictureSettings | None = None,
    report: Report | None = None,
) -> list[Path]:
    """Draw what a catalog holds into files.

    They go into ``results/plot/<recipe>/<kind>-<digest>/`` beside the catalog, a folder for each choice of
    settings, which are kept there in ``settings.yaml``; the same command again replaces its own.

    Parameters
    ----------
    catalog_path
        Catalog file.
    kind
        One of `KINDS`.
    settings
        Units, trials, lag.
    sessions
        Shell patterns for session ids.
    runs
        Names of runs; default: all that know a session, or, of velocities, none: recorded rates alone.
    recipe_id
        Recipe of the stores, or its beginning; default: that of `runs`, else that of the matching session
        ingested last.
    device
        Where models run; auto: a GPU if there is one.
    pictures
        Formats and resolution; default: PNG of 300 dots per inch.
    report
        Called with one event per picture.

    Returns
    -------
    files
        Those that were written.

    Raises
    ------
    UsageError
        If there is no such kind.
    DataError
        If no session or run matches, or there is nothing to draw.
    SettingsError
        If a setting does not fit.
    PartialFailure
        If some pictures could not be drawn; it carries the files of the others.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise UsageError(f"plot {kind}: expected one of {', '.join(KINDS)}{hint}")
    asked = Asked(catalog_path, kind, settings, sessions, runs, recipe_id, device, report or ignore)
    chosen, failures = pictures or PictureSettings(), Failures(asked.report)
    of_recipe, plans = _plans(asked)
    folder = catalog_path.parent / "results" / "plot" / path_name(of_recipe) / settings_folder(kind, settings)
    files: list[Path] = []
    for plan in plans:
        try:
            files += _written(plan, folder, chosen, asked)
        except MachineError:
            raise
        except FAILURES as error:
            event = PictureEvent(kind=kind, name=plan.name, status="failed")
            failures.add(error, event=event, name=plan.name)
    if files:
        note_settings(folder, settings)
    if failures.found:
        raise failures.error(
            f"{len(failures.found)} pictures could not be drawn, {len(files)} files were.", files
        )
    return files


def _written(plan: Plan, folder: Path, pictures: PictureSettings, asked: Asked) -> list[Path]:
    from nwb_latents.pipeline.evaluation.figures.saving import save_figure  # noqa: PLC0415

    files = save_figure(plan.draw(), folder / f"{plan.name}.png", pictures)
    asked.report(PictureEvent(kind=asked.kind, name=plan.name, paths=tuple(str(file) for file in files)))
    return files


def _plans(asked: Asked) -> tuple[str, list[Plan]]:
    """Return the recipe and the pictures to draw."""
    if asked.kind in OF_SESSIONS:
        entries = _entries(asked)
        return entries[0].recipe_id, [_of_session(asked, entry) for entry in entries]
    if asked.kind in OF_BOTH:
        return _of_both(asked)
    return _of_runs(asked)


def _entries(asked: Asked) -> list[SessionEntry]:
    catalog = read_catalog(asked.catalog_path)
    return select_sessions(catalog, asked.sessions, asked.recipe_id, say=noted(asked.report))


def _of_session(asked: Asked, entry: SessionEntry) -> Plan:
    path, settings = asked.catalog_path, asked.settings
    draw: dict[str, Callable[[], Any]] = {
        "raster": lambda: plot_figures.raster(path, entry, settings),
        "psth": lambda: plot_figures.psth(path, entry, settings),
        "onsets": lambda: plot_figures.onsets(path, entry),
        "session-quality": lambda: plot_figures.session_quality(path, entry),
    }
    return Plan(path_name(entry.session), draw[asked.kind])


def _of_both(asked: Asked) -> tuple[str, list[Plan]]:
    """Return a picture for each session and run; of velocities without runs, one for each session."""
    catalog = read_catalog(asked.catalog_path)
    if asked.kind != "latents" and not asked.runs:
        entries = _entries(asked)
        return entries[0].recipe_id, [_of_pair(asked, entry, None) for entry in entries]
    entries, runs = choose(catalog, asked.runs, asked.sessions, asked.recipe_id, report=asked.report)
    if not runs:
        raise UsageError(
            f"plot {asked.kind}: no run was trained on these sessions. Train one with `pipeline run "
            "train`, or choose other sessions."
        )
    pairs = [(entry, run) for run in runs for entry in entries if entry.session in run.sessions]
    return entries[0].recipe_id, [_of_pair(asked, entry, run) for entry, run in pairs]


def _of_pair(asked: Asked, entry: SessionEntry, run: RunEntry | None) -> Plan:
    path, settings, device = asked.catalog_path, asked.settings, asked.device
    name = "_".join(path_name(part) for part in (entry.session, run.run if run else "") if part)

    def draw() -> Any:
        if asked.kind == "latents" and run is not None:
            return plot_figures.latents(path, entry, run, settings, device=device)
        of_run = None if run is None else run.run
        decoded = plot_figures.decoded_for(path, entry, of_run, settings, device=device, report=asked.report)
        return {"velocity": plot_figures.velocity, "paths": plot_figures.paths}[asked.kind](decoded, of_run)

    return Plan(name, draw)


def _of_runs(asked: Asked) -> tuple[str, list[Plan]]:
    """Return the pictures of runs and of kept measurements."""
    path, settings = asked.catalog_path, asked.settings
    catalog = read_catalog(path)
    if asked.kind == "scores":
        recipe_id = _entries(asked)[0].recipe_id
        return recipe_id, [Plan("scores", lambda: plot_figures.scores(path, settings, recipe_id))]
    wanted = named_runs(catalog, list(asked.runs)) or [
        run
        for run in catalog.runs.values()
        if run.alignment is None and (asked.recipe_id is None or run.recipe_id.startswith(asked.recipe_id))
    ]
    if not wanted:
        raise UsageError(f"plot {asked.kind}: the catalog has no run. Train one with `pipeline run train`.")
    if asked.kind == "training":
        known = [run.run for run in catalog.runs.values() if run.alignment is None]
        name = of_sessions("runs", [run.run for run in wanted], known=known).replace("sessions", "runs")
        return wanted[0].recipe_id, [Plan(name, lambda: plot_figures.training(path, wanted))]
    entries = select_sessions(catalog, asked.sessions, wanted[0].recipe_id, say=noted(asked.report))
    chosen = () if tuple(asked.sessions) == ("*",) else tuple(entry.session for entry in entries)

    def planned(run: RunEntry) -> Plan:
        name = of_sessions(path_name(run.run), chosen or run.sessions, known=run.sessions)
        if asked.kind == "forecast":
            return Plan(name, lambda: plot_figures.forecast(path, run, chosen))
        return Plan(name, lambda: plot_figures.few_shot(path, run, chosen, settings))

    if asked.kind == "few-shot" and not asked.runs:
        parents = {run.alignment.parent for run in catalog.runs.values() if run.alignment is not None}
        wanted = [run for run in wanted if run.run in parents] or wanted
    return wanted[0].recipe_id, [planned(run) for run in wanted]
