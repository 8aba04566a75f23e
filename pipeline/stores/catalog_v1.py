"""What catalogs of version 1 held beside dandisets, sessions and runs, as measurements.

Their scores and evaluations, and the forecasts in the folders of their runs, are written as lines among the
measurements once, into a file named for the content of the catalog: whoever is killed meanwhile, or does the
same at the same time, writes the same file again. Then the catalog is written without them; the old one is
kept beside it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nwb_latents.pipeline.stores.atomic import write_bytes
from nwb_latents.pipeline.stores.lenient import say
from nwb_latents.pipeline.stores.measurement_lines import SUFFIX, as_line, flush_folder, measurement_folder
from nwb_latents.pipeline.stores.plain_files import nothing_has_the_name, read_file, read_text
from nwb_latents.schemas.base import NewerRecordError
from nwb_latents.schemas.catalog_v1 import CurveV1, EvaluationV1, ForecastV1, ScoreV1, ValueV1
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nwb_latents.schemas.catalog import Catalog

MEASURED = ("results", "evaluations")
"""Sections of a catalog of version 1 that hold numbers."""

RECORDED = "recorded rates"
_BITS, _RATIO = "bits/spike", "1"
_BASELINES = {"linear": "linear_forecast"}
"""Baselines that forecasts named otherwise than evaluations."""

_BASELINE_DIGEST = "45aa8b2da0851f4dd6777684b3ec9fc527e2d35c837eae74acf4da8402fc8686"
"""Digest of the settings of baselines at their defaults."""

_EVALUATION: dict[str, Any] = {
    "folds": 5, "forecast_bins": 20, "forecast_seen_bins": 13, "forward_ms": 200.0, "heldout_fraction": 0.25,
    "lag_ms": 100.0, "level": 0.95, "n_resamples": 1000, "psth_sigma_ms": 70.0, "seed": 0,
}  # fmt: skip
"""Settings of an evaluation at their defaults, as far as they decide numbers."""

_VERSION = "1"
_MOST_RESAMPLES = 10_000


@dataclass
class Found:
    """What a catalog of version 1 held.

    Attributes
    ----------
    measurements
        The numbers, as they are told apart today.
    unread
        What could not be read, in words.
    """

    measurements: list[Measurement] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def is_first_version(content: Mapping[str, Any]) -> bool:
    """Whether the content of a catalog file is of version 1; one that says nothing is, too.

    Examples
    --------
    >>> is_first_version({"sessions": {}}), is_first_version({"schema_version": 2})
    (True, False)
    """
    return bool(content.get("schema_version", 1) == 1)


def lines_name(text: str) -> str:
    """Return the name of the file that the numbers of a catalog with this text go into."""
    return f"v1-{hashlib.sha256(text.encode()).hexdigest()[:16]}{SUFFIX}"


def found_in(path: Path, content: Mapping[str, Any], catalog: Catalog) -> Found:
    """Return the numbers a catalog of version 1 and the folders of its runs hold, as measurements.

    Keys of stores and runs are filled in where the entry is still there and provably the one that was scored;
    elsewhere they stay empty. What was `velocity_r2` of an evaluation, whose decoder was fitted on each
    source's own rates, becomes `nlb_velocity_r2`; its `forecast_velocity_r2`, whose decoder was fitted on
    recorded rates, `velocity_r2` of the forecast.

    Parameters
    ----------
    path
        Catalog file.
    content
        What it holds.
    catalog
        Its sessions and runs.
    """

    def scores(written: Any) -> Iterator[Measurement]:
        return _of_score(ScoreV1.read(written))

    def evaluations(written: Any) -> Iterator[Measurement]:
        return _of_evaluation(EvaluationV1.read(written), catalog)

    found = Found()
    for section, convert in zip(MEASURED, (scores, evaluations), strict=True):
        for number, written in enumerate(content.get(section) or ()):
            try:
                found.measurements += convert(written)
            except (ValidationError, NewerRecordError, TypeError, ValueError) as error:
                found.unread.append(f"{path}: {section}, entry {number + 1}: {str(error).splitlines()[0]}")
    for run in catalog.runs.values():
        for file in sorted((path.parent / run.path / "forecast").glob("*.json")):
            try:
                found.measurements += _of_forecast(ForecastV1.read(json.loads(read_text(file))))
            except (ValidationError, NewerRecordError, TypeError, ValueError, OSError) as error:
                found.unread.append(f"{file}: {str(error).splitlines()[0]}")
    return found


def keep_apart(path: Path, text: str, found: Found) -> None:
    """Write the numbers of a catalog of version 1 among its measurements, and a copy of the catalog.

    Parameters
    ----------
    path
        Catalog file, whose lock is held.
    text
        Its text.
    found
        The numbers in it.

    Raises
    ------
    MachineError
        If the folder cannot be written to.
    """
    if not found.measurements and not found.unread:
        return
    folder = measurement_folder(path)
    write_bytes(folder / lines_name(text), b"".join(map(as_line, found.measurements)))
    flush_folder(folder)
    copy = _free_name(path, text)
    write_bytes(copy, text.encode())
    flush_folder(path.parent)
    n_unknown = sum(1 for each in found.measurements if not each.store_key)
    unknown = (
        f" {n_unknown} of them do not say which store and run they are of, since older versions did not; "
        "measure again to have it said."
    )
    say(
        f"{path}: the {len(found.measurements)} numbers in it are in {folder.name} from here on. The file as "
        f"it was is kept as {copy.name}.{unknown if n_unknown else ''}"
    )
    for what in found.unread:
        say(f"{what}. It was left out of the measurements; {copy.name} has it.")


def _free_name(path: Path, text: str) -> Path:
    """Return the name for a copy of the old file: one that is not taken by another."""
    copy = path.with_suffix(f".v1{path.suffix}")
    number = 1
    while not nothing_has_the_name(copy) and not _holds(copy, text):
        number += 1
        copy = path.with_suffix(f".v1-{number}{path.suffix}")
    return copy


def _holds(path: Path, text: str) -> bool:
    try:
        return read_file(path) == text.encode()
    except OSError:
        return False


def _of_score(score: ScoreV1) -> Iterator[Measurement]:
    # It does not say enough to tell which store and run it is of.
    decoded = score.metric != "rates_r2"
    yield Measurement(
        name=score.metric,
        value=score.value,
        per_axis=score.per_axis,
        p_value=score.p_value,
        unit=_RATIO,
        definition=score.definition,
        session=score.session,
        recipe_id=score.recipe_id,
        split=score.split,
        n_trials=score.n_trials,
        n_samples=score.n_samples,
        source=score.source,
        run=score.run,
        stage="decode" if decoded else "align",
        decoder=score.decoder if decoded else None,
        decoder_settings={"alpha": score.alpha} if decoded else {},
        fitted_on=("latents" if score.source == "latents" else RECORDED) if decoded else "",
        fitted_sessions=score.trained_on,
        lag_ms=score.lag_ms if decoded else None,
    )


def _of_evaluation(evaluation: EvaluationV1, catalog: Catalog) -> Iterator[Measurement]:
    proven = _proven_keys(evaluation, catalog)
    for name, value in evaluation.metrics.items():
        yield _of_metric(evaluation, name, value, proven)
    for name, reason in evaluation.missing.items():
        yield _of_metric(evaluation, name, ValueV1(value=None), {**proven, "reason": reason})


def _of_metric(evaluation: EvaluationV1, name: str, value: ValueV1, about: Mapping[str, Any]) -> Measurement:
    settings = _evaluation_settings(evaluation.settings_digest)
    ahead = name.startswith("forecast_")
    part = "forecast" if ahead else "latents" if name == "state_r2" else "reconstruction"
    protocol: dict[str, Any] = {}
    fitted = "train and val trials" if evaluation.phase == "test" else "train trials"
    if name == "velocity_r2":
        protocol = {"name": "nlb_velocity_r2", "decoder": "nlb_ridge", "fitted_on": f"own rates, {fitted}"}
    elif name == "forecast_velocity_r2":
        # Baselines that forecast gave velocity without a decoder.
        # Today's decoder sees train trials alone, whatever the phase.
        on = f"{RECORDED}, {fitted}" if evaluation.phase == "test" else RECORDED
        decoder = {} if evaluation.is_baseline else {"decoder": "ridge", "fitted_on": on}
        protocol = {"name": "velocity_r2", **decoder}
    if "velocity" in name:
        protocol["lag_ms"] = settings.get("lag_ms")
    if ahead:
        protocol |= {"seen_bins": settings.get("forecast_seen_bins"), "bins": settings.get("forecast_bins")}
    if value.low is not None:
        protocol |= {"level": evaluation.level, "n_resamples": settings.get("n_resamples")}
    in_bits = name in {"co_bps", "fp_bps"}
    definition = "" if in_bits else "r2_trialmean" if name == "forecast_rates_r2" else "r2_uniform"
    told = {
        "name": name, "value": value.value, "low": value.low, "high": value.high,
        "unit": _BITS if in_bits else _RATIO, "definition": definition, "session": evaluation.session,
        "recipe_id": evaluation.recipe_id, "split": evaluation.phase, "n_trials": evaluation.n_trials,
        "units": "heldout" if name == "co_bps" else "all", "n_units": evaluation.n_units,
        "n_heldout": evaluation.n_heldout, "source": evaluation.source if evaluation.is_baseline else part,
        "is_baseline": evaluation.is_baseline, "run": None if evaluation.is_baseline else evaluation.source,
        "label": evaluation.label, "group": evaluation.group, "seed": evaluation.seed, "stage": "evaluate",
        "settings_digest": evaluation.settings_digest,
    }  # fmt: skip
    return Measurement.model_validate({**told, **protocol, **about})


def _proven_keys(evaluation: EvaluationV1, catalog: Catalog) -> dict[str, Any]:
    """Return the keys that the key of an evaluation was made of, if those of today give the same."""
    session = catalog.sessions.get(f"{evaluation.session}@{evaluation.recipe_id}")
    if session is None:
        return {}
    digest = evaluation.settings_digest
    if evaluation.is_baseline:
        said = ("baseline", evaluation.source, session.store_key, _BASELINE_DIGEST, digest)
        return {"store_key": session.store_key} if _hash(*said) == evaluation.key else {}
    run = catalog.runs.get(evaluation.source)
    if run is None or _hash("run", run.run_key, session.store_key, digest) != evaluation.key:
        return {}
    return {"store_key": session.store_key, "run_key": run.run_key, "model": run.model}


@cache
def _evaluation_settings(digest: str) -> dict[str, Any]:
    """Return the settings of an evaluation, if they were the usual ones but for the number of resamples."""
    usual = _EVALUATION["n_resamples"]
    for n_resamples in (usual, *range(1, _MOST_RESAMPLES + 1)):
        settings = {**_EVALUATION, "n_resamples": n_resamples}
        if _hash(json.dumps(settings, sort_keys=True), _VERSION)[:16] == digest:
            return settings
    return {}


def _of_forecast(forecast: ForecastV1) -> Iterator[Measurement]:
    for curve in forecast.curves:
        yield _of_curve(forecast, curve, curve.pooled)
        for step, value in enumerate(curve.per_step, start=1):
            yield _of_curve(forecast, curve, value, step=step)


def _of_curve(
    forecast: ForecastV1, curve: CurveV1, value: float | None, *, step: int | None = None
) -> Measurement:
    of_velocity = curve.quantity == "velocity"
    source = {"model": "forecast", "recorded": "rates"}.get(curve.source)
    decoded = of_velocity and source is not None
    fitted = "decoder" if decoded else f"linear_{curve.quantity}" if curve.source == "linear" else ""
    alpha = {"alpha": forecast.alphas[fitted]} if fitted in forecast.alphas else {}
    return Measurement(
        name="velocity_r2" if of_velocity else "forecast_rates_r2",
        value=value,
        unit=_RATIO,
        definition=curve.definition,
        session=forecast.session,
        recipe_id=forecast.recipe_id,
        split=forecast.split,
        n_trials=forecast.n_trials,
        source=source or _BASELINES.get(curve.source, curve.source),
        is_baseline=source is None,
        run=forecast.run if source == "forecast" else None,
        stage="forecast",
        decoder="ridge" if decoded else None,
        decoder_settings=alpha if decoded else {},
        details={} if decoded else alpha,
        fitted_on=RECORDED if decoded else "",
        lag_ms=forecast.lag_ms if of_velocity else None,
        seen_bins=forecast.seen_bins,
        bins=forecast.bins,
        step=step,
    )


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
