"""Every message the page on troubleshooting quotes is still a message of the program."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import nwb_latents

HOME = Path(nwb_latents.__file__).parent
PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "troubleshooting.md"
GAP = "…"


def quoted() -> list[str]:
    """Return the messages that stand as headings, and those quoted in the text beside them."""
    text = PAGE.read_text(encoding="utf-8")
    said = re.findall(r"If it says\n?\s*`([^`]+)`", text)
    return re.findall(r"^### `(.+)`$", text, re.MULTILINE) + said


@cache
def messages() -> tuple[str, ...]:
    """Return all texts of the program, with a gap where a value is put in."""
    found = set()
    for room in ("pipeline", "models", "schemas"):
        for file in (HOME / room).resolve().rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
                    found.add("".join(parts))
    return tuple(found)


def test_the_page_quotes_messages() -> None:
    assert len(quoted()) >= 25


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_one_of_the_program(message: str) -> None:
    pattern = re.compile(".*".join(map(re.escape, message.split(GAP))), re.DOTALL)
    assert any(pattern.search(text) for text in messages()), f"no message of the program holds {message!r}"
