"""Names in tables that other programs read: text that they would take for a formula, or for layout."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?|[+-]?(inf|nan)", re.IGNORECASE)
_MARKDOWN = re.compile(r"([\\|`*\[\]<>~$])")


def for_csv(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: it begins with an apostrophe where it might.

    Examples
    --------
    >>> for_csv("=1+1"), for_csv("@a"), for_csv("sub-A"), for_csv("-0.5")
    ("'=1+1", "'@a", 'sub-A', '-0.5')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def for_markdown(text: str) -> str:
    r"""Return text that Markdown shows as it stands, in one cell of a table.

    Examples
    --------
    >>> print(for_markdown("a|b<img>"), for_markdown("x y"))
    a\|b\<img\> x y
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
