"""What a batch system sends ends a command as Ctrl-C does: what is done is kept, and how to go on is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from nwb_latents.pipeline.cli import main as command_line


@pytest.fixture
def _handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook
    # What a command does not take for itself must not end the tests.
    signal.signal(signal.SIGTERM, lambda *_: pytest.fail("SIGTERM was not heeded"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    sys.unraisablehook = hook


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


DROPPED = """
import os, signal, sys, time
from nwb_latents.pipeline.cli import start

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        for _ in range(1000):
            pass

def work():
    Finalized()
    time.sleep(60)

start._command = lambda: work
start.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_where_python_drops_what_is_raised_is_heard_a_moment_later(number):
    ended = subprocess.run(
        [sys.executable, "-c", DROPPED, str(int(number))],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


def test_what_else_python_drops_is_told_as_python_does():
    script = DROPPED.replace("os.kill(os.getpid(), int(sys.argv[1]))", "1 / 0").replace("time.sleep(60)", "")
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 0
    assert "ZeroDivisionError" in ended.stderr
