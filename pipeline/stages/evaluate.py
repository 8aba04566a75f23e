"""``pipeline run evaluate``: every metric of runs and baselines, session by session, with intervals.

Catalog → sessions, runs, baselines → rates → metrics into the catalog. What is there already, of the same
run, store and settings, is not computed again.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.signals.task import whole_bins
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.trained_runs import FAILURES, Failures, choose, each_session, load_runs
from nwb_latents.pipeline.stores.catalog import add_evaluations, read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.evaluation import FORECAST_BASELINES, OF_FORECASTS, OF_THE_TRUTH
from nwb_latents.schemas.results import Evaluation, MetricValue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.metrics.resampling import Interval
    from nwb_latents.pipeline.evaluation.scored_session import Scored, Yardstick
    from nwb_latents.pipeline.sources.simulator.truth import Truth
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.evaluation import BaselineName, EvaluateSettings, MetricName
    from nwb_latents.schemas.training import Device, RunConfig


EVALUATION_VERSION = 1
"""Raised when the same run, store and settings give other numbers than before."""


_REASONS: dict[MetricName, str] = {
    "forecast_velocity_r2": "it does not forecast",
    "forecast_rates_r2": "it does not forecast",
    "state_r2": "it has no states",
}
"""Why a source does not have a metric, where nothing else is known about it."""


@dataclass
class _Work:
    """What the stage was asked to do, and what came of it; `truth` is the file of each session with one."""

    catalog_path: Path
    settings: EvaluateSettings
    sessions: list[SessionEntry]
    runs: list[RunEntry]
    truth: dict[str, Path]
    force: bool
    report: Report
    configs: dict[str, RunConfig | None] = field(default_factory=dict)
    trained: dict[str, TrainedRun] = field(default_factory=dict)
    known: dict[tuple[str, bool, str, str, str], Evaluation] = field(default_factory=dict)
    done: list[Evaluation] = field(default_factory=list)
    failures: Failures = field(init=False)

    def __post_init__(self) -> None:
        self.failures = Failures(self.report)


@dataclass(frozen=True)
class _Source:
    """A run or a baseline, on one session."""

    name: str
    is_baseline: bool
    label: str
    group: str
    seed: int | None
    key: str
    score: Callable[[Yardstick, Session], Scored]


def evaluate(
    catalog_path: Path,
    settings: EvaluateSettings,
    *,
    runs: Sequence[str] = (),
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    truth: Path | None = None,
    force: bool = False,
    device: Device = "auto",
    report: Report | None = None,
) -> list[Evaluation]:
    """Measure runs and baselines on sessions, with intervals over trials.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Metrics, baselines, phase, units held out, bins ahead, resamples.
    runs
        Names of runs; default: all runs of the recipe that were trained on a chosen session.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; default: that of `runs`, else that of the matching session
        ingested last.
    truth
        Folder of the simulated files, with the truth beside them; without it there is no oracle, no rate R²
        and no state R².
    force
        Measure again what the catalog holds.
    device
        Where the models run; auto: a GPU if there is one.
    report
        Called with one event per evaluation, session and failure.

    Returns
    -------
    evaluations
        Those asked for, in order of session; runs before baselines. Those that were up to date included.

    Raises
    ------
    DataError
        If no session matches, a run is not in the catalog, or `truth` holds none of the sessions.
    SettingsError
        If a time is not a whole number of bins.
    MachineError
        If the device is not there or the disk refuses.
    PartialFailure
        If some sessions or sources failed; it carries the evaluations of the others, which are in the
        catalog.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.evaluation import EvaluateSettings
    >>> evaluate(Path("nowhere/catalog.yaml"), EvaluateSettings())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    catalog = read_catalog(catalog_path)
    entries, chosen = choose(catalog, runs, sessions, recipe_id)
    for entry in entries:
        whole_bins(settings.lag_ms, bin_size_s=entry.bin_size_s, name="lag_ms")
        whole_bins(settings.forward_ms, bin_size_s=entry.bin_size_s, name="forward_ms")
    truths = {} if truth is None else _truth_files(truth, entries)
    work = _Work(catalog_path, settings, entries, chosen, truths, force, report or ignore)
    work.known = {each.place: each for each in catalog.evaluations}
    work.configs = {run.run: _config(catalog_path.parent / run.path) for run in chosen}
    if truth is not None and not truths:
        raise DataError(
            f"{truth}: no truth of {entries[0].session} or another chosen session is here; expected the "
            "folder `pipeline simulate` wrote. Name that, or leave --truth out."
        )
    _say_what_is_missing(work)
    work.trained = load_runs(catalog_path, _outdated_runs(work), device=device, failures=work.failures)
    each_session(
        work.sessions, lambda entry: _evaluate_session(work, entry), stage="evaluate", failures=work.failures
    )
    if work.failures.found:
        summary = f"{len(work.failures.found)} evaluations failed, {len(work.done)} are in the catalog."
        raise work.failures.error(summary, work.done)
    return work.done


