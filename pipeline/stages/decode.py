"""``pipeline run decode``: hand velocity from rates, reconstructions and forecasts, scored and drawn.

Catalog → sessions and runs → one decoder per session → scores into the catalog, pictures beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import DataError, SettingsError
from pipeline.stages.report import Report, ignore
from pipeline.stages.trained_runs import (
    FAILURES,
    Failures,
    choose,
    each_session,
    file_name,
    load_runs,
)
from pipeline.stores.catalog import add_results, read_catalog
from pipeline.stores.location import store_path
from pipeline.stores.trials import read_continuous, read_trials

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import xarray as xr

    from pipeline.evaluation.session import DecodedSignal, SessionDecoder
    from pipeline.training.inference import TrainedRun
    from schemas.catalog import RunEntry, SessionEntry
    from schemas.decoding import DecodeSettings
    from schemas.results import DecodeSource, Score
    from schemas.training import Device


@dataclass
class _Work:
    """What the stage was asked to do, and what came of it."""

    catalog_path: Path
    settings: DecodeSettings
    sources: tuple[DecodeSource, ...]
    sessions: list[SessionEntry]
    runs: list[RunEntry]
    report: Report
    trained: dict[str, TrainedRun] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)
    failures: Failures = field(init=False)

    def __post_init__(self) -> None:
        self.failures = Failures(self.report)

    @property
    def recipe_id(self) -> str:
        return self.sessions[0].recipe_id


def decode(
    catalog_path: Path,
    settings: DecodeSettings,
    *,
    runs: Sequence[str] = (),
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    device: Device = "auto",
    report: Report | None = None,
) -> list[Score]:
    """Decode hand velocity in every session, from the data and from every run, and score it on test trials.

    Scores go into the catalog session by session; pictures into ``results/decode/<recipe>/`` beside it.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Lag, sources, penalties, folds, forecast window.
    runs
        Names of the runs to decode; default: all runs of the recipe that were trained on a chosen session.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; default: that of `runs`, else that of the matching session
        ingested last.
    device
        Where the models run; auto: a GPU if there is one.
    report
        Called with one event per session, score and failure.

    Returns
    -------
    scores
        In order of session, then run.

    Raises
    ------
    DataError
        If no session matches, a run is not in the catalog, or there is nothing to decode.
    SettingsError
        If the lag is not a whole number of bins, or the forecast was asked for and does not fit the window.
    MachineError
        If the device is not there or the disk refuses.
    PartialFailure
        If some sessions or runs failed; it carries the scores of the others, which are in the catalog. If
        nothing was done, its exit code is that of the failures.

    Examples
    --------
    >>> from pathlib import Path
    >>> from schemas.decoding import DecodeSettings
    >>> decode(Path("nowhere/catalog.yaml"), DecodeSettings())
    Traceback (most recent call last):
        ...
    pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    work = _plan(
        catalog_path, settings, runs, sessions=sessions, recipe_id=recipe_id, report=report or ignore
    )
    work.trained = load_runs(catalog_path, work.runs, device=device, failures=work.failures)
    each_session(
        work.sessions, lambda entry: _decode_session(work, entry), stage="decode", failures=work.failures
    )
    _summarise(work)
    if work.failures.found:
        summary = (
            f"{len(work.failures.found)} decodings failed, {len(work.scores)} scores are in the catalog."
        )
        raise work.failures.error(summary, work.scores)
    return work.scores


