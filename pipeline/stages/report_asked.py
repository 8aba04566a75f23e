"""What the parts of a report are made from: entries, measurements, and what is wrong with the files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from nwb_latents.pipeline.evaluation.report.content import Missing
    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.schemas.catalog import Catalog, RunEntry, SessionEntry
    from nwb_latents.schemas.events import FaultEvent
    from nwb_latents.schemas.report import ReportSettings
    from nwb_latents.schemas.store import StoreAttributes
    from nwb_latents.schemas.training import Device, RunConfig


@dataclass
class ReportWork:
    """One call of the stage.

    Attributes
    ----------
    catalog_path, catalog
        The catalog.
    settings
        How much is drawn.
    entries
        Stores shown, by their name in the catalog.
    runs
        Runs shown.
    table, why
        Measurements of these sessions, with all columns, and what became of their stores and runs.
    faults
        Path of a store or run, as the catalog has it → what is wrong with its files.
    device
        Where models run.
    report
        Told how far it is.
    attributes
        Name of a store → what it says; those that cannot be read are not in it.
    configs
        Name of a run → what it was made with; those that cannot be read are not in it.
    missing
        What is said to be missing.
    """

    catalog_path: Path
    catalog: Catalog
    settings: ReportSettings
    entries: dict[str, SessionEntry]
    runs: list[RunEntry]
    table: pd.DataFrame
    why: pd.Series
    faults: dict[str, list[FaultEvent]]
    device: Device
    report: Report
    attributes: dict[str, StoreAttributes] = field(default_factory=dict)
    configs: dict[str, RunConfig] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)

    def fault_words(self, path: str) -> tuple[str, str]:
        """Return what is wrong with a store or run, and what to do; both empty: nothing is.

        Parameters
        ----------
        path
            As the catalog has it.
        """
        faults = self.faults.get(path, [])
        if not faults:
            return "", ""
        words = "; ".join(f"{each.where}: {each.text}" if each.where else each.text for each in faults[:3])
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        return words + more, faults[0].remedy