def _evaluate_session(work: _Work, entry: SessionEntry) -> dict[str, object]:
    from nwb_latents.pipeline.evaluation.scored_session import prepare_yardstick  # noqa: PLC0415
    from nwb_latents.pipeline.sources.simulator.truth import read_truth  # noqa: PLC0415

    truth = read_truth(work.truth[entry.session]) if entry.session in work.truth else None
    sources = [
        *(_of_run(work, run, entry) for run in work.runs if entry.session in run.sessions),
        *(_of_baseline(work, name, entry) for name in _baselines(work, truth)),
    ]
    fresh = [source for source in sources if work.force or not _is_known(work, source, entry)]
    made: dict[str, Evaluation] = {}
    if fresh:
        store = store_path(work.catalog_path, entry.store)
        session = open_session(store).loaded()
        yardstick = prepare_yardstick(session, work.settings, metrics=_asked(work, entry), truth=truth)
        for source in fresh:
            evaluation = _measure(work, source, entry, yardstick, session)
            if evaluation is not None:
                made[source.key] = _with_earlier(work.known.get(evaluation.place), evaluation)
        add_evaluations(work.catalog_path, made.values())
    for source in sources:
        evaluation = made.get(source.key) or work.known.get(_place(work, source, entry))
        if evaluation is None or evaluation.key != source.key:
            continue
        work.done.append(evaluation)
        status = "done" if source.key in made else "skipped"
        work.report({"event": "evaluation", "status": status, **evaluation.model_dump(mode="json")})
    return {"n_trials": entry.n_trials, "n_units": entry.n_units}


def _measure(
    work: _Work, source: _Source, entry: SessionEntry, yardstick: Yardstick, session: Session
) -> Evaluation | None:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            scored = source.score(yardstick, session)
        for warning in caught:
            text = f"{source.name} on {entry.session}: {warning.message}"
            work.report({"event": "note", "session": entry.session, "text": text})
    except MachineError:
        raise
    except FAILURES as error:
        kind = "source" if source.is_baseline else "run"
        event: dict[str, object] = {"event": kind, kind: source.name, "session": entry.session}
        work.failures.add(error, event=event, name=f"{source.name} on {entry.session}")
        return None
    return Evaluation(
        source=source.name,
        is_baseline=source.is_baseline,
        label=source.label,
        group=source.group,
        seed=source.seed,
        session=entry.session,
        recipe_id=entry.recipe_id,
        phase=work.settings.phase,
        settings_digest=settings_digest(work.settings),
        key=source.key,
        n_trials=yardstick.n_trials,
        n_units=entry.n_units,
        n_heldout=yardstick.n_heldout,
        level=work.settings.level,
        metrics={name: _metric(found) for name, found in scored.metrics.items()},
        missing={
            name: scored.missing.get(name, _REASONS.get(name, "it only forecasts"))
            for name in _asked(work, entry)
            if name not in scored.metrics
        },
    )


def _with_earlier(earlier: Evaluation | None, fresh: Evaluation) -> Evaluation:
    """Keep the metrics measured before of the same run, store and settings, and not asked for now."""
    if earlier is None or earlier.key != fresh.key:
        return fresh
    missing = {name: why for name, why in earlier.missing.items() if name not in fresh.metrics}
    return fresh.model_copy(
        update={"metrics": {**earlier.metrics, **fresh.metrics}, "missing": {**missing, **fresh.missing}}
    )


