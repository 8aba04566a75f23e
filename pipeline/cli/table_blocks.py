"""Tables wider than a terminal: cut into blocks of columns, each with the row's name, and no number broken.

A value of −0.063 that is broken over two lines reads as −0.06. A column is at least as wide as its widest
number or word; where not all fit side by side, the rest of them stand below, behind the first column again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME = 3
"""Characters a column takes beside its text: a line and a space on either side."""
LONGEST_WORD = 24
"""Longer words, ids and paths, may be broken."""


@dataclass(frozen=True)
class Block:
    """Columns that stand side by side.

    Attributes
    ----------
    columns
        Their numbers; the first column of the table is in every block.
    widths
        Characters of each; None: as wide as it needs to be.
    """

    columns: tuple[int, ...]
    widths: tuple[int | None, ...]


def is_number(cell: str) -> bool:
    """Whether a cell is a number, or the dash in place of one.

    Examples
    --------
    >>> is_number("−0.012 ±0.003"), is_number("–"), is_number("sub-A")
    (True, True, False)
    """
    return cell[:1].isdigit() or cell[:1] in ("-", "−", "–")


def blocks(heads: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> list[Block]:
    """Return the blocks a table is shown in; one where all columns fit.

    One, too, where the first column does not tell the rows apart: nobody could say which line of a further
    block is which.

    Parameters
    ----------
    heads
        Heads of the columns.
    rows
        Cells, as many in each as heads.
    width
        Characters of the terminal.

    Examples
    --------
    >>> [block.columns for block in blocks(["model", "velocity"], [["lfads", "0.5 ±0.1"]], width=80)]
    [(0, 1)]
    >>> [block.columns for block in blocks(["model", "speed", "rates"], [["lfads", "0.5", "0.4"]], width=20)]
    [(0, 1), (0, 2)]
    """
    cells = [[head, *(row[number] for row in rows)] for number, head in enumerate(heads)]
    full = [max(len(line) for cell in column for line in cell.split("\n")) for column in cells]
    has_names = len(set(cells[0][1:])) == len(rows)
    if not has_names or sum(full) + FRAME * len(full) + 1 <= width:
        return [Block(tuple(range(len(full))), (None,) * len(full))]
    least = [min(whole, _least(column)) for column, whole in zip(cells, full, strict=True)]
    found: list[list[int]] = [[0]]
    for number in range(1, len(least)):
        taken = sum(least[each] + FRAME for each in found[-1]) + 1
        if len(found[-1]) > 1 and taken + least[number] + FRAME > width:
            found.append([0])
        found[-1].append(number)
    return [Block(tuple(mine), _widths(mine, least, full, width=width)) for mine in found]


def _least(column: Sequence[str]) -> int:
    """Return the characters a column needs so that no number and no word is broken."""
    words = [word for cell in column if not is_number(cell) for word in cell.split()]
    numbers = [len(cell) for cell in column if is_number(cell)]
    return max([1, *(min(len(word), LONGEST_WORD) for word in words), *numbers])


def _widths(
    mine: Sequence[int], least: Sequence[int], full: Sequence[int], *, width: int
) -> tuple[int | None, ...]:
    """Share out what is left of the line among columns that could do with more."""
    left = width - 1 - sum(least[each] + FRAME for each in mine)
    if left < 0:
        return (None,) * len(mine)
    lacks = [full[each] - least[each] for each in mine]
    share = min(1.0, left / max(1, sum(lacks)))
    return tuple(least[each] + int(lack * share) for each, lack in zip(mine, lacks, strict=True))
