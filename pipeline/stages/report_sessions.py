"""The sessions of a report: what their stores say, their lights, and what is drawn of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote

from nwb_latents.pipeline.evaluation.report.content import Link, Missing, SessionPart
from nwb_latents.pipeline.evaluation.report.lights import lights_of
from nwb_latents.pipeline.evaluation.report.session_arrays import session_arrays
from nwb_latents.pipeline.stages.trained_runs import FAILURES, words_of
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session, require_own_store
from nwb_latents.pipeline.stores.trials import read_attributes
from nwb_latents.schemas.catalog import MAIN_ARCHIVE_URL
from nwb_latents.schemas.events import ProgressEvent

if TYPE_CHECKING:
    from nwb_latents.pipeline.stages.report_asked import ReportWork
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.store import Provenance, StoreAttributes

INGEST_AGAIN = "Ingest the session again; pipeline catalog verify says all that is wrong"
_WEB = "https://dandiarchive.org/dandiset"


def session_parts(work: ReportWork) -> tuple[SessionPart, ...]:
    """Return what is shown of each session. One that cannot be read is said to be so, and ends nothing.

    Parameters
    ----------
    work
        What was asked for; what the stores say is added to it.
    """
    found = []
    for number, (key, entry) in enumerate(work.entries.items(), start=1):
        found.append(_part(work, key, entry))
        work.report(ProgressEvent(stage="report", step=number, total=len(work.entries)))
    return tuple(found)


def _part(work: ReportWork, key: str, entry: SessionEntry) -> SessionPart:
    fault, remedy = work.fault_words("sessions", key)
    attributes, arrays = None, None
    where = store_path(work.catalog_path, entry.store)
    try:
        there = read_attributes(where)
        if there is None:
            fault = fault or "there is no complete store"
        else:
            require_own_store(there, entry, where=where)
            attributes = work.attributes[key] = there
            arrays = session_arrays(open_session(where, entry=entry).loaded(), work.settings)
    except FAILURES as error:
        fault = fault or words_of(error, key)[0]
    lost = None
    if fault:
        arrays = None
        lost = Missing(f"The store of {entry.session}", fault.rstrip("."), remedy or INGEST_AGAIN)
        work.missing.append(lost)
    mine = (
        (work.table["session"] == entry.session) & (work.table["recipe_id"] == entry.recipe_id)
    ).to_numpy()
    stale = [each for each in work.why[mine] if isinstance(each, str) and each]
    lights = lights_of(
        attributes,
        fault=fault,
        unlooked=work.why_unlooked("sessions", key),
        n_numbers=int(mine.sum()),
        stale=Counter(stale),
        unknown=int(work.why[mine].isna().sum()),
    )
    known = attributes.provenance if attributes else None
    return SessionPart(
        key=key,
        session=entry.session,
        recipe_id=entry.recipe_id,
        n_trials=entry.n_trials,
        n_units=entry.n_units,
        facts=_facts(entry, attributes),
        lights=lights,
        dropped_units=dict(attributes.dropped.units) if attributes else {},
        dropped_trials=dict(attributes.dropped.trials) if attributes else {},
        flags=attributes.quality.flags if attributes and attributes.quality else (),
        warnings=known.warnings if known else (),
        choices=tuple((each.what, each.value, each.why) for each in known.choices) if known else (),
        links=archive_links(known) if known else (),
        fault=lost,
        arrays=arrays,
    )


def _facts(entry: SessionEntry, attributes: StoreAttributes | None) -> dict[str, str]:
    facts = {
        "subject": entry.subject,
        "task": entry.task,
        "trials": f"{entry.n_trials} of {entry.n_bins} bins, {1e3 * entry.bin_size_s:g} ms each",
        "units": str(entry.n_units),
        "from": entry.dandiset or "files",
        "file": entry.source,
        "store": entry.store,
        "made": entry.created[:19],
    }
    if attributes is None:
        return facts
    known = attributes.provenance
    said = {
        "began": known.session_start,
        "species": known.species,
        "sex": known.sex,
        "age": known.age,
        "layout": known.layout,
        "asset": known.asset_id,
        "digest": known.asset_digest,
    }
    return facts | {name: value for name, value in said.items() if value}


def archive_links(known: Provenance) -> tuple[Link, ...]:
    """Return where the archive has the file of a store; only addresses of the web are linked to.

    Parameters
    ----------
    known
        What the store says of its origin.

    Examples
    --------
    >>> from nwb_latents.schemas.store import Provenance
    >>> said = Provenance(source="sub-C/a.nwb", asset_digest="", layout="", dandiset="000688",
    ...                   dandiset_version="0.1", asset_id="1-2")
    >>> for link in archive_links(said):
    ...     print(link.url)
    https://dandiarchive.org/dandiset/000688/0.1/files?location=sub-C
    https://api.dandiarchive.org/api/dandisets/000688/versions/0.1/assets/1-2/
    >>> archive_links(said.model_copy(update={"archive": "javascript:alert(1)//"}))
    ()
    """
    archive = (known.archive or MAIN_ARCHIVE_URL).rstrip("/")
    if not known.dandiset or not known.dandiset_version or not archive.startswith(("https://", "http://")):
        return ()
    dandiset, version = quote(known.dandiset, safe=""), quote(known.dandiset_version, safe="")
    links = []
    if archive == MAIN_ARCHIVE_URL:
        folder = quote(known.source.rpartition("/")[0], safe="")
        links.append(Link("The file at DANDI", f"{_WEB}/{dandiset}/{version}/files?location={folder}"))
    if known.asset_id:
        asset = quote(known.asset_id, safe="")
        where = f"{archive}/api/dandisets/{dandiset}/versions/{version}/assets/{asset}/"
        links.append(Link("Its asset (JSON)", where))
    return tuple(links)
