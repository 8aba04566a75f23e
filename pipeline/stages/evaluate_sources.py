"""What `pipeline run evaluate` measures: runs and baselines as sources of rates, forecasts and states."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.row_details import GIVEN
from nwb_latents.pipeline.stages.evaluate_days import made_without_the_day, states_of_early_days
from nwb_latents.pipeline.stages.forecast_sources import foresight
from nwb_latents.pipeline.stages.given_trials import given_to, require_no_more
from nwb_latents.pipeline.stages.run_facts import facts_of_baseline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast
    from nwb_latents.pipeline.evaluation.metrics.metric import Need, Part
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput
    from nwb_latents.pipeline.stages.forecast_sources import EnsembleMembers
    from nwb_latents.pipeline.stages.run_facts import Facts
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.baselines import BaselineSettings
    from nwb_latents.schemas.catalog import RunEntry

    MadeForecasts = dict[tuple[tuple[int, ...], str], SourceForecast]
    """By the few trials they know, none: the whole training split, and by the name of the source."""

    Deliver = Callable[[ScoredSession, Collection[Part]], SourceOutput]


@dataclass(frozen=True)
class Source:
    """A run or a baseline.

    Attributes
    ----------
    name
        Name of the run, or of the baseline.
    is_baseline
        Whether it is a baseline.
    facts
        What measurements say of it.
    deliver
        What it makes of a session, of the parts wanted.
    baseline_digest
        Digest of the settings of a baseline, and of what a run is averaged with; of an aligned run, that
        what is fitted beside it knows its trials alone; empty: any other run alone.
    is_ensemble
        Whether it is a run averaged with others, of whose forecast of velocity alone there are numbers.
    only
        Names of the metrics it can have of this session; None: all.
    """

    name: str
    is_baseline: bool
    facts: Facts
    deliver: Deliver
    baseline_digest: str = ""
    is_ensemble: bool = False
    only: frozenset[str] | None = None

    @property
    def place(self) -> str:
        """What tells it from every other source of a session."""
        return ensemble_place(self.name) if self.is_ensemble else self.name


def ensemble_place(run: str) -> str:
    """Return what tells the ensemble of a run from the run itself.

    Examples
    --------
    >>> ensemble_place("mdssm-1")
    'mdssm-1, ensemble'
    """
    return f"{run}, ensemble"


def run_source(run: RunEntry, facts: Facts, trained: Mapping[str, TrainedRun], made: MadeForecasts) -> Source:
    """Return a run as a source.

    Parameters
    ----------
    run
        Its entry in the catalog.
    facts
        What measurements say of it.
    trained
        Runs that are loaded, by name; looked at when the source is to deliver.
    made
        Forecasts of the session made so far; its own is added.
    """

    def deliver(session: ScoredSession, parts: Collection[Part]) -> SourceOutput:
        if run.run not in trained:
            raise DataError(f"Run {run.run} could not be read.")
        output = _made_by_run(trained[run.run], session, parts, made)
        if session.early is None or "latents" not in parts:
            return output
        return replace(output, early=states_of_early_days(run, trained, session))

    return Source(
        name=run.run,
        is_baseline=False,
        facts=facts,
        deliver=deliver,
        # Numbers of earlier versions had read-outs that knew more trials than the run.
        baseline_digest=GIVEN if run.alignment is not None else "",
    )


def stranger_source(run: RunEntry, facts: Facts, trained: Mapping[str, TrainedRun]) -> Source:
    """Return a run as a source on a day held out that it was never given.

    Parameters
    ----------
    run, facts, trained
        As for `run_source`.
    """
    from nwb_latents.pipeline.evaluation.metrics.held_out_days import LATENTS  # noqa: PLC0415

    def deliver(session: ScoredSession, parts: Collection[Part]) -> SourceOutput:
        del parts
        if run.run not in trained:
            raise DataError(f"Run {run.run} could not be read.")
        return made_without_the_day(run, trained[run.run], session)

    return Source(
        name=run.run,
        is_baseline=False,
        facts=facts,
        deliver=deliver,
        only=frozenset({LATENTS.name}),
    )


def baseline_source(baseline: Baseline, settings: BaselineSettings) -> Source:
    """Return a baseline as a source."""
    return Source(
        name=baseline.name,
        is_baseline=True,
        facts=facts_of_baseline(baseline.name),
        deliver=lambda session, parts: baseline.made_of(session, settings, parts=parts),
        baseline_digest=settings.digest()[:16],
    )


def ensemble_source(
    run: RunEntry,
    facts: Facts,
    members: EnsembleMembers,
    trained: Mapping[str, TrainedRun],
    made: MadeForecasts,
    *,
    settings: BaselineSettings,
) -> Source:
    """Return a run averaged with others as a source of its own.

    Parameters
    ----------
    run, facts, trained, made
        As in `run_source`.
    members
        What it is averaged with.
    settings
        What baselines among them choose from.
    """
    others = [name for name in members.names if name != run.run]
    called = " + ".join([facts.label, *(name.replace("_", " ") for name in others)])
    keys = [each.run_key for each in members.runs]
    few = [GIVEN] if run.alignment is not None else []
    said = "\0".join([*others, *keys, settings.digest()[:16], *few])
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]

    def deliver(session: ScoredSession, parts: Collection[Part]) -> SourceOutput:
        from nwb_latents.pipeline.evaluation.source_output import SourceOutput  # noqa: PLC0415

        task = session.forecast
        if task is None or "forecast" not in parts:
            return SourceOutput()
        unread = [name for name in (run.run, *others) if name not in trained and name not in known]
        if unread:
            raise DataError(f"Run {unread[0]} could not be read.")
        forecasts = [_forecast_of(trained[run.run], session, task, made)]
        for name in others:
            key = session.given, name
            if name not in known:
                require_no_more(session.given, trained[name], session=session.session.name, beside=run.run)
                forecasts.append(_forecast_of(trained[name], session, task, made))
                continue
            if key not in made:
                folds = min(settings.folds, len(session.given) or settings.folds)
                found = task.of_baseline(known[name], settings.model_copy(update={"folds": folds}))
                made[key] = _there(found, name)
            forecasts.append(made[key])
        if any(each.velocity is None for each in forecasts):
            return SourceOutput(forecast=replace(forecasts[0], velocity=None, rates=None))
        mean = task.ensemble(forecasts)
        told = str(mean.details["velocity"].get("told", ""))
        return SourceOutput(forecast=mean, told={"forecast": told} if told else {})

    known = {each.name: each for each in members.baselines}
    return Source(
        name=run.run,
        is_baseline=False,
        facts=replace(facts, label=called, group=f"{facts.group}+{digest}"),
        deliver=deliver,
        baseline_digest=digest,
        is_ensemble=True,
    )


def as_given(
    source: Source,
    session: ScoredSession,
    trained: Mapping[str, TrainedRun],
    few: dict[tuple[int, ...], ScoredSession],
) -> ScoredSession:
    """Return the session as a source was given it.

    Parameters
    ----------
    source
        A run that was given a few trials is measured beside what is fitted on these; any other source, beside
        what is fitted on the training split.
    session
        All trials of its store.
    trained
        Runs that are loaded, by name.
    few
        What is laid ready so far, by trials given; added to.
    """
    from nwb_latents.pipeline.evaluation.spike_task import SPLITS  # noqa: PLC0415

    if source.is_baseline or source.name not in trained:
        return session
    _, scored = SPLITS[session.settings.phase]
    given = given_to(trained[source.name], session.session, scored=scored, least=1)
    if given is None:
        return session
    if given.trials not in few:
        few[given.trials] = session.as_given(given.session, given.trials)
    return few[given.trials]


def _there(found: SourceForecast | None, name: str) -> SourceForecast:
    if found is None:
        raise DataError(f"{name} does not forecast, so that no run can be averaged with it.")
    return found


def _forecast_of(
    run: TrainedRun, session: ScoredSession, task: ForecastTask, made: MadeForecasts
) -> SourceForecast:
    key = session.given, run.name
    if key not in made:
        made[key] = task.of_run(foresight(run, session.session, task), run=run.name)
    return made[key]


def _made_by_run(
    run: TrainedRun,
    session: ScoredSession,
    parts: Collection[Part],
    forecasts: MadeForecasts,
) -> SourceOutput:
    from nwb_latents.pipeline.evaluation.baselines.rate_regression import RATE_FLOOR  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput  # noqa: PLC0415
    from nwb_latents.pipeline.training.spike_rates import reconstruct_parts, run_rates  # noqa: PLC0415

    answers, settings = session.answers, session.settings
    withheld = _withheld(run, session)
    rates = hertz = ahead = states = None
    if "reconstruction" in parts:
        hertz = reconstruct_parts(run, session.session, answers, seed=settings.seed)
        rates, _ = run_rates(
            run,
            session.session,
            answers,
            forward_bins=0 if "forward" in withheld else session.task.n_forward,
            floor=RATE_FLOOR,
            seed=settings.seed,
            reconstructed=hertz,
        )
    if "forecast" in parts and session.forecast is not None:
        ahead = _forecast_of(run, session, session.forecast, forecasts)
    if "latents" in parts:
        train, scored = (
            run.states(session.session.select(rows)).astype("float64")
            for rows in (answers.train_rows, answers.eval_rows)
        )
        states = train, scored
    return SourceOutput(
        rates=rates,
        rates_hz=None if hertz is None else hertz[1].astype("float64"),
        forecast=ahead,
        states=states,
        withheld=withheld,
    )


def _withheld(run: TrainedRun, session: ScoredSession) -> dict[Need, str]:
    """Return the needs of metrics a run cannot meet, and why."""
    from nwb_latents.pipeline.training.spike_rates import hides, why_no_forward  # noqa: PLC0415

    found: dict[Need, str] = {}
    if not hides(run, session.session, session.answers.heldout):
        found["heldout"] = (
            "the run was shown the units held out; train with --set co_smoothing=true --set "
            f"heldout_fraction={session.settings.heldout_fraction:g}"
        )
    reason = why_no_forward(run)
    if reason:
        found["forward"] = reason
    return found
