"""``pipeline run decode``: hand velocity from rates, reconstructions and forecasts, scored and drawn.

Catalog → sessions and runs → decoders of each session → measurements into the catalog, pictures and the table
of their parts beside it. Decoders carried from session to session: `pipeline.stages.decode_transfer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, SettingsError, UsageError
from nwb_latents.pipeline.stages.decode_forecasts import ForecastPlan
from nwb_latents.pipeline.stages.decode_pictures import (
    draw_scan,
    draw_scores,
    draw_session,
    pictures_folder,
)
from nwb_latents.pipeline.stages.decode_runs import (
    LaidReady,
    Work,
    decoded_run,
    laid_for,
    laid_ready,
    recorded,
)
from nwb_latents.pipeline.stages.decode_transfer import needs_two_sessions, transfer_run
from nwb_latents.pipeline.stages.forecast_sources import ensemble_members, runs_that_know
from nwb_latents.pipeline.stages.lag_words import say_negative
from nwb_latents.pipeline.stages.picture_folder import note_settings
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.session_tasks import SessionStage, Where, do_sessions
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stages.trained_runs import (
    FAILURES,
    choose,
    load_runs,
)
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.events import RunEvent, SourceEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.decoding.lag_scan import LagScan
    from nwb_latents.pipeline.evaluation.decoding.session_decoder import Decoded, DecodedSignal
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.decoding import DecodeSettings, DecodeSource
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.pictures import PictureSettings
    from nwb_latents.schemas.training import Device


def decode(
    catalog_path: Path,
    settings: DecodeSettings,
    *,
    runs: Sequence[str] = (),
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    device: Device = "auto",
    unseen_trials: bool = False,
    force: bool = False,
    where: Where | None = None,
    pictures: PictureSettings | None = None,
    report: Report | None = None,
) -> list[Measurement]:
    """Decode hand velocity in every session, from the data and from every run, and score it on test trials.

    Measurements are added to those of the catalog session by session; pictures, and the R² of every time bin
    and condition, go into ``results/decode/<recipe>/lag<ms>ms-<digest>/`` beside it, a folder for each choice
    of settings, which are kept there in ``settings.yaml``.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Lag, sources, decoders and their settings, folds, forecast window, lags to compare, transfer,
        permutations.
    runs
        Names of the runs to decode; default: all runs of the recipe that were trained on a chosen session.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; default: that of `runs`, else that of the matching session
        ingested last.
    device
        Where the models run; auto: a GPU if there is one.
    unseen_trials
        Where a session's store is another than a run was trained on: score only trials the run was neither
        trained nor validated on, if its record of them proves which these are, instead of refusing the
        session. Their split is ``unseen-…``.
    force
        Begin whatever the size of stores and weights.
    where
        Which part of the sessions, and where they are decoded; default: all, in this process. On a cluster
        one session is one task; transfer is measured here.
    pictures
        Formats and resolution of the pictures; default: PNG of 300 dots per inch.
    report
        Called with one event per session, measurement and failure.

    Returns
    -------
    measurements
        In order of session, then run; at last those of each run's transfer.

    Raises
    ------
    DataError
        If no session matches, a run is not in the catalog, there is nothing to decode, or no run was trained
        on two of the sessions and transfer is asked for.
    SettingsError
        If a lag is not a whole number of bins, the forecast was asked for and does not fit the window, or a
        decoder has no such setting or reads more bins than there are.
    UsageError
        If transfer is asked for of a part of the sessions.
    MachineError
        If the device is not there, the disk refuses, a session is larger than the memory, or the cluster
        cannot be reached or is lost.
    PartialFailure
        If some sessions or runs failed; it carries the measurements of the others, which are kept. If nothing
        was done, its exit code is that of the failures.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> decode(Path("nowhere/catalog.yaml"), DecodeSettings())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    where = where or Where()
    if settings.transfer and where.is_part:
        raise UsageError(
            "--transfer carries decoders between sessions; --shard and --retry-failed take a part of them. "
            "Leave one of them out."
        )
    work = _plan(
        catalog_path, settings, runs, sessions=sessions, recipe_id=recipe_id, report=report or ignore
    )
    unseen = {"unseen_trials": unseen_trials}
    work.pictures = pictures or work.pictures
    work.pictures_folder = pictures_folder(settings, unseen_trials=unseen_trials)
    plan = _forecast_plan(work)
    work.sessions = where.part_of(work.sessions, catalog_path, DECODING.name, work.report)
    if not work.sessions:
        return []
    if where.is_here:
        every = _runs(work, plan)
        require_stores_fit(catalog_path, work.sessions, runs=every, recordings=False, force=force)
    work.check_keeping()
    work.unseen_trials = unseen_trials
    note_settings(work.folder("decode"), settings, **unseen)
    do_sessions(work, DECODING, plan, where, device=device)
    draw_scores(work)
    if settings.transfer:
        if not where.is_here:
            work.trained = load_runs(catalog_path, work.runs, device=device, failures=work.failures)
        for run in work.runs:
            _transfer(work, run)
    if work.failures.found:
        summary = (
            f"{len(work.failures.found)} decodings failed, {len(work.results)} scores are in the catalog."
        )
        raise work.failures.error(summary, work.results)
    return work.results


