"""``pipeline run embed``: where sessions lie in the embedding of a run, and what lies between them.

Catalog → one run and its sessions → table, interpolations and flow fields into the folder of the run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.lag_words import say_negative
from nwb_latents.pipeline.stages.picture_folder import note_settings, settings_folder
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.session_tasks import SessionStage, Where, do_sessions
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stages.trained_runs import (
    FAILURES,
    matching_runs,
    named_runs,
)
from nwb_latents.pipeline.stores.atomic import write_bytes
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.schemas.events import EmbeddingEvent, NoteEvent, SessionEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import xarray as xr

    from nwb_latents.pipeline.evaluation.decoding.decoder import FittedDecoder
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.embedding import EmbedSettings
    from nwb_latents.schemas.pictures import PictureSettings
    from nwb_latents.schemas.training import Device

TABLE, SCATTER = "embedding.nc", "embedding.png"


@dataclass(frozen=True)
class Embeddings:
    """What the stage made.

    Attributes
    ----------
    table
        As `pipeline.evaluation.embedding.embedding_table` makes it, of all sessions of the run.
    files
        Everything written: datasets (NetCDF) and pictures.
    """

    table: xr.Dataset
    files: tuple[Path, ...]


Work = StageWork["EmbedSettings", "Path"]


def embed(
    catalog_path: Path,
    settings: EmbedSettings,
    *,
    run: str,
    sessions: Sequence[str] = ("*",),
    towards: str | None = None,
    device: Device = "auto",
    unseen_trials: bool = False,
    force: bool = False,
    where: Where | None = None,
    pictures: PictureSettings | None = None,
    report: Report | None = None,
) -> Embeddings:
    """Write the embeddings of a run's sessions, rollouts around them, and flow fields, with pictures.

    Everything goes to ``embedding/<split>-<digest>/`` in the run's folder, one for each choice of settings,
    which are kept there in ``settings.yaml``: ``embedding.nc`` and ``.png``, and for every
    session ``SESSION_grid`` (or ``SESSION_to_OTHER``) and the same with ``_flow``.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Grid, line, flow field, decoder.
    run
        Name of the run.
    sessions
        Shell patterns for session ids: those to go around. The table has all sessions of the run.
    towards
        Session id: instead of a grid around each session, the line from its embedding to that of this one.
    device
        Where the model runs; auto: a GPU if there is one.
    unseen_trials
        Where a session's store is another than the run was trained on: embed it by the trials the run was
        neither trained nor validated on alone, if its record of them proves which these are, instead of
        refusing the session.
    force
        Begin whatever the size of stores and weights.
    where
        Which part of the sessions is gone around, and where; default: all, in this process. The table has all
        sessions of the run, and is made here. On a cluster one session is one task.
    pictures
        Formats and resolution of the pictures; default: PNG of 300 dots per inch.
    report
        Called with one event per embedding, session and failure.

    Returns
    -------
    embeddings
        Table and files.

    Raises
    ------
    DataError
        If the run, or none of its sessions, is in the catalog, or the run has no embedding.
    SettingsError
        If a setting does not fit the sessions.
    MachineError
        If the device is not there, the disk refuses, the sessions are larger than the memory, or the cluster
        cannot be reached or is lost.
    PartialFailure
        If some sessions failed; it carries the files of the others.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.embedding import EmbedSettings
    >>> embed(Path("nowhere/catalog.yaml"), EmbedSettings(), run="mdssm-0")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: No run is called mdssm-0. Complete runs in the catalog: none; ...
    """
    from nwb_latents.pipeline.evaluation.embedding import embedding_table, needs_embedding  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.embedding import embedding_figure  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.saving import save_figure  # noqa: PLC0415
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415

    where = where or Where()
    work = _plan(catalog_path, settings, run, sessions=sessions, towards=towards, report=report or ignore)
    work.pictures = pictures or work.pictures
    unseen = {"unseen_trials": unseen_trials}
    work.pictures_folder = settings_folder(settings.split, settings, **unseen)
    require_stores_fit(
        catalog_path, _entries_of_all(work), runs=[work.run], together=True, recordings=False, force=force
    )
    trained = load_run(catalog_path.parent / work.run.path, run_key=work.run.run_key, device=device)
    needs_embedding(trained)
    work.trained[run], work.unseen_trials = trained, unseen_trials
    table = embedding_table(trained, _sessions_of_all(work, towards))
    _report_table(work, table)
    folder = work.run_folder(work.run, "embedding")
    figure = embedding_figure(table, colour_by=settings.colour_by)
    _write(folder / TABLE, table)
    note_settings(folder, settings, **unseen)
    work.results += [folder / TABLE, *save_figure(figure, folder / SCATTER, work.pictures)]
    work.sessions = where.part_of(work.sessions, catalog_path, EMBEDDING.name, work.report)
    if work.sessions:
        do_sessions(work, EMBEDDING, _Plan(table, towards), where, device=device)
    if work.failures.found:
        summary = f"{len(work.failures.found)} sessions failed, {len(work.results)} files were written."
        raise work.failures.error(summary, work.results)
    return Embeddings(table=table, files=tuple(work.results))


def _plan(
    catalog_path: Path,
    settings: EmbedSettings,
    run: str,
    *,
    sessions: Sequence[str],
    towards: str | None,
    report: Report,
) -> Work:
    from nwb_latents.pipeline.signals.task import whole_bins  # noqa: PLC0415

    catalog = read_catalog(catalog_path)
    [entry] = named_runs(catalog, [run])
    chosen = select_sessions(catalog, sessions, entry.recipe_id)
    matching_runs(catalog, [entry], chosen)
    if towards is not None and towards not in entry.sessions:
        raise DataError(
            f"Run {run} was not trained on {towards}; it knows {', '.join(entry.sessions)}. Choose one of "
            "these."
        )
    mine = [one for one in chosen if one.session in entry.sessions and one.session != towards]
    if not mine:
        raise DataError(f"No session is left to go from to {towards}. Choose another one with --session.")
    for one in mine:
        whole_bins(settings.lag_ms, bin_size_s=one.bin_size_s, name="lag_ms")
        if settings.start_bin is not None and settings.start_bin >= one.n_bins - 1:
            raise SettingsError(
                f"start_bin {settings.start_bin}: trials of {one.session} have {one.n_bins} bins; use one "
                f"below {one.n_bins - 1}."
            )
    say_negative([settings.lag_ms], report)
    return Work(catalog_path, settings, mine, [entry], report)


def _entries_of_all(work: Work) -> list[SessionEntry]:
    """Return every session of the run."""
    entries = select_sessions(read_catalog(work.catalog_path), ("*",), work.run.recipe_id)
    return [entry for entry in entries if entry.session in work.run.sessions]


def _sessions_of_all(work: Work, towards: str | None) -> list[Session]:
    """Return every session of the run; one that cannot be read is a failure of that session."""
    found = []
    for entry in _entries_of_all(work):
        try:
            found.append(_chosen(work, entry))
        except MachineError:
            raise
        except FAILURES as error:
            event = SessionEvent(session=entry.session, status="failed")
            work.failures.add(error, event=event, name=entry.session)
    known = {session.name for session in found}
    if towards is not None and towards not in known:
        raise DataError(f"{towards}: no trials of it can be read, so no line can lead there.")
    work.sessions = [entry for entry in work.sessions if entry.session in known]
    return found


def _chosen(work: Work, entry: SessionEntry) -> Session:
    """Return the session with the trials of the split."""
    session = work.session(entry)
    split = "test" if entry.session in work.unseen else work.settings.split
    if split != "all":
        session = session.select(session.rows(split))
    if session.n_trials == 0:
        raise DataError(
            f"{entry.session}: no trial is in the split {work.settings.split}. Use --set split=all, or leave "
            "the session out."
        )
    return session


def _report_table(work: Work, table: xr.Dataset) -> None:
    for session in table["session"].values:
        row = table.sel(session=session)
        told = {name: str(row[name].item()) for name in ("session", "subject", "task")}
        mean, variance = (row[name].values.tolist() for name in ("mean", "variance"))
        n_trials = int(row["n_trials"])
        work.report(
            EmbeddingEvent(
                run=work.run.run, **told, mean=tuple(mean), variance=tuple(variance), n_trials=n_trials
            )
        )
    if table.sizes["session"] == 1:
        return
    apart = float((table["mean"].std("session") / table["variance"].mean("session") ** 0.5).max())
    if apart < 1:
        text = (
            f"the embeddings do not tell the sessions apart: they spread by {apart:.2g} standard deviations "
            "of their posteriors"
        )
        work.report(NoteEvent(text=text))


@dataclass(frozen=True)
class _Plan:
    """The embeddings of all sessions, and the one to go to; None: around each."""

    table: xr.Dataset
    towards: str | None


@dataclass(frozen=True)
class _Made:
    """Rollouts of a session under other embeddings, and flow fields in the plane that holds most of them.

    Without fields, the latent state has one dimension.
    """

    name: str
    rollouts: xr.Dataset
    fields: tuple[xr.Dataset, ...] = ()
    share: float = 1.0


def _session(work: Work, plan: _Plan, entry: SessionEntry) -> _Made:
    """Return what a session becomes under other embeddings; writes nothing."""
    from nwb_latents.pipeline.evaluation.embedding import embedding_grid, embedding_line, interpolate  # noqa: PLC0415

    settings, table, towards, trained = work.settings, plan.table, plan.towards, work.trained[work.run.run]
    mean = table["mean"].sel(session=entry.session).values
    if towards is None:
        name, embeddings = "grid", embedding_grid(mean, size=settings.grid_size, spacing=settings.spacing)
    else:
        name = f"to_{path_name(towards)}"
        other = table["mean"].sel(session=towards).values
        embeddings = embedding_line(mean, other, size=settings.line_size)
    session = _chosen(work, entry)
    start = settings.start_bin
    if start is None:
        start = min(max(session.attributes.n_event_bins - 1, 0), entry.n_bins - 2)
    made = interpolate(
        trained,
        session,
        embeddings=embeddings,
        decoder=_decoder(work, entry),
        start_bin=start,
        lag_ms=settings.lag_ms,
    )
    return _with_flow(work, trained, _Made(name, made))


def _keep(work: Work, plan: _Plan, entry: SessionEntry, made: _Made) -> dict[str, object]:
    """Write what a session becomes, and draw it."""
    from nwb_latents.pipeline.evaluation.figures.embedding import interpolation_figure  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.saving import save_figure  # noqa: PLC0415

    del plan
    stem = work.run_folder(work.run, "embedding") / f"{path_name(entry.session)}_{made.name}"
    _write(stem.with_name(f"{stem.name}.nc"), made.rollouts)
    work.results.append(stem.with_name(f"{stem.name}.nc"))
    if "position" in made.rollouts:
        path = stem.with_name(f"{stem.name}.png")
        work.results += save_figure(interpolation_figure(made.rollouts), path, work.pictures)
    if made.fields:
        _keep_flow(work, made, stem)
    return {}


def _runs(work: Work, plan: _Plan) -> list[RunEntry]:
    del plan
    return [work.run]


EMBEDDING = SessionStage(
    "embed", make=_session, keep=_keep, runs=_runs, reads_recording=False, ends_with_the_machine=True
)


def _decoder(work: Work, entry: SessionEntry) -> FittedDecoder | None:
    """Fit the session's velocity decoder on its training trials; None, and a note, where that cannot be."""
    from nwb_latents.pipeline.evaluation.decoding.decoder import decoder_of  # noqa: PLC0415

    session = work.session(entry)
    train = session.select(session.rows("train"))
    try:
        velocity = train.velocity(work.settings.lag_ms).velocity
        return decoder_of(work.settings).fit(train.trials["rates"].values, velocity)
    except DataError as error:
        text = f"{entry.session}: no reaches are decoded: {error}"
        work.report(NoteEvent(text=text, session=entry.session))
        return None


