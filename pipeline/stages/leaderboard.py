"""``pipeline leaderboard``: everything that was evaluated, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stores.atomic import write_text
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import read_measurements, why_stale
from nwb_latents.schemas.events import BoardCell, NoteEvent, RowEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Literal

    import pandas as pd

    from nwb_latents.pipeline.evaluation.leaderboard import Board
    from nwb_latents.pipeline.evaluation.leaderboard_cells import Cell
    from nwb_latents.schemas.catalog import Catalog
    from nwb_latents.schemas.measurement import Measurement


def leaderboard(
    catalog_path: Path,
    *,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    phase: Literal["test", "val"] | None = None,
    ranked_by: str | None = None,
    output: Path | None = None,
    report: Report | None = None,
) -> list[Board]:
    """Compare what was evaluated, and write the comparison if asked to.

    What was measured of a store or run that is no more is left out, and its number told.

    Parameters
    ----------
    catalog_path
        Catalog file.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe, or its beginning; None: all.
    phase
        Split scored; None: both, in tables of their own.
    ranked_by
        Metric that orders the rows, such as ``velocity_r2`` or, of the forecast, ``velocity_r2:forecast``;
        None: the first a run has.
    output
        File to write: ``.csv`` (one line per session, source and metric), ``.md`` or ``.html``.
    report
        Called with one event per row, and a note of what is left out.

    Returns
    -------
    boards
        One per dandiset, recipe, phase and settings.

    Raises
    ------
    DataError
        If nothing that matches and is there was evaluated, or nothing has `ranked_by`.
    MachineError
        If the file cannot be written.
    """
    from nwb_latents.pipeline.evaluation.current_evaluations import NEEDED, STAGE  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.leaderboard import boards  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.leaderboard_files import as_csv, as_html, as_markdown  # noqa: PLC0415

    kind = "" if output is None else output.suffix.lstrip(".")
    measured = read_measurements(
        catalog_path,
        sessions=() if tuple(sessions) == ("*",) else tuple(sessions),
        recipe_id=recipe_id or "",
        splits=() if phase is None else (phase,),
        stages=(STAGE,),
        columns=() if kind == "csv" else NEEDED,
    )
    if measured.empty:
        n = len(read_measurements(catalog_path, stages=(STAGE,), columns=("name",)))
        if n:
            raise DataError(
                f"None of the {n} measurements of evaluations in {catalog_path} matches. Leave out a "
                "condition, or run `pipeline run evaluate` for these sessions."
            )
    catalog = read_catalog(catalog_path)
    dandisets = _dandisets(catalog)
    measured, stale = _current(measured, catalog, report or ignore)
    made = boards(measured, dandisets=dandisets, ranked_by=ranked_by)
    for board in made:
        _report(board, report or ignore)
    if output is not None:
        text = {
            "csv": lambda: as_csv(measured, dandisets=dandisets),
            "md": lambda: as_markdown(made, stale=stale),
            "html": lambda: as_html(made, stale=stale),
        }[kind]()
        write_text(output, text)
    return made


def _current(measured: pd.DataFrame, catalog: Catalog, report: Report) -> tuple[pd.DataFrame, str]:
    """Return the measurements of stores and runs that are there, and say how many others are left out.

    Raises
    ------
    DataError
        If none is left.
    """
    if measured.empty:
        return measured, ""
    why = why_stale(measured, catalog)
    is_stale = why.fillna("").astype(str) != ""
    n_stale, n_unknown, said = int(is_stale.sum()), int(why.isna().sum()), []
    if n_stale:
        reasons = why[is_stale].value_counts()
        counts = "; ".join(f"{number}: {reason}" for reason, number in reasons.items())
        counts = str(reasons.index[0]) if len(reasons) == 1 else counts
        text = f"{n_stale} of {len(measured)} measurements are stale ({counts})"
        if n_stale == len(measured):
            raise DataError(
                f"{text}: nothing that is there was evaluated. Run `pipeline run evaluate` again; `pipeline "
                "catalog "
                "scores` shows the former numbers."
            )
        said.append(f"{text} and are left out; `pipeline run evaluate` measures anew")
    if n_unknown:
        said.append(
            f"{n_unknown} of {len(measured)} measurements do not say of which store and run they are "
            "(earlier "
            "versions) and may be stale"
        )
    for text in said:
        report(NoteEvent(text=text, stage="leaderboard", status="stale"))
    return measured[~is_stale], "; ".join(said)


def compare(
    catalog: Catalog, measurements: Iterable[Measurement], *, ranked_by: str | None = None
) -> list[Board]:
    """Put measurements side by side, by the dandisets their sessions come from.

    Parameters
    ----------
    catalog
        Knows the sessions.
    measurements
        Of `pipeline run evaluate`, in order of time.
    ranked_by
        As for `leaderboard`.

    Raises
    ------
    DataError
        If there are none, or nothing has `ranked_by`.
    """
    from nwb_latents.pipeline.evaluation.current_evaluations import measurement_table  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.leaderboard import boards  # noqa: PLC0415

    return boards(measurement_table(measurements), dandisets=_dandisets(catalog), ranked_by=ranked_by)


def _dandisets(catalog: Catalog) -> dict[tuple[str, str], str]:
    return {(e.session, e.recipe_id): e.dandiset or "files" for e in catalog.sessions.values()}


def _report(board: Board, report: Report) -> None:
    for rank, row in enumerate(board.rows, start=1):
        report(
            RowEvent(
                dandiset=board.dandiset,
                recipe_id=board.recipe_id,
                phase=board.phase,
                n_sessions=len(board.sessions),
                level=board.level,
                rank=rank,
                label=row.label,
                is_baseline=row.is_baseline,
                sources=row.sources,
                n_seeds=row.n_seeds,
                told=row.told,
                only_forecasts=row.only_forecasts,
                metrics={key: _event_cell(cell) for key, cell in row.cells.items()},
                protocol={column.key: column.protocol for column in board.columns if column.protocol},
            )
        )


def _event_cell(cell: Cell) -> BoardCell:
    low, high, seed_sd = (None if end != end else end for end in (cell.low, cell.high, cell.seed_sd))  # noqa: PLR0124
    return BoardCell(value=cell.value, low=low, high=high, seed_sd=seed_sd, n_sessions=cell.n_sessions)
