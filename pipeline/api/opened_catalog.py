"""A catalog as one looks at it in a notebook, and the sessions in it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.api.named_arguments import named_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from pydantic import BaseModel

    from nwb_latents.pipeline.api.arguments import Names, Place
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import Catalog
    from nwb_latents.schemas.training import Device

OF_SESSIONS = (
    "session", "subject", "task", "n_trials", "n_units", "n_bins", "bin_size_s", "recipe_id", "dandiset",
    "source", "created", "store", "store_key",
)  # fmt: skip
OF_RUNS = ("run", "model", "sessions", "steps", "metrics", "recipe_id", "created", "path", "run_key")
SHOWN = ("session", "task", "n_trials", "n_units", "recipe_id", "run", "model", "steps", "why_stale")


@dataclass(frozen=True)
class OpenCatalog:
    """A catalog file (`open_catalog`). It is read when something is asked of it, so that it is never behind.

    Attributes
    ----------
    path
        The file.
    """

    path: Path

    @property
    def content(self) -> Catalog:
        """Everything in the file, checked."""
        from nwb_latents.pipeline.stores.catalog import read_catalog  # noqa: PLC0415

        return read_catalog(self.path)

    @property
    def sessions(self) -> pd.DataFrame:
        """One row for each ingested session and recipe."""
        return _table(list(self.content.sessions.values()), OF_SESSIONS)

    @property
    def runs(self) -> pd.DataFrame:
        """One row for each trained run; the last two columns say whether its stores are as they were.

        `is_current` is None, and `why_stale` empty, where that is not known.
        """
        from nwb_latents.pipeline.stages.stale_runs import why_runs_are_stale  # noqa: PLC0415

        content = self.content
        why = list(why_runs_are_stale(self.path, content).values())
        return _table(list(content.runs.values()), OF_RUNS).assign(
            is_current=[None if words is None else not words for words in why],
            why_stale=[words or "" for words in why],
        )

    def open_session(self, session: str, *, recipe_id: str | None = None) -> Session:
        """Open the store of a session, see `nwb_latents.open_session`."""
        return open_session(self.path, session, recipe_id=recipe_id)

    def load_run(self, run: str, *, device: Device = "auto") -> TrainedRun:
        """Load a run, see `nwb_latents.load_run`."""
        from nwb_latents.pipeline.api.runs import load_run  # noqa: PLC0415

        return load_run(self.path, run, device=device)

    def scores(self, *, names: Names = (), sessions: Names = (), runs: Names = ()) -> pd.DataFrame:
        """Return what was measured, see `nwb_latents.scores`."""
        from nwb_latents.pipeline.api.numbers import scores  # noqa: PLC0415

        return scores(self.path, names=names, sessions=sessions, runs=runs)

    def __repr__(self) -> str:
        parts = [f"{name}\n{table.to_string(index=False)}" for name, table in self._shown() if len(table)]
        return "\n\n".join([self._title(), *parts])

    def _repr_html_(self) -> str:
        parts = [
            f"<p>{html.escape(name)}</p>{table.to_html(index=False)}"
            for name, table in self._shown()
            if len(table)
        ]
        return "".join([f"<p><b>{html.escape(self._title())}</b></p>", *parts])

    def _title(self) -> str:
        content = self.content
        return f"Catalog {self.path}: {len(content.sessions)} sessions, {len(content.runs)} runs"

    def _shown(self) -> list[tuple[str, pd.DataFrame]]:
        found = [("Sessions", self.sessions), ("Runs", self.runs)]
        return [(name, table[[column for column in SHOWN if column in table]]) for name, table in found]


@named_arguments
def open_catalog(catalog: Place) -> OpenCatalog:
    """Open a catalog: its sessions and runs as tables.

    Parameters
    ----------
    catalog
        Catalog file.

    Raises
    ------
    DataError
        If there is no such file.
    SettingsError
        If it does not fit the schema.

    Examples
    --------
    >>> import tempfile
    >>> import nwb_latents as nl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     small = {"n_subjects": 1, "n_sessions": 1, "n_units": (8, 8), "waveforms": False}
    ...     files = nl.simulate(folder, small, n_trials=20)
    ...     made = nl.ingest(f"{folder}/catalog.yaml", folder)
    ...     nl.open_catalog(f"{folder}/catalog.yaml").sessions[["session", "task", "n_units"]]
                       session task  n_units
    0  sub-SimA_ses-CO-20200106   CO        6
    """
    from nwb_latents.pipeline.api.arguments import path_of  # noqa: PLC0415
    from nwb_latents.pipeline.errors import DataError  # noqa: PLC0415

    path = path_of(catalog)
    if not path.exists():
        raise DataError(f"{path}: no such catalog. Check the path; the first ingest makes a catalog.")
    opened = OpenCatalog(path)
    _ = opened.content
    return opened


@named_arguments
def open_session(catalog: Place, session: str, *, recipe_id: str | None = None) -> Session:
    """Open the trial store of a session of the catalog.

    Parameters
    ----------
    catalog
        Catalog file.
    session
        Session id, or a shell pattern that fits one alone.
    recipe_id
        Recipe of the store, or its beginning; default: the one the session was ingested with last.

    Returns
    -------
    session
        Trials, continuous recording and attributes, read as they are used.

    Raises
    ------
    DataError
        If no session or several match, or the store is missing.

    Examples
    --------
    >>> import tempfile
    >>> import nwb_latents as nl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     small = {"n_subjects": 1, "n_sessions": 1, "n_units": (8, 8), "waveforms": False}
    ...     files = nl.simulate(folder, small, n_trials=20)
    ...     made = nl.ingest(f"{folder}/catalog.yaml", folder)
    ...     session = nl.open_session(f"{folder}/catalog.yaml", "sub-SimA*")
    ...     session.name, dict(session.trials["counts"].sizes)
    ('sub-SimA_ses-CO-20200106', {'trial': 17, 'time': 36, 'unit': 6})
    """
    from nwb_latents.pipeline.api.arguments import path_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.errors import DataError  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report import noted  # noqa: PLC0415
    from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions  # noqa: PLC0415
    from nwb_latents.pipeline.stores.location import store_path  # noqa: PLC0415
    from nwb_latents.pipeline.stores.session import open_session as open_store  # noqa: PLC0415

    path = path_of(catalog)
    found = select_sessions(read_catalog(path), [session], recipe_id, say=noted(reported_to(None)))
    if len(found) > 1:
        names = ", ".join(entry.session for entry in found)
        raise DataError(f"{session} matches {len(found)} sessions: {names}. Name one of them.")
    return open_store(store_path(path, found[0].store), entry=found[0])


def _table(entries: Sequence[BaseModel], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame([entry.model_dump() for entry in entries], columns=list(columns))
