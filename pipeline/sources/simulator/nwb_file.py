"""One simulated session as an NWB file, byte for byte the same for the same session."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import h5py
from hdmf.build import DatasetBuilder, GroupBuilder
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject

from nwb_latents.pipeline.sources.simulator.nwb_layouts import fill_file
from nwb_latents.pipeline.sources.simulator.simulated_session import SimulatedSession, session_digest
from nwb_latents.pipeline.sources.simulator.system_runs import BIN_S

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.pipeline.sources.simulator.system_truth import SystemTruth

_TASK_TEXT = {"CO": "centre-out reaching with an instructed delay", "RT": "random-target reaching"}


def write_nwb(simulated: SimulatedSession, path: Path) -> None:
    """Write a simulated session in the layout its settings name.

    Parameters
    ----------
    simulated
        The session.
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
    >>> simulated = simulate_session(SimulateSettings(n_units=(4, 4), n_trials=2))
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "session.nwb"
    ...     write_nwb(simulated, path)
    ...     with h5py.File(path) as file:
    ...         file["general/subject/subject_id"].asstr()[()]
    'SimA'
    """
    nwbfile = _new_file(simulated)
    fill_file(nwbfile, simulated)
    with h5py.File(path, "w") as file, NWBHDF5IO(file=file, mode="w") as io:
        # Object ids are random: the file is built, its ids are replaced, and what was built is written. A
        # container that counts as modified would be built afresh, with its random id.
        builder = io.manager.build(nwbfile, source=str(path), root=True)
        _pin_object_ids(builder, simulated)
        for container in nwbfile.all_children():
            container.set_modified(modified=False)
        io.write(nwbfile)


def _new_file(simulated: SimulatedSession) -> NWBFile:
    description, experiment = _reaching_text(simulated)
    keyword = "reaching"
    if simulated.truth.system is not None:
        description, experiment = _system_text(simulated, simulated.truth.system)
        keyword = "dynamical system"
    nwbfile = NWBFile(
        session_description=description,
        experiment_description=experiment,
        identifier=str(_pinned_uuid(simulated, "identifier")),
        session_id=simulated.session.partition("_ses-")[2],
        session_start_time=simulated.start,
        file_create_date=[simulated.start],
        institution="Simulated",
        lab="Simulated",
        experimenter=["Simulator, Reach"],
        keywords=["motor cortex", keyword, "simulation"],
    )
    nwbfile.subject = Subject(
        subject_id=simulated.subject,
        species="Macaca mulatta",
        sex="U",
        age="P8Y",
        description="simulated, no animal",
    )
    return nwbfile


def _reaching_text(simulated: SimulatedSession) -> tuple[str, str]:
    task = _TASK_TEXT[simulated.settings.task]
    return (
        f"Simulated subject {simulated.subject} performing {task}.",
        f"Simulation of {task} with low-dimensional shared dynamics of known truth",
    )


def _system_text(simulated: SimulatedSession, system: SystemTruth) -> tuple[str, str]:
    parameters = ", ".join(f"{name} = {value:.6g}" for name, value in system.parameters.items())
    experiment = (
        f"Simulation of the dynamical system {system.name}, one parameter per session, of known truth"
    )
    description = (
        f"Simulated subject {simulated.subject} driven by runs of the dynamical system {system.name} with "
        f"{parameters}, dt = {system.dt:g} per bin of {1000 * BIN_S:g} ms, noise {system.noise_per_step:g} "
        "per step."
    )
    return description, experiment


def _pinned_uuid(simulated: SimulatedSession, what: str) -> uuid.UUID:
    origin = f"{session_digest(simulated.settings)}/{simulated.session}/{what}"
    return uuid.uuid5(uuid.NAMESPACE_URL, origin)


def _pin_object_ids(builder: GroupBuilder, simulated: SimulatedSession) -> None:
    pending: list[GroupBuilder | DatasetBuilder] = [builder]
    while pending:
        entry = pending.pop()
        if "object_id" in entry.attributes:
            entry.attributes["object_id"] = str(_pinned_uuid(simulated, entry.path))
        if isinstance(entry, GroupBuilder):
            pending += [*entry.groups.values(), *entry.datasets.values()]
