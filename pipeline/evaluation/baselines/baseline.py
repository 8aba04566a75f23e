"""A baseline: a source of rates, forecasts or both that needs no trained model, described once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.evaluation.source_output import SourceOutput
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction, SpikeTask
from nwb_latents.pipeline.machine import one_blas_thread
from nwb_latents.schemas.baselines import BaselineSettings

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import ForecastOf
    from nwb_latents.pipeline.evaluation.metrics.metric import Need, Part
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession

RatesOf = Callable[[SpikeTask, BaselineSettings], RatePrediction]


@dataclass(frozen=True, kw_only=True, eq=False)
class Baseline:
    """A source of rates or forecasts that needs no trained model.

    Attributes
    ----------
    name
        Its one name: setting, row, record. Lower case with underscores.
    meaning
        What it predicts from what, in words.
    rates
        Rates of a session; None: it has none, or they are the truth.
    forecast
        Forecasts of rates, and of velocity itself; None: it does not forecast.
    of_store
        Rates that lie in the store of a session, where some came with it; None: they are made of spikes.
    told
        What it is told of the trials it predicts, beside spikes: ``"the target"``. Empty: nothing.
    is_truth
        Whether its rates are those the spikes were drawn from, which only simulated sessions know.
    order
        Place in tables; equal ones by name. Those of this project have 10 to 99.

    Raises
    ------
    SettingsError
        If it is not described well enough to be shown, or makes nothing.
    """

    name: str
    meaning: str
    rates: RatesOf | None = None
    forecast: ForecastOf | None = None
    of_store: Callable[[ScoredSession], RatePrediction] | None = None
    told: str = ""
    is_truth: bool = False
    order: float = 100.0

    def __post_init__(self) -> None:
        faults = [
            *(
                []
                if self.name.isidentifier() and self.name == self.name.lower()
                else [f"name {self.name!r} is not lower case with underscores"]
            ),
            *([] if self.meaning else ["meaning is empty"]),
            *(
                []
                if self.rates or self.forecast or self.of_store or self.is_truth
                else ["it makes neither rates nor forecasts"]
            ),
        ]
        if faults:
            raise SettingsError(f"baseline {self.name or '?'}: {'; '.join(faults)}. Mend its description.")

    def made_of(
        self, session: ScoredSession, settings: BaselineSettings, *, parts: Collection[Part]
    ) -> SourceOutput:
        """Return what the baseline makes of a session.

        Parameters
        ----------
        session
            The session, and the truth of it.
        settings
            What may be chosen from.
        parts
            Parts that are wanted.

        Raises
        ------
        DataError
            If there are fewer training trials than folds, or no unit to predict from another.
        """
        rates = ahead = None
        with one_blas_thread():
            if "reconstruction" in parts:
                rates = self._rates(session, settings)
        if "forecast" in parts and session.forecast is not None:
            ahead = session.forecast.of_baseline(self, settings)
        return SourceOutput(
            rates=rates,
            rates_hz=None if rates is None else session.in_hz(rates.eval),
            forecast=ahead,
            withheld=self._withheld(session),
            told=dict.fromkeys(parts, self.told) if self.told else {},
        )

    def _rates(self, session: ScoredSession, settings: BaselineSettings) -> RatePrediction | None:
        if self.is_truth:
            return session.true_rates
        if self.of_store is not None:
            return self.of_store(session)
        return None if self.rates is None else self.rates(session.task, settings)

    def _withheld(self, session: ScoredSession) -> dict[Need, str]:
        """Return what rates of a store cannot be scored on: units the store does not mark as held out."""
        marked = session.session.trials["heldout"].values if self.of_store is not None else None
        if marked is None or np.array_equal(marked, session.answers.heldout):
            return {}
        return {
            "heldout": "its rates came with the file and were made of the units held out here: the file "
            "holds out others, or none"
        }
