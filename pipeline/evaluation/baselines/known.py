"""The baselines there are: those of this project and of other distributions, in the order of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.schemas.registry import BASELINES, BrokenPartError, UnknownPartError

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
        found: object = BASELINES.load(name)
    except (BrokenPartError, UnknownPartError) as error:
        raise SettingsError(str(error)) from error
    if not isinstance(found, Baseline) or found.name != name:
        what = (
            f"a baseline called {found.name}" if isinstance(found, Baseline) else f"a {type(found).__name__}"
        )
        raise SettingsError(
            f"the baseline {name!r} of {BASELINES.owner(name)} is {what}; expected a `Baseline` of that "
            f"name. {BASELINES.remedy(name)}"
        )
    return found


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
    found, broken = [], {}
    for name in BASELINES.names() if names is None else dict.fromkeys(names):
        if name not in BASELINES:
            baseline_called(name)
        try:
            found.append(baseline_called(name))
        except SettingsError as error:
            broken[name] = str(error)
    return sorted(found, key=lambda baseline: (baseline.order, baseline.name)), broken


def baselines_by_name() -> Mapping[str, Baseline]:
    """Return every baseline that can be had by its name, in the order of tables."""
    return {baseline.name: baseline for baseline in known_baselines()[0]}
