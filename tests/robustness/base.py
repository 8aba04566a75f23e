"""What is spoiled: recordings, and a catalog with a store, a run and measurements, made once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from archive.recordings import as_zarr
from nwb.odd_files import SESSION, write_plain

from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.schemas.simulation import SimulateSettings
from robustness import forked

LAYOUTS = ("000688", "000070", "nlb", "foreign")
TINY = {
    "model": {
        "latent_dim": 3,
        "embedding_dim": 1,
        "rank": 1,
        "dynamics_width": 8,
        "hyper_width": 8,
        "encoder_width": 8,
        "read_in": {"hidden": 8, "width": 4},
    },
    "batch": {"trials_per_session": 4},
    "max_steps": 12,
    "validate_every": 6,
    "checkpoint_every": 6,
    "device": "cpu",
}
RUN = "r"
SESSION_ID = "sub-T_ses-1"
NEVER_SAME = frozenset(
    {"time", "seconds", "created", "seconds_per_step", "seconds_per_gb", "plan", "progress", "started"}
)
"""Keys whose values say when, or how long."""


def recordings(folder: Path) -> None:
    """Write the recordings that are spoiled, and a Zarr of one."""
    folder.mkdir(parents=True)
    plain(folder / "plain.nwb")
    for number, layout in enumerate(LAYOUTS):
        settings = SimulateSettings(
            layout=layout,
            n_subjects=1,
            n_sessions=1,
            n_units=(8, 8),
            n_trials=40,
            seed=number,
            silent_units=1,
        )
        made = simulate_dandiset(folder / f"d{layout}", settings)[0]
        made.rename(folder / f"{layout}.nwb")
        shutil.rmtree(folder / f"d{layout}")
    as_zarr(folder / "plain.nwb", folder / "zarr.nwb.zarr")


def plain(path: Path, *, session: str = "1") -> Path:
    """Write a plain file with what most have: electrodes, observed intervals, something nobody reads."""
    write_plain(path, shift_s=0.0)
    with h5py.File(path, "r+") as h5:
        del h5["general/session_id"]
        h5["general/session_id"] = session
        h5["identifier"], h5["session_start_time"] = f"plain-{session}", "2015-03-01T10:00:00+00:00"
        h5["general/subject/species"] = "Macaca mulatta"
        places = h5.create_group("general/extracellular_ephys/electrodes")
        places["id"] = np.arange(6)
        places.create_dataset(
            "location", data=["M1", "M1", "M1", "PMd", "PMd", "PMd"], dtype=h5py.string_dtype()
        )
        places.attrs["colnames"] = np.array(["location"], dtype=object)
        units = h5["units"]
        units["electrodes"], units["electrodes_index"] = np.arange(6)[::-1].copy(), np.arange(1, 7)
        units["electrodes"].attrs["table"] = places.ref
        units["obs_intervals"] = np.tile([[0.0, float(SESSION.time[-1])]], (6, 1))
        units["obs_intervals_index"] = np.arange(1, 7)
        units.attrs["colnames"] = np.array(["spike_times", "electrodes", "obs_intervals"], dtype=object)
        h5["acquisition/lfp/data"] = np.zeros((500, 4), np.int16)
        h5["acquisition/lfp"].attrs["neurodata_type"] = "ElectricalSeries"
        h5["acquisition/lfp/starting_time"] = 0.0
        h5["acquisition/lfp/starting_time"].attrs["rate"] = 1000.0
    return path


COMMANDS: dict[str, tuple[str, ...]] = {
    "ingest": ("run", "ingest", "--path", "nwb", "--json"),
    "train": ("run", "train", "--config", "tiny.yaml", "--run-name", RUN, "--json"),
    "decode": ("run", "decode", "--run", RUN, "--json"),
    "decode rates": ("run", "decode", "--source", "rates", "--json"),
    "forecast": ("run", "forecast", "--run", RUN, "--json"),
    "evaluate": ("run", "evaluate", "--run", RUN, "--json"),
    "embed": ("run", "embed", "--run", RUN, "--json"),
    "export": ("export", "lfads", "--json"),
    "verify": ("catalog", "verify", "--json"),
    "list": ("catalog", "list", "--json"),
    "scores": ("catalog", "scores", "--json"),
    "leaderboard": ("leaderboard", "--json"),
}


def make(folder: Path) -> Path:
    """Make everything in a folder, once, whoever comes first; others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            forked.call(recordings, folder / "nwb")
            work = folder / "work"
            (work / "nwb").mkdir(parents=True)
            shutil.copy(folder / "nwb" / "plain.nwb", work / "nwb")
            (work / "tiny.yaml").write_text(yaml.safe_dump(TINY))
            for name in ("ingest", "train", "decode rates", "evaluate"):
                ended = forked.run(COMMANDS[name], work)
                if ended.code != 0:
                    raise RuntimeError(f"{name}: {ended.err}")
            (folder / "done").touch()
    return folder


