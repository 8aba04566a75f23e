"""Decoding of one session: one decoder from training trials, for every signal of the test trials.

Rates, reconstruction and forecast are scored with the same decoder, so that a difference between two
scores is a difference between two signals and not between two regressions. The ridge decoder reads one
bin, the Wiener decoder that bin and the ones before it; both are the same regression otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.history import (
    check_history,
    has_history,
    rates_before,
    with_history,
)
from nwb_latents.pipeline.evaluation.decoding.velocity import fit_velocity_decoder, hand_velocity_r2
from nwb_latents.pipeline.evaluation.metrics.permutation import permutation_p_value
from nwb_latents.pipeline.evaluation.pairing import lag_in_bins, pair_velocity
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.results import Score

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.decoding.ridge import Ridge
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.results import DecoderName, DecodeSource

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]


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
    """

    score: Score
    first_bin: int
    velocity: FloatArray


@dataclass(frozen=True)
class History:
    """What a decoder reads beside the bin itself.

    Attributes
    ----------
    bins
        Bins it reads, the bin itself included; 1: no other.
    before
        Smoothed rates of the bins before each trial, Hz, NaN where not known. Shape
        ``(trial, bins - 1, unit)``; None where there are none for any trial.
    """

    bins: int
    before: FloatArray | None = None

    def features(
        self, rates: FloatArray, *, rows: NDArray[np.int64] | None = None
    ) -> tuple[FloatArray, BoolArray, int]:
        """Return what the decoder reads.

        Parameters
        ----------
        rates
            Shape ``(trial, time, unit)``.
        rows
            Trials of `before` that go with these; None: what came before is not known.

        Returns
        -------
        features, known, cut
            Features, shape ``(trial, time - cut, bins * unit)``; whether the bins before are known, shape
            ``(trial, time - cut)``; bins left out at the beginning, where no trial has them.
        """
        before = None if rows is None or self.before is None else self.before[rows]
        cut = 0 if before is not None and np.isfinite(before).any() else self.bins - 1
        features = with_history(rates, bins=self.bins, before=before)
        known = has_history(*rates.shape[:2], bins=self.bins, before=before)
        return features[:, cut:], known[:, cut:], cut


