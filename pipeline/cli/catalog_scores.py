"""``pipeline catalog scores``: the measurements of a catalog, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import CATALOG, CatalogOption, JsonOption, SessionOption
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.current_keys import stale_words

if TYPE_CHECKING:
    from nwb_latents.schemas.events import MeasurementEvent


def _globs(name: str, what: str) -> Any:
    """Return an option that takes names or shell patterns."""
    return typer.Option(name, help=f"{what}, or shell pattern, repeatable; default: all.", metavar="GLOB")


Globs = list[str] | None


def scores(
    metric: Annotated[Globs, _globs("--metric", "Name of a metric")] = None,
    session: SessionOption = None,
    run: Annotated[Globs, _globs("--run", "Name of a run")] = None,
    source: Annotated[
        Globs, _globs("--source", "What was scored: rates, reconstruction, a baseline …")
    ] = None,
    stage: Annotated[Globs, _globs("--stage", "Stage that measured: decode, evaluate …")] = None,
    split: Annotated[Globs, _globs("--split", "Split that was scored")] = None,
    recipe_id: Annotated[
        str | None,
        typer.Option(
            "--recipe-id", help="Recipe of the stores, or its beginning; default: all.", metavar="ID"
        ),
    ] = None,
    steps: Annotated[
        bool,
        typer.Option("--steps/--no-steps", help="Show each step of forecasts too, not only all of them."),
    ] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Show what was measured again later, too.")
    ] = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
) -> None:
    """List what was measured: each number with its interval and what it means."""
    from nwb_latents.pipeline.stores.catalog import read_catalog
    from nwb_latents.pipeline.stores.current_keys import CurrentKeys
    from nwb_latents.pipeline.stores.measurements import measurement_records, read_measurements
    from nwb_latents.schemas.events import MeasurementEvent

    table = read_measurements(
        catalog,
        names=metric or (),
        sessions=session or (),
        runs=run or (),
        sources=source or (),
        stages=stage or (),
        splits=split or (),
        recipe_id=recipe_id or "",
        latest=not history,
    )
    records = measurement_records(table if steps else table[table["step"].isna()])
    if not records:
        raise DataError(
            f"{catalog}: there is no such measurement. Run `pipeline run decode` or `pipeline run evaluate`, "
            "or leave out a condition."
        )
    with Output(json_lines=json_lines) as out:
        keys = CurrentKeys(read_catalog(catalog))
        found = [
            MeasurementEvent.model_validate({**each.model_dump(), **keys.kept(each)}) for each in records
        ]
        for each in found:
            out.record(each)
        columns = [name for name in _columns(history=history) if any(_said(each, name) for each in found)]
        fitted = dict.fromkeys(f"{of.name}: decoder fitted on {of.fitted_on}" for of in found if of.fitted_on)
        title = "\n".join(("Measurements", *fitted))
        out.table(title, columns, [[_said(each, name) for name in columns] for each in found])


def _columns(*, history: bool) -> tuple[str, ...]:
    shown = ("session", "run", "source", "metric", "value", "interval", "decoder", "fitted sessions", "ahead")
    return (*shown, "stale", "trials", "p", "why not", *(("time",) if history else ()))


def _said(of: MeasurementEvent, column: str) -> str:
    """Return what a table says of a measurement in one of its columns."""
    unit = "" if of.unit in {"", "1"} else f" {of.unit}"
    lag = "" if of.lag_ms is None else f"{of.lag_ms:g} ms"
    steps = (
        f"bins {of.bins} after {of.seen_bins}" if of.step is None else f"step {of.step} after {of.seen_bins}"
    )
    words = {
        "session": of.session,
        "run": of.run or "",
        "source": of.source,
        "metric": of.name,
        "value": "" if of.value is None else f"{of.value:.4g}{unit}",
        "interval": "" if of.low is None or of.high is None else f"{of.low:.3g} to {of.high:.3g}",
        "decoder": ", ".join(word for word in (of.decoder, lag) if word),
        "fitted sessions": ", ".join(of.fitted_sessions),
        "ahead": "" if of.bins is None else steps,
        "trials": f"{of.n_trials} {of.split}",
        "stale": stale_words(is_current=of.is_current, why_stale=of.why_stale),
        "p": "" if of.p_value is None else f"{of.p_value:.3g}",
        "why not": of.reason,
        "time": of.time[:19],
    }
    return words[column]
