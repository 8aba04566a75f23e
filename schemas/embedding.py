"""Settings of `pipeline run embed`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nwb_latents.schemas import task
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_BINS, MOST_SEED


class EmbedSettings(Frozen):
    """What is computed around the embeddings of a run."""

    split: Literal["train", "val", "test", "all"] = Field(
        "train", description="Trials the embeddings and the states the interpolation starts from come from."
    )
    grid_size: int = Field(
        3, ge=1, le=1000, description="Points of the grid along each of two embedding dimensions."
    )
    spacing: float = Field(
        1.0, gt=0, description="Distance of its points; 1 is a standard deviation of the embedding's prior."
    )
    line_size: int = Field(
        5, ge=2, le=1000, description="Points of a line between two sessions, both ends included."
    )
    start_bin: int | None = Field(
        None,
        ge=0,
        le=MOST_BINS,
        description="Bin whose mean state every condition starts from; later bins are rolled out. Default: "
        "the last bin before the event's.",
    )
    flow_points: int = Field(
        21, ge=3, le=1000, description="Points of a flow field along each of its two axes."
    )
    colour_by: tuple[str, ...] = Field(
        ("subject", "task"),
        min_length=1,
        description="What the scatter of embeddings is coloured by, a panel each: 'subject', 'task', or any "
        "number of the table of sessions, such as 'n_units' or 'decodability'.",
    )
    lag_ms: task.LagMs = task.LAG_MS
    alphas: task.Penalties = task.PENALTIES
    folds: task.Folds = task.N_FOLDS
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of the fold assignment.")
