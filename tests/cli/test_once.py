"""An option that takes one value and is there twice is refused: the first value would be lost in silence."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.cli.once import OnceCommand


def commands(group, words=()):
    for name in group.list_commands(typer.Context(group)):
        found = group.get_command(typer.Context(group), name)
        if hasattr(found, "list_commands"):
            yield from commands(found, (*words, name))
        else:
            yield (*words, name), found


ALL = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_every_command_refuses_an_option_given_twice(words, command):
    assert isinstance(command, OnceCommand)
    for option in command.params:
        if option.param_type_name != "option" or option.multiple or option.is_flag:
            continue
        name = max(option.opts, key=len)
        done = CliRunner().invoke(app, [*words, name, "1", name, "2"])
        assert done.exit_code == 2, (name, done.output)
        assert f"{name} is given 2 times" in done.output


@pytest.mark.parametrize(
    "words",
    [
        "--set a=1 --set b=2",
        "--session a --session b",
        "-q -q",
        "--json --json",
        "--source a --help --source b",
    ],
)
def test_what_is_repeatable_and_switches_may_be_repeated(words, tmp_path):
    done = CliRunner().invoke(app, ["run", "decode", "--catalog", str(tmp_path / "c.yaml"), *words.split()])
    assert "times, and takes one value" not in done.output
