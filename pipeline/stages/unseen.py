"""Sessions of other stores than runs were trained on, with the trials those runs have not seen.

Numbers of such trials say so in their split, ``unseen-…`` in place of ``test``: they stand beside numbers of
the very same trials alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.training.unseen_trials import same_split
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.pipeline.training.unseen_trials import Unseen
    from nwb_latents.schemas.measurement import Measurement


def known_by(
    runs: Sequence[TrainedRun], session: Session, *, said: MutableMapping[str, str], report: Report
) -> Unseen | None:
    """Return a session split as runs know its trials; None if its store is the one they were trained on.

    Parameters
    ----------
    runs
        Loaded runs; those that do not know the session are not asked.
    session
        All trials of its store.
    said
        Session → split of numbers of its unseen trials; filled in.
    report
        Told how many there are, the first time.

    Raises
    ------
    DataError
        If it cannot be proven which trials a run has seen, or the runs have seen different ones.
    """
    mine = [run for run in runs if session.name in run.sessions]
    views = [(run.name, run.unseen(session)) for run in mine]
    of_others = [(name, view) for name, view in views if view is not None]
    if not of_others:
        return None
    alike = [name for name, view in views if view is None]
    view = same_split(of_others, beside=alike)
    if session.name not in said:
        said[session.name] = view.split
        names = " and ".join(name for name, _ in of_others)
        out = f", {view.n_left_out} that overlap with those are left out" if view.n_left_out else ""
        report(
            NoteEvent(
                session=session.name,
                status="unseen trials",
                text=f"{session.name}: another store than {names} knows. {view.n_unseen} of "
                f"{session.n_trials} "
                f"trials, in neither training nor validation, are the test trials{out}; numbers of them "
                f"have the split {view.split}",
            )
        )
    return view


def of_unseen(found: Measurement, unseen: Mapping[str, str]) -> Measurement:
    """Return a measurement that says of which trials it is, where these are not those of the store's split.

    Parameters
    ----------
    found
        As a stage measured it: of the split ``test``, or of another.
    unseen
        Session → split of numbers of its unseen trials.

    Examples
    --------
    >>> from nwb_latents.schemas.measurement import Measurement
    >>> one = Measurement(name="co_bps", value=0.1, session="a", recipe_id="r", split="test", n_trials=9,
    ...                   source="rates")
    >>> of_unseen(one, {"a": "unseen-01234567"}).split, of_unseen(one, {}).split
    ('unseen-01234567', 'test')
    >>> of_unseen(one.model_copy(update={"fitted_sessions": ("b",)}), {"b": "unseen-89abcdef"}).split
    'test, fitted on b of unseen-89abcdef'
    """
    split = found.split
    if found.session in unseen:
        split = unseen[found.session] if split == "test" else f"{split} of {unseen[found.session]}"
    others = [name for name in found.fitted_sessions if name in unseen and name != found.session]
    if others:
        split += ", fitted on " + " and ".join(f"{name} of {unseen[name]}" for name in others)
    return found if split == found.split else found.model_copy(update={"split": split})
