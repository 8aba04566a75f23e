"""``pipeline run sweep``: catalog → a population of trainings, generation by generation → the best as a run.

A synchronous loop: every member trains one generation, then all decisions are taken at once from a file that
holds what was measured, and is replaced whole. A killed worker costs the steps since a member's last
checkpoint; a killed program costs the members that were under way the same. Either way the search goes on to
the same members, since decisions depend on the seed and on that file alone, not on who finished first.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.ray_tune import named_cluster, ray_workers, require_ray
from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.machine import available_cores
from nwb_latents.pipeline.stages.report import Report, ignore, noted
from nwb_latents.pipeline.stages.resumed_run import check_run_name
from nwb_latents.pipeline.stages.run_directory import only_trainer, prepare_run
from nwb_latents.pipeline.stages.run_entries import now, run_event
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stages.sweep_run import (
    MEMBERS,
    STATE,
    Work,
    draw_missing,
    member_folder,
    register_best,
)
from nwb_latents.pipeline.stages.train import (
    bin_size_of,
    good_enough,
)
from nwb_latents.pipeline.stores.atomic import write_text
from nwb_latents.pipeline.stores.catalog import add_run, read_catalog, select_sessions
from nwb_latents.pipeline.stores.lenient import read_record
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import require_own_stores
from nwb_latents.pipeline.training.run_stores import source_of
from nwb_latents.schemas.events import GenerationEvent, ProgressEvent
from nwb_latents.schemas.pictures import PictureSettings
from nwb_latents.schemas.sweep import MemberRecord, SweepState
from nwb_latents.schemas.training import RunConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.training.search_member import MemberTask
    from nwb_latents.pipeline.training.search_rules import Plan
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.sweep import HyperParameter, MemberOutcome, SweepSettings
    from nwb_latents.schemas.training import Device


def sweep(
    catalog_path: Path,
    settings: SweepSettings,
    *,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    run_name: str | None = None,
    force: bool = False,
    ray_address: str | None = None,
    pictures: PictureSettings | None = None,
    report: Report | None = None,
) -> RunEntry:
    """Search over settings of a training; the best member becomes a run like any other.

    The run lies in ``runs/<name>/`` beside the catalog, with ``sweep.json``, ``sweep.csv`` and ``sweep.png``
    beside its weights. A complete sweep of the same settings and stores is returned as it is; an unfinished
    one goes on where it was.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        What is searched, by which rules, over which training.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; default: that of the matching session ingested last.
    run_name
        Name of the run; default: model, strategy and the beginning of the sweep's key.
    force
        Throw away what is in the run directory and search anew, whatever the size of the models and the
        stores.
    ray_address
        ``HOST:PORT`` of a running cluster of Ray, whose nodes see the catalog's folder under the same path;
        default: what the variable ``RAY_ADDRESS`` says, else this machine.
    pictures
        Formats and resolution of the picture; default: PNG of 300 dots per inch.
    report
        Called with progress, every generation and, at the end, the run.

    Returns
    -------
    entry
        The best member as entered in the catalog.

    Raises
    ------
    DataError
        If no session matches or none has validation trials, a store or checkpoint cannot be used, or every
        member diverged.
    SettingsError
        If the name is taken by a run of other settings, or model or batches are larger than the memory.
    MachineError
        If Ray Tune is missing, a worker dies again and again, the disk refuses, another process has this run,
        or the trials are larger than the memory.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.sweep import SweepSettings
    >>> sweep(Path("nowhere/catalog.yaml"), SweepSettings())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    report = report or ignore
    check_run_name(run_name)
    if settings.train.devices > 1:
        raise SettingsError(
            f"train.devices: {settings.train.devices} were asked for, and each member of a sweep trains on "
            "one. Leave it out; members are dealt out among the GPUs (--workers).",
            setting="train.devices",
        )
    if settings.train.data_memory_gb is not None:
        raise SettingsError(
            "train.data_memory_gb: members of a sweep keep their trials in memory. Leave it out, and "
            "use fewer sessions or --workers where they do not fit.",
            setting="train.data_memory_gb",
        )
    entries = select_sessions(read_catalog(catalog_path), sessions, recipe_id, say=noted(report))
    entries = good_enough(catalog_path, entries, settings.train.select, report, stage="sweep")
    require_ray()
    key = sweep_key(settings, entries)
    name = run_name or f"{settings.train.model.name}-{settings.strategy}-{key[:8]}"
    run_dir = catalog_path.parent / "runs" / name
    with only_trainer(run_dir):
        begun = RunConfig(
            run=name,
            run_key=key,
            recipe_id=entries[0].recipe_id,
            sessions={e.session: source_of(e) for e in entries},
            settings=settings.train,
            created=now(),
            sweep=settings.strategy,
        )
        done = prepare_run(run_dir, begun, resume=False, force=force, report=report)
        if done is None:
            require_own_stores(catalog_path, entries)
        work = Work(catalog_path, settings, list(entries), [], report, pictures=pictures or PictureSettings())
        if done is None and not force:
            _require_fits(work)
        entry = done or register_best(
            work,
            _search(work, _state(work, run_dir, key), run_dir, force=force, ray_address=ray_address),
            run_dir,
        )
        if done is not None:
            draw_missing(work, _state(work, run_dir, key), run_dir)
        shutil.rmtree(run_dir / MEMBERS, ignore_errors=True)
        add_run(catalog_path, entry)
    report(run_event(entry, "skipped" if done else "done", strategy=settings.strategy))
    return entry


