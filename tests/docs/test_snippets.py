"""What the README, the manual and CONTRIBUTING show runs as it stands, on a small simulated store."""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
import tomllib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import torch
import typer
import yaml

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.interface import Aligns, Model, total_loss
from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.evaluation.metrics.metric import Metric
from nwb_latents.pipeline.nwb.layouts.layout import Layout
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.simulate import simulate
from nwb_latents.pipeline.stages.train import train
from nwb_latents.schemas.catalog import DandisetEntry
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.study import StudySettings
from nwb_latents.schemas.training import BatchSettings, TrainSettings

if TYPE_CHECKING:
    from nwb_latents.schemas.models import ModelSettings

ROOT = Path(__file__).resolve().parents[2]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
TOML_BLOCK = re.compile(r"^ *```toml\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
SHELL_BLOCK = re.compile(r"^```shell\n(.*?)^```", re.DOTALL | re.MULTILINE)
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs").glob("[!_]*/*.md"),
    ]
)
TUTORIALS = [page for page in PAGES if CELL.search(page.read_text(encoding="utf-8"))]


def blocks(page: Path) -> list[str]:
    """Return the Python blocks of a page, each at its own line, so that an error names the line."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, block.start(1)) + block[1] for block in PYTHON_BLOCK.finditer(text)]


def snippets(page: Path) -> str:
    """Return the Python of a page."""
    return "\n".join(blocks(page))


def commands(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks, and of the cells of a tutorial, that call the program."""
    text = page.read_text(encoding="utf-8")
    blocks_of_code = [*SHELL_BLOCK.findall(text), *CELL.findall(text)]
    whole = [re.sub(r"\s*\\\n\s*", " ", block) for block in blocks_of_code]
    lines = [line.removeprefix("!") for block in whole for line in block.splitlines()]
    return [line.partition("  # ")[0] for line in lines if line.startswith("pipeline ")]


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``demo/`` as after ``make demo``, and ``cycles/`` of the manual, only smaller."""
    folder = tmp_path_factory.mktemp("snippets")
    settings = SimulateSettings(n_subjects=1, n_sessions=1, n_units=(8, 8), n_trials=40, waveforms=False)
    simulate(folder / "demo" / "nwb", settings)
    catalog = folder / "demo" / "catalog.yaml"
    ingest(catalog, FolderSource([folder / "demo" / "nwb"]))
    model = MDSSMSettings(
        latent_dim=2, rank=1, dynamics_width=8, hyper_width=8, encoder_width=8,
        read_in=ReadInSettings(hidden=8, width=4),
    )  # fmt: skip
    short = TrainSettings(model=model, batch=BatchSettings(trials_per_session=4), max_steps=2)
    train(catalog, short)
    cycle = SimulateSettings(
        system="limit_cycle", n_subjects=1, n_sessions=1, n_units=(8, 8), n_trials=20, silent_units=1
    )
    simulate(folder / "cycles" / "nwb", cycle)
    catalog = folder / "cycles" / "catalog.yaml"
    whole_runs = IngestRecipe(align_to="trial_start", window_s=(0.0, 2.0))
    ingest(catalog, FolderSource([folder / "cycles" / "nwb"]), whole_runs)
    train(catalog, short, run_name="cycles")
    return folder


@pytest.mark.parametrize(
    "page", [page for page in PAGES if snippets(page).strip()], ids=lambda page: page.name
)
def test_the_python_of_a_page_runs(
    page: Path, demo_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(demo_folder)
    module = ModuleType("snippet")
    monkeypatch.setitem(sys.modules, "snippet", module)  # where pydantic looks names of types up
    names = vars(module)
    for code in blocks(page):
        exec(compile(code, str(page), "exec"), names)
    capsys.readouterr()
    if page.name == "CONTRIBUTING.md":
        assert isinstance(names["LAYOUT"], Layout)
        assert DandisetEntry.model_validate(names["DANDISET"]).layout == names["LAYOUT"].name
        assert isinstance(names["METRIC"], Metric)
        _require_model(names["LinearSettings"], names["LinearAutoencoder"])


def _require_model(settings: type[ModelSettings], build: type[Model]) -> None:
    """Require that a model trains a step, reconstructs, forecasts and can be aligned."""
    assert settings.implementation.endswith(f":{build.__name__}")
    model = build(settings(), {"a": 3, "b": 5})
    batch = pack([TrialTensors("a", torch.zeros(4, 6, 3)), TrialTensors("b", torch.ones(2, 6, 5))])
    total_loss(model(batch, observe(batch)), 0).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert tuple(model.predict(batch).mean.shape) == (2, 4, 6, 5)
    assert tuple(model.forecast(batch, 4, 3).mean.shape) == (2, 4, 3, 5)
    assert isinstance(model, Aligns)


@pytest.mark.parametrize("part", ["count_error", "kernel_ridge", "npz"])
def test_the_parts_contributing_shows_are_those_that_are_installed_beside_the_program(part: str) -> None:
    file = ROOT / "tests" / "plugins" / "toylab" / "src" / "toylab" / f"{part}.py"
    shown = PYTHON_BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert file.read_text(encoding="utf-8") in shown


def test_the_distribution_contributing_describes_enters_what_it_shows() -> None:
    page = textwrap.dedent((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    parts = [textwrap.dedent(block) for block in TOML_BLOCK.findall(page)]
    described = tomllib.loads("\n".join(parts))
    groups = described["project"]["entry-points"]
    assert {group.removeprefix("nwb_latents.") for group in groups} >= {
        "layouts", "dandisets", "models", "metrics", "decoders", "exporters",
    }  # fmt: skip
    shown = PYTHON_BLOCK.findall(page)
    tree = page[page.index("our-lab-parts/\n") : page.index("```toml")]
    for point in (point for points in groups.values() for point in points.values()):
        module, _, name = point.partition(":")
        assert module.partition(".")[0] == described["project"]["name"].replace("-", "_")
        assert (module.partition(".")[2] or "__init__") + ".py" in tree
        assert any(re.search(rf"^(class )?{name}\b", block, re.MULTILINE) for block in shown), point
    assert described["build-system"]["build-backend"] == "hatchling.build"


def test_tutorials_are_notebooks_that_say_their_goal_their_needs_and_where_to_go_next() -> None:
    assert len(TUTORIALS) >= 7
    for page in TUTORIALS:
        text = page.read_text(encoding="utf-8")
        assert text.startswith("---\nfile_format: mystnb\n"), page
        assert all(part in text for part in ("**Goal.**", "**You need**", "## Next")), page


def test_the_study_a_tutorial_writes_and_does_not_run_is_valid() -> None:
    page = ROOT / "docs" / "tutorials" / "cluster.md"
    (cell,) = [cell for cell in CELL.findall(page.read_text(encoding="utf-8")) if "study.yaml" in cell]
    study = StudySettings.model_validate(yaml.safe_load(cell.partition("\n")[2]))
    assert len(study.train.models) * study.train.seeds * len(study.train.groups) == 12  # as it says


def test_the_readme_shows_python() -> None:
    assert "import nwb_latents as nl" in snippets(ROOT / "README.md")


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda page: page.name)
def test_the_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    for line in commands(page):
        command, words = typer.main.get_command(app), shlex.split(line)[1:]
        while words and hasattr(command, "list_commands") and not words[0].startswith("-"):
            assert words[0] in command.list_commands(None), f"{line}: no command {words[0]}"
            command = command.get_command(None, words.pop(0))
        known = {name for option in command.params for name in option.opts}
        unknown = {word for word in words if word.startswith("--")} - known
        assert not unknown, f"{line}: no option {unknown}"


@pytest.mark.parametrize("name", ["demo_simulation", "demo_train"])
def test_the_settings_of_the_demo_are_valid(name: str) -> None:
    content = yaml.safe_load((ROOT / "docs" / "examples" / f"{name}.yaml").read_text(encoding="utf-8"))
    schema = {"demo_simulation": SimulateSettings, "demo_train": TrainSettings}[name]
    read = schema.model_validate(content).model_dump(mode="json")
    for key, value in content.items():
        expected = read[key]
        assert (value.items() <= expected.items()) if isinstance(value, dict) else value == expected, key
