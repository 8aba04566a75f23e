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


def why_other_units(known: Session, session: Session) -> str:
    """Say how the units of two sessions differ; empty where they have the same ids in the same order.

    Parameters
    ----------
    known
        Session that something was fitted to.
    session
        Session it is to be applied to.
    """
    before, now = (each.trials["unit"].values.astype(np.int64) for each in (known, session))
    if np.array_equal(before, now):
        return ""
    lost, new = np.setdiff1d(before, now), np.setdiff1d(now, before)
    differ = [
        f"{len(ids)} {what} ({', '.join(map(str, ids[:_SHOWN]))}{', …' if len(ids) > _SHOWN else ''})"
        for ids, what in ((lost, "are not found again"), (new, "are new"))
        if len(ids)
    ]
    return f"{session.name} has other units than {known.name}: {', '.join(differ) or 'in another order'}"


def rates_and_velocity(early: EarlyDays, *, lag_ms: float) -> list[tuple[FloatArray, FloatArray]]:
    """Return recorded smoothed rates and velocity of the training trials of each session.

    Parameters
    ----------
    early
        The sessions.
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
        found.append((rates, session.velocity(lag_ms).velocity[rows]))
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
