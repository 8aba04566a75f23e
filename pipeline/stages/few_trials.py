"""What trials and units are too few for is said before the work begins, not by what it could not measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.evaluation.metrics.metric import Metric
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stores.session import Session


def say_what_cannot_be_scored(
    session: Session, report: Report, *, stage: str, run: str | None = None
) -> None:
    """Say of a session that is about to be trained on which trials it lacks.

    Parameters
    ----------
    session
        The session.
    report
        Told of it.
    stage, run
        Who is about to train what.

    Examples
    --------
    >>> import xarray as xr
    >>> from nwb_latents.pipeline.stores.session import session_in_memory
    >>> labels = {"split": ("trial", ["train", "val"])}
    >>> session = session_in_memory(xr.Dataset(coords=labels, attrs={"session": "a"}))
    >>> say_what_cannot_be_scored(session, lambda event: print(event.text), stage="train")
    a: no test trials: nothing that is trained can be scored on it (recipe: split.test)
    """
    lacking = {
        "test": "no test trials: nothing that is trained can be scored on it (recipe: split.test)",
        "val": "no validation trials: it has no say in which weights are best, nor in when training stops "
        "(recipe: split.val)",
    }
    for split, text in lacking.items():
        if not len(session.rows(split)):
            report(NoteEvent(text=f"{session.name}: {text}", stage=stage, session=session.name, run=run))


def say_few(session: ScoredSession, report: Report, *, metrics: Sequence[Metric]) -> None:
    """Say of a session that is about to be measured what cannot be measured of so few trials and units.

    Parameters
    ----------
    session
        Laid ready.
    report
        Told of it.
    metrics
        Those that are wanted.
    """
    name = session.session.name
    needing = sorted({metric.name for metric in metrics if "heldout" in metric.needs})
    if needing and not session.n_heldout:
        text = (
            f"{name}: no unit is held out, so that {', '.join(needing)} cannot be measured; --set "
            "heldout_fraction=0.25 holds a share out"
        )
        report(NoteEvent(text=text, stage="evaluate", session=name))
    if session.n_trials == 1:
        text = f"{name}: a single trial is scored: intervals over trials say nothing"
        report(NoteEvent(text=text, stage="evaluate", session=name))
