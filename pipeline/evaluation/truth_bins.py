"""What is known of a simulated session at all times, in the bins of its trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.sources.simulator.truth import Truth

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class TrueSignal:
    """Values over a session, such as true rates or states, and their integral from its start.

    Attributes
    ----------
    session
        Session id.
    time_s
        Times the values are known at. Shape ``(n_times,)``.
    values
        Shape ``(n_times, k)``.
    integral
        Integral up to each time. Shape ``(n_times, k)``.
    is_constant
        Whether a value holds until the next, as in the bins of a system; else it is linear in between.
    """

    session: str
    time_s: FloatArray
    values: FloatArray
    integral: FloatArray
    is_constant: bool

    @classmethod
    def of(cls, truth: Truth, values: ArrayLike) -> TrueSignal:
        """Take values known at ``truth.latent_time_s``. Shape ``(n_times, k)``."""
        time, known = truth.latent_time_s, np.asarray(values, dtype=np.float64)
        is_constant = truth.system is not None
        between = known[:-1] if is_constant else 0.5 * (known[:-1] + known[1:])
        integral = np.zeros_like(known)
        np.cumsum(between * np.diff(time)[:, None], axis=0, out=integral[1:])
        return cls(truth.session, time, known, integral, is_constant)

    def means(self, start_s: ArrayLike, *, bin_size_s: float, n_bins: int, n_ahead: int = 0) -> FloatArray:
        """Return the mean of each bin.

        Parameters
        ----------
        start_s
            Start of each window, s. Shape ``(trial,)``.
        bin_size_s
            Width of a bin, s.
        n_bins, n_ahead
            Bins of the window and after it.

        Returns
        -------
        means
            Bins after the session's end have the last values. Shape ``(trial, n_bins + n_ahead, k)``.

        Raises
        ------
        DataError
            If a window, without the bins after it, is not within the session.
        """
        start = np.asarray(start_s, dtype=np.float64)
        end = start + n_bins * bin_size_s
        last = self.time_s[-1] + (self.time_s[-1] - self.time_s[-2] if self.is_constant else 0.0)
        outside = int(((start < self.time_s[0] - _ROUNDING_S) | (end > last + _ROUNDING_S)).sum())
        if outside:
            raise DataError(
                f"{self.session}: {outside} of {len(start)} windows are not within the truth, "
                f"{self.time_s[0]:g} to {last:g} s. The store is not of this simulation: ingest the session "
                "again."
            )
        edges = start[:, None] + np.arange(n_bins + n_ahead + 1) * bin_size_s
        means: FloatArray = np.diff(self._before(edges), axis=1) / bin_size_s
        return means

    def _before(self, at_s: FloatArray) -> FloatArray:
        index = np.clip(np.searchsorted(self.time_s, at_s, side="right") - 1, 0, len(self.time_s) - 1)
        following = np.minimum(index + 1, len(self.time_s) - 1)
        past = (at_s - self.time_s[index])[..., None]
        integral: FloatArray = self.integral[index] + past * self.values[index]
        if not self.is_constant:
            step = np.maximum(self.time_s[following] - self.time_s[index], _ROUNDING_S)[..., None]
            integral += np.square(past) / (2 * step) * (self.values[following] - self.values[index])
        return integral


def unit_columns(truth: Truth, units: ArrayLike) -> IntArray:
    """Return the columns of the truth's rates that are of these units.

    Raises
    ------
    DataError
        If the truth does not have one of them.
    """
    at = {int(unit): column for column, unit in enumerate(truth.unit_ids)}
    wanted = [int(unit) for unit in np.asarray(units)]
    missing = [unit for unit in wanted if unit not in at]
    if missing:
        raise DataError(
            f"{truth.session}: {len(missing)} of {len(wanted)} units of the store, such as {missing[0]}, are "
            "not in the truth. The store is not of this simulation: ingest the session again."
        )
    return np.array([at[unit] for unit in wanted], dtype=np.int64)
