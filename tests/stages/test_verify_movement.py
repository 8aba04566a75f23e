"""`catalog verify` looks at movement and its events: what was changed is told, and no store that is whole."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import zarr

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.recut import recut
from nwb_latents.pipeline.stages.simulate import simulate
from nwb_latents.pipeline.stages.verify import verify
from nwb_latents.pipeline.stores.manifest import manifest_of, write_manifest
from nwb_latents.schemas.events import FaultEvent
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = {
    "n_subjects": 1, "n_sessions": 1, "n_units": (12, 12), "n_trials": 40, "silent_units": 0,
    "waveforms": False,
}  # fmt: skip


def made_of(folder: Path, recipe: dict[str, Any] | None = None, **settings: Any) -> Path:
    """Simulate a small session, ingest it, and return its catalog."""
    simulate(folder / "nwb", SimulateSettings.model_validate({**SMALL, **settings}))
    ingest(folder / "catalog.yaml", FolderSource([folder / "nwb"]), IngestRecipe(**(recipe or {})))
    return folder / "catalog.yaml"


def texts(catalog: Path) -> list[str]:
    found: list[str] = []
    try:
        verify(catalog, report=lambda e: found.append(e.text) if isinstance(e, FaultEvent) else None)
    except DataError:
        assert found
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of a store whose velocity the file holds, which is copied and not changed."""
    return made_of(tmp_path_factory.mktemp("made"), layout="000688")


@pytest.fixture
def catalog(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made.parent, tmp_path / "work", ignore=shutil.ignore_patterns("nwb"))
    return tmp_path / "work" / "catalog.yaml"


def change(catalog: Path, **changes: Callable[[Any], Any]) -> None:
    """Change arrays (group__name), cut trials out again, and have the manifest say so."""
    (store,) = catalog.parent.glob("stores/*/*.zarr")
    group = zarr.open_group(store, mode="r+")
    for name, how in changes.items():
        array = group[name.replace("__", "/")]
        array[...] = how(array[...])
    bins = group["trials/start_bin"][...][:, None] + np.arange(len(group["trials/time"][...]))
    for name in ("position", "velocity", "counts", "rates"):
        group[f"trials/{name}"][...] = group[f"continuous/{name}"][...][bins]
    write_manifest(store, manifest_of(store))


def noise(values: Any) -> Any:
    return np.random.default_rng(0).normal(0, np.nanstd(values), values.shape).astype(values.dtype)


