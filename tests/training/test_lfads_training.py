"""LFADS and the masks in the training loop every model goes through."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training import session_embedding
from nwb_latents.pipeline.training.checkpoint import load_checkpoint
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.loop import FitResult, fit
from nwb_latents.pipeline.training.run_files import BEST, LAST, METRICS
from nwb_latents.schemas.lfads import LFADSSettings
from nwb_latents.schemas.masks import MaskSettings
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import xarray as xr

SMALL: dict[str, Any] = {
    "model": {
        "name": "lfads", "generator_dim": 12, "ic_dim": 6, "factor_dim": 4, "encoder_dim": 8,
        "controller_dim": 6, "read_in": {"hidden": 6, "width": 6}, "kl_warmup_steps": 20,
        "l2_warmup_steps": 20, "l2_generator": 10.0,
    },
    "batch": {"trials_per_session": 6}, "optimiser": {"lr": 1e-2},
    "max_steps": 20, "validate_every": 5, "checkpoint_every": 5, "device": "cpu",
}  # fmt: skip

EVERYTHING = {
    "coordinated_dropout": 0.3, "pass_rate": 0.1, "sample_validation": 0.2, "observed_share": 0.7,
    "spike_jitter": 1, "temporal_shift": 1.0,
}  # fmt: skip


def settings_of(**changes: Any) -> TrainSettings:
    merged = {**SMALL, **changes}
    merged["model"] = {**SMALL["model"], **changes.get("model", {})}
    return TrainSettings.model_validate(merged)


def trained(
    datasets: dict[str, xr.Dataset], settings: TrainSettings, folder: Path, **options: Any
) -> FitResult:
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=settings.seed)
    return fit(model, feeds, settings, folder, **options)


def test_parts_of_a_long_session_have_noise_of_their_own(
    make_dataset: Callable[..., xr.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, settings = make_dataset("a", n_trials=6, n_units=5, seed=0), settings_of()
    dataset["counts"].values[:] = dataset["counts"].values[:1]
    feeds = feed_sessions([session_in_memory(dataset)], settings)
    model = build_model(settings.model, {"a": 5}, seed=0).eval()
    run = TrainedRun("run", settings, model, {"a": feeds["a"].scaling}, torch.device("cpu"))
    monkeypatch.setattr(session_embedding, "CHUNK_TRIALS", 2)
    rates = run.reconstruct(session_in_memory(dataset), n_samples=1)
    assert len(np.unique(rates, axis=0)) == 6, "trials that are alike have the same rates"
    assert np.array_equal(rates, run.reconstruct(session_in_memory(dataset), n_samples=1))


def test_lfads_learns_rates_and_forecasts_without_seeing_ahead(
    make_dataset: Callable[..., xr.Dataset], tmp_path: Path
) -> None:
    datasets = {
        name: make_dataset(name, n_trials=120, n_units=n, seed=n) for name, n in {"a": 20, "b": 15}.items()
    }
    autonomous = {"controller_dim": 0, "kl_warmup_steps": 100}
    settings = settings_of(
        max_steps=250, validate_every=50, batch={"trials_per_session": 32}, model=autonomous,
        optimiser={"lr": 1e-2, "warmup_steps": 0},
    )  # fmt: skip
    trained(datasets, settings, tmp_path)
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    units = {n: f.train.y.shape[2] for n, f in feeds.items()}
    model = build_model(settings.model, units, seed=0)
    _, scalings = load_checkpoint(tmp_path / BEST, model)
    run = TrainedRun("run", settings, model.eval(), scalings, torch.device("cpu"))
    for name, dataset in datasets.items():
        rates = run.reconstruct(session_in_memory(dataset), n_samples=0)
        true, test = dataset["rates"].values, dataset["split"].values == "test"
        flat = true[~test].mean((0, 1))
        assert ((true - rates) ** 2)[test].sum() < 0.7 * ((true - flat) ** 2)[test].sum()
        averaged = run.reconstruct(session_in_memory(dataset), n_samples=50)
        assert np.array_equal(averaged, run.reconstruct(session_in_memory(dataset)))
        assert 0 < np.abs(averaged / rates - 1).mean() < 0.3
        ahead = run.forecast(session_in_memory(dataset), seen_bins=6, n_bins=8)
        assert ahead.shape == (120, 8, units[name])
        later = dataset.copy(deep=True)
        later["counts"].values[:, 6:] += 3
        assert np.array_equal(ahead, run.forecast(session_in_memory(later), seen_bins=6, n_bins=8))


class _StopError(Exception):
    pass


def test_a_resumed_run_with_every_mask_takes_the_same_steps_bit_for_bit(
    datasets: dict[str, xr.Dataset], tmp_path: Path
) -> None:
    settings = settings_of(masks=EVERYTHING, standardise=False)
    trained(datasets, settings, tmp_path / "whole")

    def stop(step: int, total: int, metrics: dict[str, float]) -> None:
        del total, metrics
        if step == 10:
            raise _StopError

    with pytest.raises(_StopError):
        trained(datasets, settings, tmp_path / "parts", progress=stop)
    trained(datasets, settings, tmp_path / "parts", resume=True)
    for name in (LAST, BEST):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_samples_held_back_pick_the_best_checkpoint(datasets: dict[str, xr.Dataset], tmp_path: Path) -> None:
    result = trained(datasets, settings_of(masks=EVERYTHING, standardise=False), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    held = {row["step"]: row["val_held_loss"] for row in rows if "val_held_loss" in row}
    assert len(held) > 1
    assert result.metrics["best_val_loss"] == min(held.values()) == held[result.best_step]
    assert result.metrics["val_held_loss"] == rows[-1]["val_held_loss"] == held[result.steps]
    # The samples held back are a fifth of all: their likelihood is not that of all.
    assert all(row["val_held_nll"] != row["val_nll"] for row in rows if "val_nll" in row)
    plain = trained(datasets, settings_of(), tmp_path / "plain")
    assert "val_held_nll" not in plain.metrics


@pytest.mark.parametrize("model", [{}, {"name": "mdssm"}])
def test_validation_shows_and_scores_everything(
    datasets: dict[str, xr.Dataset], tmp_path: Path, model: dict[str, str]
) -> None:
    losses = []
    for masks in ({}, {"coordinated_dropout": 0.6}):
        # A learning rate of next to nothing leaves the weights as they are.
        settings = TrainSettings.model_validate(
            {
                **SMALL,
                "model": model or SMALL["model"],
                "masks": masks,
                "max_steps": 1,
                "optimiser": {"lr": 1e-30},
            }
        )
        losses.append(trained(datasets, settings, tmp_path / str(len(losses))).metrics["val_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_masks_are_part_of_what_a_run_is_only_where_they_hide_something() -> None:
    assert TrainSettings().digest() == TrainSettings(masks=MaskSettings()).digest()
    masked = TrainSettings(masks=MaskSettings(coordinated_dropout=0.3))
    assert masked.digest() != TrainSettings().digest()
    # Runs written before there were masks: the same key, and their configuration opens.
    written = TrainSettings.read({"model": {"name": "mdssm"}, "optimiser": {}})
    assert written.digest() == "e7ce94f791c9b89e87a9ead7c3bf173b7b5f0270de39602e07d8a1e7993ebc04"
    older = TrainSettings().model_dump(mode="json", exclude={"masks"})
    assert TrainSettings.model_validate(older) == TrainSettings()


def test_the_model_decides_the_signal_unless_it_is_named() -> None:
    assert TrainSettings.model_validate({"model": {"name": "lfads"}}).signal == "counts"
    assert TrainSettings.model_validate({"model": {"name": "lfads"}, "signal": "rates"}).signal == "rates"
    gaussian = {"name": "lfads", "likelihood": "gaussian"}
    assert TrainSettings.model_validate({"model": gaussian}).signal == "rates"
    assert TrainSettings.model_validate({"model": {"rank": 3}}).signal == "rates"


def test_jitter_asks_for_counts_as_they_are() -> None:
    with pytest.raises(ValidationError, match=r"masks\.spike_jitter moves whole spikes"):
        settings_of(masks={"spike_jitter": 1})


def test_settings_that_change_nothing_leave_the_digest_of_a_training_as_it_was():
    plain = TrainSettings(model=LFADSSettings(cut_probability=0.0), validation_cuts=0)
    without = {
        "validation_cuts": True,
        "data_memory_gb": True,
        "batch": {"trials_per_block"},
        "masks": True,
        "co_smoothing": True,
        "heldout_fraction": True,
        "forward_ms": True,
        "input_smoothing": True,
        "model": {
            "controller_encoder_dim", "input_bias", "rate_link", "ic_prior_df", "input_prior_fixed",
            "student_t_posterior", "cut_probability",
        },
    }  # fmt: skip
    text = json.dumps(plain.model_dump(mode="json", exclude=without), sort_keys=True, separators=(",", ":"))
    assert plain.digest() == hashlib.sha256(text.encode()).hexdigest()
    assert TrainSettings(model=LFADSSettings(), co_smoothing=True).digest() != plain.digest()
    for changed in (LFADSSettings(input_bias=True), LFADSSettings(controller_encoder_dim=3)):
        assert TrainSettings(model=changed).digest() != plain.digest()
