"""Quality of one session: distributions, stability of the rates, decodability, flags.

A flag says that a number is beyond a threshold of the recipe. Nothing is left out for it here: training
decides with `objections` what it asks of a session.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.signals.rows import Picked, blocks
from nwb_latents.schemas.quality import Percentiles, RateStability, SessionQuality

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.binned import BinnedSession
    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray
    from nwb_latents.pipeline.signals.rows import Rows
    from nwb_latents.schemas.quality import Flag, QualityFilter, QualitySettings
    from nwb_latents.schemas.recipe import IngestRecipe
    from nwb_latents.schemas.store import DropCounts

MOST_DECODED_TRIALS = 200
"""Decodability is measured on at most this many training trials, evenly spread over the session."""

SURE_ONSETS = frozenset({"ok", "column", "chop"})


def measure_quality(
    session: BinnedSession,
    trials: Mapping[str, Any],
    dropped: DropCounts,
    *,
    recipe: IngestRecipe,
) -> SessionQuality:
    """Measure the quality of a session.

    Parameters
    ----------
    session
        The binned session.
    trials
        Arrays of the group ``trials``.
    dropped
        What was left out.
    recipe
        ``quality``: what is measured how, and from where on it is flagged.

    Returns
    -------
    quality
        Rounded to five digits; None where a number is undefined.
    """
    settings = recipe.quality
    onsets = Counter(str(quality) for quality in trials["onset_quality"])
    measured = SessionQuality(
        n_trials=len(trials["trial"]),
        n_units=len(session.unit),
        dropped_units=dropped.units,
        dropped_trials=dropped.trials,
        reaction_time_s=percentiles(_floats(trials["reaction_time"])),
        peak_speed_cm_s=percentiles(_floats(trials["peak_speed"])),
        onset_quality=dict(onsets),
        rates=rate_stability(trials["counts"], trials["start_bin"], bin_size_s=recipe.bin_size_s),
        outliers=session.outliers,
        decodability=_decodability(session, trials, recipe),
    )
    return measured.model_copy(update={"flags": flags_of(measured, settings)})


def percentiles(values: FloatArray) -> Percentiles:
    """Return the distribution of the finite values.

    Examples
    --------
    >>> percentiles(np.array([1.0, 2.0, 3.0, np.nan])).p50
    2.0
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Percentiles(n=0)
    marks = [_rounded(value) for value in np.percentile(finite, [5, 25, 50, 75, 95])]
    return Percentiles(n=len(finite), **dict(zip(("p5", "p25", "p50", "p75", "p95"), marks, strict=True)))


def rate_stability(counts: Rows, start_bin: NDArray[np.generic], *, bin_size_s: float) -> RateStability:
    """Compare firing rates between trials.

    Parameters
    ----------
    counts
        Spikes per bin. Shape ``(n_trials, n_bins, n_units)``.
    start_bin
        First bin of each trial: the order in time. Shape ``(n_trials,)``.
    bin_size_s
        Width of a bin, seconds.

    Returns
    -------
    stability
        None where there are fewer than two trials, no spikes, or no two units to correlate.

    Examples
    --------
    >>> counts = np.repeat(np.array([2, 2, 4, 4], np.uint8), 6).reshape(4, 3, 2)
    >>> rate_stability(counts, np.arange(4), bin_size_s=0.1).drift
    0.66667
    """
    order = np.argsort(np.asarray(start_bin), kind="stable")
    n_bins = counts.shape[1]
    # Whole numbers: the order of the sums is of no account.
    sums = np.concatenate([block.sum(axis=1, dtype=np.float64) for block in blocks(counts)])
    rates = sums[order] / (n_bins * bin_size_s)
    if len(rates) < 2:
        return RateStability()
    middle = len(rates) // 2
    early, late = rates[:middle].mean(axis=0), rates[middle:].mean(axis=0)
    over_units = rates.mean(axis=1)
    mean = (early.mean() + late.mean()) / 2
    if mean == 0:
        return RateStability()
    fires = early + late > 0
    change = 2 * np.abs(late - early)[fires] / (early + late)[fires]
    varied = len(early) > 1 and early.std() > 0 and late.std() > 0
    return RateStability(
        drift=_rounded((late.mean() - early.mean()) / mean),
        cv=_rounded(over_units.std() / over_units.mean()),
        unit_drift=_rounded(float(np.median(change))),
        correlation=_rounded(float(np.corrcoef(early, late)[0, 1])) if varied else None,
    )