def first_half(how: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def spoilt(values: Any) -> Any:
        n = len(values) // 2
        return np.concatenate([how(values[:n]), values[n:]])

    return spoilt


DAMAGE: dict[str, tuple[dict[str, Callable[[Any], Any]], str]] = {
    "noise": ({"continuous__velocity": noise}, "continuous/velocity does not agree"),
    "ten times": ({"continuous__velocity": lambda v: 10 * v}, r"trials/peak_speed is 0\.09"),
    "mirrored": ({"continuous__velocity": lambda v: -v}, "opposite sign in every column"),
    "one axis mirrored": ({"continuous__velocity": lambda v: v * [1, -1]}, "opposite sign in column 2"),
    "axes exchanged": ({"continuous__velocity": lambda v: v[:, ::-1]}, "columns in another order"),
    "delayed": (
        {"continuous__velocity": lambda v: np.roll(v, 20, axis=0)}, r"comes about 0\.4 s after"
    ),
    "half frozen": (
        {"continuous__position": first_half(lambda v: np.repeat(v[:1], len(v), axis=0))}, "is one value for"
    ),
    "peaks ten times": (
        {"trials__peak_speed": lambda v: 10 * v, "events__peak_speed": lambda v: 10 * v},
        "trials/peak_speed is distributed otherwise",
    ),
    "peaks of events ten times": ({"events__peak_speed": lambda v: 10 * v}, r"events/peak_speed is 9\.9"),
    "windows moved": (
        {
            "trials__start_bin": lambda v: v + 10, "trials__event_time": lambda v: v + 0.2,
        },
        "trials/event_time is another time than trials/move_onset",
    ),
    "onsets moved": (
        {
            "trials__move_onset": lambda v: v + 0.2, "events__move_onset": lambda v: v + 0.2,
            "trials__reaction_time": lambda v: v + 0.2,
        },
        "trials/event_time is another time than trials/move_onset",
    ),
    "onsets and times moved": (
        {
            "trials__move_onset": lambda v: v + 0.2, "events__move_onset": lambda v: v + 0.2,
            "trials__reaction_time": lambda v: v + 0.2, "trials__event_time": lambda v: v + 0.2,
            "trials__start_bin": lambda v: v + 10,
        },
        "trials/reaction_time is distributed otherwise",
    ),
    "reaction times missing": (
        {"trials__reaction_time": lambda v: np.where(np.arange(len(v)) == 2, np.nan, v)},
        "trials/reaction_time is not move_onset",
    ),
    "other words for onsets": (
        {"trials__onset_quality": lambda v: np.full_like(v, "slow_rise")}, "trials/onset_quality counts"
    ),
    "other reasons": (
        {"events__reason": lambda v: np.where(v == "not_successful", "unobserved", v).astype(v.dtype)},
        "events/reason leaves out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_movement_and_events_that_were_changed_are_told(catalog: Path, damage: str) -> None:
    changes, said = DAMAGE[damage]
    change(catalog, **changes)
    found = texts(catalog)
    assert any(re.search(said, text) for text in found), found


def test_nothing_is_told_of_the_store_as_it_was_made(catalog: Path) -> None:
    change(catalog)
    assert texts(catalog) == []


def test_of_a_velocity_that_ingest_has_spoken_of_nothing_is_told_again(tmp_path: Path) -> None:
    simulate(tmp_path / "nwb", SimulateSettings.model_validate({**SMALL, "layout": "000688"}))
    (path,) = (tmp_path / "nwb").rglob("*.nwb")
    with h5py.File(path, "r+") as file:
        found: list[str] = []
        file.visit(lambda name: found.append(name) if name.lower().endswith("vel/data") else None)
        values = file[found[0]][...]
        file[found[0]][...] = np.roll(values, 12, axis=0)
    ingest(tmp_path / "catalog.yaml", FolderSource([tmp_path / "nwb"]), IngestRecipe(velocity_from="series"))
    assert texts(tmp_path / "catalog.yaml") == []


@pytest.mark.parametrize(
    "settings",
    [
        {"layout": "000070"}, {"layout": "nlb"}, {"layout": "generic"}, {"layout": "foreign"}, {"task": "RT"},
        {"layout": "generic", "task": "RT"}, {"system": "limit_cycle"}, {"preset": "classic"},
        {"kinematics_rate_hz": 1000.0}, {"kinematics_rate_hz": 12.0, "layout": "generic"},
    ],
    ids=str,
)  # fmt: skip
def test_stores_of_every_layout_are_whole(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert texts(made_of(tmp_path, **settings)) == []


@pytest.mark.parametrize(
    "recipe",
    [
        {"bin_size_s": 0.05, "window_s": (-0.25, 0.45)}, {"bin_size_s": 0.005}, {"velocity_from": "position"},
        {"velocity_from": "series"}, {"align_to": "go_cue"}, {"align_to": "peak_speed"},
        {"align_to": "trial_start"}, {"chop": {"enabled": True}},
        {"trials": {"allow_overlap": True, "success_only": False}},
        {"onset": {"method": "threshold"}},
    ],
    ids=str,
)  # fmt: skip
def test_stores_of_every_recipe_are_whole(made: Path, tmp_path: Path, recipe: dict[str, Any]) -> None:
    catalog = tmp_path / "catalog.yaml"
    ingest(catalog, FolderSource([made.parent / "nwb"]), IngestRecipe(**recipe))
    assert texts(catalog) == []


def test_a_velocity_that_was_derived_is_as_fast_as_its_position(made: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    ingest(catalog, FolderSource([made.parent / "nwb"]), IngestRecipe(velocity_from="position"))
    change(catalog, continuous__velocity=lambda v: v * [1, 3])
    assert any("times as fast as it says, axis by axis" in text for text in texts(catalog))


def test_a_store_that_was_cut_again_is_whole(catalog: Path) -> None:
    recut(catalog, ["align_to=go_cue"])
    assert texts(catalog) == []
