"""What `pipeline run evaluate` measures: runs and baselines as sources of rates, forecasts and states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.evaluate_days import made_without_the_day, states_of_early_days
from nwb_latents.pipeline.stages.run_facts import facts_of_baseline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
    from nwb_latents.pipeline.evaluation.metrics.metric import Need, Part
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput
    from nwb_latents.pipeline.stages.run_facts import Facts
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.baselines import BaselineSettings
    from nwb_latents.schemas.catalog import RunEntry

    Deliver = Callable[[ScoredSession, Collection[Part]], SourceOutput]


SPIKES_AHEAD = "spikes after the bins seen, which its smoothed rates hold"
"""What a run on recorded smoothed rates is told when it forecasts."""


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
    baseline_digest
        Digest of the settings of a baseline; empty: a run.
    deliver
        What it makes of a session, of the parts wanted.
    only
        Names of the metrics it can have of this session; None: all.
    """

    name: str
    is_baseline: bool
    facts: Facts
    deliver: Deliver
    baseline_digest: str = ""
    only: frozenset[str] | None = None


def run_source(run: RunEntry, facts: Facts, trained: Mapping[str, TrainedRun]) -> Source:
    """Return a run as a source.

    Parameters
    ----------
    run
        Its entry in the catalog.
    facts
        What measurements say of it.
    trained
        Runs that are loaded, by name; looked at when the source is to deliver.
    """

    def deliver(session: ScoredSession, parts: Collection[Part]) -> SourceOutput:
        if run.run not in trained:
            raise DataError(f"Run {run.run} could not be read.")
        made = _made_by_run(trained[run.run], session, parts)
        if session.early is None or "latents" not in parts:
            return made
        return replace(made, early=states_of_early_days(run, trained, session))

    return Source(
        name=run.run,
        is_baseline=False,
        facts=facts,
        deliver=deliver,
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


def _made_by_run(run: TrainedRun, session: ScoredSession, parts: Collection[Part]) -> SourceOutput:
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
        ahead = run.forecast(
            session.session.select(answers.eval_rows),
            seen_bins=settings.forecast.seen_bins,
            n_bins=settings.forecast.bins,
        ).astype("float64")
    if "latents" in parts:
        train, scored = (
            run.states(session.session.select(rows)).astype("float64")
            for rows in (answers.train_rows, answers.eval_rows)
        )
        states = train, scored
    return SourceOutput(
        rates=rates,
        rates_hz=None if hertz is None else hertz[1].astype("float64"),
        forecast_hz=ahead,
        states=states,
        withheld=withheld,
        told={"forecast": SPIKES_AHEAD} if run.settings.sees_ahead else {},
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
