"""The published settings of MDSSM: loss and gradients of paper and authors' code, and every setting said.

`docs/examples/mdssm` is where the settings come from, so that what is shown to users is what is tested.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from published.mdssm import Draw, Variant, loss_of

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.interface import total_loss
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.schemas.training import TrainSettings

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "mdssm"
FILES = sorted(FOLDER.glob("*.yaml"))
LIMIT_CYCLE = {
    "latent_dim": 2, "embedding_dim": 1, "rank": 1, "dynamics_width": 64, "hyper_width": 64,
    "encoder_width": 64, "read_in.hidden": 32, "read_in.width": 16, "read_in.activation": "silu",
}  # fmt: skip
PUBLISHED: dict[str, tuple[str, dict[str, object]]] = {
    "the authors' code, motor cortex": ("authors_code", {}),
    "the authors' code, limit cycles": ("authors_code", LIMIT_CYCLE),
    "the authors' code, spike counts": ("authors_code", {"likelihood": "poisson", "rate_link": "softplus"}),
    "the paper": ("paper", {}),
    "the paper, no bin masked": ("paper", {"mask_probability": 0}),
}
UNITS = {"a": 7, "b": 11, "c": 5}
TRIALS = {"a": 4, "b": 6, "c": 1}
N_BINS = 14


def published(name: str, **changes: object) -> TrainSettings:
    words = [f"model.{key}={value}" for key, value in changes.items()]
    return settings_from(TrainSettings, file=FOLDER / f"{name}.yaml", words=words)


@pytest.mark.parametrize(("name", "changes"), PUBLISHED.values(), ids=PUBLISHED)
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_all_gradients_are_those_that_were_published(
    name: str, changes: dict[str, object], seed: int
) -> None:
    settings = published(name, **changes).model.model_dump()
    model = build_model(published(name, **changes).model, UNITS, seed=seed).double()
    w = {key: p.detach().clone().requires_grad_(p.requires_grad) for key, p in model.named_parameters()}
    counts = settings["likelihood"] == "poisson"
    source = torch.Generator().manual_seed(seed)
    trials = []
    for session, n_units in UNITS.items():
        y = torch.randn(TRIALS[session], N_BINS, n_units, generator=source, dtype=torch.float64)
        trials.append(torch.poisson(y.exp(), generator=source) if counts else y)
    batch = pack([TrialTensors(name, y) for name, y in zip(UNITS, trials, strict=True)])
    loss = total_loss(model.train()(batch, observe(batch), 0, torch.Generator().manual_seed(3)), 0)
    if counts:
        loss = loss + sum(torch.lgamma(y + 1).sum((1, 2)).mean() for y in trials)
    loss.backward()

    variant = Variant(
        silu=settings["read_in"]["activation"] == "silu",
        softplus_rates=counts,
        penalty=settings["weight_change_penalty"],
    )
    expected = loss_of(w, trials, draws_of(settings), variant)
    expected.backward()
    assert float((loss - expected).detach().abs() / expected.detach().abs()) < 1e-12
    for key, parameter in model.named_parameters():
        mine, theirs = (torch.zeros_like(p) if p.grad is None else p.grad for p in (parameter, w[key]))
        assert float((mine - theirs).abs().max()) <= 1e-11 * max(1.0, float(theirs.abs().max())), key
    assert sum(float(value.grad.abs().max()) > 0 for value in w.values() if value.grad is not None) > 20


def draws_of(settings: dict[str, Any]) -> list[Draw]:
    """Return the random numbers of a step: the embeddings', the states', and those of the mask."""
    source, kind = torch.Generator().manual_seed(3), torch.float64
    e = torch.randn(len(UNITS), settings["embedding_dim"], generator=source, dtype=kind)
    shape = (len(UNITS), max(TRIALS.values()), N_BINS, settings["latent_dim"])
    z = torch.randn(shape, generator=source, dtype=kind)
    inferred = torch.ones(N_BINS, dtype=torch.bool)
    if settings["mask_probability"]:
        inferred = torch.rand(N_BINS, generator=source) >= settings["mask_probability"]
        assert not inferred[1:].all()
    return [Draw(e[i], z[i, :n], inferred) for i, n in enumerate(TRIALS.values())]


def said(content: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the settings a file names, with dots."""
    found: set[str] = set()
    for key, value in content.items():
        found |= said(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_published_settings_name_every_setting(path: Path) -> None:
    """A default that changes, or a setting that is added, changes nothing of what was published."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    there_are = said(settings_from(TrainSettings, file=path).model_dump(mode="json"))
    missing = sorted(there_are - said(content))
    assert not missing, (
        f"docs/examples/mdssm/{path.name} does not say {', '.join(missing)}. Add each to the file, with the "
        "value that does what was done before there was the setting."
    )


def test_both_are_published_settings() -> None:
    assert {path.stem for path in FILES} == {"authors_code", "paper"}
