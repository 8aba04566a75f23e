"""Recordings: simulated, and turned into trial stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from nwb_latents.pipeline.api.arguments import Names, Place
    from nwb_latents.pipeline.sources.asset import Mode, Source
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.cluster import ClusterSettings
    from nwb_latents.schemas.events import Event
    from nwb_latents.schemas.inspection import Inspection
    from nwb_latents.schemas.recipe import IngestRecipe
    from nwb_latents.schemas.simulation import SimulateSettings


def simulate(
    folder: Place,
    settings: SimulateSettings | Mapping[str, object] | Place | None = None,
    *,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> list[Path]:
    """Write NWB files of simulated sessions into a folder, with the truth of each beside it.

    Parameters
    ----------
    folder
        Where the files go; made if missing. Sessions already there from the same settings are kept.
    settings
        `SimulateSettings`, a mapping or a YAML file; default: reaches of two subjects.
    report
        Called with every event; None: they are logged (`logging.getLogger("nwb_latents")`).
    **values
        Settings by name, above those of `settings`.

    Returns
    -------
    paths
        The NWB files, in order of subject and session.

    Raises
    ------
    SettingsError
        If a setting is unknown or does not fit, or a file is in the way that was not simulated from the same
        settings.
    MachineError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import nwb_latents as nl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     small = {"n_subjects": 1, "n_sessions": 1, "n_units": (8, 8), "waveforms": False}
    ...     files = nl.simulate(folder, small, n_trials=2)
    ...     [file.name for file in files]
    ['sub-SimA_ses-CO-20200106_behavior+ecephys.nwb']
    """
    from nwb_latents.pipeline.api.arguments import path_of, settings_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.simulate import simulate as stage  # noqa: PLC0415
    from nwb_latents.schemas.simulation import SimulateSettings  # noqa: PLC0415

    chosen = settings_of(SimulateSettings, settings, values, function=simulate)
    return stage(path_of(folder), chosen, report=reported_to(report))


def ingest(
    catalog: Place,
    path: Place | Iterable[Place] | None = None,
    *,
    dandiset: str | None = None,
    source: Source | None = None,
    recipe: IngestRecipe | Mapping[str, object] | Place | None = None,
    sessions: Names = "*",
    exclude: Names = (),
    subject: str | None = None,
    task: str | None = None,
    limit: int | None = None,
    mode: Mode = "download",
    cluster: str = "serial",
    cluster_settings: ClusterSettings | Mapping[str, object] | Place | None = None,
    stores: Place | None = None,
    retry_failed: bool = False,
    dry_run: bool = False,
    force: bool = False,
    session_id: str | None = None,
    memory_gb: float = 1.0,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> list[SessionEntry]:
    """Turn NWB files into trial stores: bin, smooth, filter, cut at movement onset.

    Sessions that are up to date are left alone. Every store is entered in the catalog.

    Parameters
    ----------
    catalog
        Catalog file; made if missing. Stores lie in ``stores/`` beside it.
    path
        NWB file, or folder searched for them; or several.
    dandiset
        In place of `path`: dandiset of the archive, ``"000688"`` or ``"000688@0.250122.1735"``. Without a
        version, that pinned in the catalog, else the latest published.
    source
        In place of both: a `DandiSource` of another archive, or anything else that is a `Source`.
    recipe
        `IngestRecipe`, a mapping, a YAML file, or ``"nlb:mc_maze_20"``: that of a dataset of the Neural
        Latents Benchmark. Default: 20 ms bins, 25 ms Gaussian, −260…+460 ms around movement onset.
    sessions, exclude
        Session ids or shell patterns, one or several.
    subject, task
        Exact subject id and task; None: all.
    limit
        At most this many files.
    mode
        How files of an archive are read: ``"download"``, ``"stream"``, or ``"auto"``, whichever moves fewer
        bytes.
    cluster
        ``"serial"``, ``"local:8"``, ``"tcp://HOST:PORT"`` or a batch system. A script that uses processes of
        this machine needs ``if __name__ == "__main__":``.
    cluster_settings
        `ClusterSettings`, a mapping or a YAML file.
    stores
        Folder or ``"s3://BUCKET/PREFIX"`` for the stores.
    retry_failed
        Only files whose last attempt failed.
    dry_run
        Only report what would be done.
    force
        Make stores again that are up to date, and replace those that other recordings have under the same id.
    session_id
        What sessions are called, in place of what their files say; ``"{folder}"``, ``"{file}"``,
        ``"{session}"``, ``"{subject}"`` and ``"{date}"`` stand for those of each file.
    memory_gb
        Memory each session may take, GB; more of a long one then lies on the disk. What is written is the
        same.
    report
        Called with every event; None: they are logged (`logging.getLogger("nwb_latents")`).
    **values
        Settings of the recipe by name, above those of `recipe`: ``bin_size_s=0.01``,
        ``onset={"method": "column"}``.

    Returns
    -------
    entries
        Catalog entries of all sessions that are up to date at the end, in order of their id.

    Raises
    ------
    SettingsError
        If a setting is unknown or does not fit.
    UsageError
        If there is not exactly one of `path`, `dandiset` and `source`.
    PartialFailure
        If some sessions failed; the others were finished first and are its ``results``.
    DataError
        If nothing is selected.
    MachineError
        If disk, network or cluster do not do their part. What was done before is kept.

    Examples
    --------
    >>> import tempfile
    >>> import nwb_latents as nl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     small = {"n_subjects": 1, "n_sessions": 1, "n_units": (8, 8), "waveforms": False}
    ...     files = nl.simulate(folder, small, n_trials=20)
    ...     for entry in nl.ingest(f"{folder}/catalog.yaml", folder, bin_size_s=0.05, window_s=(-0.25, 0.45)):
    ...         print(entry.session, entry.n_units, entry.n_bins)
    sub-SimA_ses-CO-20200106 6 14
    """
    from nwb_latents.pipeline.api.arguments import names_of, one_of, path_of, settings_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.ingest import Selection  # noqa: PLC0415
    from nwb_latents.pipeline.stages.ingest import ingest as stage  # noqa: PLC0415
    from nwb_latents.pipeline.stages.ingest_words import recipe_of_benchmark  # noqa: PLC0415
    from nwb_latents.schemas.cluster import ClusterSettings  # noqa: PLC0415
    from nwb_latents.schemas.recipe import IngestRecipe  # noqa: PLC0415

    one_of(mode, ("download", "stream", "auto"), argument="mode", function="ingest")
    base = recipe_of_benchmark(recipe) if isinstance(recipe, str) else None
    chosen = settings_of(IngestRecipe, recipe if base is None else None, values, function=ingest, base=base)
    return stage(
        path_of(catalog),
        _source(catalog, path, dandiset, source),
        chosen,
        selection=Selection(names_of(sessions), subject, task, limit, exclude=names_of(exclude)),
        cluster=cluster,
        cluster_settings=settings_of(ClusterSettings, cluster_settings, {}, function=ingest),
        stores=None if stores is None else str(stores),
        mode=mode,
        retry_failed=retry_failed,
        dry_run=dry_run,
        force=force,
        session_id=session_id,
        memory_gb=memory_gb,
        report=reported_to(report),
    )


def inspect(
    path: Place | Iterable[Place] | None = None,
    *,
    dandiset: str | None = None,
    source: Source | None = None,
    asset: str = "*",
    recipe: IngestRecipe | Mapping[str, object] | Place | None = None,
    catalog: Place = "catalog.yaml",
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> list[Inspection]:
    """Look into NWB files: what is in them, what `ingest` would make of them, and a recipe that says it.

    Nothing is written, and files of an archive are not downloaded, other than those in Zarr form.

    Parameters
    ----------
    path
        NWB file, or folder searched for them; or several.
    dandiset
        In place of `path`: dandiset of the archive, ``"000688"`` or ``"000688@0.250122.1735"``.
    source
        In place of both: a `DandiSource` of another archive, or anything else that is a `Source`.
    asset
        Shell pattern for the paths of files in the folder or dandiset.
    recipe
        As for `ingest`.
    catalog
        Catalog whose pins say which version of a dandiset is meant; need not exist.
    report
        Called with every event; None: they are logged.
    **values
        Settings of the recipe by name, above those of `recipe`.

    Returns
    -------
    inspections
        One for each file; of one that `ingest` would refuse, ``refusal`` says why.

    Raises
    ------
    DataError
        If no file fits.
    SettingsError
        If a setting is unknown or does not fit.
    UsageError
        If there is not exactly one of `path`, `dandiset` and `source`.
    MachineError
        If the archive cannot be reached.

    Examples
    --------
    >>> import tempfile
    >>> import nwb_latents as nl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     small = {"n_subjects": 1, "n_sessions": 1, "n_units": (8, 8), "waveforms": False}
    ...     files = nl.simulate(folder, small, n_trials=20)
    ...     (found,) = nl.inspect(folder)
    ...     print(found.would_be.layout, found.would_be.n_units, found.units.n_units)
    000688 6 8
    """
    from nwb_latents.pipeline.api.arguments import settings_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.ingest_words import recipe_of_benchmark  # noqa: PLC0415
    from nwb_latents.pipeline.stages.inspection import inspect as stage  # noqa: PLC0415
    from nwb_latents.schemas.recipe import IngestRecipe  # noqa: PLC0415

    base = recipe_of_benchmark(recipe) if isinstance(recipe, str) else None
    chosen = settings_of(IngestRecipe, recipe if base is None else None, values, function=inspect, base=base)
    found = _source(catalog, path, dandiset, source, function="inspect('recordings/')")
    return stage(found, chosen, asset=asset, report=reported_to(report))


def _source(
    catalog: Place,
    path: Place | Iterable[Place] | None,
    dandiset: str | None,
    source: Source | None,
    *,
    function: str = "ingest(catalog, 'recordings/')",
) -> Source:
    import os  # noqa: PLC0415

    from nwb_latents.pipeline.api.arguments import path_of  # noqa: PLC0415
    from nwb_latents.pipeline.stages.ingest_words import archive_source, folder_source  # noqa: PLC0415

    if sum(each is not None for each in (path, dandiset, source)) != 1:
        name = function.partition("(")[0]
        raise UsageError(f"{name}(): give one of path, dandiset and source: {function}.")
    if source is not None:
        return source
    if dandiset is not None:
        return archive_source(dandiset, path_of(catalog))
    places = [path] if isinstance(path, str | os.PathLike) else list(path or ())
    return folder_source([path_of(place) for place in places])
