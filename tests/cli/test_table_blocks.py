"""Tables wider than the terminal: no number is broken, and every column is shown with the row's name."""

from __future__ import annotations

import re

import pytest

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.table_blocks import FRAME, blocks

METRICS = [f"co-smoothing, read-out {number}" for number in range(18)]
HEADS = ["model", "seeds", *METRICS]
ROWS = [
    [name, "3", *(f"{sign}0.{number:02d}{place} ±0.0{number + 10}" for number in range(18))]
    for place, (name, sign) in enumerate(
        {"trial factors *": "−", "lfads": "", "a_run_of_its_own": "−"}.items()
    )
]


@pytest.mark.parametrize("width", [40, 80, 140, 1000])
def test_every_number_of_a_wide_board_stands_on_one_line(monkeypatch, capsys, width):
    monkeypatch.setattr("nwb_latents.pipeline.cli.console.NOT_A_TERMINAL", width)
    Output().table("the board", HEADS, ROWS)
    shown = capsys.readouterr().out
    for row in ROWS:
        for cell in row[2:]:
            assert cell in shown, (width, cell)
    assert max(map(len, shown.splitlines())) <= width
    assert shown.count("the board") == 1
    words = re.sub(r"[│┃\n ]+", " ", shown)
    assert words.count("model") == len(blocks(HEADS, ROWS, width=width))


@pytest.mark.parametrize("width", [40, 80, 140])
def test_blocks_hold_each_column_once_in_order_behind_the_first(width):
    found = blocks(HEADS, ROWS, width=width)
    assert [number for block in found for number in block.columns[1:]] == list(range(1, len(HEADS)))
    assert {block.columns[0] for block in found} == {0}
    for block in found:
        assert sum(chars + FRAME for chars in block.widths) + 1 <= width


def test_a_table_that_fits_is_one_block_as_wide_as_it_needs_to_be():
    (block,) = blocks(HEADS[:4], [row[:4] for row in ROWS], width=140)
    assert block.columns == (0, 1, 2, 3)
    assert block.widths == (None,) * 4


def test_rows_that_the_first_column_does_not_tell_apart_stay_whole():
    (block,) = blocks(HEADS, [["sub-A", *row[1:]] for row in ROWS], width=140)
    assert block.columns == tuple(range(len(HEADS)))


def test_one_column_that_is_too_wide_is_shown_all_the_same(monkeypatch, capsys):
    monkeypatch.setattr("nwb_latents.pipeline.cli.console.NOT_A_TERMINAL", 20)
    Output().table("t", ["session", "text"], [["sub-" + "A" * 30, "word " * 9]])
    shown = capsys.readouterr().out
    assert shown.count("A") == 30
    assert shown.count("word") == 9
