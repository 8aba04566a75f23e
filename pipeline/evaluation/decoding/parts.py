"""R² of every time bin and of every condition of a session's decoded signals, as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.part_intervals import (
    intervals_of_conditions,
    intervals_over_time,
)
from nwb_latents.pipeline.evaluation.metrics.r2_parts import r2_of_conditions, r2_over_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.session_decoder import (
        Decoded,
        DecodedSignal,
        SessionDecoder,
    )

    FloatArray = NDArray[np.float64]

MEANING = (
    "1 - SSE/SST of each axis, and of all axes pooled; SST around the mean of the same time bin over "
    "trials, or of the same condition over its trials and bins"
)


def parts_table(decoded: Sequence[Decoded]) -> xr.Dataset:
    """Return the R² of every part of every decoded signal of one session.

    Parameters
    ----------
    decoded
        Signals of one session, decoded with one or several decoders at one lag.

    Returns
    -------
    table
        ``r2_over_time`` (signal, time) and ``r2_of_conditions`` (signal, condition), the axes pooled, and
        the same with ``_per_axis`` for each axis; NaN where undefined. The same with ``_low`` and ``_high``:
        ends of the 95 % interval over trials (`part_intervals`). ``n_trials_over_time`` (signal, time)
        and ``n_trials_of_conditions`` (signal, condition): trials scored. ``time`` is the left edge of the
        neural bin from the event, s; the velocity is that ``lag_ms`` later. Each signal has its ``source``,
        ``decoder``, ``run`` (empty: none) and ``r2``, that of all samples (``r2_uniform``).

    Raises
    ------
    DataError
        If there is no signal.
    """
    pairs = [(one.decoder, signal) for one in decoded for signal in one.signals]
    if not pairs:
        raise DataError("no signal was decoded, so there is no part of one to score")
    decoder = pairs[0][0]
    rows = [_signal_table(*pair) for pair in pairs]
    table = xr.concat(rows, "signal", join="exact", combine_attrs="override")
    about = {
        "session": decoder.session,
        "recipe_id": decoder.facts["recipe_id"],
        "lag_ms": decoder.lag_ms,
        "split": "test",
        "definition": MEANING,
    }
    return table.assign_attrs(about)


def _signal_table(decoder: SessionDecoder, signal: DecodedSignal) -> xr.Dataset:
    window = slice(signal.first_bin, signal.first_bin + signal.velocity.shape[1])
    true = decoder.velocity[:, window]
    finite = np.isfinite(true) & np.isfinite(signal.velocity)
    counts: NDArray[np.bool_] = np.all(finite, axis=-1)
    names, of_conditions = r2_of_conditions(true, signal.velocity, decoder.condition, mask=counts)
    n_bins, n_axes = decoder.velocity.shape[1:]
    in_time = r2_over_time(true, signal.velocity, mask=counts)
    over_time, trials = np.full((n_bins, 1 + n_axes), np.nan), np.zeros(n_bins, dtype=np.int32)
    over_time[window] = np.column_stack([in_time.pooled, in_time.per_output])
    trials[window] = counts.sum(axis=0)
    used = decoder.condition[counts.any(axis=1)].astype(str)
    scored = np.array([np.count_nonzero(used == name) for name in names], dtype=np.int32)
    value = signal.score.value
    low_high = np.full((2, n_bins), np.nan)
    low_high[:, window] = intervals_over_time(true, signal.velocity, counts=counts)
    named = [str(name) for name in names]
    ends = intervals_of_conditions(true, signal.velocity, decoder.condition, named, counts=counts)
    return xr.Dataset(
        {
            "r2_over_time": (("signal", "time"), over_time[None, :, 0]),
            "r2_over_time_per_axis": (("signal", "time", "axis"), over_time[None, :, 1:]),
            "r2_over_time_low": (("signal", "time"), low_high[:1]),
            "r2_over_time_high": (("signal", "time"), low_high[1:]),
            "r2_of_conditions_low": (("signal", "condition"), ends[:1]),
            "r2_of_conditions_high": (("signal", "condition"), ends[1:]),
            "n_trials_over_time": (("signal", "time"), trials[None]),
            "r2_of_conditions": (("signal", "condition"), of_conditions.pooled[None]),
            "r2_of_conditions_per_axis": (("signal", "condition", "axis"), of_conditions.per_output[None]),
            "n_trials_of_conditions": (("signal", "condition"), scored[None]),
            "r2": ("signal", [np.nan if value is None else value]),
        },
        coords={
            "time": ("time", decoder.time_s, {"units": "s"}),
            "axis": np.array(decoder.axes, dtype=object),
            "condition": np.array(names, dtype=object),
            "source": ("signal", [signal.score.source]),
            "decoder": ("signal", [signal.score.decoder or ""]),
            "run": ("signal", [signal.score.run or ""]),
        },
    )
