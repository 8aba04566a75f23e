"""The metrics there are: those of this project and of other distributions, in the order of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.metrics.metric import Metric
from nwb_latents.pipeline.evaluation.registered_parts import part_called, parts_called
from nwb_latents.schemas.registry import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def metric_called(name: str) -> Metric:
    """Return the metric of that name.

    Raises
    ------
    SettingsError
        If it cannot be loaded, or is no `Metric` of that name.
    UnknownPartError
        If there is none.

    Examples
    --------
    >>> metric_called("co_bps").unit
    'bits/spike'
    """
    return part_called(METRICS, name, Metric)


def known_metrics(names: Iterable[str] | None = None) -> tuple[list[Metric], dict[str, str]]:
    """Return metrics in the order of tables, and what is wrong with those that cannot be had.

    Parameters
    ----------
    names
        Their names; None: all there are.

    Returns
    -------
    metrics, broken
        Those that can be had; name → reason of those that are registered but do not load.

    Examples
    --------
    >>> [metric.name for metric in known_metrics(["psth_r2", "co_bps"])[0]]
    ['co_bps', 'psth_r2']
    """
    return parts_called(METRICS.names() if names is None else names, metric_called)


def metrics_by_name() -> Mapping[str, Metric]:
    """Return every metric that can be had by its name, in the order of tables."""
    return {metric.name: metric for metric in known_metrics()[0]}
