"""Decoding of one session: one decoder from training trials, for every signal of the test trials.

Rates, reconstruction and forecast are scored with the same decoder, so that a difference between two
scores is a difference between two signals and not between two decoders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.decoder import blaming, decoder_of, fitted_by
from nwb_latents.pipeline.evaluation.decoding.history import history_of
from nwb_latents.pipeline.evaluation.decoding.measured import (
    RECORDED_RATES,
    facts_of_decoding,
    velocity_measurement,
)
from nwb_latents.pipeline.evaluation.decoding.velocity import hand_velocity_r2
from nwb_latents.pipeline.evaluation.metrics.permutation import permutation_p_value
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


@dataclass(frozen=True)
class DecodedSignal:
    """Velocity decoded from one signal of the test trials.

    Attributes
    ----------
    score
        Its R².
    first_bin
        First bin of the trial window that was decoded.
    velocity
        Decoded velocity in cm/s; NaN where the decoder lacks bins before. Shape
        ``(test trial, bin, axis)``, float64.
    half_width
        Half width of the band of 90 % around a forecast, cm/s; None where there is none. Shape
        ``(bin, axis)``.
    """

    score: Measurement
    first_bin: int
    velocity: FloatArray
    half_width: FloatArray | None = None


@dataclass(frozen=True)
class SessionDecoder:
    """A decoder with the test trials it is to be scored on.

    Attributes
    ----------
    session
        Session it was fitted on.
    facts
        What measurements say of the session.
    decoder
        Which decoder it is, with its settings and what was chosen on the training trials.
    lag_ms
        Velocity comes this long after the activity, ms.
    fitted
        Map from the rates of the bins it reads, in Hz, to velocity in cm/s.
    history
        The bins it reads.
    test
        Positions of the test trials in the ``trials`` group. Shape ``(n_test,)``, int64.
    velocity
        Recorded velocity of the test trials at the lag, cm/s; NaN where masked.
        Shape ``(n_test, time, axis)``, float64.
    time_s
        Left edge of each neural bin from the event, s. Shape ``(time,)``.
    bin_size_s
        Width of a bin, s.
    axes
        Names of the axes.
    condition
        Condition of each test trial. Shape ``(n_test,)``, object.
    target_dir
        Direction of the target in radians, NaN where there is none. Shape ``(n_test,)``.
    velocity_unit
        Unit of the velocities, ``cm/s`` unless the kinematics are no length.
    n_permutations, seed
        Of the test behind the p-values; 0 permutations: no p-values.
    """

    session: str
    facts: Mapping[str, object]
    decoder: DecoderDescription
    lag_ms: float
    fitted: FittedDecoder
    history: History
    test: NDArray[np.int64]
    velocity: FloatArray
    time_s: FloatArray
    bin_size_s: float
    axes: tuple[str, ...]
    condition: NDArray[np.object_]
    target_dir: FloatArray
    velocity_unit: str = "cm/s"
    n_permutations: int = 0
    seed: int = 0

    @property
    def position_unit(self) -> str:
        """Unit of a displacement."""
        return self.velocity_unit.removesuffix("/s")

    def decode(
        self, rates: ArrayLike, *, source: SignalSource, run: str | None = None, first_bin: int = 0
    ) -> DecodedSignal:
        """Decode a signal of the test trials and score it.

        Parameters
        ----------
        rates
            Hz, finite. Shape ``(n_test, n_bins, unit)``; bin 0 is bin `first_bin` of the trial window.
        source
            What the signal is.
        run
            Run it comes from; none: straight from the data.
        first_bin
            First bin of the window the signal covers.

        Returns
        -------
        decoded
            Of a decoder that reads several bins, the bins of a model's signal that lack bins before are left
            out; of the smoothed rates, those whose bins before the trial were not recorded are not scored.

        Raises
        ------
        DataError
            If the shape does not fit the test trials, or rates are not finite where they are scored.
        """
        where = f"{self.session}, {source}" + (f" of {run}" if run else "")
        signal = checked_signal(rates, first_bin=first_bin, n_bins=len(self.time_s), where=where)
        rows = self.test if source == "rates" and first_bin == 0 and len(signal) == len(self.test) else None
        features, known, cut = self.history.features(signal, rows=rows)
        seen_bins, n_bins, first_bin = first_bin, signal.shape[1], first_bin + cut
        velocity = self.velocity[:, first_bin : first_bin + features.shape[1]]
        try:
            if len(known) == len(velocity):
                velocity = np.where(known[..., None], velocity, np.nan)
            with blaming(self.decoder.name, "cannot predict"):
                found = hand_velocity_r2(self.fitted, features, velocity)
                decoded = self.fitted.predict(features)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        ahead = {"seen_bins": seen_bins, "bins": n_bins} if source == "forecast_decoded" else {}
        score = velocity_measurement(
            "velocity_r2",
            found,
            decoder=self.decoder,
            **self.facts,
            **ahead,
            run=run,
            source=source,
            fitted_on=RECORDED_RATES,
            lag_ms=self.lag_ms,
            split="test",
            p_value=None if found.value is None else self._p_value(velocity, decoded),
        )
        return DecodedSignal(score=score, first_bin=first_bin, velocity=decoded)

    def _p_value(self, velocity: FloatArray, decoded: FloatArray) -> float | None:
        if self.n_permutations == 0:
            return None
        return permutation_p_value(velocity, decoded, n_permutations=self.n_permutations, seed=self.seed)


def checked_signal(rates: ArrayLike, *, first_bin: int, n_bins: int, where: str) -> FloatArray:
    """Return a signal in float64.

    Parameters
    ----------
    rates
        Shape ``(trial, time, unit)``.
    first_bin
        Bin of the window it begins at.
    n_bins
        Bins of the window.
    where
        Named in the error.

    Raises
    ------
    DataError
        If it has another number of dimensions or does not lie within the window.
    """
    signal = np.asarray(rates, dtype=np.float64)
    if signal.ndim != 3 or first_bin < 0 or first_bin + signal.shape[1] > n_bins:
        msg = (
            f"{where}: shape {signal.shape} from bin {first_bin} on; expected (trial, time, unit) within "
            f"{n_bins} bins"
        )
        raise DataError(msg)
    return signal


@dataclass(frozen=True)
class Decoded:
    """A session's decoder and the signals decoded with it."""

    decoder: SessionDecoder
    signals: tuple[DecodedSignal, ...]

    @property
    def scores(self) -> list[Measurement]:
        """The score of each signal."""
        return [signal.score for signal in self.signals]


