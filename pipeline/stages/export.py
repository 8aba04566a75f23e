"""``pipeline export``: trial stores → files of other programs.

A file that was made from the same store with the same settings is left alone.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, PartialFailure, PipelineError
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.schemas.export import ExportSettings, LfadsExport, NlbExport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stores.location import StoreLocation
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.store import StoreAttributes


_log = logging.getLogger(__name__)

# A damaged store fails its own session, whatever zarr says of it.
_FAILURES = (PipelineError, OSError, RuntimeError, ValueError, KeyError)


@dataclass(frozen=True)
class Exported:
    """One exported session.

    Attributes
    ----------
    entry
        Its catalog entry.
    path
        The file.
    status
        ``done``, or ``skipped`` where the file was up to date.
    """

    entry: SessionEntry
    path: Path
    status: str


def format_of(settings: ExportSettings) -> str:
    """Return the name of the format settings are for.

    Examples
    --------
    >>> format_of(NlbExport())
    'nlb'
    """
    return type(settings).__name__.removesuffix("Export").lower()


def export(
    catalog_path: Path,
    settings: ExportSettings,
    *,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    out: Path | None = None,
    force: bool = False,
    report: Report = ignore,
) -> list[Exported]:
    """Write every selected session as a file of another program, one file each.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        `NlbExport`, `LfadsExport` or `NwbExport`: what to write, and how.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; default: that of the matching session ingested last.
    out
        Folder of the files; default ``exports/<format>/<recipe id>/`` beside the catalog.
    force
        Write files again that are up to date.
    report
        Receives one event per session.

    Returns
    -------
    exported
        In order of session id.

    Raises
    ------
    DataError
        If nothing is selected.
    PartialFailure
        If a session could not be exported; the others were finished first.

    Examples
    --------
    >>> from pathlib import Path
    >>> export(Path("nowhere/catalog.yaml"), NlbExport())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    entries = select_sessions(read_catalog(catalog_path), sessions, recipe_id)
    folder = out or catalog_path.parent / "exports" / format_of(settings) / entries[0].recipe_id
    done: list[Exported] = []
    failures: list[tuple[str, str]] = []
    exit_codes: set[int] = set()
    for entry in entries:
        begin = time.perf_counter()
        event: dict[str, object] = {
            "event": "session", "session": entry.session, "format": format_of(settings),
            "n_trials": entry.n_trials, "n_units": entry.n_units,
        }  # fmt: skip
        try:
            made = _export_session(catalog_path, entry, settings, folder=folder, force=force, report=report)
        except _FAILURES as error:
            _log.debug("%s failed", entry.session, exc_info=error)
            is_known = isinstance(error, PipelineError)
            reason = str(error) if is_known else f"{entry.store}: {type(error).__name__}: {error}"
            failures.append((entry.session, reason))
            exit_codes.add(error.exit_code if isinstance(error, PipelineError) else DataError.exit_code)
            report({**event, "status": "failed", "reason": reason})
            continue
        done.append(made)
        reason = "up to date" if made.status == "skipped" else ""
        seconds = round(time.perf_counter() - begin, 3)
        report({**event, "status": made.status, "path": str(made.path), "seconds": seconds, "reason": reason})
    if failures:
        raise _failure(failures, done, exit_codes)
    return done


def _export_session(
    catalog_path: Path,
    entry: SessionEntry,
    settings: ExportSettings,
    *,
    folder: Path,
    force: bool,
    report: Report,
) -> Exported:
    from nwb_latents.pipeline.stores.exporters.files import export_key, is_up_to_date  # noqa: PLC0415
    from nwb_latents.pipeline.stores.location import store_path  # noqa: PLC0415
    from nwb_latents.pipeline.stores.trials import read_attributes  # noqa: PLC0415

    store = store_path(catalog_path, entry.store)
    attributes = read_attributes(store)
    if attributes is None:
        raise DataError(
            f"{store}: no complete trial store here. Run `pipeline run ingest` again; `pipeline catalog "
            "verify` lists every store that is missing."
        )
    path = folder / f"{store.stem}.{'nwb' if format_of(settings) == 'nwb' else 'h5'}"
    if not force and is_up_to_date(path, export_key(settings, attributes.store_key)):
        return Exported(entry, path, "skipped")
    _write(store, path, settings, attributes=attributes, report=report)
    return Exported(entry, path, "done")


def _write(
    store: StoreLocation,
    path: Path,
    settings: ExportSettings,
    *,
    attributes: StoreAttributes,
    report: Report,
) -> None:
    from nwb_latents.pipeline.stores.trials import read_continuous, read_trials  # noqa: PLC0415

    trials, continuous = read_trials(store).load(), read_continuous(store)
    if isinstance(settings, NlbExport):
        from nwb_latents.pipeline.evaluation.pairing import lag_in_bins, pair_velocity  # noqa: PLC0415
        from nwb_latents.pipeline.stores.exporters.nlb import differences, nlb_arrays, write_nlb  # noqa: PLC0415

        lag = lag_in_bins(settings.lag_ms, bin_size_s=attributes.bin_size_s)
        paired = pair_velocity(trials, continuous, lag_bins=lag)
        arrays = nlb_arrays(trials, continuous, settings, behaviour=paired.velocity)
        for text in differences(arrays, settings, bin_size_s=attributes.bin_size_s):
            report({"event": "note", "session": attributes.session, "text": text})
        write_nlb(path, arrays, settings, attributes=attributes)
    elif isinstance(settings, LfadsExport):
        from nwb_latents.pipeline.stores.exporters.lfads import lfads_arrays, write_lfads  # noqa: PLC0415

        write_lfads(path, lfads_arrays(trials, continuous, settings), settings, attributes=attributes)
    else:
        from nwb_latents.pipeline.stores.exporters.nwb import write_derived_nwb  # noqa: PLC0415

        write_derived_nwb(path, trials, continuous, settings=settings, attributes=attributes)


def _failure(failures: list[tuple[str, str]], done: list[Exported], exit_codes: set[int]) -> PartialFailure:
    error = PartialFailure(
        f"{len(failures)} of {len(failures) + len(done)} sessions could not be exported: "
        + "; ".join(f"{name}: {reason}" for name, reason in failures[:3])
        + (f"; and {len(failures) - 3} more" if len(failures) > 3 else ""),
        results=done,
        failures=failures,
    )
    if not done and len(exit_codes) == 1:
        error.exit_code = next(iter(exit_codes))
    return error
