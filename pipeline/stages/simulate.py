"""``pipeline simulate``: write a dandiset of simulated sessions with known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.schemas.events import SessionEvent

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.schemas.simulation import SimulateSettings


def simulate(directory: Path, settings: SimulateSettings, *, report: Report = ignore) -> list[Path]:
    """Write simulated sessions into a folder, with the truth of each beside it.

    Parameters
    ----------
    directory
        Folder of the dandiset; made if missing. Sessions already there from the same settings are kept.
    settings
        Size and shape of the dandiset.
    report
        Called with one event per session.

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
    >>> from tempfile import TemporaryDirectory
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> small = SimulateSettings(n_subjects=1, n_sessions=1, n_units=(3, 3), n_trials=2, waveforms=False)
    >>> with TemporaryDirectory() as folder:
    ...     files = simulate(Path(folder), small, report=lambda event: print(event.session))
    sub-SimA_ses-CO-20200106
    """
    # The command line imports this module to show its help; numpy and scipy would slow it down.
    from nwb_latents.pipeline.sources.simulator import simulate_dandiset  # noqa: PLC0415

    def session_done(session: str, done: int, total: int) -> None:
        report(SessionEvent(session=session, status="done", done=done, total=total))

    return simulate_dandiset(directory, settings, progress=session_done)