def _with_flow(work: Work, trained: TrainedRun, made: _Made) -> _Made:
    """Add flow fields along the first direction of the grid, through its middle, all in one plane."""
    from nwb_latents.pipeline.evaluation.flow import flow_field, plane_of  # noqa: PLC0415

    rollouts = made.rollouts
    if rollouts.sizes["latent"] < 2:
        text = f"{rollouts.attrs['session']}: a latent state of one dimension has no flow field in a plane"
        work.report(NoteEvent(text=text, session=rollouts.attrs["session"]))
        return made
    row = rollouts.isel(grid1=rollouts.sizes["grid1"] // 2)
    plane = plane_of(row["latents"].values)
    options: dict[str, Any] = {"plane": plane, "n_points": work.settings.flow_points}
    fields = []
    for point in range(row.sizes["grid0"]):
        one = row.isel(grid0=point)
        fields.append(flow_field(trained, one["embedding_value"].values, one["latents"].values, **options))
    return replace(made, fields=tuple(fields), share=plane.share)


def _keep_flow(work: Work, made: _Made, stem: Path) -> None:
    import xarray as xr  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.flow_fields import flow_figure  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.saving import save_figure  # noqa: PLC0415

    rollouts, fields = made.rollouts, list(made.fields)
    conditions = [str(name) for name in rollouts["condition"].values]
    title = f"{rollouts.attrs['session']}, run {work.run.run}\nf(z, e) − z"
    if rollouts.sizes["latent"] > 2:
        title += (
            " in the plane of the first two principal components of the rollouts "
            f"({100 * made.share:.0f} % of their variance)"
        )
    n_trials = rollouts["n_trials"].values
    title += f"; from the mean states of {n_trials.min()} to {n_trials.max()} trials each"
    path = stem.with_name(f"{stem.name}_flow.png")
    figure = flow_figure(fields, conditions=conditions, title=title)
    _write(path.with_suffix(".nc"), xr.concat(fields, "point", join="override", combine_attrs="override"))
    work.results += [path.with_suffix(".nc"), *save_figure(figure, path, work.pictures)]


def _write(path: Path, dataset: xr.Dataset) -> None:
    write_bytes(path, bytes(dataset.to_netcdf(engine="scipy")))
