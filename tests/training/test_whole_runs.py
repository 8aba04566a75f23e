"""A run is its weights: damaged ones are refused, made again and said; a damaged log stops nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nwb_latents.pipeline.errors import CatalogWarning, DataError, SettingsError
from nwb_latents.pipeline.stages.resumed_run import settings_to_resume
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores import lenient
from nwb_latents.pipeline.stores.catalog import add_session
from nwb_latents.pipeline.stores.manifest import MANIFEST, manifest_of
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.pipeline.training import training_start as begin
from nwb_latents.pipeline.training.checkpoint import TrainState, load_checkpoint, save_checkpoint
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.run_files import METRICS, damaged_lines, read_metrics
from nwb_latents.schemas.catalog import SessionEntry
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import xarray as xr

    Make = Callable[..., TrainSettings]


@pytest.fixture
def catalog(tmp_path: Path, datasets: dict[str, xr.Dataset], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of one session whose store is served from memory."""
    path = tmp_path / "catalog.yaml"
    name, dataset = next(iter(datasets.items()))
    sizes = dataset.sizes
    add_session(
        path,
        SessionEntry(
            session=name, subject="A", task="CO", recipe_id="20ms-0", store=f"stores/{name}",
            store_key=dataset.attrs["store_key"], source="x.nwb", n_trials=sizes["trial"],
            n_units=sizes["unit"], n_bins=sizes["time"], bin_size_s=0.02, created="2026-01-01T00:00:00+00:00",
        ),
    )  # fmt: skip
    monkeypatch.setattr(begin, "open_session", lambda store, **_: session_in_memory(datasets[store.name]))
    monkeypatch.setattr(lenient, "_said", set())
    return path


@pytest.fixture
def run(catalog: Path, make_settings: Make) -> Path:
    train(catalog, make_settings(max_steps=4, checkpoint_every=2), run_name="r")
    return catalog.parent / "runs" / "r"


def again(catalog: Path, settings: TrainSettings, **words: Any) -> tuple[Any, list[str]]:
    said: list[Any] = []
    entry = train(catalog, settings, report=said.append, **words)
    return entry, [event.text for event in said if event.event == "note"] + [said[-1].status]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "no bytes": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "flipped": flip,
}


def test_the_manifest_lists_what_the_run_is_and_not_the_log_that_may_grow(run: Path) -> None:
    listed = json.loads((run / MANIFEST).read_text())["files"]
    names = {
        "config.yaml",
        "run.json",
        "metrics.jsonl",
        "trials.json",
        "best.safetensors",
        "last.safetensors",
    }
    assert set(listed) == names
    assert {name: one.model_dump() for name, one in manifest_of(run, names).files.items()} == listed
    assert (run / "tensorboard").is_dir()


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("with_manifest", [True, False])
def test_damaged_weights_are_not_loaded(run: Path, damage: str, with_manifest: bool) -> None:
    """Flipped bits are found without a manifest too: the header of the weights holds their digest."""
    DAMAGE[damage](run / "best.safetensors")
    if not with_manifest:
        (run / MANIFEST).unlink()
    with pytest.raises(DataError, match=r"best\.safetensors"):
        load_run(run)


@pytest.mark.parametrize("name", ["best.safetensors", "run.json", "manifest.json"])
def test_a_folder_in_place_of_a_file_of_a_run_is_refused_with_what_to_do(
    catalog: Path, run: Path, make_settings: Make, name: str
) -> None:
    (run / name).unlink()
    (run / name).mkdir()
    with pytest.raises(DataError, match=rf"(?i){name}.*\bis a (folder|directory)"):
        train(catalog, make_settings(max_steps=4), run_name="r")


def test_whole_weights_of_another_run_are_not_those_of_this_one(
    catalog: Path, run: Path, make_settings: Make
) -> None:
    train(catalog, make_settings(max_steps=4, seed=1), run_name="other")
    (run / "best.safetensors").write_bytes((run.parent / "other" / "best.safetensors").read_bytes())
    with pytest.raises(DataError, match=r"best\.safetensors"):
        load_run(run)


def test_settings_edited_by_hand_are_not_those_of_the_weights(catalog: Path, run: Path) -> None:
    """Other settings may fit the same weights and give other numbers."""
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("  seed: 0", "  seed: 1"))
    with pytest.raises(DataError, match=r"config\.yaml has another content.*--force"):
        load_run(run)
    longer = settings_from(TrainSettings, base=settings_to_resume(catalog, "r"), values={"max_steps": 8})
    with pytest.raises(DataError, match=r"config\.yaml has another content"):
        train(catalog, longer, resume="r")


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_run_with_damaged_weights_is_made_again_and_ends_in_the_same(
    catalog: Path, run: Path, make_settings: Make, damage: str
) -> None:
    settings = make_settings(max_steps=4, checkpoint_every=2)
    before = (run / "best.safetensors").read_bytes()
    (run / "forecast.txt").write_text("made with it")
    DAMAGE[damage](run / "best.safetensors")
    entry, said = again(catalog, settings, run_name="r")
    assert (run / "best.safetensors").read_bytes() == before
    assert entry.steps == 4
    assert "best.safetensors" in said[0]
    assert "made again" in said[0]
    assert said[-1] == "done"
    assert (run / "forecast.txt").exists(), "what was made with the run is not thrown away"
    assert again(catalog, settings, run_name="r")[1] == ["skipped"]


