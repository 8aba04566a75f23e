"""Numbers: measured by decoding, evaluating and forecasting, compared, read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.api.named_arguments import named_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from nwb_latents.pipeline.api.arguments import Names, Place
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.evaluation import EvaluateSettings
    from nwb_latents.schemas.events import Event
    from nwb_latents.schemas.forecasting import ForecastSettings
    from nwb_latents.schemas.training import Device

_CURRENCY = ("is_current", "why_stale")
"""Columns that no file has: what the catalog says today."""


@named_arguments
def scores(
    catalog: Place,
    *,
    names: Names = (),
    sessions: Names = (),
    runs: Names = (),
    stages: Names = (),
    splits: Names = (),
    sources: Names = (),
    recipe_id: str = "",
    columns: Names = (),
    latest: bool = True,
) -> pd.DataFrame:
    """Return what was measured, one row for each number.

    Parameters
    ----------
    catalog
        Catalog file.
    names
        Names of metrics or shell patterns, such as ``"velocity_r2"`` or ``"*_bps"``; default: all. One that
        nothing has is said (`CatalogWarning`) where that leaves no number.
    sessions, runs, stages, splits, sources
        The same for these columns.
    recipe_id
        Recipe of the stores, or its beginning.
    columns
        Columns wanted, such as ``["session", "value", "is_current"]``; default: all.
    latest
        Leave out what was measured again later.

    Returns
    -------
    table
        One row for each number, with its interval, unit, definition, and everything about how it was measured
        (`Measurement`); in order of time. The last two, `is_current` and `why_stale`, say whether store and
        run are still those that were measured, and what became of them; they are missing where older versions
        did not write down which they were.

    Raises
    ------
    KeyError
        If there is no such column.
    DataError
        If there is neither a catalog nor measurements of one.
    MachineError
        If the files cannot be read.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> list(nl.scores("catalog.yaml", columns=["session", "name", "value"]))
    ['session', 'name', 'value']
    """
    from nwb_latents.pipeline.api.arguments import names_of, path_of  # noqa: PLC0415
    from nwb_latents.pipeline.errors import DataError  # noqa: PLC0415
    from nwb_latents.pipeline.stores.catalog import read_catalog  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurement_frame import say_without_match  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurement_lines import measurement_folder  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurements import are_current, read_measurements, why_stale  # noqa: PLC0415

    path = path_of(catalog)
    if not path.exists() and not measurement_folder(path).exists():
        raise DataError(f"{path}: no such catalog. Check the path; the first ingest makes a catalog.")
    patterns = {
        "name": names_of(names),
        "session": names_of(sessions),
        "run": names_of(runs),
        "stage": names_of(stages),
        "split": names_of(splits),
        "source": names_of(sources),
        "recipe_id": (f"{recipe_id}*",) if recipe_id else (),
    }
    wanted = names_of(columns)
    mine = [name for name in wanted if name not in _CURRENCY]
    table = read_measurements(
        path,
        names=patterns["name"],
        sessions=patterns["session"],
        runs=patterns["run"],
        recipe_id=recipe_id,
        stages=patterns["stage"],
        splits=patterns["split"],
        sources=patterns["source"],
        columns=() if len(mine) < len(wanted) else mine,
        latest=latest,
    )
    if table.empty:
        say_without_match(read_measurements(path, columns=list(patterns)), patterns)
    if wanted and len(mine) == len(wanted):
        return table
    catalog_now = read_catalog(path)
    table = table.assign(is_current=are_current(table, catalog_now), why_stale=why_stale(table, catalog_now))
    return table[list(wanted)] if wanted else table


def decode(
    catalog: Place,
    settings: DecodeSettings | Mapping[str, object] | Place | None = None,
    *,
    runs: Names = (),
    sessions: Names = "*",
    recipe_id: str | None = None,
    device: Device = "auto",
    unseen_trials: bool = False,
    force: bool = False,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> pd.DataFrame:
    """Decode hand velocity in every session, from the data and from every run, and score it on test trials.

    Pictures, and the R² of every time bin and condition, go into ``results/decode/`` beside the catalog.

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
    force
        Begin though it is estimated not to fit the memory.
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
    from nwb_latents.pipeline.api.arguments import names_of, path_of, settings_of  # noqa: PLC0415
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
        force=force,
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
    from nwb_latents.pipeline.api.arguments import names_of, path_of, settings_of  # noqa: PLC0415
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
    force: bool = False,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> pd.DataFrame:
    """Score the forecasts of runs on the test trials of their sessions, step by step.

    Each run's folder gets the pictures ``forecast/SESSION.png`` and ``forecast/summary.png``.

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
    force
        Begin though it is estimated not to fit the memory.
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
    from nwb_latents.pipeline.api.arguments import names_of, path_of, settings_of  # noqa: PLC0415
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
        force=force,
        report=reported_to(report),
    )
    return measurements_as_table(made)


@named_arguments
def leaderboard(
    catalog: Place,
    *,
    sessions: Names = "*",
    recipe_id: str | None = None,
    phase: Literal["test", "val"] | None = None,
    by: str | None = None,
    output: Place | None = None,
) -> pd.DataFrame:
    """Compare all runs and baselines that were evaluated: means over sessions, seeds put together.

    Parameters
    ----------
    catalog
        Catalog file.
    sessions
        Session ids or shell patterns, one or several.
    recipe_id
        Recipe, or its beginning; None: all.
    phase
        Trials scored; None: both, one below the other.
    by
        Metric that orders the rows, ``"velocity_r2"``, or of one part, ``"velocity_r2:forecast"``; None: the
        first a run has.
    output
        File to write as well: ``.csv``, ``.md`` or ``.html``.

    Returns
    -------
    table
        One row for each model or baseline, best first; what was not measured alike (other dandiset, recipe,
        phase or settings) comes after it. A metric has four columns: its mean over sessions, ``_low`` and
        ``_high``, the interval over trials, and ``_seed_sd``, the deviation over seeds. What each metric is,
        and what was fitted on what, is in ``table.attrs["legend"]``.

    Raises
    ------
    DataError
        If nothing that matches was evaluated, or nothing has the metric `by`.
    MachineError
        If the file cannot be written.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.leaderboard("catalog.yaml")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: Nothing was evaluated yet. Run `pipeline run evaluate` first.
    """
    from nwb_latents.pipeline.api.arguments import names_of, one_of, path_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.leaderboard_table import board_table  # noqa: PLC0415
    from nwb_latents.pipeline.stages.leaderboard import leaderboard as stage  # noqa: PLC0415

    if phase is not None:
        one_of(phase, ("test", "val"), argument="phase", function="leaderboard")
    made = stage(
        path_of(catalog),
        sessions=names_of(sessions),
        recipe_id=recipe_id,
        phase=phase,
        ranked_by=by,
        output=None if output is None else path_of(output),
    )
    return board_table(made)
