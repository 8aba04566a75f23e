"""Trials as numpy archives, which hold no attributes: what a file was made of lies beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from nwb_latents.pipeline.stores.exporters.exporter import Exporter
from nwb_latents.pipeline.stores.session import Session
from nwb_latents.schemas.base import Frozen


class NpzExport(Frozen):
    """Trials of a session as a numpy archive."""

    lag_ms: float = Field(100.0, description="Velocity is read this long after the activity, ms.")
    rates: bool = Field(default=True, description="Add the smoothed rates beside the counts.")


class NpzExporter(Exporter[NpzExport]):
    """Counts, rates and hand velocity of the trials, and their splits."""

    name = "npz"
    suffix = ".npz"
    settings_type = NpzExport
    summary = "Write numpy archives: counts, rates and hand velocity of the trials."

    def write(self, session: Session, path: Path, settings: NpzExport) -> list[str]:
        """Write one session."""
        paired = session.velocity(settings.lag_ms)
        arrays = {
            "counts": session.trials["counts"].values,
            "velocity": paired.velocity,
            "split": session.split.astype(str),
        }
        if settings.rates:
            arrays["rates"] = session.trials["rates"].values
        np.savez(path, **arrays)
        n_missing = int((~paired.valid).sum())
        return [f"the velocity of {n_missing} bins is not known: NaN"] if n_missing else []
