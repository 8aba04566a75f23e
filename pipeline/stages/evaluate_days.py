"""Days held out: which sessions they are, and what runs make of them and of the days before.

A decoder that is fitted on early days and used on later ones meets other units, rates and tuning. How well
it does without anything of the later day, and how well a run aligned to a few of its trials, is measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.early_days import EarlyDays, StatesOfDays
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput
    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry

_DAY = len("2020-01-06")


def held_out_days(
    catalog_path: Path, entries: Sequence[SessionEntry], n_days: int, *, report: Report
) -> dict[str, tuple[SessionEntry, ...]]:
    """Return the sessions of each subject's last days, with those of the days before all of these.

    Parameters
    ----------
    catalog_path
        Catalog file.
    entries
        Sessions.
    n_days
        Days held out of each subject; several sessions of one day are held out together.
    report
        Told of subjects that have no day before.

    Returns
    -------
    early
        Session held out → sessions of earlier days, in order of time.

    Raises
    ------
    DataError
        If a store does not say when its session was recorded, or no subject has enough days.
    """
    begun: dict[str, str] = {}
    for entry in entries:
        opened = open_session(store_path(catalog_path, entry.store), entry=entry)
        told = opened.attributes.provenance.session_start
        if not told:
            raise DataError(
                f"{entry.session}: the store does not say when it was recorded (session_start_time of "
                f"{entry.source}), so that it cannot be told which days are later. Leave it out with "
                "--session, or evaluate without --held-out-days."
            )
        begun[entry.session] = told
    found: dict[str, tuple[SessionEntry, ...]] = {}
    for subject in dict.fromkeys(entry.subject for entry in entries):
        mine = sorted(
            (e for e in entries if e.subject == subject), key=lambda e: (begun[e.session], e.session)
        )
        days = list(dict.fromkeys(begun[entry.session][:_DAY] for entry in mine))
        if len(days) <= n_days:
            text = f"{subject} was recorded on {len(days)} days: none is left before the last {n_days}."
            report(NoteEvent(text=text, stage="evaluate", status="skipped"))
            continue
        late = set(days[-n_days:])
        early = tuple(entry for entry in mine if begun[entry.session][:_DAY] not in late)
        found |= {entry.session: early for entry in mine if begun[entry.session][:_DAY] in late}
    if not found:
        raise DataError(
            f"--held-out-days {n_days}: no subject of the chosen sessions was recorded on more than {n_days} "
            f"days. Choose more sessions, or hold out fewer days."
        )
    return found


def knows_days_before(run: RunEntry, session: str, early: Sequence[SessionEntry]) -> bool:
    """Whether a run knows earlier days of a session, and not the session itself.

    Parameters
    ----------
    run
        A run.
    session
        Session held out.
    early
        Sessions of the days before.
    """
    others = {entry.session for entry in early}
    return run.alignment is None and session not in run.sessions and bool(others & set(run.sessions))


def made_without_the_day(run: RunEntry, trained: TrainedRun, session: ScoredSession) -> SourceOutput:
    """Return the latents a run makes of a day it was never given, read in as the last day it knows.

    Parameters
    ----------
    run
        Its entry.
    trained
        The run, which knows earlier days.
    session
        The day held out.

    Returns
    -------
    made
        Latents alone; without them, and why, where the units are others.
    """
    from nwb_latents.pipeline.evaluation.early_days import StatesOfDays, why_other_units  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput  # noqa: PLC0415

    early = _early(session)
    known = [day for day in early.sessions if day.name in run.sessions]
    reasons = [why_other_units(day, session.session) for day in known]
    same = [day for day, reason in zip(known, reasons, strict=True) if not reason]
    if not same:
        return SourceOutput(
            withheld={"early_days": f"{reasons[-1]}; align the run to it (pipeline run align)"}
        )
    last = same[-1]
    train, scored = (
        _states(trained, _called(session.session.select(rows), last.name))
        for rows in (session.answers.train_rows, session.answers.eval_rows)
    )
    days = {day.name: _training_states(trained, day) for day in known}
    return SourceOutput(states=(train, scored), early=StatesOfDays(days, how=f"read in as {last.name}"))


def states_of_early_days(
    run: RunEntry, trained: Mapping[str, TrainedRun], session: ScoredSession
) -> StatesOfDays | str:
    """Return the latents a run that knows a day held out makes of earlier days, or why it has none.

    Parameters
    ----------
    run
        A run that knows the session, by training or by alignment.
    trained
        Runs that are loaded, by name; the one it was aligned from is asked for days it does not know itself.
    session
        The day held out.
    """
    from nwb_latents.pipeline.evaluation.early_days import StatesOfDays  # noqa: PLC0415

    how, others = "trained on it, without its velocity", None
    if run.alignment is not None:
        if run.alignment.from_scratch:
            return "it was trained from scratch on that day alone"
        how = f"aligned to {run.alignment.n_trials} of its trials"
        others = trained.get(run.alignment.parent)
        if others is None:
            return f"the run it was aligned from, {run.alignment.parent}, cannot be read"
    found = {}
    for day in _early(session).sessions:
        knows = trained[run.run] if day.name in run.sessions else others
        if knows is not None and day.name in knows.sessions:
            found[day.name] = _training_states(knows, day)
    return StatesOfDays(found, how) if found else "it was trained on none of the earlier days"


def _early(session: ScoredSession) -> EarlyDays:
    if session.early is None:
        raise DataError(f"{session.session.name}: it is no day held out")
    return session.early


def _training_states(run: TrainedRun, session: Session) -> np.ndarray:
    return _states(run, session.select(session.rows("train")))


def _states(run: TrainedRun, session: Session) -> np.ndarray:
    return np.asarray(run.states(session), dtype=np.float64)


def _called(session: Session, name: str) -> Session:
    """Return the trials of a session as if they were of another one, of no store."""
    said = session.attributes.model_copy(update={"session": name, "store_key": ""})
    return replace(session, attributes=said)
