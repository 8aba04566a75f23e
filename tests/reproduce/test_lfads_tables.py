"""The experiments on known rates of ``benchmarks/reproduce``: they run, and measure what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]


def _silent(line: str) -> None:
    del line


def _brief(row: object, **recipe: int) -> object:
    """The row on few trials, for two steps."""
    schedule = replace(row.schedule, steps=2, trials_per_step=8)
    return replace(row, recipe=replace(row.recipe, **recipe), schedule=schedule)


def test_a_model_free_to_copy_does_and_coordinated_dropout_stops_it() -> None:
    from benchmarks.reproduce.lfads_identity import NO_CD, ROWS, run

    found = {}
    for name in (NO_CD, "CD .5"):
        row = ROWS[name]
        recipe = replace(row.recipe, n_units=12, n_conditions=90, n_bins=20)
        schedule = replace(row.schedule, steps=100, lr=1e-2, final_lr=1e-2, trials_per_step=30)
        result = run(replace(row, recipe=recipe, n_train=40, schedule=schedule), 0, _silent)
        found[name] = result["snapshots"]["100"]
        assert result["oracle"] < result["null"]
    free, dropped = found[NO_CD], found["CD .5"]
    assert free["standard"] < result["oracle"] - 0.05
    assert free["held_back"] > result["null"]
    assert dropped["standard"] > result["oracle"]
    assert abs(dropped["standard"] - dropped["held_back"]) < 0.05
    assert dropped["rate_r2"] > free["rate_r2"] + 0.5


def test_the_readings_of_identity_overfitting_need_every_row_and_say_what_is_missed() -> None:
    from benchmarks.reproduce.lfads_identity import ROWS, table

    def result(name: str, standard: float, held_back: float, rate_r2: float) -> dict[str, object]:
        scores = {"standard": standard, "held_back": held_back, "rate_r2": rate_r2}
        snapshots = {"150": scores, "900": scores}
        return {"row": name, "seed": 0, "oracle": 0.5, "null": 0.6, "snapshots": snapshots}

    bad, good = (0.2, 1.2, -5.0), (0.52, 0.53, 0.8)
    results = [result(name, *(bad if k == 0 else good)) for k, name in enumerate(ROWS)]
    text = table(results)
    assert text.count(", met") == 5
    assert "MISSED" not in text
    assert "| no CD, step 150 | 0 | 0.200 | 1.200 | -5.000 |" in text
    honest = [result(name, *good) for name in ROWS]
    assert table(honest).count("MISSED") == 3
    assert "need all rows" in table(results[1:])


@pytest.mark.parametrize("name", ["10 of 29", "10 of 29, zeros scored"])
def test_units_come_and_go(name: str) -> None:
    from benchmarks.reproduce.lfads_sbtt import ROWS, run, table

    row = _brief(ROWS[name], n_conditions=40, n_repeats=5, n_bins=10)
    result = run(row, 0, _silent) | {"row": name, "seed": 0}
    assert set(result) == {"rate_r2", "calibration", "shrunk_r2", "metrics", "row", "seed"}
    # The read-out starts at the mean count: of what was observed, or of a third of it.
    assert result["calibration"] == pytest.approx(10 / 29 if row.zeros else 1.0, rel=0.15)
    text = table([result])
    assert f"| {name} | 0 |" in text
    # The gates of rows that are missing are neither met nor missed.
    assert text.count("not run") == 5


def test_zeros_are_shown_and_scored_as_bins_without_a_spike() -> None:
    from benchmarks.reproduce.lfads_sbtt import _zeros
    from nwb_latents.models.batching.tensors import TrialTensors

    nan = float("nan")
    y, counts = torch.tensor([[[1.5, nan], [nan, -0.5]]]), torch.tensor([[[2.0, nan], [nan, 1.0]]])
    filled = _zeros(TrialTensors("a", y, target=counts), torch.tensor([-1.0, -2.0]))
    assert filled.y.tolist() == [[[1.5, -2.0], [-1.0, -0.5]]]
    assert filled.scored.tolist() == [[[2.0, 0.0], [0.0, 1.0]]]


def test_shrinking_deep_modulation_costs_little_and_shallow_modulation_much() -> None:
    from benchmarks.reproduce.lfads_sbtt import shrunk_r2
    from benchmarks.reproduce.systems.lorenz import LorenzRecipe, simulate_lorenz

    few = LorenzRecipe(n_conditions=30, n_repeats=1)
    trials = simulate_lorenz(few, seed=0)
    m, s = trials.rates.mean((0, 1)), trials.rates.std((0, 1))
    assert shrunk_r2(trials, 0.4) == pytest.approx(float((1 - 0.36 * (1 + (m / s) ** 2)).mean()))
    shallow = simulate_lorenz(replace(few, log_rate_deviation=0.2), seed=0)
    assert shrunk_r2(shallow, 0.4) < shrunk_r2(trials, 0.4) - 1


def test_a_transformer_on_the_same_spikes() -> None:
    from benchmarks.reproduce.ndt_lorenz import BOTH, ROWS, run, smoothing_r2, table
    from benchmarks.reproduce.systems.lorenz import simulate_lorenz

    row = _brief(ROWS[BOTH], n_conditions=40, n_repeats=5, n_bins=10)
    result = run(row, 0, _silent) | {"row": BOTH, "seed": 0}
    assert result["epochs"] == pytest.approx(2 * 8 / 160)
    assert result["calibration"] == pytest.approx(1.0, rel=0.15)
    trials = simulate_lorenz(ROWS[BOTH].recipe, seed=0)
    # Counts as they are fit the rates worse than each trial's mean does, and a kernel between fits best.
    assert smoothing_r2(trials, 0.01) < smoothing_r2(trials, 100.0) < smoothing_r2(trials, 9.0)
    assert "rate R² ≥ .7 within 300 epochs: 0.700, met" in table([result | {"rate_r2": 0.7}])
    assert "rate R² ≥ .7 within 300 epochs: 0.690, MISSED" in table([result | {"rate_r2": 0.69}])
    close = result | {"rate_r2": 0.8, "smoothing_r2": 0.75}
    assert "ahead of smoothing by ≥ .1: 0.050, MISSED" in table([close])


def test_the_chaotic_network_with_and_without_pulses() -> None:
    from benchmarks.reproduce.lfads_chaotic import ROWS, run, table

    results = []
    for name, row in ROWS.items():
        result = run(_brief(row, n_conditions=2, n_repeats=5, n_units=50), 0, _silent)
        assert ("found" in result) == ("C = 1" in name)
        results.append(result | {"row": name, "seed": 0})
    text = table(results)
    assert text.count(", met") + text.count("MISSED") == 4


def test_a_pulse_is_found_where_the_input_leaves_its_median() -> None:
    from benchmarks.reproduce.lfads_chaotic import pulse_errors

    inputs = np.full((2, 50, 1), 3.0)
    inputs[0, 20], inputs[1, 30] = 3.5, 1.0
    assert pulse_errors(inputs, np.array([18, 31])).tolist() == [2, -1]


def test_smoothing_a_constant_rate_finds_the_rate() -> None:
    from benchmarks.reproduce.lfads_chaotic import smoothed_r2
    from benchmarks.reproduce.systems.spiking import SpikingTrials

    rates = np.repeat([[[1.0, 2.0]], [[3.0, 5.0]]], 40, axis=1)
    trials = SpikingTrials(rates.astype(np.int64), rates, rates, np.arange(2), bin_s=0.01)
    assert smoothed_r2(trials) == pytest.approx(1.0, abs=1e-6)


def test_stitched_sessions_are_halves_of_one_network() -> None:
    from benchmarks.reproduce.lfads_stitching import ROWS, run, table, two_sessions
    from benchmarks.reproduce.systems.chaotic import simulate_chaotic

    row = _brief(ROWS["stitched"], n_conditions=3, n_repeats=8)
    row = replace(row, n_train=2)
    whole = simulate_chaotic(row.recipe, seed=0)
    first, second = two_sessions(row.recipe, 0).values()
    np.testing.assert_array_equal(
        np.concatenate([first.rates, second.rates], 2), whole.select(np.r_[:4, 8:12, 16:20]).rates
    )
    np.testing.assert_array_equal(second.counts[0], whole.counts[4, :, 25:])
    results = []
    for name, like in ROWS.items():
        result = run(replace(row, sessions=like.sessions), 0, _silent)
        assert set(result["rate_r2"]) == set(like.sessions)
        results.append(result | {"row": name, "seed": 0})
    assert "by seed" in table(results)


@pytest.mark.slow
def test_an_experiment_runs_from_the_command_line_and_is_not_run_twice(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "benchmarks.reproduce.lfads_identity", "--steps", "2", "--seeds", "0",
        "--rows", "no CD", "--processes", "1", "--out", str(tmp_path),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    (result,) = tmp_path.glob("lfads_identity/no_CD-*-0.json")
    assert list(json.loads(result.read_text())["snapshots"]) == ["2"]
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "s/step" not in again.stderr
    assert again.stdout == first.stdout
