"""Runs that were given a few trials of a session: what is fitted beside them is fitted on these few alone.

A decoder or read-out that knows more trials than the run it is put on would make much of a run that learnt
little. Numbers of such a run say how many trials it was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.row_details import GIVEN
from nwb_latents.pipeline.training.trial_record import given_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.base import Frozen
    from nwb_latents.schemas.measurement import Measurement

Settings = TypeVar("Settings", bound="Frozen")


@dataclass(frozen=True, eq=False)
class Given:
    """A session as a run was given it, with the trials that are scored.

    Attributes
    ----------
    session
        Its training split are the trials the run was given.
    trials
        Which they are (`schemas.store`: rows in the file's trial table).
    """

    session: Session
    trials: tuple[int, ...]

    def fewer_folds(self, settings: Settings) -> Settings:
        """Return settings whose folds are no more than there are trials."""
        folds = min(getattr(settings, "folds"), len(self.trials))  # noqa: B009
        return settings.model_copy(update={"folds": folds})

    def told(self, found: Measurement) -> Measurement:
        """Return a measurement of the run that says how many trials it was given."""
        details: dict[str, Any] = {**found.details, GIVEN: len(self.trials)}
        return found.model_copy(update={"details": details})


def require_no_more(trials: Sequence[int], run: TrainedRun, *, session: str, beside: str) -> None:
    """Refuse a run that knows other trials of a session, in the mean with one that does not.

    Parameters
    ----------
    trials
        Those that the run `beside` was given; none: the whole training split.
    run
        What it is averaged with.
    session
        Session id.
    beside
        Name of that run.

    Raises
    ------
    DataError
        If `run` was trained on a trial that is not among those given.
    """
    source = run.sources.get(session)
    known = None if source is None or source.trials is None else set(source.trials)
    if not trials or (known is not None and known <= set(trials)):
        return
    which = "the whole training split" if known is None else f"{len(known)} trials"
    raise DataError(
        f"{session}: run {beside} was given {len(trials)} trials, and {run.name} knows {which}: their mean "
        f"would not be one of {len(trials)} trials. Leave {run.name} out of --set forecast.ensemble."
    )


def given_to(
    run: TrainedRun, session: Session, *, scored: Sequence[str] = ("test",), least: int = 2
) -> Given | None:
    """Return a session as a run was given it; None of a run that had its whole training split.

    Parameters
    ----------
    run
        The run.
    session
        All trials of its store.
    scored
        Splits that are scored.
    least
        Trials it has to have been given: a read-out is fitted by cross-validation over them.

    Raises
    ------
    DataError
        If it was given fewer.
    """
    source = run.sources.get(session.name)
    few = given_alone(session, source, scored=scored)
    if few is None or source is None or source.trials is None:
        return None
    if len(few.rows("train")) < least:
        raise DataError(
            f"{session.name}: run {run.name} was given one trial of it. What reads velocity out of the run "
            "is fitted on the trials it was given, by cross-validation over them, and takes at least two. "
            "Align to more trials (`pipeline run align --trials 2`)."
        )
    return Given(few, source.trials)
