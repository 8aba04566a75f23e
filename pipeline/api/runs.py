"""Runs: trained, aligned to new sessions, loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.api.named_arguments import named_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nwb_latents.pipeline.api.arguments import Names, Place
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.align import AlignSettings
    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.cluster import ClusterSettings
    from nwb_latents.schemas.events import Event
    from nwb_latents.schemas.models import ModelSettings
    from nwb_latents.schemas.training import Device, TrainSettings


def train(
    catalog: Place,
    settings: TrainSettings | Mapping[str, object] | Place | None = None,
    *,
    model: str | ModelSettings | Mapping[str, object] | None = None,
    seed: int | None = None,
    max_steps: int | None = None,
    device: Device | None = None,
    sessions: Names = "*",
    recipe_id: str | None = None,
    run_name: str | None = None,
    resume: str | None = None,
    cluster: str = "serial",
    cluster_settings: ClusterSettings | Mapping[str, object] | Place | None = None,
    force: bool = False,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> RunEntry:
    """Train a latent-variable model on sessions of the catalog.

    A complete run of the same settings and stores is returned as it is; an unfinished one goes on from its
    last checkpoint.

    Parameters
    ----------
    catalog
        Catalog file. Runs lie in ``runs/`` beside it.
    settings
        `TrainSettings`, a mapping or a YAML file.
    model
        Name of the model, such as ``"mdssm"`` or ``"lfads"`` (`pipeline models` lists them), or its settings.
        Default: that of `settings`, else mdssm.
    seed, max_steps, device
        As in `TrainSettings`; None: as in `settings`.
    sessions
        Session ids or shell patterns, one or several.
    recipe_id
        Recipe of the stores, or its beginning; default: that of the matching session ingested last.
    run_name
        Name of the run; default: the model and the beginning of the run's key.
    resume
        Name of a run to go on with, up to `max_steps`, with its own settings; those that are given and
        differ are refused, but for the few that may change.
    cluster
        ``"serial"``: in this process; else on a worker of ``"local:1"``, ``"tcp://HOST:PORT"`` or a batch
        system. A script that uses processes of this machine needs ``if __name__ == "__main__":``.
    cluster_settings
        `ClusterSettings`, a mapping or a YAML file.
    force
        Throw away what there is of the run and train anew, though it is estimated not to fit the memory.
    report
        Called with every event; None: they are logged (`logging.getLogger("nwb_latents")`).
    **values
        Further settings by name, above those of `settings`: ``batch={"trials_per_session": 8}``.

    Returns
    -------
    entry
        The run as entered in the catalog: name, directory, steps, metrics.

    Raises
    ------
    SettingsError
        If a setting is unknown or does not fit, or the name is taken by a run of other settings.
    DataError
        If no session matches, or the loss is no longer finite.
    MachineError
        If the device or disk does not do its part, another process trains this run, or the cluster cannot be
        reached or is lost.
    PartialFailure
        If the run failed on a worker of a cluster.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.train("catalog.yaml", model="mdssm", max_stepz=200)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: train(max_stepz=200): unknown key, found 200; did you mean
    max_steps?
    """
    from nwb_latents.pipeline.api.arguments import names_of, path_of, settings_of, where_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.resumed_run import settings_to_resume  # noqa: PLC0415
    from nwb_latents.pipeline.stages.train import train as stage  # noqa: PLC0415
    from nwb_latents.pipeline.stages.train_runs import train_seeds  # noqa: PLC0415
    from nwb_latents.schemas.training import TrainSettings  # noqa: PLC0415

    named = {
        "model": {"name": model} if isinstance(model, str) else model,
        "seed": seed, "max_steps": max_steps, "device": device,
    }  # fmt: skip
    given = {key: value for key, value in named.items() if value is not None}
    own = settings_to_resume(path_of(catalog), resume) if resume is not None else None
    chosen = settings_of(TrainSettings, settings, {**given, **values}, function=train, base=own)
    where = where_of(cluster, cluster_settings, train)
    words: dict[str, Any] = {
        "sessions": names_of(sessions), "recipe_id": recipe_id, "run_name": run_name, "resume": resume,
        "force": force, "report": reported_to(report),
    }  # fmt: skip
    if where.is_here:
        return stage(path_of(catalog), chosen, **words)
    (entry,) = train_seeds(path_of(catalog), chosen, where, **words)
    return entry


def align(
    catalog: Place,
    run: str,
    *,
    sessions: Names,
    trials: int | Iterable[int],
    settings: AlignSettings | Mapping[str, object] | Place | None = None,
    seeds: int = 1,
    from_scratch: bool = False,
    cluster: str = "serial",
    cluster_settings: ClusterSettings | Mapping[str, object] | Place | None = None,
    force: bool = False,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> list[RunEntry]:
    """Align a trained run to new sessions, each from a few of its training trials.

    Parameters
    ----------
    catalog
        Catalog file.
    run
        Name of the trained run.
    sessions
        Session ids or shell patterns, one or several. Sessions the run was trained on are left out.
    trials
        Number of trials, or several numbers; each makes runs of its own.
    settings
        `AlignSettings`, a mapping or a YAML file.
    seeds
        Number of seeds; each makes runs of its own.
    from_scratch
        Also train each baseline: the run's settings and the same trials, nothing of what it learnt.
    cluster
        ``"serial"``, ``"local:8"``, ``"tcp://HOST:PORT"`` or a batch system; one run is one task. A script
        that uses processes of this machine needs ``if __name__ == "__main__":``.
    cluster_settings
        `ClusterSettings`, a mapping or a YAML file.
    force
        Make runs again that are complete, and begin though it is estimated not to fit the memory.
    report
        Called with every event; None: they are logged (`logging.getLogger("nwb_latents")`).
    **values
        Settings of the alignment by name, above those of `settings`.

    Returns
    -------
    entries
        The runs as entered in the catalog, by session, number of trials, seed; a baseline follows its run.

    Raises
    ------
    SettingsError
        If a setting is unknown or does not fit, or models of the run's kind cannot be aligned.
    DataError
        If there is no such run, no new session of its recipe matches, or a session has fewer training trials.
    MachineError
        If the cluster cannot be reached or is lost.
    PartialFailure
        If some runs failed; the entries of the others are its ``results``.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.align("catalog.yaml", "mine", sessions="sub-C_*", trials=[8, 16])
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: No run is called mine. Complete runs in the catalog: none; ...
    """
    from nwb_latents.pipeline.api.arguments import names_of, path_of, settings_of, where_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.align import align as stage  # noqa: PLC0415
    from nwb_latents.schemas.align import AlignSettings  # noqa: PLC0415

    return stage(
        path_of(catalog),
        settings_of(AlignSettings, settings, values, function=align),
        run=run,
        sessions=names_of(sessions),
        trials=(trials,) if isinstance(trials, int) else tuple(trials),
        seeds=seeds,
        from_scratch=from_scratch,
        force=force,
        where=where_of(cluster, cluster_settings, align),
        report=reported_to(report),
    )


@named_arguments
def load_run(catalog: Place, run: str, *, device: Device = "auto") -> TrainedRun:
    """Load a run with its best weights: reconstruct, forecast, embed, roll out.

    Parameters
    ----------
    catalog
        Catalog file.
    run
        Name of the run.
    device
        ``"auto"`` (a GPU if there is one), ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    DataError
        If the catalog has no run of this name, or it is damaged.
    MachineError
        If the device is not there.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.load_run("catalog.yaml", "mine")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: No run is called mine. Complete runs in the catalog: none; ...
    """
    from nwb_latents.pipeline.api.arguments import path_of  # noqa: PLC0415
    from nwb_latents.pipeline.stages.trained_runs import named_runs  # noqa: PLC0415
    from nwb_latents.pipeline.stores.catalog import read_catalog  # noqa: PLC0415

    path = path_of(catalog)
    (entry,) = named_runs(read_catalog(path), [run])
    from nwb_latents.pipeline.training.inference import load_run as load  # noqa: PLC0415

    return load(path.parent / entry.path, run_key=entry.run_key, device=device)
