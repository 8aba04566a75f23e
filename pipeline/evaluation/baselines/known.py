"""The baselines: what each makes of a session, in one table."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.evaluation.baselines.gpfa import gpfa
from nwb_latents.pipeline.evaluation.baselines.latent_models import factor_analysis, pca
from nwb_latents.pipeline.evaluation.baselines.rates import condition_mean, null, smoothing
from nwb_latents.pipeline.evaluation.forecasting.curves import CONDITION_MEAN, HOLD_LAST, LINEAR
from nwb_latents.pipeline.evaluation.source_output import SourceOutput
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction, SpikeTask
from nwb_latents.schemas.baselines import BaselineSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.evaluation.metrics.metric import Part
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession

RatesOf = Callable[[SpikeTask, BaselineSettings], RatePrediction]


@dataclass(frozen=True)
class Baseline:
    """A source of rates or forecasts that needs no trained model.

    Attributes
    ----------
    name
        Its one name.
    meaning
        What it predicts, in words.
    rates
        Rates of a session; None: it has none, or they are the truth.
    forecasts
        Whether it forecasts rates, and velocity itself.
    is_truth
        Whether its rates are those the spikes were drawn from, which only simulated sessions know.
    """

    name: str
    meaning: str
    rates: RatesOf | None = None
    forecasts: bool = False
    is_truth: bool = False

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
        rates = ahead = velocity = None
        if "reconstruction" in parts:
            rates = session.true_rates if self.is_truth else self.rates and self.rates(session.task, settings)
        if "forecast" in parts and self.forecasts and session.forecast is not None:
            guesses = session.forecast.guesses()
            ahead = guesses["rates"][self.name]
            velocity = guesses.get("velocity", {}).get(self.name)
        return SourceOutput(
            rates=rates,
            rates_hz=None if rates is None else session.in_hz(rates.eval),
            forecast_hz=ahead,
            forecast_velocity=velocity,
            forecasts_velocity=self.forecasts,
        )


BASELINES: dict[str, Baseline] = {
    each.name: each
    for each in (
        Baseline("null", "the mean of each unit", rates=null),
        Baseline(
            CONDITION_MEAN,
            "the smoothed mean course of the trial's condition: it is told the target",
            rates=condition_mean,
            forecasts=True,
        ),
        Baseline(
            "smoothing",
            "held-in units smoothed with a Gaussian; held-out ones by Poisson regression on them; width and "
            "penalty by cross-validation",
            rates=smoothing,
        ),
        Baseline(
            "factor_analysis",
            "Poisson regression on factors, their number by cross-validation",
            rates=factor_analysis,
        ),
        Baseline("pca", "the same on principal components", rates=pca),
        Baseline("gpfa", "the same on Gaussian-process factors (by elephant)", rates=gpfa),
        Baseline(HOLD_LAST, "forecast: the last value seen", forecasts=True),
        Baseline(LINEAR, "forecast: ridge regression from all bins seen", forecasts=True),
        Baseline(
            "oracle",
            "the rates the spikes were drawn from, of simulated sessions: no source can be better but by "
            "chance",
            is_truth=True,
        ),
    )
}
"""Every baseline by name, in the order of tables."""


def known_baselines(names: Sequence[str] | None) -> list[Baseline]:
    """Return the baselines of these names, each once; None: all of them.

    Raises
    ------
    SettingsError
        If there is none of a name; the message says which are near.

    Examples
    --------
    >>> [baseline.name for baseline in known_baselines(["pca", "null"])]
    ['pca', 'null']
    >>> known_baselines(["nul"])
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: no baseline is called 'nul'; did you mean null? ...
    """
    if names is None:
        return list(BASELINES.values())
    for name in names:
        if name not in BASELINES:
            near = difflib.get_close_matches(name, BASELINES, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise SettingsError(f"no baseline is called {name!r}{hint} There are: {', '.join(BASELINES)}.")
    return [BASELINES[name] for name in dict.fromkeys(names)]
