"""Write the small NWB-Zarr session of the tests (needs hdmf-zarr 0.13 and zarr 2.18).

The package itself reads NWB-Zarr with zarr 3, which hdmf-zarr does not run on: what it wrote is kept beside
this file as a zip.
"""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

N_UNITS, N_TRIALS, RATE_HZ = 3, 6, 100.0


def session():
    from pynwb import NWBFile, TimeSeries
    from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries
    from pynwb.file import Subject

    rng = np.random.default_rng(7)
    nwb = NWBFile("small session", "small-zarr", datetime(2026, 1, 1, tzinfo=UTC), session_id="CO-1")
    nwb.subject = Subject(subject_id="Z", species="Macaca mulatta", sex="U", age="P8Y")
    device = nwb.create_device(name="array")
    group = nwb.create_electrode_group(name="M1", description="d", location="M1", device=device)
    for _ in range(N_UNITS):
        nwb.add_electrode(group=group, location="M1")
    for unit in range(N_UNITS):
        times = np.sort(rng.uniform(0, 12, 40 + unit))
        nwb.add_unit(spike_times=times, electrodes=[unit], obs_intervals=[[0.0, 12.0]])
    time = np.arange(1200) / RATE_HZ
    wave = np.column_stack([np.sin(time), np.cos(time)])
    behavior = nwb.create_processing_module(name="behavior", description="b")
    hand = SpatialSeries(name="hand_pos", data=8 * wave, timestamps=time, unit="cm", reference_frame="r")
    velocity = TimeSeries(name="hand_vel", data=8 * wave[:, ::-1] * [1, -1], timestamps=hand, unit="cm/s")
    behavior.add([Position(spatial_series=hand), BehavioralTimeSeries(time_series=velocity, name="Velocity")])
    nwb.add_trial_column(name="go_cue_time", description="go cue")
    nwb.add_trial_column(name="result", description="result")
    for trial in range(N_TRIALS):
        start = 2.0 * trial
        nwb.add_trial(start, start + 1.9, go_cue_time=start + 0.5, result="RF"[trial % 2])
    nwb.add_acquisition(
        TimeSeries(name="lfp", data=rng.normal(size=(300, 2)), rate=1000.0, unit="V", description="not read")
    )
    return nwb


def main(target: Path) -> None:
    from hdmf_zarr import NWBZarrIO

    folder = target.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    with NWBZarrIO(str(folder), mode="w") as io:
        io.write(session())
    shutil.rmtree(folder / "specifications")  # the NWB schema: large, and not read
    shutil.make_archive(str(folder), "zip", root_dir=folder)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("small.nwb.zarr.zip"))
