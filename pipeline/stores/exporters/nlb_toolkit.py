"""Tensors of the Neural Latents Benchmark as its own toolkit makes them, of stores cut by a recipe ``nlb:*``.

Here is what differs from any other export: spikes after the window whoever's they are, behaviour in the unit
of the file, bins that are not scored as NaN, PSTHs of spikes smoothed at 1 ms. Reference: nlb_tools 0.0.4,
``make_tensors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nwb_latents.pipeline.signals.timebase import to_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.exporters.hdf5 import Array
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.nlb import NlbDataset

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]
    Rows = Mapping[str, IntArray]

SHORT = 0.8
"""Trials of a condition shorter than this share of their mean length are not in its PSTH."""


def forward_counts(session: Session, rows: IntArray, *, n_bins: int) -> NDArray[np.float32]:
    """Return the spikes after the windows, also those in windows of other trials; NaN where not recorded.

    Parameters
    ----------
    session
        The session.
    rows
        Trials. Shape ``(n,)``.
    n_bins
        Bins after the window.
    """
    counts, observed = session.continuous["counts"].values, session.continuous["observed"].values
    bins = session.trials["start_bin"].values[rows, None] + session.n_bins + np.arange(n_bins)
    inside = bins < len(observed)
    bins = np.where(inside, bins, 0)
    return np.where((inside & observed[bins])[..., None], counts[bins], np.nan).astype(np.float32)


def behaviour(
    session: Session, dataset: NlbDataset, rows: Rows, *, lag_ms: float
) -> dict[str, NDArray[np.float32]]:
    """Return what is decoded of the trials of each part.

    Parameters
    ----------
    session
        The session.
    dataset
        Says whether that is a series, and in which unit, or columns of the trial table.
    rows
        Part → its trials.
    lag_ms
        The series is read this much later than the spikes, ms.

    Returns
    -------
    behaviour
        Part → ``(trial, time, axis)``, or ``(trial, column)`` with NaN in trials that are masked.
    """
    if not dataset.behaviour_columns:
        lagged = session.trials["start_bin"].values[:, None] + np.arange(session.n_bins)
        lagged = lagged + session.lag_bins(lag_ms)
        series = session.continuous["velocity"].values
        inside = (lagged >= 0) & (lagged < len(series))
        values = np.where(inside[..., None], series[np.where(inside, lagged, 0)], np.nan)
        values = values * dataset.behaviour_per_cm
    else:
        values = np.stack([_column(session, name) for name in dataset.behaviour_columns], axis=1)
        if dataset.mask_column is not None:
            values[_column(session, dataset.mask_column) != 0] = np.nan
    return {part: values[mine].astype(np.float32) for part, mine in rows.items()}


def is_scored(session: Session, dataset: NlbDataset) -> NDArray[np.bool_]:
    """Return the bins that are scored. Shape ``(trial, time)``."""
    bins = session.trials["start_bin"].values[:, None] + np.arange(session.n_bins)
    if dataset.scored_from is None:
        return np.ones(bins.shape, dtype=bool)
    begin, end = _windows(session, dataset)
    return np.asarray((begin[:, None] <= bins) & (bins < end[:, None]))


def decoder_masks(session: Session, dataset: NlbDataset, rows: Rows) -> dict[str, Array]:
    """Return which trials each decoder is for; empty where one is for all."""
    if dataset.decoder_column is None:
        return {}
    column = _column(session, dataset.decoder_column)
    mine = np.stack([column == 0, column == 1], axis=1)
    return {f"{part}_decode_mask": mine[kept] for part, kept in rows.items()}


class Psths(NamedTuple):
    """PSTHs, names of their conditions, and for each part the rows of the trials of each condition."""

    psth: NDArray[np.float32]
    names: tuple[str, ...]
    members: dict[str, list[IntArray]]


def psths(session: Session, dataset: NlbDataset, rows: Rows, *, order: IntArray) -> Psths | None:
    """Average the spikes smoothed at 1 ms over the trials of each condition.

    Parameters
    ----------
    session
        The session, with ``psth_counts``.
    dataset
        Columns whose values make a condition, trials that are masked, bins that are scored.
    rows
        Part → its trials; trials of all parts are averaged.
    order
        Units wanted, in this order. Shape ``(unit,)``.

    Returns
    -------
    psths
        Conditions in the order of their values; bins that not all trials of a condition have are NaN. None
        without conditions.
    """
    used = np.sort(np.concatenate(list(rows.values())))
    values = np.stack([_column(session, name) for name in dataset.psth_columns], axis=1)
    is_known = np.logical_and.reduce(np.isfinite(values).T)
    masked = np.zeros(len(values), dtype=bool)
    if dataset.mask_column is not None:
        masked = _column(session, dataset.mask_column) == 1
    smoothed = session.continuous["psth_counts"].values
    zero = _edges(session, "event_time")
    begin, end = _windows(session, dataset)
    found, names, members = [], [], []
    for condition in sorted({tuple(row) for row in values[used[is_known[used]]].tolist()}):
        is_mine = np.logical_and.reduce(np.array(condition)[:, None] == values[used].T)
        mine = used[is_mine & ~masked[used]]
        if not len(mine):
            continue
        length = end[mine] - begin[mine]
        mine = mine[length >= SHORT * length.mean()]
        course = _course(smoothed, begin[mine], end[mine], zero[mine])[:, order]
        found.append(_padded(course, session.n_bins))
        names.append("-".join(f"{value:g}" for value in condition))
        members.append(mine)
    if not found:
        return None
    of_parts = {
        part: [np.flatnonzero(np.isin(kept, mine)) for mine in members] for part, kept in rows.items()
    }
    return Psths(np.stack(found).astype(np.float32), tuple(names), of_parts)


def _course(smoothed: NDArray[np.float32], begin: IntArray, end: IntArray, zero: IntArray) -> FloatArray:
    """Average windows bin by bin, by their time from the event; shape ``(bin, unit)``.

    At 20 ms windows begin 12 or 13 bins before the bin edge that follows the event: the first time then is
    that of some trials alone, and the last is cut off with the length of the shortest window.
    """
    from_event = np.arange((begin - zero).min(), (end - zero).max())
    at = zero[:, None] + from_event
    inside = (begin[:, None] <= at) & (at < end[:, None]) & (at < len(smoothed))
    values = smoothed[np.where(inside, at, 0)].astype(np.float64)
    known = np.isfinite(values) & inside[..., None]
    number = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    shortest = int((end - begin).min())
    # Windows that all end with the event are cut at their beginning.
    first = len(mean) - shortest if (end == zero).all() else 0
    return np.asarray(mean[first : first + shortest], dtype=np.float64)


def _padded(course: FloatArray, n_bins: int) -> FloatArray:
    """Return a course of `n_bins`, NaN before it where it is shorter."""
    kept = course[-n_bins:]
    padding = np.full((n_bins - len(kept), course.shape[1]), np.nan)
    return np.concatenate([padding, kept])


def _windows(session: Session, dataset: NlbDataset) -> tuple[IntArray, IntArray]:
    """Return the first bin of each window that is scored and one past its last, before it was moved."""
    if dataset.scored_from is not None:
        return _edges(session, dataset.scored_from), _edges(session, dataset.align_to)
    first = session.trials["start_bin"].values.astype(np.int64)
    return first, first + session.n_bins


def _edges(session: Session, event: str) -> IntArray:
    """Return the first bin that begins at or after an event of each trial."""
    width = round(session.bin_size_s * 1e9)
    first = round(float(session.continuous["time"].values[0]) * 1e9) // width
    edges: IntArray = -(-to_ns(session.trials[event].values) // width) - first
    return edges


def _column(session: Session, name: str) -> FloatArray:
    return np.asarray(session.trials[f"column_{name}"].values, dtype=np.float64)
