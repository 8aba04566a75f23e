"""Commands that look, check and make material: simulate, catalog, dandisets, models, schema, doctor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.console import Output
from pipeline.cli.options import (
    CatalogOption,
    ConfigOption,
    JsonOption,
    QuietOption,
    SetOption,
    settings_command,
)
from pipeline.errors import DataError, PipelineError, UsageError

CATALOG = Path("catalog.yaml")


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
    """Write simulated reaching sessions as NWB files, with the truth of each beside it."""
    from pipeline.stages.simulate import simulate as stage
    from pipeline.stores.settings import load
    from schemas.simulation import SimulateSettings

    overrides = [*([] if seed is None else [f"seed={seed}"]), *(settings or ())]
    chosen = load(SimulateSettings, file=config, overrides=overrides)
    with Output(json_lines=json_lines, quiet=quiet) as out:
        files = stage(directory, chosen, report=lambda event: out(dict(event)))
        out.result(f"{len(files)} sessions in {directory}")


@catalog_app.command("list")
def list_sessions(catalog: CatalogOption = CATALOG, json_lines: JsonOption = False) -> None:
    """List sessions and runs."""
    from pipeline.stores.catalog import read_catalog

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
    """Show all that is known of one session or run."""
    from pipeline.stores.catalog import read_catalog
    from pipeline.stores.trials import read_attributes

    _require(catalog)
    content = read_catalog(catalog)
    found: list[dict[str, Any]] = []
    for key, entry in content.sessions.items():
        if name in {entry.session, key}:
            attributes = read_attributes(catalog.parent / entry.store)
            store = attributes.model_dump(mode="json") if attributes else "missing"
            scores = [
                s.model_dump(mode="json")
                for s in content.results
                if (s.session, s.recipe_id) == (entry.session, entry.recipe_id)
            ]
            found.append(
                {"event": "session", **entry.model_dump(mode="json"), "attributes": store, "scores": scores}
            )
    if name in content.runs:
        found.append({"event": "run", **content.runs[name].model_dump(mode="json")})
    if not found:
        known = sorted({e.session for e in content.sessions.values()} | set(content.runs))
        raise DataError(
            f"{catalog}: no session or run is called {name!r}. There are: {', '.join(known[:20]) or 'none'}."
        )
    with Output(json_lines=json_lines) as out:
        for item in found:
            _machine(out, item)
            out.result(
                json.dumps({k: v for k, v in item.items() if k != "event"}, indent=2, ensure_ascii=False)
            )


@catalog_app.command("verify")
def verify(catalog: CatalogOption = CATALOG, json_lines: JsonOption = False) -> None:
    """Read every store and run of the catalog and report what is missing or damaged (exit code 4)."""
    from pipeline.stores.catalog import read_catalog
    from pipeline.stores.trials import check_group, read_attributes, read_continuous, read_trials

    _require(catalog)
    content = read_catalog(catalog)
    bad: list[str] = []
    with Output(json_lines=json_lines) as out:
        for entry in content.sessions.values():
            path, reason = catalog.parent / entry.store, ""
            try:
                for group, read in (("trials", read_trials), ("continuous", read_continuous)):
                    check_group(read(path), group, where=str(path), values=True)
                attributes = read_attributes(path)
                if attributes is None or attributes.store_key != entry.store_key:
                    reason = f"{path}: holds another store than the catalog says. Run ingest again."
            except PipelineError as error:
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


def dandisets(catalog: CatalogOption = CATALOG, json_lines: JsonOption = False) -> None:
    """List the dandisets this program knows, with pinned version and layout."""
    from pipeline.sources.known_dandisets import known_dandisets
    from pipeline.stores.catalog import read_catalog

    entries = {**known_dandisets(), **read_catalog(catalog).dandisets}
    with Output(json_lines=json_lines) as out:
        for key, entry in entries.items():
            _machine(
                out, {"event": "dandiset", "dandiset": key, **entry.model_dump(mode="json", exclude={"pins"})}
            )
        rows = [[k, e.version, e.layout, ", ".join(e.tasks), e.title] for k, e in entries.items()]
        out.table("Dandisets", ["dandiset", "version", "layout", "tasks", "title"], rows)


def models(json_lines: JsonOption = False) -> None:
    """List the models with their settings."""
    from pipeline.cli.options import settings_text
    from schemas.models import MODELS

    with Output(json_lines=json_lines) as out:
        for name, settings in MODELS.items():
            summary = (settings.__doc__ or "").strip().splitlines()[0]
            _machine(out, {"event": "model", "model": name, "summary": summary})
            out.result(f"{name}: {summary}\n\n{settings_text(name)}")


def schema(
    name: Annotated[
        str | None, typer.Argument(help="Name of the schema; without one, the names are listed.")
    ] = None,
) -> None:
    """Print a JSON schema."""
    from schemas import SCHEMAS, schema_class

    if name is None:
        sys.stdout.write("\n".join(SCHEMAS) + "\n")
        return
    if name not in SCHEMAS:
        raise UsageError(f"schema: expected one of {', '.join(SCHEMAS)}, found {name!r}.")
    sys.stdout.write(json.dumps(schema_class(name).model_json_schema(), indent=2, ensure_ascii=False) + "\n")


def doctor(json_lines: JsonOption = False) -> None:
    """Say what this machine offers: Python, packages, processors, memory, GPU, free disk."""
    from pipeline.stages.doctor import examine

    with Output(json_lines=json_lines) as out:
        findings = examine()
        for finding in findings:
            _machine(out, {"event": "check", **finding})
        out.table("This machine", ["what", "found"], [[str(f["name"]), str(f["found"])] for f in findings])


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
