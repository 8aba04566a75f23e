"""What the doctor finds, and the compiled loops it builds when asked to."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from nwb_latents.models.kernels.switch import SWITCH
from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stages.doctor import build_kernels, examine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(SWITCH, raising=False)
    return tmp_path


def found(name: str) -> str:
    return next(finding["found"] for finding in examine() if finding["name"] == name)


def test_kernels_are_found_once_they_are_built(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        pytest.skip("COMPILED LOOPS NOT TESTED: no C compiler")
    monkeypatch.delenv("CC", raising=False)
    assert "not built" in found("compiled loops")
    assert not list(cache.iterdir())
    library = build_kernels()
    assert library.is_relative_to(cache)
    assert found("compiled loops") == str(library)


def test_it_says_which_kernels_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("kernels") == "time loops with their gradient (NWB_LATENTS_KERNELS=auto)"
    assert found("large products") in {"oneDNN", "as torch makes them"}
    monkeypatch.setenv(SWITCH, "torch")
    assert found("kernels") == "none: plain torch everywhere (NWB_LATENTS_KERNELS=torch)"
    monkeypatch.setenv(SWITCH, "off")
    assert "expected auto or torch, found 'off'" in found("kernels")


def test_a_machine_without_a_compiler_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(MachineError, match=r"no-such-cc.*Install gcc 12 or clang"):
        build_kernels()
