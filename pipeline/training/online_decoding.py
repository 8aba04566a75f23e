"""Rates and hand velocity while a trial runs: one bin of counts in, one bin of rates and velocity out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nwb_latents.models.interface import Streams
from nwb_latents.models.registry import models_that
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.decoder import check_bins, decoder_of, fitted_by
from nwb_latents.pipeline.evaluation.decoding.history import History
from nwb_latents.pipeline.training.feed import hidden_units
from nwb_latents.schemas.online_decoding import StreamSettings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import FittedDecoder
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun


@dataclass(frozen=True)
class StreamedBin:
    """What is known once a bin has passed.

    Attributes
    ----------
    rates
        Hz. Shape ``(unit,)``, float32.
    velocity
        Hand velocity `StreamingDecoder.lag_s` after the bin, cm/s. Shape ``(axis,)``, float64; None
        without a decoder of it, and until there are as many bins as the decoder reads.
    """

    rates: NDArray[np.float32]
    velocity: NDArray[np.float64] | None


class StreamingDecoder:
    """Rates and hand velocity of one session, bin by bin.

    The rates are those `TrainedRun.reconstruct` gives for the whole trial. It computes on the processor: a
    bin is too small for a GPU to be of use.

    Parameters
    ----------
    run
        A run of a model that gives rates bin by bin (ndt with ``context_forward: 0``), trained on counts.
    session
        One of its sessions.
    velocity
        Decoder of the hand velocity from the model's rates in Hz (`fit_streaming_decoder` makes one); None:
        rates only.
    lag_s
        Time by which the decoded velocity comes after the bin, s.
    hidden
        Units the model is not shown, as in its training with ``co_smoothing``. Shape ``(unit,)``, bool.

    Raises
    ------
    DataError
        If the model of the run cannot do this or is not causal, or the run was trained on smoothed rates,
        does not know the session, or was trained with hidden units and `hidden` is not given.
    """

    def __init__(
        self,
        run: TrainedRun,
        session: str,
        *,
        velocity: FittedDecoder | None = None,
        lag_s: float = 0.0,
        hidden: ArrayLike | None = None,
    ) -> None:
        model = run.model
        if not isinstance(model, Streams):
            raise DataError(
                f"Run {run.name}: the model {run.settings.model.name} cannot give the rates of a bin before "
                f"it has seen those after it. Choose a run of {' or '.join(models_that(Streams))} "
                "that looks at no bin ahead."
            )
        if run.settings.signal != "counts":
            raise DataError(
                f"Run {run.name} was trained on smoothed rates: those of a bin change with every bin "
                f"after it, so "
                "they are not known while a trial runs. Train it with --set signal=counts."
            )
        if session not in run.scalings:
            raise DataError(
                f"Run {run.name} was not trained on {session}; it knows {', '.join(run.sessions)}. Choose "
                "one of these."
            )
        if run.settings.co_smoothing and hidden is None:
            raise DataError(f"Run {run.name} was trained with hidden units: say which, as hidden=….")
        self.velocity, self.lag_s = velocity, lag_s
        n_units = len(run.scalings[session].units)
        self._last: deque[NDArray[np.float32]] = deque(
            maxlen=1 if velocity is None else velocity.n_features // n_units
        )
        self._scaling = run.scalings[session]
        self._shown = np.ones(len(self._scaling.units), bool)
        if hidden is not None:
            self._shown &= ~np.asarray(hidden, bool)
        try:
            self._stream = model.stream(session)
        except ValueError as error:
            raise DataError(f"Run {run.name}: a stream needs a causal model: {error}.") from error
        self._dtype = next(model.parameters()).dtype

    def reset(self) -> None:
        """Begin a trial: forget the bins before."""
        self._stream.reset()
        self._last.clear()

    def step(self, counts: ArrayLike) -> StreamedBin:
        """Take the counts of one bin and return its rates and the velocity they stand for.

        Parameters
        ----------
        counts
            Spikes of each unit in the bin; NaN where a unit was not recorded. Shape ``(unit,)``.

        Raises
        ------
        DataError
            If the counts are not of the session's units.
        ValueError
            If the trial has become longer than the model has positions for.
        """
        found = np.asarray(counts, np.float32)
        if found.shape != self._shown.shape:
            raise DataError(
                f"counts of shape {found.shape}; expected one for each of {len(self._shown)} units"
            )
        shown = np.where(self._shown & np.isfinite(found), self._scaling.to_model(found), np.float32(0))
        per_bin = self._stream.step(torch.from_numpy(shown).to(self._dtype)).numpy()
        rates = self._scaling.to_hz(per_bin.astype(np.float32, copy=False))
        self._last.append(rates)
        velocity = None
        if self.velocity is not None and len(self._last) == self._last.maxlen:
            velocity = self.velocity.predict(np.concatenate(self._last)[None])[0]
        return StreamedBin(rates=rates, velocity=velocity)


def fit_streaming_decoder(
    run: TrainedRun, session: Session, settings: StreamSettings | None = None
) -> StreamingDecoder:
    """Return a session's streaming decoder, its velocity fitted to the rates the run gives.

    Parameters
    ----------
    run
        As in `StreamingDecoder`.
    session
        One of its sessions; the decoder is fitted on the model's rates of its training trials.
    settings
        Decoder, lag and folds, or no velocity; None: the defaults, velocity 100 ms after the activity.

    Raises
    ------
    DataError
        As in `StreamingDecoder`, or if no velocity was recorded.
    SettingsError
        If the lag is not a whole number of bins, or there is no such decoder or setting of it.
    """
    settings = settings or StreamSettings()
    hidden = hidden_units(session, run.settings)
    plain = StreamingDecoder(run, session.name, hidden=hidden)
    if not settings.velocity:
        return plain
    decoder = decoder_of(settings, settings.decoder)
    check_bins(decoder, session.n_bins, where=session.name)
    train = session.select(session.rows("train", purpose="the decoder of the velocity"))
    rates = np.asarray(run.reconstruct(train), dtype=np.float64)
    features, known, cut = History(decoder.bins).features(rates)
    velocity = np.where(known[..., None], train.velocity(settings.lag_ms).velocity[:, cut:], np.nan)
    try:
        fitted = fitted_by(decoder, features, velocity)
    except DataError as error:
        raise DataError(f"{session.name}: {error}. Or decode without velocity (--no-velocity).") from error
    lag_s = session.lag_bins(settings.lag_ms) * session.bin_size_s
    return StreamingDecoder(run, session.name, velocity=fitted, lag_s=lag_s, hidden=hidden)
