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
from nwb_latents.pipeline.evaluation.decoding.session_decoder import (
    History,
    checked_signal,
    history_of,
    train_and_test,
)
from nwb_latents.pipeline.evaluation.decoding.velocity import fit_velocity_decoders, hand_velocity_r2
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

TEST_METRIC = "lag_scan_velocity_r2"
TRAINING_METRIC = "lag_scan_cv_velocity_r2"


@dataclass(frozen=True)
class LagScan:
    """Decoders of one session at several lags, with the test trials they are to be scored on.

    Attributes
    ----------
    session, recipe_id
        What they were fitted on.
    name
        Which decoder it is.
    lags_ms
        Lags, ascending.
    ridges
        Decoder of each lag.
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
    recipe_id: str
    name: DecoderName
    lags_ms: tuple[float, ...]
    ridges: tuple[Ridge, ...]
    history: History
    test: NDArray[np.int64]
    velocity: FloatArray
    n_trials: int
    n_samples: int

    @property
    def cv_r2(self) -> tuple[float, ...]:
        """Cross-validated R² of the training trials at each lag, with the penalty chosen there."""
        return tuple(max(ridge.cv_r2) for ridge in self.ridges)

    @property
    def best_lag_ms(self) -> float:
        """Lag with the highest cross-validated R² of the training trials; of equals, the smallest."""
        return self.lags_ms[int(np.argmax(self.cv_r2))]

    def training_scores(self) -> list[Score]:
        """Return the cross-validated R² of each lag as scores of the training trials."""
        return [
            self._score(
                lag,
                metric=TRAINING_METRIC,
                value=value,
                source="rates",
                split="train",
                n_trials=self.n_trials,
                n_samples=self.n_samples,
            )
            for lag, value in enumerate(self.cv_r2)
        ]

    def decode(
        self, rates: ArrayLike, *, source: DecodeSource, run: str | None = None, first_bin: int = 0
    ) -> list[Score]:
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
        first_bin += cut
        scores = []
        for lag, (ridge, at_lag) in enumerate(zip(self.ridges, self.velocity, strict=True)):
            velocity = at_lag[:, first_bin : first_bin + features.shape[1]]
            try:
                if len(known) == len(velocity):
                    velocity = np.where(known[..., None], velocity, np.nan)
                found = hand_velocity_r2(ridge, features, velocity)
            except DataError as error:
                raise DataError(f"{where}, {self.lags_ms[lag]:g} ms: {error}") from error
            scores.append(
                self._score(
                    lag,
                    metric=TEST_METRIC,
                    run=run,
                    source=source,
                    split="test",
                    value=found.value,
                    per_axis=found.per_axis,
                    n_trials=found.n_trials,
                    n_samples=found.n_samples,
                )
            )
        return scores

    def _score(self, lag: int, **fields: object) -> Score:
        about = {
            "run": None,
            "session": self.session,
            "recipe_id": self.recipe_id,
            "decoder": self.name,
            "lag_ms": self.lags_ms[lag],
            "definition": "r2_uniform",
            "alpha": self.ridges[lag].alpha,
        }
        return Score.model_validate({**about, **fields})


def scan_lags(
    trials: xr.Dataset, continuous: xr.Dataset, settings: DecodeSettings, *, decoder: DecoderName = "ridge"
) -> LagScan:
    """Fit the decoder of a session at every lag of ``lag_scan_ms``.

    Parameters
    ----------
    trials, continuous
        Groups of a trial store (`schemas.store`).
    settings
        Lags, penalties, folds, seed, bins of history.
    decoder
        Which decoder.

    Raises
    ------
    DataError
        If there are no test trials, or too few training trials with a velocity at every lag.
    SettingsError
        If a lag is not a whole number of bins, or the history is longer than the trials.

    References
    ----------
    Moran and Schwartz 1999, "Motor cortical representation of speed and direction during reaching": lag of
    the hand behind the activity as the one that fits best.
    """
    session = str(trials.attrs["session"])
    bin_size_s = float(trials.attrs["bin_size_s"])
    train, test = train_and_test(trials)
    paired = [
        pair_velocity(trials, continuous, lag_bins=lag_in_bins(lag, bin_size_s=bin_size_s))
        for lag in settings.lag_scan_ms
    ]
    at_every_lag = np.logical_and.reduce([one.valid for one in paired])
    velocity = np.stack([np.where(at_every_lag[..., None], one.velocity, np.nan) for one in paired])
    history = history_of(trials, continuous, settings, decoder=decoder)
    features, known, cut = history.features(trials["rates"].values[train], rows=train)
    counts = known & at_every_lag[train, cut:]
    try:
        ridges = fit_velocity_decoders(
            features,
            [np.where(counts[..., None], of_lag[train, cut:], np.nan) for of_lag in velocity],
            alphas=settings.alphas,
            folds=settings.folds,
            seed=settings.seed,
        )
    except DataError as error:
        raise DataError(f"{session}, lags compared: {error}") from error
    return LagScan(
        session=session,
        recipe_id=IngestRecipe.model_validate_json(trials.attrs["recipe"]).recipe_id,
        name=decoder,
        lags_ms=settings.lag_scan_ms,
        ridges=ridges,
        history=history,
        test=test,
        velocity=velocity[:, test],
        n_trials=int(counts.any(axis=1).sum()),
        n_samples=int(counts.sum()),
    )