def sweep_key(settings: SweepSettings, entries: Sequence[SessionEntry]) -> str:
    """Return the SHA-256 of the settings and the keys of the stores, in hexadecimal.

    Left out is what does not decide the outcome: device, workers, and what chose the stores.

    Examples
    --------
    >>> from nwb_latents.schemas.sweep import SweepSettings
    >>> sweep_key(SweepSettings(), []) == sweep_key(SweepSettings(workers=3), [])
    True
    """
    stores = sorted(entry.store_key for entry in entries)
    decisive = settings.outcome_digest(bin_size_s=bin_size_of(entries))
    return hashlib.sha256(json.dumps(["sweep", decisive, stores]).encode()).hexdigest()


def _state(work: Work, run_dir: Path, key: str) -> SweepState:
    """Return where the search stands: what the file says, or its beginning."""
    path = run_dir / STATE
    width = bin_size_of(work.sessions)
    found = read_record(SweepState, path, remedy="Search again with --force.", bin_size_s=width)
    if found is not None:
        return found
    held_back = work.settings.train.masks.sample_validation
    state = SweepState(
        run=run_dir.name,
        run_key=key,
        settings=work.settings,
        space=_space_of(work.settings, work.sessions),
        metric="val_held_nll" if held_back else "val_nll",
    )
    write_text(path, state.text())
    return state


def _space_of(settings: SweepSettings, entries: Sequence[SessionEntry]) -> dict[str, HyperParameter]:
    """Return the ranges for losses that are sums over the bins and units of these sessions."""
    elements = sum(entry.n_bins * entry.n_units for entry in entries) / len(entries)
    return {name: wanted.times(elements) for name, wanted in settings.space.items()}


def _require_fits(work: Work) -> None:
    """Refuse a search of which the models, or the trials they are fed, are larger than the memory."""
    from nwb_latents.pipeline.training.model_size import require_model_fits  # noqa: PLC0415

    train, at_once = work.settings.train, _workers(work.settings)
    require_stores_fit(
        work.catalog_path,
        work.sessions,
        together=True,
        recordings=bool(train.forward_ms),
        at_once=at_once,
    )
    require_model_fits(train, {entry.session: entry.n_units for entry in work.sessions}, at_once=at_once)


def _workers(settings: SweepSettings) -> int:
    return min(settings.workers or available_cores(), settings.population)


def _search(
    work: Work, state: SweepState, run_dir: Path, *, force: bool, ray_address: str | None
) -> SweepState:
    if state.stopped is not None:
        return state
    from nwb_latents.pipeline.training.search_member import train_member  # noqa: PLC0415

    settings = work.settings
    wanted = settings.train.device
    # Ray hands out what its nodes have room for.
    n = settings.workers or (settings.population if named_cluster(ray_address) else _workers(settings))
    with ray_workers(n, gpus=wanted != "cpu", address=ray_address, report=work.report) as workers:
        if wanted == "cuda" and not workers.gpu_share:
            raise MachineError("device cuda was asked for, but Ray finds no GPU. Use --device auto or cpu.")
        search = _Generations(
            work, state, run_dir, device="cuda" if workers.gpu_share else "cpu", force=force
        )
        workers.run(train_member, search, folder=run_dir / MEMBERS / "tune")
        return search.state


