"""A model at the start of a training, with the trials it is fed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.registry import build_model
from pipeline.training.feed import feed_sessions
from pipeline.training.regression_start import start_by_regression

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from models.objective import Model
    from pipeline.training.feed import SessionFeed
    from schemas.training import TrainSettings


def begin(
    datasets: Mapping[str, xr.Dataset], settings: TrainSettings
) -> tuple[Model, dict[str, SessionFeed]]:
    """Return a freshly built model and its feeds, both functions of the settings and the trials.

    Parameters
    ----------
    datasets
        Session id → its trials (`schemas.store.TRIALS_ARRAYS`).
    settings
        Model, signal, masks, seed.

    Raises
    ------
    DataError
        If a session has no training trials, or the settings ask for what the sessions do not have.
    """
    feeds = feed_sessions(datasets, settings)
    units = {name: feed.train.y.shape[2] for name, feed in feeds.items()}
    model = build_model(settings.model, units, seed=settings.seed)
    start_by_regression(model, feeds, datasets)
    return model, feeds