def _plan(
    catalog_path: Path,
    settings: DecodeSettings,
    runs: Sequence[str],
    *,
    sessions: Sequence[str],
    recipe_id: str | None,
    report: Report,
) -> _Work:
    from pipeline.evaluation.pairing import lag_in_bins  # noqa: PLC0415

    entries, chosen = choose(read_catalog(catalog_path), runs, sessions, recipe_id)
    for entry in entries:
        lag_in_bins(settings.lag_ms, bin_size_s=entry.bin_size_s)
    sources = _possible_sources(settings, entries, chosen, report=report)
    return _Work(
        catalog_path=catalog_path,
        settings=settings,
        sources=sources,
        sessions=entries,
        runs=chosen if set(sources) - {"rates"} else [],
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
                    report({"event": "source", "source": source, "status": "skipped", "reason": reason})
    seen, ahead = settings.forecast_seen_bins, settings.forecast_bins
    n_bins = min(entry.n_bins for entry in entries)
    if "forecast" in possible and seen + ahead > n_bins:
        reason = (
            f"{seen} bins seen and {ahead} forecast are more than the {n_bins} bins of the trial window; use "
            f"forecast_seen_bins + forecast_bins of at most {n_bins}"
        )
        if asked:
            raise SettingsError(reason)
        report({"event": "source", "source": "forecast", "status": "skipped", "reason": reason})
        possible.remove("forecast")
    return tuple(possible)


def _decode_session(work: _Work, entry: SessionEntry) -> dict[str, object]:
    from pipeline.evaluation.session import fit_session_decoder  # noqa: PLC0415

    store = store_path(work.catalog_path, entry.store)
    trials = read_trials(store).load()
    decoder = fit_session_decoder(trials, read_continuous(store), work.settings)
    rates = decoder.decode(trials["rates"].values[decoder.test], source="rates")
    of_data = [rates] if "rates" in work.sources else []
    of_runs: dict[str, list[DecodedSignal]] = {}
    test = trials.isel(trial=decoder.test)
    for run in work.runs:
        if run.run not in work.trained or entry.session not in run.sessions:
            continue
        try:
            of_runs[run.run] = _decode_run(work, decoder, test, run=run.run)
        except FAILURES as error:
            event: dict[str, object] = {"event": "run", "run": run.run, "session": entry.session}
            work.failures.add(error, event=event, name=f"{run.run} on {entry.session}")
    fresh = [signal.score for signals in (of_data, *of_runs.values()) for signal in signals]
    add_results(work.catalog_path, fresh)
    work.scores.extend(fresh)
    for score in fresh:
        work.report({"event": "score", **score.model_dump(mode="json")})
    _draw(work, decoder, rates, of_runs)
    return {"n_trials": entry.n_trials, "n_units": entry.n_units}


def _decode_run(work: _Work, decoder: SessionDecoder, test: xr.Dataset, *, run: str) -> list[DecodedSignal]:
    model, settings, signals = work.trained[run], work.settings, []
    if "reconstruction" in work.sources:
        rebuilt = model.reconstruct(decoder.session, test)
        signals.append(decoder.decode(rebuilt, source="reconstruction", run=run))
    if "forecast" in work.sources:
        seen, ahead = settings.forecast_seen_bins, settings.forecast_bins
        foreseen = model.forecast(decoder.session, test, seen_bins=seen, n_bins=ahead)
        signals.append(decoder.decode(foreseen, source="forecast", run=run, first_bin=seen))
    return signals


def _draw(
    work: _Work, decoder: SessionDecoder, rates: DecodedSignal, of_runs: dict[str, list[DecodedSignal]]
) -> None:
    from pipeline.evaluation.figures import draw_trajectories, draw_velocity  # noqa: PLC0415
    from pipeline.evaluation.session import Decoded  # noqa: PLC0415

    folder = _folder(work)
    for run, signals in of_runs.items() or {"": []}.items():
        stem = "_".join(file_name(part) for part in (decoder.session, run) if part)
        decoded = Decoded(decoder=decoder, signals=(rates, *signals))
        draw_velocity(folder / f"{stem}_velocity.png", decoded)
        draw_trajectories(folder / f"{stem}_trajectories.png", decoded)


def _summarise(work: _Work) -> None:
    """Draw all scores of the recipe at this lag, those of earlier decodings included."""
    from pipeline.evaluation.figures import draw_summary  # noqa: PLC0415

    wanted = (work.recipe_id, "velocity_r2", work.settings.lag_ms, "test")
    scores = [
        score
        for score in read_catalog(work.catalog_path).results
        if (score.recipe_id, score.metric, score.lag_ms, score.split) == wanted
    ]
    if scores:
        draw_summary(_folder(work) / "r2_summary.png", scores)


def _folder(work: _Work) -> Path:
    return work.catalog_path.parent / "results" / "decode" / file_name(work.recipe_id)
