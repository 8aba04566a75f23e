"""What a session will cost, from the size of its file alone: no file is opened to plan.

The constants are those of simulated sessions whose files hold nothing but spikes and kinematics, the worst
case for their size, each ingested in a process started from a shell: peak of the resident memory (``VmHWM``;
``getrusage`` tells the peak of the parent where that was larger). Files with waveforms or broadband
recordings need less than they are estimated to.
"""

from __future__ import annotations

from dataclasses import dataclass

from nwb_latents.pipeline.machine import memory_bytes

GIB = 1 << 30

BASE_BYTES = 200 << 20
"""A Python process with the libraries loaded, those of a dask worker as well; measured: 201 MB."""

BYTES_PER_BYTE = 7.0
"""Memory per byte of the file at bins of 20 ms.

Measured for one session in a process: 4.2 at 30 MB, 5.1 at 115 MB, 5.0 at 322 MB. A worker that goes from
session to session and keeps its memory takes 6.9 at 115 MB.
"""

MOST_BYTES = 4 * GIB
"""Three hours of 250 units in bins of 20 ms took 1.8 GB; what is larger holds other things than spikes."""

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
    size_bytes: int, *, bin_size_s: float = MEASURED_BIN_S, is_remote: bool = False
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

    Examples
    --------
    >>> estimate_session(0).memory_bytes == BASE_BYTES
    True
    >>> estimate_session(10**12).memory_bytes == estimate_session(10**11).memory_bytes
    True
    """
    finer = max(1.0, MEASURED_BIN_S / bin_size_s)
    memory = BASE_BYTES + int(min(BYTES_PER_BYTE * size_bytes, MOST_BYTES) * finer)
    seconds = BASE_SECONDS + min(size_bytes, MOST_READ_BYTES) * SECONDS_PER_BYTE * finer
    seconds += size_bytes / DIGEST_BYTES_PER_SECOND
    if is_remote:
        seconds += size_bytes / FETCH_BYTES_PER_SECOND
    return Estimate(memory, seconds)


def memory_share() -> int:
    """Return how much of this machine's memory sessions may use together, bytes.

    The limit of a container or batch job counts, where there is one.
    """
    return int(memory_bytes() * USABLE_SHARE)
