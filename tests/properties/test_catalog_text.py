"""The text of a catalog: what is written is read back, by the program and by any reader of YAML."""

import datetime as dt
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.pipeline.stores.catalog_file import dump_catalog, parse_catalog

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXT, part, max_size=3)
)
ENTRIES = st.dictionaries(TEXT, st.dictionaries(TEXT, VALUES, max_size=4), max_size=4)


@given(sessions=ENTRIES, runs=ENTRIES, other=VALUES)
def test_written_and_read_is_the_same_to_us_and_to_yaml(sessions, runs, other):
    content = {"schema_version": 2, "other": other, "sessions": sessions, "runs": runs}
    text = dump_catalog(content)
    assert parse_catalog(text) == content
    assert yaml.safe_load(text) == content


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, dt.date(2026, 1, 1), 1e-300, 5e22])
def test_what_json_does_not_know_is_read_back(value):
    content = {"runs": {"a": {"x": 1}, "b": {"x": value, "y": [value]}, "c": {"x": "é\x85\u2028😀"}}}
    text = dump_catalog(content)
    for read in (parse_catalog(text), yaml.safe_load(text)):
        assert str(read) == str(content)


BY_HAND = """\
%YAML 1.1
---
"schema_version": 2
sessions:   # those of Monday
    a@r: {session: a, store: &place stores}
    # and the other
    "b@r":
        session: b
        store: *place
"runs": {}
...
"""


@pytest.mark.parametrize(
    "text",
    [BY_HAND, 'runs:\n  "a": {"x": 1}\n  # said by hand\n  b:\n    x: 2\n  "c": {"x": 3}\nsessions:\n',
     "sessions:\n- a\n", "sessions: {a: {x: 1}}\nruns:\n\n  b: {x: 1e5}\n", "", "# nothing\n", "[1, 2]",
     "runs:\r\n  a:\r\n    x: 1\r\n", 'notes: |\n  runs:\n    "a": {}\nruns:\n  "b": {"x": "# none"}\n'],
)  # fmt: skip
def test_what_people_wrote_is_read_as_yaml_has_it(text):
    assert parse_catalog(text) == (yaml.safe_load(text) or {})


@pytest.mark.parametrize("text", ["runs:\n  a: [\n", "runs:\n  a: 1\n b: 2\n", "a: b: c"])
def test_what_is_no_yaml_is_none(text):
    with pytest.raises(yaml.YAMLError):
        parse_catalog(text)
