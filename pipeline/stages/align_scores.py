"""What few-shot alignments are worth: scores on the test trials of the new sessions, and a table of them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import PartialFailure
from nwb_latents.pipeline.evaluation.row_details import GIVEN
from nwb_latents.pipeline.stages.align_beside import SHARED, SINGLE, STAGE, Beside, stored_session
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.run_facts import facts_of_runs
from nwb_latents.pipeline.stages.stage_work import keep_measurements
from nwb_latents.schemas.events import NoteEvent
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.pictures import PictureSettings
    from nwb_latents.schemas.training import Device

RATES_METRIC = "rates_r2"
"""R² of the reconstruction against the smoothed rates themselves, over whole test trials."""

ALIGNED, SCRATCH = "aligned", "from scratch"
"""Methods that train a model."""

BESIDE = (SHARED, *SINGLE)
"""Methods that train no model, by the names of baselines."""

_COLUMNS: tuple[tuple[str, str], ...] = (
    (RATES_METRIC, "reconstruction"),
    ("velocity_r2", "reconstruction"),
    ("velocity_r2", "forecast"),
    ("velocity_r2", "ensemble"),
)


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and the standard error of it; no error of a single seed."""

    mean: float
    error: float | None
    n: int


@dataclass(frozen=True)
class FewShotRow:
    """One line of the table.

    Attributes
    ----------
    session
        Session id.
    n_trials
        Trials the method was given: what reads a model out was fitted on these too.
    method
        ``"aligned"``, ``"from scratch"``, or a baseline by its name.
    rates
        R² of the reconstructed rates; None where it is not defined for any seed, as below, and of a baseline.
    reconstruction, forecast
        R² of hand velocity decoded from the reconstruction, and read out of the forecast.
    ensemble
        The same of the mean of the forecast and others; None where none was asked for.
    ceiling
        R² of hand velocity decoded from the recorded rates by a decoder of all training trials: what a
        perfect reconstruction would reach.
    """

    session: str
    n_trials: int
    method: str
    rates: Spread | None
    reconstruction: Spread | None
    forecast: Spread | None
    ensemble: Spread | None
    ceiling: float | None


def score_alignments(
    catalog_path: Path,
    entries: Sequence[RunEntry],
    settings: DecodeSettings,
    *,
    ensemble: bool = False,
    device: Device = "auto",
    pictures: PictureSettings | None = None,
    report: Report | None = None,
) -> list[Measurement]:
    """Score aligned runs on the test trials of their sessions; the numbers go into the catalog.

    Parameters
    ----------
    catalog_path
        Catalog file.
    entries
        Runs that `align` made; all of one recipe.
    settings
        Of decoders and read-outs (`pipeline.stages.decode.decode`), which are fitted to the trials a run was
        given.
    ensemble
        Also score the mean of each run's forecast with that of factors.
    device
        Where the models run.
    pictures
        Formats and resolution of the pictures; default: PNG of 300 dots per inch.
    report
        Called with one event per measurement.

    Returns
    -------
    scores
        ``rates_r2`` of every run; velocity of baselines that know the same trials; then what `decode` gives.
        Of runs that were given one trial, and of sessions without velocity, the first alone.

    Raises
    ------
    PartialFailure
        If a session or run cannot be decoded; it carries the other scores.
    """
    report = report or ignore
    if not entries:
        return []
    found = [_rates_score(catalog_path, entry, device) for entry in entries]
    scores = keep_measurements(catalog_path, found, facts=facts_of_runs(catalog_path, entries), report=report)
    decoded = [entry for entry in entries if _is_decoded(catalog_path, entry, settings, report)]
    if not decoded:
        return scores
    others = Beside(catalog_path, settings, report)
    beside = others.measure(decoded) + (others.means(decoded, device) if ensemble else [])
    scores += keep_measurements(
        catalog_path, beside, facts=facts_of_runs(catalog_path, decoded), report=report
    )
    sessions = sorted({name for entry in decoded for name in entry.sessions})
    runs = [entry.run for entry in decoded]
    try:
        scores += decode(
            catalog_path,
            settings,
            runs=runs,
            sessions=sessions,
            device=device,
            pictures=pictures,
            report=report,
        )
    except PartialFailure as failure:
        failure.results = (*scores, *failure.results)
        raise
    return scores