def _plan(
    catalog_path: Path,
    settings: DecodeSettings,
    runs: Sequence[str],
    *,
    sessions: Sequence[str],
    recipe_id: str | None,
    report: Report,
) -> Work:
    from nwb_latents.pipeline.evaluation.decoding.decoder import check_bins, decoder_of  # noqa: PLC0415
    from nwb_latents.pipeline.signals.task import whole_bins  # noqa: PLC0415

    decoders = [decoder_of(settings, name) for name in settings.decoders]
    if "forecast" in settings.sources:
        for decoder in decoders:
            check_bins(decoder, settings.forecast.bins, where=f"a forecast of {settings.forecast.bins} bins")
    entries, chosen = choose(read_catalog(catalog_path), runs, sessions, recipe_id, report=report)
    for entry in entries:
        whole_bins(settings.lag_ms, bin_size_s=entry.bin_size_s, name="lag_ms")
        for lag_ms in settings.lag_scan_ms:
            whole_bins(lag_ms, bin_size_s=entry.bin_size_s, name="lag_scan_ms")
        for decoder in decoders:
            check_bins(decoder, entry.n_bins, where=entry.session)
    say_negative((settings.lag_ms, *settings.lag_scan_ms), report)
    if settings.transfer:
        needs_two_sessions(entries, chosen)
    sources = _possible_sources(settings, entries, chosen, report=report)
    return Work(
        catalog_path=catalog_path,
        settings=settings.model_copy(update={"sources": sources}),
        sessions=entries,
        runs=chosen if settings.transfer or set(sources) - {"rates"} else [],
        report=report,
    )


def _possible_sources(
    settings: DecodeSettings, entries: list[SessionEntry], runs: list[RunEntry], *, report: Report
) -> tuple[DecodeSource, ...]:
    """Return the sources that can be decoded; report, or refuse if asked for by name, those that cannot."""
    asked = "sources" in settings.model_fields_set
    possible = list(settings.sources)
    if not runs:
        possible = [source for source in possible if source == "rates"]
        reason = f"no complete run of recipe {entries[0].recipe_id} was trained on these sessions"
        if not possible:
            msg = (
                f"Nothing to decode: {reason}, and the rates are not among the sources. Train a model first."
            )
            raise DataError(msg)
        if asked:
            for source in settings.sources[:]:
                if source not in possible:
                    report(SourceEvent(source=source, status="skipped", reason=reason))
    seen, ahead = settings.forecast.seen_bins, settings.forecast.bins
    n_bins = min(entry.n_bins for entry in entries)
    if "forecast" in possible and seen + ahead > n_bins:
        reason = (
            f"{seen} bins seen and {ahead} forecast are more than the {n_bins} bins of the trial window; use "
            f"forecast.seen_bins + forecast.bins of at most {n_bins}"
        )
        if asked:
            raise SettingsError(reason)
        report(SourceEvent(source="forecast", status="skipped", reason=reason))
        possible.remove("forecast")
    return tuple(possible)


def _forecast_plan(work: Work) -> ForecastPlan:
    """Return what is forecast beside runs; nothing where no run forecasts."""
    from nwb_latents.pipeline.evaluation.baselines.known import known_baselines  # noqa: PLC0415

    if not work.runs or "forecast" not in work.settings.sources:
        return ForecastPlan()
    beside, lost = known_baselines(work.settings.beside)
    for name, reason in lost.items():
        event = SourceEvent(source=name, status="failed")
        work.failures.add(DataError(reason), event=event, name=f"baseline {name}")
    members = ensemble_members(
        work.settings.forecast.ensemble, read_catalog(work.catalog_path), work.sessions
    )
    beside.sort(key=lambda each: work.settings.beside.index(each.name))
    return ForecastPlan(beside, members)


def _runs(work: Work, plan: ForecastPlan) -> list[RunEntry]:
    return runs_that_know(work.sessions, work.runs, plan.members)


