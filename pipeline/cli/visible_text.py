"""Text as a terminal may show it: names come from files and archives; some characters a terminal obeys."""

from __future__ import annotations

_NAMED = {0x08: "\\b", 0x0D: "\\r", 0x1B: "\\x1b"}
_KEPT = {ord("\n"), ord("\t")}
_SHOWN = {
    code: _NAMED.get(code, f"\\x{code:02x}")
    for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))
    if code not in _KEPT
} | {code: f"\\u{code:04x}" for code in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def visible(text: str) -> str:
    r"""Return text with the characters written out that a terminal obeys; lines and tabs stay.

    Half characters, of names that are not UTF-8, are written out too.

    Examples
    --------
    >>> print(visible("a\x1b[31mb\udcff"))
    a\x1b[31mb\udcff
    """
    return text.translate(_SHOWN).encode("utf-8", "backslashreplace").decode()
