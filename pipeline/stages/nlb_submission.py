"""``pipeline export nlb-submission``: a trained run's rates as a file for the Neural Latents Benchmark.

Beside the submission lies the file of targets it is scored against: the tensors of ``pipeline export nlb``
of the same trials and units, in the same order.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, SettingsError, UsageError
from nwb_latents.pipeline.stages.lag_words import say_negative
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stages.trained_runs import FAILURES, choose
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.schemas.events import NoteEvent, SessionEvent
from nwb_latents.schemas.export import EXPORT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stores.exporters.hdf5 import Array
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.export import NlbExport
    from nwb_latents.schemas.store import StoreAttributes
    from nwb_latents.schemas.training import Device

    Group = tuple[str, Mapping[str, Array], Mapping[str, str | float]]


STATES = 2
"""Raised when a submission states more of what it is of; earlier ones are written anew."""


@dataclass(frozen=True)
class Submitted:
    """A submission and its targets.

    Attributes
    ----------
    path
        The submission.
    targets
        What it is scored against.
    run
        Name of the run.
    sessions
        Sessions in it, one group each.
    status
        ``done``, or ``skipped`` where both files were up to date.
    """

    path: Path
    targets: Path
    run: str
    sessions: tuple[str, ...]
    status: str


Work = StageWork["NlbExport", "str"]


def submit(
    catalog_path: Path,
    settings: NlbExport,
    *,
    run: str,
    sessions: Sequence[str] = ("*",),
    out: Path | None = None,
    device: Device = "auto",
    unseen_trials: bool = False,
    force: bool = False,
    report: Report = ignore,
) -> Submitted:
    """Write the rates a run infers of held-in and held-out units, and the targets beside them.

    Trials, units and their order are those of `pipeline.stages.export.export` with the same settings. The
    submission is checked against its targets before this returns.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Phase, forward time, key; what does not concern rates decides the targets.
    run
        Name of a run that was trained with ``co_smoothing``.
    sessions
        Shell patterns for session ids; of those that match, the ones the run was trained on are taken.
    out
        Folder of the files; default ``exports/nlb-submission/<recipe id>/`` beside the catalog.
    device
        Where the model runs; auto: a GPU if there is one.
    unseen_trials
        Where a session's store is another than the run was trained on: predict only trials the run was
        neither trained nor validated on, if its record of them proves which these are, instead of refusing
        the session.
    force
        Write files again that are up to date, and begin whatever the size of stores and weights.
    report
        Receives one event per session, and notes.

    Returns
    -------
    submitted
        Where the files are.

    Raises
    ------
    DataError
        If no session matches, the run is not there, or it was shown the units it is to predict.
    UsageError
        If unseen trials are asked for of another phase than test.
    SettingsError
        If one key is given to several sessions, or another split than the run's own is asked for.
    MachineError
        If the device is not there, the disk refuses, or a session is larger than the memory.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.export import NlbExport
    >>> submit(Path("nowhere/catalog.yaml"), NlbExport(), run="lfads-0")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: No run is called lfads-0. ...
    """
    from nwb_latents.pipeline.evaluation.nlb.files import write_submission  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.nlb.submission import check_submission  # noqa: PLC0415
    from nwb_latents.pipeline.stores.exporters.hdf5 import is_up_to_date, write_groups  # noqa: PLC0415
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415
    from nwb_latents.pipeline.training.run_files import read_config  # noqa: PLC0415

    if unseen_trials and settings.phase != "test":
        raise UsageError(
            f"--unseen-trials predicts trials no run was validated on; --phase {settings.phase} asks for "
            "others. "
            "Leave one of them out."
        )
    work = _plan(catalog_path, settings, run, sessions=sessions, report=report)
    folder = out or catalog_path.parent / "exports" / "nlb-submission" / work.run.recipe_id
    stem = f"{path_name(run)}_{settings.phase}"
    path, targets = folder / f"{stem}.h5", folder / f"{stem}_targets.h5"
    done = Submitted(path, targets, run, tuple(entry.session for entry in work.sessions), "done")
    trained = None
    run_dir, run_key = catalog_path.parent / work.run.path, work.run.run_key
    # Files that are up to date are so for the run the catalog has.
    read_config(run_dir, run_key=run_key)
    if unseen_trials:
        # Which trials these are belongs to the identity of the files.
        _require_fits(work, force=force)
        work.unseen_trials = True
        trained = work.trained[run] = load_run(run_dir, run_key=run_key, device=device)
        for entry in work.sessions:
            work.session(entry)
    attributes = _attributes(work)
    if not force and all(is_up_to_date(file, attributes["export_key"]) for file in (path, targets)):
        return Submitted(path, targets, run, done.sessions, "skipped")
    _require_fits(work, force=force)
    trained = trained or load_run(run_dir, run_key=run_key, device=device)
    identity: dict[str, dict[str, str]] = {}
    write_groups(targets, _target_groups(work, trained, identity), attributes=attributes)
    write_submission(path, _rate_groups(work, trained, identity), attributes=attributes)
    problems = check_submission(path, targets)
    if problems:
        raise DataError(
            f"{path}: what run {run} predicts is no submission: " + "; ".join(map(str, problems[:3]))
        )
    return done


def _plan(
    catalog_path: Path, settings: NlbExport, run: str, *, sessions: Sequence[str], report: Report
) -> Work:
    if settings.phase == "challenge":
        raise SettingsError(
            f"phase challenge: the trials scored on the benchmark's server lie in files of their own, which "
            f"lack the held-out units; run {run} knows its session by all units and cannot be given these. "
            "Use --phase test."
        )
    entries, (chosen,) = choose(read_catalog(catalog_path), [run], sessions, None, report=report)
    known = [entry for entry in entries if entry.session in chosen.sessions]
    if settings.key is not None and len(known) > 1:
        raise SettingsError(
            f"key {settings.key} would name the groups of {len(known)} sessions: "
            f"{', '.join(entry.session for entry in known[:3])}. Choose one with "
            "--session, or leave the key out."
        )
    if settings.split is not None:
        raise SettingsError(
            f"split {settings.split}: run {run} was fitted to the recipe's own split and may have seen what "
            "another one scores. Leave the split out."
        )
    say_negative([settings.lag_ms], report)
    return Work(catalog_path, settings, known, [chosen], report)


def _require_fits(work: Work, *, force: bool) -> None:
    forward = bool(work.settings.forward_ms)
    require_stores_fit(work.catalog_path, work.sessions, runs=work.runs, recordings=forward, force=force)


def _attributes(work: Work) -> dict[str, str]:
    """Return what both files say of themselves; equal keys mean equal content."""
    stores = [entry.store_key for entry in work.sessions]
    parts: list[object] = [work.settings.digest(), work.run.run_key, stores, EXPORT_VERSION, STATES]
    if work.unseen:
        parts.append(sorted(work.unseen.items()))
    return {
        **({"unseen_trials": json.dumps(work.unseen)} if work.unseen else {}),
        "export_key": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        "export_settings": work.settings.model_dump_json(),
        "run": work.run.run,
        "run_key": work.run.run_key,
    }


def _target_groups(work: Work, run: TrainedRun, identity: dict[str, dict[str, str]]) -> Iterator[Group]:
    """Make the targets of each session, and note down in `identity` of what they are."""
    from nwb_latents.pipeline.evaluation.nlb.group_sizes import identity_of  # noqa: PLC0415
    from nwb_latents.pipeline.stores.exporters.nlb import differences, nlb_arrays, nlb_group  # noqa: PLC0415
    from nwb_latents.pipeline.training.spike_rates import refuse_shown_units  # noqa: PLC0415

    settings = work.settings
    for entry in work.sessions:
        session = work.session(entry)
        heldout = session.heldout(fraction=settings.heldout_fraction, seed=settings.seed)
        refuse_shown_units(run, session, heldout)
        arrays = nlb_arrays(session, settings)
        for text in differences(arrays, settings, bin_size_s=session.bin_size_s):
            work.report(NoteEvent(text=text, session=entry.session))
        name = nlb_group(entry.session, bin_size_s=session.bin_size_s, key=settings.key)
        identity[name] = identity_of(arrays)
        yield name, arrays, _origin(work, session.attributes)


def _rate_groups(work: Work, run: TrainedRun, identity: Mapping[str, Mapping[str, str]]) -> Iterator[Group]:
    from nwb_latents.pipeline.evaluation.nlb.files import submission_arrays  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.nlb.group_sizes import trials_digest  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.spike_task import spike_task  # noqa: PLC0415
    from nwb_latents.pipeline.stores.exporters.nlb import nlb_group  # noqa: PLC0415
    from nwb_latents.pipeline.training.spike_rates import run_rates, why_no_forward  # noqa: PLC0415

    reason = why_no_forward(run) if work.settings.forward_ms else ""
    if reason:
        work.report(NoteEvent(text=f"no forward bins: {reason}"))
    for entry in work.sessions:
        began = time.perf_counter()
        session = work.session(entry)
        heldout = session.heldout(fraction=work.settings.heldout_fraction, seed=work.settings.seed)
        phase = work.settings.phase
        assert phase != "challenge"  # refused before anything is planned
        _, answers = spike_task(session, heldout=heldout, phase=phase)
        n_forward = 0 if reason else session.forward_bins(work.settings.forward_ms)
        try:
            rates, n_raised = run_rates(run, session, answers, forward_bins=n_forward)
        except FAILURES as error:
            error.add_note(f"in session {entry.session}")
            raise
        if n_raised:
            text = f"{entry.session}: {n_raised} rates below 1e-9 spikes per bin were raised to it"
            work.report(NoteEvent(text=text, session=entry.session))
        ids = session.trials["trial"].values
        name = nlb_group(entry.session, bin_size_s=session.bin_size_s, key=work.settings.key)
        # Trials by what was predicted, so that a prediction of others than the targets' is found out.
        about = {**_origin(work, session.attributes), **identity[name]} | {
            "train_trials": trials_digest(ids[answers.train_rows]),
            "eval_trials": trials_digest(ids[answers.eval_rows]),
        }
        yield name, submission_arrays(rates, n_heldin=int((~heldout).sum())), about
        work.report(
            SessionEvent(
                session=entry.session,
                format="nlb-submission",
                status="done",
                n_trials=len(answers.train_rows) + len(answers.eval_rows),
                n_units=len(heldout),
                group=name,
                seconds=round(time.perf_counter() - began, 3),
                reason="",
            )
        )


def _origin(work: Work, attributes: StoreAttributes) -> dict[str, str | float]:
    unseen = work.unseen.get(attributes.session)
    return {
        **({"split": unseen} if unseen else {}),
        "session": attributes.session,
        "bin_size_s": attributes.bin_size_s,
        "store_key": attributes.store_key,
        "source": attributes.provenance.source,
        "source_digest": attributes.provenance.asset_digest,
    }
