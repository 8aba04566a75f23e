"""The ledger keeps every attempt, whoever writes it and whatever happens to the disk."""

import json
import subprocess
import sys

import pytest

from nwb_latents.pipeline.cluster.ledger import (
    append_attempts,
    last_attempts,
    ledgers_beside,
    read_ledger,
    standing_failures,
)
from nwb_latents.pipeline.errors import CatalogWarning, MachineError
from nwb_latents.schemas.cluster import Attempt


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
    with pytest.warns(CatalogWarning, match="line 2 is cut off"):
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
        "from nwb_latents.pipeline.cluster.ledger import append_attempts\n"
        "from nwb_latents.schemas.cluster import Attempt\n"
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


def test_only_sessions_that_failed_the_last_time_are_failures_and_their_attempts_are_counted():
    lines = [
        *[attempt("a"), attempt("a", status="done")],
        *[attempt("b"), attempt("b", status="done"), attempt("b"), attempt("b", attempt=2)],
        *[attempt("c", status="done"), attempt("d", session="first", time="2026-01-02T00:00:00+00:00")],
    ]
    found = standing_failures(lines)
    assert [(f.last.source, f.n_attempts) for f in found] == [("d", 1), ("b", 2)]
    assert found[0].last.time == "2026-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("reason", "exit_code", "kind", "message", "remedy"),
    [
        (
            "a.nwb: the file was damaged: v2.7 of it. Fetch the file again.",
            4, "data", "a.nwb: the file was damaged: v2.7 of it.", "Fetch the file again.",
        ),
        (
            "a.nwb: broke off. It was given up after 3 attempts.\nCheck the network. Run it again.",
            5, "machine", "a.nwb: broke off. It was given up after 3 attempts.",
            "Check the network. Run it again.",
        ),
        (
            "a.nwb: unexpected KeyError: 'x' (read.py:3). Please report it; the others are unharmed.",
            4, "unexpected", "a.nwb: unexpected KeyError: 'x' (read.py:3).",
            "Please report it; the others are unharmed.",
        ),
        ("a.nwb: lost", 5, "machine", "a.nwb: lost", "Run the same command again."),
        ("", 4, "data", "", "Mend the file, or leave the session out with --exclude."),
    ],
    ids=["data", "machine", "unexpected", "no remedy", "no reason"],
)  # fmt: skip
def test_a_failure_says_what_is_wrong_and_what_to_do(reason, exit_code, kind, message, remedy):
    (failure,) = standing_failures([attempt(reason=reason, exit_code=exit_code)])
    assert (failure.kind, failure.message, failure.remedy) == (kind, message, remedy)


def test_every_recipe_beside_a_catalog_has_a_ledger_of_its_own(tmp_path):
    for recipe in ("5ms-1", "20ms-0"):
        append_attempts(tmp_path / "stores" / recipe / "ledger.jsonl", [attempt()])
    (tmp_path / "stores" / "made-elsewhere").mkdir()
    assert [path.parent.name for path in ledgers_beside(tmp_path / "catalog.yaml")] == ["20ms-0", "5ms-1"]
