"""What the simulator knows and a recording does not show: the truth beside each simulated file.

Plain numpy arrays in an ``.npz`` file, no pickle.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.sources.simulator.lifelike.truth import ReachingTruth
from nwb_latents.pipeline.sources.simulator.system_truth import SystemTruth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray

TRUTH_SUFFIX = "_truth.npz"


@dataclass(frozen=True)
class Truth:
    """Truth of one simulated session.

    Times are seconds on the clock of the NWB file. The arrays of the first group have one entry per target
    shown or trial without target, in order of time: one per trial in centre-out sessions and those of a
    dynamical system, up to four in random-target sessions.

    Attributes
    ----------
    session
        Session id.
    settings_digest
        Digest of what the session was simulated from.
    trial
        Trial of the session, from 0. Shape ``(n_reaches,)``.
    trial_row
        Row of that trial in the file's trial table, -1 where the file does not list it. Shape
        ``(n_reaches,)``.
    reach
        Which target of the trial, from 0. Shape ``(n_reaches,)``.
    target_on_s, go_cue_s
        Event times, NaN where the event did not happen. Shape ``(n_reaches,)``.
    onset_s, move_end_s
        First and last moment of the reach, or of the hand following a run; NaN where no reach
        was made. Shape ``(n_reaches,)``.
    success
        Whether the trial was rewarded. Shape ``(n_reaches,)``.
    target_dir_rad
        Direction of the target, NaN where none was shown. Shape ``(n_reaches,)``.
    peak_speed_cm_s
        Greatest speed during the reach, NaN where none was made. Shape ``(n_reaches,)``.
    latent_time_s
        Every 10 ms of the session; of a dynamical system the left edges of its bins, every 20 ms. Shape
        ``(n_times,)``.
    latents
        Latent state at those times, or in those bins. Shape ``(n_times, 10)``, of preset 'classic'
        ``(n_times, 8)``, of a system ``(n_times, 2)``, float64.
    rates_hz
        Rate at which each unit fires at those times, dead time included, or in those bins. Shape
        ``(n_times, n_units)``, float32.
    unit_ids
        Ids of the units in the file. Shape ``(n_units,)``.
    velocity, position
        Hand velocity in cm/s and position in cm at those times. Shape ``(n_times, 2)``.
    system
        Equations and read-outs of a session of a dynamical system; None for reaches.
    reaching
        Dynamics, tuning, drift and movements of a session of preset 'lifelike'; None for others.
    """

    session: str
    settings_digest: str
    trial: IntArray
    trial_row: IntArray
    reach: IntArray
    target_on_s: FloatArray
    go_cue_s: FloatArray
    onset_s: FloatArray
    move_end_s: FloatArray
    success: BoolArray
    target_dir_rad: FloatArray
    peak_speed_cm_s: FloatArray
    latent_time_s: FloatArray
    latents: FloatArray
    rates_hz: NDArray[np.float32]
    unit_ids: IntArray
    velocity: FloatArray
    position: FloatArray
    system: SystemTruth | None = None
    reaching: ReachingTruth | None = None


_PARTS = ("system", "reaching")
_NAMES = tuple(entry.name for entry in fields(Truth) if entry.name not in _PARTS)


def truth_path(nwb_path: Path) -> Path:
    """Return where the truth of a simulated NWB file lies: beside it.

    Parameters
    ----------
    nwb_path
        Path of the NWB file.

    Examples
    --------
    >>> from pathlib import Path
    >>> truth_path(Path("sub-SimA_ses-CO-20200106_behavior+ecephys.nwb")).name
    'sub-SimA_ses-CO-20200106_behavior+ecephys_truth.npz'
    """
    return nwb_path.with_name(nwb_path.stem + TRUTH_SUFFIX)


def write_truth(truth: Truth, path: Path) -> None:
    """Write `truth` to `path`, byte for byte the same for the same truth.

    Parameters
    ----------
    truth
        What to write.
    path
        File to write; an existing one is replaced.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from nwb_latents.pipeline.sources.simulator import simulate_session
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> truth = simulate_session(SimulateSettings(n_units=(4, 4), n_trials=2)).truth
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "session_truth.npz"
    ...     write_truth(truth, path)
    ...     read_truth(path).rates_hz.shape == truth.rates_hz.shape
    True
    """
    arrays = {name: getattr(truth, name) for name in _NAMES}
    for part in (truth.system, truth.reaching):
        arrays |= part.to_arrays() if part else {}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_truth(path: Path) -> Truth:
    """Read the truth of a simulated session.

    Parameters
    ----------
    path
        The ``…_truth.npz`` file, or the NWB file it lies beside.

    Raises
    ------
    DataError
        If there is no such file, or it is not the truth of a simulated session.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from nwb_latents.pipeline.sources.simulator import simulate_dandiset
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> small = SimulateSettings(n_subjects=1, n_sessions=1, n_units=(3, 3), n_trials=2, waveforms=False)
    >>> with TemporaryDirectory() as folder:
    ...     (file,) = simulate_dandiset(Path(folder), small)
    ...     truth = read_truth(file)
    >>> truth.session, truth.latents.shape[1]
    ('sub-SimA_ses-CO-20200106', 10)
    """
    arrays = _load(path, _NAMES, with_parts=True)
    for name in ("session", "settings_digest"):
        arrays[name] = str(arrays[name])
    return Truth(**arrays)


def read_digest(path: Path) -> str:
    """Return the digest of what a simulated session was simulated from, without reading its truth whole.

    Parameters
    ----------
    path
        The ``…_truth.npz`` file, or the NWB file it lies beside.

    Raises
    ------
    DataError
        If there is no such file, or it is not the truth of a simulated session.

    Examples
    --------
    >>> from pathlib import Path
    >>> read_digest(Path("nowhere.nwb"))
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere_truth.npz: no such file. ...
    """
    return str(_load(path, ["settings_digest"])["settings_digest"])


def _load(path: Path, names: Sequence[str], *, with_parts: bool = False) -> dict[str, Any]:
    if path.suffix == ".nwb":
        path = truth_path(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays: dict[str, Any] = {name: stored[name] for name in names}
            if with_parts and "system_name" in stored:
                arrays["system"] = SystemTruth.from_arrays(stored)
            if with_parts and "reaching_dynamics_names" in stored:
                arrays["reaching"] = ReachingTruth.from_arrays(stored)
            return arrays
    except FileNotFoundError as error:
        message = f"{path}: no such file. The truth of a simulated session lies beside its NWB file."
        raise DataError(message) from error
    except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
        message = (
            f"{path}: not the truth of a simulated session ({error}). "
            "Remove it and its NWB file, and simulate the session again."
        )
        raise DataError(message) from error
