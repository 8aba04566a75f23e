"""A folder of simulated sessions, laid out like a downloaded dandiset.

Beside each NWB file lies its truth. The truth is written first and the NWB file takes its name last, each by
a rename, so an NWB file that exists is complete and has its truth.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.sources.simulator.simulated_session import (
    name_session,
    session_digest,
    simulate_session,
)
from nwb_latents.pipeline.sources.simulator.truth import read_digest, truth_path, write_truth

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.schemas.simulation import SimulateSettings

SessionProgress = Callable[[str, int, int], None]
"""Called with the id of the session that is complete, how many are, and how many there will be."""


def simulate_dandiset(
    directory: Path, settings: SimulateSettings, *, progress: SessionProgress | None = None
) -> list[Path]:
    """Write a dandiset of simulated sessions and their truth.

    Sessions that are already there from the same settings are left as they are, so an interrupted call is
    finished by repeating it and a dandiset grows by raising ``n_subjects`` or ``n_sessions``. One of a
    dynamical system does not grow: its sessions share out the range of the parameter.

    Parameters
    ----------
    directory
        Folder to write ``sub-<S>/sub-<S>_ses-<task>-<date>_behavior+ecephys.nwb`` into; made if missing.
    settings
        Size and shape of the dandiset.
    progress
        Called after each session.

    Returns
    -------
    paths
        The NWB files, in order of subject and session.

    Raises
    ------
    SettingsError
        If a file is in the way that was not simulated from the same settings.
    MachineError
        If the folder cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> from tempfile import TemporaryDirectory
    >>> small = SimulateSettings(n_subjects=1, n_sessions=1, n_units=(3, 3), n_trials=2, waveforms=False)
    >>> with TemporaryDirectory() as folder:
    ...     [path.name for path in simulate_dandiset(Path(folder), small)]
    ['sub-SimA_ses-CO-20200106_behavior+ecephys.nwb']
    """
    numbers = [(s, k) for s in range(settings.n_subjects) for k in range(settings.n_sessions)]
    paths = []
    for done, (subject, session) in enumerate(numbers, start=1):
        session_id, subject_id, _ = name_session(settings, subject=subject, session=session)
        path = directory / f"sub-{subject_id}" / f"{session_id}_behavior+ecephys.nwb"
        try:
            if not _is_complete(path, settings):
                _write_session(path, settings, subject=subject, session=session)
        except OSError as error:
            message = (
                f"{path}: cannot be written ({error.strerror or error}). Choose a folder you may write to "
                "and that has room; sessions that are complete stay and are not simulated again."
            )
            raise MachineError(message) from error
        paths.append(path)
        if progress is not None:
            progress(session_id, done, len(numbers))
    return paths


def _is_complete(path: Path, settings: SimulateSettings) -> bool:
    if not path.exists():
        return False
    try:
        found = f"digest {read_digest(path)}"
    except DataError:
        found = "one without readable truth"
    expected = session_digest(settings)
    if found != f"digest {expected}":
        message = (
            f"{path}: a file of other origin is in the way: expected one simulated from these settings "
            f"(digest {expected}), found {found}. Choose another folder, or remove the file and its truth."
        )
        raise SettingsError(message + _of_the_other_preset(found, settings))
    return True


def _of_the_other_preset(found: str, settings: SimulateSettings) -> str:
    """Say that a file was simulated from these settings but for their preset, if it was."""
    if settings.preset == "classic":
        return ""
    classic = settings.model_copy(update={"preset": "classic", "reach_profile": "minimum_jerk"})
    if found != f"digest {session_digest(classic)}":
        return ""
    return (
        " It was simulated with preset 'classic', all there was before there were presets: to keep "
        "it, say --preset classic."
    )


def _write_session(path: Path, settings: SimulateSettings, *, subject: int, session: int) -> None:
    # pynwb takes over a second to import; whoever only asks for the settings need not wait for it.
    from nwb_latents.pipeline.sources.simulator.nwb_file import write_nwb  # noqa: PLC0415

    simulated = simulate_session(settings, subject=subject, session=session)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _renamed_when_whole(truth_path(path)) as temporary:
        write_truth(simulated.truth, temporary)
    with _renamed_when_whole(path) as temporary:
        write_nwb(simulated, temporary)


@contextmanager
def _renamed_when_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it on success, remove it otherwise."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
