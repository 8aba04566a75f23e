"""Markdown tables of an experiment's results: mean and standard error over recordings and seeds."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any

Result = dict[str, Any]


def few_shot_scores(results: list[Result], method: str, n: int, what: str, k: int = 0) -> list[float]:
    """Return the scores of a method's held-out recordings, of all seeds.

    `what` is ``"reconstruction"``, or ``"forecast"``, ``"ceiling"`` or ``"hold_last"`` at step `k`.
    """
    return [
        score[what][k - 1] if k else score[what]
        for result in results
        if result["method"] == method
        for score in result["few_shot"].get(str(n), {}).values()
    ]


def pretrain_scores(results: list[Result], method: str, what: str, k: int = 0) -> list[float]:
    """Return for each seed a method's mean score over the recordings it was trained on."""
    return [
        fmean(score[what][k - 1] if k else score[what] for score in result["pretrain"].values())
        for result in results
        if result["method"] == method and "pretrain" in result
    ]


def mean_sem(values: list[float], digits: int = 2) -> str:
    """Return ``mean ± standard error``; a dash where there is nothing.

    Examples
    --------
    >>> mean_sem([0.5, 0.7])
    '0.60 ± 0.100'
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "–"
    if len(finite) == 1:
        return f"{finite[0]:.{digits}f}"
    return f"{fmean(finite):.{digits}f} ± {stdev(finite) / math.sqrt(len(finite)):.3f}"


def seeds_of(results: list[Result], name: str, *, by: str = "method") -> str:
    """Return the seeds a method, or a row, has results of, as a table's cell."""
    return ", ".join(str(seed) for seed in sorted(r["seed"] for r in results if r[by] == name)) or "–"


def markdown(title: str, header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table under a heading."""
    lines = [f"## {title}", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def leaks(results: list[Result]) -> str:
    """Return a sentence that says where a forecast was better than the best possible one."""
    found = [
        f"{result['method']} seed {result['seed']} {name} k={score['leaked_steps']}"
        for result in results
        for scores in [result.get("pretrain", {}), *result.get("few_shot", {}).values()]
        for name, score in scores.items()
        if score["leaked_steps"]
    ]
    if not found:
        return "No forecast is more than 0.03 ahead of the best possible one."
    return "Ahead of the best possible forecast by more than 0.03: " + "; ".join(found) + "."
