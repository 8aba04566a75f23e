"""`pipeline plot`, and the options of pictures: what cannot be had is refused before anything is done."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.cli.plot import kinds_text
from nwb_latents.pipeline.errors import SettingsError, UsageError
from nwb_latents.pipeline.stages.plot import KINDS

DRAWING = [
    ["run"], ["run", "decode"], ["run", "forecast"], ["run", "embed", "--run", "m"], ["run", "sweep"],
    ["run", "align", "--run", "m", "--session", "a", "--trials", "2"], ["plot", "raster"],
]  # fmt: skip


@pytest.mark.parametrize("words", DRAWING, ids=" ".join)
@pytest.mark.parametrize(
    ("option", "says"), [("--format jpg", "expected png, pdf or svg"), ("--dpi 7", "from 50 to 1200")]
)
def test_every_command_that_draws_refuses_files_that_cannot_be_had(
    tmp_path, monkeypatch, words, option, says
):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*words, *option.split()])
    assert isinstance(done.exception, SettingsError), done.output
    assert option in str(done.exception)
    assert says in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_kind_is_told_the_nearest():
    done = CliRunner().invoke(app, ["plot", "sesion-quality"])
    assert isinstance(done.exception, UsageError)
    assert "did you mean session-quality?" in str(done.exception)


def test_the_help_says_what_each_kind_shows():
    assert all(kind in kinds_text() and what in kinds_text() for kind, what in KINDS.items())
