"""Figures of sessions: rasters, PSTHs, onsets, quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.api.named_arguments import named_arguments
from nwb_latents.pipeline.api.plot_choices import one_session, plot_settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from matplotlib.figure import Figure

    from nwb_latents.pipeline.api.arguments import Place

    Split = Literal["train", "val", "test", "all"]


@named_arguments
def raster(
    catalog: Place,
    session: str,
    *,
    units: Iterable[int] = (),
    n_units: int = 6,
    split: Split = "all",
    recipe_id: str | None = None,
) -> Figure:
    """Draw the spikes of some units in every trial, sorted by condition and reaction time.

    Parameters
    ----------
    catalog
        Catalog file.
    session
        Session id, or a shell pattern that fits one alone.
    units
        Ids of units, as in the NWB file; none: the `n_units` of the highest mean rates, which the figure
        says.
    n_units
        How many units, 1 to 24, where none are named.
    split
        Trials drawn: ``"train"``, ``"val"``, ``"test"`` or ``"all"``.
    recipe_id
        Recipe of the store, or its beginning; default: the one the session was ingested with last.

    Returns
    -------
    figure
        A panel for each unit: trials down, time from the aligning event in s across, spikes per bin in grey.
        Nothing of a store's counts is NaN; go cues that are not known are left out.

    Raises
    ------
    DataError
        If no session or several match, or the store is missing.
    SettingsError
        If there is no such unit or split.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.raster("nowhere/catalog.yaml", "sub-C")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path, entry = one_session(catalog, session, recipe_id)
    figure: Figure = plot_figures.raster(
        path, entry, plot_settings("raster", units=units, n_units=n_units, split=split)
    )
    return figure


@named_arguments
def psth(
    catalog: Place,
    session: str,
    *,
    units: Iterable[int] = (),
    n_units: int = 6,
    split: Split = "all",
    recipe_id: str | None = None,
) -> Figure:
    """Draw the mean rate of some units in each condition, with 95 % intervals over trials.

    Parameters
    ----------
    catalog
        Catalog file.
    session
        Session id, or a shell pattern that fits one alone.
    units
        Ids of units, as in the NWB file; none: the `n_units` of the highest mean rates, which the figure
        says.
    n_units
        How many units, 1 to 24, where none are named.
    split
        Trials drawn: ``"train"``, ``"val"``, ``"test"`` or ``"all"``.
    recipe_id
        Recipe of the store, or its beginning; default: the one the session was ingested with last.

    Returns
    -------
    figure
        A panel for each unit: rate in Hz over time from the aligning event in s. A condition of a single
        trial has no interval; of more than eight conditions none is drawn, which the figure says.

    Raises
    ------
    DataError
        If no session or several match, or the store is missing.
    SettingsError
        If there is no such unit or split.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.psth("nowhere/catalog.yaml", "sub-C")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path, entry = one_session(catalog, session, recipe_id)
    figure: Figure = plot_figures.psth(
        path, entry, plot_settings("psth", units=units, n_units=n_units, split=split)
    )
    return figure


@named_arguments
def onsets(catalog: Place, session: str, *, recipe_id: str | None = None) -> Figure:
    """Draw how the movement onsets of a session were found, and the hand around them.

    Parameters
    ----------
    catalog
        Catalog file.
    session
        Session id, or a shell pattern that fits one alone.
    recipe_id
        Recipe of the store, or its beginning; default: the one the session was ingested with last.

    Returns
    -------
    figure
        How onsets were found (trials), hand speed (cm/s, or the unit of the kinematics) of every trial over
        time (s), reaction times (s), peak speeds. Trials where a quantity is NaN are left out and counted.

    Raises
    ------
    DataError
        If no session or several match, or the store is missing.
    SettingsError
        If an argument does not fit.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.onsets("nowhere/catalog.yaml", "sub-C")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path, entry = one_session(catalog, session, recipe_id)
    figure: Figure = plot_figures.onsets(path, entry)
    return figure


@named_arguments
def session_quality(catalog: Place, session: str, *, recipe_id: str | None = None) -> Figure:
    """Draw what ingest measured of a session, on one page.

    Parameters
    ----------
    catalog
        Catalog file.
    session
        Session id, or a shell pattern that fits one alone.
    recipe_id
        Recipe of the store, or its beginning; default: the one the session was ingested with last.

    Returns
    -------
    figure
        Rates of units (Hz), rates over the session (Hz), reaction times (s), peak speeds, what was left out
        and why, and each measure beside the limit of its flag. Undefined measures are called so.

    Raises
    ------
    DataError
        If no session or several match, the store is missing, or it says nothing of its quality.
    SettingsError
        If an argument does not fit.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.session_quality("nowhere/catalog.yaml", "sub-C")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path, entry = one_session(catalog, session, recipe_id)
    figure: Figure = plot_figures.session_quality(path, entry)
    return figure
