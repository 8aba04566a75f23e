"""Decoders carried from session to session through the latent states of one run.

A run that models many sessions gives the states of all of them in one space. A decoder from states to hand
velocity, fitted on the training trials of one session or of all others, is applied to the test trials of
another: the R² says how far the same state means the same movement there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.history import check_history
from nwb_latents.pipeline.evaluation.decoding.session_decoder import History, train_and_test
from nwb_latents.pipeline.evaluation.decoding.velocity import fit_velocity_decoder, hand_velocity_r2
from nwb_latents.pipeline.evaluation.metrics.permutation import permutation_p_value
from nwb_latents.pipeline.evaluation.pairing import lag_in_bins, pair_velocity
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.results import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.decoding.ridge import Ridge
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.results import DecoderName

    FloatArray = NDArray[np.float64]

METRIC = "transfer_velocity_r2"
Relation = Literal["same session", "same subject", "other subject", "all others"]
RELATIONS: tuple[Relation, ...] = ("same session", "same subject", "other subject", "all others")


@dataclass(frozen=True)
class SessionStates:
    """Latent states of a session with the velocity that goes with them.

    Attributes
    ----------
    session, subject, recipe_id
        Whose they are.
    axes
        Name and unit of each axis of the velocity.
    train_states, test_states
        States of the training and of the test trials. Shape ``(trial, time, D)``.
    train_velocity, test_velocity
        Recorded velocity at the lag, cm/s, NaN where it is not known. Shape ``(trial, time, axis)``.
    """

    session: str
    subject: str
    recipe_id: str
    axes: tuple[str, ...]
    train_states: FloatArray
    test_states: FloatArray
    train_velocity: FloatArray
    test_velocity: FloatArray


def session_states(
    trials: xr.Dataset,
    continuous: xr.Dataset,
    settings: DecodeSettings,
    *,
    subject: str,
    states: Callable[[xr.Dataset], ArrayLike],
) -> SessionStates:
    """Pair the states of a session with the hand velocity at the lag.

    Parameters
    ----------
    trials, continuous
        Groups of a trial store (`schemas.store`).
    settings
        Lag.
    subject
        Subject of the session.
    states
        Function from trials to their states, shape ``(trial, time, D)``. It is asked for training and test
        trials apart: what a model infers of a session from all trials it is shown sees no test trial.

    Raises
    ------
    DataError
        If there are no test trials.
    SettingsError
        If the lag is not a whole number of bins.
    """
    train, test = train_and_test(trials)
    lag_bins = lag_in_bins(settings.lag_ms, bin_size_s=float(trials.attrs["bin_size_s"]))
    velocity = pair_velocity(trials, continuous, lag_bins=lag_bins).velocity
    unit = str(continuous["velocity"].attrs.get("units", "cm/s"))
    of_train, of_test = (
        np.asarray(states(trials.isel(trial=rows)), dtype=np.float64) for rows in (train, test)
    )
    return SessionStates(
        session=str(trials.attrs["session"]),
        subject=subject,
        recipe_id=IngestRecipe.model_validate_json(trials.attrs["recipe"]).recipe_id,
        axes=tuple(f"{axis} ({unit})" for axis in trials["axis"].values),
        train_states=of_train,
        test_states=of_test,
        train_velocity=velocity[train],
        test_velocity=velocity[test],
    )


def transfer_scores(
    sessions: Sequence[SessionStates], settings: DecodeSettings, *, run: str, decoder: DecoderName = "ridge"
) -> list[Score]:
    """Score the decoder of every session, and that of all others, on the test trials of every session.

    Parameters
    ----------
    sessions
        States of one run in at least two sessions.
    settings
        Penalties, folds, seed, lag, bins of history, permutations.
    run
        Name of the run.
    decoder
        Which decoder; the Wiener decoder leaves out the first ``history_bins − 1`` bins of each trial.

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
        If the history is longer than the trials.
    """
    _check(sessions, run)
    history = History(bins=settings.history_bins if decoder == "wiener" else 1)
    for one in sessions:
        check_history(history.bins, one.test_states.shape[1], where=one.session)
    train = [_cut(one.train_states, one.train_velocity, history) for one in sessions]
    test = [_cut(one.test_states, one.test_velocity, history) for one in sessions]
    everyone = range(len(sessions))
    groups: list[tuple[int, ...]] = [(number,) for number in everyone]
    if len(sessions) > 2:
        groups += [tuple(number for number in everyone if number != left_out) for left_out in everyone]
    scores = []
    for group in groups:
        names = tuple(sessions[number].session for number in group)
        fit = _fit([train[number] for number in group], settings, ", ".join(names))
        about = {"run": run, "decoder": decoder, "trained_on": names}
        decoded = everyone if len(group) == 1 else set(everyone) - set(group)
        scores += [_score(fit, sessions[number], test[number], settings, about=about) for number in decoded]
    return scores


def relation(score: Score, subjects: Mapping[str, str]) -> Relation:
    """Return how the session decoded stands to those the decoder was fitted on.

    Parameters
    ----------
    score
        Of `transfer_scores`.
    subjects
        Session id → subject.

    Examples
    --------
    >>> score = Score(session="b", trained_on=("a",), recipe_id="r", metric=METRIC, source="latents",
    ...               lag_ms=0, value=0.5, definition="r2_uniform", split="test", n_trials=1, n_samples=1,
    ...               alpha=1)
    >>> relation(score, {"a": "Jenkins", "b": "Nitschke"})
    'other subject'
    """
    if len(score.trained_on) > 1:
        return "all others"
    [trained_on] = score.trained_on
    if trained_on == score.session:
        return "same session"
    return "same subject" if subjects[trained_on] == subjects[score.session] else "other subject"


def mean_by_relation(
    scores: Sequence[Score], subjects: Mapping[str, str]
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


def _fit(parts: Sequence[tuple[FloatArray, FloatArray]], settings: DecodeSettings, where: str) -> Ridge:
    features, velocity = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    try:
        return fit_velocity_decoder(
            features, velocity, alphas=settings.alphas, folds=settings.folds, seed=settings.seed
        )
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _score(
    ridge: Ridge,
    session: SessionStates,
    test: tuple[FloatArray, FloatArray],
    settings: DecodeSettings,
    *,
    about: Mapping[str, object],
) -> Score:
    features, velocity = test
    try:
        found = hand_velocity_r2(ridge, features, velocity)
    except DataError as error:
        raise DataError(f"{session.session}: {error}") from error
    p_value = None
    if settings.n_permutations and found.value is not None:
        p_value = permutation_p_value(
            velocity, ridge.predict(features), n_permutations=settings.n_permutations, seed=settings.seed
        )
    measured = {
        "session": session.session,
        "recipe_id": session.recipe_id,
        "metric": METRIC,
        "source": "latents",
        "lag_ms": settings.lag_ms,
        "value": found.value,
        "definition": "r2_uniform",
        "split": "test",
        "n_trials": found.n_trials,
        "n_samples": found.n_samples,
        "alpha": ridge.alpha,
        "per_axis": found.per_axis,
        "p_value": p_value,
    }
    return Score.model_validate({**about, **measured})
