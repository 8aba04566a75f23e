"""What a session will cost: from what its recording holds, where that is known, or the size of its file.

Memory follows units × bins, and spikes, up to what a session may take; beyond that they lie on the disk,
and what grows is the number of bins alone. What a file holds is known once it is open
(`pipeline.nwb.recording_size`). Before, as of a listing of an archive, there is the size of the file alone;
those constants are of simulated sessions whose files hold nothing but spikes and kinematics, the worst case
for their size. Files with waveforms or broadband recordings need less.

Measured is the peak of the resident memory (``VmHWM``; ``getrusage`` tells the peak of the parent where that
was larger) of a process started from a shell (``benchmarks/memory.py``, ``benchmarks/plan.py``; tables in
``benchmarks/RESULTS.md``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.machine import memory_bytes

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.recording_size import RecordingSize

GIB = 1 << 30

BASE_BYTES = 200 << 20
"""A Python process with the libraries loaded, those of a dask worker as well; measured: 201 MB."""

BYTES_PER_BYTE = 7.0
"""Memory per byte of the file at bins of 20 ms.

Measured for one session in a process: 4.2 at 30 MB, 5.1 at 115 MB, 5.0 at 322 MB. A worker that goes from
session to session and keeps its memory takes 6.9 at 115 MB.
"""

MEMORY_BYTES = 1_000_000_000
"""Memory an ingest may take for a session, unless a person says otherwise (``--memory-gb``)."""

OF_ONE_ARRAY = 8
"""One array takes this share of that at most; larger ones lie on the disk, or are made in blocks."""

BYTES_PER_CELL = 5
"""Counts of one byte and rates of four for each unit and bin: they decide on work in blocks."""

BYTES_PER_UNIT_BIN = 11.0
BYTES_OF_BLOCKS = 100e6
BYTES_PER_SPIKE = 14.0
BYTES_OF_SPIKES_ON_DISK = 60e6
BYTES_PER_BIN = 45.0
BYTES_PER_SECOND = 5_000.0
BYTES_PER_UNIT = 60_000.0
MORE_BASE_BYTES = 40 << 20
"""Memory of recordings of 50 to 1,000 units, 10 minutes to 2 hours, 2 to 40 spikes per second each.

With bins of 20, 5 and 1 ms, measured peaks are 0.7 to 1.01 of what these give. What follows time alone are
kinematics of 100 Hz; a series of 1 kHz takes ten times as much.
"""

MOST_BYTES = 800_000_000
"""Two hours of 1,000 units in bins of 5 ms take 0.7 GB; what makes a file larger holds other things."""

MEASURED_BIN_S = 0.02

BASE_SECONDS = 0.5
SECONDS_PER_BYTE = 1 / 75e6
MOST_READ_BYTES = GIB
DIGEST_BYTES_PER_SECOND = 400e6
FETCH_BYTES_PER_SECOND = 30e6
"""Not measured: the archive's rate depends on the line."""

USABLE_SHARE = 0.8
"""Share of a machine's memory that sessions may use together."""


@dataclass(frozen=True)
class Estimate:
    """Cost of one session.

    Attributes
    ----------
    memory_bytes
        Peak memory of the process.
    seconds
        Time on one core.
    """

    memory_bytes: int
    seconds: float


