"""What a batch system sends ends a command as Ctrl-C does: what is done is kept, and how to go on is said."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from nwb_latents.pipeline.cli import main as command_line


@pytest.fixture
def _handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # What a command does not take for itself must not end the tests.
    signal.signal(signal.SIGTERM, lambda *_: pytest.fail("SIGTERM was not heeded"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_work_ends_with_code_130_and_the_command_to_go_on_with(number, monkeypatch, capsys):
    def working(*_, **__):
        os.kill(os.getpid(), number)

    monkeypatch.setattr(command_line, "app", working)
    monkeypatch.setattr(command_line.warnings, "showwarning", command_line.warnings.showwarning)
    monkeypatch.setattr(sys, "argv", ["pipeline", "run", "train", "--run-name", "a b"])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 130
    said = capsys.readouterr().err
    assert "interrupted: what is done is kept" in said
    assert "pipeline run train --run-name 'a b'" in said
