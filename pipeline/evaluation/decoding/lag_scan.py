"""How long after the activity the hand moves: one decoder for each of several lags, compared on equal bins.

A bin counts only where the velocity is known at every lag, in the fit and in the score, so that two lags
differ in the lag alone. The lag is chosen on training trials, by cross-validation; the test trials are
scored at every lag and choose nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.decoder import blaming, decoder_of, fitted_by_each
from nwb_latents.pipeline.evaluation.decoding.history import history_of
from nwb_latents.pipeline.evaluation.decoding.measured import (
    RECORDED_RATES,
    facts_of_decoding,
    velocity_measurement,
)
from nwb_latents.pipeline.evaluation.decoding.session_decoder import checked_signal, train_and_test
from nwb_latents.pipeline.evaluation.decoding.velocity import VelocityR2, hand_velocity_r2
from nwb_latents.schemas.decoding import DEFAULT_DECODER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import DecoderDescription, FittedDecoder
    from nwb_latents.pipeline.evaluation.decoding.history import History
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.decoding import DecodeSettings, SignalSource
    from nwb_latents.schemas.measurement import Measurement

    FloatArray = NDArray[np.float64]

TEST_METRIC = "lag_scan_velocity_r2"
TRAINING_METRIC = "lag_scan_cv_velocity_r2"


@dataclass(frozen=True)
class LagScan:
    """Decoders of one session at several lags, with the test trials they are to be scored on.

    Attributes
    ----------
    session
        Session they were fitted on.
    facts
        What measurements say of the session.
    lags_ms
        Lags, ascending.
    decoders
        Decoder of each lag, with its settings and what was chosen on the training trials.
    fitted
        Decoder of each lag, fitted.
    cv_r2
        Cross-validated R² of the training trials at each lag.
    history
        The bins they read.
    test
        Positions of the test trials. Shape ``(n_test,)``.
    velocity
        Recorded velocity of the test trials at each lag, cm/s; NaN where it is not known at every lag.
        Shape ``(lag, n_test, time, axis)``.
    n_trials, n_samples
        Training trials and bins the decoders were fitted on.
    """

    session: str
    facts: Mapping[str, object]
    lags_ms: tuple[float, ...]
    decoders: tuple[DecoderDescription, ...]
    fitted: tuple[FittedDecoder, ...]
    cv_r2: tuple[float, ...]
    history: History
    test: NDArray[np.int64]
    velocity: FloatArray
    n_trials: int
    n_samples: int

    @property
    def decoder(self) -> DecoderDescription:
        """Which decoder it is."""
        return self.decoders[0]

    @property
    def best_lag_ms(self) -> float:
        """Lag with the highest cross-validated R² of the training trials; of equals, the smallest."""
        return self.lags_ms[int(np.argmax(self.cv_r2))]

    def training_scores(self) -> list[Measurement]:
        """Return the cross-validated R² of each lag as scores of the training trials."""
        return [
            self._score(
                TRAINING_METRIC,
                lag,
                VelocityR2(value, (), self.n_trials, self.n_samples),
                source="rates",
                split="train",
            )
            for lag, value in enumerate(self.cv_r2)
        ]

    def decode(
        self, rates: ArrayLike, *, source: SignalSource, run: str | None = None, first_bin: int = 0
    ) -> list[Measurement]:
        """Score a signal of the test trials at every lag.

        Parameters
        ----------
        rates, source, run, first_bin
            As in `pipeline.evaluation.decoding.session_decoder.SessionDecoder.decode`.

        Returns
        -------
        scores
            One for each lag, without p-values.

        Raises
        ------
        DataError
            If the shape does not fit the test trials, no bin is known at every lag, or rates are not finite
            where they are scored.
        """
        where = f"{self.session}, {source}" + (f" of {run}" if run else "")
        signal = checked_signal(rates, first_bin=first_bin, n_bins=self.velocity.shape[2], where=where)
        rows = self.test if source == "rates" and first_bin == 0 and len(signal) == len(self.test) else None
        features, known, cut = self.history.features(signal, rows=rows)
        ahead = {"seen_bins": first_bin, "bins": signal.shape[1]} if source == "forecast_decoded" else {}
        first_bin += cut
        scores = []
        for lag, (fitted, at_lag) in enumerate(zip(self.fitted, self.velocity, strict=True)):
            velocity = at_lag[:, first_bin : first_bin + features.shape[1]]
            try:
                if len(known) == len(velocity):
                    velocity = np.where(known[..., None], velocity, np.nan)
                with blaming(self.decoder.name, "cannot predict"):
                    found = hand_velocity_r2(fitted, features, velocity)
            except DataError as error:
                raise DataError(f"{where}, {self.lags_ms[lag]:g} ms: {error}") from error
            about = {"run": run, "source": source, "split": "test", **ahead}
            scores.append(self._score(TEST_METRIC, lag, found, **about))
        return scores

    def _score(self, name: str, lag: int, found: VelocityR2, **about: object) -> Measurement:
        return velocity_measurement(
            name,
            found,
            decoder=self.decoders[lag],
            **self.facts,
            **about,
            fitted_on=RECORDED_RATES,
            lag_ms=self.lags_ms[lag],
        )


def scan_lags(session: Session, settings: DecodeSettings, *, decoder: str = DEFAULT_DECODER) -> LagScan:
    """Fit the decoder of a session at every lag of ``lag_scan_ms``.

    Parameters
    ----------
    session
        The session.
    settings
        Lags, folds, seed, settings of the decoders.
    decoder
        Name of the decoder.

    Raises
    ------
    DataError
        If there are no test trials, or too few training trials with a velocity at every lag.
    SettingsError
        If a lag is not a whole number of bins, there is no such decoder, or it reads more bins than a trial
        has.

    References
    ----------
    Moran and Schwartz 1999, "Motor cortical representation of speed and direction during reaching": lag of
    the hand behind the activity as the one that fits best.
    """
    chosen = decoder_of(settings, decoder)
    train, test = train_and_test(session)
    paired = [session.velocity(lag) for lag in settings.lag_scan_ms]
    at_every_lag = np.logical_and.reduce([one.valid for one in paired])
    velocity = np.stack([np.where(at_every_lag[..., None], one.velocity, np.nan) for one in paired])
    history = history_of(session, chosen)
    features, known, cut = history.features(session.trials["rates"].values[train], rows=train)
    counts = known & at_every_lag[train, cut:]
    targets = [np.where(counts[..., None], of_lag[train, cut:], np.nan) for of_lag in velocity]
    try:
        fitted = fitted_by_each(chosen, features, targets)
        found = zip(targets, fitted, strict=True)
        with blaming(chosen.name, "cannot be cross-validated"):
            cv_r2 = tuple(chosen.training_r2(features, target, one) for target, one in found)
    except DataError as error:
        raise DataError(f"{session.name}, lags compared: {error}") from error
    return LagScan(
        session=session.name,
        facts=facts_of_decoding(session, settings),
        lags_ms=settings.lag_scan_ms,
        decoders=tuple(chosen.describe(one) for one in fitted),
        fitted=fitted,
        cv_r2=cv_r2,
        history=history,
        test=test,
        velocity=velocity[:, test],
        n_trials=int(counts.any(axis=1).sum()),
        n_samples=int(counts.sum()),
    )
