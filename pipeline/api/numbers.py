"""Numbers: measured by decoding, evaluating and forecasting, compared, read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.api.named_arguments import named_arguments

if TYPE_CHECKING:
    import pandas as pd

    from nwb_latents.pipeline.api.arguments import Names, Place

_CURRENCY = ("is_current", "why_stale")
"""Columns that no file has: what the catalog says today."""


@named_arguments
def scores(
    catalog: Place,
    *,
    names: Names = (),
    sessions: Names = (),
    runs: Names = (),
    stages: Names = (),
    splits: Names = (),
    sources: Names = (),
    recipe_id: str = "",
    columns: Names = (),
    latest: bool = True,
) -> pd.DataFrame:
    """Return what was measured, one row for each number.

    Parameters
    ----------
    catalog
        Catalog file.
    names
        Names of metrics or shell patterns, such as ``"velocity_r2"`` or ``"*_bps"``; default: all. One that
        nothing has is said (`CatalogWarning`) where that leaves no number.
    sessions, runs, stages, splits, sources
        The same for these columns.
    recipe_id
        Recipe of the stores, or its beginning.
    columns
        Columns wanted, such as ``["session", "value", "is_current"]``; default: all.
    latest
        Leave out what was measured again later.

    Returns
    -------
    table
        One row for each number, with its interval, unit, definition, and everything about how it was measured
        (`Measurement`); in order of time. The last two, `is_current` and `why_stale`, say whether store and
        run are still those that were measured, and what became of them; they are missing where older versions
        did not write down which they were.

    Raises
    ------
    KeyError
        If there is no such column.
    DataError
        If there is neither a catalog nor measurements of one.
    MachineError
        If the files cannot be read.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> list(nl.scores("catalog.yaml", columns=["session", "name", "value"]))
    ['session', 'name', 'value']
    """
    from nwb_latents.pipeline.api.arguments import names_of, path_of  # noqa: PLC0415
    from nwb_latents.pipeline.errors import DataError  # noqa: PLC0415
    from nwb_latents.pipeline.stores.catalog import read_catalog  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurement_frame import say_without_match  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurement_lines import measurement_folder  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurements import are_current, read_measurements, why_stale  # noqa: PLC0415

    path = path_of(catalog)
    if not path.exists() and not measurement_folder(path).exists():
        raise DataError(f"{path}: no such catalog. Check the path; the first ingest makes a catalog.")
    patterns = {
        "name": names_of(names),
        "session": names_of(sessions),
        "run": names_of(runs),
        "stage": names_of(stages),
        "split": names_of(splits),
        "source": names_of(sources),
        "recipe_id": (f"{recipe_id}*",) if recipe_id else (),
    }
    wanted = names_of(columns)
    mine = [name for name in wanted if name not in _CURRENCY]
    table = read_measurements(
        path,
        names=patterns["name"],
        sessions=patterns["session"],
        runs=patterns["run"],
        recipe_id=recipe_id,
        stages=patterns["stage"],
        splits=patterns["split"],
        sources=patterns["source"],
        columns=() if len(mine) < len(wanted) else mine,
        latest=latest,
    )
    if table.empty:
        say_without_match(read_measurements(path, columns=list(patterns)), patterns)
    if wanted and len(mine) == len(wanted):
        return table
    catalog_now = read_catalog(path)
    table = table.assign(is_current=are_current(table, catalog_now), why_stale=why_stale(table, catalog_now))
    return table[list(wanted)] if wanted else table


@named_arguments
def leaderboard(
    catalog: Place,
    *,
    sessions: Names = "*",
    recipe_id: str | None = None,
    phase: Literal["test", "val"] | None = None,
    by: str | None = None,
    output: Place | None = None,
) -> pd.DataFrame:
    """Compare all runs and baselines that were evaluated: means over sessions, seeds put together.

    Parameters
    ----------
    catalog
        Catalog file.
    sessions
        Session ids or shell patterns, one or several.
    recipe_id
        Recipe, or its beginning; None: all.
    phase
        Trials scored; None: both, one below the other.
    by
        Metric that orders the rows, ``"velocity_r2"``, or of one part, ``"velocity_r2:forecast"``; None: the
        first a run has.
    output
        File to write as well: ``.csv``, ``.md`` or ``.html``.

    Returns
    -------
    table
        One row for each model or baseline, best first; what was not measured alike (other dandiset, recipe,
        phase or settings) comes after it. A metric has four columns: its mean over sessions, ``_low`` and
        ``_high``, the interval over trials, and ``_seed_sd``, the deviation over seeds. What each metric is,
        and what was fitted on what, is in ``table.attrs["legend"]``.

    Raises
    ------
    DataError
        If nothing that matches was evaluated, or nothing has the metric `by`.
    MachineError
        If the file cannot be written.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.leaderboard("catalog.yaml")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: Nothing was evaluated yet. Run `pipeline run evaluate` first.
    """
    from nwb_latents.pipeline.api.arguments import names_of, one_of, path_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.leaderboard_table import board_table  # noqa: PLC0415
    from nwb_latents.pipeline.stages.leaderboard import leaderboard as stage  # noqa: PLC0415

    if phase is not None:
        one_of(phase, ("test", "val"), argument="phase", function="leaderboard")
    made = stage(
        path_of(catalog),
        sessions=names_of(sessions),
        recipe_id=recipe_id,
        phase=phase,
        ranked_by=by,
        output=None if output is None else path_of(output),
    )
    return board_table(made)
