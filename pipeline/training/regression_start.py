"""Where the maps of stitched sessions start: principal-component regression on shared conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from nwb_latents.models.interface import StartsByRegression
from nwb_latents.models.parts.principal_regression import principal_regression
from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.feed import SessionFeed
    from nwb_latents.pipeline.training.stored_trials import StoredFeed

SMOOTHING_S = 0.04
"""Deviation of the Gaussian that smooths condition means, s."""


def start_by_regression(
    model: Model,
    feeds: Mapping[str, SessionFeed] | Mapping[str, StoredFeed],
    sessions: Iterable[Session],
) -> bool:
    """Set read-ins and read-outs by regression, where the settings of the model ask for it.

    Parameters
    ----------
    model
        Freshly built; changed in place.
    feeds
        Session id → its trials, as the model sees them.
    sessions
        The same sessions, for the conditions.

    Returns
    -------
    done
        False where the maps start at random.

    Raises
    ------
    DataError
        If the sessions have no condition in common, or not enough units and bins.
    """
    width = model.regressed_width() if isinstance(model, StartsByRegression) else None
    if not isinstance(model, StartsByRegression) or width is None:
        return False
    means = {one.name: _condition_means(feeds[one.name], one) for one in sessions}
    shared = sorted(set.intersection(*(set(found) for found in means.values())))
    if not shared:
        raise DataError(
            f"model.read_in.start: pcr needs conditions that all of {len(means)} sessions have in common; "
            "there is none. Train the sessions of one task, or use --set model.read_in.start=random."
        )
    stacked = {name: torch.cat([found[c] for c in shared]) for name, found in means.items()}
    try:
        maps = principal_regression(stacked, width)
    except ValueError as error:
        raise DataError(f"model.read_in.start: pcr: {error}. Lower model.read_in.hidden.") from error
    model.start_maps(maps)
    return True


def _condition_means(feed: SessionFeed | StoredFeed, session: Session) -> dict[str, torch.Tensor]:
    """Smoothed mean over the training trials of each condition. Shapes ``(time, unit)``."""
    labels = session.condition[session.rows("train")].astype(str)
    y = feed.train.read().shown().numpy()
    width = SMOOTHING_S / feed.scaling.bin_size_s
    out = {}
    for condition in np.unique(labels):
        chosen = np.nan_to_num(y[labels == condition]).mean(0)
        out[str(condition)] = torch.from_numpy(gaussian_filter1d(chosen, width, axis=0))
    return out
