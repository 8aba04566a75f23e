"""Figures of what was measured: forecasts, trainings, alignments, scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.api.named_arguments import named_arguments
from nwb_latents.pipeline.api.plot_choices import any_session, existing, one_run, plot_settings, told

if TYPE_CHECKING:
    from typing import Literal

    from matplotlib.figure import Figure

    from nwb_latents.pipeline.api.arguments import Names, Place

    Split = Literal["train", "val", "test", "all"]


@named_arguments
def forecast(catalog: Place, run: str, *, sessions: Names = ()) -> Figure:
    """Draw the R² of a run's forecasts over the steps ahead, as it was measured last.

    Parameters
    ----------
    catalog
        Catalog file.
    run
        Name of the run.
    sessions
        Session ids, one or several; default: all that were measured.

    Returns
    -------
    figure
        R² of velocity and of rates over bins ahead, beside baselines; of several sessions the mean with its
        95 % interval. Steps where R² is not defined are gaps.

    Raises
    ------
    DataError
        If there is no such run, or its forecasts were not measured.
    SettingsError
        If an argument does not fit.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.forecast("nowhere/catalog.yaml", "mdssm-1")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.api.arguments import names_of  # noqa: PLC0415
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path = existing(catalog)
    figure: Figure = plot_figures.forecast(path, one_run(path, run), names_of(sessions), say=told())
    return figure


@named_arguments
def training(catalog: Place, runs: Names = ()) -> Figure:
    """Draw the training curves of runs together: the loss and its terms.

    Parameters
    ----------
    catalog
        Catalog file.
    runs
        Names of runs, one or several; default: all of the catalog.

    Returns
    -------
    figure
        A panel for each term of the loss (nats per trial, or squared error per trial) over training steps,
        training and validation trials. Steps without a number are left out, numbers that are not finite too,
        which the figure counts; it names runs of which nothing is drawn.

    Raises
    ------
    DataError
        If there is no such run, nothing was written down while it was trained, or losses are in different
        units.
    SettingsError
        If an argument does not fit.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.training("nowhere/catalog.yaml")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.api.arguments import names_of  # noqa: PLC0415
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path = existing(catalog)
    figure: Figure = plot_figures.training(path, plot_figures.runs_of(path, names_of(runs)), say=told())
    return figure


@named_arguments
def few_shot(catalog: Place, run: str, *, sessions: Names = (), lag_ms: float = 100.0) -> Figure:
    """Draw what alignments of a run are worth, by the number of trials they were given.

    Parameters
    ----------
    catalog
        Catalog file.
    run
        Name of the run that was aligned.
    sessions
        Session ids, one or several; default: all it was aligned to.
    lag_ms
        Velocity is read this long after the activity, ms.

    Returns
    -------
    figure
        R² on test trials over the number of trials given, of rates and velocity, with 95 % intervals over
        seeds or sessions. Scores that are not defined are left out.

    Raises
    ------
    DataError
        If there is no such run, it was aligned to no session, or nothing was scored.
    SettingsError
        If an argument does not fit.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.few_shot("nowhere/catalog.yaml", "mdssm-1")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.api.arguments import names_of  # noqa: PLC0415
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path = existing(catalog)
    settings = plot_settings("few_shot", lag_ms=lag_ms)
    figure: Figure = plot_figures.few_shot(path, one_run(path, run), names_of(sessions), settings, say=told())
    return figure


@named_arguments
def scores(catalog: Place, *, lag_ms: float = 100.0, recipe_id: str | None = None) -> Figure:
    """Draw the R² of velocity of every session, source and run, as measured by `nwb_latents.decode`.

    Parameters
    ----------
    catalog
        Catalog file.
    lag_ms
        Velocity is read this long after the activity, ms.
    recipe_id
        Recipe of the stores, or its beginning; default: that of the session ingested last.

    Returns
    -------
    figure
        R² of each session, and the mean over several with its 95 % interval. Scores that are not defined are
        left out and counted.

    Raises
    ------
    DataError
        If nothing was scored at this lag.
    SettingsError
        If an argument does not fit.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.plot.scores("nowhere/catalog.yaml")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.stages import plot_figures  # noqa: PLC0415

    path, entry = any_session(catalog, recipe_id)
    figure: Figure = plot_figures.scores(
        path, plot_settings("scores", lag_ms=lag_ms), entry.recipe_id, say=told()
    )
    return figure
