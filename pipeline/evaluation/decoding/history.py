"""Features of decoders that read several bins: the rates of a bin and of the bins before it.

Bins before the trial window are read from the whole session, where they were recorded. They are not read
where they lie within a trial of another split: what is fitted on training trials never sees a test trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.decoding.decoder import check_bins

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import Decoder
    from nwb_latents.pipeline.stores.session import Session

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]


def with_history(rates: ArrayLike, *, bins: int, before: ArrayLike | None = None) -> FloatArray:
    """Put the rates of the bins before beside those of each bin.

    Parameters
    ----------
    rates
        Shape ``(trial, time, unit)``, in any unit.
    bins
        Bins read, the bin itself included.
    before
        The ``bins - 1`` bins before the first, NaN where not known. Shape ``(trial, bins - 1, unit)``.
        Default: none is known.

    Returns
    -------
    features
        The earliest bin first, the bin itself last. Shape ``(trial, time, bins * unit)``, float64; NaN where
        a bin is not known.

    References
    ----------
    Wiener filter of motor cortex with several bins of history: Carmena et al. 2003, "Learning to control a
    brain-machine interface for reaching and grasping by primates", eq. 1.

    Examples
    --------
    >>> with_history([[[1.0], [2.0], [3.0]]], bins=2, before=[[[0.0]]]).tolist()
    [[[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]]
    >>> with_history([[[1.0], [2.0]]], bins=2).tolist()
    [[[nan, 1.0], [1.0, 2.0]]]
    """
    signal = np.asarray(rates, dtype=np.float64)
    n_trials, n_bins, n_units = signal.shape
    past = np.full((n_trials, bins - 1, n_units), np.nan) if before is None else np.asarray(before)
    whole = np.concatenate([past, signal], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(whole, bins, axis=1)
    features: FloatArray = windows.swapaxes(2, 3).reshape(n_trials, n_bins, bins * n_units)
    return features


def has_history(n_trials: int, n_bins: int, *, bins: int, before: ArrayLike | None = None) -> BoolArray:
    """Return whether all bins that `with_history` puts together are known.

    Parameters
    ----------
    n_trials, n_bins
        Trials and bins of the signal, whose own bins are known.
    bins, before
        As in `with_history`.

    Returns
    -------
    known
        Shape ``(n_trials, n_bins)``.

    Examples
    --------
    >>> has_history(1, 3, bins=2).tolist()
    [[False, True, True]]
    """
    past = np.full((n_trials, bins - 1), np.nan)
    if before is not None:
        past[np.isfinite(np.asarray(before)).all(axis=-1)] = 0.0
    of_bins = with_history(np.zeros((n_trials, n_bins, 1)), bins=bins, before=past[..., None])
    known: BoolArray = np.all(np.isfinite(of_bins), axis=-1)
    return known


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


def history_of(session: Session, decoder: Decoder[Any]) -> History:
    """Return what a decoder reads of a session beside the bin itself.

    Raises
    ------
    SettingsError
        If it reads more bins than a trial has.
    """
    check_bins(decoder, session.n_bins, where=session.name)
    before = session.rates_before(n_bins=decoder.bins - 1) if decoder.bins > 1 else None
    return History(bins=decoder.bins, before=before)
