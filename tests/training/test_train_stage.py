"""``pipeline run train`` as a function: names, skipping, resuming, refusing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import add_session, read_catalog
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training import training_start as begin
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.schemas.catalog import SessionEntry
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

Make = Callable[..., TrainSettings]


def _enter(catalog: Path, name: str, dataset: xr.Dataset, *, store_key: str | None = None) -> None:
    add_session(
        catalog,
        SessionEntry(
            session=name,
            subject=name.split("_", maxsplit=1)[0],
            task="CO",
            recipe_id="20ms-0",
            store=f"stores/{name}",
            store_key=store_key or dataset.attrs["store_key"],
            source="x.nwb",
            n_trials=dataset.sizes["trial"],
            n_units=dataset.sizes["unit"],
            n_bins=dataset.sizes["time"],
            bin_size_s=0.02,
            created="2026-01-01T00:00:00+00:00",
        ),
    )


@pytest.fixture
def catalog(tmp_path: Path, datasets: dict[str, xr.Dataset], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of two sessions whose stores are served from memory."""
    path = tmp_path / "catalog.yaml"
    for name, dataset in datasets.items():
        _enter(path, name, dataset)
    monkeypatch.setattr(begin, "open_session", lambda store, **_: session_in_memory(datasets[store.name]))
    return path


def test_a_run_is_entered_and_found_again(catalog: Path, make_settings: Make) -> None:
    events: list[Any] = []
    entry = train(catalog, make_settings(), report=events.append)
    assert entry.run == f"mdssm-{entry.run_key[:8]}"
    assert read_catalog(catalog).runs == {entry.run: entry}
    assert entry.sessions == ("sub-A_ses-1", "sub-B_ses-1")
    assert entry.metrics["val_loss"] < float("inf")
    folder = catalog.parent / entry.path
    assert folder == catalog.parent / "runs" / entry.run
    assert json.loads((folder / "run.json").read_text())["steps"] == 20
    assert [e.status for e in events if e.event == "run"] == ["done"]
    progress = [e for e in events if e.event == "progress"]
    assert (progress[-1].step, progress[-1].total) == (20, 20)
    assert load_run(folder, device="cpu").sessions == entry.sessions

    written = (folder / "last.safetensors").stat().st_mtime_ns
    again: list[Any] = []
    assert train(catalog, make_settings(), report=again.append) == entry
    assert [e.status for e in again] == ["skipped"]
    assert (folder / "last.safetensors").stat().st_mtime_ns == written


def test_a_run_that_stopped_early_says_the_steps_it_took(
    catalog: Path, make_settings: Make, datasets: dict[str, xr.Dataset]
) -> None:
    for dataset in datasets.values():
        dataset["rates"].values[3::5] += 1000  # Validation unlike training: only worse with training.
    rates = {"optimiser": {"lr": 0.02}, "model": {"mask_probability": 0.0}}
    entry = train(catalog, make_settings(max_steps=400, validate_every=2, patience=3, **rates))
    lines = (catalog.parent / entry.path / "metrics.jsonl").read_text().splitlines()
    assert entry.steps == json.loads(lines[-1])["step"] == entry.metrics["best_step"] + 6


def test_an_embedding_that_tells_no_sessions_apart_is_said(catalog: Path, make_settings: Make) -> None:
    events: list[Any] = []
    entry = train(catalog, make_settings(max_steps=1), report=events.append)
    apart = entry.metrics["val_embeddings_apart"]
    assert apart < 1
    (text,) = [e.text for e in events if e.event == "note" and "embedding" in e.text]
    assert text.startswith(
        f"the embedding is not used: the sessions' differ by {entry.metrics['val_embeddings_apart']:.2g} "
    )


def test_an_embedding_that_tells_sessions_apart_is_not_said(
    catalog: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nwb_latents.pipeline.training.step_metrics._embeddings_apart", lambda outputs: 3.0)
    events: list[Any] = []
    assert (
        train(catalog, make_settings(max_steps=1), report=events.append).metrics["val_embeddings_apart"] == 3
    )
    assert not [e for e in events if e.event == "note" and "embedding" in e.text]


def test_other_settings_or_sessions_are_another_run(catalog: Path, make_settings: Make) -> None:
    names = {
        train(catalog, make_settings(max_steps=2)).run,
        train(catalog, make_settings(max_steps=2, seed=1)).run,
        train(catalog, make_settings(max_steps=2), sessions=["sub-A_*"]).run,
    }
    assert len(names) == 3


def test_an_interrupted_run_goes_on_to_the_same_weights(
    catalog: Path, make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(event: Any) -> None:
        if getattr(event, "step", None) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(catalog, make_settings(), report=interrupt)
    assert not read_catalog(catalog).runs
    (folder,) = (catalog.parent / "runs").iterdir()
    with pytest.raises(DataError, match="not complete"):
        load_run(folder)
    entry = train(catalog, make_settings())
    assert entry.run == folder.name
    whole = train(catalog, make_settings(), run_name="whole")
    last = [(catalog.parent / e.path / "last.safetensors").read_bytes() for e in (entry, whole)]
    assert last[0] == last[1]


def test_a_complete_run_can_be_trained_longer(catalog: Path, make_settings: Make) -> None:
    first = train(catalog, make_settings(), run_name="mine")
    longer = train(catalog, make_settings(max_steps=30), resume="mine")
    assert (first.steps, longer.steps) == (20, 30)
    assert read_catalog(catalog).runs == {"mine": longer}
    steps = [json.loads(line)["step"] for line in (catalog.parent / "runs/mine/metrics.jsonl").open()]
    assert steps == sorted(set(steps))
    with pytest.raises(SettingsError, match="other settings: seed"):
        train(catalog, make_settings(max_steps=40, seed=5), resume="mine")
    with pytest.raises(DataError, match=r"No run is called theirs.*mine"):
        train(catalog, make_settings(), resume="theirs")


def test_a_name_belongs_to_one_run(catalog: Path, make_settings: Make) -> None:
    train(catalog, make_settings(max_steps=2), run_name="mine")
    with pytest.raises(SettingsError, match=r"taken.*--force"):
        train(catalog, make_settings(max_steps=3), run_name="mine")
    assert train(catalog, make_settings(max_steps=3), run_name="mine", force=True).steps == 3
    with pytest.raises(SettingsError, match="run name"):
        train(catalog, make_settings(), run_name="../elsewhere")
    with pytest.raises(SettingsError, match="run name"):
        train(catalog, make_settings(), resume="../runs/mine")


def test_a_run_does_not_go_on_with_another_store(
    catalog: Path, make_settings: Make, datasets: dict[str, xr.Dataset]
) -> None:
    train(catalog, make_settings(max_steps=2), run_name="mine")
    _enter(catalog, "sub-A_ses-1", datasets["sub-A_ses-1"], store_key="other")
    with pytest.raises(DataError, match="sub-A_ses-1 was ingested anew"):
        train(catalog, make_settings(max_steps=4), resume="mine")


def test_two_trainers_do_not_share_a_run(catalog: Path, make_settings: Make) -> None:
    folder = catalog.parent / "runs" / "mine"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(MachineError, match="another process"):
        train(catalog, make_settings(), run_name="mine")


def test_no_session_no_run(catalog: Path, make_settings: Make) -> None:
    with pytest.raises(DataError, match="No session matches sub-X"):
        train(catalog, make_settings(), sessions=["sub-X*"])
