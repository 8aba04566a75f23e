"""``pipeline plot``: pictures of what a catalog holds, from stores, runs and kept measurements."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError, MachineError, UsageError
from nwb_latents.pipeline.stages import plot_figures
from nwb_latents.pipeline.stages.picture_folder import note_settings, of_sessions, settings_folder
from nwb_latents.pipeline.stages.report import Report, ignore, noted
from nwb_latents.pipeline.stages.trained_runs import FAILURES, Failures, choose, named_runs
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.schemas.events import PictureEvent, RunEvent
from nwb_latents.schemas.pictures import PictureSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nwb_latents.schemas.catalog import Catalog, RunEntry, SessionEntry
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

_SESSIONS, _RUNS = ("sessions", "recipe_id"), ("sessions", "runs", "recipe_id")

TAKES: dict[str, tuple[str, ...]] = {
    "raster": (*_SESSIONS, "units", "n_units", "split"),
    "psth": (*_SESSIONS, "units", "n_units", "split"),
    "onsets": _SESSIONS,
    "session-quality": _SESSIONS,
    "latents": (*_RUNS, "split", "device"),
    "velocity": (*_RUNS, "lag_ms", "decoder", "device"),
    "paths": (*_RUNS, "lag_ms", "decoder", "device"),
    "forecast": _RUNS,
    "training": ("runs", "recipe_id"),
    "few-shot": (*_RUNS, "lag_ms"),
    "scores": (*_RUNS, "lag_ms"),
}
"""Kind → what decides its picture; anything else that is given is refused."""

_OPTIONS = {
    "sessions": "--session",
    "runs": "--run",
    "recipe_id": "--recipe-id",
    "units": "--unit",
    "n_units": "--set n_units",
    "split": "--split",
    "lag_ms": "--lag-ms",
    "decoder": "--set decoder",
    "device": "--device",
}
"""How a command says each."""

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
    failures: Failures


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
        If there is no such kind, or something was asked for that its pictures do not depend on.
    DataError
        If no session or run matches, or there is nothing to draw.
    SettingsError
        If a setting does not fit.
    PartialFailure
        If some pictures, or runs of one, could not be drawn; it carries the files of the others.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise UsageError(f"plot {kind}: expected one of {', '.join(KINDS)}{hint}")
    chosen, failures = pictures or PictureSettings(), Failures(report or ignore)
    asked = Asked(catalog_path, kind, settings, sessions, runs, recipe_id, device, report or ignore, failures)
    _require_used(asked)
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
        what = "runs or pictures" if kind == "training" else "pictures"
        raise failures.error(
            f"{len(failures.found)} {what} could not be drawn, {len(files)} files were.", files
        )
    return files


def _require_used(asked: Asked) -> None:
    """Refuse what was asked for and would decide nothing."""
    given = {
        "sessions": tuple(asked.sessions) != ("*",),
        "runs": bool(asked.runs),
        "recipe_id": asked.recipe_id is not None,
        "device": asked.device != "auto",
        **dict.fromkeys(asked.settings.model_fields_set, True),
    }
    takes = TAKES[asked.kind]
    unused = [_OPTIONS[name] for name, is_given in given.items() if is_given and name not in takes]
    if unused:
        known = ", ".join(_OPTIONS[name] for name in takes)
        raise UsageError(
            f"plot {asked.kind}: {', '.join(unused)} decides nothing of this picture. It takes {known}, and "
            f"--format and --dpi. Leave {'it' if len(unused) == 1 else 'them'} out."
        )


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
    say = noted(asked.report)
    if asked.kind == "scores":
        return _of_scores(asked, catalog)
    named = named_runs(catalog, list(asked.runs))
    for run in named:
        _require_recipe(asked, run)
    wanted = named or [
        run
        for run in catalog.runs.values()
        if run.alignment is None and (asked.recipe_id is None or run.recipe_id.startswith(asked.recipe_id))
    ]
    if not wanted:
        raise UsageError(f"plot {asked.kind}: the catalog has no run. Train one with `pipeline run train`.")
    if asked.kind == "training":
        known = [run.run for run in catalog.runs.values() if run.alignment is None]
        name = of_sessions("runs", [run.run for run in wanted], known=known).replace("sessions", "runs")

        def failed(run: RunEntry, error: Exception) -> None:
            event = RunEvent(run=run.run, model=run.model, status="failed")
            asked.failures.add(error, event=event, name=run.run)

        def curves() -> Any:
            return plot_figures.training(path, wanted, say=say, failed=failed)

        return wanted[0].recipe_id, [Plan(name, curves)]
    entries = select_sessions(catalog, asked.sessions, wanted[0].recipe_id, say=say)
    chosen = () if tuple(asked.sessions) == ("*",) else tuple(entry.session for entry in entries)

    def planned(run: RunEntry) -> Plan:
        name = of_sessions(path_name(run.run), chosen or run.sessions, known=run.sessions)
        if asked.kind == "forecast":
            return Plan(name, lambda: plot_figures.forecast(path, run, chosen, say=say))
        return Plan(name, lambda: plot_figures.few_shot(path, run, chosen, settings, say=say))

    if asked.kind == "few-shot" and not asked.runs:
        parents = {run.alignment.parent for run in catalog.runs.values() if run.alignment is not None}
        wanted = [run for run in wanted if run.run in parents] or wanted
    return wanted[0].recipe_id, [planned(run) for run in wanted]


def _of_scores(asked: Asked, catalog: Catalog) -> tuple[str, list[Plan]]:
    """Return the picture of scores; of some sessions or runs, its name says so."""
    path, settings, name = asked.catalog_path, asked.settings, asked.kind
    entries, runs = choose(catalog, asked.runs, asked.sessions, asked.recipe_id, report=asked.report)
    recipe_id = entries[0].recipe_id
    sessions: tuple[str, ...] = ()
    if tuple(asked.sessions) != ("*",):
        sessions = tuple(entry.session for entry in entries)
        there = [each.session for each in catalog.sessions.values() if each.recipe_id == recipe_id]
        name = of_sessions(name, sessions, known=there)
    chosen = tuple(run.run for run in runs) if asked.runs else ()
    if chosen:
        known = [run.run for run in catalog.runs.values() if run.recipe_id == recipe_id]
        name += of_sessions("", chosen, known=known).replace("sessions", "runs")

    def draw() -> Any:
        say = noted(asked.report)
        return plot_figures.scores(path, settings, recipe_id, sessions=sessions, runs=chosen, say=say)

    return recipe_id, [Plan(name, draw)]


def _require_recipe(asked: Asked, run: RunEntry) -> None:
    if asked.recipe_id is not None and not run.recipe_id.startswith(asked.recipe_id):
        raise DataError(
            f"Run {run.run} is of recipe {run.recipe_id}, and --recipe-id {asked.recipe_id} was asked for. "
            "Leave out one of the two."
        )
