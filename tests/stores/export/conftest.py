"""A session's store in memory, as the exporters get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.trials import to_dataset
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import Provenance, StoreAttributes

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from nwb_latents.pipeline.signals.recording import Recording
    from nwb_latents.pipeline.stores.session import Session


@dataclass(frozen=True)
class Store:
    """Both groups of a store and its attributes."""

    trials: xr.Dataset
    continuous: xr.Dataset
    attributes: StoreAttributes

    @property
    def session(self) -> Session:
        """Return the session it holds."""
        return session_in_memory(self.trials, self.continuous, self.attributes)

    def rows(self, *splits: str) -> np.ndarray:
        """Return the rows of the trials in `splits`."""
        return np.flatnonzero(np.isin(self.trials["split"].values.astype(str), splits))


@pytest.fixture
def store_of() -> Callable[..., Store]:
    """Return the function from a recording and recipe settings to a store in memory."""

    def build(recording: Recording, **settings: object) -> Store:
        recipe = IngestRecipe(**settings)
        made = make_trials(recording, recipe)
        attributes = StoreAttributes(
            store_key="k" * 64,
            session=recording.session,
            subject=recording.subject,
            task=recording.task,
            bin_size_s=recipe.bin_size_s,
            n_event_bins=-recipe.window_bins[0],
            recipe=recipe,
            provenance=Provenance(source="a.nwb", asset_digest="sha256:00", layout="generic"),
            dropped=made.dropped,
        )
        return Store(
            to_dataset("trials", made.trials, attributes),
            to_dataset("continuous", made.continuous, attributes),
            attributes,
        )

    return build


@pytest.fixture
def store(store_of: Callable[..., Store], recording: Recording) -> Store:
    """Return the store of the small session of reaches."""
    return store_of(recording)
