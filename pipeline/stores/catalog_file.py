"""The text of a catalog file: YAML, in which each session and each run is one line.

Such a line is JSON, which is YAML too, and is read a hundred times faster than YAML in general. Whatever a
person wrote otherwise is read as YAML; the program writes the whole file in its own manner.
"""

from __future__ import annotations

import json
import math
import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

import yaml

from nwb_latents.pipeline.stores.yaml_text import load_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ONE_LINE_EACH = ("sessions", "runs")
"""Sections of which each entry is one line."""

_HEADER = """\
# Data catalog. `pipeline run ...` adds what it makes; paths are relative to this file. Comments are not
# kept when a stage writes: put remarks into `notes`. Schema: `pipeline schema catalog`.
"""
_TOP = re.compile(r"^([A-Za-z_]\w*):[ \t]*$")
_ONE_LINE = re.compile(r'^  "(?:[^"\\]|\\.)*": \{.*\}$')
_NOT_PLAIN = re.compile(r"\de[-+]|NaN|Infinity|[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What JSON writes in a way that YAML does not read, or reads otherwise."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=True)


def parse_catalog(text: str) -> Any:
    r"""Read the text of a catalog as YAML; of an empty one, an empty mapping.

    Raises
    ------
    yaml.YAMLError
        If it is none.

    Examples
    --------
    >>> parse_catalog('sessions:\n  "a@r": {"session": "a"}\n  b@r:\n    session: b\nruns: {}\n')
    {'runs': {}, 'sessions': {'a@r': {'session': 'a'}, 'b@r': {'session': 'b'}}}
    """
    try:
        return _in_parts(text)
    except (ValueError, yaml.YAMLError):
        # Not as the program writes it; what is wrong, if anything, is said of the whole.
        return load_yaml(text)


def dump_catalog(content: Mapping[str, Any]) -> str:
    """Write the content of a catalog as YAML.

    Parameters
    ----------
    content
        What `parse_catalog` is to give.

    Examples
    --------
    >>> print(dump_catalog({"schema_version": 2, "runs": {"r": {"run": "r", "metrics": {"loss": 1e-07}}}}))
    # Data catalog. ...
    schema_version: 2
    runs:
      "r": {"run": "r", "metrics": {"loss": 1.0e-07}}
    <BLANKLINE>
    """
    parts = [_HEADER]
    for key, value in content.items():
        if key in ONE_LINE_EACH and isinstance(value, dict) and value:
            parts.append(f"{key}:\n")
            parts += [_entry(name, entry) for name, entry in value.items()]
        else:
            parts.append(_dump({key: value}))
    return "".join(parts)


def _in_parts(text: str) -> dict[str, Any]:
    """Read a catalog whose sections begin at the left margin.

    Raises
    ------
    ValueError, yaml.YAMLError
        If it is not like that.
    """
    head: list[str] = []
    sections: dict[str, list[str]] = {}
    current = head
    for line in text.split("\n"):
        if line and line[0] not in " \t#\r":
            top = _TOP.match(line)
            current = head
            if top is not None and top[1] in ONE_LINE_EACH:
                if top[1] in sections:
                    raise ValueError(f"{top[1]} is there twice")
                current = sections[top[1]] = []
                continue
        current.append(line)
    content = _mapping(head)
    if not sections.keys().isdisjoint(content):
        raise ValueError("a section is there twice")
    return content | {key: _section(lines) or None for key, lines in sections.items()}


def _section(lines: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one_line, group in groupby(lines, key=lambda line: _ONE_LINE.match(line) is not None):
        if one_line:
            part = json.loads(
                "{" + ",".join(group) + "}", parse_constant=_refuse, object_pairs_hook=_each_once
            )
        else:
            part = _mapping(group)
        if not part.keys().isdisjoint(found):
            raise ValueError("an entry is there twice")
        found |= part
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is there twice")
    return content


def _mapping(lines: Iterable[str]) -> dict[str, Any]:
    content = load_yaml("".join(f"{line}\n" for line in lines))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError("expected a mapping")
    return content


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not YAML")


def _dump(content: object, **style: Any) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(content, Dumper=dumper, sort_keys=False, width=110, allow_unicode=True, **style)
    return text


def _entry(name: str, entry: object) -> str:
    try:
        line = _ENCODER.encode(entry)
        if _NOT_PLAIN.search(line):
            line = "".join(_flow(entry))
        return f"  {''.join(_flow(str(name)))}: {line}\n"
    except TypeError:
        # Something only YAML knows, such as a date.
        return "".join(f"  {line}\n" for line in _dump({name: entry}).splitlines())


def _flow(value: object) -> Iterator[str]:
    """Write a value so that JSON and YAML read the same, as far as JSON can."""
    if isinstance(value, dict):
        yield "{"
        for number, (key, part) in enumerate(value.items()):
            yield ", " * (number > 0)
            yield from _flow(key)
            yield ": "
            yield from _flow(part)
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for number, part in enumerate(value):
            yield ", " * (number > 0)
            yield from _flow(part)
        yield "]"
    elif isinstance(value, float):
        yield _number(value)
    elif isinstance(value, str):
        yield _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
    else:
        yield json.dumps(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    # YAML takes a number without a dot and with an exponent for text.
    digits, exponent, power = repr(value).partition("e")
    return digits + ".0" * (bool(exponent) and "." not in digits) + exponent + power
