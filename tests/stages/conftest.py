"""Sessions of a catalog without NWB files: recordings made in memory, stored as ingest stores them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.stages.ingest_session import store_key
from nwb_latents.pipeline.stores.catalog import add_session
from nwb_latents.pipeline.stores.trials import to_dataset, write_store
from nwb_latents.schemas.catalog import SessionEntry
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import Provenance, StoreAttributes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nwb_latents.pipeline.signals.recording import Recording


def store_recording(
    catalog: Path,
    recording: Recording,
    recipe: IngestRecipe | None = None,
    *,
    subject: str = "A",
    digest: str | None = None,
) -> SessionEntry:
    """Write a recording's store and enter it in the catalog."""
    recipe = recipe or IngestRecipe()
    session, digest = f"sub-{subject}_ses-CO-1", digest or f"sha256:{subject}"
    made = make_trials(replace(recording, session=session, subject=subject), recipe)
    key = store_key(digest, recipe)
    attributes = StoreAttributes(
        store_key=key,
        session=session,
        subject=subject,
        task="CO",
        bin_size_s=recipe.bin_size_s,
        n_event_bins=-recipe.window_bins[0],
        recipe=recipe,
        provenance=Provenance(
            source=f"{subject}.nwb", asset_digest=digest, layout="generic", warnings=made.notes
        ),
        dropped=made.dropped,
        quality=made.quality,
    )
    store = f"stores/{recipe.recipe_id}/{session}.zarr"
    groups = {"trials": made.trials, "continuous": made.continuous, "events": made.events}
    write_store(catalog.parent / store, *(to_dataset(name, a, attributes) for name, a in groups.items()))
    entry = SessionEntry(
        session=session,
        subject=subject,
        task="CO",
        recipe_id=recipe.recipe_id,
        store=store,
        store_key=key,
        source=f"{subject}.nwb",
        n_trials=len(made.trials["trial"]),
        n_units=len(made.trials["unit"]),
        n_bins=recipe.n_bins,
        bin_size_s=recipe.bin_size_s,
        created="2026-01-01T00:00:00+00:00",
    )
    add_session(catalog, entry)
    return entry


@pytest.fixture(scope="session")
def enter_recording() -> Callable[..., SessionEntry]:
    """Return the function that stores a recording and enters it in a catalog."""
    return store_recording
