"""What is entered in the catalog of a run that is done, and told of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from nwb_latents.schemas.events import RunEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.schemas.catalog import RunEntry


def final_metrics(metrics: Mapping[str, float], best_step: int) -> dict[str, float]:
    """Return the metrics that are kept in the catalog.

    Examples
    --------
    >>> final_metrics({"loss": 2.0, "lr": 1e-3}, 40)
    {'loss': 2.0, 'best_step': 40.0}
    """
    told = {name: value for name, value in metrics.items() if name not in {"lr", "gradient_norm"}}
    return {**told, "best_step": float(best_step)}


def run_event(entry: RunEntry, status: Literal["done", "skipped"], **about: object) -> RunEvent:
    """Return the event that reports a run, and what else there is to say about it."""
    return RunEvent.model_validate(
        {
            "run": entry.run,
            "model": entry.model,
            "path": entry.path,
            "steps": entry.steps,
            "metrics": dict(entry.metrics),
            "status": status,
            **about,
        }
    )


def now() -> str:
    """Return the time, ISO 8601, UTC.

    Examples
    --------
    >>> len(now())
    25
    """
    return datetime.now(UTC).isoformat(timespec="seconds")
