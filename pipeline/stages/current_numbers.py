"""Kept numbers as pictures take them: of stores and runs that are there, and what is said of the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import measurement_records, read_measurements, why_stale

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from nwb_latents.schemas.catalog import Catalog
    from nwb_latents.schemas.measurement import Measurement


@dataclass(frozen=True)
class CurrentNumbers:
    """Numbers that are drawn, and what became of the others.

    Attributes
    ----------
    measurements
        Numbers of the stores and runs as they are now, and those that do not say of which they are.
    stale
        Why numbers are stale → how many; they are left out.
    n_unknown
        How many of the measurements do not say of which store and run they are.
    """

    measurements: list[Measurement]
    stale: Counter[str]
    n_unknown: int

    @property
    def said(self) -> tuple[str, ...]:
        """What a picture of these numbers says besides: what was left out, and what may be stale."""
        lines = []
        if self.stale:
            plural = "numbers" if self.stale.total() > 1 else "number"
            lines.append(
                f"{self.stale.total()} stale {plural} left out ({'; '.join(self.stale)}): measure again"
            )
        if self.n_unknown:
            lines.append(
                f"{self.n_unknown} of {len(self.measurements)} numbers do not say of which store and run "
                "they are, and may be stale"
            )
        return tuple(lines)

    @property
    def why_none(self) -> str:
        """Why nothing is there though it was measured; empty: something is, or it was not."""
        if self.measurements or not self.stale:
            return ""
        return f"what was measured is stale ({'; '.join(self.stale)})"


def current_numbers(
    catalog_path: Path, wanted: Callable[[Measurement], bool] = lambda _: True, **which: object
) -> CurrentNumbers:
    """Return the numbers of a catalog that are wanted, the stale ones counted and left out.

    Parameters
    ----------
    catalog_path
        Catalog file.
    wanted
        Whether a number is one of those that are drawn, were it current.
    which
        As for `read_measurements`.

    Examples
    --------
    >>> from pathlib import Path
    >>> current_numbers(Path("nowhere/catalog.yaml"), names=("velocity_r2",)).said
    ()
    """
    table = read_measurements(catalog_path, **which)  # type: ignore[arg-type]
    return sorted_out(table, read_catalog(catalog_path), wanted)


def sorted_out(
    table: pd.DataFrame, catalog: Catalog, wanted: Callable[[Measurement], bool] = lambda _: True
) -> CurrentNumbers:
    """Return the numbers of a table that are wanted, the stale ones counted and left out.

    Parameters
    ----------
    table
        Of `read_measurements`, with all its columns.
    catalog
        The catalog.
    wanted
        As for `current_numbers`.
    """
    current: list[Measurement] = []
    stale: Counter[str] = Counter()
    n_unknown = 0
    for found, why in zip(measurement_records(table), why_stale(table, catalog), strict=True):
        if not wanted(found):
            continue
        is_known = isinstance(why, str)
        if is_known and why:
            stale[why] += 1
            continue
        n_unknown += not is_known
        current.append(found)
    return CurrentNumbers(current, stale, n_unknown)
