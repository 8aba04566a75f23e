"""What goes where: results to standard output, words to standard error, and JSON lines alone under --json."""

import json
import sys

import pytest

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.schemas.events import NoteEvent, PhaseEvent, SessionEvent


def said(capsys, **how):
    """Return what stands on standard output and on standard error."""
    with Output(**how) as out:
        out.say("words")
        out.result("result")
        out.table("title", ["name", "n"], [["a[b]", "7"]])
        out(NoteEvent(text="noted"))
        out(SessionEvent(session="s", status="done", n_trials=7, n_units=5))
        out(PhaseEvent(session="s", source="s.nwb", phase="reading"))
        sys.stdout.write("printed by a part\n")
    return capsys.readouterr()


def test_people_read_results_on_standard_output_and_words_on_standard_error(capsys):
    out, err = said(capsys)
    for word in ("result", "title", "a[b]"):
        assert word in out
        assert word not in err
    for word in ("words", "note: noted", "s: done (7 trials, 5 units)"):
        assert word in err
        assert word not in out


def test_under_json_every_line_of_standard_output_is_an_event(capsys):
    out, err = said(capsys, json_lines=True)
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events] == ["note", "session"]
    assert (events[1]["n_trials"], events[1]["n_units"]) == (7, 5)
    # What a part prints is not lost, and in nobody's way.
    assert "printed by a part" in err
    assert "result" not in out + err
    assert "title" not in out + err


@pytest.mark.parametrize("json_lines", [False, True])
def test_quiet_leaves_out_words_and_no_result(capsys, json_lines):
    out, err = said(capsys, quiet=True, json_lines=json_lines)
    assert "words" not in out + err
    assert "s: done" not in out + err
    assert ("result" in out) is not json_lines
