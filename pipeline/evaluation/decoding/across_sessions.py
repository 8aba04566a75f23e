"""Decoders carried from session to session through the latent states of one run.

A run that models many sessions gives the states of all of them in one space. A decoder from states to hand
velocity, fitted on the training trials of one session or of all others, is applied to the test trials of
another: the R² says how far the same state means the same movement there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.decoder import blaming, check_bins, decoder_of, fitted_by
from nwb_latents.pipeline.evaluation.decoding.history import History
from nwb_latents.pipeline.evaluation.decoding.measured import LATENTS, facts_of_decoding, velocity_measurement
from nwb_latents.pipeline.evaluation.decoding.session_decoder import train_and_test
from nwb_latents.pipeline.evaluation.decoding.velocity import hand_velocity_r2
from nwb_latents.pipeline.evaluation.metrics.permutation import permutation_p_value
from nwb_latents.schemas.decoding import DEFAULT_DECODER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import Decoder, FittedDecoder
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.measurement import Measurement

    FloatArray = NDArray[np.float64]

METRIC = "transfer_velocity_r2"
Relation = Literal["same session", "same subject", "other subject", "all others"]
RELATIONS: tuple[Relation, ...] = ("same session", "same subject", "other subject", "all others")


@dataclass(frozen=True)
class SessionStates:
    """Latent states of a session with the velocity that goes with them.

    Attributes
    ----------
    session
        Id of the session.
    facts
        What measurements say of the session.
    axes
        Name and unit of each axis of the velocity.
    train_states, test_states
        States of the training and of the test trials. Shape ``(trial, time, D)``.
    train_velocity, test_velocity
        Recorded velocity at the lag, cm/s, NaN where it is not known. Shape ``(trial, time, axis)``.
    """

    session: str
    facts: Mapping[str, object]
    axes: tuple[str, ...]
    train_states: FloatArray
    test_states: FloatArray
    train_velocity: FloatArray
    test_velocity: FloatArray


def session_states(
    session: Session,
    settings: DecodeSettings,
    *,
    states: Callable[[Session], ArrayLike],
) -> SessionStates:
    """Pair the states of a session with the hand velocity at the lag.

    Parameters
    ----------
    session
        The session.
    settings
        Lag.
    states
        Function from a session to the states of its trials, shape ``(trial, time, D)``. It is asked for
        training and test trials apart: what a model infers of a session from all trials it is shown sees no
        test trial.

    Raises
    ------
    DataError
        If there are no test trials.
    SettingsError
        If the lag is not a whole number of bins.
    """
    train, test = train_and_test(session)
    velocity = session.velocity(settings.lag_ms).velocity
    of_train, of_test = (np.asarray(states(session.select(rows)), dtype=np.float64) for rows in (train, test))
    return SessionStates(
        session=session.name,
        facts=facts_of_decoding(session, settings),
        axes=tuple(f"{axis} ({session.velocity_unit})" for axis in session.axes),
        train_states=of_train,
        test_states=of_test,
        train_velocity=velocity[train],
        test_velocity=velocity[test],
    )


def transfer_scores(
    sessions: Sequence[SessionStates],
    settings: DecodeSettings,
    *,
    run: str,
    decoder: str = DEFAULT_DECODER,
) -> list[Measurement]:
    """Score the decoder of every session, and that of all others, on the test trials of every session.

    Parameters
    ----------
    sessions
        States of one run in at least two sessions.
    settings
        Folds, seed, lag, settings of the decoders, permutations.
    run
        Name of the run.
    decoder
        Name of the decoder; one that reads several bins leaves out those of a trial that lack bins before.

    Returns
    -------
    scores
        ``transfer_velocity_r2`` (``r2_uniform``) for each session decoded and each session trained on, that
        session itself included; with more than two sessions, one more for all others together.

    Raises
    ------
    DataError
        If there are fewer than two sessions, their axes differ, or one has too few training trials.
    SettingsError
        If there is no such decoder, or it reads more bins than a trial has.
    """
    _check(sessions, run)
    chosen = decoder_of(settings, decoder)
    history = History(bins=chosen.bins)
    for one in sessions:
        check_bins(chosen, one.test_states.shape[1], where=one.session)
    train = [_cut(one.train_states, one.train_velocity, history) for one in sessions]
    test = [_cut(one.test_states, one.test_velocity, history) for one in sessions]
    everyone = range(len(sessions))
    groups: list[tuple[int, ...]] = [(number,) for number in everyone]
    if len(sessions) > 2:
        groups += [tuple(number for number in everyone if number != left_out) for left_out in everyone]
    scores = []
    for group in groups:
        names = tuple(sessions[number].session for number in group)
        fitted = _fit(chosen, [train[number] for number in group], ", ".join(names))
        about = {"run": run, "fitted_sessions": names, "fitted_on": LATENTS}
        decoded = everyone if len(group) == 1 else set(everyone) - set(group)
        scores += [
            _score(chosen, fitted, sessions[number], test=test[number], settings=settings, about=about)
            for number in decoded
        ]
    return scores


def relation(score: Measurement, subjects: Mapping[str, str]) -> Relation:
    """Return how the session decoded stands to those the decoder was fitted on.

    Parameters
    ----------
    score
        Of `transfer_scores`.
    subjects
        Session id → subject.

    Examples
    --------
    >>> from nwb_latents.schemas.measurement import Measurement
    >>> score = Measurement(session="b", fitted_sessions=("a",), recipe_id="r", name=METRIC, value=0.5,
    ...                     source="latents", split="test", n_trials=1)
    >>> relation(score, {"a": "Jenkins", "b": "Nitschke"})
    'other subject'
    """
    if len(score.fitted_sessions) > 1:
        return "all others"
    [fitted_on] = score.fitted_sessions
    if fitted_on == score.session:
        return "same session"
    return "same subject" if subjects[fitted_on] == subjects[score.session] else "other subject"


def mean_by_relation(
    scores: Sequence[Measurement], subjects: Mapping[str, str]
) -> dict[Relation, tuple[float, int]]:
    """Return mean R² and number of scores for each relation of the sessions; those undefined are left out.

    Parameters
    ----------
    scores, subjects
        As in `relation`.

    Examples
    --------
    >>> mean_by_relation([], {})
    {}
    """
    found: dict[Relation, tuple[float, int]] = {}
    for name in RELATIONS:
        values = [s.value for s in scores if s.value is not None and relation(s, subjects) == name]
        if values:
            found[name] = (float(np.mean(values)), len(values))
    return found


def _check(sessions: Sequence[SessionStates], run: str) -> None:
    if len(sessions) < 2:
        msg = (
            f"run {run}: {len(sessions)} session with states, but a decoder is carried from one session to "
            f"another; choose at least two"
        )
        raise DataError(msg)
    first = sessions[0]
    for other in sessions[1:]:
        if other.axes != first.axes:
            msg = (
                f"run {run}: the velocity has the axes {', '.join(first.axes)} in {first.session}, but "
                f"{', '.join(other.axes)} in {other.session}; carry decoders between sessions of equal axes "
                f"only (--session)"
            )
            raise DataError(msg)


def _cut(states: FloatArray, velocity: FloatArray, history: History) -> tuple[FloatArray, FloatArray]:
    features, _, cut = history.features(states)
    return features, velocity[:, cut:]


def _fit(decoder: Decoder[Any], parts: Sequence[tuple[FloatArray, FloatArray]], where: str) -> FittedDecoder:
    features, velocity = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    try:
        return fitted_by(decoder, features, velocity)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _score(
    decoder: Decoder[Any],
    fitted: FittedDecoder,
    session: SessionStates,
    *,
    test: tuple[FloatArray, FloatArray],
    settings: DecodeSettings,
    about: Mapping[str, object],
) -> Measurement:
    features, velocity = test
    try:
        with blaming(decoder.name, "cannot predict"):
            found = hand_velocity_r2(fitted, features, velocity)
    except DataError as error:
        raise DataError(f"{session.session}: {error}") from error
    p_value = None
    if settings.n_permutations and found.value is not None:
        p_value = permutation_p_value(
            velocity, fitted.predict(features), n_permutations=settings.n_permutations, seed=settings.seed
        )
    return velocity_measurement(
        METRIC,
        found,
        decoder=decoder.describe(fitted),
        **about,
        **session.facts,
        source="latents",
        split="test",
        lag_ms=settings.lag_ms,
        p_value=p_value,
    )
