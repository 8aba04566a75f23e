"""The program as a user gets it: a wheel, installed beside the packages of the tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from address.environments import ROOT, Installed, build, environment, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel of the checkout."""
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def without_program(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment with all the packages of the tests but without this program."""
    made = environment(tmp_path_factory.mktemp("without"))
    if run(made.python, "-c", "import nwb_latents", cwd=made.python.parent).returncode == 0:
        pytest.skip("the tests run beside a program that is installed for good, which every environment sees")
    return made


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    """Return an environment with the wheel installed."""
    pytest.importorskip("pip")
    made = environment(tmp_path_factory.mktemp("installed"))
    done = run(
        sys.executable, "-m", "pip", "--python", made.python, "install", "--no-deps", "--no-index", wheel,
        cwd=made.python.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(params=["raising", "empty"])
def crowded(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a user's folder with packages named like rooms of this program: they raise, or are empty."""
    text = 'raise RuntimeError("this is the package of the user")\n' if request.param == "raising" else ""
    for name in ("pipeline", "models", "schemas"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    return tmp_path
