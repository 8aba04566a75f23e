"""What a study found: one board of all runs, and a table for each factor, printed and written."""

from __future__ import annotations

import difflib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.evaluation.current_evaluations import current_evaluations, measurement_table
from nwb_latents.pipeline.evaluation.escaped_text import for_csv, for_markdown
from nwb_latents.pipeline.evaluation.factor_tables import SETTING, FactorTable, factor_tables
from nwb_latents.pipeline.evaluation.leaderboard_files import NONE, number, spread
from nwb_latents.pipeline.evaluation.metrics.known import metrics_by_name
from nwb_latents.pipeline.stages.study_plan import TRAINED_ON
from nwb_latents.pipeline.stores.atomic import write_text
from nwb_latents.pipeline.training.alignment import few_shot_settings
from nwb_latents.schemas.events import FactorEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stages.study import Study
    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.study import StudySettings

TRIALS, PRETRAINED = "trials", "pre-trained"
"""Factors of alignments."""


def require_tables(settings: StudySettings) -> list[str]:
    """Refuse tables of numbers that will not be measured; say those that stand there by default.

    Parameters
    ----------
    settings
        The study.

    Returns
    -------
    notes
        What is to be said.

    Raises
    ------
    SettingsError
        If a table that was asked for has no such column, or its metric is not measured.
    """
    known = {_key(name, part): name for name, metric in metrics_by_name().items() for part in metric.parts}
    measured = settings.evaluate.metrics
    missing = []
    for key in settings.tables:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise SettingsError(f"tables: no column is called {key!r}{hint} There are {', '.join(known)}.")
        if measured is not None and known[key] not in measured:
            missing.append(key)
    if not missing:
        return []
    text = f"tables: {', '.join(missing)} is not among evaluate.metrics ({', '.join(measured or ())})"
    if "tables" in settings.model_fields_set:
        raise SettingsError(f"{text}. Name it there, or leave it out of tables.")
    return [f"{text}: it has no table. Name other columns in tables."]


def study_tables(study: Study) -> list[FactorTable]:
    """Return a table for each factor of a study that has several levels.

    Parameters
    ----------
    study
        The study, measured.
    """
    numbers = study_numbers(study)
    if numbers.empty:
        return []
    factors = {name: list(dict.fromkeys(numbers[name])) for name in _factors(study)}
    levels = {name: [level for level in found if level] for name, found in factors.items()}
    others = {name: found for name, found in levels.items() if name != PRETRAINED}
    # A training from scratch knows nothing of what its parent was trained on, or how fast: no level of that.
    own, alone = numbers.copy(), numbers[PRETRAINED] == "no"
    for factor in _without_effect_from_scratch(study):
        own.loc[alone, factor] = ""
    made = factor_tables(own, others, study.settings.tables)
    # With and without pre-training, and what was trained on, stand in columns of their own above; here they
    # are levels.
    few = numbers[numbers[PRETRAINED] != ""]
    few = few.assign(**{SETTING: [f"few trials of {name.partition(' to ')[2]}" for name in few[SETTING]]})
    trained = numbers[numbers[PRETRAINED] == ""].assign(**{SETTING: "trained"})
    for part, factor in ((trained, TRAINED_ON), (few, PRETRAINED)):
        made += [
            table for table in factor_tables(part, levels, study.settings.tables) if table.factor == factor
        ]
    return _one_of_each(made)


def _one_of_each(tables: Sequence[FactorTable]) -> list[FactorTable]:
    """Put tables of the same factor side by side."""
    found: dict[str, FactorTable] = {}
    for table in tables:
        before = found.get(table.factor)
        if before is not None:
            table = replace(  # noqa: PLW2901
                before,
                levels=tuple(dict.fromkeys((*before.levels, *table.levels))),
                columns=(*before.columns, *table.columns),
                cells={**before.cells, **table.cells},
                left_out={**before.left_out, **table.left_out},
            )
        found[table.factor] = table
    return list(found.values())


def _without_effect_from_scratch(study: Study) -> list[str]:
    """Return the factors whose levels make no difference to trainings from scratch."""
    asked = study.settings.align
    if asked is None:
        return []
    few = {
        run.name: few_shot_settings(
            run.training.begun.settings, asked.settings, from_scratch=True
        ).model_dump_json()
        for run in study.runs
        if asked.models is None or run.model in asked.models
    }
    found = []
    for factor in dict.fromkeys(factor for run in study.runs for factor in run.levels):
        alike: dict[tuple[object, ...], set[str]] = {}
        for run in study.runs:
            if run.name in few:
                rest = (*(level for name, level in run.levels.items() if name != factor), run.seed)
                alike.setdefault(rest, set()).add(few[run.name])
        if all(len(settings) == 1 for settings in alike.values()):
            found.append(factor)
    return found


def study_numbers(study: Study) -> pd.DataFrame:
    """Return every number of a study, one row for each run, session and metric of its tables.

    Returns
    -------
    numbers
        Columns ``setting``, ``metric``, ``session``, ``run``, ``seed``, ``value`` and one for each factor.
    """
    about = {run.name: (dict(run.levels), run.seed) for run in study.runs}
    placed = _group_of(study)
    made_of = {entry.run: entry for entry in study.aligned}
    rows = []
    current = current_evaluations(measurement_table(study.measurements))
    current = current[~current["is_baseline"] & current["run"].notna()]
    for each in current.to_dict("records"):
        key = _key(each["name"], each["part"])
        if key not in study.settings.tables or each["owner"] != each["run"]:
            continue
        name, session = str(each["run"]), str(each["session"])
        made = made_of.get(name)
        parent = name if made is None or made.alignment is None else made.alignment.parent
        if parent not in about:
            continue
        levels, seed = about[parent]
        rows.append({
            "setting": _setting(made, placed.get(session, ""), levels),
            "metric": key,
            "session": session,
            "run": name,
            "seed": seed,
            "value": each["value"],
            **levels,
            **_of_alignment(made),
        })  # fmt: skip
    columns = ["setting", "metric", "session", "run", "seed", "value", *_factors(study)]
    return pd.DataFrame(rows, columns=columns)