def _is_decoded(catalog_path: Path, entry: RunEntry, settings: DecodeSettings, report: Report) -> bool:
    """Say whether velocity can be read out of a run at all; tell where it cannot."""
    import numpy as np  # noqa: PLC0415

    made, (name,) = entry.alignment, entry.sessions
    reason = ""
    if made is not None and made.n_trials < 2:
        reason = "it was given one trial, and a read-out of velocity takes two"
    elif not np.isfinite(stored_session(catalog_path, entry, name).velocity(settings.lag_ms).velocity).any():
        reason = "no hand velocity was recorded"
    if reason:
        text = f"Run {entry.run}, {name}: its rates alone are scored: {reason}."
        report(
            NoteEvent(
                text=text, stage=STAGE, session=name, run=entry.run, status="rates alone", reason=reason
            )
        )
    return not reason


def _rates_score(catalog_path: Path, entry: RunEntry, device: Device) -> Measurement:
    import numpy as np  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.metrics.r2 import r2  # noqa: PLC0415
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415

    (name,) = entry.sessions
    session = stored_session(catalog_path, entry, name)
    rows = session.rows("test")
    value = math.nan
    if len(rows):
        test = session.select(rows).loaded()
        rates = test.trials["rates"].values.astype(np.float64)
        rebuilt = load_run(
            catalog_path.parent / entry.path, run_key=entry.run_key, device=device
        ).reconstruct(test)
        value = r2(rates, rebuilt, definition="r2_pooled", mask=np.isfinite(rates))
    return Measurement(
        name=RATES_METRIC,
        value=None if math.isnan(value) else value,
        unit="1",
        definition="r2_pooled",
        reason="there is no test trial, or its rates do not vary" if math.isnan(value) else "",
        run=entry.run,
        session=name,
        recipe_id=session.recipe_id,
        store_key=session.store_key,
        source="reconstruction",
        split="test",
        n_trials=len(rows),
        n_samples=len(rows) * session.n_bins,
        n_units=session.n_units,
        stage=STAGE,
    )


def few_shot_table(entries: Sequence[RunEntry], scores: Sequence[Measurement]) -> list[FewShotRow]:
    """Return one row for each session, number of trials and method, over the seeds.

    Parameters
    ----------
    entries
        Runs that `align` made.
    scores
        Of these runs (`score_alignments`).

    Returns
    -------
    rows
        By session and number of trials; what an alignment is compared with follows it.

    Examples
    --------
    >>> few_shot_table([], [])
    []
    """
    by_row: dict[tuple[str, int, str], list[str]] = {}
    for entry in entries:
        if entry.alignment is not None:
            method = SCRATCH if entry.alignment.from_scratch else ALIGNED
            by_row.setdefault((entry.sessions[0], entry.alignment.n_trials, method), []).append(entry.run)
    values = {(s.run, s.name, s.source): s.value for s in scores if s.run is not None}
    ceilings = {s.session: s.value for s in scores if s.run is None and s.source == "rates"}
    beside: dict[tuple[str, int, str], list[float | None]] = {}
    for score in scores:
        if score.is_baseline and score.stage == STAGE:
            beside.setdefault((score.session, score.details[GIVEN], score.source), []).append(score.value)
    rows = []
    for (session, n_trials, method), runs in by_row.items():
        over = {what: _spread([values.get((run, *what)) for run in runs]) for what in _COLUMNS}
        of_rates, rebuilt, ahead, mean = (over[what] for what in _COLUMNS)
        rows.append(
            FewShotRow(session, n_trials, method, of_rates, rebuilt, ahead, mean, ceilings.get(session))
        )
    for (session, n_trials, method), found in beside.items():
        rows.append(
            FewShotRow(session, n_trials, method, None, None, _spread(found), None, ceilings.get(session))
        )
    order = (ALIGNED, SCRATCH, *BESIDE)
    return sorted(rows, key=lambda row: (row.session, row.n_trials, order.index(row.method)))


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    error = statistics.stdev(known) / math.sqrt(len(known)) if len(known) > 1 else None
    return Spread(statistics.fmean(known), error, len(known))
