"""Tables of factors against means written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from nwb_latents.pipeline.evaluation.factor_tables import factor_tables

COLUMNS = ["setting", "metric", "session", "seed", "value", "model", "width"]


def table(rows):
    return pd.DataFrame(rows, columns=COLUMNS)


def full(**without):
    """Return a whole grid: value 10 per model, 1 per width, .1 per session, .01 per seed."""
    rows = [
        ("trained", "r2", f"s{session}", seed, 10 * m + w + 0.1 * session + 0.01 * seed, f"m{m}", f"w{w}")
        for m in (1, 2)
        for w in (1, 2, 3)
        for session in (0, 1)
        for seed in (0, 1, 2)
    ]
    keep = [
        row for row in rows if not all(row[COLUMNS.index(key)] == value for key, value in without.items())
    ]
    return table(keep if without else rows)


FACTORS = {"model": ["m1", "m2"], "width": ["w1", "w2", "w3"]}


def test_a_level_is_the_mean_over_everything_else_and_its_spread_that_of_seeds():
    model, width = factor_tables(full(), FACTORS, ["r2"])
    cell = model.cells["m2", "trained", "r2"]
    assert cell.value == pytest.approx(20 + 2 + 0.05 + 0.01)
    assert cell.seed_sd == pytest.approx(np.std([0, 0.01, 0.02], ddof=1))
    assert (cell.n_seeds, cell.n_sessions) == (3, 2)
    assert width.cells["w3", "trained", "r2"].value == pytest.approx(15 + 3 + 0.05 + 0.01)
    assert width.levels == ("w1", "w2", "w3")


def test_a_combination_one_level_lacks_is_left_out_of_all_and_counted():
    holes = full(model="m2", width="w3", session="s1")
    model, width = factor_tables(holes, FACTORS, ["r2"])
    one, two = (model.cells[level, "trained", "r2"].value for level in ("m1", "m2"))
    assert two - one == pytest.approx(10), "levels are compared over different things"
    assert model.left_out == {("trained", "r2"): 3}, "one for each seed"
    assert width.left_out == {("trained", "r2"): 3}


def test_a_seed_one_level_lacks_is_left_out_of_all():
    """Else one level would be the mean of other widths, or of luckier seeds, than the other."""
    holes = full(model="m2", width="w3", seed=1)
    model, _ = factor_tables(holes, FACTORS, ["r2"])
    one, two = (model.cells[level, "trained", "r2"] for level in ("m1", "m2"))
    assert two.value - one.value == pytest.approx(10)
    assert two.seed_sd == pytest.approx(one.seed_sd)
    assert model.left_out == {("trained", "r2"): 2}, "one for each session"


def test_numbers_of_different_settings_are_never_averaged():
    other = full().assign(setting="aligned", value=1000.0)
    model, _ = factor_tables(pd.concat([full(), other]), FACTORS, ["r2"])
    assert model.columns == (("trained", "r2"), ("aligned", "r2"))
    assert model.cells["m1", "trained", "r2"].value < 100
    assert model.cells["m1", "aligned", "r2"].value == pytest.approx(1000)


def test_a_factor_of_one_level_has_no_table_and_one_seed_no_spread():
    alone = full()
    alone = alone[(alone["model"] == "m1") & (alone["seed"] == 0)]
    (width,) = factor_tables(alone, FACTORS, ["r2"])
    assert width.factor == "width"
    assert math.isnan(width.cells["w1", "trained", "r2"].seed_sd)


def test_what_is_not_defined_is_no_number():
    undefined = full().assign(value=float("nan"))
    assert factor_tables(undefined, FACTORS, ["r2"]) == []
    some = full()
    some.loc[some["model"] == "m2", "value"] = float("nan")
    tables = factor_tables(some, FACTORS, ["r2"])
    assert [each.factor for each in tables] == ["width"]