@dataclass(frozen=True)
class SessionDecoder:
    """A decoder with the test trials it is to be scored on.

    Attributes
    ----------
    session, recipe_id
        What it was fitted on.
    name
        Which decoder it is.
    lag_ms
        Velocity comes this long after the activity, ms.
    ridge
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
    n_permutations, seed
        Of the test behind the p-values; 0 permutations: no p-values.
    """

    session: str
    recipe_id: str
    name: DecoderName
    lag_ms: float
    ridge: Ridge
    history: History
    test: NDArray[np.int64]
    velocity: FloatArray
    time_s: FloatArray
    bin_size_s: float
    axes: tuple[str, ...]
    condition: NDArray[np.object_]
    target_dir: FloatArray
    n_permutations: int = 0
    seed: int = 0

    def decode(
        self, rates: ArrayLike, *, source: DecodeSource, run: str | None = None, first_bin: int = 0
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
            Of the Wiener decoder, the bins of a model's signal that lack bins before are left out; of the
            smoothed rates, those whose bins before the trial were not recorded are not scored.

        Raises
        ------
        DataError
            If the shape does not fit the test trials, or rates are not finite where they are scored.
        """
        where = f"{self.session}, {source}" + (f" of {run}" if run else "")
        signal = checked_signal(rates, first_bin=first_bin, n_bins=len(self.time_s), where=where)
        rows = self.test if source == "rates" and first_bin == 0 and len(signal) == len(self.test) else None
        features, known, cut = self.history.features(signal, rows=rows)
        first_bin += cut
        velocity = self.velocity[:, first_bin : first_bin + features.shape[1]]
        try:
            if len(known) == len(velocity):
                velocity = np.where(known[..., None], velocity, np.nan)
            found = hand_velocity_r2(self.ridge, features, velocity)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        decoded = self.ridge.predict(features)
        score = Score(
            run=run,
            session=self.session,
            recipe_id=self.recipe_id,
            metric="velocity_r2",
            source=source,
            decoder=self.name,
            lag_ms=self.lag_ms,
            value=found.value,
            definition="r2_uniform",
            split="test",
            n_trials=found.n_trials,
            n_samples=found.n_samples,
            alpha=self.ridge.alpha,
            per_axis=found.per_axis,
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
    def scores(self) -> list[Score]:
        """The score of each signal."""
        return [signal.score for signal in self.signals]


def fit_session_decoder(
    trials: xr.Dataset, continuous: xr.Dataset, settings: DecodeSettings, *, decoder: DecoderName = "ridge"
) -> SessionDecoder:
    """Fit a decoder of a session on the observed rates of its training trials.

    Test trials have no part in it: neither in the coefficients nor in the penalty nor in the scaling.

    Parameters
    ----------
    trials, continuous
        Groups of a trial store (`schemas.store`).
    settings
        Lag, penalties, folds, seed, bins of history.
    decoder
        Which decoder.

    Raises
    ------
    DataError
        If there are no test trials, too few training trials, or no recorded velocity.
    SettingsError
        If the lag is not a whole number of bins.
    """
    session = str(trials.attrs["session"])
    bin_size_s = float(trials.attrs["bin_size_s"])
    train, test = train_and_test(trials)
    paired = pair_velocity(trials, continuous, lag_bins=lag_in_bins(settings.lag_ms, bin_size_s=bin_size_s))
    history = history_of(trials, continuous, settings, decoder=decoder)
    features, known, cut = history.features(trials["rates"].values[train], rows=train)
    velocity = np.where(known[..., None], paired.velocity[train, cut:], np.nan)
    try:
        ridge = fit_velocity_decoder(
            features, velocity, alphas=settings.alphas, folds=settings.folds, seed=settings.seed
        )
    except DataError as error:
        raise DataError(f"{session}: {error}") from error
    return SessionDecoder(
        session=session,
        recipe_id=IngestRecipe.model_validate_json(trials.attrs["recipe"]).recipe_id,
        name=decoder,
        lag_ms=settings.lag_ms,
        ridge=ridge,
        history=history,
        test=test,
        velocity=paired.velocity[test],
        time_s=np.asarray(trials["time"].values, dtype=np.float64),
        bin_size_s=bin_size_s,
        axes=tuple(str(axis) for axis in trials["axis"].values),
        condition=np.asarray(trials["condition"].values[test], dtype=object),
        target_dir=np.asarray(trials["target_dir"].values[test], dtype=np.float64),
        n_permutations=settings.n_permutations,
        seed=settings.seed,
    )


def train_and_test(trials: xr.Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the training and of the test trials.

    Raises
    ------
    DataError
        If there are no test trials.
    """
    split = np.asarray(trials["split"].values, dtype=object)
    train, test = (np.flatnonzero(split == name) for name in ("train", "test"))
    if len(test) == 0:
        counts = ", ".join(f"{int((split == name).sum())} {name}" for name in ("train", "val", "test"))
        msg = (
            f"{trials.attrs['session']}: no test trials to score ({counts}). Ingest with a share of test "
            f"trials (recipe: split.test), or leave the session out"
        )
        raise DataError(msg)
    return train, test


def history_of(
    trials: xr.Dataset, continuous: xr.Dataset, settings: DecodeSettings, *, decoder: DecoderName
) -> History:
    """Return what a decoder reads beside the bin itself.

    Raises
    ------
    SettingsError
        If the history is longer than the trials.
    """
    if decoder == "ridge":
        return History(bins=1)
    check_history(settings.history_bins, trials.sizes["time"], where=str(trials.attrs["session"]))
    before = rates_before(trials, continuous, n_bins=settings.history_bins - 1)
    return History(bins=settings.history_bins, before=before)


def decode_session(
    trials: xr.Dataset,
    continuous: xr.Dataset,
    settings: DecodeSettings,
    *,
    reconstruction: ArrayLike | None = None,
    forecast: ArrayLike | None = None,
    run: str | None = None,
    decoder: DecoderName = "ridge",
) -> Decoded:
    """Fit on training trials, score on test trials.

    Parameters
    ----------
    trials, continuous
        Groups of a trial store (`schemas.store`).
    settings
        Lag, penalties, folds, seed; observed rates are scored if ``rates`` is among its sources.
    reconstruction
        A model's rates of the test trials, Hz. Shape ``(n_test, time, unit)``.
    forecast
        A model's rates from bin ``forecast_seen_bins`` on, Hz. Shape ``(n_test, n_bins, unit)``.
    run
        Run that made them.
    decoder
        Which decoder.

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
        If the lag is not a whole number of bins.

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
    ...     attrs={"session": "sub-A", "bin_size_s": 0.02, "recipe": IngestRecipe().model_dump_json()})
    >>> continuous = xr.Dataset(
    ...     {"velocity": (("time", "axis"), velocity), "observed": ("time", [True] * 160)})
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> [score] = decode_session(trials, continuous, DecodeSettings(lag_ms=20.0)).scores
    >>> score.source, score.n_trials, round(score.value, 3)
    ('rates', 5, 1.0)
    """
    fitted = fit_session_decoder(trials, continuous, settings, decoder=decoder)
    signals = []
    if "rates" in settings.sources:
        signals.append(fitted.decode(trials["rates"].values[fitted.test], source="rates"))
    if reconstruction is not None:
        signals.append(fitted.decode(reconstruction, source="reconstruction", run=run))
    if forecast is not None:
        first = settings.forecast_seen_bins
        signals.append(fitted.decode(forecast, source="forecast", run=run, first_bin=first))
    return Decoded(decoder=fitted, signals=tuple(signals))
