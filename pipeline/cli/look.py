"""Commands that look, check and make material: simulate, catalog, dandisets, models, schema, doctor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ConfigOption,
    JsonOption,
    QuietOption,
    SetOption,
    settings_command,
)
from nwb_latents.pipeline.errors import DataError, MachineError, PartialFailure, PipelineError, UsageError

if TYPE_CHECKING:
    from nwb_latents.schemas.catalog import DandisetEntry

MAIN_ARCHIVE = "dandi"


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command(cls=settings_command("simulate"))(simulate)
    app.add_typer(catalog_app, name="catalog")
    app.command()(dandisets)
    app.command()(models)
    app.command()(schema)
    app.command()(doctor)


catalog_app = typer.Typer(
    help="Look into the catalog and check it.", no_args_is_help=True, rich_markup_mode=None
)


def simulate(
    directory: Annotated[
        Path, typer.Argument(help="Folder of the dandiset; made if missing.", metavar="DIR")
    ],
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed; same seed, same data; default: 0.", metavar="N")
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write simulated sessions of reaching or of a dynamical system as NWB files, each with its truth."""
    from nwb_latents.pipeline.stages.simulate import simulate as stage
    from nwb_latents.pipeline.stores.settings import load
    from nwb_latents.schemas.simulation import SimulateSettings

    overrides = [*([] if seed is None else [f"seed={seed}"]), *(settings or ())]
    chosen = load(SimulateSettings, file=config, overrides=overrides)
    with Output(json_lines=json_lines, quiet=quiet) as out:
        files = stage(directory, chosen, report=lambda event: out(dict(event)))
        out.result(f"{len(files)} sessions in {directory}")


@catalog_app.command("list")
def list_sessions(catalog: CatalogOption = CATALOG, json_lines: JsonOption = False) -> None:
    """List sessions and runs."""
    from nwb_latents.pipeline.stores.catalog import read_catalog

    _require(catalog)
    content = read_catalog(catalog)
    with Output(json_lines=json_lines) as out:
        for entry in content.sessions.values():
            _machine(out, {"event": "session", "status": "known", **entry.model_dump(mode="json")})
        for run in content.runs.values():
            _machine(out, {"event": "run", **run.model_dump(mode="json")})
        rows = [
            [e.session, e.task, e.recipe_id, str(e.n_trials), str(e.n_units), e.dandiset or e.source]
            for e in content.sessions.values()
        ]
        out.table("Sessions", ["session", "task", "recipe", "trials", "units", "from"], rows)
        if content.runs:
            runs = [
                [r.run, r.model, str(len(r.sessions)), str(r.steps), r.path] for r in content.runs.values()
            ]
            out.table("Runs", ["run", "model", "sessions", "steps", "path"], runs)


@catalog_app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Session id or run name.")],
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
) -> None:
    """Show all that is known of one session or run: origin, what was left out, quality, scores."""
    from nwb_latents.pipeline.cli.describe import show_run, show_session
    from nwb_latents.pipeline.stores.catalog import read_catalog
    from nwb_latents.pipeline.stores.location import store_path
    from nwb_latents.pipeline.stores.trials import read_attributes

    _require(catalog)
    content = read_catalog(catalog)
    entries = [entry for key, entry in content.sessions.items() if name in {entry.session, key}]
    run = content.runs.get(name)
    if not entries and run is None:
        known = sorted({e.session for e in content.sessions.values()} | set(content.runs))
        raise DataError(
            f"{catalog}: no session or run is called {name!r}. There are: {', '.join(known[:20]) or 'none'}."
        )
    with Output(json_lines=json_lines) as out:
        for entry in entries:
            attributes = read_attributes(store_path(catalog, entry.store))
            scores = [
                s for s in content.results if (s.session, s.recipe_id) == (entry.session, entry.recipe_id)
            ]
            event: dict[str, Any] = {
                "event": "session",
                "status": "known" if attributes else "missing",
                **entry.model_dump(mode="json"),
                "attributes": attributes.model_dump(mode="json") if attributes else None,
                "scores": [score.model_dump(mode="json") for score in scores],
            }
            _machine(out, event)
            show_session(out, entry, attributes, scores)
        if run is not None:
            _machine(out, {"event": "run", **run.model_dump(mode="json")})
            show_run(out, run, [score for score in content.results if score.run == run.run])


