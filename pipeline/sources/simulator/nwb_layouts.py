"""The NWB layouts a simulated session can be written in: paths, units and columns of the real files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.common import VectorIndex
from pynwb import TimeSeries
from pynwb.base import TimeSeriesReference, TimeSeriesReferenceVectorData
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries

from nwb_latents.pipeline.sources.simulator.foreign_lab import fill_foreign
from nwb_latents.pipeline.sources.simulator.hand_kinematics import FINE_RATE_HZ, sample_at
from nwb_latents.pipeline.sources.simulator.kinematics_clock import regular_times
from nwb_latents.pipeline.sources.simulator.nwb_tables import (
    ArrayNames,
    add_electrodes,
    add_trials,
    add_units,
    ragged,
)
from nwb_latents.pipeline.sources.simulator.nwb_trials import (
    BARRIERS_MM,
    MM_PER_CM,
    benchmark_columns,
    centre_out_columns,
    maze_columns,
    random_target_columns,
    run_columns,
    target_places,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pynwb import NWBFile, ProcessingModule

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray
    from nwb_latents.pipeline.sources.simulator.simulated_session import SimulatedSession
    from nwb_latents.pipeline.sources.simulator.trial_script import Trial

M_PER_CM = 0.01
UTAH = (
    ArrayNames("M1", "electrode_array_M1", "electrode_group_M1"),
    ArrayNames("PMd", "electrode_array_PMd", "electrode_group_PMd"),
)
MAZE = (ArrayNames("PMd", "Utah Array(PMd)", "1"), ArrayNames("M1", "Utah Array(M1)", "2"))


def fill_file(nwbfile: NWBFile, simulated: SimulatedSession) -> None:
    """Add electrodes, units, kinematics and trials in the layout the session's settings name.

    Parameters
    ----------
    nwbfile
        File that holds the session's metadata.
    simulated
        The session.

    Examples
    --------
    >>> from pynwb.testing.mock.file import mock_NWBFile
    >>> from nwb_latents.pipeline.sources.simulator import simulate_session
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> nwbfile = mock_NWBFile()
    >>> fill_file(nwbfile, simulate_session(SimulateSettings(n_units=(4, 4), n_trials=2)))
    >>> len(nwbfile.units), len(nwbfile.trials), sorted(nwbfile.processing["behavior"].data_interfaces)
    (4, 2, ['Acceleration', 'Position', 'Velocity'])
    """
    layouts: dict[str, Callable[[NWBFile, SimulatedSession], None]] = {
        "000688": _fill_000688,
        "000070": _fill_000070,
        "nlb": _fill_nlb,
        "generic": _fill_generic,
        "foreign": fill_foreign,
    }
    layouts[simulated.settings.layout](nwbfile, simulated)


def _fill_000688(nwbfile: NWBFile, simulated: SimulatedSession) -> None:
    add_electrodes(nwbfile, UTAH)
    add_units(nwbfile, simulated, arrays=UTAH, waveforms=simulated.settings.waveforms)
    behavior = _behavior_module(nwbfile, "Processed Behavioral data")
    time = regular_times(simulated)
    hand = simulated.kinematics
    position = Position(
        spatial_series=SpatialSeries(
            name="cursor_pos",
            description="Cursor position (x, y) on the screen.",
            data=sample_at(hand.position, time),
            timestamps=time,
            unit="cm",
            reference_frame="centre of the workspace",
        )
    )
    velocity = BehavioralTimeSeries(name="Velocity")
    velocity.create_timeseries(
        name="cursor_vel",
        description="Cursor velocity (vx, vy).",
        data=sample_at(hand.velocity, time),
        timestamps=time,
        unit="cm/s",
    )
    acceleration = BehavioralTimeSeries(name="Acceleration")
    acceleration.create_timeseries(
        name="cursor_acc",
        description="Cursor acceleration (ax, ay).",
        data=sample_at(hand.acceleration, time),
        timestamps=time,
        unit="cm/s^2",
    )
    behavior.add([position, velocity, acceleration])
    if simulated.settings.task == "RT":
        add_trials(nwbfile, "experimental trials.", columns=random_target_columns(_listed(simulated)))
    else:
        add_trials(
            nwbfile, "Delayed center-out reaching trial.", columns=centre_out_columns(_listed(simulated))
        )


def _fill_000070(nwbfile: NWBFile, simulated: SimulatedSession) -> None:
    trials = _listed(simulated)
    add_electrodes(nwbfile, MAZE)
    observed = np.array([(trial.start_s, trial.stop_s) for trial in trials])
    add_units(nwbfile, simulated, arrays=MAZE, observed=observed, group_column=True)
    with_stop = not simulated.ends_a_sample_early
    rows = _samples_in_trials(trials, with_stop=with_stop)
    hand = MM_PER_CM * simulated.kinematics.position[rows]
    series = {"Eye": _eye_position(simulated, rows), "Hand": hand, "Cursor": hand}
    # The real files declare the default unit and a conversion of NaN: nothing in them says millimetres.
    position = Position(
        spatial_series=[
            SpatialSeries(
                name=name,
                data=data,
                timestamps=rows / FINE_RATE_HZ,
                reference_frame="screen center",
                conversion=np.nan,
            )
            for name, data in series.items()
        ]
    )
    _behavior_module(nwbfile, "contains monkey movement data").add(position)
    add_trials(
        nwbfile,
        "experimental trials",
        columns=maze_columns(trials, simulated.rng("discard")),
        ragged_columns=[
            *ragged(
                "target_positions",
                "x,y position on screen of all targets presented",
                rows=target_places(trials),
            ),
            *ragged(
                "frame_details",
                "(frameLeft,right,bottom,top, width) : where the frame (outer rectangle of barriers) was",
                rows=[np.array([-120, 120, -120, 120, 4], dtype=np.int16)[:, None, None]] * len(trials),
            ),
            *ragged("barrier_info", "(x,y,halfwidth,halfheight)", rows=[BARRIERS_MM] * len(trials)),
            *_series_of_trials(list(position.spatial_series.values()), trials, with_stop=with_stop),
        ],
    )


def _series_of_trials(
    series: Sequence[SpatialSeries], trials: Sequence[Trial], *, with_stop: bool
) -> list[Any]:
    """Column ``timeseries``: the samples of each series that belong to each trial."""
    references, first = [], 0
    for trial in trials:
        n_samples = len(_samples_in_trials([trial], with_stop=with_stop))
        references += [TimeSeriesReference(first, n_samples, entry) for entry in series]
        first += n_samples
    column = TimeSeriesReferenceVectorData(
        name="timeseries", description="index into a TimeSeries object", data=references
    )
    ends = len(series) * np.arange(1, len(trials) + 1, dtype=np.uint16)
    return [column, VectorIndex(name="timeseries_index", target=column, data=ends)]


def _fill_nlb(nwbfile: NWBFile, simulated: SimulatedSession) -> None:
    trials = _listed(simulated)
    add_electrodes(nwbfile, UTAH[::-1])
    observed = np.array([(trial.start_s, trial.stop_s) for trial in trials])
    add_units(nwbfile, simulated, arrays=UTAH[::-1], observed=observed, heldout=simulated.heldout)
    # The benchmark's own reader drops a whole series that has one sample at or beyond the last stop.
    rows = _samples_in_trials(trials, with_stop=False)
    time = rows / FINE_RATE_HZ
    behavior = _behavior_module(nwbfile, "Processed behavioral data")
    hand = MM_PER_CM * simulated.kinematics.position[rows]
    places = {"cursor_pos": hand, "hand_pos": hand, "eye_pos": _eye_position(simulated, rows)}
    for name, data in places.items():
        text = f"{name.removesuffix('_pos').capitalize()} position in mm. First column x, second column y"
        behavior.add(
            SpatialSeries(
                name=name,
                description=text,
                data=data,
                timestamps=time,
                unit="mm",
                reference_frame="screen centre",
            )
        )
    behavior.add(
        TimeSeries(
            name="hand_vel",
            description="Hand velocity in mm/s. First column x, second column y",
            data=MM_PER_CM * simulated.kinematics.velocity[rows],
            timestamps=time,
            unit="mm/s",
        )
    )
    add_trials(
        nwbfile,
        "experimental trials",
        columns=benchmark_columns(trials, simulated.rng("split")),
        ragged_columns=[
            *ragged("target_pos", "x and y of each target, mm", rows=target_places(trials)),
            *ragged("barrier_pos", "centre and half size, mm", rows=[BARRIERS_MM] * len(trials)),
        ],
    )


def _fill_generic(nwbfile: NWBFile, simulated: SimulatedSession) -> None:
    add_electrodes(nwbfile, UTAH)
    add_units(nwbfile, simulated, arrays=UTAH)
    time = regular_times(simulated)
    rate = simulated.settings.kinematics_rate_hz
    behavior = _behavior_module(nwbfile, "hand movement")
    hand = SpatialSeries(
        name="Hand",
        description="Hand position (x, y).",
        data=M_PER_CM * sample_at(simulated.kinematics.position, time),
        starting_time=0.0,
        rate=rate,
        unit="m",
        reference_frame="centre of the workspace",
    )
    velocity = BehavioralTimeSeries(name="Velocity")
    velocity.create_timeseries(
        name="hand_vel",
        description="Hand velocity (x, y).",
        data=M_PER_CM * sample_at(simulated.kinematics.velocity, time),
        starting_time=0.0,
        rate=rate,
        unit="m/s",
    )
    behavior.add([Position(spatial_series=hand), velocity])
    if len(simulated.listed):
        add_trials(nwbfile, "runs of a dynamical system", columns=run_columns(_listed(simulated)))


def _behavior_module(nwbfile: NWBFile, description: str) -> ProcessingModule:
    return nwbfile.create_processing_module(name="behavior", description=description)


def _listed(simulated: SimulatedSession) -> list[Trial]:
    return [simulated.script.trials[number] for number in simulated.listed]


def _samples_in_trials(trials: Sequence[Trial], *, with_stop: bool) -> IntArray:
    """Rows of the 1 kHz kinematics in trials, with or without that of the stop. Shape ``(n_samples,)``."""
    edges = [(round(trial.start_s * FINE_RATE_HZ), round(trial.stop_s * FINE_RATE_HZ)) for trial in trials]
    return np.concatenate([np.arange(first, last + with_stop) for first, last in edges])


def _eye_position(simulated: SimulatedSession, rows: IntArray) -> FloatArray:
    """Gaze in mm, on a target from 200 ms after it appears. Shape ``(n_samples, 2)``."""
    gaze = np.zeros_like(simulated.kinematics.position)
    for trial in simulated.script.trials:
        for shown, place in zip(trial.target_on_s, trial.target_cm, strict=True):
            saccade = round((shown + 0.2) * FINE_RATE_HZ)
            gaze[saccade : round(trial.stop_s * FINE_RATE_HZ)] = MM_PER_CM * place
    return gaze[rows] + simulated.rng("eye").normal(0.0, 2.0, (len(rows), 2))