def _metric(found: Interval) -> MetricValue:
    ends = [None if math.isnan(end) else end for end in (found.value, found.low, found.high)]
    return MetricValue(value=ends[0], low=ends[1], high=ends[2])


def _of_run(work: _Work, run: RunEntry, entry: SessionEntry) -> _Source:
    config = work.configs[run.run]
    settings = config.settings if config is not None else None
    seed = run.alignment.seed if run.alignment else settings.seed if settings else None
    label, kind = run.model, "" if settings is None else settings.model_copy(update={"seed": 0}).digest()
    if run.alignment:
        how = "from scratch" if run.alignment.from_scratch else "aligned"
        label = f"{run.model}, {how}, {run.alignment.n_trials} trials"
        kind += f"{run.alignment.parent}/{how}/{run.alignment.n_trials}"
    elif run.imported:
        label = f"{run.model} ({run.imported.program})"
        kind += run.run

    def score(yardstick: Yardstick, session: Session) -> Scored:
        if run.run not in work.trained:
            raise DataError(f"Run {run.run} could not be read.")
        return _score_run(work, work.trained[run.run], yardstick, session)

    return _Source(
        name=run.run,
        is_baseline=False,
        label=label,
        group=_hash(kind)[:16],
        seed=seed,
        key=_hash("run", run.run_key, entry.store_key, settings_digest(work.settings)),
        score=score,
    )


def _score_run(work: _Work, run: TrainedRun, yardstick: Yardstick, session: Session) -> Scored:
    from nwb_latents.pipeline.evaluation.baselines.rate_regression import RATE_FLOOR  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.scored_session import Scored  # noqa: PLC0415
    from nwb_latents.pipeline.training.spike_rates import hides, run_rates, why_no_forward  # noqa: PLC0415

    name, trials = session.name, session.trials
    settings, answers = work.settings, yardstick.answers
    hidden: dict[MetricName, str] = {}
    if not hides(run, session, answers.heldout):
        hidden["co_bps"] = (
            "the run was shown the units held out; train with --set co_smoothing=true --set "
            f"heldout_fraction={settings.heldout_fraction:g}"
        )
    reason, n_forward = why_no_forward(run), yardstick.task.n_forward
    if reason:
        hidden["fp_bps"], n_forward = reason, 0
    prediction, _ = run_rates(
        run, session, answers, forward_bins=n_forward, floor=RATE_FLOOR, seed=settings.seed
    )
    parts = [yardstick.score(prediction, without=hidden)]
    if yardstick.forecast is not None:
        ahead = run.forecast(
            name,
            trials.isel(trial=answers.eval_rows),
            seen_bins=settings.forecast_seen_bins,
            n_bins=settings.forecast_bins,
        )
        parts.append(yardstick.score_forecast(ahead))
    if yardstick.wants_states:
        rows = (answers.train_rows, answers.eval_rows)
        parts.append(yardstick.score_states(*(run.states(name, trials.isel(trial=r)) for r in rows)))
    return Scored.join(parts)


def _of_baseline(work: _Work, name: BaselineName, entry: SessionEntry) -> _Source:
    def score(yardstick: Yardstick, session: Session) -> Scored:
        del session
        return _score_baseline(work, name, yardstick)

    return _Source(
        name=name,
        is_baseline=True,
        label=name.replace("_", " "),
        group=name,
        seed=None,
        key=_hash(
            "baseline", name, entry.store_key, work.settings.baseline.digest(), settings_digest(work.settings)
        ),
        score=score,
    )


def _score_baseline(work: _Work, name: BaselineName, yardstick: Yardstick) -> Scored:
    from nwb_latents.pipeline.evaluation.baselines.rates import BASELINES  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.scored_session import Scored  # noqa: PLC0415

    parts = []
    if name == "oracle":
        parts += [] if yardstick.oracle is None else [yardstick.score(yardstick.oracle)]
    elif name in BASELINES:
        parts.append(yardstick.score(BASELINES[name](yardstick.task, work.settings.baseline)))
    if name in FORECAST_BASELINES and yardstick.forecast is not None:
        parts.append(yardstick.score_forecast_baseline(FORECAST_BASELINES[name]))
    return Scored.join(parts)