class Base:
    """The folder of what is spoiled, and what comes of each command on it unspoiled."""

    share_as_program = 0.03
    """Share of commands that are started as a shell starts them."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = make(folder)
        self.scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Any] = {}

    def empty(self, name: str) -> Path:
        """Return an empty folder."""
        target = self.scratch / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        return target

    def copied(self, name: str) -> Path:
        """Return a copy of the folder of work to spoil."""
        target = self.scratch / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.folder / "work", target, symlinks=True)
        return target

    def known(self, name: str, make_it: Any) -> Any:
        """Return something that is found out once."""
        if name not in self._known:
            self._known[name] = make_it()
        return self._known[name]


def store_digests(folder: str, but_of: str = "") -> dict[str, str]:
    """Return a digest of each array of the stores in a folder: values, dimensions and units.

    Those of the recipe `but_of` are left out.
    """
    import zarr

    found: dict[str, str] = {}
    for store in sorted(Path(folder).glob("stores/*/*.zarr")):
        if store.name.startswith(".") or store.parent.name == but_of:
            continue
        try:
            members = sorted(zarr.open_group(str(store), mode="r").members(max_depth=None))
        except Exception:
            found[store.stem] = "cannot be opened"
            continue
        for name, item in members:
            if isinstance(item, zarr.Array):
                try:
                    values = np.asarray(item[...])
                except Exception:
                    # Of a store that was spoiled and not made again.
                    found[f"{store.stem}/{name}"] = "cannot be read"
                    continue
                content = (
                    values.tobytes() if values.dtype.kind not in "OT" else repr(values.tolist()).encode()
                )
                said = [values.shape, str(values.dtype), item.attrs.get("units", "")]
                found[f"{store.stem}/{name}"] = hashlib.sha256(content + repr(said).encode()).hexdigest()[:16]
    return found


def numbers_of(events: list[dict[str, Any]]) -> dict[str, str]:
    """Return what events say, without when and how long; what a person is told of it is left out."""
    found: dict[str, str] = {}
    for event in events:
        if event.get("event") in {"progress", "plan", "note", "read", "bytes", "phase", "warning"}:
            continue
        kept = {k: v for k, v in event.items() if k not in NEVER_SAME}
        if isinstance(kept.get("metrics"), dict):
            kept["metrics"] = {k: v for k, v in kept["metrics"].items() if k not in NEVER_SAME}
        at = "/".join(
            str(event.get(k))
            for k in ("event", "name", "session", "run", "source", "step", "split")
            if k in event
        )
        found[f"{at}#{sum(1 for k in found if k.startswith(at))}" if at in found else at] = json.dumps(
            kept, sort_keys=True, default=str
        )
    return found


def unlike(one: dict[str, str], other: dict[str, str]) -> set[str]:
    """Return the keys whose values differ."""
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
