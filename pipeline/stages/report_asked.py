"""What the parts of a report are made from: entries, measurements, and what is wrong with the files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

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

Section = Literal["sessions", "runs"]


@dataclass(frozen=True)
class Wholeness:
    """What is known of the files of a catalog's stores and runs.

    Attributes
    ----------
    faults
        Section and name of an entry → what is wrong with its files.
    looked_at
        Section and name of each entry whose files were looked at.
    why_not
        Why the files of the others were not.
    """

    faults: dict[tuple[Section, str], list[FaultEvent]] = field(default_factory=dict)
    looked_at: frozenset[tuple[Section, str]] = frozenset()
    why_not: str = "it was not looked at"


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
    files
        What is known of the files of stores and runs.
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
    files: Wholeness
    device: Device
    report: Report
    attributes: dict[str, StoreAttributes] = field(default_factory=dict)
    configs: dict[str, RunConfig] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)

    def fault_words(self, section: Section, name: str) -> tuple[str, str]:
        """Return what is wrong with a store or run, and what to do; both empty: nothing that was looked at.

        Parameters
        ----------
        section, name
            Its entry in the catalog.
        """
        faults = self.files.faults.get((section, name), [])
        if not faults:
            return "", ""
        words = "; ".join(f"{each.where}: {each.text}" if each.where else each.text for each in faults[:3])
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        return words + more, faults[0].remedy

    def why_unlooked(self, section: Section, name: str) -> str:
        """Return why the files of a store or run were not looked at; empty: they were.

        Parameters
        ----------
        section, name
            Its entry in the catalog.
        """
        return "" if (section, name) in self.files.looked_at else self.files.why_not