def fit_session_decoder(
    session: Session, settings: DecodeSettings, *, decoder: str = DEFAULT_DECODER
) -> SessionDecoder:
    """Fit a decoder of a session on the observed rates of its training trials.

    Test trials have no part in it: neither in the coefficients nor in the penalty nor in the scaling.

    Parameters
    ----------
    session
        The session.
    settings
        Lag, folds, seed, settings of the decoders.
    decoder
        Name of the decoder.

    Raises
    ------
    DataError
        If there are no test trials, too few training trials, or no recorded velocity.
    SettingsError
        If the lag is not a whole number of bins, there is no such decoder, or a setting does not fit it.
    """
    chosen, trials = decoder_of(settings, decoder), session.trials
    train, test = train_and_test(session)
    paired = session.velocity(settings.lag_ms)
    history = history_of(session, chosen)
    features, known, cut = history.features(trials["rates"].values[train], rows=train)
    velocity = np.where(known[..., None], paired.velocity[train, cut:], np.nan)
    try:
        fitted = fitted_by(chosen, features, velocity)
    except DataError as error:
        raise DataError(f"{session.name}: {error}") from error
    return SessionDecoder(
        session=session.name,
        facts=facts_of_decoding(session, settings),
        decoder=chosen.describe(fitted),
        lag_ms=settings.lag_ms,
        fitted=fitted,
        history=history,
        test=test,
        velocity=paired.velocity[test],
        time_s=session.time_s,
        bin_size_s=session.bin_size_s,
        axes=session.axes,
        condition=np.asarray(trials["condition"].values[test], dtype=object),
        target_dir=np.asarray(trials["target_dir"].values[test], dtype=np.float64),
        velocity_unit=session.velocity_unit,
        n_permutations=settings.n_permutations,
        seed=settings.seed,
    )


