"""Which stores and runs a catalog has today: numbers of any others are past.

A number carries the keys of the store and the run it is of. A session that was ingested anew, or a run that
was trained anew, keeps its name and has another key; numbers of the former one are shown as stale, never as
current.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.schemas.catalog import Catalog
    from nwb_latents.schemas.measurement import Measurement

NOT_KNOWN = "not known"
"""What a table says of a number that does not say of which store and run it is: those of earlier versions."""


_GONE, _ANEW = "is not in the catalog any more", "was made anew"


class CurrentKeys:
    """The keys of a catalog's stores and runs.

    Parameters
    ----------
    catalog
        The catalog.

    Examples
    --------
    >>> from nwb_latents.schemas.catalog import Catalog
    >>> keys = CurrentKeys(Catalog())
    >>> keys.why_stale("sub-A", "20ms-0", "k", None, None)
    'its store is not in the catalog any more'
    >>> keys.why_stale("sub-A", "20ms-0", "", None, None) is None
    True
    """

    def __init__(self, catalog: Catalog) -> None:
        self._stores = {(one.session, one.recipe_id): one.store_key for one in catalog.sessions.values()}
        self._runs = {one.run: one.run_key for one in catalog.runs.values()}

    def why_stale(
        self, session: str, recipe_id: str, store_key: str, run: str | None, run_key: str | None
    ) -> str | None:
        """Return what became of the store or run of a number since.

        Parameters
        ----------
        session, recipe_id, store_key
            Its store.
        run, run_key
            Its run; None: it is of no run.

        Returns
        -------
        why
            Empty: both are as they were. None: the number does not say which they were.
        """
        if not store_key or (run is not None and not run_key):
            return None
        faults = []
        now = self._stores.get((session, recipe_id))
        if now != store_key:
            faults.append(f"its store {_GONE if now is None else _ANEW}")
        if run is not None and self._runs.get(run) != run_key:
            faults.append("its run was trained anew" if run in self._runs else f"its run {_GONE}")
        return " and ".join(faults)

    def kept(self, found: Measurement) -> Mapping[str, object]:
        """Return what `schemas.events.KeptMeasurement` says of a measurement besides."""
        why = self.why_stale(found.session, found.recipe_id, found.store_key, found.run, found.run_key)
        former = why_former(found.source, found.run, found.details)
        why = " and ".join(part for part in (why, former) if part) if why or former else why
        return {"is_current": None if why is None else not why, "why_stale": why or ""}


def why_former(source: str, run: str | None, details: object) -> str:
    """Say what is otherwise today in how a number is measured; empty where nothing is.

    Forecasts of runs were shown spikes after the bins seen, and their velocity came from the decoder of
    recorded rates, until their numbers say what was shown.

    Parameters
    ----------
    source, run, details
        Of a measurement.

    Examples
    --------
    >>> why_former("forecast", "mdssm-1", {})
    'forecasts are measured otherwise since: shown the bins seen alone, and read out in another way'
    >>> why_former("forecast", "mdssm-1", {"shown": "spikes of the bins seen alone"})
    ''
    """
    if source != "forecast" or run is None or (isinstance(details, dict) and "shown" in details):
        return ""
    return "forecasts are measured otherwise since: shown the bins seen alone, and read out in another way"


def stale_words(*, is_current: bool | None, why_stale: str) -> str:
    """Return what a table says of a number in its column ``stale``; nothing if it is current.

    Examples
    --------
    >>> stale_words(is_current=False, why_stale="its run is not in the catalog any more")
    'stale: its run is not in the catalog any more'
    """
    if is_current is None:
        return NOT_KNOWN
    return f"stale: {why_stale}" if why_stale else ""
