"""``pipeline catalog``: look into the catalog and check it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.cli.catalog_diff import diff
from nwb_latents.pipeline.cli.catalog_pin import pin
from nwb_latents.pipeline.cli.catalog_scores import scores
from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.once import OnceCommand
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ClusterConfigOption,
    ClusterOption,
    JsonOption,
    ShardOption,
    where_of,
)
from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from nwb_latents.pipeline.cluster.ledger import Failure
    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.events import (
        CatalogRunEvent,
        Event,
        FailureEvent,
        FaultEvent,
        RunEvent,
        SessionEvent,
        VerifyEvent,
    )

app = typer.Typer(help="Look into the catalog and check it.", no_args_is_help=True, rich_markup_mode=None)
app.command(cls=OnceCommand)(diff)
app.command(cls=OnceCommand)(pin)
app.command(cls=OnceCommand)(scores)


@app.command("list", cls=OnceCommand)
def list_sessions(catalog: CatalogOption = CATALOG, json_lines: JsonOption = False) -> None:
    """List sessions and runs."""
    from nwb_latents.pipeline.stages.stale_runs import why_runs_are_stale
    from nwb_latents.pipeline.stores.catalog import read_catalog
    from nwb_latents.schemas.events import CatalogSessionEvent

    _require(catalog)
    content = read_catalog(catalog)
    with Output(json_lines=json_lines) as out:
        for entry in content.sessions.values():
            out.record(CatalogSessionEvent(**entry.model_dump(), status="known"))
        events = [
            _run_event(content.runs[name], why) for name, why in why_runs_are_stale(catalog, content).items()
        ]
        for event in events:
            out.record(event)
        rows = [
            [e.session, e.task, e.recipe_id, str(e.n_trials), str(e.n_units), e.dandiset or e.source]
            for e in content.sessions.values()
        ]
        out.table("Sessions", ["session", "task", "recipe", "trials", "units", "from"], rows)
        if content.runs:
            runs = [
                [r.run, r.model, str(len(r.sessions)), str(r.steps), r.path, _stale_words(r)] for r in events
            ]
            heads = [
                "run",
                "model",
                "sessions",
                "steps",
                "path",
                *(["stale"] if any(r[-1] for r in runs) else []),
            ]
            out.table("Runs", heads, [row[: len(heads)] for row in runs])


@app.command("show", cls=OnceCommand)
def show(
    name: Annotated[
        str, typer.Argument(help="Session id or run name.", autocompletion=completion.sessions_and_runs)
    ],
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
) -> None:
    """Show all that is known of one session or run: origin, what was left out, quality, scores."""
    from nwb_latents.pipeline.cli.session_tables import show_run, show_session
    from nwb_latents.pipeline.stages.stale_runs import why_runs_are_stale
    from nwb_latents.pipeline.stores.catalog import read_catalog
    from nwb_latents.pipeline.stores.current_keys import CurrentKeys
    from nwb_latents.pipeline.stores.location import store_path
    from nwb_latents.pipeline.stores.measurements import measurement_records, read_measurements
    from nwb_latents.pipeline.stores.session import require_own_store
    from nwb_latents.pipeline.stores.trials import read_attributes
    from nwb_latents.schemas.events import CatalogSessionEvent, KeptMeasurement, NoteEvent

    _require(catalog)
    content = read_catalog(catalog)
    entries = [entry for key, entry in content.sessions.items() if name in {entry.session, key}]
    run = content.runs.get(name)
    if not entries and run is None:
        known = sorted({e.session for e in content.sessions.values()} | set(content.runs))
        raise DataError(
            f"{catalog}: no session or run is called {name!r}. There are: {', '.join(known[:20]) or 'none'}."
        )
    keys = CurrentKeys(content)

    def kept(table: pd.DataFrame) -> list[KeptMeasurement]:
        records = measurement_records(table)
        return [KeptMeasurement.model_validate({**one.model_dump(), **keys.kept(one)}) for one in records]

    with Output(json_lines=json_lines) as out:
        for entry in entries:
            where = store_path(catalog, entry.store)
            attributes = read_attributes(where)
            refused = ""
            try:
                if attributes is not None:
                    require_own_store(attributes, entry, where=where)
            except DataError as error:
                attributes, refused = None, str(error)
            found = read_measurements(catalog, sessions=[entry.session], recipe_id=entry.recipe_id)
            scores = kept(found)
            event = CatalogSessionEvent(
                **entry.model_dump(),
                status="known" if attributes else "missing",
                attributes=attributes,
                measurements=tuple(scores),
            )
            out.record(event)
            show_session(out, entry, attributes, scores)
            if refused:
                out(NoteEvent(text=refused, session=entry.session))
        if run is not None:
            found = _run_event(run, why_runs_are_stale(catalog, content)[run.run])
            out.record(found)
            show_run(
                out, run, stale=_stale_words(found), scores=kept(read_measurements(catalog, runs=[run.run]))
            )


@app.command("verify", cls=OnceCommand)
def verify(
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at sizes and keys alone; read no array and no weight.")
    ] = False,
    cluster: ClusterOption = "serial",
    cluster_config: ClusterConfigOption = None,
    shard: ShardOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
) -> None:
    """Look at every store and run: files, arrays, values, keys, weights (exit code 4 if any is at fault)."""
    from nwb_latents.pipeline.stages.verify import verify as stage
    from nwb_latents.schemas.events import FaultEvent, RunEvent, SessionEvent, VerifyEvent

    faults: list[FaultEvent] = []

    def told(event: Event) -> None:
        match event:
            case FaultEvent():
                out.record(event)
                faults.append(event)
            case SessionEvent() | RunEvent():
                out.record(event)
                _say_verdict(out, event, faults)
                faults.clear()
            case VerifyEvent():
                for fault in faults:
                    out.result(_fault_line(fault))
                out.record(event)
                out.result(_verify_line(event))
            case _:
                out(event)

    with Output(json_lines=json_lines) as out:
        where = where_of(cluster, cluster_config, shard, retry_failed=False)
        stage(catalog, quick=quick, where=where, report=told)


@app.command("failures", cls=OnceCommand)
def failures(
    recipe_id: Annotated[
        str | None,
        typer.Option(
            "--recipe-id",
            help="Recipe of the stores, or its beginning; default: all.",
            metavar="ID",
            autocompletion=completion.recipes,
        ),
    ] = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
) -> None:
    """List the sessions whose last ingest, or last score, failed: when, how often, why, and what to do."""
    from nwb_latents.pipeline.cluster.ledger import ledgers_beside, read_ledger, stage_of, standing_failures

    ledgers = [path for path in ledgers_beside(catalog) if path.parent.name.startswith(recipe_id or "")]
    if not ledgers:
        of = f" of recipe {recipe_id}" if recipe_id else ""
        raise DataError(
            f"{catalog}: no ledger{of} beside it: no ingest has worked on a session yet. Run `pipeline run "
            "ingest` first, or name another catalog with --catalog FILE."
        )
    found = [(stage_of(path), each) for path in ledgers for each in standing_failures(read_ledger(path))]
    with Output(json_lines=json_lines) as out:
        for stage, failure in found:
            out.record(_failure_event(failure, stage))
            out.result(_failure_line(failure, stage))
        if found:
            n = f"{len(found)} sessions" if len(found) > 1 else "1 session"
            out.result(f"{n} failed; the same command with --retry-failed does only what failed.")
        else:
            out.result("None: no session failed in its last attempt.")


def _run_event(run: RunEntry, why: str | None) -> CatalogRunEvent:
    from nwb_latents.schemas.events import CatalogRunEvent

    current = None if why is None else not why
    return CatalogRunEvent(**run.model_dump(), is_current=current, why_stale=why or "")


def _stale_words(run: CatalogRunEvent) -> str:
    from nwb_latents.pipeline.stores.current_keys import stale_words

    return stale_words(is_current=run.is_current, why_stale=run.why_stale)


def _require(catalog: Path) -> None:
    from nwb_latents.pipeline.stores.catalog import require_catalog

    require_catalog(catalog)


def _say_verdict(out: Output, event: SessionEvent | RunEvent, faults: Sequence[FaultEvent]) -> None:
    from nwb_latents.schemas.events import SessionEvent

    name = event.session if isinstance(event, SessionEvent) else event.run
    said = f" ({event.reason})" if event.reason and not faults else ""
    out.result(f"{event.event} {name}: {event.status}{said}")
    for fault in faults:
        out.result(_fault_line(fault))


def _fault_line(fault: FaultEvent) -> str:
    return f"  {fault.path}: {fault.text}. {fault.remedy}"


def _verify_line(event: VerifyEvent) -> str:
    looked = f"{event.n_sessions} sessions and {event.n_runs} runs, {event.bytes / 1e9:.3g} GB"
    speed = f" ({event.seconds_per_gb:.3g} s per GB)" if event.seconds_per_gb is not None else ""
    found = f"{event.n_damaged} damaged, {event.n_faults} faults" if event.n_faults else "all ok"
    depth = ", sizes and keys alone" if event.quick else ""
    old = f"; {event.n_without_manifest} without a manifest" if event.n_without_manifest else ""
    return f"{looked}, in {event.seconds:.3g} s{speed}{depth}: {found}{old}."


def _failure_event(failure: Failure, stage: str) -> FailureEvent:
    from nwb_latents.schemas.events import FailureEvent

    last = failure.last
    return FailureEvent(
        stage=stage,
        session=last.session,
        source=last.source,
        recipe_id=last.recipe_id,
        time=last.time,
        host=last.host,
        attempts=failure.n_attempts,
        error=failure.kind,
        exit_code=last.exit_code,
        message=failure.message,
        remedy=failure.remedy,
    )


def _failure_line(failure: Failure, stage: str) -> str:
    """Return a session that failed as one line."""
    last = failure.last
    times = f"{failure.n_attempts} attempts" if failure.n_attempts > 1 else "1 attempt"
    return (
        f"{last.session} ({last.source}, recipe {last.recipe_id}): {stage} failed {last.time[:19]} UTC, "
        f"{times}: {failure.kind}: {failure.message} → {failure.remedy}"
    )