def estimate_session(
    size_bytes: int,
    *,
    bin_size_s: float = MEASURED_BIN_S,
    is_remote: bool = False,
    recording: RecordingSize | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> Estimate:
    """Return what one session costs.

    Parameters
    ----------
    size_bytes
        Size of the NWB file.
    bin_size_s
        Width of a bin, s; memory is for the most part binned arrays.
    is_remote
        Whether the file has to be fetched first.
    recording
        What the file holds; None: not known, and memory follows the size of the file.
    memory_bytes
        What the ingest was told to take.

    Examples
    --------
    >>> estimate_session(0).memory_bytes == BASE_BYTES
    True
    >>> estimate_session(10**12).memory_bytes == estimate_session(10**11).memory_bytes
    True
    """
    finer = max(1.0, MEASURED_BIN_S / bin_size_s)
    memory = BASE_BYTES + int(min(BYTES_PER_BYTE * size_bytes * finer, MOST_BYTES))
    if recording is not None:
        memory = estimate_memory(recording, bin_size_s=bin_size_s, memory_bytes=memory_bytes)
    seconds = BASE_SECONDS + min(size_bytes, MOST_READ_BYTES) * SECONDS_PER_BYTE * finer
    seconds += size_bytes / DIGEST_BYTES_PER_SECOND
    if is_remote:
        seconds += size_bytes / FETCH_BYTES_PER_SECOND
    return Estimate(memory, seconds)


def estimate_memory(size: RecordingSize, *, bin_size_s: float, memory_bytes: int = MEMORY_BYTES) -> int:
    """Return the peak memory of the process that ingests a recording, bytes.

    Parameters
    ----------
    size
        What the recording holds.
    bin_size_s
        Width of a bin, s.
    memory_bytes
        What the ingest was told to take.

    Examples
    --------
    >>> from nwb_latents.pipeline.nwb.recording_size import RecordingSize
    >>> two_hours = RecordingSize(n_units=1000, n_spikes=14_400_000, duration_s=7200.0)
    >>> [round(estimate_memory(two_hours, bin_size_s=width) / 1e9, 2) for width in (0.02, 0.005)]
    [0.67, 0.71]
    """
    bins, most = size.duration_s / bin_size_s, memory_bytes / OF_ONE_ARRAY
    cells = size.n_units * bins
    memory = BYTES_PER_UNIT_BIN * cells if BYTES_PER_CELL * cells <= most else BYTES_OF_BLOCKS
    memory += BYTES_PER_SPIKE * size.n_spikes if 8 * size.n_spikes <= most else BYTES_OF_SPIKES_ON_DISK
    memory += BYTES_PER_BIN * bins + BYTES_PER_SECOND * size.duration_s + BYTES_PER_UNIT * size.n_units
    return BASE_BYTES + MORE_BASE_BYTES + int(memory)


def memory_share() -> int:
    """Return how much memory sessions may use together here, bytes.

    The limit of a container, batch job or dask worker counts, where there is one.
    """
    return int(min(memory_bytes(), _of_worker()) * USABLE_SHARE)


def _of_worker() -> int:
    """Return the memory at which dask ends this worker, bytes; the machine's where it is none."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return memory_bytes()
    try:
        limit = distributed.get_worker().memory_manager.memory_limit
    except (ValueError, AttributeError):
        return memory_bytes()
    return int(limit) if limit else memory_bytes()


def memory_refusal(
    name: str, size: RecordingSize, *, bin_size_s: float, most: int, memory_bytes: int = MEMORY_BYTES
) -> MachineError | None:
    """Return the refusal of a recording that does not fit the memory; None if it does.

    Parameters
    ----------
    name
        Name of the file.
    size
        What it holds.
    bin_size_s
        Width of a bin, s.
    most
        Memory it may use, bytes.
    memory_bytes
        What the ingest was told to take.

    Examples
    --------
    >>> from nwb_latents.pipeline.nwb.recording_size import RecordingSize
    >>> large = RecordingSize(n_units=1000, n_spikes=14_400_000, duration_s=7200.0)
    >>> print(memory_refusal("a.nwb", large, bin_size_s=0.001, most=GIB // 2))
    a.nwb: estimated to need 1.0 GB of memory; 0.5 GB may be used here (1000 units, 14,400,000 spikes,
    120 minutes, bins of 1 ms). Use wider bins (--set bin_size_s=0.02 needs 0.7 GB), a larger machine
    (--cluster), leave this session out (--exclude), or --force to try all the same.
    """
    needed = estimate_memory(size, bin_size_s=bin_size_s, memory_bytes=memory_bytes)
    if needed <= most:
        return None
    wider = estimate_memory(size, bin_size_s=MEASURED_BIN_S, memory_bytes=memory_bytes)
    remedy = (
        f"Use wider bins (--set bin_size_s={MEASURED_BIN_S:g} needs {wider / 1e9:,.1f} GB), a"
        if bin_size_s < MEASURED_BIN_S
        else "Use a"
    )
    return MachineError(
        f"{name}: estimated to need {needed / 1e9:,.1f} GB of memory; {most / 1e9:,.1f} GB may be used here "
        f"({size.words}, bins of {bin_size_s * 1e3:g} ms). {remedy} larger machine (--cluster), leave this "
        "session "
        "out (--exclude), or --force to try all the same."
    )