def cross_validated_r2(features: Rows, targets: FloatArray, fold: IntArray, *, alpha: float) -> float | None:
    """Return the R² of a ridge regression on samples it has not seen.

    The sums a fit needs are those of all folds less those of the one left out. Features are scaled by their
    deviation over all samples, and those of one fold alone are in memory at a time.

    Parameters
    ----------
    features, targets
        Finite. Shapes ``(n_samples, n_features)`` and ``(n_samples, n_outputs)``.
    fold
        Fold of each sample, from 0. Shape ``(n_samples,)``.
    alpha
        Penalty on the coefficients of the scaled features.

    Returns
    -------
    r2
        ``1 − Σ(y−ŷ)²/Σ(y−ȳ)²`` of each output over all samples, then the mean over outputs; outputs that
        do not vary do not count, and without any it is None.

    References
    ----------
    Hoerl and Kennard 1970, "Ridge regression", eq. 2.1.

    Examples
    --------
    >>> x = np.arange(20.0)[:, None]
    >>> round(cross_validated_r2(x, 3 * x, np.arange(20) % 4, alpha=1e-6), 3)
    1.0
    """
    mean = _mean(block.astype(np.float64) for block in blocks(features))
    scale = np.sqrt(_mean(np.square(block - mean) for block in blocks(features)))
    scale = np.where(scale > 0, scale, 1.0)

    def scaled(part: slice | IntArray) -> FloatArray:
        own = features[part]
        x = np.ones((len(own), len(mean) + 1))
        np.subtract(own, mean, out=x[:, :-1])
        x[:, :-1] /= scale
        return x

    y = targets - targets.mean(axis=0)
    penalty = alpha * np.eye(len(mean) + 1)
    penalty[-1, -1] = 1e-9  # the intercept is free, up to what keeps the matrix regular
    parts = [_rows(fold == one) for one in np.unique(fold)]
    grams = []
    for part in parts:
        x = scaled(part)
        grams.append((x.T @ x, x.T @ y[part]))
    gram, cross = (sum(both[i] for both in grams) for i in (0, 1))
    error = np.zeros(y.shape[1])
    for part, (of_mine, crossed) in zip(parts, grams, strict=True):
        weights = np.linalg.solve(gram - of_mine + penalty, cross - crossed)
        error += np.square(y[part] - scaled(part) @ weights).sum(axis=0)
    total = np.square(y).sum(axis=0)
    varies = total > 1e-12 * max(1.0, float(np.square(targets).sum()))
    return float((1 - error[varies] / total[varies]).mean()) if varies.any() else None


def _mean(parts: Iterable[FloatArray]) -> FloatArray:
    """Return the mean over the rows of all parts, summed one row after the other."""
    total, n = None, 0
    for part in parts:
        rows = part if total is None else np.concatenate([total[None], part])
        total, n = rows.sum(axis=0), n + len(part)
    return np.asarray(0.0 if total is None else total / n)