def _factors(study: Study) -> list[str]:
    named = dict.fromkeys(factor for run in study.runs for factor in run.levels)
    return [*named, TRIALS, PRETRAINED]


def _of_alignment(made: RunEntry | None) -> dict[str, str]:
    if made is None or made.alignment is None:
        return {TRIALS: "", PRETRAINED: ""}
    return {
        TRIALS: str(made.alignment.n_trials),
        PRETRAINED: "no" if made.alignment.from_scratch else "yes",
    }


def _setting(made: RunEntry | None, group: str, levels: Mapping[str, str]) -> str:
    """Return what was done with a run, as tables say it: runs of one setting may be compared."""
    if made is None or made.alignment is None:
        return f"trained on {levels[TRAINED_ON]}"
    return f"fitted from scratch to {group}" if made.alignment.from_scratch else f"aligned to {group}"


def _group_of(study: Study) -> dict[str, str]:
    """Return the group by which each new session was asked for."""
    asked = study.settings.align
    found: dict[str, str] = {}
    for name in asked.to if asked else ():
        for entry in study.groups[name]:
            found.setdefault(entry.session, name)
    return found


def _key(name: str, part: str) -> str:
    """Return the name of a column of the leaderboard."""
    metric = metrics_by_name().get(name)
    return name if metric is None or part == next(iter(metric.parts)) else f"{name}:{part}"


def report_tables(study: Study, tables: Iterable[FactorTable], report: Report) -> None:
    """Report every cell of the tables."""
    for table in tables:
        for (level, setting, metric), cell in table.cells.items():
            report(
                FactorEvent(
                    study=study.settings.name,
                    factor=table.factor,
                    level=level,
                    setting=setting,
                    metric=metric,
                    value=cell.value,
                    seed_sd=None if math.isnan(cell.seed_sd) else cell.seed_sd,
                    n_seeds=cell.n_seeds,
                    n_sessions=cell.n_sessions,
                )
            )


def as_rows(table: FactorTable) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a table, as they are printed."""
    head = [table.factor, *(f"{setting}\n{metric}" for setting, metric in table.columns)]
    rows = []
    for level in table.levels:
        cells = [table.cells.get((level, *column)) for column in table.columns]
        texts = [NONE if cell is None else number(cell.value) + _spread(cell.seed_sd) for cell in cells]
        rows.append([level, *texts])
    return head, rows


def _spread(seed_sd: float) -> str:
    return "" if math.isnan(seed_sd) else f" {spread(seed_sd)}"


def legend(table: FactorTable) -> list[str]:
    """Return what stands below a table: over how much its numbers are, and what was left out."""
    seeds = sorted({cell.n_seeds for cell in table.cells.values()})
    sessions = sorted({cell.n_sessions for cell in table.cells.values()})
    words = f"mean over runs and {_range(sessions)} session{'s' if sessions[-1] > 1 else ''}"
    if seeds[-1] > 1:
        words += f", ± standard deviation over {_range(seeds)} seeds"
    lines = [f"{words}; each level over the combinations that all have"]
    for (setting, metric), n_out in table.left_out.items():
        lines.append(
            f"{setting}, {metric}: {n_out} combinations of settings, session and seed that not all levels "
            "have are left out"
        )
    return lines


def _range(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"{numbers[0]}-{numbers[-1]}"


def write_study(study: Study, tables: Sequence[FactorTable], board: str) -> list[Path]:
    """Write what was found beside the catalog: ``tables.md``, ``numbers.csv``.

    Parameters
    ----------
    study
        The study.
    tables
        Its tables.
    board
        The leaderboard of its runs and the baselines, as Markdown.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    parts = [f"# {for_markdown(study.settings.title or study.settings.name)}", ""]
    for table in tables:
        head, rows = as_rows(table)
        head = [cell.replace("\n", ": ") for cell in head]
        parts += [
            f"## {for_markdown(table.factor)}",
            "",
            _line(head),
            "|---" * len(head) + "|",
            *map(_line, rows),
            "",
        ]
        parts += [*map(for_markdown, legend(table)), ""]
    head, *rows = _runs(study)
    parts += ["## What was trained", "", _line(head), "|---" * len(head) + "|", *map(_line, rows), ""]
    parts += ["## All runs", "", board]
    if study.failures:
        parts += [
            "",
            "## Failed",
            "",
            *(f"- {for_markdown(f'{name}: {reason}')}" for name, reason in study.failures),
        ]
    files = [study.folder / "tables.md", study.folder / "numbers.csv"]
    study.folder.mkdir(parents=True, exist_ok=True)
    write_text(files[0], "\n".join(parts) + "\n")
    safe = study_numbers(study).map(lambda value: for_csv(value) if isinstance(value, str) else value)
    write_text(files[1], safe.to_csv(index=False, lineterminator="\n"))
    return files


def _runs(study: Study) -> list[list[str]]:
    """Return the rows of a table of the trainings: their names on the board, and their levels."""
    head = ["run", *study.runs[0].levels, "seed"]
    rows = [[run.name, *run.levels.values(), str(run.seed)] for run in study.runs]
    return [head, *rows]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(for_markdown, cells)) + " |"
