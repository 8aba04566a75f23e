"""How large a recording is: what its memory follows, known before its data are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import PipelineError
from nwb_latents.pipeline.nwb.file import open_nwb
from nwb_latents.pipeline.nwb.layouts.trial_table import TRIALS
from nwb_latents.schemas.bounds import LONGEST_S

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile, NwbSource
    from nwb_latents.pipeline.signals.recording import Recording


@dataclass(frozen=True)
class RecordingSize:
    """What the memory of an ingest follows.

    Attributes
    ----------
    n_units, n_spikes
        Units of the file, and spikes of all.
    duration_s
        From the first to the last moment that is binned, s.
    """

    n_units: int
    n_spikes: int
    duration_s: float

    @property
    def words(self) -> str:
        """The size as a person says it."""
        return f"{self.n_units} units, {self.n_spikes:,} spikes, {self.duration_s / 60:,.0f} minutes"


def size_of(recording: Recording) -> RecordingSize:
    """Return the size of a recording that was read."""
    observed = recording.observed
    duration = float(observed.max() - observed.min()) if observed.size else 0.0
    return RecordingSize(len(recording.spike_index), len(recording.spike_times), duration)


def stated_size(source: NwbSource, *, name: str | None = None) -> RecordingSize | None:
    """Return the size a file states, without reading its data.

    The duration is that from the first to the last spike or trial, whichever is shorter: a clock that is
    wrong is said when the file is read, and is not taken for a long session.

    Parameters
    ----------
    source, name
        As for `pipeline.nwb.read.read_recording`.

    Returns
    -------
    size
        None where the file does not tell, or cannot be opened: whoever reads it says why.
    """
    try:
        with open_nwb(source, name=name) as file:
            units, spikes = file.shape("units/id"), file.shape("units/spike_times")
            spans = [span for span in (_spikes(file), _trials(file)) if span is not None]
    except (PipelineError, OSError, ValueError, KeyError, RuntimeError, TypeError):
        return None
    duration = min(spans, default=0.0)
    if not units or not spikes or not 0 < duration <= LONGEST_S:
        return None
    return RecordingSize(int(units[0]), int(spikes[0]), duration)


def _spikes(file: NwbFile) -> float | None:
    ends = file.tree.ends("units/spike_times")
    # The last spike of the last unit: near the end of the session, unless that unit falls silent.
    return None if ends is None else abs(ends[1] - ends[0])


def _trials(file: NwbFile) -> float | None:
    paths = f"{TRIALS}/start_time", f"{TRIALS}/stop_time"
    if any(file.shape(path) is None for path in paths):
        return None
    start, stop = (file.array(path) for path in paths)
    if not {start.dtype.kind, stop.dtype.kind} <= set("fiu"):
        return None
    start, stop = start[np.isfinite(start)], stop[np.isfinite(stop)]
    return float(stop.max() - start.min()) if len(start) and len(stop) else None