def _rows(is_mine: NDArray[np.bool_]) -> slice | IntArray:
    """Return which rows are one fold's: neighbours as a rule, which need no copy."""
    rows: IntArray = np.flatnonzero(is_mine)
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def flags_of(quality: SessionQuality, settings: QualitySettings) -> tuple[Flag, ...]:
    """Return what is beyond its threshold.

    Examples
    --------
    >>> from nwb_latents.schemas.quality import QualitySettings
    >>> nothing = percentiles(np.array([]))
    >>> poor = SessionQuality(
    ...     n_trials=3, n_units=9, reaction_time_s=nothing, peak_speed_cm_s=nothing, rates={}, outliers={},
    ...     decodability=0.2,
    ... )
    >>> flags_of(poor, QualitySettings())
    ('few_trials', 'low_decodability')
    """
    n_doubtful = sum(n for name, n in quality.onset_quality.items() if name not in SURE_ONSETS)
    n_dropped = sum(quality.dropped_trials.values())
    drift, cv, r2 = quality.rates.drift, quality.rates.cv, quality.decodability
    found: dict[Flag, bool] = {
        "few_trials": quality.n_trials < settings.min_trials,
        "few_units": quality.n_units < settings.min_units,
        "low_decodability": r2 is not None and r2 < settings.min_decodability,
        "no_decodability": r2 is None,
        "rate_drift": drift is not None and abs(drift) > settings.max_drift,
        "variable_rates": cv is not None and cv > settings.max_cv,
        "many_outliers": quality.outliers.share > settings.max_outlier_share,
        "doubtful_onsets": n_doubtful > settings.max_doubtful_onsets * quality.n_trials,
        "many_dropped": n_dropped > settings.max_dropped_share * (n_dropped + quality.n_trials),
    }
    return tuple(flag for flag, is_raised in found.items() if is_raised)


def objections(quality: SessionQuality | None, asked: QualityFilter) -> tuple[str, ...]:
    """Say why a session is not good enough; nothing for one that is.

    Parameters
    ----------
    quality
        What was measured; None for a store without it.
    asked
        What is asked of a session.

    Returns
    -------
    objections
        One short phrase each, with expected and found.

    Examples
    --------
    >>> from nwb_latents.schemas.quality import QualityFilter
    >>> objections(None, QualityFilter()), objections(None, QualityFilter(min_trials=5))
    ((), ('its quality was not measured',))
    """
    if asked.is_off:
        return ()
    if quality is None:
        return ("its quality was not measured",)
    out = []
    if quality.n_trials < asked.min_trials:
        out.append(f"{quality.n_trials} trials, fewer than {asked.min_trials}")
    r2 = quality.decodability
    if asked.min_decodability is not None and (r2 is None or r2 < asked.min_decodability):
        found = "undefined" if r2 is None else f"{r2:.3f}, less than {asked.min_decodability:g}"
        out.append(f"decodability {found}")
    if asked.max_flags is not None and len(quality.flags) > asked.max_flags:
        out.append(f"{len(quality.flags)} flags ({', '.join(quality.flags)}), more than {asked.max_flags}")
    out += [f"flagged {flag}" for flag in quality.flags if flag in asked.exclude_flags]
    return tuple(out)


def _decodability(session: BinnedSession, trials: Mapping[str, Any], recipe: IngestRecipe) -> float | None:
    settings = recipe.quality
    start = np.asarray(trials["start_bin"], dtype=np.int64)[trials["split"] == "train"]
    if len(start) > MOST_DECODED_TRIALS:
        start = start[np.linspace(0, len(start) - 1, MOST_DECODED_TRIALS).astype(np.int64)]
    if len(start) < settings.folds:
        return None
    lag = round(settings.lag_s / recipe.bin_size_s)
    bins = (start[:, None] + np.arange(recipe.n_bins)).ravel()
    # Neighbouring trials stay together, and a bin of two overlapping windows counts once.
    fold = np.repeat(np.arange(len(start)) * settings.folds // len(start), recipe.n_bins)
    bins, first = np.unique(bins, return_index=True)
    inside = bins + lag < session.grid.n_bins
    bins, fold = bins[inside], fold[first][inside]
    targets = session.velocity[bins + lag].astype(np.float64)
    known = np.isfinite(targets).all(axis=1)
    if len(np.unique(fold[known])) < 2:
        return None
    features = Picked(session.rates, bins[known])
    r2 = cross_validated_r2(features, targets[known], fold[known], alpha=settings.ridge_alpha)
    return None if r2 is None else _rounded(r2)


def _floats(values: NDArray[np.generic]) -> FloatArray:
    return np.asarray(values, dtype=np.float64)


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
