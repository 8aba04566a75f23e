"""Events: every line of --json is of a class, and the program says nothing but objects of these classes."""

import ast
import json
import pickle
from pathlib import Path

import jsonschema
import pytest

import nwb_latents
from nwb_latents.schemas.events import (
    EVENTS,
    EVENTS_VERSION,
    CatalogRunEvent,
    MeasurementEvent,
    NoteEvent,
    ProgressEvent,
    RunEvent,
    SessionEvent,
    events_schema,
    parse_event,
)

SIMULATION = {"n_subjects": 1, "n_sessions": 2, "n_units": "[6,6]", "n_trials": 24, "waveforms": "false"}
SMALL = [word for key, value in SIMULATION.items() for word in ("--set", f"{key}={value}")]
NAME = "tiny"
CHAIN = (
    ("simulate", "nwb", *SMALL),
    ("dandisets",),
    ("models",),
    ("doctor",),
    ("run", "ingest", "--path", "nwb", "--dry-run"),
    ("run", "ingest", "--path", "nwb"),
    ("run", "ingest", "--path", "nwb"),
    ("run", "recut", "--set", "align_to=go_cue"),
    ("run", "train", "--session", "*20200106", "--max-steps", "3", "--run-name", NAME, "--device", "cpu"),
    ("run", "align", "--run", NAME, "--session", "*", "--trials", "4", "--no-score", "--device", "cpu"),
    ("run", "decode", "--run", NAME, "--device", "cpu"),
    ("run", "evaluate", "--run", NAME, "--metric", "velocity_r2", "--baseline", "null", "--device", "cpu"),
    ("run", "forecast", "--run", NAME, "--device", "cpu"),
    ("leaderboard",),
    ("run", "report", "--set", "run_sessions=0"),
    ("export", "lfads"),
    ("catalog", "list"),
    ("catalog", "show", NAME),
    ("catalog", "verify"),
    ("catalog", "failures"),
)


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft202012Validator(events_schema())


@pytest.mark.slow
def test_every_line_of_json_fits_the_schema(pipeline_command, schema):
    said = {}
    for words in CHAIN:
        shown = pipeline_command(*words, "--json")
        assert shown.returncode == 0, (words, shown.stderr)
        for line in shown.stdout.splitlines():
            schema.validate(json.loads(line))
            event = parse_event(line)
            assert json.loads(event.line()) == json.loads(line)
            said.setdefault(event.event, set()).add(words)
    assert {"session", "run", "measurement", "plan", "planned", "row", "note"} <= set(said)
    assert {"dandiset", "model", "check"} <= set(said)


@pytest.mark.parametrize("kind", EVENTS)
def test_every_kind_and_every_field_is_described(kind):
    assert kind.__doc__
    name = kind.model_fields["event"].default
    assert isinstance(name, str)
    assert all(field.description for key, field in kind.model_fields.items() if key != "event"), kind


def test_no_event_is_said_as_a_dictionary():
    """A dictionary with the key ``event`` would go past the schema."""
    root = Path(nwb_latents.__file__).parent
    found = []
    for room in ("pipeline", "models"):
        for path in sorted((root / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                keys = node.keys if isinstance(node, ast.Dict) else ()
                if any(isinstance(key, ast.Constant) and key.value == "event" for key in keys):
                    found.append(f"{path.relative_to(root)}:{node.lineno}")
    assert found == []


def test_what_was_not_set_is_left_out_and_what_is_not_finite_is_null():
    line = ProgressEvent(stage="train", step=1, total=3, loss=float("nan")).line()
    assert json.loads(line) == {"event": "progress", "stage": "train", "step": 1, "total": 3, "loss": None}
    assert json.loads(NoteEvent(text="2 workers").line()) == {"event": "note", "text": "2 workers"}


def test_an_entry_of_the_catalog_is_told_from_what_a_stage_made():
    entry = CatalogRunEvent(
        run="a", model="m", path="runs/a", run_key="k", recipe_id="r", sessions=(), steps=1, created="",
        status="complete",
    )  # fmt: skip
    assert isinstance(parse_event(entry.line()), CatalogRunEvent)
    assert isinstance(parse_event(RunEvent(run="a", status="failed", reason="x").line()), RunEvent)


def test_events_travel_between_processes(schema):
    event = SessionEvent(session="s", status="done", seconds=1.5)
    again = pickle.loads(pickle.dumps(event))
    assert (again, again.line()) == (event, event.line())
    assert parse_event(event.line()) == event


def test_a_measurement_of_a_newer_version_keeps_what_is_not_known_here(schema):
    line = '{"event":"measurement","name":"a","value":1.0,"session":"s","recipe_id":"r","split":"test",'
    line += '"n_trials":3,"source":"rates","of_tomorrow":[1]}'
    schema.validate(json.loads(line))
    assert json.loads(parse_event(line).line())["of_tomorrow"] == [1]
    assert isinstance(parse_event(line), MeasurementEvent)


def test_the_schema_is_printed_with_its_version(pipeline_command):
    shown = json.loads(pipeline_command("schema", "events").stdout)
    assert shown["version"] == EVENTS_VERSION
    kinds = {
        shown["$defs"][one["$ref"].rpartition("/")[2]]["properties"]["event"]["const"]
        for one in shown["oneOf"]
    }
    assert kinds == {kind.model_fields["event"].default for kind in EVENTS}
