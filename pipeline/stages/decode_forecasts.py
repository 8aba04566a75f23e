"""Forecasts of hand velocity in `pipeline run decode`: of runs, their ensembles, baselines beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.forecast_sources import (
    EnsembleMembers,
    baseline_forecasts,
    ensemble_of,
    foresight,
)
from nwb_latents.pipeline.stages.given_trials import require_no_more
from nwb_latents.schemas.events import NoteEvent, RunEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
    from nwb_latents.pipeline.evaluation.decoding.session_decoder import DecodedSignal
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast
    from nwb_latents.pipeline.stages.given_trials import Given
    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stages.trained_runs import Failures
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.decoding import DecodeSettings


@dataclass(frozen=True)
class ForecastPlan:
    """What forecasts are asked for beside those of runs.

    Attributes
    ----------
    beside
        Baselines that get a column of their own.
    members
        What runs are averaged with.
    """

    beside: Sequence[Baseline] = ()
    members: EnsembleMembers = field(default_factory=EnsembleMembers)


@dataclass
class SessionForecasts:
    """Forecasts of one session, each made once.

    Attributes
    ----------
    session
        All its trials.
    task
        Its test trials and what may be seen of them.
    settings
        Of the decoding.
    plan
        What is asked for.
    trained
        Runs that are loaded, by name.
    failures
        Told of what fails.
    given
        A few trials that runs were given; None: the whole training split.
    made
        Forecasts so far, by baseline or run.
    """

    session: Session
    task: ForecastTask
    settings: DecodeSettings
    plan: ForecastPlan
    trained: Mapping[str, TrainedRun]
    failures: Failures
    given: Given | None = None
    made: dict[str, SourceForecast] = field(default_factory=dict)

    def of_baselines(self) -> list[DecodedSignal]:
        """Return the forecasts that stand beside those of runs, scored; make those of ensembles too."""
        from nwb_latents.schemas.baselines import BaselineSettings  # noqa: PLC0415

        chosen = BaselineSettings()
        wanted = {each.name: each for each in (*self.plan.beside, *self.plan.members.baselines)}
        self.made |= baseline_forecasts(
            self.task,
            list(wanted.values()),
            chosen if self.given is None else self.given.fewer_folds(chosen),
            failures=self.failures,
        )
        return self._signals(self.made[each.name] for each in self.plan.beside if each.name in self.made)

    def of_run(self, name: str, run: TrainedRun) -> list[DecodedSignal]:
        """Return the forecast of a run and, where it is asked for, its mean with others, scored."""
        own = self._forecast_of(name, run)
        for member in self.plan.members.runs:
            if member.run in self.trained and self.session.name in member.sessions:
                self._member(member.run, beside=name)
        mean = ensemble_of(self.task, own, self.plan.members, self.made, failures=self.failures)
        return self._signals([own, *([] if mean is None else [mean])])

    def _member(self, name: str, *, beside: str) -> None:
        """Make the forecast of a run that `beside` is averaged with, if both know the same trials."""
        run, session = self.trained[name], self.session.name
        trials = () if self.given is None else self.given.trials
        try:
            require_no_more(trials, run, session=session, beside=beside)
        except DataError as error:
            event = RunEvent(run=name, session=session, status="failed")
            self.failures.add(error, event=event, name=f"ensemble of {beside} on {session}")
            return
        self._forecast_of(name, run)

    def _forecast_of(self, name: str, run: TrainedRun) -> SourceForecast:
        if name not in self.made:
            self.made[name] = self.task.of_run(foresight(run, self.session, self.task), run=name)
        return self.made[name]

    def _signals(self, made: Iterable[SourceForecast]) -> list[DecodedSignal]:
        from nwb_latents.pipeline.evaluation.decoding.forecast_signal import as_signal  # noqa: PLC0415

        found = (as_signal(self.task, each, self.settings) for each in made)
        return [each for each in found if each is not None]


def session_forecasts(
    session: Session,
    settings: DecodeSettings,
    plan: ForecastPlan,
    *,
    trained: Mapping[str, TrainedRun],
    failures: Failures,
    report: Report,
    given: Given | None = None,
) -> SessionForecasts:
    """Lay a session ready to be forecast.

    Parameters
    ----------
    session
        All its trials.
    settings
        Of the decoding.
    plan
        What is asked for.
    trained
        Runs that are loaded, by name.
    failures, report
        Told of what fails, and of what there cannot be.
    given
        A few trials that runs were given, which are the training trials of the session; None: all are.

    Raises
    ------
    DataError
        If there are too few training trials, or none to test on.
    """
    from nwb_latents.pipeline.evaluation.decoding.forecast_signal import forecast_settings  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.forecasting.conformal import why_lower  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import prepare_forecast  # noqa: PLC0415

    task = prepare_forecast(session, forecast_settings(settings), given_few=given is not None)
    if task.velocity is None:
        text = (
            f"{session.name}: fewer than {settings.folds} training trials have a recorded velocity at every "
            "bin ahead, so that no forecast of velocity is read out"
        )
        report(NoteEvent(session=session.name, text=text))
    elif not len(task.val) and given is None:
        report(NoteEvent(session=session.name, text=f"{session.name}: {why_lower(None)}"))
    return SessionForecasts(session, task, settings, plan, trained, failures, given)