def _baselines(work: _Work, truth: Truth | None) -> list[BaselineName]:
    """Return the baselines that can be had."""
    names = list(work.settings.baselines)
    if truth is None and "oracle" in names:
        names.remove("oracle")
    return names


def _say_what_is_missing(work: _Work) -> None:
    asked = work.settings.baselines
    if "oracle" in asked and not work.truth and "baselines" in work.settings.model_fields_set:
        reason = "the true rates are not known; name the folder of the simulated sessions with --truth"
        work.report({"event": "source", "source": "oracle", "status": "skipped", "reason": reason})
    n_bins = min(entry.n_bins for entry in work.sessions)
    needed = work.settings.forecast_seen_bins + work.settings.forecast_bins
    if needed > n_bins:
        reason = (
            f"{needed} bins seen and forecast are more than the {n_bins} of a trial; lower "
            "forecast_seen_bins or forecast_bins"
        )
        work.report({"event": "source", "source": "forecast", "status": "skipped", "reason": reason})


def _config(run_dir: Path) -> RunConfig | None:
    """Return what a run was made with; None where that cannot be read, and the run not be loaded either."""
    from nwb_latents.pipeline.training.run_files import read_config  # noqa: PLC0415

    try:
        return read_config(run_dir)
    except FAILURES:
        return None


def _outdated_runs(work: _Work) -> list[RunEntry]:
    """Return the runs that have to be loaded."""
    return [
        run
        for run in work.runs
        if any(
            entry.session in run.sessions
            and (work.force or not _is_known(work, _of_run(work, run, entry), entry))
            for entry in work.sessions
        )
    ]


def _is_known(work: _Work, source: _Source, entry: SessionEntry) -> bool:
    """Whether the catalog holds what is asked for, of the same run, store and settings."""
    found = work.known.get(_place(work, source, entry))
    if found is None or found.key != source.key:
        return False
    return set(_asked(work, entry)) <= {*found.metrics, *found.missing}


def _asked(work: _Work, entry: SessionEntry) -> tuple[MetricName, ...]:
    """Return the metrics that can be had of a session, whatever the source."""
    has_truth = entry.session in work.truth
    fits = work.settings.forecast_seen_bins + work.settings.forecast_bins <= entry.n_bins
    without = {name for name in OF_THE_TRUTH if not has_truth} | {name for name in OF_FORECASTS if not fits}
    return tuple(name for name in work.settings.metrics if name not in without)


def _place(work: _Work, source: _Source, entry: SessionEntry) -> tuple[str, bool, str, str, str]:
    return (source.name, source.is_baseline, entry.session, entry.recipe_id, work.settings.phase)


def _truth_files(folder: Path, entries: Sequence[SessionEntry]) -> dict[str, Path]:
    """Return the truth beside the simulated file of each session that has one."""
    from pathlib import Path  # noqa: PLC0415

    from nwb_latents.pipeline.sources.simulator.truth import TRUTH_SUFFIX, truth_path  # noqa: PLC0415

    there = {path.name: path for path in sorted(folder.rglob(f"*{TRUTH_SUFFIX}"), reverse=True)}
    names = {entry.session: truth_path(Path(Path(entry.source).name)).name for entry in entries}
    return {session: there[name] for session, name in names.items() if name in there}


def settings_digest(settings: EvaluateSettings) -> str:
    """Return what has to agree for two numbers to be comparable: all but the choice of what is measured.

    Examples
    --------
    >>> from nwb_latents.schemas.evaluation import EvaluateSettings
    >>> settings_digest(EvaluateSettings()) == settings_digest(EvaluateSettings(phase="val"))
    True
    """
    return _hash(json.dumps(settings.counted(), sort_keys=True), str(EVALUATION_VERSION))[:16]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
