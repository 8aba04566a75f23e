"""The runs of a report: their settings and losses, and what their models make of some sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.report.content import Json, Missing, RunPart
from nwb_latents.pipeline.evaluation.report.flat_settings import flat_settings
from nwb_latents.pipeline.evaluation.report.run_arrays import loss_curves
from nwb_latents.pipeline.stages.report_models import model_arrays
from nwb_latents.pipeline.stages.stale_runs import why_runs_are_stale
from nwb_latents.pipeline.stages.trained_runs import FAILURES, words_of
from nwb_latents.schemas.events import ProgressEvent

if TYPE_CHECKING:
    from nwb_latents.pipeline.stages.report_asked import ReportWork
    from nwb_latents.schemas.catalog import RunEntry

_LOSSES = ("loss", "val_loss", "best_val_loss")


def run_parts(work: ReportWork) -> tuple[RunPart, ...]:
    """Return what is shown of each run. What cannot be had of one is said, and ends nothing.

    Parameters
    ----------
    work
        What was asked for, with what the stores say; what the runs were made with is added to it.
    """
    why = why_runs_are_stale(work.catalog_path, work.catalog)
    found = []
    for number, run in enumerate(work.runs, start=1):
        found.append(_part(work, run, why.get(run.run)))
        work.report(ProgressEvent(stage="report", run=run.run, step=number, total=len(work.runs)))
    return tuple(found)


def _part(work: ReportWork, run: RunEntry, stale: str | None) -> RunPart:
    from nwb_latents.pipeline.training.run_files import (  # noqa: PLC0415
        METRICS,
        MissingModelError,
        read_config,
        read_metrics,
    )

    where = work.catalog_path.parent / run.path
    missing: list[Missing] = []
    fault, remedy = work.fault_words("runs", run.run)
    if fault:
        missing.append(Missing(f"The files of {run.run} are damaged", fault.rstrip("."), remedy))
    settings: dict[str, str] = {}
    arrays: Json = {
        "losses": {"curves": {}, "left_out": []},
        "sessions": {},
        "embedding": None,
        "left_out": [],
    }
    # Whose files these are is asked before any of them is shown.
    is_its_own = False
    try:
        config = read_config(where, run_key=run.run_key)
        if config is None:
            what = f"The settings and losses of {run.run}, and what its model makes"
            missing.append(Missing(what, "its config.yaml is gone", "Train it again"))
        else:
            is_its_own = True
            work.configs[run.run] = config
            settings = flat_settings(config.settings)
    except MissingModelError as error:
        is_its_own = True
        missing.append(Missing(f"The settings of {run.run}, and what its model makes", str(error)))
    except FAILURES as error:
        what = f"The settings and losses of {run.run}, and what its model makes"
        missing.append(Missing(what, words_of(error, run.run)[0]))
    if is_its_own:
        try:
            arrays["losses"] = loss_curves(read_metrics(where / METRICS))
        except FAILURES as error:
            missing.append(Missing(f"The losses of {run.run}", words_of(error, run.run)[0]))
    if run.run in work.configs and work.settings.run_sessions:
        sessions, embedding, lost = model_arrays(work, run)
        arrays["sessions"], arrays["embedding"] = sessions, embedding
        missing += lost
        drawn = len(sessions)
        if drawn < len(run.sessions):
            of = f"{drawn} of its {len(run.sessions)} sessions (run_sessions; --session chooses which)"
            arrays["left_out"] = [f"Latents, velocity and forecasts are drawn of {of}."]
    elif not work.settings.run_sessions:
        arrays["left_out"] = [
            "No model was loaded (run_sessions is 0): there are no latents and no velocity."
        ]
    work.missing += missing
    return RunPart(
        run=run.run,
        model=run.model,
        sessions=run.sessions,
        recipe_id=run.recipe_id,
        facts=_facts(run),
        stale=stale,
        settings=settings,
        missing=tuple(missing),
        arrays=arrays,
    )


def _facts(run: RunEntry) -> dict[str, str]:
    losses = [f"{name.replace('_', ' ')} {run.metrics[name]:.4g}" for name in _LOSSES if name in run.metrics]
    facts = {
        "model": run.model,
        "recipe": run.recipe_id,
        "steps": str(run.steps),
        "losses": ", ".join(losses),
        "folder": run.path,
        "ended": run.created[:19],
        "key": run.run_key[:16],
    }
    if run.alignment:
        how = "from scratch beside" if run.alignment.from_scratch else "aligned from"
        facts["made"] = (
            f"{how} {run.alignment.parent}, {run.alignment.n_trials} trials, seed {run.alignment.seed}"
        )
    if run.imported:
        facts["made"] = f"imported from {run.imported.program}: {run.imported.source}"
    return {name: value for name, value in facts.items() if value}