class _Generations:
    """Hands out the members of a generation; once the last is back, writes down what came of them."""

    def __init__(self, work: Work, state: SweepState, run_dir: Path, *, device: Device, force: bool) -> None:
        self.state = state
        self._work = work
        self._run_dir = run_dir
        self._device = device
        self._force = force
        self._number = 0
        self._plans: dict[int, Plan] = {}
        self._waiting: list[MemberTask] = []
        self._found: dict[int, MemberOutcome] = {}

    def next_task(self) -> MemberTask | None:
        if not self._plans and self.state.stopped is None:
            self._begin()
        return self._waiting.pop(0) if self._waiting else None

    def done(self, task: MemberTask, outcome: MemberOutcome) -> None:
        work, settings = self._work, self._work.settings
        self._found[task.member] = outcome
        step = self._number * settings.population + len(self._found)
        total = settings.generations * settings.population
        work.report(ProgressEvent(stage="sweep", run=self.state.run, step=step, total=total))
        if len(self._found) == len(self._plans):
            self._end()

    def _begin(self) -> None:
        from nwb_latents.pipeline.training.search_rules import plan_generation  # noqa: PLC0415

        work, state = self._work, self.state
        self._number = number = state.history[-1].generation + 1 if state.history else 0
        _prune(state, self._run_dir, upcoming=number)
        plans = plan_generation(work.settings, state.space, state.history)
        self._plans = {plan.member: plan for plan in plans}
        self._waiting = [self._task(plan) for plan in plans]

    def _task(self, plan: Plan) -> MemberTask:
        from nwb_latents.pipeline.training.search_member import MemberTask, member_settings  # noqa: PLC0415

        work, number, run_dir = self._work, self._number, self._run_dir.absolute()
        parent = None if plan.parent is None else member_folder(run_dir, number - 1, plan.parent)
        return MemberTask(
            member=plan.member,
            folder=member_folder(run_dir, number, plan.member),
            parent=parent,
            settings=member_settings(work.settings, plan.values, device=self._device),
            stop_at=(number + 1) * work.settings.generation_steps,
            stores=tuple(
                (e.session, store_path(work.catalog_path.absolute(), e.store)) for e in work.sessions
            ),
            metric=self.state.metric,
            smoothing=work.settings.smoothing,
            at_once=_workers(work.settings),
            whatever_the_size=self._force,
        )

    def _end(self) -> None:
        from nwb_latents.pipeline.training.search_rules import is_standing_still  # noqa: PLC0415

        work, number = self._work, self._number
        kept = {"step", "metric", "last", "reason"}
        records = tuple(
            MemberRecord(generation=number, **vars(self._plans[m]), **self._found[m].model_dump(include=kept))
            for m in sorted(self._found)
        )
        if all(record.metric is None for record in records):
            raise DataError(
                f"{self._run_dir}: every member diverged in generation {number}. Lower the largest learning "
                f"rate, e.g. --set space.optimiser.lr.high=1e-3. The last said: {records[-1].reason}"
            )
        history = (*self.state.history, *records)
        stopped = None
        if number + 1 == work.settings.generations:
            stopped = "generations"
        elif is_standing_still(work.settings, history):
            stopped = "no improvement"
        self.state = self.state.model_copy(update={"history": history, "stopped": stopped})
        write_text(self._run_dir / STATE, self.state.text())
        _report_generation(work, self.state, records)
        self._plans, self._found = {}, {}


def _prune(state: SweepState, run_dir: Path, *, upcoming: int) -> None:
    """Keep the generation under way, the one before, and the best member so far."""
    from nwb_latents.pipeline.training.search_rules import best_record  # noqa: PLC0415

    if not state.history:
        return
    best = best_record(state.history)
    kept = {member_folder(run_dir, best.generation, best.member)}
    for generation in (run_dir / MEMBERS).glob("generation-*"):
        if int(generation.name.rpartition("-")[2]) >= upcoming - 1:
            continue
        for folder in generation.iterdir():
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def _report_generation(work: Work, state: SweepState, records: Sequence[MemberRecord]) -> None:
    from nwb_latents.pipeline.training.search_rules import best_record  # noqa: PLC0415

    best, so_far = best_record(records), best_record(state.history)
    work.report(
        GenerationEvent(
            run=state.run,
            generation=best.generation + 1,
            generations=work.settings.generations,
            step=max(record.step for record in records),
            member=best.member,
            metric=state.metric,
            value=best.metric,
            best_value=so_far.metric,
            best_generation=so_far.generation + 1,
            copied=sum(r.parent not in {None, r.member} for r in records),
            diverged=sum(r.metric is None for r in records),
            values=best.values,
            stopped=state.stopped,
        )
    )
