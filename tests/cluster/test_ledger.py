"""The ledger keeps every attempt, whoever writes it and whatever happens to the disk."""

import json
import subprocess
import sys

import pytest

from pipeline.cluster.ledger import append_attempts, last_attempts, read_ledger
from pipeline.errors import MachineError
from schemas.cluster import Attempt


def attempt(source="a.nwb", **words):
    fields = {"time": "2026-01-01T00:00:00+00:00", "session": "s", "recipe_id": "r", "status": "failed"}
    return Attempt.model_validate({**fields, "source": source, **words})


def test_lines_come_back_as_they_were_written_and_in_order(tmp_path):
    lines = [attempt(reason="no 'units' table – µs", attempt=i + 1, host="node-7", pid=i) for i in range(3)]
    for line in lines:
        append_attempts(tmp_path / "deep" / "ledger.jsonl", [line])
    assert read_ledger(tmp_path / "deep" / "ledger.jsonl") == lines


def test_each_line_is_one_json_object(tmp_path):
    append_attempts(tmp_path / "l", [attempt(reason="two\nlines"), attempt()])
    lines = (tmp_path / "l").read_text().splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["a.nwb"] * 2


def test_a_line_cut_off_by_a_crash_costs_only_itself(tmp_path):
    path = tmp_path / "ledger.jsonl"
    append_attempts(path, [attempt("a.nwb"), attempt("b.nwb")])
    path.write_bytes(path.read_bytes()[:-20])
    append_attempts(path, [attempt("c.nwb")])
    assert [a.source for a in read_ledger(path)] == ["a.nwb", "c.nwb"]


def test_the_last_attempt_counts(tmp_path):
    last = last_attempts([attempt("a"), attempt("b"), attempt("a", status="done")])
    assert {source: a.status for source, a in last.items()} == {"a": "done", "b": "failed"}


def test_a_ledger_that_is_not_there_is_empty(tmp_path):
    assert read_ledger(tmp_path / "ledger.jsonl") == []


def test_a_ledger_that_cannot_be_written_is_the_machine(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot add to the ledger"):
        append_attempts(tmp_path / "file" / "ledger.jsonl", [attempt()])


def test_processes_lose_nothing_of_each_others_lines(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from pipeline.cluster.ledger import append_attempts\n"
        "from schemas.cluster import Attempt\n"
        "for i in range(50):\n"
        "    source = f'{sys.argv[2]}-{i}'\n"
        "    line = Attempt(time='', session='s', source=source, recipe_id='r', status='done')\n"
        "    append_attempts(pathlib.Path(sys.argv[1]), [line])\n"
    )
    path = tmp_path / "ledger.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "abc"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    found = [a.source for a in read_ledger(path)]
    assert sorted(found) == sorted(f"{name}-{i}" for name in "abc" for i in range(50))
