"""Which measurements of evaluations count: those of the latest run, store and settings of each source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nwb_latents.pipeline.evaluation.forecasting.source_forecast import ENSEMBLE
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STAGE = "evaluate"
"""Whose measurements are compared."""

NEEDED = (
    "name", "value", "low", "high", "level", "unit", "definition", "session", "recipe_id", "store_key",
    "split", "source", "is_baseline", "run", "run_key", "label", "group", "seed", "stage", "decoder",
    "fitted_on", "fitted_sessions", "lag_ms", "seen_bins", "bins", "settings_digest", "details", "time",
)  # fmt: skip
"""Columns of the table of measurements that a board is made of."""

_PLACE = ["is_baseline", "owner", "session", "recipe_id", "split"]
_CIRCUMSTANCES = ["settings_digest", "store_key", "run_key", "baseline_digest"]


def measurement_table(measurements: Iterable[Measurement]) -> pd.DataFrame:
    """Return records as a table, as `pipeline.stores.measurements.read_measurements` reads them.

    Examples
    --------
    >>> one = Measurement(name="co_bps", value=0.1, session="a", recipe_id="r", split="test", n_trials=9,
    ...                   source="null", is_baseline=True, stage="evaluate")
    >>> measurement_table([one])[["name", "value"]].to_dict("records")
    [{'name': 'co_bps', 'value': 0.1}]
    """
    fields = Measurement.model_fields
    whole = [name for name, field in fields.items() if field.annotation in (int, int | None)]
    made = pd.DataFrame([each.model_dump() for each in measurements], columns=list(fields))
    return made.astype(dict.fromkeys(whole, "Int64"))


def current_evaluations(table: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements of evaluations that count.

    Of a source, session, recipe and split, these are the ones measured under the same circumstances as the
    latest: what was measured of another run of the same name, another store or with other settings is past.

    Parameters
    ----------
    table
        Measurements with the columns `NEEDED`, in order of time.

    Returns
    -------
    table
        With the further columns ``owner`` (name of the run, or of the baseline), ``part`` and
        ``baseline_digest``.

    Examples
    --------
    >>> shared = {"name": "co_bps", "session": "a", "recipe_id": "r", "split": "test", "n_trials": 9,
    ...           "source": "reconstruction", "run": "m", "stage": "evaluate"}
    >>> before = Measurement(value=0.1, run_key="first", **shared)
    >>> anew = Measurement(value=0.2, run_key="trained anew", **shared)
    >>> current_evaluations(measurement_table([before, anew]))["value"].tolist()
    [0.2]
    """
    mine = table[table["stage"] == STAGE].copy()
    is_baseline = mine["is_baseline"].astype(bool)
    mine["is_baseline"] = is_baseline
    mine["owner"] = mine["run"].where(mine["run"].notna(), mine["source"])
    # The ensemble of a run is a source of its own, beside the run.
    is_ensemble = (mine["source"] == ENSEMBLE) & mine["run"].notna()
    mine["owner"] = mine["owner"].where(~is_ensemble, mine["owner"].astype(object) + ", ensemble")
    latents = (mine["source"] == "latents") & ~is_baseline
    mine["part"] = np.select([mine["bins"].notna(), latents], ["forecast", "latents"], "reconstruction")
    digests = [_digest_of(said) for said in mine["details"]]
    mine["baseline_digest"] = np.array(digests, dtype=object)
    circumstances = _codes(mine, _CIRCUMSTANCES)
    place = _codes(mine, _PLACE)
    latest = pd.Series(circumstances).groupby(place).transform("last").to_numpy()
    mine = mine[circumstances == latest]
    return mine[~mine.duplicated([*_PLACE, "name", "part"], keep="last")]


def _codes(table: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Return a number for each row, equal where all columns are; missing values are equal to each other."""
    numbers = np.zeros(len(table), dtype=np.int64)
    for name in columns:
        codes, known = pd.factorize(table[name], use_na_sentinel=True)
        numbers = pd.factorize(numbers * (len(known) + 1) + codes + 1)[0]
    return numbers


def _digest_of(details: object) -> str:
    return str(details.get("baseline_digest", "")) if isinstance(details, dict) else ""