def train_and_test(session: Session) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the training and of the test trials.

    Raises
    ------
    DataError
        If there are no test trials.
    """
    train, test = session.rows("train"), session.rows("test")
    if len(test) == 0:
        counts = ", ".join(f"{len(session.rows(name))} {name}" for name in ("train", "val", "test"))
        msg = (
            f"{session.name}: no test trials to score ({counts}). Ingest with a share of test "
            f"trials (recipe: split.test), or leave the session out"
        )
        raise DataError(msg)
    return train, test


def decode_session(
    session: Session,
    settings: DecodeSettings,
    *,
    reconstruction: ArrayLike | None = None,
    forecast: ArrayLike | None = None,
    run: str | None = None,
    decoder: str = DEFAULT_DECODER,
) -> Decoded:
    """Fit on training trials, score on test trials.

    Parameters
    ----------
    session
        The session.
    settings
        Lag, folds, seed, settings of the decoders; observed rates are scored if ``rates`` is among its
        sources.
    reconstruction
        A model's rates of the test trials, Hz. Shape ``(n_test, time, unit)``.
    forecast
        A model's rates from bin ``forecast.seen_bins`` on, Hz. Shape ``(n_test, n_bins, unit)``.
    run
        Run that made them.
    decoder
        Name of the decoder.

    Returns
    -------
    decoded
        One signal for each source given.

    Raises
    ------
    DataError
        If there are no test trials, too few training trials, no recorded velocity, or a signal does not
        fit the test trials.
    SettingsError
        As for `fit_session_decoder`.

    Examples
    --------
    >>> import xarray as xr
    >>> rng = np.random.default_rng(0)
    >>> rates = rng.gamma(2.0, 5.0, size=(20, 6, 3))
    >>> start = 8 * np.arange(20)
    >>> velocity = np.zeros((160, 2))
    >>> velocity[start[:, None] + np.arange(6) + 1] = rates[..., :2] - rates[..., 2:]
    >>> trials = xr.Dataset(
    ...     {"rates": (("trial", "time", "unit"), rates)},
    ...     coords={"time": 0.02 * np.arange(6), "axis": ["x", "y"], "start_bin": ("trial", start),
    ...             "split": ("trial", ["train"] * 15 + ["test"] * 5), "condition": ("trial", ["a"] * 20),
    ...             "target_dir": ("trial", np.zeros(20))},
    ...     attrs={"session": "sub-A"})
    >>> continuous = xr.Dataset(
    ...     {"velocity": (("time", "axis"), velocity), "observed": ("time", [True] * 160)})
    >>> from nwb_latents.pipeline.stores.session import session_in_memory
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> session = session_in_memory(trials, continuous)
    >>> [score] = decode_session(session, DecodeSettings(lag_ms=20.0)).scores
    >>> score.source, score.n_trials, round(score.value, 3)
    ('rates', 5, 1.0)
    """
    fitted = fit_session_decoder(session, settings, decoder=decoder)
    signals = []
    if "rates" in settings.sources:
        signals.append(fitted.decode(session.trials["rates"].values[fitted.test], source="rates"))
    if reconstruction is not None:
        signals.append(fitted.decode(reconstruction, source="reconstruction", run=run))
    if forecast is not None:
        first = settings.forecast.seen_bins
        signals.append(fitted.decode(forecast, source="forecast_decoded", run=run, first_bin=first))
    return Decoded(decoder=fitted, signals=tuple(signals))
