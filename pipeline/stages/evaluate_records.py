"""What was measured of runs and baselines as records, and which records are up to date."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SHOWN
from nwb_latents.pipeline.evaluation.row_details import GIVEN
from nwb_latents.pipeline.stages.evaluate_sources import ensemble_place
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.pipeline.evaluation.metrics.metric import Metric, Part
    from nwb_latents.pipeline.evaluation.scored_session import Measured, ScoredSession
    from nwb_latents.pipeline.stages.evaluate_sources import Source
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.evaluation import EvaluateSettings

EVALUATION_VERSION = 4
"""Raised when the same run, store and settings give other numbers than before."""

STAGE = "evaluate"
NOT_DEFINED = "not defined on these trials"

Place = tuple[str, bool, str]
"""Name of the source, whether it is a baseline, and the session."""
Circumstances = tuple[str, str, str, str]
"""Settings, store, run and baseline, by their keys: numbers are up to date if all four are the same."""


@dataclass
class Known:
    """Records of a source on a session that were measured under the same circumstances."""

    circumstances: Circumstances
    records: dict[tuple[str, Part], Measurement] = field(default_factory=dict)


def recorded_part(source: Source, part: Part) -> Part:
    """Return the part of a source as its records tell it: of a baseline they tell forecasts from the rest."""
    return "reconstruction" if source.is_baseline and part == "latents" else part


def parts_of(metric: Metric, source: Source) -> tuple[Part, ...]:
    """Return the parts of a source that a metric has a record for, one each."""
    if source.is_ensemble:
        return ("forecast",) if metric.name == "velocity_r2" else ()
    parts = {recorded_part(source, part): part for part in reversed(metric.parts)}
    return tuple(reversed(parts.values()))


def settings_digest(settings: EvaluateSettings, *, version: int = EVALUATION_VERSION) -> str:
    """Return what has to agree for two numbers to be comparable: all but the choice of what is measured.

    Parameters
    ----------
    settings
        Settings of an evaluation.
    version
        Version of the evaluation; since 2, decoders of recorded rates and forecasts that need no model see
        train trials alone; since 3, these forecasts see no spike after the bins shown, and deviations they
        divide by are no smaller than 1 Hz; since 4, velocity is read out of forecasts of runs by regressions
        fitted on forecasts of training trials, and these see no spike after the bins shown either.

    Examples
    --------
    >>> from nwb_latents.schemas.evaluation import EvaluateSettings
    >>> settings_digest(EvaluateSettings()) == settings_digest(EvaluateSettings(phase="val"))
    True
    """
    said = "\0".join((json.dumps(settings.counted(), sort_keys=True), str(version)))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def circumstances(source: Source, entry: SessionEntry, settings: EvaluateSettings) -> Circumstances:
    """Return under which circumstances a source would be measured."""
    return (settings_digest(settings), entry.store_key, source.facts.run_key or "", source.baseline_digest)


def as_measurement(
    measured: Measured, source: Source, entry: SessionEntry, session: ScoredSession, *, n_given: int = 0
) -> Measurement:
    """Return what was measured as a record; `n_given`: trials a run was given, 0: the training split."""
    metric, part, settings = measured.metric, measured.part, session.settings
    found, interval = measured.found, measured.interval
    protocol: dict[str, Any] = {}
    if interval is not None and found is not None:
        value, low, high = (_defined(end) for end in (interval.value, interval.low, interval.high))
        protocol |= {"value": value, "low": low, "high": high, "level": interval.level}
        protocol |= {"per_axis": found.per_axis, "n_samples": found.n_samples}
        protocol |= {"n_resamples": settings.n_resamples, "reason": NOT_DEFINED if value is None else ""}
        protocol |= {"decoder_settings": dict(found.decoder_settings)}
    else:
        protocol |= {"value": None, "reason": measured.reason}
    decoder = metric.decoder if found is None or found.decoder is None else found.decoder or None
    fitted_on = metric.fitted_on if found is None or found.fitted_on is None else found.fitted_on
    details = dict(found.details) if found is not None else {}
    if part == "forecast" and not source.is_baseline:
        details["shown"] = SHOWN
    if metric.needs_early_days and session.early is not None:
        details["early_days"] = session.early.keys
    if measured.told:
        details["told"] = measured.told
    if n_given:
        details[GIVEN] = n_given
    if source.baseline_digest:
        details["baseline_digest"] = source.baseline_digest
    is_ahead = part == "forecast"
    return Measurement(
        name=metric.name,
        unit=metric.unit,
        definition=metric.definition,
        session=entry.session,
        recipe_id=entry.recipe_id,
        store_key=entry.store_key,
        split=settings.phase,
        n_trials=session.n_trials,
        units=metric.units,
        n_units=entry.n_units,
        n_heldout=session.n_heldout,
        source=source.name if source.is_baseline else "ensemble" if source.is_ensemble else part,
        is_baseline=source.is_baseline,
        run=None if source.is_baseline else source.name,
        **asdict(source.facts),
        stage=STAGE,
        decoder=decoder,
        fitted_on=fitted_on,
        fitted_sessions=() if found is None else found.fitted_sessions,
        lag_ms=settings.lag_ms if metric.has_lag else None,
        seen_bins=settings.forecast.seen_bins if is_ahead else None,
        bins=settings.forecast.bins if is_ahead else None,
        settings_digest=settings_digest(settings),
        details=details,
        **protocol,
    )


def known_records(records: Iterable[Measurement]) -> dict[Place, Known]:
    """Return the records of each source and session, those of the latest circumstances alone.

    Parameters
    ----------
    records
        Of one recipe and split, in the order they were written.
    """
    found: dict[Place, Known] = {}
    for each in records:
        owner = ensemble_place(each.run) if each.source == "ensemble" and each.run else each.run
        place = (owner or each.source, each.is_baseline, each.session)
        digest = str(each.details.get("baseline_digest", ""))
        now = (each.settings_digest, each.store_key, each.run_key or "", digest)
        if place not in found or found[place].circumstances != now:
            found[place] = Known(now)
        part: Part = "forecast" if each.bins else "latents" if each.source == "latents" else "reconstruction"
        found[place].records[each.name, part] = each
    return found


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
