"""Settings and results of `pipeline run forecast`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nwb_latents.schemas import task
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.results import R2Definition

ForecastSource = Literal["model", "linear", "condition_mean", "hold_last", "recorded"]
ForecastQuantity = Literal["velocity", "rates"]


class ForecastSettings(task.ForecastWindow):
    """How far a run looks ahead, and what it is held against."""

    lag_ms: task.LagMs = task.LAG_MS
    alphas: task.Penalties = task.PENALTIES
    linear_alphas: Annotated[tuple[float, ...], task.Positive] = Field(
        (1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6),
        min_length=1,
        description="task.Penalties tried for the linear forecast, likewise.",
    )
    folds: task.Folds = task.N_FOLDS
    seed: int = Field(0, ge=0, description="Seed of the fold assignment.")


class ForecastCurve(Frozen):
    """R² of one source, by steps ahead and over all of them."""

    quantity: ForecastQuantity = Field(description="Hand velocity, or firing rates of all units.")
    source: ForecastSource = Field(
        description="Who forecasts: the model; 'linear' ridge regression from the bins shown; "
        "'condition_mean' of the training trials; 'hold_last' value shown. 'recorded': no forecast, the "
        "decoder on the rates recorded there."
    )
    definition: R2Definition = Field(description="Which R² this is (docs, R² definitions).")
    per_step: tuple[float | None, ...] = Field(
        description="R² 1, 2, … bins ahead; none where it is not defined."
    )
    pooled: float | None = Field(description="R² over all steps; none where it is not defined.")


class SessionForecast(Frozen):
    """Forecasts of one session's test trials by one run, beside the baselines."""

    run: str = Field(description="Name of the run.")
    session: str = Field(description="Session id.")
    recipe_id: str = Field(description="Recipe of the store.")
    seen_bins: int = Field(description="Bins shown.")
    bins: int = Field(description="Bins forecast.")
    bin_size_s: float = Field(description="Width of a bin, s.")
    lag_ms: float = Field(description="Velocity comes this long after the activity, ms.")
    split: Literal["test"] = Field("test", description="Split the scores were taken on.")
    n_trials: int = Field(ge=1, description="Trials scored; the session's embedding is inferred from them.")
    alphas: dict[str, float] = Field(description="Penalty chosen for the decoder and each linear forecast.")
    curves: tuple[ForecastCurve, ...] = Field(description="One for each quantity and source.")

    def pooled(self, quantity: ForecastQuantity, source: ForecastSource) -> float | None:
        """R² over all steps, or None where there is none.

        Examples
        --------
        >>> curve = ForecastCurve(quantity="rates", source="model", definition="r2_trialmean",
        ...                       per_step=(0.5,), pooled=0.5)
        >>> SessionForecast(run="m", session="a", recipe_id="r", seen_bins=1, bins=1, bin_size_s=0.02,
        ...                 lag_ms=100, n_trials=1, alphas={}, curves=(curve,)).pooled("rates", "model")
        0.5
        """
        found = [c.pooled for c in self.curves if (c.quantity, c.source) == (quantity, source)]
        return found[0] if found else None
