"""``pipeline catalog diff``: what the archive changed since dandisets were pinned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.dandisets import size_text
from nwb_latents.pipeline.cli.ingest import InstanceOption, TokenOption
from nwb_latents.pipeline.cli.options import CATALOG, CatalogOption, JsonOption, QuietOption
from nwb_latents.pipeline.errors import DataError, MachineError, PartialFailure, PipelineError, UsageError
from nwb_latents.pipeline.stages.ingest_words import MAIN_ARCHIVE, pinned_dandisets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.sources.archive_diff import Change, DandisetDiff
    from nwb_latents.pipeline.sources.archive_listing import Listed
    from nwb_latents.schemas.catalog import DandisetEntry
    from nwb_latents.schemas.events import ArchivedFile, DiffEvent

FILES_SHOWN = 40
CHANGES: tuple[Change, ...] = ("added", "removed", "content", "id", "unknown")


def diff(
    dandiset: Annotated[
        list[str] | None,
        typer.Option(
            "--dandiset",
            help="Dandiset, repeatable; ID@VERSION in place of the pinned version; two versions of one are "
            "compared with each other; default: all that are known.",
            metavar="ID[@VERSION]",
        ),
    ] = None,
    instance: InstanceOption = MAIN_ARCHIVE,
    token_env: TokenOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what the archive changed since the dandisets were pinned: newer versions, changed files."""
    from nwb_latents.pipeline.sources.archive_diff import diff_dandiset, diff_versions
    from nwb_latents.schemas.events import DiffEvent

    pairs, others = _pairs(dandiset or [])
    pinned = _pinned(others, catalog, instance) if others or not pairs else {}
    entries: dict[str, DandisetEntry | tuple[str, str]] = {**pinned, **pairs}

    def compare(entry: DandisetEntry | tuple[str, str], name: str) -> DandisetDiff:
        if isinstance(entry, tuple):
            return diff_versions(name, *entry, instance=instance, token_env=token_env)
        return diff_dandiset(entry, name, instance=instance, token_env=token_env)

    found: list[DandisetDiff] = []
    failed: list[tuple[str, PipelineError]] = []
    with Output(json_lines=json_lines, quiet=quiet) as out:
        for name, entry in entries.items():
            try:
                result = compare(entry, name)
            except MachineError:
                raise
            except PipelineError as error:
                failed.append((name, error))
                event = DiffEvent(dandiset=name, status="failed", reason=str(error))
            else:
                found.append(result)
                event = diff_event(result)
            out.record(event)
            out.say(f"{name}: {event.status}" + (f" ({event.reason})" if event.reason else ""))
        show_diffs(out, found)
    if failed and not found:
        raise failed[0][1]
    if failed:
        raise PartialFailure(
            f"{len(failed)} of {len(entries)} dandisets could not be compared: "
            f"{', '.join(name for name, _ in failed)}. The reasons stand above.",
            failures=[(name, str(error)) for name, error in failed],
        )


def _pairs(wanted: list[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return the dandisets of which two versions are named, and the words that name others."""
    from nwb_latents.pipeline.sources.archive_paths import parse_dandiset

    versions: dict[str, list[str | None]] = {}
    for text in wanted:
        name, version = parse_dandiset(text)
        versions.setdefault(name, []).append(version)
    pairs: dict[str, tuple[str, str]] = {}
    for name, named in versions.items():
        if len(named) == 1:
            continue
        if len(named) > 2 or None in named or named[0] == named[1]:
            shown = ", ".join(version or "no version" for version in named)
            raise UsageError(
                f"Dandiset {name} is named with {shown}. Give it once, or two versions: --dandiset "
                f"{name}@OLD --dandiset {name}@NEW."
            )
        pairs[name] = (str(named[0]), str(named[1]))
    return pairs, [text for text in wanted if parse_dandiset(text)[0] not in pairs]


def _pinned(wanted: list[str], catalog: Path, instance: str) -> dict[str, DandisetEntry]:
    """Return the entries to hold against an archive: those that are of it, however it is named."""
    from nwb_latents.pipeline.sources.archive_paths import parse_dandiset
    from nwb_latents.schemas.catalog import DandisetEntry

    known = pinned_dandisets(catalog, instance, [parse_dandiset(text)[0] for text in wanted])
    if not wanted:
        if not known:
            raise DataError(
                f"{catalog}: pins no dandiset of {instance}. Name one with --dandiset ID@VERSION, or pin it: "
                f"pipeline catalog pin ID --instance {instance}."
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


def diff_event(diff: DandisetDiff) -> DiffEvent:
    """Return what has become of a dandiset as one event."""
    from nwb_latents.schemas.events import ChangedFile, DiffEvent

    counts: dict[str, int] = {change: diff.count(change) for change in CHANGES}
    return DiffEvent(
        dandiset=diff.dandiset,
        status="unchanged" if diff.is_unchanged else "changed",
        pinned=diff.pinned,
        newer=diff.newer,
        compared=diff.compared,
        **counts,
        changes=tuple(
            ChangedFile(path=c.path, change=c.change, before=_listed(c.before), after=_listed(c.after))
            for c in diff.changes
        ),
        reason=" ".join(diff.notes),
    )


def show_diffs(out: Output, diffs: Sequence[DandisetDiff]) -> None:
    """Show what has become of dandisets: a line each, and the files that changed."""
    rows = [
        [
            diff.dandiset,
            diff.pinned,
            ", ".join(diff.newer) or "none",
            diff.compared or "",
            *(str(diff.count(change)) if diff.compared else "" for change in CHANGES),
            " ".join(diff.notes),
        ]
        for diff in diffs
    ]
    if rows:
        columns = ["dandiset", "pinned", "published since", "compared with"]
        out.table("Changes in the archive", [*columns, *CHANGES, "note"], rows)
    for diff in diffs:
        if not diff.changes:
            continue
        files = [
            [
                c.change,
                c.path,
                size_text(c.before.size if c.before else None),
                size_text(c.after.size if c.after else None),
            ]
            for c in diff.changes[:FILES_SHOWN]
        ]
        out.table(
            f"{diff.dandiset}: files that differ", ["change", "path", "pinned", "in the archive"], files
        )
        if len(diff.changes) > FILES_SHOWN:
            out.result(f"and {len(diff.changes) - FILES_SHOWN} more; --json lists all of them.")


def _listed(file: Listed | None) -> ArchivedFile | None:
    from nwb_latents.schemas.events import ArchivedFile

    if not file:
        return None
    return ArchivedFile(
        asset_id=file.asset_id, size=file.size, sha256=file.sha256, zarr_checksum=file.zarr_checksum
    )
