"""The compiled loops give what the loops in Python give, and are taken only where they can be."""

from __future__ import annotations

import shlex
import shutil
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.kernels import compiled
from nwb_latents.models.kernels.switch import SWITCH
from nwb_latents.models.parts.controlled import ControlledGenerator
from nwb_latents.models.parts.encoders import GRUEncoder, encode_together
from nwb_latents.models.parts.generated import Noise
from nwb_latents.models.parts.recurrent import GRUParameters, gru_sequence
from nwb_latents.models.registry import build_model
from nwb_latents.schemas.lfads import LFADSSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache in which the loops are built, or skip."""
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        pytest.skip("COMPILED LOOPS NOT TESTED: no C compiler")
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.delenv("CC", raising=False)
        compiled.build()
    return folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Set a cache in which nothing is built."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(SWITCH, raising=False)
    compiled._built.cache_clear()
    yield tmp_path
    compiled._built.cache_clear()


@pytest.fixture
def built(cache: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a cache in which the loops are built."""
    del empty
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def calls(built: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the compiled loops that are called from here on."""
    del built
    made: list[str] = []

    def counted(name: str) -> Callable[..., object]:
        real = getattr(compiled.Kernels, name)

        def call(self: compiled.Kernels, *args: object, **options: object) -> object:
            made.append(name)
            return real(self, *args, **options)

        return call

    for name in ("gru", "controlled"):
        monkeypatch.setattr(compiled.Kernels, name, counted(name))
    return made


def both(
    run: Callable[[], list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Tensor], list[Tensor]]:
    """Return what comes of the compiled loops, and of plain torch."""
    with torch.inference_mode():
        made = run()
        with monkeypatch.context() as patch:
            patch.setenv(SWITCH, "torch")
            return made, run()


def assert_same(made: list[Tensor], expected: list[Tensor]) -> None:
    for mine, theirs in zip(made, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("clip", [None, 0.3, 5.0])
@pytest.mark.parametrize("n_in", [0, 3])
@pytest.mark.parametrize("n_sequences", [1, 3])
@pytest.mark.parametrize("n_hidden", [1, 3, 4, 13, 40, 64])  # rows and columns that fill no vector, and all
def test_sequences_are_those_of_the_loop_in_python(
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
    n_hidden: int,
    n_sequences: int,
    n_in: int,
    clip: float | None,
) -> None:
    torch.manual_seed(0)
    for directions in (1, 2):
        weights = GRUParameters(n_in, n_hidden, directions=directions)()
        x, h0 = torch.randn(n_sequences, 9, n_in), 6 * torch.randn(directions, n_sequences, n_hidden)
        starts = (
            None,
            h0,
            h0[:, :1].expand(-1, n_sequences, -1),
            h0.transpose(1, 2).contiguous().transpose(1, 2),
        )
        for start in starts:
            calls.clear()
            assert_same(
                *both(lambda: [*gru_sequence(x, weights, start, reset="before", clip=clip)], monkeypatch)  # noqa: B023
            )
            assert calls == ["gru"] * directions


def test_encoders_share_what_they_read(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoders = [GRUEncoder(3, 8, learned_start=True, reset="before", clip=5.0) for _ in range(2)]
    x = torch.randn(1, 2, 9, 3)
    assert_same(*both(lambda: [part for made in encode_together(encoders, x) for part in made], monkeypatch))
    assert calls == ["gru"] * 4


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip": 0.3},
        {"generator_dim": 24, "controller_dim": 17, "factor_dim": 9},
        {"causal_controller": True},
        {"input_prior": "none"},
        {"input_bias": True, "external_inputs": 2},
        {"input_bias": True, "external_inputs": 2, "causal_controller": True, "input_prior": "none"},
    ],
    ids=str,
)
def test_controller_and_generator_are_those_of_single_steps(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], sampled: bool
) -> None:
    torch.manual_seed(0)
    sizes = {"generator_dim": 5, "ic_dim": 4, "factor_dim": 3, "controller_dim": 4, "input_dim": 2}
    settings = LFADSSettings.model_validate({**sizes, **changes})
    decoder = ControlledGenerator(settings, n_seen=3)
    with torch.no_grad():  # biases and starts are 0 at first and would hide a mistake
        for parameter in decoder.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    source = torch.Generator().manual_seed(1)
    initial, seen = torch.randn(2, 3, 4), torch.randn(2, 3, 6, 3)
    external = torch.randn(2, 3, 6, settings.external_inputs) if settings.external_inputs else None
    noise = decoder.draw(initial, 6, source) if sampled else Noise()
    h0 = 6 * decoder.start(initial)

    def values(way: Callable[..., object]) -> list[Tensor]:
        made = way(h0, 6, seen, external, noise=noise)
        return [made.states, made.factors, made.inputs, made.posterior.mean, made.posterior.var]

    with torch.inference_mode():
        made = values(decoder._at_once)
        assert calls == ["controlled"]
        # Weights this large amplify what is rounded; either is as far from double precision.
        for mine, theirs in zip(made, values(decoder._stepwise), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("changes", [{}, {"controller_dim": 0, "input_dim": 0}], ids=["driven", "autonomous"])
def test_rates_of_a_trial_are_the_same(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, changes: dict[str, int]
) -> None:
    model = build_model(LFADSSettings.model_validate(changes), {"a": 7}, seed=0).eval()
    counts = np.random.default_rng(0).poisson(0.4, (1, 30, 7)).astype(np.float32)
    batch = pack([TrialTensors("a", torch.from_numpy(counts))])

    def rates() -> list[Tensor]:
        samples = torch.Generator().manual_seed(0)
        means, averages = model.predict(batch), model.predict(batch, n_samples=5, generator=samples)
        return [means.mean, means.factors, averages.mean, model.forecast(batch, 20, 6).mean]

    assert_same(*both(rates, monkeypatch))
    assert "gru" in calls
    assert ("controlled" in calls) is not bool(changes)


def test_gates_far_out_saturate_and_nan_stays(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weights = GRUParameters(1, 20)()
    far = torch.tensor([-1e30, -1e4, -200.0, -90.0, 0.0, 90.0, 200.0, 1e4, 1e30])[None, :, None]
    made, expected = both(lambda: [gru_sequence(far, weights, reset="before")[0]], monkeypatch)
    assert_same(made, expected)
    assert bool(made[0].isfinite().all())
    far[0, 4] = torch.nan
    made, expected = both(lambda: [gru_sequence(far, weights, reset="before", clip=5.0)[0]], monkeypatch)
    torch.testing.assert_close(made[0].isnan(), expected[0].isnan())
    assert bool(made[0][:, 4:].isnan().all())
    assert calls == ["gru"] * 2


def test_what_needs_a_gradient_or_more_precision_is_left_to_python(calls: list[str]) -> None:
    parameters = GRUParameters(3, 4)
    x = torch.randn(2, 6, 3)
    sequence, _ = gru_sequence(x, parameters(), reset="before")
    sequence.sum().backward()
    assert parameters.w_hh.grad is not None
    with torch.inference_mode():
        gru_sequence(x, parameters(), reset="after")
        gru_sequence(torch.randn(compiled.FEW_SEQUENCES + 1, 6, 3), parameters(), reset="before")
        with torch.autocast("cpu", torch.bfloat16):
            gru_sequence(x.bfloat16(), parameters(), reset="before")
        gru_sequence(x.double(), parameters.double()(), reset="before")
    assert calls == []


def test_nothing_is_built_unasked(empty: Path) -> None:
    with torch.inference_mode():
        gru_sequence(torch.zeros(1, 4, 3), GRUParameters(3, 4)(), reset="before")
    assert not list(empty.iterdir())


def test_a_damaged_library_is_left_alone(empty: Path) -> None:
    library = compiled.library_file()
    library.parent.mkdir()
    library.write_bytes(b"no library")
    with torch.inference_mode(), pytest.warns(UserWarning, match="left alone"):
        sequence, _ = gru_sequence(torch.zeros(1, 4, 3), GRUParameters(3, 4)(), reset="before")
    assert bool(sequence.isfinite().all())
    assert library.is_relative_to(empty)


@pytest.mark.parametrize(
    ("compiler", "told"),
    [("no-such-cc", "looked for no-such-cc"), (f"{shlex.quote(sys.executable)} -c 'exit(3)'", "exit code 3")],
)
def test_a_compiler_that_fails_is_named(
    empty: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, told: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(RuntimeError, match=told):
        compiled.build()
    assert not list(empty.rglob("*.so"))
