"""R² over the steps ahead: a curve of one source, its numbers as measurements, and means over sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.forecasting.source_forecast import MODEL, OF_RUNS, RECORDED
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nwb_latents.schemas.forecasting import ForecastQuantity

STAGE = "forecast"

NAMES: dict[ForecastQuantity, str] = {"velocity": "velocity_r2", "rates": "forecast_rates_r2"}
"""Name of the metric of each quantity: the numbers of `pipeline run evaluate` of that name are the same."""

DEFINITIONS: dict[ForecastQuantity, str] = {"velocity": "r2_uniform", "rates": "r2_trialmean"}

SLOPE = "velocity_slope"
"""Slope of the regression of recorded velocity on the forecast: 1 where its size can be believed."""

COVERAGE = "coverage_90"
"""Share of test trials and bins whose velocity lies in the band that is to hold 90 % of them."""

WIDTH = "band_width_90"
"""Mean width of that band, cm/s."""


@dataclass(frozen=True)
class Curve:
    """R² of one source, by steps ahead and over all of them.

    Attributes
    ----------
    quantity
        Hand velocity, or firing rates of all units.
    source
        Who forecasts: one of `source_forecast.OF_RUNS`, a baseline by its name, or `RECORDED`.
    per_step
        R² 1, 2, … bins ahead; None where it is not defined.
    pooled
        R² over all steps; None where it is not defined.
    details
        What a baseline chose, and what it is told.
    """

    quantity: ForecastQuantity
    source: str
    per_step: tuple[float | None, ...]
    pooled: float | None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        """Whether it is of a baseline."""
        return self.source not in {*OF_RUNS, RECORDED}

    @property
    def definition(self) -> str:
        """Which R² this is."""
        return DEFINITIONS[self.quantity]

    def measurements(self, *, run: str | None, **about: object) -> list[Measurement]:
        """Return one record for all steps together, then one for each.

        Parameters
        ----------
        run
            Run that forecasts; of a baseline and of recorded rates, it is left out.
        about
            What else the records say: session, split, lag, bins …

        Examples
        --------
        >>> curve = Curve("rates", "hold_last", per_step=(0.5, None), pooled=0.25)
        >>> found = curve.measurements(run="m", session="a", recipe_id="r", split="test", n_trials=3)
        >>> [(one.name, one.step, one.value, one.run, one.is_baseline) for one in found][:2]
        [('forecast_rates_r2', None, 0.25, None, True), ('forecast_rates_r2', 1, 0.5, None, True)]
        """
        shared = {
            "name": NAMES[self.quantity],
            "definition": self.definition,
            "unit": "1",
            "stage": STAGE,
            "source": self.source,
            "is_baseline": self.is_baseline,
            "run": run if self.source in OF_RUNS else None,
        }
        values = [(None, self.pooled), *enumerate(self.per_step, start=1)]
        return [
            Measurement.model_validate({
                **about, **shared, "step": step, "value": value,
                "reason": "" if value is not None else "nothing varies there",
            })
            for step, value in values
        ]  # fmt: skip


def sessions_of(measurements: Iterable[Measurement]) -> list[str]:
    """Return the sessions a run was scored on, in order."""
    return list(dict.fromkeys(each.session for each in measurements if each.source == MODEL))


def curves_of(
    measurements: Iterable[Measurement], quantity: ForecastQuantity
) -> dict[tuple[str, str], Curve]:
    """Put records together again: session and source → curve.

    Parameters
    ----------
    measurements
        Of one run and of what it is compared with.
    quantity
        Which of the two.
    """
    found: dict[tuple[str, str], dict[int, float | None]] = {}
    for each in measurements:
        if each.name == NAMES[quantity] and each.bins is not None:
            found.setdefault((each.session, each.source), {})[each.step or 0] = each.value
    return {
        key: Curve(quantity, key[1], tuple(by_step[step] for step in sorted(by_step) if step), by_step[0])
        for key, by_step in found.items()
    }


def mean_curves(
    measurements: Sequence[Measurement], quantity: ForecastQuantity
) -> Mapping[str, list[float | None]]:
    """Return the mean over sessions of each source: every step, then the pooled value.

    A value that is not defined in a session does not count; None if it is defined in none.
    """
    found: dict[str, list[tuple[float | None, ...]]] = {}
    for (_, source), curve in curves_of(measurements, quantity).items():
        found.setdefault(source, []).append((*curve.per_step, curve.pooled))
    return {source: [_mean(values) for values in zip(*rows, strict=True)] for source, rows in found.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
