"""Decoding of one session: one decoder from training trials, for every signal of the test trials.

Rates, reconstruction and forecast are scored with the same decoder, so that a difference between two
scores is a difference between two signals and not between two regressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.pairing import lag_in_bins, pair_velocity
from pipeline.evaluation.velocity import fit_velocity_decoder, hand_velocity_r2
from schemas.recipe import IngestRecipe
from schemas.results import Score

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    from pipeline.evaluation.ridge import Ridge
    from schemas.decoding import DecodeSettings
    from schemas.results import DecodeSource

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DecodedSignal:
    """Velocity decoded from one signal of the test trials.

    Attributes
    ----------
    score
        Its R².
    first_bin
        Bin of the trial window the signal starts at.
    velocity
        Decoded velocity in cm/s. Shape ``(test trial, bin, axis)``, float64.
    """

    score: Score
    first_bin: int
    velocity: FloatArray


@dataclass(frozen=True)
class SessionDecoder:
    """A decoder with the test trials it is to be scored on.

    Attributes
    ----------
    session, recipe_id
        What it was fitted on.
    lag_ms
        Velocity comes this long after the activity, ms.
    ridge
        Map from rates in Hz to velocity in cm/s.
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
    """

    session: str
    recipe_id: str
    lag_ms: float
    ridge: Ridge
    test: NDArray[np.int64]
    velocity: FloatArray
    time_s: FloatArray
    bin_size_s: float
    axes: tuple[str, ...]
    condition: NDArray[np.object_]
    target_dir: FloatArray

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

        Raises
        ------
        DataError
            If the shape does not fit the test trials, or rates are not finite where they are scored.
        """
        signal = np.asarray(rates, dtype=np.float64)
        where = f"{self.session}, {source}" + (f" of {run}" if run else "")
        if signal.ndim != 3 or first_bin < 0 or first_bin + signal.shape[1] > len(self.time_s):
            msg = (
                f"{where}: shape {signal.shape} from bin {first_bin} on; expected (trial, time, unit) within "
                f"{len(self.time_s)} bins"
            )
            raise DataError(msg)
        velocity = self.velocity[:, first_bin : first_bin + signal.shape[1]]
        try:
            found = hand_velocity_r2(self.ridge, signal, velocity)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        score = Score(
            run=run,
            session=self.session,
            recipe_id=self.recipe_id,
            metric="velocity_r2",
            source=source,
            lag_ms=self.lag_ms,
            value=found.value,
            definition="r2_uniform",
            split="test",
            n_trials=found.n_trials,
            n_samples=found.n_samples,
            alpha=self.ridge.alpha,
            per_axis=found.per_axis,
        )
        return DecodedSignal(score=score, first_bin=first_bin, velocity=self.ridge.predict(signal))


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
    trials: xr.Dataset, continuous: xr.Dataset, settings: DecodeSettings
) -> SessionDecoder:
    """Fit the decoder of a session on the observed rates of its training trials.

    Test trials have no part in it: neither in the coefficients nor in the penalty nor in the scaling.

    Parameters
    ----------
    trials, continuous
        Groups of a trial store (`schemas.store`).
    settings
        Lag, penalties, folds, seed.

    Raises
    ------
    DataError
        If there are no test trials, too few training trials, or no recorded velocity.
    SettingsError
        If the lag is not a whole number of bins.
    """
    session = str(trials.attrs["session"])
    bin_size_s = float(trials.attrs["bin_size_s"])
    split = np.asarray(trials["split"].values, dtype=object)
    train, test = (np.flatnonzero(split == name) for name in ("train", "test"))
    if len(test) == 0:
        counts = ", ".join(f"{int((split == name).sum())} {name}" for name in ("train", "val", "test"))
        msg = (
            f"{session}: no test trials to score ({counts}). Ingest with a share of test trials "
            f"(recipe: split.test), or leave the session out"
        )
        raise DataError(msg)
    paired = pair_velocity(trials, continuous, lag_bins=lag_in_bins(settings.lag_ms, bin_size_s=bin_size_s))
    try:
        ridge = fit_velocity_decoder(
            trials["rates"].values[train],
            paired.velocity[train],
            alphas=settings.alphas,
            folds=settings.folds,
            seed=settings.seed,
        )
    except DataError as error:
        raise DataError(f"{session}: {error}") from error
    return SessionDecoder(
        session=session,
        recipe_id=IngestRecipe.model_validate_json(trials.attrs["recipe"]).recipe_id,
        lag_ms=settings.lag_ms,
        ridge=ridge,
        test=test,
        velocity=paired.velocity[test],
        time_s=np.asarray(trials["time"].values, dtype=np.float64),
        bin_size_s=bin_size_s,
        axes=tuple(str(axis) for axis in trials["axis"].values),
        condition=np.asarray(trials["condition"].values[test], dtype=object),
        target_dir=np.asarray(trials["target_dir"].values[test], dtype=np.float64),
    )


def decode_session(
    trials: xr.Dataset,
    continuous: xr.Dataset,
    settings: DecodeSettings,
    *,
    reconstruction: ArrayLike | None = None,
    forecast: ArrayLike | None = None,
    run: str | None = None,
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
    >>> from schemas.decoding import DecodeSettings
    >>> [score] = decode_session(trials, continuous, DecodeSettings(lag_ms=20.0)).scores
    >>> score.source, score.n_trials, round(score.value, 3)
    ('rates', 5, 1.0)
    """
    decoder = fit_session_decoder(trials, continuous, settings)
    signals = []
    if "rates" in settings.sources:
        signals.append(decoder.decode(trials["rates"].values[decoder.test], source="rates"))
    if reconstruction is not None:
        signals.append(decoder.decode(reconstruction, source="reconstruction", run=run))
    if forecast is not None:
        first = settings.forecast_seen_bins
        signals.append(decoder.decode(forecast, source="forecast", run=run, first_bin=first))
    return Decoded(decoder=decoder, signals=tuple(signals))
