"""Earlier days of a subject, on which a decoder is fitted that is scored on a day held out.

Nothing of the day held out is looked at by what is fitted: neither its velocity nor, where a run is not
aligned to it, its spikes. Units are the same on two days where their files give them the same ids; whether
one id is one neuron, a channel or the row of a table is the file's doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.decoding.decoder import fitted_by
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import Decoder, FittedDecoder
    from nwb_latents.pipeline.stores.session import Session

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

_SHOWN = 3


@dataclass(frozen=True)
class EarlyDays:
    """Sessions of the same subject on earlier days.

    Attributes
    ----------
    sessions
        At least one, in order of time.
    """

    sessions: tuple[Session, ...]

    @property
    def keys(self) -> dict[str, str]:
        """Session → key of its store."""
        return {session.name: session.store_key for session in self.sessions}

    def why_not_decoded_alike(self, session: Session) -> str:
        """Say why a decoder of these days has no meaning in a session; empty where it has one.

        Parameters
        ----------
        session
            The day held out.
        """
        said = (*session.axes, session.velocity_unit)
        for each in self.sessions:
            if (*each.axes, each.velocity_unit) != said:
                return (
                    f"the velocity of {each.name} has the axes {', '.join(each.axes)} in "
                    f"{each.velocity_unit}, that of {session.name} {', '.join(session.axes)} in "
                    f"{session.velocity_unit}"
                )
        return ""

    def decoder_of_rates(
        self, decoder: Decoder[Any], session: Session, *, lag_ms: float
    ) -> tuple[FittedDecoder, IntArray]:
        """Fit a decoder to recorded rates of train trials of all days, and return of which units it is.

        Parameters
        ----------
        decoder
            Which one; it reads one bin.
        session
            The day held out, of which nothing but the ids of its units is looked at.
        lag_ms
            Velocity comes this long after the activity, ms.

        Raises
        ------
        CannotBeHadError
            If too few units are the same (`shared_units`), or too few trials have a velocity.
        """
        ids = shared_units(self, session)
        return decoder_of_days(decoder, rates_and_velocity(self, ids, lag_ms=lag_ms)), ids


LEAST_SHARED = 0.5
"""Share of a day's units that have to be found on all earlier days if a decoder of rates is to go over."""


def shared_units(early: EarlyDays, session: Session) -> IntArray:
    """Return the ids of the units that a day held out shares with all earlier days.

    Parameters
    ----------
    early
        Earlier days.
    session
        The day held out.

    Returns
    -------
    ids
        Ascending. Shape ``(shared unit,)``.

    Raises
    ------
    CannotBeHadError
        If fewer than `LEAST_SHARED` of its units are shared, or ids are but the rows of tables of different
        lengths, which say nothing of who is who.
    """
    ids = [_ids(each) for each in (*early.sessions, session)]
    rows = all(np.array_equal(each, np.arange(len(each))) for each in ids)
    lengths = sorted({len(each) for each in ids})
    if rows and len(lengths) > 1:
        raise CannotBeHadError(
            f"{session.name} has other units than earlier days: ids are numbered from 0 on in each, and "
            f"there are {', '.join(map(str, lengths))} of them, so that none is known to be found again; "
            "align a run to it"
        )
    shared = ids[0]
    for other in ids[1:]:
        shared = np.intersect1d(shared, other)
    if len(shared) < max(1.0, LEAST_SHARED * len(ids[-1])):
        raise CannotBeHadError(
            f"{session.name} has other units than earlier days: {len(shared)} of its {len(ids[-1])} are "
            "found on all of them; align a run to it"
        )
    return shared


def of_units(values: FloatArray, session: Session, ids: IntArray) -> FloatArray:
    """Return what belongs to the units of these ids, in their order. Shape ``(…, len(ids))``."""
    place = {int(each): number for number, each in enumerate(_ids(session))}
    return values[..., [place[int(each)] for each in ids]]


def _ids(session: Session) -> IntArray:
    return np.asarray(session.trials["unit"].values, dtype=np.int64)


def why_other_units(known: Session, session: Session) -> str:
    """Say how the units of two sessions differ; empty where they have the same ids in the same order.

    Parameters
    ----------
    known
        Session that something was fitted to.
    session
        Session it is to be applied to.
    """
    before, now = _ids(known), _ids(session)
    if np.array_equal(before, now):
        return ""
    lost, new = np.setdiff1d(before, now), np.setdiff1d(now, before)
    differ = [
        f"{len(ids)} {what} ({', '.join(map(str, ids[:_SHOWN]))}{', …' if len(ids) > _SHOWN else ''})"
        for ids, what in ((lost, "are not found again"), (new, "are new"))
        if len(ids)
    ]
    return f"{session.name} has other units than {known.name}: {', '.join(differ) or 'in another order'}"


def rates_and_velocity(
    early: EarlyDays, ids: IntArray, *, lag_ms: float
) -> list[tuple[FloatArray, FloatArray]]:
    """Return recorded smoothed rates and velocity of the training trials of each session.

    Parameters
    ----------
    early
        The sessions.
    ids
        Units, which all of them have. Shape ``(unit,)``.
    lag_ms
        Velocity comes this long after the activity, ms.

    Returns
    -------
    parts
        Rates in Hz, shape ``(trial, time, unit)``, and velocity in cm/s, NaN where not known, shape
        ``(trial, time, axis)``.
    """
    found = []
    for session in early.sessions:
        rows = session.rows("train")
        rates = np.asarray(session.trials["rates"].values[rows], dtype=np.float64)
        found.append((of_units(rates, session, ids), session.velocity(lag_ms).velocity[rows]))
    return found


def decoder_of_days(decoder: Decoder[Any], parts: Iterable[tuple[FloatArray, FloatArray]]) -> FittedDecoder:
    """Fit one decoder to several days.

    Parameters
    ----------
    decoder
        Which one; it reads one bin.
    parts
        Features and velocity of each day, as of `rates_and_velocity`.

    Raises
    ------
    CannotBeHadError
        If fewer trials than folds have a recorded velocity.
    DataError
        If it cannot be fitted.
    """
    features, velocity = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    known = np.isfinite(velocity).all(axis=2)
    n_known = int(np.count_nonzero(np.any(known, axis=1)))
    if n_known < decoder.folds:
        raise CannotBeHadError(f"{n_known} training trials of the earlier days have a recorded velocity")
    return fitted_by(decoder, features, velocity)


@dataclass(frozen=True)
class StatesOfDays:
    """Latent states of the training trials of earlier days, in the space of those of the day held out.

    Attributes
    ----------
    train
        Session → states. Shape ``(trial, time, D)``.
    how
        How the run knows the day held out: ``"aligned to 8 trials"``, ``"read in as …"``.
    """

    train: Mapping[str, FloatArray]
    how: str
