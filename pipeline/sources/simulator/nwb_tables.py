"""Columns, trial tables, electrodes and units of a simulated NWB file.

Tables are made column by column from whole arrays: adding rows one at a time is a hundred times slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import DynamicTableRegion, VectorData, VectorIndex
from numpy.typing import NDArray
from pynwb.epoch import TimeIntervals
from pynwb.misc import Units

from nwb_latents.pipeline.sources.simulator.neurons import CLOCK_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pynwb import NWBFile

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray
    from nwb_latents.pipeline.sources.simulator.simulated_session import SimulatedSession

CHANNELS_PER_ARRAY = 96
WAVEFORM_SAMPLES = 48
WAVEFORM_VARIANTS = 32
Column = tuple[str, str, NDArray[Any]]
"""Name, description and values, one row per trial or unit."""


@dataclass(frozen=True)
class ArrayNames:
    """How a layout names the implanted array of one area.

    Attributes
    ----------
    area
        ``M1`` or ``PMd``.
    device, group
        Names of the device and of the electrode group.
    """

    area: str
    device: str
    group: str


def ragged(name: str, description: str, *, rows: Sequence[NDArray[Any]]) -> list[Any]:
    """Return a column of any number of values per row: the values and their index.

    Parameters
    ----------
    name, description
        Of the column.
    rows
        Values of each row, each of shape ``(n_values, ...)``; at least one row.

    Examples
    --------
    >>> values, index = ragged("spans", "of each row", rows=[np.array([1, 2]), np.array([3])])
    >>> values.name, index.name, index.data[:].tolist()
    ('spans', 'spans_index', [2, 3])
    """
    values = VectorData(name=name, description=description, data=np.concatenate(rows))
    ends = np.cumsum([len(row) for row in rows])
    return [values, VectorIndex(name=f"{name}_index", target=values, data=ends.astype(np.uint32))]


def add_trials(
    nwbfile: NWBFile, description: str, *, columns: Sequence[Column], ragged_columns: Sequence[Any] = ()
) -> None:
    """Add a trial table.

    Parameters
    ----------
    nwbfile
        File to add it to.
    description
        Of the table.
    columns
        Columns of one value per trial, ``start_time`` and ``stop_time`` first.
    ragged_columns
        What `ragged` made, one after the other.

    Examples
    --------
    >>> from pynwb.testing.mock.file import mock_NWBFile
    >>> nwbfile = mock_NWBFile()
    >>> edges = [("start_time", "first", np.array([0.0, 2.0])), ("stop_time", "last", np.array([1.5, 3.0]))]
    >>> add_trials(nwbfile, "trials", columns=edges)
    >>> len(nwbfile.trials)
    2
    """
    flat = [VectorData(name=name, description=text, data=values) for name, text, values in columns]
    # The specification fixes the descriptions of its own two columns.
    names = [name for name, _, _ in columns]
    names += [column.name for column in ragged_columns if not isinstance(column, VectorIndex)]
    table = TimeIntervals(
        name="trials",
        description=description,
        id=np.arange(len(columns[0][2])),
        columns=[*flat, *ragged_columns],
        colnames=names,
    )
    nwbfile.trials = table


def add_electrodes(nwbfile: NWBFile, arrays: Sequence[ArrayNames]) -> None:
    """Add one 96-channel array per area, with its device, group and rows of the electrode table.

    Parameters
    ----------
    nwbfile
        File to add them to.
    arrays
        Names, in the order of the electrode table.

    Examples
    --------
    >>> from pynwb.testing.mock.file import mock_NWBFile
    >>> nwbfile = mock_NWBFile()
    >>> add_electrodes(nwbfile, [ArrayNames("M1", "electrode_array_M1", "electrode_group_M1")])
    >>> len(nwbfile.electrodes)
    96
    """
    for names in arrays:
        text = f"{CHANNELS_PER_ARRAY}-electrode array in {names.area} (simulated)"
        device = nwbfile.create_device(name=names.device, description=text)
        group = nwbfile.create_electrode_group(
            name=names.group, description=text, location=names.area, device=device
        )
        for _ in range(CHANNELS_PER_ARRAY):
            nwbfile.add_electrode(group=group, location=names.area)


def add_units(
    nwbfile: NWBFile,
    simulated: SimulatedSession,
    *,
    arrays: Sequence[ArrayNames],
    observed: FloatArray | None = None,
    heldout: BoolArray | None = None,
    group_column: bool = False,
    waveforms: bool = False,
) -> None:
    """Add the units and their spikes.

    Parameters
    ----------
    nwbfile
        File with electrodes.
    simulated
        The session.
    arrays
        The arrays in the order of the electrode table.
    observed
        Intervals in seconds outside which no spikes are written, entered for every unit; None for no such
        column and all spikes. Shape ``(n_intervals, 2)``, ascending, disjoint.
    heldout
        Values of a ``heldout`` column; None for no such column. Shape ``(n_units,)``.
    group_column
        Whether there is a column ``electrode_group``.
    waveforms
        Whether there is a column ``waveforms``.

    Examples
    --------
    >>> from pynwb.testing.mock.file import mock_NWBFile
    >>> from nwb_latents.pipeline.sources.simulator import simulate_session
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> nwbfile = mock_NWBFile()
    >>> arrays = [ArrayNames("M1", "array M1", "1"), ArrayNames("PMd", "array PMd", "2")]
    >>> add_electrodes(nwbfile, arrays)
    >>> simulated = simulate_session(SimulateSettings(n_units=(4, 4), n_trials=2))
    >>> add_units(nwbfile, simulated, arrays=arrays, group_column=True)
    >>> nwbfile.units["electrode_group"][3].name
    '2'
    """
    times, ends = simulated.spike_times, simulated.spike_index
    if observed is not None:
        times, ends = inside(times, ends, intervals=observed)
    n_units = len(ends)
    spikes = VectorData(name="spike_times", description="the spike times for each unit", data=times)
    spikes_index = VectorIndex(name="spike_times_index", target=spikes, data=ends.astype(np.uint32))
    columns: list[Any] = [spikes, spikes_index]
    if observed is not None:
        intervals = [observed] * n_units
        columns += ragged("obs_intervals", "the observation intervals for each unit", rows=intervals)
    channel, which = _channels(simulated, arrays)
    region = DynamicTableRegion(
        name="electrodes",
        data=channel,
        description="the electrodes that each spike unit came from",
        table=nwbfile.electrodes,
    )
    columns += [region, VectorIndex(name="electrodes_index", target=region, data=np.arange(1, n_units + 1))]
    if group_column:
        groups = [nwbfile.electrode_groups[arrays[number].group] for number in which]
        text = "the electrode group that each spike unit came from"
        columns.append(VectorData(name="electrode_group", description=text, data=groups))
    if waveforms:
        columns += _waveforms(simulated, n_spikes=len(times), ends=ends)
    if heldout is not None:
        text = "Whether the unit is held out in the test data (True) or not (False)"
        columns.append(VectorData(name="heldout", description=text, data=heldout))
    nwbfile.units = Units(
        name="units",
        description="data on spiking units",
        id=simulated.truth.unit_ids,
        columns=columns,
        colnames=[column.name for column in columns if not isinstance(column, VectorIndex)],
        resolution=1 / CLOCK_HZ,
        waveform_rate=float(CLOCK_HZ) if waveforms else None,
    )


def inside(times: FloatArray, ends: IntArray, *, intervals: FloatArray) -> tuple[FloatArray, IntArray]:
    """Leave out spikes outside half-open intervals.

    Parameters
    ----------
    times, ends
        Seconds, shape ``(n_spikes,)``; one past the last spike of each unit, shape ``(n_units,)``.
    intervals
        Ascending and disjoint, in seconds. Shape ``(n_intervals, 2)``.

    Examples
    --------
    >>> inside(np.array([0.5, 1.5, 0.1]), np.array([2, 3]), intervals=np.array([[0.0, 1.0]]))
    (array([0.5, 0.1]), array([1, 2]))
    """
    kept = np.searchsorted(intervals.ravel(), times, side="right") % 2 == 1
    return times[kept], np.concatenate([[0], np.cumsum(kept)])[ends].astype(np.int64)


def _channels(simulated: SimulatedSession, arrays: Sequence[ArrayNames]) -> tuple[IntArray, IntArray]:
    """Row of the electrode table, and number of the array, of each unit. Each of shape ``(n_units,)``."""
    areas = [names.area for names in arrays]
    which = np.array([areas.index(area) for area in simulated.neurons.area], dtype=np.int64)
    order = np.zeros(len(which), dtype=np.int64)
    for number in range(len(arrays)):
        order[which == number] = np.arange((which == number).sum())
    return which * CHANNELS_PER_ARRAY + order % CHANNELS_PER_ARRAY, which


def _waveforms(simulated: SimulatedSession, *, n_spikes: int, ends: IntArray) -> list[Any]:
    """Column ``waveforms`` and its two indices, 48 samples per spike."""
    rng = simulated.rng("waveforms")
    n_units = len(ends)
    s = np.arange(WAVEFORM_SAMPLES) - 16.0
    depth, width = rng.uniform(150, 600, (n_units, 1)), rng.uniform(2.5, 4.5, (n_units, 1))
    shape = depth * (0.45 * np.exp(-(((s - 3 * width) / (2 * width)) ** 2)) - np.exp(-((s / width) ** 2)))
    # A few noisy copies of each shape instead of fresh noise per spike: files stay small under gzip.
    noise = rng.normal(0.0, 20.0, (n_units, WAVEFORM_VARIANTS, WAVEFORM_SAMPLES))
    pool = np.round((shape[:, None] + noise) / 4).astype(np.int16) * np.int16(4)
    unit = np.repeat(np.arange(n_units), np.diff(ends, prepend=0))
    samples = pool[unit, rng.integers(WAVEFORM_VARIANTS, size=n_spikes)].reshape(-1, 1)
    chunk = min(len(samples), 1 << 20) or 1
    data = H5DataIO(samples, compression="gzip", compression_opts=1, chunks=(chunk, 1), maxshape=(None, 1))
    values = VectorData(name="waveforms", description="Individual waveforms for each spike", data=data)
    spike_ends = WAVEFORM_SAMPLES * np.arange(1, n_spikes + 1, dtype=np.uint32)
    spike = VectorIndex(name="waveforms_index", target=values, data=spike_ends)
    return [
        values,
        spike,
        VectorIndex(name="waveforms_index_index", target=spike, data=ends.astype(np.uint32)),
    ]