def test_other_damaged_files_leave_a_run_as_it_is_and_are_said(
    catalog: Path, run: Path, make_settings: Make
) -> None:
    (run / METRICS).write_bytes(b"")
    _, said = again(catalog, make_settings(max_steps=4, checkpoint_every=2), run_name="r")
    assert said[-1] == "skipped"
    assert "metrics.jsonl has 0 bytes" in said[0]


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors"])
def test_a_run_does_not_go_on_from_damaged_weights(
    catalog: Path, run: Path, make_settings: Make, name: str
) -> None:
    flip(run / name)
    with pytest.raises(DataError, match=name):
        train(catalog, make_settings(max_steps=8, checkpoint_every=2), resume="r")


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_nor_does_one_that_is_not_complete_and_has_no_manifest(
    catalog: Path, run: Path, make_settings: Make, name: str, damage: str
) -> None:
    (run / "run.json").unlink()
    (run / MANIFEST).unlink()
    DAMAGE[damage](run / name)
    with pytest.raises(DataError, match=rf"{name}.*damaged"):
        train(catalog, make_settings(max_steps=4, checkpoint_every=2), run_name="r")


LOGS = {
    "no json": b"{\xff\n",
    "other json": b"[1, 2]\n3\nnull\n",
    "no step": b'{"loss": 1.0}\n',
    "text for a number": b'{"step": 1, "loss": "low"}\n',
    "nothing": b"\x00" * 50 + b"\n",
}


@pytest.mark.parametrize("damage", LOGS)
def test_a_damaged_log_does_not_keep_a_training_from_going_on(
    catalog: Path, run: Path, make_settings: Make, damage: str
) -> None:
    content = LOGS[damage] + (run / METRICS).read_bytes()
    (run / METRICS).write_bytes(content)
    with pytest.warns(
        CatalogWarning, match=r"cannot be read and are left out; .* kept as metrics\.damaged-1"
    ):
        entry = train(catalog, make_settings(max_steps=8, checkpoint_every=2), resume="r")
    assert entry.steps == 8
    assert (run / "metrics.damaged-1.jsonl").read_bytes() == content
    steps = [row["step"] for row in read_metrics(run / METRICS)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 8


def test_a_log_that_is_gone_is_said(catalog: Path, run: Path, make_settings: Make) -> None:
    (run / METRICS).unlink()
    with pytest.warns(CatalogWarning, match=r"log of the first 4 steps is not there"):
        train(catalog, make_settings(max_steps=8, checkpoint_every=2), resume="r")


def test_a_run_that_cannot_be_read_can_be_trained_anew(catalog: Path, run: Path, make_settings: Make) -> None:
    for name in ("config.yaml", "run.json", MANIFEST):
        (run / name).write_bytes(b"\x00")
        entry = train(catalog, make_settings(max_steps=4, checkpoint_every=2), run_name="r", force=True)
        assert entry.steps == 4


def test_a_resumed_run_goes_on_with_its_own_settings(catalog: Path, run: Path) -> None:
    own = settings_to_resume(catalog, "r")
    longer = settings_from(TrainSettings, base=own, values={"max_steps": 8})
    assert longer.model.model_dump() == TrainSettings.model_validate(own).model.model_dump()
    assert train(catalog, longer, resume="r").steps == 8


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("seed=7", r"seed \(it has 0, given 7\)"),
        ("model.rank=2", r"model\.rank \(it has 1, given 2\)"),
        ("model.name=lfads", r"model \(it has mdssm, given lfads\)"),
    ],
)
def test_settings_that_differ_are_refused_with_both_values(
    catalog: Path, run: Path, word: str, said: str
) -> None:
    other = settings_from(TrainSettings, base=settings_to_resume(catalog, "r"), words=[word])
    with pytest.raises(SettingsError, match=said):
        train(catalog, other, resume="r")


@pytest.mark.parametrize("step", [0, 3])
def test_a_training_ended_before_its_first_step_goes_on(tmp_path: Path, step: int) -> None:
    """Its optimiser has kept nothing yet; after a step that would be a loss."""
    model = torch.nn.Linear(2, 1)
    optimiser = torch.optim.AdamW(model.parameters())
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, model, TrainState(step=step), scalings={}, optimiser=optimiser)
    if step:
        with pytest.raises(DataError, match="holds no optimiser"):
            load_checkpoint(path, model, optimiser=optimiser)
    else:
        assert load_checkpoint(path, model, optimiser=optimiser)[0].step == 0


def test_a_line_of_the_log_that_is_nested_beyond_reading_is_damaged(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1, "loss": 2.0}\n' + "[" * 100_000 + "\n")
    assert damaged_lines(log) == (1, 2)
