"""Catalog entries, dandisets and their changes as people read them; JSON goes past this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.pipeline.cli.console import Output
    from nwb_latents.pipeline.cluster.ledger import Failure
    from nwb_latents.pipeline.sources.archive_diff import Change, DandisetDiff, FileChange
    from nwb_latents.schemas.catalog import DandisetEntry, RunEntry, SessionEntry
    from nwb_latents.schemas.quality import SessionQuality
    from nwb_latents.schemas.results import Score
    from nwb_latents.schemas.store import StoreAttributes

FILES_SHOWN = 40
CHANGES: tuple[Change, ...] = ("added", "removed", "content", "id", "unknown")


def show_session(
    out: Output, entry: SessionEntry, attributes: StoreAttributes | None, scores: Sequence[Score]
) -> None:
    """Show one session."""
    rows = [
        ["subject, task", f"{entry.subject}, {entry.task}"],
        ["store", entry.store + ("" if attributes else " (missing: run ingest again)")],
        ["trials", f"{entry.n_trials} of {entry.n_bins} bins of {entry.bin_size_s * 1000:g} ms"],
        ["units", str(entry.n_units)],
        ["from", " ".join(word for word in (entry.dandiset, entry.source) if word)],
        ["recipe", entry.recipe_id + (f" ({_recipe_words(attributes)})" if attributes else "")],
        ["created", entry.created],
    ]
    if attributes is not None:
        origin = attributes.provenance
        facts = [fact for fact in (origin.species, origin.sex, origin.age) if fact]
        rows += [
            *([["species, sex, age", ", ".join(facts)]] if facts else []),
            ["layout", origin.layout],
            ["position from", origin.position_series or "none"],
            ["velocity from", origin.velocity_series or "the position"],
        ]
    out.table(entry.session, ["what", "value"], rows)
    if attributes is None:
        return
    dropped = [
        [kind, reason, str(number)]
        for kind, reasons in (("unit", attributes.dropped.units), ("trial", attributes.dropped.trials))
        for reason, number in reasons.items()
    ]
    if dropped:
        out.table("Left out", ["what", "reason", "number"], dropped)
    else:
        out.result("Left out: no unit, no trial.")
    if attributes.quality is not None:
        _show_quality(out, attributes.quality)
    for warning in attributes.provenance.warnings:
        out.result(f"warning: {warning}")
    _show_scores(out, scores)


def show_run(out: Output, run: RunEntry, scores: Sequence[Score]) -> None:
    """Show one run."""
    rows = [
        ["model", run.model],
        ["path", run.path],
        ["steps", str(run.steps)],
        ["recipe", run.recipe_id],
        ["sessions", ", ".join(run.sessions)],
        ["created", run.created],
        *([["imported from", f"{run.imported.program}, {run.imported.source}"]] if run.imported else []),
        *([name, f"{value:.4g}"] for name, value in run.metrics.items()),
    ]
    out.table(run.run, ["what", "value"], rows)
    _show_scores(out, scores)


def dandiset_event(name: str, entry: DandisetEntry) -> dict[str, Any]:
    """Return what is known of a dandiset, with its pins counted."""
    files, size = _extent(entry)
    known = entry.model_dump(mode="json", exclude={"pins", "n_files", "n_bytes"})
    pins = [pin.model_dump(mode="json") for pin in entry.pins]
    return {
        "event": "dandiset",
        "dandiset": name,
        **known,
        "n_pins": len(pins),
        "n_files": files,
        "n_bytes": size,
    }


def show_dandisets(out: Output, entries: Mapping[str, DandisetEntry]) -> None:
    """Show all known dandisets."""
    rows = []
    for name, entry in entries.items():
        files, size = _extent(entry)
        about = "\n".join(text for text in (entry.title, entry.citation) if text)
        count = f"{files} pinned" if entry.pins else str(files or "")
        words = [entry.version, entry.layout, ", ".join(entry.tasks), count, _bytes(size), entry.license]
        rows.append([name, *words, about])
    columns = [
        "dandiset",
        "version",
        "layout",
        "tasks",
        "files",
        "size",
        "licence",
        "title, citation",
    ]
    out.table("Dandisets", columns, rows)


def show_dandiset(out: Output, name: str, entry: DandisetEntry) -> None:
    """Show one dandiset with its known issues and pinned files."""
    files, size = _extent(entry)
    rows = [
        ["title", entry.title],
        ["version", entry.version],
        ["layout", entry.layout],
        ["tasks", ", ".join(entry.tasks)],
        ["files", str(files) if files is not None else "not known"],
        ["size", _bytes(size) or "not known"],
        ["licence", entry.license or "not stated"],
        ["cite", entry.citation],
    ]
    out.table(name, ["what", "value"], rows)
    for note in entry.notes:
        out.result(f"note: {note}")
    if entry.pins:
        pins = [[pin.path, _bytes(pin.size), pin.content_digest[:12]] for pin in entry.pins]
        out.table("Pinned files", ["path", "size", "digest"], pins)


def failure_event(failure: Failure) -> dict[str, Any]:
    """Return a session that failed as one event."""
    last = failure.last
    return {
        "event": "failure",
        **last.model_dump(mode="json", include={"session", "source", "recipe_id", "time", "host"}),
        "attempts": failure.n_attempts,
        "error": failure.kind,
        "exit_code": last.exit_code,
        "message": failure.message,
        "remedy": failure.remedy,
    }


def failure_line(failure: Failure) -> str:
    """Return a session that failed as one line."""
    last = failure.last
    times = f"{failure.n_attempts} attempts" if failure.n_attempts > 1 else "1 attempt"
    return (
        f"{last.session} ({last.source}, recipe {last.recipe_id}): failed {last.time[:19]} UTC, {times}: "
        f"{failure.kind}: {failure.message} → {failure.remedy}"
    )


def diff_event(diff: DandisetDiff) -> dict[str, Any]:
    """Return what has become of a dandiset as one event."""
    return {
        "event": "diff",
        "dandiset": diff.dandiset,
        "status": "unchanged" if diff.is_unchanged else "changed",
        "pinned": diff.pinned,
        "newer": list(diff.newer),
        "compared": diff.compared,
        **{change: diff.count(change) for change in CHANGES},
        "changes": [
            {"path": c.path, "change": c.change, "before": _listed(c, "before"), "after": _listed(c, "after")}
            for c in diff.changes
        ],
        "reason": " ".join(diff.notes),
    }


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
                _bytes(c.before.size if c.before else None),
                _bytes(c.after.size if c.after else None),
            ]
            for c in diff.changes[:FILES_SHOWN]
        ]
        out.table(
            f"{diff.dandiset}: files that differ", ["change", "path", "pinned", "in the archive"], files
        )
        if len(diff.changes) > FILES_SHOWN:
            out.result(f"and {len(diff.changes) - FILES_SHOWN} more; --json lists all of them.")


def _show_quality(out: Output, quality: SessionQuality) -> None:
    rows = [
        [name.replace("_", " "), value, description]
        for name, value, description in _measured(quality)
        if not name.startswith(("n_", "dropped_", "flags"))
    ]
    out.table("Quality", ["measure", "value", "meaning"], rows)
    out.result(f"Flags: {', '.join(quality.flags) or 'none'}.")


def _measured(model: BaseModel, prefix: str = "") -> list[tuple[str, str, str]]:
    """Return name, value and meaning of every number of a model of numbers."""
    rows = []
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel) and "p50" not in type(value).model_fields:
            rows += _measured(value, f"{prefix}{name} ")
        else:
            rows.append((prefix + name, _words(value), field.description or ""))
    return rows


def _words(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {number}" for key, number in value.items()) or "none"
    if isinstance(value, BaseModel):
        low, median, high = (_words(getattr(value, name, None)) for name in ("p5", "p50", "p95"))
        return f"{median} (5th to 95th percentile {low} to {high}, n = {getattr(value, 'n', 0)})"
    return str(value)


def _recipe_words(attributes: StoreAttributes) -> str:
    recipe = attributes.recipe
    defaults = type(recipe)()
    changed = [
        f"{name}={getattr(recipe, name)}"
        for name in type(recipe).model_fields
        if getattr(recipe, name) != getattr(defaults, name)
    ]
    return ", ".join(changed) or "all defaults"


def _show_scores(out: Output, scores: Sequence[Score]) -> None:
    if not scores:
        return
    columns = [
        "run",
        "session",
        "metric",
        "source",
        "decoder",
        "lag_ms",
        "split",
        "value",
        "p_value",
        "n_trials",
    ]
    if any(score.trained_on for score in scores):
        columns.insert(5, "trained_on")
    rows = [[_of_score(score, name) for name in columns] for score in scores]
    out.table("Scores", columns, rows)


def _of_score(score: Score, name: str) -> str:
    value = getattr(score, name)
    if name == "trained_on":
        return f"{len(value)} sessions" if len(value) > 1 else "".join(value)
    return "" if value is None else _words(value)


def _extent(entry: DandisetEntry) -> tuple[int | None, int | None]:
    if entry.pins:
        return len(entry.pins), sum(pin.size for pin in entry.pins)
    return entry.n_files, entry.n_bytes


def _listed(change: FileChange, side: str) -> dict[str, Any] | None:
    file = getattr(change, side)
    if not file:
        return None
    digests = {"sha256": file.sha256, "zarr_checksum": file.zarr_checksum}
    return {"asset_id": file.asset_id, "size": file.size, **digests}


def _bytes(size: int | None) -> str:
    if size is None:
        return ""
    for unit, width in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= width:
            return f"{size / width:.3g} {unit}"
    return f"{size} B"
