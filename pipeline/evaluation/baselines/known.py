"""The baselines there are: those of this project and of other distributions, in the order of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.pipeline.evaluation.registered_parts import part_called, parts_called
from nwb_latents.schemas.registry import BASELINES, UnknownPartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def baseline_called(name: str) -> Baseline:
    """Return the baseline of that name.

    Raises
    ------
    SettingsError
        If there is none of that name (the message says which are near), it cannot be loaded, or it is no
        `Baseline` of that name.

    Examples
    --------
    >>> baseline_called("condition_mean").told
    'the target'
    >>> baseline_called("nul")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: no baseline is called 'nul'; did you mean null? ...
    """
    try:
        return part_called(BASELINES, name, Baseline)
    except UnknownPartError as error:
        raise SettingsError(str(error)) from error


def known_baselines(names: Iterable[str] | None = None) -> tuple[list[Baseline], dict[str, str]]:
    """Return baselines in the order of tables, and what is wrong with those that cannot be had.

    Parameters
    ----------
    names
        Their names; None: all there are.

    Returns
    -------
    baselines, broken
        Those that can be had, each once; name → reason of those that are registered but do not load.

    Raises
    ------
    SettingsError
        If there is none of a name.

    Examples
    --------
    >>> [baseline.name for baseline in known_baselines(["pca", "null"])[0]]
    ['null', 'pca']
    """
    wanted = BASELINES.names() if names is None else tuple(dict.fromkeys(names))
    for unknown in (name for name in wanted if name not in BASELINES):
        baseline_called(unknown)
    return parts_called(wanted, baseline_called)


def baselines_by_name() -> Mapping[str, Baseline]:
    """Return every baseline that can be had by its name, in the order of tables."""
    return {baseline.name: baseline for baseline in known_baselines()[0]}
