"""What the stages that forecast share: forecasts of runs and baselines, and the ensembles asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.trained_runs import matching_runs, named_runs
from nwb_latents.schemas.events import SourceEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
    from nwb_latents.pipeline.evaluation.forecasting.foreseen import Foreseen
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast
    from nwb_latents.pipeline.stages.trained_runs import Failures
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.baselines import BaselineSettings
    from nwb_latents.schemas.catalog import Catalog, RunEntry, SessionEntry

    Foresee = Callable[[NDArray[np.int64]], Foreseen]


@dataclass(frozen=True)
class EnsembleMembers:
    """What runs are averaged with.

    Attributes
    ----------
    names
        In the order asked for; empty: no ensemble.
    baselines
        Those of the names that are baselines.
    runs
        Those that are runs.
    """

    names: tuple[str, ...] = ()
    baselines: Sequence[Baseline] = ()
    runs: Sequence[RunEntry] = field(default_factory=list)


def ensemble_members(names: Sequence[str], catalog: Catalog, entries: list[SessionEntry]) -> EnsembleMembers:
    """Return the baselines and runs that an ensemble is asked for of.

    Parameters
    ----------
    names
        Of baselines that forecast, and of runs.
    catalog
        Its runs may be named.
    entries
        Sessions to forecast, of one recipe.

    Raises
    ------
    DataError
        If a run was trained on none of the sessions.
    SettingsError
        If there is nothing of a name, or a baseline does not forecast.
    """
    from nwb_latents.pipeline.evaluation.baselines.known import baselines_by_name  # noqa: PLC0415

    asked = tuple(dict.fromkeys(names))
    if not asked:
        return EnsembleMembers()
    known = {name: each for name, each in baselines_by_name().items() if each.forecast is not None}
    unknown = [name for name in asked if name not in known and name not in catalog.runs]
    if unknown:
        raise SettingsError(
            f"ensemble: there is no forecast called {unknown[0]!r}; a run is averaged with baselines that "
            f"forecast ({', '.join(known)}) and with runs of the catalog "
            f"({', '.join(sorted(catalog.runs)) or 'there are none'})."
        )
    runs = named_runs(catalog, [name for name in asked if name not in known])
    if runs:
        matching_runs(catalog, runs, entries)
    return EnsembleMembers(asked, [known[name] for name in asked if name in known], runs)


def runs_that_know(
    entries: Sequence[SessionEntry], runs: Sequence[RunEntry], members: EnsembleMembers
) -> list[RunEntry]:
    """Return the runs that know one of the sessions, and those they are averaged with, each once."""
    known = {entry.session for entry in entries}
    every = {run.run: run for run in (*runs, *members.runs)}
    return [run for run in every.values() if known & set(run.sessions)]


def foresight(run: TrainedRun, session: Session, task: ForecastTask, *, is_leaky: bool = False) -> Foresee:
    """Return a function from positions of trials to what a run foresees of them, each computed once.

    Parameters
    ----------
    run
        A run that knows the session.
    session
        All its trials.
    task
        Says how many bins are shown and forecast.
    is_leaky
        Whether the run is shown recorded rates, as in the literature.
    """
    made: dict[bytes, Foreseen] = {}
    asked = {"leaky": True} if is_leaky else {}

    def foresee(rows: NDArray[np.int64]) -> Foreseen:
        key = rows.tobytes()
        if key not in made:
            made[key] = run.foresee(
                session.select(rows), seen_bins=task.settings.seen_bins, n_bins=task.settings.bins, **asked
            )
        return made[key]

    return foresee


def baseline_forecasts(
    task: ForecastTask,
    baselines: Sequence[Baseline],
    settings: BaselineSettings,
    *,
    failures: Failures,
) -> dict[str, SourceForecast]:
    """Return what baselines forecast, by their names; one that fails does not stop the others."""
    made: dict[str, SourceForecast] = {}
    for baseline in baselines:
        try:
            found = task.of_baseline(baseline, settings)
        except MachineError:
            raise
        except Exception as error:
            event = SourceEvent(source=baseline.name, session=task.session, status="failed")
            failures.add(error, event=event, name=f"{baseline.name} on {task.session}")
            continue
        if found is not None:
            made[baseline.name] = found
    return made


def ensemble_of(
    task: ForecastTask,
    own: SourceForecast,
    members: EnsembleMembers,
    others: Mapping[str, SourceForecast],
    *,
    failures: Failures,
) -> SourceForecast | None:
    """Return a run's forecast averaged with others; None where none is asked for, or where it cannot be had.

    Parameters
    ----------
    task
        The session.
    own
        Forecast of the run.
    members
        What it is averaged with.
    others
        Forecasts of baselines and runs by their names.
    failures
        Told why it cannot be had.
    """
    names = [name for name in members.names if name != own.run]
    if not names or own.velocity is None:
        return None
    event = SourceEvent(source="ensemble", session=task.session, status="failed")
    try:
        missing = [name for name in names if name not in others or others[name].velocity is None]
        if missing:
            raise DataError(
                f"{task.session}: {missing[0]} forecasts no velocity of this session, so that {own.run} "
                "cannot be averaged with it. Leave it out of --set ensemble, or the session."
            )
        return task.ensemble([own, *(others[name] for name in names)])
    except MachineError:
        raise
    except Exception as error:
        failures.add(error, event=event, name=f"ensemble of {own.run} on {task.session}")
        return None
