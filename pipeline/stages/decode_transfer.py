"""Decoders carried from session to session: what ``pipeline run decode`` does with several at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.picture_folder import of_sessions
from nwb_latents.pipeline.stores.location import path_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.pictures import PictureSettings


def needs_two_sessions(entries: Sequence[SessionEntry], runs: Sequence[RunEntry]) -> None:
    """Refuse sessions of which no run knows two.

    Raises
    ------
    DataError
        If there is nothing a decoder could be carried to.
    """
    ids = {entry.session for entry in entries}
    if not any(len(ids & set(run.sessions)) > 1 for run in runs):
        known = "; ".join(f"{run.run} knows {', '.join(run.sessions)}" for run in runs) or "there is no run"
        msg = (
            f"A decoder is carried from one session to another through the latent states of a run that was "
            f"trained on both, and no run was trained on two of the chosen sessions ({known}). Train one on "
            f"several sessions, or leave --transfer out."
        )
        raise DataError(msg)


def transfer_run(
    opened: Callable[[SessionEntry], Session],
    model: TrainedRun,
    entries: Sequence[SessionEntry],
    settings: DecodeSettings,
    *,
    known: Sequence[str],
    folder: Path,
    pictures: PictureSettings | None = None,
) -> list[Measurement]:
    """Score and draw the transfer of decoders between sessions of one run.

    Parameters
    ----------
    opened
        Opens a session.
    model
        The run.
    entries
        Sessions it was trained on; with fewer than two, nothing is done.
    settings
        Decoders, lag, penalties, folds, seed, permutations.
    known
        All sessions of the run.
    folder
        Where the pictures go; of some of the run's sessions they say how many in their names.
    pictures
        Formats and resolution.

    Returns
    -------
    scores
        ``transfer_velocity_r2`` of every pair.

    Raises
    ------
    DataError
        If the axes of the sessions differ, or a session lacks test trials or velocity.
    """
    from nwb_latents.pipeline.evaluation.decoding.across_sessions import (  # noqa: PLC0415
        SessionStates,
        session_states,
        transfer_scores,
    )
    from nwb_latents.pipeline.evaluation.decoding.decoder import described  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.decoding import draw_transfer  # noqa: PLC0415

    if len(entries) < 2:
        return []

    def of(entry: SessionEntry) -> SessionStates:
        return session_states(opened(entry), settings, states=model.states)

    sessions = [of(entry) for entry in entries]
    subjects = {entry.session: entry.subject for entry in entries}
    scores = []
    for decoder in settings.decoders:
        found = transfer_scores(sessions, settings, run=model.name, decoder=decoder)
        name = path_name(f"{model.name}{described(decoder).suffix}")
        which = of_sessions("transfer", subjects, known=known)
        draw_transfer(folder / f"{name}_{which}.png", found, subjects, pictures=pictures)
        scores += found
    return scores
