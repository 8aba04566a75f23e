"""Settings of `pipeline run report`."""

from __future__ import annotations

from pydantic import Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_ITEMS


class ReportSettings(Frozen):
    """How much a report draws. What does not fit is named on the page."""

    max_mb: float = Field(
        10.0,
        ge=3,
        le=500,
        description="Size of the page, MB: sessions and runs are drawn, in the order of the catalog, until "
        "it is reached. Tables, and the library that draws, always go in.",
    )
    trials: int = Field(
        24, ge=1, le=MOST_ITEMS, description="Trials of a session, and test trials of a run, to choose from."
    )
    units: int = Field(60, ge=1, le=MOST_ITEMS, description="Units of a session that are drawn.")
    conditions: int = Field(
        12, ge=1, le=MOST_ITEMS, description="Conditions of a session that are drawn, those of most trials."
    )
    run_sessions: int = Field(
        2,
        ge=0,
        le=MOST_ITEMS,
        description="Sessions on which each run draws latents, decoded velocity and forecasts; 0: no model "
        "is loaded.",
    )
    numbers: int = Field(
        50_000, ge=0, le=MOST_ITEMS, description="Numbers in the table of all numbers, the latest of them."
    )
