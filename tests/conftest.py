"""Fixtures every test may use: small recordings, small NWB files, the command line in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from hypothesis import settings
from scipy.integrate import cumulative_trapezoid

from nwb_latents.pipeline.signals.recording import Recording, Series, TrialTable, UnitTable
from nwb_latents.schemas import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What a test states does not hang on how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell that starts something in the background lets it ignore Ctrl-C, and whatever it starts in its turn.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of the real recording, or skip."""
    if not any(REAL_DATA.rglob("*.nwb")):
        pytest.skip(f"REAL DATA NOT TESTED: no recording in {REAL_DATA}")
    return REAL_DATA


@dataclass
class Reaches:
    """A small session of minimum-jerk reaches with units tuned to velocity.

    Attributes
    ----------
    onsets
        True onsets in seconds.
    """

    n_trials: int = 24
    n_units: int = 12
    rate_hz: float = 100.0
    seed: int = 0
    onsets: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.start = 1.0 + 3.0 * np.arange(self.n_trials)
        self.go = self.start + 0.5
        self.onsets = self.go + rng.uniform(0.2, 0.4, self.n_trials)
        self.stop = self.onsets + 0.9
        self.direction = rng.integers(0, 8, self.n_trials) * np.pi / 4
        self.duration = rng.uniform(0.4, 0.6, self.n_trials)
        self.time = np.arange(0, self.stop[-1] + 2.0, 1 / self.rate_hz)
        speed = np.zeros_like(self.time)
        heading = np.zeros_like(self.time)
        for onset, duration, angle in zip(self.onsets, self.duration, self.direction, strict=True):
            tau = (self.time - onset) / duration
            moving = (tau > 0) & (tau < 1)
            speed[moving] = 8 / duration * 30 * tau[moving] ** 2 * (1 - tau[moving]) ** 2
            heading[moving] = angle
        self.velocity = np.column_stack([speed * np.cos(heading), speed * np.sin(heading)])
        self.position = cumulative_trapezoid(self.velocity, self.time, axis=0, initial=0)
        preferred = rng.uniform(0, 2 * np.pi, self.n_units)
        ahead = (
            np.interp(self.time + 0.1, self.time, self.velocity[:, 0]),
            np.interp(self.time + 0.1, self.time, self.velocity[:, 1]),
        )
        self.spikes = []
        for angle in preferred:
            drive = 12 + 0.8 * (ahead[0] * np.cos(angle) + ahead[1] * np.sin(angle))
            counts = rng.poisson(np.maximum(drive, 0) / self.rate_hz)
            times = np.repeat(self.time, counts) + rng.uniform(0, 1 / self.rate_hz, counts.sum())
            self.spikes.append(np.sort(times[times < self.time[-1]]))


def recording_of(reaches: Reaches, *, with_table: bool = True) -> Recording:
    """Return the session as a `Recording`."""
    n = reaches.n_trials
    text = lambda value: np.full(n, value, dtype=object)  # noqa: E731
    table = TrialTable(
        row=np.arange(n),
        events={"start": reaches.start, "stop": reaches.stop, "go_cue": reaches.go},
        success=np.ones(n, bool),
        valid=np.ones(n, bool),
        target_dir=reaches.direction,
        condition=text(""),
        split=text(""),
    )
    units = UnitTable(
        ids=np.arange(reaches.n_units) + 100,
        area=np.full(reaches.n_units, "M1", dtype=object),
        heldout=np.zeros(reaches.n_units, bool),
    )
    return Recording(
        session="sub-T_ses-CO-1",
        subject="T",
        task="CO",
        layout="generic",
        spike_times=np.concatenate(reaches.spikes),
        spike_index=np.cumsum([len(s) for s in reaches.spikes]),
        units=units,
        observed=reaches.time[None, [0, -1]],
        position=Series(reaches.time, reaches.position),
        velocity=Series(reaches.time, reaches.velocity),
        trials=table if with_table else None,
        axes=("x", "y"),
    )


@pytest.fixture
def reaches() -> Reaches:
    """Return a small session of reaches with its truth."""
    return Reaches()


