"""Training: it learns, it resumes where it was, it stops when it should, it keeps the best."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nwb_latents.models.batching.views import View, observe
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.checkpoint import TrainState, load_checkpoint, save_checkpoint
from nwb_latents.pipeline.training.feed import SessionFeed, feed_sessions
from nwb_latents.pipeline.training.loop import FitResult, fit
from nwb_latents.pipeline.training.run_files import BEST, LAST, METRICS
from nwb_latents.schemas.models import known_models
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

    from nwb_latents.models.interface import Model

Make = Callable[..., TrainSettings]


def _fit(
    datasets: dict[str, xr.Dataset], settings: TrainSettings, run_dir: Path, **options: Any
) -> tuple[FitResult, Model, dict[str, SessionFeed]]:
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=settings.seed)
    return fit(model, feeds, settings, run_dir, **options), model, feeds


def test_the_loss_falls(datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path) -> None:
    result, _, _ = _fit(datasets, make_settings(max_steps=80, optimiser={"lr": 1e-2}), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    losses = [row["val_loss"] for row in rows if "val_loss" in row]
    assert losses[-1] < 0.8 * losses[0]
    assert result.steps == 80
    assert result.stopped == "max_steps"
    assert result.metrics["val_loss"] == losses[-1]
    assert result.metrics["best_val_loss"] == min(losses)
    assert list((tmp_path / "tensorboard").iterdir())


class _Overflowing:
    """Scores as always, in some steps with a gradient beyond all numbers."""

    def __init__(self, steps: range) -> None:
        self.steps = steps

    def __call__(self, batch: Any, generator: torch.Generator | None, step: int) -> View:
        view = observe(batch)
        scale = 1e30 if step in self.steps else 1.0
        return replace(view, weight=view.weight * scale)


def test_steps_whose_gradient_overflows_are_left_out(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings(max_steps=8)
    result, model, feeds = _fit(datasets, settings, tmp_path, masker=_Overflowing(range(8)))
    assert result.metrics["steps_left_out"] == 8
    units = {name: feed.train.y.shape[2] for name, feed in feeds.items()}
    fresh = build_model(settings.model, units, seed=settings.seed).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, fresh[name], rtol=0, atol=0)
    _, model, _ = _fit(datasets, settings, tmp_path / "b", masker=_Overflowing(range(7)))
    assert any(not torch.equal(value, fresh[name]) for name, value in model.state_dict().items())


def test_gradients_that_go_on_overflowing_end_the_training(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"gradient is inf at step 1[0-9].*optimiser\.lr="):
        _fit(datasets, make_settings(max_steps=40), tmp_path, masker=_Overflowing(range(3, 40)))


class _StopError(Exception):
    pass


@pytest.mark.parametrize(("steps", "stopped", "kept"), [(20, 15, 10), (200, 110, 100)])
def test_a_resumed_run_takes_the_same_steps_bit_for_bit(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path, steps: int, stopped: int, kept: int
) -> None:
    settings = make_settings(max_steps=steps, checkpoint_every=kept, patience=steps)
    whole, model, _ = _fit(datasets, settings, tmp_path / "whole")

    def stop(step: int, total: int, metrics: dict[str, float]) -> None:
        del total, metrics
        if step == stopped:
            raise _StopError

    with pytest.raises(_StopError):
        _fit(datasets, settings, tmp_path / "parts", progress=stop)
    assert load_checkpoint(tmp_path / "parts" / LAST, model)[0].step == kept
    resumed, _, _ = _fit(datasets, settings, tmp_path / "parts", resume=True)
    assert resumed.steps == whole.steps == steps
    assert resumed.best_step == whole.best_step
    for name in (LAST, BEST):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    logs = [(tmp_path / part / METRICS).read_text() for part in ("parts", "whole")]
    assert logs[0] == logs[1]


def test_an_interrupt_leaves_a_checkpoint_to_go_on_from(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings(checkpoint_every=1000, validate_every=1000)
    calls = 0

    def interrupt(*batch_generator_step: Any) -> View:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return observe(*batch_generator_step)

    with pytest.raises(KeyboardInterrupt):
        _fit(datasets, settings, tmp_path / "cut", masker=interrupt)
    _fit(datasets, settings, tmp_path / "cut", resume=True)
    _fit(datasets, settings, tmp_path / "whole")
    assert (tmp_path / "cut" / LAST).read_bytes() == (tmp_path / "whole" / LAST).read_bytes()


def test_training_stops_when_validation_does_not_improve(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings(
        max_steps=400, validate_every=2, patience=3, optimiser={"lr": 1e-9}, model={"mask_probability": 0.0}
    )
    for dataset in datasets.values():
        dataset["rates"].values[3::5] += 1000  # validation unlike training: only worse with training
    settings = settings.model_copy(update={"optimiser": settings.optimiser.model_copy(update={"lr": 0.02})})
    result, _, _ = _fit(datasets, settings, tmp_path)
    if result.stopped == "patience":
        assert result.steps == result.best_step + 6
    else:
        pytest.fail(f"no stop within {result.steps} steps, best {result.best_step}")


def test_without_validation_trials_the_last_weights_are_the_best(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    for dataset in datasets.values():
        dataset["split"].values[dataset["split"].values == "val"] = "test"
    result, model, _ = _fit(datasets, make_settings(), tmp_path)
    last = {k: v.clone() for k, v in model.state_dict().items()}
    load_checkpoint(tmp_path / BEST, model)
    assert all(torch.equal(last[k], v) for k, v in model.state_dict().items())
    assert "val_loss" not in result.metrics


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    def poison(batch: Any, generator: Any, step: int) -> View:
        view = observe(batch, generator, step)
        if step < 7:
            return view
        return replace(view, target=view.target * float("inf"))

    with pytest.raises(
        DataError, match=r"loss is (inf|nan) at step 7.*optimiser\.lr=.*last good checkpoint"
    ) as error:
        _fit(datasets, make_settings(), tmp_path, masker=poison)
    assert error.value.exit_code == 4
    model = build_model(make_settings().model, {n: d.sizes["unit"] for n, d in datasets.items()}, seed=0)
    state, _ = load_checkpoint(tmp_path / LAST, model)
    assert state.step == 5
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_only_what_is_trainable_learns(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings(max_steps=5)
    first = dict(list(datasets.items())[:1])
    _, model, _ = _fit(first, settings, tmp_path / "first")
    model.add_sessions({"sub-B_ses-1": 4})
    before = {k: v.clone() for k, v in model.state_dict().items()}
    second = feed_sessions(map(session_in_memory, list(datasets.values())[1:]), settings)
    fit(model, second, settings, tmp_path / "aligned", trainable=lambda name: name.endswith("blocks.1"))
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {k for k in before if k.endswith("blocks.1")}


def test_groups_of_sessions_make_the_same_number_of_steps(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings(batch={"trials_per_session": 4, "sessions_per_block": 1}, max_steps=5)
    result, _, _ = _fit(datasets, settings, tmp_path)
    assert result.steps == 5


def test_precision_can_be_lowered_and_raised(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    for precision in ("bf16-mixed", "64-true"):
        result, _, _ = _fit(datasets, make_settings(precision=precision, max_steps=5), tmp_path / precision)
        assert result.steps == 5
    with pytest.raises(SettingsError, match="needs a GPU"):
        _fit(datasets, make_settings(precision="16-mixed"), tmp_path)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("model", known_models())
def test_every_model_trains_in_every_precision_of_a_processor(
    datasets: dict[str, xr.Dataset], tmp_path: Path, model: str, precision: str
) -> None:
    content = {"model": {"name": model}, "precision": precision, "device": "cpu", "max_steps": 2}
    result, _, _ = _fit(datasets, TrainSettings.model_validate(content), tmp_path)
    assert result.steps == 2
    assert math.isfinite(result.metrics["val_loss"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_gpu_that_is_not_there_is_an_environment_error(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    with pytest.raises(MachineError, match="no CUDA device") as error:
        _fit(datasets, make_settings(device="cuda"), tmp_path)
    assert error.value.exit_code == 5


def test_checkpoints_of_another_model_or_damaged_ones_are_refused(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    _, model, feeds = _fit(datasets, make_settings(max_steps=5), tmp_path)
    units = {n: d.sizes["unit"] for n, d in datasets.items()}
    other = build_model(make_settings(model={"latent_dim": 4}).model, units, seed=0)
    with pytest.raises(DataError, match="expects"):
        load_checkpoint(tmp_path / LAST, other)
    content = (tmp_path / LAST).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="damaged"):
        load_checkpoint(tmp_path / "cut.safetensors", model)
    with pytest.raises(DataError, match="no checkpoint here"):
        load_checkpoint(tmp_path / "none.safetensors", model)
    optimiser = torch.optim.AdamW(model.parameters())
    with pytest.raises(DataError, match="holds no optimiser"):
        load_checkpoint(tmp_path / BEST, model, optimiser=optimiser)
    scalings = {n: f.scaling for n, f in feeds.items()}
    save_checkpoint(tmp_path / "again.safetensors", model, TrainState(step=3), scalings=scalings)
    state, read = load_checkpoint(tmp_path / "again.safetensors", model)
    assert state == TrainState(step=3)
    assert read["sub-A_ses-1"].units.tolist() == [100, 101, 102, 103, 104, 105]
    shutil.rmtree(tmp_path / "tensorboard")


def test_poisson_rates_start_at_the_mean_counts(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings(
        signal="counts", model={"likelihood": "poisson"}, optimiser={"lr": 1e-9}, max_steps=1
    )
    _, model, feeds = _fit(datasets, settings, tmp_path)
    bias = model.state_dict()["read_out.bias.blocks.0"]
    for row, feed in enumerate(feeds.values()):
        mean = feed.train.scored.mean((0, 1))
        torch.testing.assert_close(bias[row, : len(mean), 0].exp(), mean, rtol=1e-4, atol=1e-6)


def test_validation_losses_do_not_rise_with_a_warm_up(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    losses = []
    for warmup in (0, 1000):
        settings = make_settings(
            max_steps=1, optimiser={"lr": 1e-12}, model={"kl_warmup_steps": warmup, "cut_probability": 0.0}
        )
        losses.append(_fit(datasets, settings, tmp_path / str(warmup))[0].metrics)
    assert losses[0]["val_loss"] == pytest.approx(losses[1]["val_loss"], rel=1e-5)
    assert losses[0]["loss"] > losses[1]["loss"]


def test_a_training_starts_from_a_checkpoint_of_other_settings(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    before = make_settings(max_steps=20, optimiser={"lr": 5e-3, "final_lr": 5e-3})
    _fit(datasets, before, tmp_path / "first", stop_at=10)
    after = make_settings(max_steps=20, optimiser={"lr": 1e-3, "final_lr": 1e-3, "weight_decay": 0.1})
    result, _, _ = _fit(datasets, after, tmp_path / "second", start=tmp_path / "first" / LAST)
    assert result.steps == 20
    rows = [json.loads(line) for line in (tmp_path / "second" / METRICS).read_text().splitlines()]
    assert {row["lr"] for row in rows} == {1e-3}
    assert [row["step"] for row in rows] == [15, 20]
    assert result.best_step in {15, 20}

    # With the same settings it is the training it starts from, optimiser included, bit for bit.
    _fit(datasets, before, tmp_path / "same", start=tmp_path / "first" / LAST)
    _fit(datasets, before, tmp_path / "whole")
    assert (tmp_path / "same" / LAST).read_bytes() != (tmp_path / "second" / LAST).read_bytes()
    for one, other in zip(*(_tensors(tmp_path / part / LAST) for part in ("same", "whole")), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1]), one[0]


def _tensors(path: Path) -> list[tuple[str, torch.Tensor]]:
    from safetensors.torch import load_file

    return sorted(load_file(path).items())


def test_what_is_in_the_run_directory_goes_before_a_checkpoint_to_start_from(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings(max_steps=20)
    _fit(datasets, settings, tmp_path / "first", stop_at=5)
    start = tmp_path / "first" / LAST
    _fit(datasets, settings, tmp_path / "parts", start=start, resume=True, stop_at=10)
    start.write_bytes(b"not looked at")
    _fit(datasets, settings, tmp_path / "parts", start=start, resume=True)
    _fit(datasets, settings, tmp_path / "whole")
    for one, other in zip(*(_tensors(tmp_path / part / LAST) for part in ("parts", "whole")), strict=True):
        assert torch.equal(one[1], other[1]), one[0]


def test_a_training_stops_where_it_is_told_and_is_validated_there(
    datasets: dict[str, xr.Dataset], make_settings: Make, tmp_path: Path
) -> None:
    settings = make_settings(max_steps=20, validate_every=5)
    result, _, _ = _fit(datasets, settings, tmp_path, stop_at=7)
    assert (result.steps, result.stopped) == (7, "stop_at")
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert "val_loss" in rows[-1]
    assert rows[-1]["step"] == 7
    # The learning rate is that of all 20 steps, a tenth of which it rises; the seventh step is number 6.
    cosine = 0.5 * (1 + math.cos(math.pi * (6 - 2) / (20 - 2)))
    assert rows[-1]["lr"] == pytest.approx(cosine * settings.optimiser.lr)
    assert _fit(datasets, settings, tmp_path, resume=True)[0].stopped == "max_steps"