@catalog_app.command("verify")
def verify(catalog: CatalogOption = CATALOG, json_lines: JsonOption = False) -> None:
    """Read every store and run of the catalog and report what is missing or damaged (exit code 4)."""
    from nwb_latents.pipeline.stores.catalog import read_catalog
    from nwb_latents.pipeline.stores.location import store_path
    from nwb_latents.pipeline.stores.trials import (
        check_group,
        read_attributes,
        read_continuous,
        read_events,
        read_trials,
    )

    _require(catalog)
    content = read_catalog(catalog)
    bad: list[str] = []
    with Output(json_lines=json_lines) as out:
        for entry in content.sessions.values():
            path, reason = store_path(catalog, entry.store), ""
            try:
                for group, read in (("trials", read_trials), ("continuous", read_continuous)):
                    check_group(read(path), group, where=str(path), values=True)
                events = read_events(path)
                if events is not None:
                    check_group(events, "events", where=str(path), values=True)
                attributes = read_attributes(path)
                if attributes is None or attributes.store_key != entry.store_key:
                    reason = f"{path}: holds another store than the catalog says. Run ingest again."
            except PipelineError as error:
                if path.is_remote and isinstance(error, MachineError):
                    raise
                reason = str(error)
            except (OSError, ValueError, KeyError) as error:
                reason = f"{path}: damaged: {error}. Run ingest again with --force."
            _verdict(out, bad, "session", entry.session, reason)
        for run in content.runs.values():
            there = (catalog.parent / run.path / "run.json").is_file()
            reason = "" if there else f"{catalog.parent / run.path}: the run is not there. Train again."
            _verdict(out, bad, "run", run.run, reason)
    if bad:
        raise DataError(f"{catalog}: {len(bad)} entries are missing or damaged: {', '.join(bad)}.")


@catalog_app.command("failures")
def failures(
    recipe_id: Annotated[
        str | None,
        typer.Option(
            "--recipe-id", help="Recipe of the stores, or its beginning; default: all.", metavar="ID"
        ),
    ] = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
) -> None:
    """List the sessions whose last ingest failed: when, how often, why, and what to do."""
    from nwb_latents.pipeline.cli.describe import failure_event, failure_line
    from nwb_latents.pipeline.cluster.ledger import ledgers_beside, read_ledger, standing_failures

    ledgers = [path for path in ledgers_beside(catalog) if path.parent.name.startswith(recipe_id or "")]
    if not ledgers:
        of = f" of recipe {recipe_id}" if recipe_id else ""
        raise DataError(
            f"{catalog}: no ledger{of} beside it: no ingest has worked on a session yet. Run `pipeline run "
            "ingest` first, or name another catalog with --catalog FILE."
        )
    found = [failure for path in ledgers for failure in standing_failures(read_ledger(path))]
    with Output(json_lines=json_lines) as out:
        for failure in found:
            _machine(out, failure_event(failure))
            out.result(failure_line(failure))
        if found:
            n = f"{len(found)} sessions" if len(found) > 1 else "1 session"
            out.result(f"{n} failed; the same ingest with --retry-failed does only what failed.")
        else:
            out.result("None: no session failed in its last attempt.")