@pytest.fixture
def recording(reaches: Reaches) -> Recording:
    """Return the same session as a `Recording`."""
    return recording_of(reaches)


@pytest.fixture(scope="session")
def as_recording() -> Callable[..., Recording]:
    """Return the function from reaches to a `Recording`."""
    return recording_of


@pytest.fixture(scope="session")
def make_reaches() -> type[Reaches]:
    """Return the class of small sessions."""
    return Reaches


def write_nwb(
    path: Path,
    reaches: Reaches,
    *,
    subject: str = "T",
    session: str = "CO-1",
    with_table: bool = True,
    start: str = "2015-03-01T10:00:00+00:00",
) -> Path:
    """Write the session as an NWB-shaped HDF5 file in the generic layout (cm, cm/s), known by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as h5:
        h5.attrs["nwb_version"] = "2.7.0"
        h5["session_description"] = "small reaches"
        h5["identifier"] = path.stem
        h5["session_start_time"] = start
        h5["general/session_id"] = session
        h5["general/subject/subject_id"] = subject
        units = h5.create_group("units")
        units.attrs["colnames"] = np.array(["spike_times"], dtype=h5py.string_dtype())
        units["id"] = np.arange(reaches.n_units)
        units["spike_times"] = np.concatenate(reaches.spikes)
        units["spike_times_index"] = np.cumsum([len(s) for s in reaches.spikes])
        for name, kind, values, unit in (
            ("Position/hand_pos", "SpatialSeries", reaches.position, "cm"),
            ("Velocity/hand_vel", "TimeSeries", reaches.velocity, "cm/s"),
        ):
            group = h5.create_group(f"processing/behavior/{name}")
            group.attrs["neurodata_type"] = kind
            group["data"] = values
            group["data"].attrs.update({"unit": unit, "conversion": 1.0})
            group["timestamps"] = reaches.time
        if with_table:
            table = h5.create_group("intervals/trials")
            columns = {"start_time": reaches.start, "stop_time": reaches.stop, "go_cue_time": reaches.go}
            table.attrs["colnames"] = np.array([*columns, "result"], dtype=h5py.string_dtype())
            table["id"] = np.arange(reaches.n_trials)
            for name, values in columns.items():
                table[name] = values
            table.create_dataset("result", data=["R"] * reaches.n_trials, dtype=h5py.string_dtype())
    return path


@pytest.fixture(scope="session")
def make_nwb() -> Callable[..., Path]:
    """Return the function that writes a small NWB file."""
    return write_nwb


@pytest.fixture
def small_nwb(tmp_path: Path, reaches: Reaches) -> Path:
    """Return a small NWB file in a folder of its own."""
    return write_nwb(tmp_path / "nwb" / "sub-T_ses-CO-1.nwb", reaches)


@pytest.fixture
def pipeline_command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs ``pipeline WORDS`` in its own process and folder, without a terminal."""

    def run(
        *words: object, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nwb_latents.pipeline.cli.main", *map(str, words)],
            cwd=cwd or tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Return a function that makes a distribution of one module importable, with its entry points.

    ``plug("lab_parts", source, layouts={"lab": "lab_parts:LAYOUT"})`` registers a layout.
    """

    def forget() -> None:
        registry._by_name.cache_clear()
        for each in vars(registry).values():
            if isinstance(each, registry.Registry):
                each._loaded.clear()

    def install(module: str, source: str, *, version: str = "1.0", **groups: dict[str, str]) -> Path:
        place = tmp_path / "site" / module
        place.mkdir(parents=True)
        (place / f"{module}.py").write_text(source, encoding="utf-8")
        told = place / f"{module}-{version}.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n")
        lines = [
            line
            for kind, parts in groups.items()
            for line in (f"[nwb_latents.{kind}]", *(f"{name} = {value}" for name, value in parts.items()))
        ]
        (told / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(str(place))
        monkeypatch.delitem(sys.modules, module, raising=False)
        forget()
        return place

    yield install
    monkeypatch.undo()
    forget()
