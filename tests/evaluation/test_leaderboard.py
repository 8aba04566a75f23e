"""Comparison over sessions and seeds."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.leaderboard import boards
from nwb_latents.pipeline.evaluation.leaderboard_files import as_csv, as_html, as_markdown, table
from nwb_latents.schemas.evaluation import METRICS, MetricName
from nwb_latents.schemas.results import Evaluation, MetricValue


def evaluation(
    source: str,
    session: str,
    *,
    seed: int | None = None,
    group: str = "g",
    settings: str = "s",
    **values: float,
) -> Evaluation:
    is_baseline = seed is None
    return Evaluation(
        source=source,
        is_baseline=is_baseline,
        label=source if is_baseline else "lfads",
        group=source if is_baseline else group,
        seed=seed,
        session=session,
        recipe_id="r",
        phase="test",
        settings_digest=settings,
        key=f"{source}/{session}",
        n_trials=10,
        n_units=20,
        n_heldout=5,
        level=0.95,
        metrics={name: MetricValue(value=v, low=v - 0.03, high=v + 0.04) for name, v in values.items()},
        missing={} if "co_bps" in values else {"co_bps": "was shown them, <all>"},
    )


@pytest.fixture
def measured() -> list[Evaluation]:
    """Return two seeds of a model and one baseline on two sessions, and a model of one session."""
    return [
        evaluation("a", "s1", seed=0, velocity_r2=0.5, co_bps=0.1),
        evaluation("a", "s2", seed=0, velocity_r2=0.7, co_bps=0.3),
        evaluation("b", "s1", seed=1, velocity_r2=0.6, co_bps=0.1),
        evaluation("b", "s2", seed=1, velocity_r2=0.8, co_bps=0.3),
        evaluation("null", "s1", velocity_r2=0.0, co_bps=0.0),
        evaluation("null", "s2", velocity_r2=0.0, co_bps=0.0),
        evaluation("c", "s1", seed=0, group="other", velocity_r2=0.9),
    ]


def test_cells_are_means_over_sessions_of_means_over_seeds(measured: list[Evaluation]) -> None:
    (board,) = boards(measured, ranked_by="velocity_r2")
    row = board.rows[0]
    assert (row.label, row.sources, row.n_sessions) == ("lfads (a)", ("a", "b"), 2)
    cell = row.cells["velocity_r2"]
    assert cell.value == pytest.approx(0.65)
    assert cell.seed_sd == pytest.approx(np.std([0.6, 0.7], ddof=1))
    # Two independent sessions of equal half-width: 1 / √2 of it.
    assert cell.value - cell.low == pytest.approx(0.03 / np.sqrt(2))
    assert cell.high - cell.value == pytest.approx(0.04 / np.sqrt(2))


def test_fewer_sessions_come_after_all_sessions_and_rows_without_the_metric_last(
    measured: list[Evaluation],
) -> None:
    by_velocity = boards(measured, ranked_by="velocity_r2")[0]
    assert [row.label for row in by_velocity.rows] == ["lfads (a)", "null", "lfads (c)"]
    by_default = boards(measured)[0]
    assert by_default.ranked_by == "co_bps"
    assert [row.label for row in by_default.rows] == ["lfads (a)", "null", "lfads (c)"]
    assert "co_bps" not in by_default.rows[-1].cells


def test_what_was_measured_otherwise_is_another_board(measured: list[Evaluation]) -> None:
    other = evaluation("a", "s1", seed=0, settings="lag 200", velocity_r2=0.1)
    apart = boards([*measured, other])
    assert [(board.settings_digest, len(board.rows)) for board in apart] == [("lag 200", 1), ("s", 3)]
    named = boards(measured, dandisets={("s1", "r"): "000688@0.1", ("s2", "r"): "000070@0.2"})
    assert [board.dandiset for board in named] == ["000070@0.2", "000688@0.1"]


def test_nothing_to_compare_is_an_error(measured: list[Evaluation]) -> None:
    with pytest.raises(DataError, match="pipeline run evaluate"):
        boards([])
    with pytest.raises(
        DataError, match="No evaluation has the metric psth_r2; they have: co_bps, velocity_r2"
    ):
        boards(measured, ranked_by="psth_r2")


def test_csv_has_every_number_and_every_reason(measured: list[Evaluation]) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(measured, dandisets={("s1", "r"): "000688@1"}))))
    assert len(lines) == 14
    one = next(
        line for line in lines if (line["source"], line["session"], line["metric"]) == ("b", "s2", "co_bps")
    )
    assert float(one["value"]) == 0.3
    assert (one["seed"], one["dandiset"], one["unit"]) == ("1", "files", "bits/spike")
    absent = next(line for line in lines if line["missing"])
    assert (absent["source"], absent["value"], absent["dandiset"]) == ("c", "", "000688@1")


def test_markdown_is_a_table_with_as_many_cells_in_every_row(measured: list[Evaluation]) -> None:
    text = as_markdown(boards(measured))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}
    assert "| lfads (a) | 2 | 0.200 [" in rows[2]
    assert "| null * | – | 0.000 [−0.021, 0.028] |" in text


def test_the_page_stands_by_itself_and_escapes_what_it_shows(measured: list[Evaluation]) -> None:
    sly = measured[-1].model_copy(update={"label": "<script>alert(1)</script>"})
    page = as_html(boards([*measured[:-1], sly]))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    drawn = ET.fromstring(svg)
    texts = {
        "".join(element.itertext()).strip() for element in drawn.iter("{http://www.w3.org/2000/svg}text")
    }
    assert {"lfads", "null", METRICS["co_bps"].title} <= texts
    assert page == as_html(boards([*measured[:-1], sly]))


def test_values_far_below_are_an_arrow_and_undefined_ones_a_dash(measured: list[Evaluation]) -> None:
    names: tuple[MetricName, ...] = ("velocity_r2", "co_bps")
    bad = evaluation("bad", "s1", **dict.fromkeys(names, -40.0))
    undefined = evaluation("none", "s1").model_copy(
        update={"metrics": {"velocity_r2": MetricValue(value=None)}}
    )
    (board,) = boards([*measured, bad, undefined])
    shown = {row[0]: row[2:] for row in table(board)[1]}
    assert shown["none *"] == ["–", "–"]
    assert shown["bad *"][0].startswith("−40.000")
    assert "svg" in as_html([board])
