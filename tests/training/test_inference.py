"""A trained run reconstructs and forecasts in hertz, and refuses what it does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import nwb_latents.pipeline.training.session_embedding as session_embedding
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.inference import TrainedRun, load_run
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.run_files import write_config, write_entry
from nwb_latents.schemas.catalog import RunEntry
from nwb_latents.schemas.training import RunConfig, RunSource, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import xarray as xr

A = "sub-A_ses-1"


@pytest.fixture
def trained(
    datasets: dict[str, xr.Dataset], make_settings: Callable[..., TrainSettings], tmp_path: Path
) -> TrainedRun:
    """A run trained long enough to know the oscillation."""
    settings = make_settings(
        max_steps=150, optimiser={"lr": 2e-2, "warmup_steps": 0}, validate_every=50, checkpoint_every=50,
        # The rates of these stores are the true ones, not their counts smoothed.
        input_smoothing="recorded",
        # So few steps are for reconstruction; most steps practise forecasting by default.
        model={"cut_probability": 0.5},
    )  # fmt: skip
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    units = {n: f.train.y.shape[2] for n, f in feeds.items()}
    sources = {n: RunSource(store_key=datasets[n].attrs["store_key"], n_units=u) for n, u in units.items()}
    run = tmp_path / "run-1"
    write_config(
        run,
        RunConfig(run="run-1", run_key="k", recipe_id="r", sessions=sources, settings=settings, created=""),
    )
    with pytest.raises(DataError, match=r"not complete.*--resume run-1"):
        load_run(run)
    result = fit(build_model(settings.model, units, seed=0), feeds, settings, run)
    write_entry(
        run,
        RunEntry(
            run="run-1", model="mdssm", path="runs/run-1", run_key="k", recipe_id="r",
            sessions=tuple(units), steps=result.steps, created="",
        ),
    )  # fmt: skip
    return load_run(run, device="cpu")


def _r2(true: np.ndarray, got: np.ndarray) -> float:
    return float(1 - ((true - got) ** 2).sum() / ((true - true.mean((0, 1))) ** 2).sum())


def test_reconstructions_are_rates_in_hertz(trained: TrainedRun, datasets: dict[str, xr.Dataset]) -> None:
    for dataset in datasets.values():
        test = dataset.isel(trial=np.flatnonzero(dataset["split"].values == "test"))
        got = trained.reconstruct(session_in_memory(test))
        assert got.shape == test["rates"].shape
        assert got.dtype == np.float32
        assert _r2(test["rates"].values, got) > 0.8


def test_samples_are_drawn_from_the_seed_and_anew_for_each_batch(
    trained: TrainedRun, datasets: dict[str, xr.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_embedding, "CHUNK_TRIALS", 10)
    twice = session_in_memory(datasets[A].isel(trial=np.r_[:10, :10]))
    one, again, other = (trained.reconstruct(twice, n_samples=2, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[:10], one[10:])
    mean = [trained.reconstruct(twice, n_samples=0, seed=seed) for seed in (1, 2)]
    assert np.array_equal(*mean)


def test_forecasts_do_not_see_what_they_forecast(
    trained: TrainedRun, datasets: dict[str, xr.Dataset]
) -> None:
    dataset = datasets[A]
    got = trained.forecast(session_in_memory(dataset), seen_bins=6, n_bins=7)
    assert got.shape == (20, 7, 6)
    changed = dataset.copy(deep=True)
    changed["rates"].values[:] = 1e4
    changed["counts"].values[:, 6:] = 9
    assert np.array_equal(got, trained.forecast(session_in_memory(changed), seen_bins=6, n_bins=7))
    changed["counts"].values[:, 5:] = 9
    assert not np.array_equal(got, trained.forecast(session_in_memory(changed), seen_bins=6, n_bins=7))


def test_leaky_forecasts_are_shown_the_recorded_rates_of_the_bins_seen(
    trained: TrainedRun, datasets: dict[str, xr.Dataset]
) -> None:
    def leaky(dataset: xr.Dataset) -> np.ndarray:
        session = session_in_memory(dataset)
        return trained.foresee(session, seen_bins=6, n_bins=7, leaky=True).rates

    dataset = datasets[A]
    got, changed = leaky(dataset), dataset.copy(deep=True)
    assert not np.array_equal(got, trained.forecast(session_in_memory(dataset), seen_bins=6, n_bins=7))
    changed["counts"].values[:] = 9
    changed["rates"].values[:, 6:] = 1e4
    assert np.array_equal(got, leaky(changed))
    changed["rates"].values[:, 5:] = 1e4
    assert not np.array_equal(got, leaky(changed))


def test_forecasts_are_made_of_bins_there_are(trained: TrainedRun, datasets: dict[str, xr.Dataset]) -> None:
    dataset = datasets[A]
    with pytest.raises(DataError, match="between 1 and 10 bins"):
        trained.forecast(session_in_memory(dataset), seen_bins=11, n_bins=2)


def test_chunks_change_nothing(
    trained: TrainedRun, datasets: dict[str, xr.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_in_memory(datasets[A])
    whole = trained.reconstruct(session), trained.forecast(session, seen_bins=6, n_bins=3)
    embedding = trained.embedding(session)
    monkeypatch.setattr(session_embedding, "CHUNK_TRIALS", 7)
    np.testing.assert_allclose(trained.reconstruct(session), whole[0], rtol=1e-4, atol=1e-3)
    parts = trained.forecast(session, seen_bins=6, n_bins=3)
    np.testing.assert_allclose(parts, whole[1], rtol=1e-4, atol=1e-3)
    for part, of_all in zip(trained.embedding(session), embedding, strict=True):
        np.testing.assert_allclose(part, of_all, rtol=1e-4)


def test_the_embedding_has_one_value_per_dimension(
    trained: TrainedRun, datasets: dict[str, xr.Dataset]
) -> None:
    mean, variance = trained.embedding(session_in_memory(datasets[A]))
    assert mean.shape == variance.shape == (1,)
    assert variance[0] > 0


def test_unknown_sessions_and_changed_stores_are_refused(
    trained: TrainedRun, datasets: dict[str, xr.Dataset]
) -> None:
    with pytest.raises(DataError, match="was not trained on sub-Z_ses-9; it knows sub-A_ses-1, sub-B_ses-1"):
        trained.reconstruct(session_in_memory(datasets[A].assign_attrs(session="sub-Z_ses-9")))
    with pytest.raises(DataError, match=r"trained on another store of this session .* 6 units, now 4"):
        trained.reconstruct(session_in_memory(datasets["sub-B_ses-1"].assign_attrs(session=A)))
    # What comes from no store says no key.
    for dataset in datasets.values():
        del dataset.attrs["store_key"]
    with pytest.raises(DataError, match="units with other ids"):
        trained.reconstruct(session_in_memory(datasets["sub-B_ses-1"].assign_attrs(session=A)))
    renumbered = datasets[A].assign_coords(unit=datasets[A]["unit"].values[::-1])
    with pytest.raises(DataError, match="trained on 6 units, the store holds 6 units with other ids"):
        trained.reconstruct(session_in_memory(renumbered))
    with pytest.raises(DataError, match=r"bins of 0\.02 s, the store holds bins of 0\.05"):
        trained.reconstruct(session_in_memory(datasets[A].assign_attrs(bin_size_s=0.05)))
    with pytest.raises(DataError, match="no trials"):
        trained.reconstruct(session_in_memory(datasets[A].isel(trial=slice(0, 0))))


def test_rollouts_are_those_of_a_plain_loop(trained: TrainedRun, datasets: dict[str, xr.Dataset]) -> None:
    start = trained.states(session_in_memory(datasets[A]))[:3, 0]
    embeddings = np.array([[-1.0], [0.5]])
    latents, rates = trained.roll_out(A, start, n_bins=5, embeddings=embeddings)
    assert latents.shape == (2, 3, 5, 3)
    assert rates.shape == (2, 3, 5, 6)
    for row, e in enumerate(embeddings):
        state = start
        for k in range(5):
            np.testing.assert_allclose(latents[row, :, k], state, atol=1e-5)
            state = trained.step(state, e)
    assert not np.allclose(latents[0, :, -1], latents[1, :, -1], atol=1e-4)


def test_a_rollout_under_the_own_embedding_is_the_forecast(
    trained: TrainedRun, datasets: dict[str, xr.Dataset]
) -> None:
    """From the last state seen, the dynamics of the session's embedding give what a forecast gives."""
    seen = datasets[A].isel(time=slice(0, 6))
    mean = trained.embeddings[A].mean.numpy()[0]
    start = trained.states(session_in_memory(seen))[:, -1]
    _, rates = trained.roll_out(A, start, n_bins=5, embeddings=mean[None])
    # The states are of recorded rates, as the run was trained.
    ahead = trained.foresee(session_in_memory(datasets[A]), seen_bins=6, n_bins=4, leaky=True).rates
    np.testing.assert_allclose(rates[0, :, 1:], ahead, rtol=1e-4, atol=1e-3)


