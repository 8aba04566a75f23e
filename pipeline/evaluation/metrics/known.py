"""The metrics there are: those of this project and of other distributions, in the order of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.evaluation.metrics.metric import Metric
from nwb_latents.schemas.registry import METRICS, BrokenPartError

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
    try:
        found: object = METRICS.load(name)
    except BrokenPartError as error:
        raise SettingsError(str(error)) from error
    if not isinstance(found, Metric) or found.name != name:
        what = f"a metric called {found.name}" if isinstance(found, Metric) else f"a {type(found).__name__}"
        raise SettingsError(
            f"the metric {name!r} of {METRICS.owner(name)} is {what}; expected a `Metric` of that "
            f"name. {METRICS.remedy(name)}"
        )
    return found


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
    found, broken = [], {}
    for name in METRICS.names() if names is None else names:
        try:
            found.append(metric_called(name))
        except SettingsError as error:
            broken[name] = str(error)
    return sorted(found, key=lambda metric: (metric.order, metric.name)), broken


def metrics_by_name() -> Mapping[str, Metric]:
    """Return every metric that can be had by its name, in the order of tables."""
    return {metric.name: metric for metric in known_metrics()[0]}
