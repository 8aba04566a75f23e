"""Settings that several stages share: the task of a model, and the decoder it is scored by.

Each is a type here: name, unit, bounds and description are the same wherever it is used, and so is the
default, but for stages that ask for nothing of the kind unless they are told to (`NOT_ASKED`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import LONGEST_TRIAL_S, MOST_BINS, MOST_ITEMS, MOST_LAG_MS, WIDEST_KERNEL_S
from nwb_latents.schemas.digest import AddedLater, NeverCounts
from nwb_latents.schemas.task_words import BINS, FOLDS, FORWARD, HELDOUT, LAG, PSTH_SIGMA, SEEN_BINS

LAG_MS = LAG.default
FORWARD_MS = FORWARD.default
HELDOUT_FRACTION = HELDOUT.default
PSTH_SIGMA_MS = PSTH_SIGMA.default
N_FOLDS = int(FOLDS.default)

NOT_ASKED = 0.0
"""Forward time and held-out share where nothing is scored of them: training, exports to other models."""

PENALTIES = (1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4)
"""Ridge penalties of velocity decoders."""

LagMs = Annotated[
    float, Field(allow_inf_nan=False, ge=-MOST_LAG_MS, le=MOST_LAG_MS, description=LAG.description)
]
ForwardMs = Annotated[
    float, Field(allow_inf_nan=False, ge=0, le=LONGEST_TRIAL_S * 1e3, description=FORWARD.description)
]
HeldoutFraction = Annotated[float, Field(ge=0, lt=1, description=HELDOUT.description)]
PsthSigmaMs = Annotated[
    float, Field(allow_inf_nan=False, ge=0, le=WIDEST_KERNEL_S * 1e3, description=PSTH_SIGMA.description)
]
Folds = Annotated[int, Field(ge=2, le=MOST_ITEMS, description=FOLDS.description)]


def _positive(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(not value > 0 for value in values):
        msg = f"must all be above 0, found {list(values)}"
        raise ValueError(msg)
    return values


Positive = AfterValidator(_positive)
"""Refuses lists that hold a number of 0 or less."""

Penalties = Annotated[
    tuple[float, ...],
    Field(
        min_length=1,
        description="Penalties tried for the velocity decoder; one is chosen by cross-validation over "
        "training trials.",
    ),
    Positive,
]


ReadOutName = Literal["all_states", "per_bin", "time_invariant"]


class ForecastWindow(Frozen):
    """Bins of a trial that a forecast is shown, bins it makes after them, and how velocity is read out."""

    seen_bins: int = Field(int(SEEN_BINS.default), ge=1, le=MOST_BINS, description=SEEN_BINS.description)
    bins: int = Field(int(BINS.default), ge=1, le=MOST_BINS, description=BINS.description)
    read_out: Annotated[ReadOutName, AddedLater("all_states")] = Field(
        "all_states",
        description="How hand velocity is read out of a run's forecast, by ridge regression fitted on "
        "forecasts of training trials: 'all_states', from the states of all bins to all bins; 'per_bin', "
        "each bin from its own states; 'time_invariant', one regression for all bins.",
    )
    ensemble: Annotated[tuple[str, ...], NeverCounts("which numbers are measured does not change them")] = (
        Field(
            (),
            description="Baselines and further runs whose forecasts of velocity are averaged with a run's, "
            "with weights chosen on validation trials; none: no ensemble.",
        )
    )

    @property
    def end(self) -> int:
        """Bins a trial needs at least: those seen and those forecast.

        Examples
        --------
        >>> ForecastWindow().end
        33
        """
        return self.seen_bins + self.bins

    @property
    def ahead(self) -> slice:
        """Bins of a trial that are forecast.

        Examples
        --------
        >>> list(range(100))[ForecastWindow(seen_bins=3, bins=2).ahead]
        [3, 4]
        """
        return slice(self.seen_bins, self.end)


FORMER_FORECAST = {"forecast_seen_bins": "seen_bins", "forecast_bins": "bins"}
"""What the parts of a forecast window were called where it is one setting among others."""
