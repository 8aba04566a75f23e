"""Kinematics that cannot be movements of a hand: glitches of the tracker, positions off the workspace.

Thresholds are in physical units and times in seconds, so that the sampling rate moves none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from nwb_latents.pipeline.signals.binning import merge_intervals, observed_fractions
from nwb_latents.pipeline.signals.resample import slopes
from nwb_latents.schemas.quality import KinematicOutliers

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, Segment, Series
    from nwb_latents.pipeline.signals.timebase import Grid
    from nwb_latents.schemas.quality import QualitySettings

_BLOCK = 1 << 14
"""Samples looked at together."""

_ABREAST = 512
"""Rows whose extremes are looked for side by side."""


def kinematic_outliers(
    position: Series | None, velocity: Series | None, grid: Grid, settings: QualitySettings
) -> tuple[BoolArray, FloatArray]:
    """Find outlying samples and the bins around them.

    Parameters
    ----------
    position, velocity
        At their own sampling rate, cm and cm/s; None where unknown.
    grid
        Time bins.
    settings
        Thresholds and how far an outlier reaches.

    Returns
    -------
    outlier
        Bins that an outlier reaches into. Shape ``(n_bins,)``.
    n_samples
        Number of outlying samples of acceleration and of position. Shape ``(2,)``, float64.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import Series
    >>> from nwb_latents.pipeline.signals.timebase import Grid
    >>> from nwb_latents.schemas.quality import QualitySettings
    >>> t = np.arange(1000) * 0.01
    >>> x = np.where(np.arange(1000) == 500, 40.0, 0.0)[:, None]
    >>> settings = QualitySettings(position_dilate_s=0.1, position_erode_s=0.0)
    >>> outlier, n = kinematic_outliers(Series(t, x), None, Grid(0, 500, 20_000_000), settings)
    >>> n.tolist(), int(outlier.sum())
    ([0.0, 1.0], 12)
    """
    nothing = np.empty(0)
    fast = nothing if velocity is None else _fast(velocity, settings)
    far = nothing if position is None else _far(position, settings)
    around = [
        _around(fast, velocity, dilate_s=settings.acceleration_dilate_s, erode_s=0.0),
        _around(far, position, dilate_s=settings.position_dilate_s, erode_s=settings.position_erode_s),
    ]
    shares = observed_fractions(merge_intervals(np.concatenate(around)), grid)
    outlier = np.concatenate([share > 0 for share in shares])
    return outlier, np.array([len(fast), len(far)], dtype=np.float64)


def thresholds_in(settings: QualitySettings, *, unit: str) -> tuple[QualitySettings, tuple[str, ...]]:
    """Return thresholds that go with the unit of the kinematics, and what is to be said of them.

    Parameters
    ----------
    settings
        Thresholds in cm.
    unit
        Unit of the kinematics.

    Returns
    -------
    settings
        In a unit that is no cm, those thresholds alone that someone set: they are read in that unit.
    notes
        Which ones are not applied.

    Examples
    --------
    >>> from nwb_latents.schemas.quality import QualitySettings
    >>> mine, notes = thresholds_in(QualitySettings(max_position_cm=40.0), unit="degrees")
    >>> mine.max_position_cm, mine.max_acceleration_cm_s2, len(notes)
    (40.0, None, 1)
    """
    if unit == "cm":
        return settings, ()
    names = ("max_acceleration_cm_s2", "max_position_cm")
    fields = type(settings).model_fields
    unset = {n: None for n in names if getattr(settings, n) == fields[n].default and fields[n].default}
    if not unset:
        return settings, ()
    named = " and ".join(f"quality.{name}" for name in unset)
    note = (
        f"kinematics are in {unit}: {named}, by default of a hand in cm, look for no outliers; one that is "
        f"set is read in {unit}"
    )
    return settings.model_copy(update=unset), (note,)


def extremes(values: FloatArray) -> tuple[list[float], list[float]]:
    """Return the least and the largest value of each column; NaN of one that holds nothing else.

    Parameters
    ----------
    values
        Shape ``(n, n_columns)``, ``n`` at least 1; NaN where missing.

    Examples
    --------
    >>> extremes(np.array([[1.0, np.nan], [3.0, -2.0]]))
    ([1.0, -2.0], [3.0, -2.0])
    """
    found = []
    for extreme in (np.fmin, np.fmax):
        rows = values
        if values.flags.c_contiguous and len(values) > 2 * _ABREAST:
            # Many rows abreast: over a short last axis it takes ten times as long.
            n = len(values) // _ABREAST * _ABREAST
            abreast = extreme.reduce(values[:n].reshape(n // _ABREAST, -1), axis=0)
            rows = np.concatenate([abreast.reshape(_ABREAST, -1), values[n:]])
        found.append([float(extreme.reduce(column)) for column in rows.T])
    return found[0], found[1]


def count_outliers(outlier: BoolArray, observed: BoolArray, n_samples: FloatArray) -> KinematicOutliers:
    """Return the record of a session's outliers; their share is that of the observed bins.

    Examples
    --------
    >>> bins = np.array([True, False, False, True])
    >>> count_outliers(bins, np.array([True, True, True, False]), np.array([2, 0])).share
    0.3333
    """
    n_observed = int(observed.sum())
    share = int((outlier & observed).sum()) / n_observed if n_observed else 0.0
    return KinematicOutliers(
        n_acceleration=int(n_samples[0]), n_position=int(n_samples[1]), share=round(share, 4)
    )


def _fast(velocity: Series, settings: QualitySettings) -> FloatArray:
    limit = settings.max_acceleration_cm_s2
    if limit is None:
        return np.empty(0)
    sigma = settings.acceleration_smooth_s / velocity.interval_s
    found = [_fast_of(segment, sigma, limit=limit) for segment in velocity.segments]
    return np.concatenate([np.empty(0), *found])


def _fast_of(segment: Segment, sigma: float, *, limit: float) -> FloatArray:
    """Return the times at which a smoothed segment accelerates beyond the limit; `sigma` in samples."""
    reach = int(4.0 * sigma + 0.5) + 2
    fast = []
    for lo in range(0, len(segment.time), _BLOCK):
        first = max(lo - reach, 0)
        around = slice(first, lo + _BLOCK + reach)
        time, values = segment.time[around], segment.values[around].T
        # No mean of steps is longer than the longest, and slopes at the ends are at most three chords: most
        # blocks need not be smoothed to be known as slow.
        steepest = np.abs(np.diff(values)).max() / np.diff(time).min()
        if 3.0 * np.sqrt(len(values)) * steepest <= limit:
            continue
        if sigma > 0:
            values = gaussian_filter1d(values, sigma, axis=1, mode="nearest")
        squared = np.square(slopes(time, values.T)).sum(axis=1)
        inside = slice(lo - first, lo - first + _BLOCK)
        fast.append(time[inside][squared[inside] > limit**2])
    return np.concatenate([np.empty(0), *fast])


def _far(position: Series, settings: QualitySettings) -> FloatArray:
    limit = settings.max_position_cm
    # Over a short last axis, `all` costs ten times what the columns one by one do.
    known = np.logical_and.reduce([np.isfinite(column) for column in position.values.T])
    if limit is None or not known.any():
        return np.empty(0)
    is_far = np.zeros(len(known), bool)
    for column, low, high in zip(position.values.T, *extremes(position.values), strict=True):
        # Where the whole span is within the limit, so is every distance from the median.
        if high - low > limit:
            is_far |= np.abs(column - np.median(column[known], overwrite_input=True)) > limit
    far: FloatArray = position.time[is_far]
    return far


def _around(time: FloatArray, series: Series | None, *, dilate_s: float, erode_s: float) -> FloatArray:
    if series is None or not len(time):
        return np.empty((0, 2))
    half = series.interval_s / 2
    wide = merge_intervals(np.column_stack([time - dilate_s - half, time + dilate_s + half]))
    return np.column_stack([wide[:, 0] + erode_s, wide[:, 1] - erode_s])
