"""A simulated session as a lab of its own would write it: no dandiset's names, columns, joints or units.

Names are those neuroconv and its users choose. The elbow of a seated animal bends or stretches to a lateral
target, whose appearance is the go signal; its angle is one column in degrees. The lab derived movement onsets
itself. For a while in the middle of the session the recording was not to be used (``invalid_times``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.common import DynamicTableRegion, VectorData, VectorIndex
from pynwb import TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.misc import Units

from nwb_latents.pipeline.sources.simulator.hand_kinematics import sample_at
from nwb_latents.pipeline.sources.simulator.kinematics_clock import regular_times
from nwb_latents.pipeline.sources.simulator.neurons import CLOCK_HZ
from nwb_latents.pipeline.sources.simulator.nwb_tables import add_trials, inside, ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pynwb import NWBFile

    from nwb_latents.pipeline.signals.recording import FloatArray
    from nwb_latents.pipeline.sources.simulator.nwb_tables import Column
    from nwb_latents.pipeline.sources.simulator.simulated_session import SimulatedSession
    from nwb_latents.pipeline.sources.simulator.trial_script import Trial

REST_DEG = 90.0
DEG_PER_CM = 5.0
"""The hand's 8 cm from the middle are 40 degrees of the elbow."""

LOCATIONS = {
    "M1": "Primary motor cortex (M1), arm area",
    "PMd": "Dorsal premotor cortex, arm area",
}
OUTCOMES = {"R": "correct", "A": "aborted", "F": "incorrect", "I": "miss"}
"""Result codes of the simulator in this lab's words."""

INVALID_SHARE = 0.05
"""Share of the session that is not to be used, from its middle on."""


def fill_foreign(nwbfile: NWBFile, simulated: SimulatedSession) -> None:
    """Add electrodes, units, elbow, trials and invalid times.

    Parameters
    ----------
    nwbfile
        File that holds the session's metadata.
    simulated
        The session, of two targets left and right.

    Examples
    --------
    >>> from pynwb.testing.mock.file import mock_NWBFile
    >>> from nwb_latents.pipeline.sources.simulator import simulate_session
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> nwbfile = mock_NWBFile()
    >>> fill_foreign(nwbfile, simulate_session(SimulateSettings(layout="foreign", n_trials=2)))
    >>> sorted(nwbfile.processing["behavior"].data_interfaces), nwbfile.trials.colnames[2]
    (['ElbowAngle', 'ElbowVelocity'], 'center_target_appearance_time')
    """
    trials = [simulated.script.trials[number] for number in simulated.listed]
    _add_electrodes(nwbfile)
    _add_units(nwbfile, simulated)
    _add_elbow(nwbfile, simulated)
    add_trials(nwbfile, "Trials of the elbow task.", columns=foreign_columns(trials))
    first, last = _invalid_span(simulated)
    invalid = TimeIntervals(name="invalid_times", description="Headstage was touched.")
    invalid.add_interval(start_time=first, stop_time=last)
    nwbfile.invalid_times = invalid


def foreign_columns(trials: Sequence[Trial]) -> list[Column]:
    """Return the trial columns of the lab, each of one value per trial.

    Parameters
    ----------
    trials
        Trials of the table.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Trial
    >>> trial = Trial(start_s=1.0, stop_s=4.0)
    >>> trial.show(1, np.array([-8.0, 0.0]), hand_cm=np.zeros(2), at_s=1.5)
    >>> {name: values[0] for name, _, values in foreign_columns([trial])}["movement_type"]
    'extension'
    """

    def first(event: str) -> FloatArray:
        return np.array([next(iter(getattr(trial, event)), np.nan) for trial in trials], dtype=np.float64)

    start = np.array([trial.start_s for trial in trials])
    stop = np.array([trial.stop_s for trial in trials])
    outcome = np.array([OUTCOMES[trial.result] for trial in trials], dtype=object)
    sideways = np.array([trial.target_cm[0][0] if trial.target_cm else np.nan for trial in trials])
    movement = np.where(np.isnan(sideways), "none", np.where(sideways > 0, "flexion", "extension"))
    shown = first("target_on_s")
    return [
        ("start_time", "Start time of epoch, in seconds", start),
        ("stop_time", "Stop time of epoch, in seconds", stop),
        ("center_target_appearance_time", "The centre target is to be held.", shown),
        ("lateral_target_appearance_time", "A lateral target appears: go.", first("go_cue_s")),
        ("derived_movement_onset_time", "From the angle, by the lab's rule.", first("onset_s")),
        ("derived_movement_end_time", "From the angle, by the lab's rule.", first("move_end_s")),
        ("reward_time", "Juice.", np.where(outcome == "correct", stop - 0.05, np.nan)),
        ("movement_type", "Flexion or extension of the elbow.", movement.astype(object)),
        ("outcome", "What became of the trial.", outcome),
    ]


