"""Measuring: sessions and runs decoded, evaluated and forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from nwb_latents.pipeline.api.arguments import Names, Place
    from nwb_latents.schemas.cluster import ClusterSettings
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.evaluation import EvaluateSettings
    from nwb_latents.schemas.events import Event
    from nwb_latents.schemas.forecasting import ForecastSettings
    from nwb_latents.schemas.training import Device


def decode(
    catalog: Place,
    settings: DecodeSettings | Mapping[str, object] | Place | None = None,
    *,
    runs: Names = (),
    sessions: Names = "*",
    recipe_id: str | None = None,
    device: Device = "auto",
    unseen_trials: bool = False,
    cluster: str = "serial",
    cluster_settings: ClusterSettings | Mapping[str, object] | Place | None = None,
    force: bool = False,
    formats: Names = "png",
    dpi: int = 300,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> pd.DataFrame:
    """Decode hand velocity in every session, from the data and from every run, and score it on test trials.

    Pictures, and the R² of every time bin and condition, go into ``results/decode/`` beside the catalog,
    into a folder for each choice of settings.

    Parameters
    ----------
    catalog
        Catalog file.
    settings
        `DecodeSettings`, a mapping or a YAML file.
    runs
        Names of runs, one or several; default: all runs of the recipe that were trained on a chosen session.
    sessions
        Session ids or shell patterns, one or several.
    recipe_id
        Recipe of the stores, or its beginning; default: that of `runs`, else that of the matching session
        ingested last.
    device
        Where the models run; ``"auto"``: a GPU if there is one.
    unseen_trials
        Where a session's store is another than a run was trained on: score only trials in neither its
        training nor its validation, if its record of them proves which these are; their split is
        ``unseen-…``. Default: such a session is refused.
    cluster
        ``"serial"``, ``"local:8"``, ``"tcp://HOST:PORT"`` or a batch system; one session is one task. A
        script that uses processes of this machine needs ``if __name__ == "__main__":``.
    cluster_settings
        `ClusterSettings`, a mapping or a YAML file.
    force
        Begin though it is estimated not to fit the memory.
    formats, dpi
        Formats of the pictures, ``"png"``, ``"pdf"`` or ``"svg"``, one or several, and resolution, dots per
        inch.
    report
        Called with every event; None: they are logged (`logging.getLogger("nwb_latents")`).
    **values
        Settings by name, above those of `settings`.

    Returns
    -------
    table
        The numbers measured, as `nwb_latents.scores` has them: in order of session, then run.

    Raises
    ------
    SettingsError
        If a setting is unknown or does not fit, such as a lag that is not a whole number of bins.
    DataError
        If no session or run matches.
    PartialFailure
        If some sessions or runs failed; the numbers of the others are in the catalog (`nwb_latents.scores`).
    MachineError
        If the device or disk does not do its part.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.decode("catalog.yaml", source=["rates"])
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: decode(source=['rates']): unknown key, found ['rates']; did
    you mean sources?
    """
    from nwb_latents.pipeline.api.arguments import (  # noqa: PLC0415
        names_of,
        path_of,
        pictures_of,
        settings_of,
        where_of,
    )
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.decode import decode as stage  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurements import measurements_as_table  # noqa: PLC0415
    from nwb_latents.schemas.decoding import DecodeSettings  # noqa: PLC0415

    made = stage(
        path_of(catalog),
        settings_of(DecodeSettings, settings, values, function=decode),
        runs=names_of(runs),
        sessions=names_of(sessions),
        recipe_id=recipe_id,
        device=device,
        unseen_trials=unseen_trials,
        where=where_of(cluster, cluster_settings, decode),
        force=force,
        pictures=pictures_of(formats, dpi, function=decode),
        report=reported_to(report),
    )
    return measurements_as_table(made)


def evaluate(
    catalog: Place,
    settings: EvaluateSettings | Mapping[str, object] | Place | None = None,
    *,
    runs: Names = (),
    sessions: Names = "*",
    recipe_id: str | None = None,
    truth: Place | None = None,
    force: bool = False,
    device: Device = "auto",
    unseen_trials: bool = False,
    cluster: str = "serial",
    cluster_settings: ClusterSettings | Mapping[str, object] | Place | None = None,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> pd.DataFrame:
    """Measure runs and baselines with every metric, with intervals over trials.

    What the catalog holds already is not measured again. `nwb_latents.leaderboard` compares.

    Parameters
    ----------
    catalog
        Catalog file.
    settings
        `EvaluateSettings`, a mapping or a YAML file.
    runs
        Names of runs, one or several; default: all runs of the recipe that were trained on a chosen session.
    sessions
        Session ids or shell patterns, one or several.
    recipe_id
        Recipe of the stores, or its beginning; default: that of `runs`, else that of the matching session
        ingested last.
    truth
        Folder of simulated files, with the truth beside them: adds the oracle, rate R² and state R².
    force
        Measure again what the catalog holds, and begin though it is estimated not to fit the memory.
    device
        Where the models run; ``"auto"``: a GPU if there is one.
    unseen_trials
        Where a session's store is another than a run was trained on: score only trials in neither its
        training nor its validation, if its record of them proves which these are; their split is
        ``unseen-…``. Default: such a session is refused.
    cluster
        ``"serial"``, ``"local:8"``, ``"tcp://HOST:PORT"`` or a batch system; one session is one task. A
        script that uses processes of this machine needs ``if __name__ == "__main__":``.
    cluster_settings
        `ClusterSettings`, a mapping or a YAML file.
    report
        Called with every event; None: they are logged (`logging.getLogger("nwb_latents")`).
    **values
        Settings by name, above those of `settings`.

    Returns
    -------
    table
        The numbers asked for, as `nwb_latents.scores` has them, those that were up to date included.

    Raises
    ------
    SettingsError
        If a setting is unknown or does not fit, such as a time that is not a whole number of bins.
    DataError
        If no session or run matches.
    PartialFailure
        If some sessions or runs failed; the numbers of the others are in the catalog (`nwb_latents.scores`).
    MachineError
        If the device or disk does not do its part.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.evaluate("catalog.yaml", n_resample=50)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: evaluate(n_resample=50): unknown key, found 50; did you mean
    n_resamples?
    """
    from nwb_latents.pipeline.api.arguments import names_of, path_of, settings_of, where_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.evaluate import evaluate as stage  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurements import measurements_as_table  # noqa: PLC0415
    from nwb_latents.schemas.evaluation import EvaluateSettings  # noqa: PLC0415

    made = stage(
        path_of(catalog),
        settings_of(EvaluateSettings, settings, values, function=evaluate),
        runs=names_of(runs),
        sessions=names_of(sessions),
        recipe_id=recipe_id,
        truth=None if truth is None else path_of(truth),
        force=force,
        device=device,
        unseen_trials=unseen_trials,
        where=where_of(cluster, cluster_settings, evaluate),
        report=reported_to(report),
    )
    return measurements_as_table(made)


def forecast(
    catalog: Place,
    settings: ForecastSettings | Mapping[str, object] | Place | None = None,
    *,
    runs: Names = (),
    sessions: Names = "*",
    recipe_id: str | None = None,
    device: Device = "auto",
    unseen_trials: bool = False,
    cluster: str = "serial",
    cluster_settings: ClusterSettings | Mapping[str, object] | Place | None = None,
    force: bool = False,
    formats: Names = "png",
    dpi: int = 300,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> pd.DataFrame:
    """Score the forecasts of runs on the test trials of their sessions, step by step.

    Each run's folder gets the pictures ``SESSION.png`` and ``summary.png``, in ``forecast/``, in a folder
    for each choice of settings.

    Parameters
    ----------
    catalog
        Catalog file.
    settings
        `ForecastSettings`, a mapping or a YAML file.
    runs
        Names of runs, one or several; default: all runs of the recipe that were trained on a chosen session.
    sessions
        Session ids or shell patterns, one or several.
    recipe_id
        Recipe of the stores, or its beginning; default: that of `runs`, else that of the matching session
        ingested last.
    device
        Where the models run; ``"auto"``: a GPU if there is one.
    unseen_trials
        Where a session's store is another than a run was trained on: score only trials in neither its
        training nor its validation, if its record of them proves which these are; their split is
        ``unseen-…``. Default: such a session is refused.
    cluster
        ``"serial"``, ``"local:8"``, ``"tcp://HOST:PORT"`` or a batch system; one session is one task. A
        script that uses processes of this machine needs ``if __name__ == "__main__":``.
    cluster_settings
        `ClusterSettings`, a mapping or a YAML file.
    force
        Begin though it is estimated not to fit the memory.
    formats, dpi
        Formats of the pictures, ``"png"``, ``"pdf"`` or ``"svg"``, one or several, and resolution, dots per
        inch.
    report
        Called with every event; None: they are logged (`logging.getLogger("nwb_latents")`).
    **values
        Settings by name, above those of `settings`.

    Returns
    -------
    table
        The numbers measured, as `nwb_latents.scores` has them: in order of session, then run.

    Raises
    ------
    SettingsError
        If a setting is unknown or does not fit, such as bins that do not fit into the trials.
    DataError
        If no session or run matches.
    PartialFailure
        If some sessions or runs failed; the numbers of the others are in the catalog (`nwb_latents.scores`).
    MachineError
        If the device or disk does not do its part.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.forecast("catalog.yaml", lag=100)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: forecast(lag=100): unknown key, found 100; did you mean lag_ms?
    """
    from nwb_latents.pipeline.api.arguments import (  # noqa: PLC0415
        names_of,
        path_of,
        pictures_of,
        settings_of,
        where_of,
    )
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.forecast import forecast as stage  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurements import measurements_as_table  # noqa: PLC0415
    from nwb_latents.schemas.forecasting import ForecastSettings  # noqa: PLC0415

    made = stage(
        path_of(catalog),
        settings_of(ForecastSettings, settings, values, function=forecast),
        runs=names_of(runs),
        sessions=names_of(sessions),
        recipe_id=recipe_id,
        device=device,
        unseen_trials=unseen_trials,
        where=where_of(cluster, cluster_settings, forecast),
        force=force,
        pictures=pictures_of(formats, dpi, function=forecast),
        report=reported_to(report),
    )
    return measurements_as_table(made)
