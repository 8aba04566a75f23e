"""``catalog verify``: every store and run, all faults, a remedy for each, and no false alarm."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
import zarr
from safetensors.numpy import load_file, save_file

from nwb_latents.pipeline.errors import CatalogWarning, DataError, PartialFailure
from nwb_latents.pipeline.stages import verify as verify_module
from nwb_latents.pipeline.stages.recut import recut
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stages.verify import verify
from nwb_latents.pipeline.stores.manifest import MANIFEST, manifest_of, read_manifest, write_manifest
from nwb_latents.pipeline.stores.trials import read_trials
from nwb_latents.schemas.events import FaultEvent, NoteEvent, RunEvent, SessionEvent, VerifyEvent
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TINY = {
    "model": {
        "latent_dim": 3, "embedding_dim": 1, "rank": 1, "dynamics_width": 8, "hyper_width": 8,
        "encoder_width": 8, "read_in": {"hidden": 8, "width": 4},
    },
    "batch": {"trials_per_session": 4}, "max_steps": 2, "device": "cpu",
}  # fmt: skip
SHARD = "trials/rates/c/0/0/0"


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, as_recording: Any, make_reaches: Any, enter_recording: Any
) -> Path:
    """A catalog of two stores and a run, which is copied and not changed."""
    folder = tmp_path_factory.mktemp("made")
    for subject in "AB":
        enter_recording(folder / "catalog.yaml", as_recording(make_reaches()), subject=subject)
    train(folder / "catalog.yaml", TrainSettings(**TINY), run_name="r")
    return folder


@pytest.fixture
def catalog(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "work")
    return tmp_path / "work" / "catalog.yaml"


def store_of(catalog: Path, subject: str = "A") -> Path:
    return next(catalog.parent.glob(f"stores/*/sub-{subject}_*.zarr"))


def looked(catalog: Path, *, quick: bool = False) -> dict[str, list[Any]]:
    """Return everything that is said, by the name of its class."""
    said: dict[str, list[Any]] = {}
    try:
        verify(
            catalog, quick=quick, report=lambda event: said.setdefault(type(event).__name__, []).append(event)
        )
    except DataError as error:
        said["error"] = [error]
    return said


def faults(catalog: Path, *, quick: bool = False) -> list[FaultEvent]:
    found: list[FaultEvent] = looked(catalog, quick=quick).get("FaultEvent", [])
    return found


def test_what_is_whole_is_ok_and_counted(catalog: Path) -> None:
    for quick in (False, True):
        said = looked(catalog, quick=quick)
        assert "FaultEvent" not in said
        assert "error" not in said
        assert {event.status for event in said["SessionEvent"] + said["RunEvent"]} == {"ok"}
        (whole,) = said["VerifyEvent"]
        assert (whole.n_sessions, whole.n_runs, whole.n_faults, whole.n_without_manifest) == (2, 1, 0, 0)
        assert whole.bytes == sum(
            path.stat().st_size
            for folder in (store_of(catalog), store_of(catalog, "B"), catalog.parent / "runs/r")
            for path in folder.rglob("*")
            if path.is_file()
        )
        assert [(event.step, event.total) for event in said["ProgressEvent"]] == [(1, 3), (2, 3), (3, 3)]


def test_without_manifests_only_what_can_be_read_was_checked_and_this_is_said(catalog: Path) -> None:
    for path in catalog.parent.rglob(MANIFEST):
        path.unlink()
    said = looked(catalog)
    assert "FaultEvent" not in said
    assert all("only what can be read" in event.reason for event in said["SessionEvent"] + said["RunEvent"])
    assert said["VerifyEvent"][0].n_without_manifest == 3


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no bytes": (lambda path: path.write_bytes(b""), "size"),
    "short": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "size"),
    "long": (lambda path: path.write_bytes(path.read_bytes() + b"0"), "size"),
    "gone": (lambda path: path.unlink(), "missing"),
    "flipped": (flip, "content"),
}


@pytest.mark.parametrize("damage", FILES)
@pytest.mark.parametrize(
    "name", [SHARD, "continuous/counts/c/0/0", "trials/split/c/0", "events/zarr.json", "trials/zarr.json"]
)
def test_every_damaged_file_of_a_store_is_named_with_a_remedy(catalog: Path, name: str, damage: str) -> None:
    spoil, kind = FILES[damage]
    spoil(store_of(catalog) / name)
    said = looked(catalog)
    mine = [fault for fault in said["FaultEvent"] if fault.where == name and fault.kind == kind]
    assert len(mine) == 1
    assert name in mine[0].text
    assert "--force" in mine[0].remedy
    status = {event.session: event.status for event in said["SessionEvent"]}
    assert status == {"sub-A_ses-CO-1": "damaged", "sub-B_ses-CO-1": "ok"}
    assert said["RunEvent"][0].status == "ok"
    assert said["error"][0].exit_code == 4
    if name != "trials/zarr.json":
        assert bool(faults(catalog, quick=True)) == (kind != "content")


@pytest.mark.parametrize("damage", FILES)
@pytest.mark.parametrize(
    "name", ["best.safetensors", "last.safetensors", "config.yaml", "metrics.jsonl", "run.json"]
)
def test_every_damaged_file_of_a_run_is_named_with_a_remedy(catalog: Path, name: str, damage: str) -> None:
    spoil, kind = FILES[damage]
    spoil(catalog.parent / "runs/r" / name)
    said = looked(catalog)
    mine = [fault for fault in said["FaultEvent"] if fault.where == name]
    assert kind in {fault.kind for fault in mine}
    assert all(fault.run == "r" and "run train" in fault.remedy for fault in mine)
    assert said["RunEvent"][0].status == "damaged"
    assert {event.status for event in said["SessionEvent"]} == {"ok"}


@pytest.mark.parametrize(
    "name", ["best.safetensors", "last.safetensors", "config.yaml", "metrics.jsonl", "run.json"]
)
def test_a_manifest_of_a_run_that_lists_too_little_is_told(catalog: Path, name: str) -> None:
    """What it does not list may be damaged, and nobody would know."""
    path = catalog.parent / "runs/r" / MANIFEST
    content = json.loads(path.read_text())
    del content["files"][name]
    path.write_text(json.dumps(content))
    assert [f.where for f in faults(catalog, quick=True) if f"does not list {name}" in f.text] == [MANIFEST]


@pytest.mark.parametrize("damage", ["no bytes", "short", "gone"])
@pytest.mark.parametrize("name", ["best.safetensors", "config.yaml", "run.json"])
def test_runs_without_a_manifest_are_read(catalog: Path, name: str, damage: str) -> None:
    run = catalog.parent / "runs/r"
    (run / MANIFEST).unlink()
    FILES[damage][0](run / name)
    if damage == "short":
        (run / name).write_bytes((run / name).read_bytes()[:40])
    assert [fault.where for fault in faults(catalog)] == [name]


def test_everything_damaged_is_told_at_once(catalog: Path) -> None:
    """Nothing ends it: not a traceback, not the first fault."""
    (store_of(catalog) / SHARD).write_bytes(b"")
    (store_of(catalog) / MANIFEST).write_bytes(b"\xff{")
    shutil.rmtree(store_of(catalog, "B"))
    (catalog.parent / "runs/r/config.yaml").write_bytes(b"\x00")
    (catalog.parent / "runs/r/best.safetensors").write_bytes(b"no")
    found = {(f.session or f.run, f.where) for f in faults(catalog)}
    assert {
        ("sub-A_ses-CO-1", MANIFEST), ("sub-A_ses-CO-1", "trials/rates"),
        ("sub-B_ses-CO-1", "trials/zarr.json"), ("r", "config.yaml"), ("r", "best.safetensors"),
    } <= found  # fmt: skip


def test_a_file_something_else_put_there_is_told_if_zarr_would_read_it(catalog: Path) -> None:
    (store_of(catalog) / ".DS_Store").write_bytes(b"1")
    assert not faults(catalog)
    (store_of(catalog) / "trials/rates/c/0/0/1").write_bytes(b"1")
    assert [fault.kind for fault in faults(catalog)] == ["unlisted"]


def edit(store: Path, **arrays: Callable[[Any], Any]) -> None:
    """Change arrays of a store as a program would that knows nothing of manifests."""
    group = zarr.open_group(store, mode="r+")
    (store / MANIFEST).unlink()
    for name, change in arrays.items():
        array = group[name.replace("__", "/")]
        array[...] = change(array[...])


def rolled(values: Any) -> Any:
    return np.roll(values, 1, axis=0)


VALUES: dict[str, tuple[dict[str, Callable[[Any], Any]], str]] = {
    "trials shifted": ({"trials__rates": rolled}, "trials/rates"),
    "a trial swapped": ({"trials__velocity": lambda v: v[::-1]}, "trials/velocity"),
    "counts changed": ({"trials__counts": lambda v: v + 1}, "trials/counts"),
    "session shifted": ({"continuous__counts": rolled}, "trials/counts"),
    "rates of other units": ({"continuous__rates": lambda v: v[:, ::-1]}, "continuous/rates"),
    "infinite": ({"continuous__position": lambda v: np.where(v > 0, np.inf, v)}, "continuous/position"),
    "not a number": ({"trials__mean_rate": lambda v: v * np.nan}, "trials/mean_rate"),
    "other mean rates": ({"trials__mean_rate": lambda v: v + 3}, "trials/mean_rate"),
    "times of other trials": ({"trials__event_time": rolled}, "trials/event_time"),
    "outside the session": ({"trials__start_bin": lambda v: v + 10**6}, "trials/start_bin"),
    "cut elsewhere": ({"trials__start_bin": lambda v: v + 1}, "trials/event_time"),
    "units twice": ({"trials__unit": lambda v: v * 0 + 7}, "trials/unit"),
    "other ids of trials": ({"trials__trial": lambda v: v[::-1]}, "trials/trial"),
    "a clock that jumps": ({"continuous__time": lambda v: v * 2}, "continuous/time"),
    "other reaction times": ({"trials__reaction_time": lambda v: v + 0.1}, "trials/reaction_time"),
    "onsets of other trials": ({"trials__move_onset": rolled}, "trials/move_onset"),
    "stops of other trials": ({"events__trial_stop": rolled}, "events/trial_stop"),
    "trials of other splits": ({"trials__split": rolled}, "trials/split"),
    "unknown split": ({"trials__split": lambda v: np.full_like(v, "trian")}, "trials/split"),
    "other outliers": ({"continuous__outlier": lambda v: ~v}, "continuous/outlier"),
    "rows and reaches": ({"events__is_reach": lambda v: np.arange(len(v)) % 2 == 0}, "events/is_reach"),
    "trials that end early": (
        {"events__trial_stop": lambda v: v * 0 + 1e-3 * np.arange(len(v))},
        "events/reason",
    ),
    "trials at other times": (
        {"events__trial_start": lambda v: v - 50, "events__trial_stop": lambda v: v - 50},
        "events/trial_start",
    ),
    "nothing observed": (
        {"continuous__observed": lambda v: v & (np.arange(len(v)) > len(v) // 2)},
        "continuous/counts",
    ),
}


@pytest.mark.parametrize("damage", VALUES)
def test_values_that_contradict_each_other_are_told_without_a_manifest(catalog: Path, damage: str) -> None:
    changes, where = VALUES[damage]
    edit(store_of(catalog), **changes)
    found = faults(catalog)
    assert where in {fault.where for fault in found}, [fault.text for fault in found]
    assert {fault.kind for fault in found} <= {"values", "schema"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p, v: (v, p), "each other's place"),
        (lambda p, v: (p, -v), "opposite sign"),
        (lambda p, v: (p, v[..., ::-1]), "another order"),
        (lambda p, v: (p, np.roll(v, 5, axis=0)), "5 bins after"),
    ],
    ids=["swapped", "mirrored", "other axes", "shifted"],
)
def test_kinematics_changed_everywhere_alike_are_told_by_slope_and_velocity(
    catalog: Path, change: Callable[..., Any], said: str
) -> None:
    group = zarr.open_group(store_of(catalog), mode="r+")
    position, velocity = change(group["continuous/position"][...], group["continuous/velocity"][...])
    bins = group["trials/start_bin"][...][:, None] + np.arange(len(group["trials/time"][...]))
    edit(
        store_of(catalog),
        continuous__position=lambda _: position, continuous__velocity=lambda _: velocity,
        trials__position=lambda _: position[bins], trials__velocity=lambda _: velocity[bins],
    )  # fmt: skip
    texts = [fault.text for fault in faults(catalog)]
    assert len(texts) == 1
    assert said in texts[0]


def change_entry(catalog: Path, section: str, **values: object) -> None:
    content = yaml.safe_load(catalog.read_text())
    next(iter(content[section].values())).update(values)
    catalog.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.parametrize(
    ("section", "values", "kind"),
    [
        ("sessions", {"store_key": "0" * 64}, "key"),
        ("sessions", {"n_trials": 3}, "key"),
        ("sessions", {"n_units": 1}, "key"),
        ("sessions", {"session": "sub-Z_ses-1"}, "catalog"),
        ("sessions", {"store": "stores/nowhere.zarr"}, "missing"),
        ("sessions", {"n_trials": "many"}, "catalog"),
        ("runs", {"run_key": "0" * 64}, "key"),
        ("runs", {"steps": 3}, "catalog"),
        ("runs", {"path": "runs/nowhere"}, "missing"),
        ("runs", {"sessions": ["sub-Z_ses-1"]}, "key"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*cannot be read and is left as it is")
def test_a_catalog_that_says_other_things_than_what_lies_there(
    catalog: Path, section: str, values: dict[str, Any], kind: str
) -> None:
    change_entry(catalog, section, **values)
    assert kind in {fault.kind for fault in faults(catalog)}


def test_a_store_of_another_recording_or_recipe_does_not_keep_its_key(catalog: Path) -> None:
    store = store_of(catalog)
    (store / MANIFEST).unlink()
    for path in store.rglob("zarr.json"):
        path.write_text(path.read_text().replace("sha256:A", "sha256:C"))
    assert [fault.kind for fault in faults(catalog)] == ["key"]


def test_a_group_of_another_store_is_told(catalog: Path) -> None:
    shutil.rmtree(store_of(catalog) / "continuous")
    shutil.copytree(store_of(catalog, "B") / "continuous", store_of(catalog) / "continuous")
    (store_of(catalog) / MANIFEST).unlink()
    assert any("of another one" in fault.text for fault in faults(catalog))


@pytest.mark.parametrize("folder", ["runs/r", "stores"])
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_manifest_that_cannot_be_read_is_not_one_that_was_never_written(
    catalog: Path, folder: str, kind: str
) -> None:
    path = (store_of(catalog) if folder == "stores" else catalog.parent / folder) / MANIFEST
    path.unlink()
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name)
    (fault,) = [each for each in faults(catalog) if each.where == MANIFEST]
    assert fault.kind == "manifest"
    assert "cannot be read: it is a " in fault.text


@pytest.mark.parametrize("is_marked", [True, False])
def test_weights_of_another_run_are_told_whatever_the_manifests_say(
    catalog: Path, *, is_marked: bool
) -> None:
    train(
        catalog,
        TrainSettings(**{**TINY, "seed": 1}),
        run_name="s",
    )
    weights = [catalog.parent / "runs" / name / "best.safetensors" for name in "rs"]
    contents = [path.read_bytes() for path in weights]
    keys = [run["run_key"] for run in yaml.safe_load(catalog.read_text())["runs"].values()]
    assert all(key.encode() in content for key, content in zip(keys, contents, strict=True))
    for path, content, key in zip(weights, reversed(contents), reversed(keys), strict=True):
        n = int.from_bytes(content[:8], "little")
        # Those of earlier versions have no key.
        head = content[8 : 8 + n] if is_marked else content[8 : 8 + n].replace(key.encode(), b"")
        head = head if is_marked else head.replace(rb", \"run_key\": \"\"", b"").ljust(n)
        path.write_bytes(content[:8] + head + content[8 + n :])
        listed = read_manifest(path.parent, remedy="")
        assert listed is not None
        write_manifest(path.parent, manifest_of(path.parent, listed.files))
    said = "files of two runs were exchanged" if is_marked else "it is of another run"
    of_weights = [fault for fault in faults(catalog) if fault.where == "best.safetensors"]
    assert {fault.run for fault in of_weights} == {"r", "s"}
    assert all(said in fault.text for fault in of_weights)


def test_weights_that_are_not_finite_are_told(catalog: Path) -> None:
    path = catalog.parent / "runs/r/best.safetensors"
    (path.parent / MANIFEST).unlink()
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])[
        "__metadata__"
    ]
    said = {**json.loads(header["nwb_latents"])}
    said.pop("sha256")
    weights = load_file(path)
    name = next(name for name, value in weights.items() if name.startswith("model.") and value.ndim == 2)
    weights[name] = weights[name] * np.float32(np.nan)
    save_file(weights, path, metadata={"nwb_latents": json.dumps(said)})
    assert any("is not finite" in fault.text for fault in faults(catalog))


def test_an_empty_catalog_is_not_ok(catalog: Path) -> None:
    catalog.write_text("schema_version: 2\n")
    said = looked(catalog)
    assert "holds no sessions and no runs" in str(said["error"][0])
    assert "3 stores and runs lie beside it" in str(said["error"][0])
    assert sum(isinstance(note, NoteEvent) for note in said["NoteEvent"]) == 3


def test_what_is_not_foreseen_ends_one_entry_only(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nwb_latents.pipeline.stores import store_checks

    monkeypatch.setattr(store_checks, "read_attributes", lambda where: 1 / 0)
    said = looked(catalog)
    assert [event.status for event in said["SessionEvent"]] == ["damaged", "damaged"]
    assert "ZeroDivisionError" in said["FaultEvent"][0].text
    assert said["RunEvent"][0].status == "ok"
    assert isinstance(said["VerifyEvent"][0], VerifyEvent)
    assert isinstance(said["SessionEvent"][0], SessionEvent)
    assert isinstance(said["RunEvent"][0], RunEvent)


def test_places_and_faults_are_counted_apart_and_each_has_the_remedy_of_its_kind(catalog: Path) -> None:
    store = store_of(catalog)
    for name in (SHARD, "continuous/counts/c/0/0", "events/zarr.json"):
        (store / name).write_bytes(b"")
    (catalog.parent / "runs/r/best.safetensors").unlink()
    (store_of(catalog, "B") / MANIFEST).unlink()
    said = looked(catalog, quick=True)
    (whole,) = said["VerifyEvent"]
    of_store = [fault for fault in said["FaultEvent"] if fault.session == "sub-A_ses-CO-1"]
    of_run = [fault for fault in said["FaultEvent"] if fault.run == "r"]
    assert {fault.where for fault in of_store} == {SHARD, "continuous/counts/c/0/0", "events/zarr.json"}
    assert (whole.n_damaged, whole.n_faults) == (2, len(of_store) + len(of_run))
    assert whole.n_without_manifest == 1
    assert {fault.remedy.partition(":")[0] for fault in of_store} == {"Make the store again"}
    assert {fault.remedy.partition(":")[0] for fault in of_run} == {"Make the run again"}
    assert all("`pipeline run train`" in fault.remedy for fault in of_run)
    assert "2 of its entries missing or damaged: sub-A_ses-CO-1, r." in str(said["error"][0])


@pytest.mark.parametrize("section", ["sessions", "runs"])
def test_an_entry_under_the_name_of_another_is_told(catalog: Path, section: str) -> None:
    content = yaml.safe_load(catalog.read_text())
    name, entry = content[section].popitem()
    content[section][f"other-{name}"] = entry
    catalog.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.warns(CatalogWarning, match=f"other-{name} cannot be read .*: inside it is called {name}"):
        fault = next(each for each in faults(catalog) if each.kind == "catalog")
    assert fault.where == f"{section}: other-{name}"
    assert fault.remedy == "Mend the entry, or make it again."


def test_a_run_whose_settings_were_changed_does_not_keep_its_key(catalog: Path) -> None:
    config = catalog.parent / "runs/r/config.yaml"
    (config.parent / MANIFEST).unlink()
    content = yaml.safe_load(config.read_text())
    content["settings"]["seed"] = 17
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    assert [(fault.run, fault.kind) for fault in faults(catalog)] == [("r", "key")]


def test_what_it_costs_is_told_per_gigabyte(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.5])
    monkeypatch.setattr(verify_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    (whole,) = looked(catalog, quick=True)["VerifyEvent"]
    assert whole.seconds == 2.5
    assert whole.seconds_per_gb == pytest.approx(2.5e9 / whole.bytes, rel=1e-6)


def test_attributes_edited_by_hand_are_refused_by_whoever_reads_the_store(catalog: Path) -> None:
    path = store_of(catalog) / "trials/zarr.json"
    content = path.read_text()
    path.write_text(content.replace("sub-A_ses-CO-1", "sub-A_ses-CO-2"))
    for use in (
        lambda: read_trials(store_of(catalog)),
        lambda: recut(catalog, ["window_s=[-0.2, 0.4]"], sessions=["sub-A*"]),
    ):
        with pytest.raises((DataError, PartialFailure)) as refused:
            use()
        said = str(refused.value) + str(getattr(refused.value, "failures", ""))
        assert "trials/zarr.json has another content than was written" in said