@catalog_app.command("diff")
def diff(
    dandiset: Annotated[
        list[str] | None,
        typer.Option(
            "--dandiset",
            help="Dandiset, repeatable; ID@VERSION compares with that version; default: all that are known.",
            metavar="ID[@VERSION]",
        ),
    ] = None,
    instance: Annotated[
        str,
        typer.Option("--instance", help="Archive: its URL, or a name the dandi client knows.", metavar="URL"),
    ] = MAIN_ARCHIVE,
    token_env: Annotated[
        str,
        typer.Option("--token-env", help="Environment variable that holds the API key.", metavar="VARIABLE"),
    ] = "DANDI_API_KEY",  # noqa: S107
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what the archive changed since the dandisets were pinned: newer versions, changed files."""
    import os

    from nwb_latents.pipeline.cli.describe import diff_event, show_diffs
    from nwb_latents.pipeline.sources.archive_diff import DandisetDiff, diff_dandiset

    entries = _pinned(dandiset or [], catalog, instance)
    found: list[DandisetDiff] = []
    failed: list[tuple[str, PipelineError]] = []
    with Output(json_lines=json_lines, quiet=quiet) as out:
        for name, entry in entries.items():
            try:
                result = diff_dandiset(
                    entry, name, instance=instance, token=os.environ.get(token_env), token_env=token_env
                )
            except MachineError:
                raise
            except PipelineError as error:
                failed.append((name, error))
                event = {"event": "diff", "dandiset": name, "status": "failed", "reason": str(error)}
            else:
                found.append(result)
                event = diff_event(result)
            _machine(out, event)
            out.say(f"{name}: {event['status']}" + (f" ({event['reason']})" if event["reason"] else ""))
        show_diffs(out, found)
    if failed and not found:
        raise failed[0][1]
    if failed:
        raise PartialFailure(
            f"{len(failed)} of {len(entries)} dandisets could not be compared: "
            f"{', '.join(name for name, _ in failed)}. The reasons stand above.",
            failures=[(name, str(error)) for name, error in failed],
        )


def dandisets(
    name: Annotated[
        str | None, typer.Argument(help="Show this one with its known issues.", metavar="[ID]")
    ] = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
) -> None:
    """List the dandisets this program knows: pinned version, layout, tasks, files, licence, citation."""
    from nwb_latents.pipeline.cli.describe import dandiset_event, show_dandiset, show_dandisets

    entries = _known(catalog)
    if name is not None:
        if name not in entries:
            raise DataError(f"No dandiset {name!r} is known. There are: {', '.join(entries)}.")
        entries = {name: entries[name]}
    with Output(json_lines=json_lines) as out:
        for key, entry in entries.items():
            _machine(out, dandiset_event(key, entry))
        if name is None:
            show_dandisets(out, entries)
        else:
            show_dandiset(out, name, entries[name])


def models(
    name: Annotated[
        str | None, typer.Argument(help="Name of a model, for all its settings; without one, all are listed.")
    ] = None,
    json_lines: JsonOption = False,
) -> None:
    """List the models: what each is, where it was published, its main settings."""
    from nwb_latents.pipeline.cli.options import settings_text
    from nwb_latents.schemas.models import MODELS

    if name is not None and name not in MODELS:
        raise UsageError(f"models: expected one of {', '.join(MODELS)}, found {name!r}.")
    with Output(json_lines=json_lines) as out:
        rows = []
        for key, kind in MODELS.items():
            summary = (kind.__doc__ or "").strip().splitlines()[0]
            main = {one: kind.model_fields[one].default for one in kind.main_settings}
            rows.append([key, summary, kind.paper, ", ".join(f"{k} {v}" for k, v in main.items())])
            if name in {None, key}:
                described = {"summary": summary, "paper": kind.paper, "main_settings": main}
                _machine(out, {"event": "model", "model": key, **described})
        if name is None:
            out.table("Models", ["model", "what", "paper", "main settings"], rows)
            out.result("All settings of one: pipeline models NAME")
        else:
            _, summary, paper, _ = next(row for row in rows if row[0] == name)
            out.result(f"{name}: {summary} {paper}.\n\n{settings_text(name)}")


def schema(
    name: Annotated[
        str | None, typer.Argument(help="Name of the schema; without one, the names are listed.")
    ] = None,
) -> None:
    """Print a JSON schema."""
    from nwb_latents.schemas import schema_class, schema_names

    known = schema_names()
    if name is None:
        sys.stdout.write("\n".join(known) + "\n")
        return
    if name not in known:
        raise UsageError(f"schema: expected one of {', '.join(known)}, found {name!r}.")
    sys.stdout.write(json.dumps(schema_class(name).model_json_schema(), indent=2, ensure_ascii=False) + "\n")


def doctor(
    build_kernels: Annotated[
        bool,
        typer.Option(
            "--build-kernels",
            help="Compile the loops that infer single trials faster; takes a second and a C compiler.",
        ),
    ] = False,
    json_lines: JsonOption = False,
) -> None:
    """Say what this machine offers: Python, packages, processors, memory, GPU, free disk, kernels."""
    from nwb_latents.pipeline.stages import doctor as stage

    with Output(json_lines=json_lines) as out:
        if build_kernels:
            stage.build_kernels()
        findings = stage.examine()
        for finding in findings:
            _machine(out, {"event": "check", **finding})
        out.table("This machine", ["what", "found"], [[str(f["name"]), str(f["found"])] for f in findings])


def _known(catalog: Path) -> dict[str, DandisetEntry]:
    from nwb_latents.pipeline.sources.known_dandisets import known_dandisets
    from nwb_latents.pipeline.stores.catalog import read_catalog

    return known_dandisets(read_catalog(catalog).dandisets)


def _pinned(wanted: list[str], catalog: Path, instance: str) -> dict[str, DandisetEntry]:
    """Return the entries to hold against an archive; the packaged ones speak of the main archive only."""
    from nwb_latents.pipeline.sources.archive_paths import parse_dandiset
    from nwb_latents.pipeline.stores.catalog import read_catalog
    from nwb_latents.schemas.catalog import DandisetEntry

    known = _known(catalog) if instance == MAIN_ARCHIVE else dict(read_catalog(catalog).dandisets)
    if not wanted:
        if not known:
            raise DataError(
                f"{catalog}: pins no dandiset of {instance}. Name one with --dandiset ID@VERSION, or enter "
                "it under `dandisets`."
            )
        return known
    chosen = {}
    for text in wanted:
        name, version = parse_dandiset(text)
        entry = known.get(name)
        if entry is None and version is None:
            raise DataError(
                f"Dandiset {name} is not pinned. Say what to compare with: --dandiset {name}@VERSION. "
                f"Pinned are: {', '.join(known) or 'none'}."
            )
        if entry is None or version not in {None, entry.version}:
            entry = DandisetEntry(title="", version=version or "", layout="generic", tasks=())
        chosen[name] = entry
    return chosen


def _require(catalog: Path) -> None:
    if not catalog.is_file():
        raise DataError(
            f"{catalog}: no such catalog. Run `pipeline run ingest` first, or name one with --catalog FILE."
        )


def _verdict(out: Output, bad: list[str], kind: str, name: str, reason: str) -> None:
    status = "damaged" if reason else "ok"
    _machine(out, {"event": kind, kind: name, "status": status, "reason": reason})
    if reason:
        bad.append(name)
    out.result(f"{kind} {name}: {status}" + (f" ({reason})" if reason else ""))


def _machine(out: Output, event: dict[str, Any]) -> None:
    if out.json_lines:
        out(event)
