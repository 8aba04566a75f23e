"""``pipeline run decode``: hand velocity from rates, reconstructions and forecasts, scored and drawn.

Catalog → sessions and runs → decoders of each session → scores into the catalog, pictures and the table of
their parts beside it. Decoders carried from session to session: `pipeline.stages.decode_transfer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.stages.decode_transfer import needs_two_sessions, transfer_run
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.trained_runs import (
    FAILURES,
    Failures,
    choose,
    each_session,
    file_name,
    load_runs,
)
from nwb_latents.pipeline.stores.atomic import write_bytes
from nwb_latents.pipeline.stores.catalog import add_results, read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.trials import read_continuous, read_trials

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.lag_scan import LagScan
    from nwb_latents.pipeline.evaluation.decoding.session_decoder import (
        Decoded,
        DecodedSignal,
        SessionDecoder,
    )
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.results import DecodeSource, Score
    from nwb_latents.schemas.training import Device


@dataclass(frozen=True)
class _Signal:
    """Rates of the test trials of one session, Hz, from bin `first_bin` of the window on."""

    rates: NDArray[np.float32]
    source: DecodeSource
    run: str | None = None
    first_bin: int = 0

    def decoded(self, decoder: SessionDecoder) -> DecodedSignal:
        return decoder.decode(self.rates, source=self.source, run=self.run, first_bin=self.first_bin)

    def scanned(self, scan: LagScan) -> list[Score]:
        return scan.decode(self.rates, source=self.source, run=self.run, first_bin=self.first_bin)


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

    def keep(self, scores: list[Score]) -> None:
        """Enter scores into the catalog and report them."""
        add_results(self.catalog_path, scores)
        self.scores.extend(scores)
        for score in scores:
            self.report({"event": "score", **score.model_dump(mode="json")})


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

    Scores go into the catalog session by session; pictures, and the R² of every time bin and condition, into
    ``results/decode/<recipe>/`` beside it.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Lag, sources, decoders, penalties, folds, forecast window, lags to compare, transfer, permutations.
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
        In order of session, then run; at last those of each run's transfer.

    Raises
    ------
    DataError
        If no session matches, a run is not in the catalog, there is nothing to decode, or no run was trained
        on two of the sessions and transfer is asked for.
    SettingsError
        If a lag is not a whole number of bins, the forecast was asked for and does not fit the window, or the
        history of the Wiener decoder is longer than the trials.
    MachineError
        If the device is not there or the disk refuses.
    PartialFailure
        If some sessions or runs failed; it carries the scores of the others, which are in the catalog. If
        nothing was done, its exit code is that of the failures.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> decode(Path("nowhere/catalog.yaml"), DecodeSettings())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    work = _plan(
        catalog_path, settings, runs, sessions=sessions, recipe_id=recipe_id, report=report or ignore
    )
    work.trained = load_runs(catalog_path, work.runs, device=device, failures=work.failures)
    each_session(
        work.sessions, lambda entry: _decode_session(work, entry), stage="decode", failures=work.failures
    )
    _summarise(work)
    if settings.transfer:
        for run in work.runs:
            _transfer(work, run)
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
    from nwb_latents.pipeline.evaluation.decoding.history import check_history  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.pairing import lag_in_bins  # noqa: PLC0415

    entries, chosen = choose(read_catalog(catalog_path), runs, sessions, recipe_id)
    for entry in entries:
        for lag_ms in (settings.lag_ms, *settings.lag_scan_ms):
            lag_in_bins(lag_ms, bin_size_s=entry.bin_size_s)
        if "wiener" in settings.decoders:
            check_history(settings.history_bins, entry.n_bins, where=entry.session)
    if settings.transfer:
        needs_two_sessions(entries, chosen)
    sources = _possible_sources(settings, entries, chosen, report=report)
    return _Work(
        catalog_path=catalog_path,
        settings=settings,
        sources=sources,
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
    from nwb_latents.pipeline.evaluation.decoding.lag_scan import scan_lags  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.decoding.session_decoder import Decoded, fit_session_decoder  # noqa: PLC0415

    store, settings = store_path(work.catalog_path, entry.store), work.settings
    trials, continuous = read_trials(store).load(), read_continuous(store)
    decoders = [fit_session_decoder(trials, continuous, settings, decoder=one) for one in settings.decoders]
    scans = []
    if settings.lag_scan_ms:
        scans = [scan_lags(trials, continuous, settings, decoder=one) for one in settings.decoders]
    test = trials.isel(trial=decoders[0].test)
    of_data = _Signal(test["rates"].values, "rates")
    rates = [of_data.decoded(decoder) for decoder in decoders]
    fresh = [signal.score for signal in rates if "rates" in work.sources]
    scanned = [score for scan in scans for score in scan.training_scores()]
    if "rates" in work.sources:
        scanned += [score for scan in scans for score in of_data.scanned(scan)]
    of_runs: dict[str, list[Decoded]] = {}
    for run in work.runs:
        if run.run not in work.trained or entry.session not in run.sessions or not _model_sources(work):
            continue
        try:
            signals = _signals_of(work, entry.session, test, run=run.run)
            made = [tuple(signal.decoded(decoder) for signal in signals) for decoder in decoders]
            at_lags = [score for scan in scans for signal in signals for score in signal.scanned(scan)]
        except FAILURES as error:
            event: dict[str, object] = {"event": "run", "run": run.run, "session": entry.session}
            work.failures.add(error, event=event, name=f"{run.run} on {entry.session}")
            continue
        of_runs[run.run] = [
            Decoded(decoder, (of_rates, *of_model))
            for decoder, of_rates, of_model in zip(decoders, rates, made, strict=True)
        ]
        fresh += [signal.score for of_model in made for signal in of_model]
        scanned += at_lags
    work.keep([*fresh, *scanned])
    drawn = of_runs or {
        "": [Decoded(*pair) for pair in zip(decoders, ((one,) for one in rates), strict=True)]
    }
    for name, decoded in drawn.items():
        _draw(work, decoded, run=name)
    if scans:
        _draw_scan(work, scans, scanned)
    return {"n_trials": entry.n_trials, "n_units": entry.n_units}


def _model_sources(work: _Work) -> bool:
    return bool(set(work.sources) - {"rates"})


def _signals_of(work: _Work, session: str, test: xr.Dataset, *, run: str) -> list[_Signal]:
    model, settings, signals = work.trained[run], work.settings, []
    if "reconstruction" in work.sources:
        signals.append(_Signal(model.reconstruct(session, test), "reconstruction", run))
    if "forecast" in work.sources:
        seen, ahead = settings.forecast_seen_bins, settings.forecast_bins
        foreseen = model.forecast(session, test, seen_bins=seen, n_bins=ahead)
        signals.append(_Signal(foreseen, "forecast", run, seen))
    return signals


def _draw(work: _Work, decoded: list[Decoded], *, run: str) -> None:
    from nwb_latents.pipeline.evaluation.decoding.parts import parts_table  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.decoding import draw_parts  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.velocity import draw_trajectories, draw_velocity  # noqa: PLC0415

    folder = _folder(work)
    stem = "_".join(file_name(part) for part in (decoded[0].decoder.session, run) if part)
    for one in decoded:
        name = stem if one.decoder.name == "ridge" else f"{stem}_{one.decoder.name}"
        draw_velocity(folder / f"{name}_velocity.png", one)
        draw_trajectories(folder / f"{name}_trajectories.png", one)
    table = parts_table(decoded)
    write_bytes(folder / f"{stem}_parts.nc", bytes(table.to_netcdf(engine="scipy")))
    draw_parts(folder / f"{stem}_parts.png", table)


def _draw_scan(work: _Work, scans: list[LagScan], scores: list[Score]) -> None:
    from nwb_latents.pipeline.evaluation.figures.decoding import draw_lag_scan  # noqa: PLC0415

    session = scans[0].session
    for scan in scans:
        best = {"event": "lag", "session": session, "decoder": scan.name, "lag_ms": scan.best_lag_ms}
        work.report({**best, "value": max(scan.cv_r2)})
    draw_lag_scan(_folder(work) / f"{file_name(session)}_lags.png", scans, scores)


def _transfer(work: _Work, run: RunEntry) -> None:
    """Carry decoders between the sessions of a run; what fails is a failure of that run."""
    if run.run not in work.trained:
        return
    event: dict[str, object] = {"event": "run", "run": run.run, "model": run.model}
    try:
        work.keep(
            transfer_run(
                work.catalog_path,
                work.trained[run.run],
                [entry for entry in work.sessions if entry.session in run.sessions],
                work.settings,
                folder=_folder(work),
            )
        )
    except FAILURES as error:
        work.failures.add(error, event=event, name=f"transfer of {run.run}")


def _summarise(work: _Work) -> None:
    """Draw all scores of the recipe at this lag, those of earlier decodings included."""
    from nwb_latents.pipeline.evaluation.figures.velocity import draw_summary  # noqa: PLC0415

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
