"""What a layout adapter says about a family of NWB files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from nwb_latents.pipeline.nwb.layouts.trial_table import EVENT_COLUMNS, TRIALS, read_trial_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray, TrialTable

__all__ = ["EVENT_COLUMNS", "TRIALS", "Layout", "read_trial_table", "task_of_session"]

Stamps: TypeAlias = Literal["sample", "bin_start", "bin_end"]
SeriesPath: TypeAlias = str | tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """One family of NWB files.

    Attributes
    ----------
    name
        Name used in the catalog and in ``--set layout=NAME``.
    summary
        One line for users.
    recognises
        Whether a file may be of this family, by its names.
    lacks
        What all files of the family have and this one has not, in words; a file that lacks anything is not of
        the family, and that is said.
    known_by
        What its files are known by, in words.
    priority
        Layouts of higher priority are asked first whether they recognise a file: raise it where another
        layout recognises the same files too, lower it where others know more. 0 of those that know their
        files by what only these have.
    position, velocity
        Path of the series; several paths: series of one column each, side by side. Both None: those that look
        most like a hand's or cursor's, unless `finds_series` is false.
    finds_series
        Whether series are looked for where neither path is given.
    needs_kinematics
        Whether a file without position and velocity is refused.
    unit
        Unit of the kinematics where the files' own word cannot be trusted: ``m``, ``cm``, ``mm``, ``range``
        (0 to 1 over the range of movement, read as percent of it) or ``au`` (arbitrary, read as it is).
    velocity_per_s
        What stored velocities are multiplied by to become per second; 50 for those per bin of 20 ms.
    n_axes
        Axes that are read; None: all.
    axes
        Their names; None: x, y, z.
    stamps
        What the time stamps of the kinematics and the mask say: the time of a sample, or the start or the end
        of the bin a value was computed over.
    times
        Reads the time stamps of a series (file, path, number of samples) where they do not follow NWB.
    mask
        Path of a series that is true in the time to use; the rest counts as not observed.
    inverse_mask
        Path of a series that is true in the time not to use, read where `mask` is not there.
    areas
        Electrode group → brain area, where the name of the group does not say it.
    area_of
        Names the area of each unit (file, unit ids), where the electrodes cannot; None: it does not know.
    events
        Canonical event → column names.
    trials
        Reads the trial table.
    task
        Names the task of a file.
    checks
        Says what is odd in a file and its trials.
    has_clock_resets
        Whether the clock may go backwards from one trial to the next; later parts are then moved behind the
        earlier ones.
    notes
        What holds for all these files and a reader of their numbers must know.
    also_reads
        Further datasets and tables the adapter reads.
    """

    name: str
    summary: str
    recognises: Callable[[NwbFile], bool]
    lacks: Callable[[NwbFile], list[str]] = lambda _: []
    known_by: str = ""
    priority: int = 0
    position: SeriesPath | None = None
    velocity: SeriesPath | None = None
    finds_series: bool = True
    needs_kinematics: bool = True
    unit: str | None = None
    velocity_per_s: float = 1.0
    n_axes: int | None = None
    axes: tuple[str, ...] | None = None
    stamps: Stamps = "sample"
    times: Callable[[NwbFile, str, int], FloatArray] | None = None
    mask: str | None = None
    inverse_mask: str | None = None
    areas: Mapping[str, str] = field(default_factory=dict)
    area_of: Callable[[NwbFile, IntArray], NDArray[np.object_] | None] | None = None
    events: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: EVENT_COLUMNS)
    trials: Callable[[NwbFile, Mapping[str, tuple[str, ...]]], TrialTable | None] = read_trial_table
    task: Callable[[NwbFile], str] = field(default_factory=lambda: task_of_session)
    checks: Callable[[NwbFile, TrialTable | None], list[str]] = lambda _file, _trials: []
    has_clock_resets: bool = False
    notes: tuple[str, ...] = ()
    also_reads: tuple[str, ...] = ()


def task_of_session(file: NwbFile) -> str:
    """Return the task the session id begins with (``CO-20131003`` → ``CO``), else ``unknown``."""
    first = file.session.partition("_ses-")[2].split("-")[0]
    return first if first in {"CO", "RT", "maze", "RTT"} else "unknown"
