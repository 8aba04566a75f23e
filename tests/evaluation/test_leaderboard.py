"""Comparison over sessions and seeds."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from nwb_latents.pipeline.api.leaderboard_table import board_table
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.current_evaluations import measurement_table
from nwb_latents.pipeline.evaluation.leaderboard import Board, boards
from nwb_latents.pipeline.evaluation.leaderboard_files import (
    as_csv,
    as_html,
    as_markdown,
    legend,
    protocol,
    table,
)
from nwb_latents.pipeline.evaluation.metrics.known import metric_called
from nwb_latents.schemas.measurement import Measurement

Records = list[Measurement]


def evaluated(
    source: str,
    session: str,
    *,
    seed: int | None = None,
    group: str = "g",
    settings: str = "s",
    label: str = "lfads",
    **values: float | None,
) -> Records:
    """Return records of one source on one session; a value of None is one that is not to be had."""
    is_baseline = seed is None
    shared = {
        "is_baseline": is_baseline, "run": None if is_baseline else source,
        "source": source if is_baseline else "reconstruction",
        "label": source if is_baseline else label, "group": source if is_baseline else group, "seed": seed,
        "session": session, "recipe_id": "r", "split": "test", "stage": "evaluate",
        "settings_digest": settings, "store_key": "k", "run_key": None if is_baseline else source,
        "n_trials": 10, "n_units": 20, "n_heldout": 5, "level": 0.95,
    }  # fmt: skip
    records = []
    for name, value in values.items():
        is_bps = name.endswith("bps")
        unit = {"unit": "bits/spike" if is_bps else "1", "definition": "" if is_bps else "r2_uniform"}
        ends = {"low": None, "high": None} if value is None else {"low": value - 0.03, "high": value + 0.04}
        reason = "was shown them, <all>" if value is None else ""
        records.append(Measurement(name=name, value=value, reason=reason, **unit, **ends, **shared))
    return records


def compared(records: Records, **asked: object) -> list[Board]:
    return boards(measurement_table(records), **asked)


@pytest.fixture
def measured() -> Records:
    """Return two seeds of a model and one baseline on two sessions, and a model of one session."""
    return [
        *evaluated("a", "s1", seed=0, velocity_r2=0.5, co_bps=0.1),
        *evaluated("a", "s2", seed=0, velocity_r2=0.7, co_bps=0.3),
        *evaluated("b", "s1", seed=1, velocity_r2=0.6, co_bps=0.1),
        *evaluated("b", "s2", seed=1, velocity_r2=0.8, co_bps=0.3),
        *evaluated("null", "s1", velocity_r2=0.0, co_bps=0.0),
        *evaluated("null", "s2", velocity_r2=0.0, co_bps=0.0),
        *evaluated("c", "s1", seed=0, group="other", velocity_r2=0.9, co_bps=None),
    ]


def test_runs_of_more_sessions_are_no_seeds_of_runs_of_fewer():
    records = [
        *(
            row
            for seed in (0, 1)
            for row in evaluated(f"one-{seed}", "a", seed=seed, co_bps=0.1 + seed / 100)
        ),
        *(
            row
            for seed in (0, 1)
            for session in "ab"
            for row in evaluated(f"both-{seed}", session, seed=seed, co_bps=0.3 + seed / 100)
        ),
        # Runs of one session each are one row.
        *(
            row
            for session in "ab"
            for seed in (0, 1)
            for row in evaluated(f"{session}-{seed}", session, seed=seed, group="h", co_bps=0.2)
        ),
    ]
    (board,) = boards(measurement_table(records))
    found = {
        row.sources: (row.n_seeds, row.n_sessions, round(row.cells["co_bps"].value, 3)) for row in board.rows
    }
    assert found == {
        ("one-0", "one-1"): (2, 1, 0.105),
        ("both-0", "both-1"): (2, 2, 0.305),
        ("a-0", "a-1", "b-0", "b-1"): (2, 2, 0.2),
    }
    assert len({row.label for row in board.rows}) == 3


def test_cells_are_means_over_sessions_of_means_over_seeds(measured: Records) -> None:
    (board,) = compared(measured, ranked_by="velocity_r2")
    row = board.rows[0]
    assert (row.label, row.sources, row.n_sessions) == ("lfads (a)", ("a", "b"), 2)
    cell = row.cells["velocity_r2"]
    assert cell.value == pytest.approx(0.65)
    assert cell.seed_sd == pytest.approx(np.std([0.6, 0.7], ddof=1))
    # Two independent sessions of equal half-width: 1 / √2 of it.
    assert cell.value - cell.low == pytest.approx(0.03 / np.sqrt(2))
    assert cell.high - cell.value == pytest.approx(0.04 / np.sqrt(2))


def test_fewer_sessions_come_after_all_sessions_and_rows_without_the_metric_last(
    measured: Records,
) -> None:
    by_velocity = compared(measured, ranked_by="velocity_r2")[0]
    assert [row.label for row in by_velocity.rows] == ["lfads (a)", "null", "lfads (c)"]
    by_default = compared(measured)[0]
    assert by_default.ranked_by == "co_bps"
    assert [row.label for row in by_default.rows] == ["lfads (a)", "null", "lfads (c)"]
    assert "co_bps" not in by_default.rows[-1].cells


def test_what_was_measured_otherwise_is_another_board(measured: Records) -> None:
    other = evaluated("a", "s1", seed=0, settings="lag 200", velocity_r2=0.1)
    apart = compared([*measured, *other])
    assert [(board.settings_digest, len(board.rows)) for board in apart] == [("lag 200", 1), ("s", 3)]
    named = compared(measured, dandisets={("s1", "r"): "000688@0.1", ("s2", "r"): "000070@0.2"})
    assert [board.dandiset for board in named] == ["000070@0.2", "000688@0.1"]


def test_nothing_to_compare_is_an_error(measured: Records) -> None:
    with pytest.raises(DataError, match="pipeline run evaluate"):
        compared([])
    with pytest.raises(
        DataError, match="No evaluation has the metric psth_r2; they have: co_bps, velocity_r2"
    ):
        compared(measured, ranked_by="psth_r2")


def test_csv_has_every_number_and_every_reason(measured: Records) -> None:
    text = as_csv(measurement_table(measured), dandisets={("s1", "r"): "000688@1"})
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 14
    one = next(
        line for line in lines if (line["run"], line["session"], line["name"]) == ("b", "s2", "co_bps")
    )
    assert float(one["value"]) == 0.3
    assert (one["seed"], one["dandiset"], one["unit"]) == ("1", "files", "bits/spike")
    assert one["told"] == ""
    informed = [each.model_copy(update={"details": {"told": "the target"}}) for each in measured]
    again = as_csv(measurement_table(informed), dandisets={})
    assert {line["told"] for line in csv.DictReader(io.StringIO(again))} == {"the target"}
    absent = next(line for line in lines if line["reason"])
    assert (absent["run"], absent["value"], absent["dandiset"]) == ("c", "", "000688@1")
    assert {"decoder", "fitted_on", "lag_ms", "seen_bins", "bins", "store_key", "run_key"} <= one.keys()


def test_markdown_is_a_table_with_as_many_cells_in_every_row(measured: Records) -> None:
    text = as_markdown(compared(measured))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}
    assert "| lfads (a) | 2 | **0.200 [" in rows[2]
    assert r"| null \* | – | 0.000 [−0.021, 0.028] |" in text


def test_the_page_stands_by_itself_and_escapes_what_it_shows(measured: Records) -> None:
    sly = evaluated("d", "s1", seed=0, group="sly", label="<script>alert(1)</script>", velocity_r2=0.1)
    page = as_html(compared([*measured, *sly]))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    drawn = ET.fromstring(svg)
    texts = {
        "".join(element.itertext()).strip() for element in drawn.iter("{http://www.w3.org/2000/svg}text")
    }
    assert {"lfads (a)", "null", metric_called("co_bps").title} <= texts
    assert page == as_html(compared([*measured, *sly]))


def test_values_far_below_are_an_arrow_and_undefined_ones_a_dash(measured: Records) -> None:
    bad = evaluated("bad", "s1", velocity_r2=-40.0, co_bps=-40.0)
    undefined = evaluated("none", "s1", velocity_r2=None)
    (board,) = compared([*measured, *bad, *undefined])
    shown = {row[0]: row[2:] for row in table(board)[1]}
    assert shown["none *"] == ["–", "–"]
    assert shown["bad *"][0].startswith("−40.000")
    assert "svg" in as_html([board])


def forecasts(records: Records) -> Records:
    """Return the same as numbers of forecasts."""
    ahead = {"seen_bins": 13, "bins": 20, "lag_ms": 100.0, "decoder": "ridge", "fitted_on": "recorded rates"}
    return [
        record.model_copy(update=ahead | ({} if record.is_baseline else {"source": "forecast"}))
        for record in records
    ]


def test_forecasts_are_a_column_of_their_own_and_say_what_was_fitted_on_what(measured: Records) -> None:
    ahead = forecasts(evaluated("a", "s1", seed=0, velocity_r2=0.2))
    own = [
        record.model_copy(update={"decoder": "nlb_ridge", "fitted_on": "own rates", "lag_ms": 100.0})
        for record in evaluated("a", "s1", seed=0, nlb_velocity_r2=0.9)
    ]
    (board,) = compared([*measured, *ahead, *own])
    assert [column.key for column in board.columns] == [
        "co_bps", "velocity_r2", "velocity_r2:forecast", "nlb_velocity_r2"
    ]  # fmt: skip
    row = next(row for row in board.rows if "a" in row.sources)
    assert row.cells["velocity_r2:forecast"].value == 0.2
    assert row.cells["velocity_r2"].value == pytest.approx(0.65)
    lines = protocol(board)
    assert lines == [
        (
            "velocity, forecast: decoder ridge fitted on recorded rates; 100 ms after the activity; "
            "13 bins seen, 20 forecast"
        ),
        "velocity, own decoder: decoder nlb_ridge fitted on own rates; 100 ms after the activity",
    ]
    markdown, page = as_markdown([board]), as_html([board])
    for line in lines:
        assert line in markdown[: markdown.index("| model")]
        assert line in page[: page.index("<table")]
    drawn = page[page.index("<svg") : page.index("</svg>")]
    assert (
        "fitted on own rates" in re.sub(r"<[^>]+>|\s+", " ", drawn).replace("  ", " ") or "own rates" in drawn
    )
    assert compared([*measured, *ahead], ranked_by="velocity_r2:forecast")[0].rows[0].sources == ("a", "b")


def test_two_protocols_in_a_column_say_which_rows_have_which(measured: Records) -> None:
    ahead = forecasts(evaluated("a", "s1", seed=0, velocity_r2=0.2))
    direct = [
        record.model_copy(update={"decoder": None, "fitted_on": ""})
        for record in forecasts(evaluated("linear", "s1", velocity_r2=0.3))
    ]
    (board,) = compared([*ahead, *direct])
    (line,) = protocol(board)
    assert line == (
        "velocity, forecast: decoder ridge fitted on recorded rates (lfads); not decoded but given by the "
        "row itself (linear); 100 ms after the activity; 13 bins seen, 20 forecast"
    )


def test_a_decoder_of_the_few_trials_a_run_was_given_is_another_protocol(measured: Records) -> None:
    def decoded(records: Records, **more: object) -> Records:
        told = {"decoder": "ridge", "fitted_on": "recorded rates", **more}
        return [record.model_copy(update=told) for record in records]

    few = {"details": {"given_trials": 16}}
    aligned = decoded(evaluated("x", "s1", seed=0, group="x", label="aligned", velocity_r2=0.3), **few)
    (board,) = compared([*decoded(measured), *aligned])
    line = next(line for line in protocol(board) if line.startswith("velocity: "))
    assert "decoder ridge fitted on recorded rates, the 16 trials given alone (aligned)" in line
    assert "decoder ridge fitted on recorded rates (lfads (a), null, lfads (c))" in line
    # A decoder of other days is fitted on these, however few of this one the run was given.
    (board,) = compared(
        [*decoded(measured), *(r.model_copy(update={"fitted_sessions": ("s0",)}) for r in aligned)]
    )
    assert all("given alone" not in line for line in protocol(board))


def test_runs_of_a_session_each_are_one_seed(measured: Records) -> None:
    each = [
        *evaluated("u", "s1", seed=0, group="aligned", label="aligned", velocity_r2=0.3),
        *evaluated("v", "s2", seed=0, group="aligned", label="aligned", velocity_r2=0.4),
    ]
    (board,) = compared([*measured, *each])
    shown = {row[0]: row[1] for row in table(board)[1]}
    assert (shown["aligned"], shown["lfads (a)"], shown["null *"]) == ("1", "2", "–")


def test_rows_say_what_they_were_told_and_whether_they_only_forecast(measured: Records) -> None:
    def told(records: Records, what: str) -> Records:
        return [record.model_copy(update={"details": {"told": what}}) for record in records]

    of_condition = [
        *told(evaluated("mean", "s1", velocity_r2=0.9), "the target"),
        *told(forecasts(evaluated("mean", "s1", velocity_r2=0.9)), "the target"),
    ]
    leaking = told(forecasts(evaluated("a", "s1", seed=0, velocity_r2=0.2)), "spikes ahead")
    only = forecasts(evaluated("linear", "s1", velocity_r2=0.3))
    (board,) = compared([*measured, *of_condition, *leaking, *only])
    rows = {row.label: row for row in board.rows}
    assert rows["mean"].told == ("the target",)
    assert rows["lfads (a)"].told == ("spikes ahead (forecasts)",)
    assert [label for label, row in rows.items() if row.only_forecasts] == ["linear"]
    names = {row[0] for row in table(board)[1]}
    assert {"mean *‡", "lfads (a) ‡", "linear *†", "null *"} <= names
    said = "‡ is told more than spikes it may see: "
    line = next(line for line in protocol(board) if line.startswith(said))
    assert set(line.removeprefix(said).split("; ")) == {
        "mean: the target", "lfads (a): spikes ahead (forecasts)"
    }  # fmt: skip
    frame = board_table([board]).set_index("model")
    assert frame.loc["mean", "told"] == "the target"
    assert frame.index[frame["only_forecasts"]].tolist() == ["linear"]
    assert "† only forecasts" in legend(board)[0]
    assert "‡" in as_markdown([board])
    assert "‡" in as_html([board])
    assert "†" not in legend(compared(measured)[0])[0]


def test_rows_without_the_metric_of_the_order_are_ordered_by_the_next(measured: Records) -> None:
    more = [
        *forecasts(evaluated("low", "s1", velocity_r2=0.1)),
        *forecasts(evaluated("high", "s1", velocity_r2=0.8)),
        *forecasts(evaluated("middle", "s1", velocity_r2=0.4)),
    ]
    (board,) = compared([*measured, *more])
    assert [row.label for row in board.rows][-3:] == ["high", "middle", "low"]


def test_an_interval_of_no_width_is_not_shown(measured: Records) -> None:
    fixed = [
        record.model_copy(update={"low": 0.5, "high": 0.5})
        for session in ("s1", "s2")
        for record in evaluated("constant", session, psth_r2=0.5)
    ]
    (board,) = compared([*measured, *fixed])
    for is_short in (False, True):
        row = next(row for row in table(board, is_short=is_short)[1] if row[0] == "constant *")
        assert row[-1] == "0.500"
        assert "no interval: no draw of trials changes it" in legend(board, is_short=is_short)[0]
    assert "no interval" not in legend(compared(measured)[0])[0]


def test_a_width_that_rounds_to_nothing_is_not_shown_as_none(measured: Records) -> None:
    narrow = [
        record.model_copy(update={"low": 0.4999, "high": 0.5001})
        for session in ("s1", "s2")
        for record in evaluated("narrow", session, psth_r2=0.5)
    ]
    (board,) = compared([*measured, *narrow])
    row = next(row for row in table(board, is_short=True)[1] if row[0] == "narrow *")
    assert row[-1] == "0.500 ±<0.001"


def test_the_best_run_is_bold_among_those_of_all_sessions(measured: Records) -> None:
    better = [
        record
        for session in ("s1", "s2")
        for record in evaluated("d", session, seed=0, group="d", label="ndt", velocity_r2=0.2, co_bps=0.5)
    ]
    (board,) = compared([*measured, *better])
    best = {(row.label, c.key) for row in board.rows for c in board.columns if board.is_best(row, c)}
    # `c` has 0.9, of one session.
    assert best == {("ndt", "co_bps"), ("lfads (a)", "velocity_r2")}
    text = as_markdown([board])
    assert text.count("**") == 4
    assert as_html([board]).count("<b>") == 2


def test_the_best_of_what_is_better_when_lower_is_the_least(measured: Records) -> None:
    further = [
        record
        for source, group, value in (("a", "g", 0.2), ("n", "n", 0.1))
        for session in ("s1", "s2")
        for record in evaluated(source, session, seed=0, group=group, label=group, calibration=value)
    ]
    (board,) = compared([*measured, *further], ranked_by="calibration")
    (column,) = [each for each in board.columns if each.key == "calibration"]
    assert [row.label for row in board.rows if board.is_best(row, column)] == ["n"]
    assert board.rows[0].label == "n"


def test_a_metric_that_is_not_installed_is_shown_by_its_name_and_said_to_be_unknown(
    measured: Records,
) -> None:
    (board,) = compared([*measured, *evaluated("a", "s1", seed=0, hermite_bps=0.7)])
    assert board.columns[-1].key == "hermite_bps"
    assert "hermite_bps (bits/spike)" in table(board)[0]
    assert any("not installed" in line for line in legend(board))


def test_numbers_without_intervals_are_not_given_one(measured: Records) -> None:
    (board,) = compared(
        [one.model_copy(update={"level": None, "low": None, "high": None}) for one in measured]
    )
    assert legend(board)[0].startswith("Means over sessions, measured without intervals; ")
    assert "nan" not in " ".join(legend(board, is_short=True))


def test_later_settings_and_runs_trained_anew_replace_what_was_measured_before(measured: Records) -> None:
    anew = [
        record.model_copy(update={"run_key": "trained anew", "value": 0.1, "low": 0.0, "high": 0.2})
        for record in evaluated("c", "s1", seed=0, group="other", co_bps=0.1)
    ]
    (board,) = compared([*measured, *anew])
    row = next(row for row in board.rows if row.sources == ("c",))
    assert row.cells.keys() == {"co_bps"}
    other = evaluated("null", "s1", settings="lag 200", velocity_r2=0.3)
    apart = compared([*measured, *other])
    assert [board.settings_digest for board in apart] == ["lag 200", "s"]
    null = next(row for row in apart[1].rows if row.label == "null")
    assert null.n_sessions == 1


def plain_cell(
    values: dict[tuple[str, str], tuple[float, float, float]],
) -> tuple[float, float, float, float]:
    """Return mean, ends and deviation over seeds, source by source and session by session."""
    sources, sessions = (sorted({key[i] for key in values}) for i in (0, 1))
    known = {s: [source for source in sources if (source, s) in values] for s in sessions}
    means = np.array([np.mean([values[source, s][0] for source in known[s]]) for s in sessions])
    mean = means.mean()
    widths = [
        np.array([np.mean([abs(values[o, s][end] - values[o, s][0]) for o in known[s]]) for s in sessions])
        for end in (1, 2)
    ]
    below, above = (np.sqrt(np.square(width).sum()) / len(sessions) for width in widths)
    whole = [o for o in sources if all((o, s) in values for s in sessions)]
    of_seeds = [np.mean([values[o, s][0] for s in sessions]) for o in whole]
    return mean, mean - below, mean + above, np.std(of_seeds, ddof=1) if len(whole) > 1 else np.nan


def test_many_sessions_and_seeds_are_put_together_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    expected: dict[tuple[str, str], dict[tuple[str, str], tuple[float, float, float]]] = {}
    records: Records = []
    for session in range(30):
        for run in range(6):
            for name in ("psth_r2", "nlb_velocity_r2"):
                if rng.random() < 0.1 and run != 0:
                    continue
                value = float(rng.normal())
                group = f"g{run // 3}"
                where = {"seed": run, "group": group, "label": group}
                records += evaluated(f"run{run}", f"s{session:02d}", **where, **{name: value})
                key = (f"run{run}", f"s{session:02d}")
                expected.setdefault((group, name), {})[key] = (value, value - 0.03, value + 0.04)
    order = rng.permutation(len(records))
    (board,) = compared([records[i] for i in order])
    for row in board.rows:
        for name, cell in row.cells.items():
            plain = plain_cell(expected[row.label, name])
            found = (cell.value, cell.low, cell.high, cell.seed_sd)
            np.testing.assert_allclose(found, plain, rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("group", ["g", "g{}"], ids=["one model", "a model of its own for each session"])
def test_runs_of_a_session_each_need_no_table_of_runs_and_sessions(group: str) -> None:
    n = 4000
    records = [
        each
        for k in range(n)
        for each in evaluated(f"r{k:04d}", f"s{k:04d}", seed=0, group=group.format(k), co_bps=k / n)
    ]
    measured = measurement_table(records)
    tracemalloc.start()
    try:
        (board,) = boards(measured)
        assert sum(board.is_best(row, board.columns[0]) for row in board.rows) == (group == "g")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {row.cells["co_bps"].n_sessions for row in board.rows} == {n // len(board.rows)}
    assert peak < n * n * 8 / 2