def decoded_session(
    catalog_path: Path,
    settings: DecodeSettings,
    *,
    session: str,
    run: str | None = None,
    recipe_id: str | None = None,
    device: Device = "auto",
    report: Report | None = None,
) -> DecodedSession:
    """Return what `decode` decodes of a session, to be drawn; nothing is kept.

    Parameters
    ----------
    catalog_path, settings, recipe_id, device, report
        As in `decode`.
    session
        Session id.
    run
        Run whose signals are decoded too; None: recorded rates alone.

    Raises
    ------
    PartialFailure
        If the session, or the run in it, cannot be decoded.
    """
    if run is None:
        settings = settings.model_copy(update={"sources": ("rates",)})
    names = [] if run is None else [run]
    told = report or ignore
    work = _plan(catalog_path, settings, names, sessions=[session], recipe_id=recipe_id, report=told)
    plan = _forecast_plan(work)
    work.trained = load_runs(catalog_path, _runs(work, plan), device=device, failures=work.failures)
    made = _decode_session(work, plan, work.sessions[0])
    if work.failures.found:
        raise work.failures.error(f"{session} could not be decoded.", ())
    return made


@dataclass(frozen=True)
class DecodedSession:
    """What is decoded of a session.

    Attributes
    ----------
    scores
        Everything that is kept.
    drawn
        Signals that are drawn together, by run.
    beside
        Forecasts that belong to no run.
    scans, scanned
        R² against lag, and its scores.
    """

    scores: list[Measurement]
    drawn: dict[str, list[Decoded]]
    beside: list[DecodedSignal]
    scans: list[LagScan]
    scanned: list[Measurement]


def _decode_session(work: Work, plan: ForecastPlan, entry: SessionEntry) -> DecodedSession:
    """Return what is decoded of a session; writes nothing."""
    from nwb_latents.pipeline.evaluation.decoding.session_decoder import Decoded  # noqa: PLC0415

    session = work.session(entry)
    runs = [run for run in work.runs if run.run in work.trained and entry.session in run.sessions]
    whole = laid_ready(work, plan, session, wanted=bool(runs))
    fresh = [signal.score for signal in whole.rates if "rates" in work.settings.sources]
    scanned = [score for scan in whole.scans for score in scan.training_scores()]
    if "rates" in work.settings.sources:
        scanned += [score for scan in whole.scans for score in recorded(session, scan.test).scanned(scan)]
    of_runs: dict[str, list[Decoded]] = {}
    fresh += [signal.score for signal in whole.beside]
    few: dict[tuple[int, ...], LaidReady] = {}
    for run in runs:
        if not _model_sources(work):
            continue
        try:
            laid = laid_for(work, plan, whole, run.run, few)
            made, at_lags = decoded_run(work, laid, run.run)
        except FAILURES as error:
            event = RunEvent(run=run.run, session=entry.session, status="failed")
            work.failures.add(error, event=event, name=f"{run.run} on {entry.session}")
            continue
        of_runs[run.run] = [
            Decoded(decoder, (of_rates, *of_model))
            for decoder, of_rates, of_model in zip(laid.decoders, laid.rates, made, strict=True)
        ]
        fresh += [signal.score for of_model in made for signal in of_model]
        scanned += at_lags
    drawn = of_runs or {
        "": [Decoded(*pair) for pair in zip(whole.decoders, ((one,) for one in whole.rates), strict=True)]
    }
    return DecodedSession([*fresh, *scanned], drawn, whole.beside, whole.scans, scanned)


def _keep(work: Work, plan: ForecastPlan, entry: SessionEntry, made: DecodedSession) -> dict[str, object]:
    """Keep the scores of a session, and draw it."""
    del plan
    work.keep(made.scores)
    for name, decoded in made.drawn.items():
        draw_session(work, decoded, run=name, beside=made.beside)
    if made.scans:
        draw_scan(work, made.scans, made.scanned)
    return {"n_trials": entry.n_trials, "n_units": entry.n_units}


DECODING = SessionStage("decode", make=_decode_session, keep=_keep, runs=_runs, reads_recording=False)


def _model_sources(work: Work) -> bool:
    return bool(set(work.settings.sources) - {"rates"})


def _transfer(work: Work, run: RunEntry) -> None:
    """Carry decoders between the sessions of a run; what fails is a failure of that run."""
    if run.run not in work.trained:
        return
    event = RunEvent(run=run.run, model=run.model, status="failed")
    try:
        found = transfer_run(
            work.session,
            work.trained[run.run],
            [entry for entry in work.sessions if entry.session in run.sessions],
            work.settings,
            known=run.sessions,
            folder=work.folder("decode"),
            pictures=work.pictures,
        )
        work.keep(found)
    except FAILURES as error:
        work.failures.add(error, event=event, name=f"transfer of {run.run}")
