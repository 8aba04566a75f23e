"""Sessions and runs of the catalog as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from nwb_latents.pipeline.stores.current_keys import stale_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.cli.console import Output
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.events import KeptMeasurement
    from nwb_latents.schemas.quality import SessionQuality
    from nwb_latents.schemas.store import StoreAttributes, Verification


BYTES: dict[Verification | None, str] = {
    "digest": "verified: the file's SHA-256",
    "connection": "streamed over https: protected on the way, held against no digest",
    "none": "NOT VERIFIED: streamed over plain http (ingest with --download replaces the store)",
    None: "not known whether they were verified: the store is of an earlier version of the program",
}
"""What the bytes a store was made of were held against, in words."""


def show_stores(out: Output, entries: Sequence[SessionEntry]) -> None:
    """Show stores that were just written, one row each; nothing where there are none."""
    rows = [
        [e.session, e.task, str(e.n_trials), str(e.n_units), f"{e.n_bins} × {e.bin_size_s * 1e3:g} ms"]
        for e in entries
    ]
    if rows:
        out.table("Trial stores", ["session", "task", "trials", "units", "bins"], rows)


def show_session(
    out: Output, entry: SessionEntry, attributes: StoreAttributes | None, scores: Sequence[KeptMeasurement]
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
            *([["archive", origin.archive]] if origin.archive else []),
            ["bytes", BYTES[origin.verification]],
            ["layout", origin.layout],
            ["position from", origin.position_series or "none"],
            ["velocity from", origin.velocity_series or "the position"],
            ["kinematics in", f"{attributes.kinematics_unit}, {attributes.kinematics_unit}/s"],
        ]
    out.table(entry.session, ["what", "value"], rows)
    if attributes is not None:
        _show_attributes(out, attributes)
    _show_scores(out, scores)


def _show_attributes(out: Output, attributes: StoreAttributes) -> None:
    dropped = [
        [kind, reason, str(number)]
        for kind, reasons in (("unit", attributes.dropped.units), ("trial", attributes.dropped.trials))
        for reason, number in reasons.items()
    ]
    if choices := attributes.provenance.choices:
        # As lines: paths are copied.
        out.result("\n".join(["Read", *(f"  {c.what}: {c.value} ({c.why})" for c in choices)]))
    if dropped:
        out.table("Left out", ["what", "reason", "number"], dropped)
    else:
        out.result("Left out: no unit, no trial.")
    if attributes.quality is not None:
        _show_quality(out, attributes.quality)
    for warning in attributes.provenance.warnings:
        out.result(f"warning: {warning}")


def show_run(out: Output, run: RunEntry, *, stale: str, scores: Sequence[KeptMeasurement]) -> None:
    """Show one run, and in what it is stale."""
    rows = [
        *([["stale", stale.removeprefix("stale: ")]] if stale else []),
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
    return ", ".join(_changed(recipe, type(recipe)())) or "all defaults"


def _changed(settings: BaseModel, defaults: BaseModel, prefix: str = "") -> list[str]:
    """Return the settings that are not the default, as they are typed."""
    said: list[str] = []
    for name in type(settings).model_fields:
        value, usual = getattr(settings, name), getattr(defaults, name)
        if isinstance(value, BaseModel) and isinstance(usual, BaseModel):
            said += _changed(value, usual, f"{prefix}{name}.")
        elif value != usual:
            said.append(f"{prefix}{name}={value}")
    return said


def _show_scores(out: Output, scores: Sequence[KeptMeasurement]) -> None:
    if not scores:
        return
    columns = [
        "run",
        "session",
        "name",
        "source",
        "decoder",
        "lag_ms",
        "split",
        "value",
        "p_value",
        "n_trials",
    ]
    if any(score.fitted_sessions for score in scores):
        columns.insert(5, "fitted_sessions")
    if not all(score.is_current for score in scores):
        columns.insert(0, "stale")
    rows = [[_of_score(score, name) for name in columns] for score in scores]
    fitted = sorted({score.fitted_on for score in scores if score.fitted_on})
    told = f"\nvelocity is decoded by decoders fitted on {' or '.join(fitted)}" if fitted else ""
    out.table(f"Measurements{told}", columns, rows)


def _of_score(score: KeptMeasurement, name: str) -> str:
    if name == "stale":
        return stale_words(is_current=score.is_current, why_stale=score.why_stale)
    value = getattr(score, name)
    if name == "fitted_sessions":
        return f"{len(value)} sessions" if len(value) > 1 else "".join(value)
    return "" if value is None else _words(value)
