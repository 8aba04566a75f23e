"""``pipeline leaderboard``: all evaluations of the catalog, side by side."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stores.atomic import write_text
from nwb_latents.pipeline.stores.catalog import read_catalog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Literal

    from nwb_latents.pipeline.evaluation.leaderboard import Board
    from nwb_latents.schemas.catalog import Catalog
    from nwb_latents.schemas.evaluation import MetricName
    from nwb_latents.schemas.results import Evaluation


def leaderboard(
    catalog_path: Path,
    *,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    phase: Literal["test", "val"] | None = None,
    ranked_by: MetricName | None = None,
    output: Path | None = None,
    report: Report | None = None,
) -> list[Board]:
    """Compare what was evaluated, and write the comparison if asked to.

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
        Metric that orders the rows; None: the first a run has.
    output
        File to write: ``.csv`` (one line per session, source and metric), ``.md`` or ``.html``.
    report
        Called with one event per row.

    Returns
    -------
    boards
        One per dandiset, recipe, phase and settings.

    Raises
    ------
    DataError
        If nothing that matches was evaluated, or nothing has `ranked_by`.
    MachineError
        If the file cannot be written.
    """
    from nwb_latents.pipeline.evaluation.leaderboard_files import as_csv, as_html, as_markdown  # noqa: PLC0415

    catalog = read_catalog(catalog_path)
    chosen = [
        each
        for each in catalog.evaluations
        if any(fnmatch.fnmatchcase(each.session, glob) for glob in sessions)
        and (recipe_id is None or each.recipe_id.startswith(recipe_id))
        and (phase is None or each.phase == phase)
    ]
    if catalog.evaluations and not chosen:
        raise DataError(
            f"None of the {len(catalog.evaluations)} evaluations in {catalog_path} matches. Leave out a "
            "condition, or run `pipeline run evaluate` for these sessions."
        )
    made = compare(catalog, chosen, ranked_by=ranked_by)
    for board in made:
        _report(board, report or ignore)
    if output is not None:
        kind = output.suffix.lstrip(".")
        text = {
            "csv": lambda: as_csv(chosen, dandisets=_dandisets(catalog)),
            "md": lambda: as_markdown(made),
            "html": lambda: as_html(made),
        }[kind]()
        write_text(output, text)
    return made


def compare(
    catalog: Catalog, evaluations: Sequence[Evaluation], *, ranked_by: MetricName | None = None
) -> list[Board]:
    """Put evaluations side by side, by the dandisets their sessions come from.

    Parameters
    ----------
    catalog
        Knows the sessions.
    evaluations, ranked_by
        As for `pipeline.evaluation.leaderboard.boards`.

    Raises
    ------
    DataError
        If there are none, or nothing has `ranked_by`.
    """
    from nwb_latents.pipeline.evaluation.leaderboard import boards  # noqa: PLC0415

    return boards(evaluations, dandisets=_dandisets(catalog), ranked_by=ranked_by)


def _dandisets(catalog: Catalog) -> dict[tuple[str, str], str]:
    return {(e.session, e.recipe_id): e.dandiset or "files" for e in catalog.sessions.values()}


def _report(board: Board, report: Report) -> None:
    shared = {
        "dandiset": board.dandiset,
        "recipe_id": board.recipe_id,
        "phase": board.phase,
        "n_sessions": len(board.sessions),
        "level": board.level,
    }
    for rank, row in enumerate(board.rows, start=1):
        cells = {
            name: {"value": cell.value, "low": cell.low, "high": cell.high, "seed_sd": cell.seed_sd,
                   "n_sessions": cell.n_sessions}
            for name, cell in row.cells.items()
        }  # fmt: skip
        told = {
            "rank": rank,
            "label": row.label,
            "is_baseline": row.is_baseline,
            "sources": list(row.sources),
        }
        report({"event": "row", **shared, **told, "metrics": cells})
