"""The embed stage: a catalog with a trained run → tables and pictures in the run's folder."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError
from nwb_latents.pipeline.evaluation.decoding.ridge_decoder import RidgeRegression
from nwb_latents.pipeline.stages.embed import embed
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.session import open_session, session_in_memory
from nwb_latents.pipeline.stores.trials import read_trials
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.schemas.embedding import EmbedSettings
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

TINY = {
    "latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8,
    "read_in": {"hidden": 8, "width": 4},
}  # fmt: skip
SETTINGS = EmbedSettings(folds=3, flow_points=5)
A, B = "sub-A_ses-CO-1", "sub-B_ses-CO-1"


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory, make_reaches, as_recording, enter_recording):
    """A catalog of two sessions, a run with an embedding and one without."""
    catalog = tmp_path_factory.mktemp("embed") / "catalog.yaml"
    for number, subject in enumerate("AB"):
        recording = as_recording(make_reaches(n_trials=40, n_units=6 + number, seed=number))
        enter_recording(catalog, recording, subject=subject)
    steps = {"max_steps": 2, "validate_every": 2, "checkpoint_every": 2, "device": "cpu"}
    batch = {"trials_per_session": 8}
    for name, changes in {
        "tiny": {},
        "shared": {"conditioner": "shared"},
        "line": {"embedding_dim": 1},
    }.items():
        settings = TrainSettings.model_validate({"model": {**TINY, **changes}, "batch": batch, **steps})
        train(catalog, settings, run_name=name)
    return catalog.parent


@pytest.fixture
def catalog(trained_folder, tmp_path) -> Path:
    return shutil.copytree(trained_folder, tmp_path / "work") / "catalog.yaml"


def test_tables_and_pictures_are_written(catalog):
    events = []
    made = embed(catalog, SETTINGS, run="tiny", device="cpu", report=events.append)
    (folder,) = (catalog.parent / "runs" / "tiny" / "embedding").iterdir()
    stems = ["embedding", *(f"{s}_grid{rest}" for s in (A, B) for rest in ("", "_flow"))]
    expected = {f"{stem}.{kind}" for stem in stems for kind in ("nc", "png")}
    assert {path.name for path in made.files} == expected
    assert {path.name for path in folder.iterdir()} == {*expected, "settings.yaml"}
    with xr.open_dataset(folder / "embedding.nc") as table:
        assert table["session"].values.tolist() == [A, B]
        assert table["subject"].values.tolist() == ["A", "B"]
        np.testing.assert_array_equal(table["mean"], made.table["mean"])
    with xr.open_dataset(folder / f"{A}_grid_flow.nc") as field:
        assert dict(field.sizes)["point"] == 3
        assert field["vector"].shape == (3, 5, 5, 2)
    told = {e.session: e for e in events if e.event == "embedding"}
    for row, (name, subject) in enumerate(((A, "A"), (B, "B"))):
        assert list(told[name].mean) == made.table["mean"].values[row].tolist()
        assert list(told[name].variance) == made.table["variance"].values[row].tolist()
        assert told[name].n_trials == int(made.table["n_trials"][row])
        assert (told[name].run, told[name].subject, told[name].task) == ("tiny", subject, "CO")


def test_the_middle_of_the_grid_is_the_sessions_own_rollout(catalog):
    embed(catalog, SETTINGS, run="tiny", sessions=(A,), device="cpu")
    (folder,) = (catalog.parent / "runs" / "tiny" / "embedding").iterdir()
    with xr.open_dataset(folder / f"{A}_grid.nc") as dataset:
        made = dataset.load()
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session == A)
    trials = read_trials(catalog.parent / entry.store).load()
    trials = trials.isel(trial=np.flatnonzero(trials["split"].values == "train"))
    run = load_run(catalog.parent / "runs" / "tiny", device="cpu")
    mean, _ = run.embedding(session_in_memory(trials))
    np.testing.assert_allclose(made["embedding_value"].values[1, 1], mean, atol=1e-6)
    assert made.attrs["start_bin"] == 12
    states = run.states(session_in_memory(trials))
    for row, condition in enumerate(made["condition"].values):
        mine = trials["condition"].values == condition
        state = states[mine, 12].mean(axis=0, keepdims=True)
        for k in range(made.sizes["time"]):
            np.testing.assert_allclose(made["latents"].values[1, 1, row, k], state[0], atol=1e-4)
            state = run.step(state, mean)


def test_a_line_leads_from_one_session_to_the_other(catalog):
    made = embed(catalog, SETTINGS, run="tiny", towards=B, device="cpu")
    [path] = [p for p in made.files if p.name == f"{A}_to_{B}.nc"]
    with xr.open_dataset(path) as line:
        assert line["embedding_value"].shape == (5, 1, 2)
        ends = line["embedding_value"].values[[0, -1], 0]
    np.testing.assert_allclose(ends, made.table["mean"].values, atol=1e-6)
    assert not [p for p in made.files if p.name.startswith(B)]


def test_with_one_dimension_the_grid_is_a_line(catalog):
    made = embed(catalog, SETTINGS, run="line", sessions=(A,), device="cpu")
    [path] = [p for p in made.files if p.name == f"{A}_grid.nc"]
    with xr.open_dataset(path) as line:
        assert line["position"].shape[:2] == (3, 1)


def test_shared_dynamics_have_no_embedding(catalog):
    with pytest.raises(DataError, match=r"Run shared has no embedding.*conditioner 'shared'"):
        embed(catalog, SETTINGS, run="shared", device="cpu")


def test_wrong_uses_are_refused(catalog):
    with pytest.raises(DataError, match="No run is called tony"):
        embed(catalog, SETTINGS, run="tony")
    with pytest.raises(DataError, match="was not trained on sub-Z; it knows sub-A"):
        embed(catalog, SETTINGS, run="tiny", towards="sub-Z")
    with pytest.raises(DataError, match="No session is left to go from"):
        embed(catalog, SETTINGS, run="tiny", sessions=(B,), towards=B)
    with pytest.raises(SettingsError, match="start_bin 35"):
        embed(catalog, EmbedSettings(start_bin=35), run="tiny")
    with pytest.raises(SettingsError, match="colour_by mood"):
        embed(catalog, EmbedSettings(colour_by=("mood",)), run="tiny", device="cpu")


def test_a_store_that_is_gone_does_not_stop_the_others(catalog):
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session == A)
    shutil.rmtree(catalog.parent / entry.store)
    with pytest.raises(PartialFailure, match="1 sessions failed, 6 files were written"):
        embed(catalog, SETTINGS, run="tiny", device="cpu")


def test_reaches_are_decoded_by_a_decoder_of_recorded_rates_of_training_trials(catalog, monkeypatch):
    given = []

    def watched(decoder, rates, velocity):
        given.append((rates, velocity))
        raise DataError("seen enough")

    monkeypatch.setattr(RidgeRegression, "fit", watched)
    events = []
    chosen = SETTINGS.model_copy(update={"lag_ms": 60.0})
    made = embed(catalog, chosen, run="tiny", sessions=(A,), device="cpu", report=events.append)
    mean, variance = (made.table[name].values for name in ("mean", "variance"))
    apart = (mean.std(axis=0) / np.sqrt(variance.mean(axis=0))).max()
    of_table, of_reaches = (e.text for e in events if e.event == "note")
    assert of_table.endswith(f"they spread by {apart:.2g} standard deviations of their posteriors")
    assert of_reaches == f"{A}: no reaches are decoded: seen enough"
    ((rates, velocity),) = given
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session == A)
    session = open_session(catalog.parent / entry.store).loaded()
    train = session.rows("train")
    assert 0 < len(train) < session.n_trials
    np.testing.assert_array_equal(rates, session.trials["rates"].values[train])
    np.testing.assert_array_equal(velocity, session.velocity(60.0).velocity[train])
