"""The methods of a catalog: what its recipes and runs say, in sentences."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.report.methods import (
    Described,
    Trained,
    decoding_sentences,
    run_sentences,
    session_sentences,
)
from nwb_latents.pipeline.evaluation.report.number_table import finite

if TYPE_CHECKING:
    from nwb_latents.pipeline.stages.report_asked import ReportWork

MOST_RUNS = 20
"""Runs that are described."""


def methods_of(work: ReportWork) -> tuple[str, ...]:
    """Return paragraphs: one for each recipe, one of the runs, one of the decoding.

    Parameters
    ----------
    work
        What was asked for, with what stores and runs say.
    """
    by_recipe: dict[str, list[str]] = defaultdict(list)
    for key in work.attributes:
        by_recipe[work.entries[key].recipe_id].append(key)
    paragraphs = []
    for recipe_id, keys in by_recipe.items():
        entries = [work.entries[key] for key in keys]
        dropped = [work.attributes[key].dropped.trials for key in keys]
        paragraphs.append(
            session_sentences(
                Described(
                    recipe=work.attributes[keys[0]].recipe,
                    recipe_id=recipe_id,
                    dandisets=tuple(entry.dandiset for entry in entries),
                    subjects=tuple(entry.subject for entry in entries),
                    n_trials=sum(entry.n_trials for entry in entries),
                    n_units=sum(entry.n_units for entry in entries),
                    dropped_trials=sum(sum(each.values()) for each in dropped),
                )
            )
        )
    trained = [
        run_sentences(
            Trained(run.run, run.model, work.configs[run.run].settings, len(run.sessions), run.steps)
        )
        for run in work.runs
        if run.run in work.configs
    ]
    if len(trained) > MOST_RUNS:
        trained = [*trained[:MOST_RUNS], f"{len(trained) - MOST_RUNS} further runs are not described."]
    if trained:
        paragraphs.append(" ".join(trained))
    return (*paragraphs, *_decoding(work))


def papers_of(work: ReportWork) -> dict[str, str]:
    """Return the models of the runs, and where each was published."""
    return {
        run.model: type(work.configs[run.run].settings.model).paper
        for run in work.runs
        if run.run in work.configs
    }


def _decoding(work: ReportWork) -> list[str]:
    table = work.table
    current = (work.why.fillna("unknown").astype(str) == "").to_numpy()
    mine = table[current & (table["name"] == "velocity_r2").to_numpy() & table["decoder"].notna().to_numpy()]
    fields = ["decoder", "lag_ms", "seen_bins", "bins", "fitted_on"]
    rows = mine[fields].drop_duplicates().sort_values(fields, na_position="first", kind="stable")
    protocols = [
        (str(decoder), finite(lag), _whole(seen), _whole(bins), str(on or ""))
        for decoder, lag, seen, bins, on in rows.itertuples(index=False)
    ]
    return [decoding_sentences(protocols)] if protocols else []


def _whole(number: object) -> int | None:
    known = finite(number)
    return None if known is None else int(known)
