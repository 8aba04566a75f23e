"""What an ingest looks like on a terminal and in a log."""

import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from nwb_latents.pipeline.cli.live_table import IngestTable
from nwb_latents.schemas.events import BytesEvent, PhaseEvent, SessionEvent


@pytest.fixture
def table():
    shown = IngestTable(Console(width=100, record=True, file=open(os.devnull, "w")), planned=3)  # noqa: PTH123, SIM115
    yield shown
    shown.close()


def text_of(table):
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(table)
    return console.export_text()


def test_sessions_at_work_are_shown_with_stage_and_bytes_and_leave_when_they_end(table):
    assert table.take(BytesEvent(source="a.nwb", done=20_000_000, total=80_000_000))
    assert "fetching" in text_of(table)
    assert "20/80" in text_of(table)
    assert table.take(PhaseEvent(source="a.nwb", session="sub-A_ses-1", phase="binning"))
    assert "sub-A_ses-1" in text_of(table)
    assert "binning" in text_of(table)
    assert not table.take(SessionEvent(source="a.nwb", session="sub-A_ses-1", status="done"))
    assert "sub-A_ses-1" not in text_of(table)
    assert "1/3 sessions (1 done)" in text_of(table)


def test_more_sessions_than_fit_are_counted(table):
    for number in range(40):
        table.take(PhaseEvent(source=f"{number}.nwb", session=f"s{number}", phase="reading"))
    assert "and 28 more" in text_of(table)


def test_a_terminal_sees_the_sessions_and_a_log_sees_no_control_characters(
    small_nwb, tmp_path, pipeline_command
):
    main, other = pty.openpty()
    words = [sys.executable, "-m", "nwb_latents.pipeline.cli.main", "run", "ingest", "--path", str(small_nwb)]
    run = subprocess.Popen(
        words, cwd=tmp_path, stderr=other, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"}
    )
    os.close(other)
    shown = b""
    try:
        while piece := os.read(main, 65536):
            shown += piece
    except OSError:
        pass  # the other end of a terminal that has gone
    os.close(main)
    assert run.wait(timeout=60) == 0
    assert b"\x1b[" in shown
    assert b"sub-T_ses-CO-1: done" in shown
    logged = pipeline_command("run", "ingest", "--path", small_nwb, "--force").stderr
    assert "\x1b" not in logged
    assert "[1/1] sub-T_ses-CO-1: done" in logged
