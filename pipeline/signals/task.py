"""What is asked of whoever models a session: held-out units, bins after the window, trials of a split.

Training hides the units that evaluation scores, and exports hand on the bins that evaluation forecasts: what
they agree on is said here once, on plain arrays.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    BoolArray = NDArray[np.bool_]
    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


def whole_bins(milliseconds: float, *, bin_size_s: float, name: str) -> int:
    """Return a time as a number of bins; negative where the time is.

    Parameters
    ----------
    milliseconds
        The time, ms.
    bin_size_s
        Width of a bin, s.
    name
        Setting the time comes from, named in the error.

    Raises
    ------
    SettingsError
        If it is not a whole number of bins; the message names the nearest that are.

    Examples
    --------
    >>> whole_bins(100.0, bin_size_s=0.02, name="lag_ms")
    5
    >>> whole_bins(90.0, bin_size_s=0.02, name="lag_ms")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: lag_ms 90 is not a whole number of 20 ms bins; the nearest that
    are: 80 and 100
    """
    bin_ms = bin_size_s * 1e3
    if not math.isfinite(milliseconds):
        raise SettingsError(
            f"{name} {milliseconds} is no time; give a whole number of {bin_ms:g} ms bins, such as "
            f"{5 * bin_ms:g}",
            setting=name,
        )
    bin_ns = round(bin_size_s * 1e9)
    bins, rest = divmod(round(milliseconds * 1e6), bin_ns)
    if rest:
        below, above = (number * bin_ns / 1e6 for number in (bins, bins + 1))
        raise SettingsError(
            f"{name} {milliseconds:g} is not a whole number of {bin_ms:g} ms bins; the nearest that are: "
            f"{below:g} and {above:g}",
            setting=name,
        )
    return bins


def bins_after_window(forward_ms: float, *, bin_size_s: float, n_bins: int) -> int:
    """Return the number of bins after the window.

    Parameters
    ----------
    forward_ms
        Time after the window, ms.
    bin_size_s
        Width of a bin, s.
    n_bins
        Bins of the window.

    Raises
    ------
    SettingsError
        If `forward_ms` is not a whole number of bins, or longer than the window: then the time after two
        windows could be the same, and trials of two splits would share it.

    Examples
    --------
    >>> bins_after_window(200.0, bin_size_s=0.02, n_bins=36)
    10
    """
    bins = whole_bins(forward_ms, bin_size_s=bin_size_s, name="forward_ms")
    if bins > n_bins:
        raise SettingsError(
            f"forward_ms {forward_ms:g} is longer than the trial window of {n_bins * bin_size_s * 1e3:g} ms. "
            "Use at most that, or ingest with a longer window_s."
        )
    return bins


def rows_in(split: ArrayLike, names: Sequence[str]) -> IntArray:
    """Return the rows of the trials in one of some splits, ascending.

    Parameters
    ----------
    split
        Split of each trial. Shape ``(trial,)``, text.
    names
        Names of splits.

    Examples
    --------
    >>> rows_in(["train", "test", "val"], ["train", "val"]).tolist()
    [0, 2]
    """
    return np.flatnonzero(np.isin(np.asarray(split).astype(str), list(names)))


def heldout_units(marked: ArrayLike, *, fraction: float, seed: int, session: str) -> BoolArray:
    """Return which units are held out.

    Parameters
    ----------
    marked
        Units the recording itself marks as held out. Shape ``(unit,)``, bool.
    fraction
        Share to draw where it marks none; at least one unit is always held in.
    seed
        Seed of that draw; the session id is mixed in.
    session
        Session id.

    Returns
    -------
    heldout
        The recording's own choice, else the draw. Shape ``(unit,)``.

    Examples
    --------
    >>> heldout_units([False, True, False], fraction=0.9, seed=0, session="s").tolist()
    [False, True, False]
    >>> int(heldout_units(np.zeros(8, bool), fraction=0.25, seed=0, session="s").sum())
    2
    """
    own = np.asarray(marked, dtype=bool)
    if own.any():
        return own
    n_units = len(own)
    n_out = min(round(fraction * n_units), n_units - 1)
    digest = hashlib.sha256(f"{seed}/{session}/heldout".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    heldout = np.zeros(n_units, dtype=bool)
    heldout[rng.permutation(n_units)[:n_out]] = True
    return heldout


def counts_after(
    counts: ArrayLike,
    observed: ArrayLike,
    *,
    start_bin: ArrayLike,
    window_bins: int,
    rows: ArrayLike,
    n_bins: int,
) -> NDArray[np.float32]:
    """Return the spike counts of the bins that follow the windows.

    A bin that lies in the window of a trial outside `rows` belongs to that trial: it is NaN here, so that no
    spike is handed on in two splits.

    Parameters
    ----------
    counts
        Spikes per bin of the whole session. Shape ``(session bin, unit)``.
    observed
        Whether the whole bin was recorded. Shape ``(session bin,)``, bool.
    start_bin
        First bin of every trial of the session. Shape ``(trial,)``.
    window_bins
        Bins of a trial.
    rows
        Trials wanted. Shape ``(n,)``.
    n_bins
        Number of bins after the window.

    Returns
    -------
    after
        Spikes per bin, NaN where not recorded or taken. Shape ``(n, n_bins, unit)``, float32.

    Examples
    --------
    >>> whole = {"counts": [[0], [1], [2], [3], [4], [5]], "observed": [True] * 6}
    >>> counts_after(**whole, start_bin=[0, 3], window_bins=2, rows=[0], n_bins=2)[0, :, 0].tolist()
    [2.0, nan]
    """
    spikes, recorded = np.asarray(counts), np.asarray(observed, dtype=bool)
    start, mine = np.asarray(start_bin, dtype=np.int64), np.asarray(rows, dtype=np.int64)
    free = recorded.copy()
    others = np.setdiff1d(np.arange(len(start)), mine)
    free[(start[others, None] + np.arange(window_bins)).ravel()] = False
    bins = start[mine, None] + window_bins + np.arange(n_bins)
    inside = bins < len(recorded)
    bins = np.where(inside, bins, 0)
    usable = inside & free[bins]
    return np.where(usable[..., None], spikes[bins], np.nan).astype(np.float32)


def rates_before(
    rates: ArrayLike,
    observed: ArrayLike,
    *,
    start_bin: ArrayLike,
    split: ArrayLike,
    window_bins: int,
    n_bins: int,
) -> FloatArray:
    """Return the smoothed rates of the bins before every trial.

    They are not read where they lie within a trial of another split: what is fitted on training trials never
    sees a test trial.

    Parameters
    ----------
    rates
        Of the whole session, Hz, NaN where not recorded. Shape ``(session bin, unit)``.
    observed
        Whether the whole bin was recorded. Shape ``(session bin,)``, bool.
    start_bin
        First bin of every trial. Shape ``(trial,)``.
    split
        Split of every trial. Shape ``(trial,)``, text.
    window_bins
        Bins of a trial.
    n_bins
        Bins before the first of each trial.

    Returns
    -------
    before
        Hz; NaN for bins that lie outside the session, were not recorded, or belong to a trial of another
        split. Shape ``(trial, n_bins, unit)``, float64.

    Examples
    --------
    >>> whole = {"rates": [[0.0], [1.0], [2.0], [3.0]], "observed": [True] * 4}
    >>> cut = {"start_bin": [0, 2], "window_bins": 2, "n_bins": 1}
    >>> rates_before(**whole, **cut, split=["train", "train"])[..., 0].tolist()
    [[nan], [1.0]]
    >>> rates_before(**whole, **cut, split=["test", "train"])[..., 0].tolist()
    [[nan], [nan]]
    """
    signal, known = np.asarray(rates, dtype=np.float64), np.asarray(observed, dtype=bool)
    start, of_trial = np.asarray(start_bin, dtype=np.int64), np.asarray(split, dtype=object)
    bins = start[:, None] + np.arange(-n_bins, 0)
    inside = (bins >= 0) & (bins < len(known))
    bins = np.where(inside, bins, 0)
    usable = inside & known[bins]
    for name in set(of_trial.tolist()):
        of_others = np.zeros(len(known), dtype=bool)
        covered = start[of_trial != name, None] + np.arange(window_bins)
        of_others[covered[(covered >= 0) & (covered < len(known))]] = True
        mine = of_trial == name
        usable[mine] &= ~of_others[bins[mine]]
    return np.where(usable[..., None], signal[bins], np.nan)
