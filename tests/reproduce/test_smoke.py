"""The experiments of ``benchmarks/reproduce`` run, train only what they say, and go on where they stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def _tiny(plan: object) -> object:
    """The small Duffing and Hopf experiment, made tiny."""
    names = list(plan.pretrain)[:2]
    return replace(
        plan,
        pretrain={name: plan.pretrain[name] for name in names},
        recipe=replace(plan.recipe, n_bins=24, n_trials={"train": 9, "val": 0, "test": 4}, n_units=(4, 7)),
        t0=12, horizon=20, steps=2, align_steps=2, single_steps=2, shots=(1, 8), restarts=2,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["MDSSM", "Linear-Adapter", "Embedding-Input", "Shared-Dynamics"])
def test_a_method_is_trained_and_aligned_to_few_trials(method: str) -> None:
    from benchmarks.reproduce.duffing_hopf import PLANS
    from benchmarks.reproduce.experiment import run_job
    from benchmarks.reproduce.hopf import few_shot_table
    from benchmarks.reproduce.tables import mean_sem

    plan = _tiny(PLANS["small"])
    lines: list[str] = []
    result = run_job(plan, method, 0, lines.append)
    assert lines[0].startswith(f"{method} 0: step 2/2")
    assert list(result["few_shot"]) == ["1", "8"]
    for scores in result["few_shot"].values():
        assert set(scores) == set(plan.held_out)
        assert {len(score["losses"]) for score in scores.values()} == {2}
        # Bins 12 to 23 are all there is ahead, whatever the horizon.
        assert {len(score[what]) for score in scores.values() for what in ("forecast", "ceiling")} == {12}
    shown = few_shot_table(plan, [result], 10)
    values = [score["forecast"][9] for score in result["few_shot"]["8"].values()]
    assert f"| {method} | 0 |" in shown
    assert f"| {mean_sem(values)} |" in shown


def test_single_session_models_know_one_recording_each() -> None:
    from benchmarks.reproduce.experiment import SINGLE, run_job
    from benchmarks.reproduce.hopf import PLANS

    plan = _tiny(PLANS["small"])
    result = run_job(plan, SINGLE, 0, lambda line: None)
    assert "pretrain" not in result
    assert set(result["few_shot"]["8"]) == set(plan.held_out)


def test_alignment_changes_nothing_but_what_the_new_recordings_own() -> None:
    from benchmarks.reproduce import experiment
    from benchmarks.reproduce.duffing_hopf import PLANS

    plan = _tiny(PLANS["small"])
    recordings = experiment._simulated(plan.pretrain, plan, 0)
    held_out = experiment._simulated(plan.held_out, plan, 0)
    model = experiment.build_model(
        experiment._model_settings(plan, "MDSSM"), experiment._units(recordings), seed=0
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    experiment._align(plan, model, held_out, seed=0, show=lambda line: None)
    for name, value in model.state_dict().items():
        if name in before:
            assert torch.equal(value, before[name]), name
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        "read_in.weight.blocks.1",
        "read_in.bias.blocks.1",
        "read_out.weight.blocks.1",
        "read_out.bias.blocks.1",
        "likelihood.raw_variance.blocks.1",
        "state_noise.blocks.1",
    }


@pytest.mark.slow
def test_an_experiment_runs_from_the_command_line_and_is_not_run_twice(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "benchmarks.reproduce.limit_cycle", "--steps", "2", "--seeds", "0",
        "--methods", "MDSSM", "Shared-Dynamics", "--processes", "1", "--out", str(tmp_path),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "reconstruction of all ≥ .98" in first.stdout
    (result,) = tmp_path.glob("*/MDSSM-0.json")
    assert len(json.loads(result.read_text())["pretrain"]) == 8
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "s/step" not in again.stderr
    assert again.stdout == first.stdout


@pytest.mark.parametrize("name", ["Arneodo, vector field", "Rössler, GRU"])
def test_an_attractor_is_learnt_and_its_fixed_points_are_looked_for(name: str) -> None:
    from benchmarks.reproduce.node_sae import ROWS, run, table
    from benchmarks.reproduce.systems.attractors import AttractorRecipe

    row = ROWS[name]
    brief = replace(
        row, recipe=AttractorRecipe(n_trials=15, n_bins=12), schedule=replace(row.schedule, steps=2)
    )  # fmt: skip
    result = {"row": name, "seed": 0} | run(brief, 0, lambda line: None)
    assert result["rate_r2"] < 1
    assert result["state_r2"] <= 1
    if row.dynamics == "gru":
        assert "fixed_points" not in result
    else:
        assert [point["true_rates"][0][0] > 0 for point in result["fixed_points"]] == [True] * 3
    shown = table([result])
    published = "0.906 / 0.934" if row.dynamics != "gru" else "0.278 / 0.160"
    assert f"| {name} | 0 | {result['rate_r2']:.3f} |" in shown
    assert published in shown


def test_fixed_points_of_the_true_map_are_found_in_any_coordinates() -> None:
    import numpy as np

    from benchmarks.reproduce.node_sae import fixed_points
    from benchmarks.reproduce.systems.attractors import ATTRACTORS, AttractorRecipe, attractor_trials

    true = attractor_trials("arneodo", AttractorRecipe(n_trials=40), seed=0)
    turn = torch.tensor([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.5, 2.0]], dtype=torch.float64)
    flow = ATTRACTORS["arneodo"]

    class Known:
        def double(self) -> Known:
            return self

        def step(self, z: torch.Tensor) -> torch.Tensor:
            x, y, w = ((z - 1) @ torch.linalg.inv(turn)).unbind(-1)
            velocity = torch.stack([y, w, 5.5 * x - 4.5 * y - w - x**3], -1) @ turn
            return z + flow.dt * velocity

    points = fixed_points(Known(), true @ turn.numpy() + 1, true, "arneodo", seed=0)
    for point, values in zip(points, flow.eigenvalues(), strict=True):
        assert point["n_found"] == 3
        assert point["distance"] == pytest.approx(0, abs=1e-3)
        expected = np.log(1 + flow.dt * values) / flow.dt
        found = np.array([complex(*rate) for rate in point["rates"]])
        np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(expected), atol=1e-2)


@pytest.mark.parametrize("row", ["x0", "lfads"])
def test_a_row_of_the_diffusion_table_is_trained_without_the_sector_left_out(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.reproduce import gnocchi

    monkeypatch.setattr(gnocchi, "TRAIN", 80)
    monkeypatch.setattr(gnocchi, "TEST", 60)
    shown = []
    original = gnocchi._fit

    def watched(model: object, reaches: gnocchi.Reaches, *arguments: object, **options: object) -> None:
        shown.append(reaches)
        original(model, reaches, *arguments, **options)

    monkeypatch.setattr(gnocchi, "_fit", watched)
    lines: list[str] = []
    found = gnocchi.measure(row, seed=0, steps=2, show=lines.append)
    assert lines[0].startswith(f"{row}: step 2/2")
    train, _ = gnocchi.simulate(0)
    assert not shown[0].in_sector.any()
    assert len(shown[0].observed) == 80 - train.in_sector.sum() < 80
    assert found["dci"].importance.shape == (gnocchi.CODE_DIM, 3)
    assert gnocchi.line(found).count("|") == gnocchi.HEADER.splitlines()[0].count("|")


def test_a_session_of_known_rates_is_submitted_checked_and_scored() -> None:
    from benchmarks.reproduce.nlb import NULL, ROW_NAMES, ROWS, TRUE, run, simulate, table
    from nwb_latents.schemas.baselines import BaselineSettings

    row = ROWS["20 ms"]
    brief = replace(
        row, n_samples=0,
        network=replace(row.network, n_conditions=4), schedule=replace(row.schedule, steps=2),
        smoothing=BaselineSettings(sigmas_ms=(60.0,), penalties=(1.0,), folds=2),
    )  # fmt: skip
    made = simulate(brief, 0)
    assert made.task.train.shape == (32, 35, 182)
    assert made.task.train_heldout.shape[2] == 45
    fine = simulate(replace(brief, bin_size_ms=5), 0)
    summed = fine.rates.reshape(*made.rates.shape[:2], 4, 182).sum(2)
    assert abs(summed - made.rates).max() < 1e-9
    result = {"row": "20 ms", "seed": 0} | run(brief, 0, lambda line: None)
    assert result["apart"] < 1e-9
    assert set(result["scores"]) == set(ROW_NAMES)
    assert result["scores"][NULL] == {"co_bps": 0, "fp_bps": 0}
    assert result["scores"][TRUE]["co_bps"] > 0.2
    shown = table([result])
    assert f"| 20 ms | true rates | 0 | {result['scores'][TRUE]['co_bps']:.3f} |" in shown
    assert "- the null is 0, greatest distance: 0.000, met" in shown


@pytest.mark.slow
def test_codes_of_simulated_sessions_are_learnt_without_the_target_left_out() -> None:
    import numpy as np

    from benchmarks.reproduce import gnocchi_sessions as sessions

    results = []
    for name in ("GNOCCHI", "LFADS, 32"):
        row = sessions.ROWS[name]
        brief = replace(row, n_trials=70, n_targets=5, schedule=replace(row.schedule, steps=2))
        results.append({"row": name, "seed": 0, "seconds": 1.0} | sessions.run(brief, 0, lambda line: None))
    for session in sessions.record(0, 70, 5, 2).sessions.values():
        unseen = session.rows(sessions.UNSEEN)
        assert set(session.target[unseen]) == {2}
        assert set(session.target[~unseen]) == {0, 1, 3, 4}
        angle = np.arctan2(session.behaviour[:, 1], session.behaviour[:, 0])
        np.testing.assert_allclose(np.cos(angle - session.target * 2 * np.pi / 5), 1, atol=1e-6)
    shown = sessions.table(results)
    assert shown.count("| LFADS, 32 |") == 1
    assert shown.count("| GNOCCHI, principal components |") == 1


def test_a_radius_is_read_from_products_of_dimensions_and_not_linearly() -> None:
    import numpy as np
    import xarray as xr

    from benchmarks.reproduce.gnocchi_sessions import CodedSession, of_code

    rng = np.random.default_rng(0)
    angle, speed = rng.uniform(-np.pi, np.pi, 300), rng.uniform(0.7, 1.3, 300)
    behaviour = np.c_[np.cos(angle), np.sin(angle), speed]
    code = np.c_[behaviour[:, :2] * speed[:, None], rng.normal(size=(300, 2))]
    split = xr.Dataset({"split": ("trial", np.where(np.arange(300) < 200, "train", "test"))})
    found = of_code(code, CodedSession(split, behaviour, np.zeros(300, np.int64)), 0)
    assert found["linear"][0] > 0.9
    assert found["linear"][2] < 0.1
    assert found["products"][2] > 0.8
