"""Several processes take the steps of one: the same weights, whatever is shared out or resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_models import SMALL

from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.training.device_shares import require_shares
from nwb_latents.pipeline.training.run_files import BEST, LAST, METRICS
from nwb_latents.schemas.training import TrainSettings

sys.path[:0] = [str(Path(__file__).parents[1])]

from training.fit_in_ranks import fit_together  # noqa: E402

BASE: dict[str, Any] = {
    "batch": {"trials_per_session": 6, "sessions_per_step": 4, "sessions_per_block": 1},
    "optimiser": {"lr": 5e-3, "clip_norm": 1.0}, "max_steps": 6, "validate_every": 3, "checkpoint_every": 2,
    "device": "cpu", "precision": "64-true",
}  # fmt: skip
UNEVEN = {"trials_per_session": 6, "sessions_per_step": 3, "sessions_per_block": 1}
CUT = {"trials_per_session": 7, "sessions_per_step": 1, "trials_per_block": 3}


SINGLE, DOUBLE = 1e-4, 1e-10
"""How far weights of single and of double precision may lie apart."""


def of(name: str, **more: Any) -> dict[str, Any]:
    return {**BASE, "model": {"name": name, **SMALL[name]}, **more}


TRAININGS: dict[str, dict[str, Any]] = {
    **{name: {"settings": of(name)} for name in SMALL},
    "masks": {"settings": of("lfads", masks={"coordinated_dropout": 0.3, "sample_validation": 0.1})},
    "uneven": {"settings": of("mdssm", batch=UNEVEN)},
    "one-session-cut": {"settings": of("lfads", batch=CUT), "n_sessions": 1},
    "one-session-cut-ndt": {"settings": of("ndt", batch=CUT), "n_sessions": 1},
    "single-precision": {"settings": of("mdssm", precision="32-true")},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return folders of the same trainings in two processes and in one."""
    two, one = (tmp_path_factory.mktemp(name) for name in ("two", "one"))
    fit_together(two, TRAININGS, n=2)
    fit_together(one, TRAININGS, n=1)
    return two, one


def require_close(found: Path, wanted: Path, *, within: float) -> None:
    mine, theirs = load_file(found), load_file(wanted)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=within, atol=within)


@pytest.mark.parametrize("name", list(TRAININGS))
def test_two_processes_end_in_the_weights_and_the_log_of_one(trained: tuple[Path, Path], name: str) -> None:
    two, one = (folder / name for folder in trained)
    within = SINGLE if name == "single-precision" else DOUBLE
    for file in (LAST, BEST):
        require_close(two / file, one / file, within=within)
    logs = [[json.loads(row) for row in (each / METRICS).read_text().splitlines()] for each in (two, one)]
    assert [row.keys() for row in logs[0]] == [row.keys() for row in logs[1]]
    for mine, theirs in zip(*logs, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3 if name == "single-precision" else 1e-6)


def test_a_training_goes_on_with_another_number_of_devices(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = of("mdssm")
    fit_together(tmp_path, {"run": {"settings": settings, "stop_at": 2}}, n=1)
    fit_together(tmp_path, {"run": {"settings": settings, "stop_at": 4}}, n=2)
    fit_together(tmp_path, {"run": {"settings": settings}}, n=1)
    # A step more was validated where a part ended, which may make another one the best.
    require_close(tmp_path / "run" / LAST, trained[1] / "mdssm" / LAST, within=DOUBLE)


def asked(n: int, model: str, n_sessions: int, **batch: int) -> list[str]:
    sizes = {f"s{k}": 40 for k in range(n_sessions)}
    settings = TrainSettings.model_validate({
        "model": {"name": model, **SMALL[model]}, "devices": n, "batch": batch,
    })  # fmt: skip
    return require_shares(build_model(settings.model, dict.fromkeys(sizes, 4), seed=0), sizes, settings)


def test_more_devices_than_blocks_are_refused_with_what_mends_it() -> None:
    with pytest.raises(SettingsError, match=r"2 blocks to share out \(20 sessions.*--devices 2.*block=5"):
        asked(4, "mdssm", 44)
    with pytest.raises(SettingsError, match="mdssm as it is set takes the trials of a session together"):
        asked(2, "mdssm", 1)
    with pytest.raises(SettingsError, match=r"batch\.trials_per_block=20"):
        asked(2, "lfads", 1)
    with pytest.raises(SettingsError, match="cannot be computed apart"):
        asked(1, "mdssm", 1, trials_per_block=8)
    assert asked(4, "mdssm", 44, sessions_per_block=5) == []
    assert asked(2, "lfads", 1, trials_per_block=20) == []
    assert "do not share evenly" in asked(2, "mdssm", 44, sessions_per_block=7)[0]


def test_every_model_says_whether_its_trials_can_be_computed_apart() -> None:
    """A trial whose loss hangs on another trial of its batch must not be said to stand alone."""
    from nwb_latents.models.batching.tensors import TrialTensors, pack
    from nwb_latents.models.batching.views import observe
    from nwb_latents.models.interface import total_loss

    torch.manual_seed(0)
    y = torch.poisson(torch.full((6, 12, 4), 0.7))
    for name, small in SMALL.items():
        settings = TrainSettings.model_validate({"model": {"name": name, **small}}).model
        model = build_model(settings, {"a": 4}, seed=0).double().eval()

        def loss(trials: torch.Tensor, model: Any = model) -> float:
            batch = pack([TrialTensors("a", trials.double())])
            return float(total_loss(model(batch, observe(batch), 10**6, None), 10**6).detach())

        apart = (loss(y[:2]) * 2 + loss(y[2:]) * 4) / 6
        assert (abs(apart - loss(y)) < 1e-9 * abs(apart)) == model.computes_trials_apart, name
