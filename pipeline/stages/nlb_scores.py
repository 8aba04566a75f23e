"""``pipeline export nlb-submission --check FILE --targets FILE``: scores of a submission as measurements.

Scores of a run of the catalog are kept with its measurements; those of other submissions are shown.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.run_facts import facts_of_runs
from nwb_latents.pipeline.stages.stage_work import keep_measurements
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.current_keys import CurrentKeys
from nwb_latents.schemas.events import MeasurementEvent, NoteEvent
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.nlb.files import Origin
    from nwb_latents.pipeline.stores.exporters.hdf5 import Array
    from nwb_latents.schemas.catalog import RunEntry

STAGE = "nlb_submission"
UNKNOWN_SPLIT = "eval"
"""Split of a submission that does not say which trials it scores: the benchmark's word for them."""


def score(
    catalog_path: Path, path: Path, targets: Sequence[Path], *, report: Report = ignore
) -> list[Measurement]:
    """Score every group of a submission that there are targets for.

    Parameters
    ----------
    catalog_path
        Catalog file; where it holds the run the submission is of, the scores are added to its measurements.
    path
        A submission without fault (`pipeline.evaluation.nlb.submission.check_submission`).
    targets
        Files of targets.
    report
        Receives one event per score, and a note where nothing is kept.

    Returns
    -------
    measurements
        In order of the groups; ``details`` has the group.

    Raises
    ------
    DataError
        If a file cannot be read, or no group has targets.
    MachineError
        If the measurements cannot be written.
    """
    from nwb_latents.pipeline.evaluation.nlb.files import read_origin  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.nlb.scores import read_targets, score_submission  # noqa: PLC0415

    scores, origin = score_submission(path, targets), read_origin(path)
    known: dict[str, dict[str, Array]] = {}
    for file in targets:
        known |= read_targets(file)
    run = _run_of(catalog_path, origin)
    found = [
        _measurement(name, value, group, origin, run, targets=known[group])
        for group, values in scores.items()
        for name, value in values.items()
    ]
    if run is not None:
        keys = CurrentKeys(read_catalog(catalog_path))
        facts = facts_of_runs(catalog_path, [run])
        return keep_measurements(catalog_path, found, facts=facts, report=report, keys=keys)
    for each in found:
        report(MeasurementEvent.model_validate(each.model_dump()))
    of = f"run {origin.file['run']}" if "run" in origin.file else "it"
    report(NoteEvent(text=f"{path.name}: {of} is not in {catalog_path}; its scores are shown and not kept"))
    return found


def _run_of(catalog_path: Path, origin: Origin) -> RunEntry | None:
    """Return the run a submission is of, if the catalog holds this very one."""
    try:
        entry = read_catalog(catalog_path).runs.get(str(origin.file.get("run", "")))
    except DataError:
        return None
    return entry if entry is not None and entry.run_key == origin.file.get("run_key") else None


def _measurement(
    name: str,
    value: float,
    group: str,
    origin: Origin,
    run: RunEntry | None,
    *,
    targets: Mapping[str, Array],
) -> Measurement:
    from nwb_latents.pipeline.evaluation.metrics.known import metric_called  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.metrics.nlb_velocity_r2 import own_rates  # noqa: PLC0415

    metric, said = metric_called(name), origin.groups.get(group, {})
    settings = json.loads(str(origin.file.get("export_settings", "{}")))
    n_trials, _, n_heldout = np.shape(targets["eval_spikes_heldout"])
    is_defined = math.isfinite(value)
    return Measurement(
        name=name,
        value=value if is_defined else None,
        unit=metric.unit,
        definition=metric.definition,
        reason="" if is_defined else "not defined on these trials",
        session=str(said.get("session", group)),
        recipe_id="" if run is None else run.recipe_id,
        store_key=str(said.get("store_key", "")),
        split=str(said.get("split") or settings.get("phase", UNKNOWN_SPLIT)),
        n_trials=n_trials,
        units=metric.units,
        n_heldout=n_heldout,
        source="reconstruction",
        run=None if run is None else run.run,
        stage=STAGE,
        decoder=metric.decoder,
        fitted_on=own_rates(settings.get("phase", "")) if metric.decoder else "",
        lag_ms=settings.get("lag_ms") if metric.has_lag else None,
        details={"group": group},
    )
