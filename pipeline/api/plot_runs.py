"""Figures of runs in sessions: latent states, decoded velocity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.api.named_arguments import named_arguments
from nwb_latents.pipeline.api.plot_choices import existing, one_run, one_session, plot_settings

if TYPE_CHECKING:
    from typing import Literal

    from matplotlib.figure import Figure

    from nwb_latents.pipeline.api.arguments import Place
    from nwb_latents.schemas.training import Device

    Split = Literal["train", "val", "test", "all"]


@named_arguments
def latents(
    catalog: Place, run: str, session: str, *, split: Split = "all", device: Device = "auto"
) -> Figure:
    """Draw the latent states of a run in a session: trajectories, and components over time.

    Parameters
    ----------
    catalog
        Catalog file.
    run
        Name of the run.
    session
        Session id, or a shell pattern that fits one alone.
    split
        Trials drawn: ``"train"``, ``"val"``, ``"test"`` or ``"all"``.
    device
        Where the model runs; ``"auto"``: a GPU if there is one.

    Returns
    -------
    figure
        Planes of the principal components of the condition means (a.u., equal scales), every trial and the
        mean of each condition; components over time (s) with 95 % intervals over trials. States are finite.

    Raises
    ------
    DataError
        If there is no such run, or it was not trained on the session.
    SettingsError
        If an argument does not fit.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.latents("nowhere/catalog.yaml", "mdssm-1", "sub-C")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path = existing(catalog)
    entry_of_run = one_run(path, run)
    _, entry = one_session(catalog, session, entry_of_run.recipe_id)
    figure: Figure = plot_figures.latents(
        path, entry, entry_of_run, plot_settings("latents", split=split), device=device
    )
    return figure


@named_arguments
def velocity(
    catalog: Place,
    session: str,
    *,
    run: str | None = None,
    lag_ms: float = 100.0,
    decoder: str = "ridge",
    recipe_id: str | None = None,
    device: Device = "auto",
) -> Figure:
    """Draw decoded on recorded hand velocity of six test trials, for each source.

    Decoders are fitted on training trials as in `nwb_latents.decode`; nothing is kept.

    Parameters
    ----------
    catalog
        Catalog file.
    session
        Session id, or a shell pattern that fits one alone.
    run
        Run whose reconstruction and forecast are decoded too; None: recorded rates alone.
    lag_ms
        Velocity is read this long after the activity, ms.
    decoder
        Name of the decoder.
    recipe_id
        Recipe of the store, or its beginning; default: the one the session was ingested with last.
    device
        Where the model runs; ``"auto"``: a GPU if there is one.

    Returns
    -------
    figure
        Velocity in cm/s, or the unit of the kinematics. Bins that were not recorded are gaps.

    Raises
    ------
    DataError
        If no session or several match, or there is no such run.
    SettingsError
        If the lag is not a whole number of bins, or there is no such decoder.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.velocity("nowhere/catalog.yaml", "sub-C")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path, entry = one_session(
        catalog, session, recipe_id if run is None else one_run(existing(catalog), run).recipe_id
    )
    settings = plot_settings("velocity", lag_ms=lag_ms, decoder=decoder)
    decoded = plot_figures.decoded_for(path, entry, run, settings, device=device)
    figure: Figure = plot_figures.velocity(decoded, run)
    return figure


@named_arguments
def paths(
    catalog: Place,
    session: str,
    *,
    run: str | None = None,
    lag_ms: float = 100.0,
    decoder: str = "ridge",
    recipe_id: str | None = None,
    device: Device = "auto",
) -> Figure:
    """Draw hand paths of all test trials, recorded and decoded, for each source.

    Decoders are fitted on training trials as in `nwb_latents.decode`; nothing is kept.

    Parameters
    ----------
    catalog
        Catalog file.
    session
        Session id, or a shell pattern that fits one alone.
    run
        Run whose reconstruction and forecast are decoded too; None: recorded rates alone.
    lag_ms
        Velocity is read this long after the activity, ms.
    decoder
        Name of the decoder.
    recipe_id
        Recipe of the store, or its beginning; default: the one the session was ingested with last.
    device
        Where the model runs; ``"auto"``: a GPU if there is one.

    Returns
    -------
    figure
        Displacement in cm, or the unit of the kinematics, equal scales. Trials with a bin that is not known
        are left out and counted.

    Raises
    ------
    DataError
        If no session or several match, or there is no such run.
    SettingsError
        If the lag is not a whole number of bins, or there is no such decoder.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.paths("nowhere/catalog.yaml", "sub-C")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path, entry = one_session(
        catalog, session, recipe_id if run is None else one_run(existing(catalog), run).recipe_id
    )
    settings = plot_settings("paths", lag_ms=lag_ms, decoder=decoder)
    decoded = plot_figures.decoded_for(path, entry, run, settings, device=device)
    figure: Figure = plot_figures.paths(decoded, run)
    return figure