def _add_electrodes(nwbfile: NWBFile) -> None:
    device = nwbfile.create_device(name="MicrodriveSystem", description="simulated")
    for number, place in enumerate(LOCATIONS.values()):
        group = nwbfile.create_electrode_group(
            name=f"ElectrodeGroupRecording{number}", description="simulated", location=place, device=device
        )
        nwbfile.add_electrode(group=group, location=place)


def _add_units(nwbfile: NWBFile, simulated: SimulatedSession) -> None:
    intervals = np.array([[0.0, simulated.kinematics.duration_s]])
    times, ends = inside(simulated.spike_times, simulated.spike_index, intervals=intervals)
    n_units = len(ends)
    spikes = VectorData(name="spike_times", description="of each unit, seconds", data=times)
    electrode = DynamicTableRegion(
        name="electrodes",
        data=np.array([list(LOCATIONS).index(area) for area in simulated.neurons.area]),
        description="electrode of each unit",
        table=nwbfile.electrodes,
    )
    columns: list[Any] = [
        VectorData(
            name="unit_name",
            description="of the lab",
            data=np.array([f"{simulated.subject}_{number:03d}a" for number in range(n_units)], dtype=object),
        ),
        spikes,
        VectorIndex(name="spike_times_index", target=spikes, data=ends.astype(np.uint32)),
        *ragged("obs_intervals", "when each unit was isolated", rows=[intervals] * n_units),
        electrode,
        VectorIndex(name="electrodes_index", target=electrode, data=np.arange(1, n_units + 1)),
    ]
    nwbfile.units = Units(
        name="units",
        description="Sorted units",
        id=simulated.truth.unit_ids,
        columns=columns,
        colnames=[column.name for column in columns if not isinstance(column, VectorIndex)],
        resolution=1 / CLOCK_HZ,
    )


def _add_elbow(nwbfile: NWBFile, simulated: SimulatedSession) -> None:
    rate = simulated.settings.kinematics_rate_hz
    time = regular_times(simulated)
    behavior = nwbfile.create_processing_module(name="behavior", description="Elbow joint")
    angle = REST_DEG + DEG_PER_CM * sample_at(simulated.kinematics.position[:, :1], time)
    behavior.add(
        SpatialSeries(
            name="ElbowAngle",
            description="Angle of the elbow; flexion is positive.",
            data=angle[:, 0],
            starting_time=0.0,
            rate=rate,
            unit="degrees",
            reference_frame="180 degrees is a straight arm",
        )
    )
    behavior.add(
        TimeSeries(
            name="ElbowVelocity",
            description="Velocity of the elbow.",
            data=DEG_PER_CM * sample_at(simulated.kinematics.velocity[:, :1], time)[:, 0],
            starting_time=0.0,
            rate=rate,
            unit="degrees/s",
        )
    )
    nwbfile.add_acquisition(
        TimeSeries(
            name="TimeSeriesTorqueMotorCommand",
            description="Command to the torque motor.",
            data=simulated.rng("torque").normal(0.0, 0.01, len(time)),
            starting_time=0.0,
            rate=rate,
            unit="V",
        )
    )


def _invalid_span(simulated: SimulatedSession) -> tuple[float, float]:
    duration = simulated.kinematics.duration_s
    return round(duration / 2, 3), round(duration * (0.5 + INVALID_SHARE), 3)