def test_rollouts_that_do_not_fit_are_refused(trained: TrainedRun) -> None:
    with pytest.raises(DataError, match=r"expected at least 1 bin and the shape \(start, 3\)"):
        trained.roll_out(A, np.zeros((1, 2)), n_bins=4, embeddings=[[0.0]])
    with pytest.raises(DataError, match=r"expected \(embedding, 1\)"):
        trained.roll_out(A, np.zeros((1, 3)), n_bins=4, embeddings=[[0.0, 1.0]])
    with pytest.raises(DataError, match="was not trained on sub-Z"):
        trained.roll_out("sub-Z", np.zeros((1, 3)), n_bins=4, embeddings=[[0.0]])


@pytest.mark.parametrize(
    ("conditioner", "dim"), [("low_rank", 1), ("linear", 1), ("concat", 1), ("shared", 0)]
)
def test_every_conditioner_runs_freely(
    conditioner: str, dim: int, datasets: dict[str, xr.Dataset], make_settings: Callable[..., TrainSettings]
) -> None:
    settings = make_settings(model={"conditioner": conditioner})
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    units = {n: f.train.y.shape[2] for n, f in feeds.items()}
    scalings = {n: f.scaling for n, f in feeds.items()}
    model = build_model(settings.model, units, seed=0).eval()
    run = TrainedRun("r", settings, model, scalings, torch.device("cpu"))
    assert run.embedding_dim == dim
    start = np.ones((2, 3), np.float32)
    latents, _ = run.roll_out(A, start, n_bins=4, embeddings=np.array([[-1.0], [1.0]])[:, : max(dim, 1)])
    assert np.array_equal(latents[0], latents[1]) == (conditioner == "shared")
