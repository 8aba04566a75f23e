"""What is logged of a training step."""

from __future__ import annotations

import pytest
import torch

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.families.mdssm import MDSSM
from nwb_latents.models.interface import Output, Term
from nwb_latents.pipeline.training.step_metrics import summary
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings

NOTHING = torch.zeros(0)


def _output(value: float, mean: list[float], variance: float) -> Output:
    aux = {
        "embedding_mean": torch.tensor(mean)[:, None],
        "embedding_var": torch.full((len(mean), 1), variance),
    }
    terms = (Term("nll", torch.tensor(value)),)
    return Output(NOTHING, NOTHING, NOTHING, NOTHING, terms=terms, aux=aux)


def _batch(*names: str) -> object:
    return pack([TrialTensors(name, torch.zeros(2, 6, 3)) for name in names])


def test_embeddings_of_all_blocks_of_a_step_count() -> None:
    outputs = [_output(2.0, [-3.0], 0.25), _output(6.0, [3.0, 0.0], 0.25)]
    found = summary(outputs, [_batch("a"), _batch("b", "c")], 0)
    assert found["loss"] == pytest.approx(8 / 3)
    assert found["embeddings_apart"] == pytest.approx((6**0.5) / 0.5)  # deviation of -3, 0, 3 over 0.5


@pytest.mark.parametrize(
    ("mean", "variance"), [([1.0], 0.25), ([1.0, 2.0], 0.0)], ids=["one session", "learned table"]
)
def test_where_there_is_nothing_to_compare_nothing_is_said(mean: list[float], variance: float) -> None:
    names = [f"s{k}" for k in range(len(mean))]
    assert "embeddings_apart" not in summary([_output(1.0, mean, variance)], [_batch(*names)], 0)


@pytest.mark.parametrize("weight", ["session", "trial"])
def test_the_embeddings_divergence_is_logged_in_nats_per_session_whatever_its_weight(weight: str) -> None:
    torch.manual_seed(0)
    settings = MDSSMSettings(
        latent_dim=2,
        dynamics_width=8,
        hyper_width=8,
        encoder_width=8,
        read_in=ReadInSettings(hidden=8, width=4),
        rank=1,
        embedding_dim=2,
        embedding_kl=weight,
        embedding_start_variance=0.01,
    )
    model = MDSSM(settings, {"a": 3, "b": 3})
    batch = pack([TrialTensors("a", torch.randn(8, 6, 3)), TrialTensors("b", torch.randn(4, 6, 3))])
    output = model(batch, observe(batch))
    m, v = output.aux["embedding_mean"], output.aux["embedding_var"]
    nats = (0.5 * (v + m.square() - 1 - v.log())).sum(1).detach()
    assert summary([output], [batch], 0)["kl_embedding"] == pytest.approx(float(nats.mean()), rel=1e-5)
    (term,) = [term for term in output.terms if term.name == "kl_embedding"]
    expected = nats if weight == "session" else nats / torch.tensor([8, 4])
    assert float(term.value.detach()) == pytest.approx(float(expected.sum()), rel=1e-5)
