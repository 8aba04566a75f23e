"""What few-shot alignments are worth: scores on the test trials of the new sessions, and a table of them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import PartialFailure
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.run_facts import facts_of_runs
from nwb_latents.pipeline.stages.stage_work import keep_measurements
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.decoding import DecodeSettings, DecodeSource
    from nwb_latents.schemas.training import Device

RATES_METRIC = "rates_r2"
"""R² of the reconstruction against the smoothed rates themselves, over whole test trials."""

_COLUMNS: tuple[tuple[str, DecodeSource], ...] = (
    (RATES_METRIC, "reconstruction"),
    ("velocity_r2", "reconstruction"),
    ("velocity_r2", "forecast"),
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
        Trials the model was given.
    from_scratch
        Whether it is the baseline without pre-training.
    rates
        R² of the reconstructed rates; None where it is not defined for any seed, as below.
    reconstruction, forecast
        R² of hand velocity decoded from reconstruction and forecast.
    ceiling
        R² of hand velocity decoded from the recorded rates: what a perfect reconstruction would reach.
    """

    session: str
    n_trials: int
    from_scratch: bool
    rates: Spread | None
    reconstruction: Spread | None
    forecast: Spread | None
    ceiling: float | None


def score_alignments(
    catalog_path: Path,
    entries: Sequence[RunEntry],
    settings: DecodeSettings,
    *,
    device: Device = "auto",
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
        Of the velocity decoder (`pipeline.stages.decode.decode`), which is fitted to all training trials of a
        session, however few the model was given.
    device
        Where the models run.
    report
        Called with one event per measurement.

    Returns
    -------
    scores
        ``rates_r2`` of every run, then what `decode` gives.

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
    sessions = sorted({name for entry in entries for name in entry.sessions})
    runs = [entry.run for entry in entries]
    try:
        return scores + decode(
            catalog_path, settings, runs=runs, sessions=sessions, device=device, report=report
        )
    except PartialFailure as failure:
        failure.results = (*scores, *failure.results)
        raise


def _rates_score(catalog_path: Path, entry: RunEntry, device: Device) -> Measurement:
    import numpy as np  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.metrics.r2 import r2  # noqa: PLC0415
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415

    (name,) = entry.sessions
    held = read_catalog(catalog_path).sessions.values()
    (store,) = [e.store for e in held if (e.session, e.recipe_id) == (name, entry.recipe_id)]
    session = open_session(store_path(catalog_path, store))
    rows = session.rows("test")
    value = math.nan
    if len(rows):
        test = session.select(rows).loaded()
        rates = test.trials["rates"].values.astype(np.float64)
        rebuilt = load_run(catalog_path.parent / entry.path, device=device).reconstruct(test)
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
        stage="align",
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
        By session and number of trials; a baseline follows the alignment it is compared with.

    Examples
    --------
    >>> few_shot_table([], [])
    []
    """
    by_row: dict[tuple[str, int, bool], list[str]] = {}
    for entry in entries:
        if entry.alignment is not None:
            row = (entry.sessions[0], entry.alignment.n_trials, entry.alignment.from_scratch)
            by_row.setdefault(row, []).append(entry.run)
    values = {(s.run, s.name, s.source): s.value for s in scores if s.run is not None}
    ceilings = {s.session: s.value for s in scores if s.run is None and s.source == "rates"}
    out = []
    for (session, n_trials, from_scratch), runs in sorted(by_row.items()):
        over = {what: _spread([values.get((run, *what)) for run in runs]) for what in _COLUMNS}
        rates, rebuilt, ahead = (over[what] for what in _COLUMNS)
        out.append(FewShotRow(session, n_trials, from_scratch, rates, rebuilt, ahead, ceilings.get(session)))
    return out


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    error = statistics.stdev(known) / math.sqrt(len(known)) if len(known) > 1 else None
    return Spread(statistics.fmean(known), error, len(known))
