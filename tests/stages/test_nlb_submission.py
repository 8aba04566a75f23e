"""A simulated dandiset as large as the benchmark's, from NWB file to scored submission."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.nlb.files import read_submission
from nwb_latents.pipeline.evaluation.nlb.scores import read_targets, score_rates, score_submission
from nwb_latents.pipeline.evaluation.nlb.submission import check_submission
from nwb_latents.pipeline.evaluation.spike_task import spike_task
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.simulator.dandiset import simulate_dandiset
from nwb_latents.pipeline.stages.export import export
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.nlb_submission import submit
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import read_measurements
from nwb_latents.pipeline.stores.nlb_settings import nlb_recipe
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.spike_rates import run_rates
from nwb_latents.schemas.export import NlbExport
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {
    "model": {"name": "ndt", "layers": 1, "hidden": 16, "read_in": {"hidden": 16, "width": 16}},
    "batch": {"trials_per_session": 16}, "device": "cpu", "max_steps": 8, "validate_every": 4,
    "optimiser": {"lr": 3e-3}, "standardise": False, "forward_ms": 200,
}  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the catalog of two sessions, with a run that hid held-out units and one that did not."""
    folder = tmp_path_factory.mktemp("nlb")
    sizes = SimulateSettings(
        preset="classic", layout="nlb", n_units=(182, 182), n_subjects=1, n_sessions=2, n_trials=40
    )
    simulate_dandiset(folder / "nwb", sizes)
    path = folder / "catalog.yaml"
    ingest(path, FolderSource([folder / "nwb"]), nlb_recipe("mc_maze", bin_size_ms=20))
    for name, hidden in {"hid": True, "saw": False}.items():
        train(path, TrainSettings.model_validate(SMALL | {"co_smoothing": hidden}), run_name=name)
    return path


def test_a_simulated_dandiset_holds_out_45_of_182_units(catalog: Path) -> None:
    for entry in read_catalog(catalog).sessions.values():
        trials = open_session(catalog.parent / entry.store).trials
        assert (trials.sizes["unit"], int(trials["heldout"].sum())) == (182, 45)
        assert (trials.sizes["time"], entry.bin_size_s) == (35, 0.02)


@pytest.mark.parametrize("phase", ["test", "val"])
def test_a_run_becomes_a_submission_that_is_right_and_scores_what_memory_does(
    catalog: Path, tmp_path: Path, phase: str
) -> None:
    settings = NlbExport(phase=phase)
    done = submit(catalog, settings, run="hid", out=tmp_path, device="cpu")
    assert (done.path.name, done.targets.name) == (f"hid_{phase}.h5", f"hid_{phase}_targets.h5")
    assert check_submission(done.path, done.targets) == []
    exported = export(catalog, "nlb", settings=settings, out=tmp_path / "nlb")
    assert check_submission(done.path, [one.path for one in exported]) == []
    found = score_submission(done.path, done.targets)
    assert list(found) == [f"{session}_20" for session in done.sessions]
    assert len(found) == 2
    run = load_run(catalog.parent / "runs" / "hid", device="cpu")
    for one in exported:
        group, session = f"{one.entry.session}_20", one.entry.session
        store = catalog.parent / one.entry.store
        loaded = open_session(store).loaded()
        trials = loaded.trials
        _, answers = spike_task(loaded, heldout=trials["heldout"].values, phase=phase)
        own = read_targets(one.path)[group]
        assert own["train_trial"].tolist() == trials["trial"].values[answers.train_rows].tolist()
        prediction, _ = run_rates(run, loaded, answers, forward_bins=10)
        assert found[group] == pytest.approx(score_rates(prediction, own), rel=0, abs=1e-9), session
        assert set(found[group]) == {"co_bps", "fp_bps", "nlb_velocity_r2", "psth_r2"}
    with h5py.File(done.path) as h5, h5py.File(done.targets) as targets:
        for group in h5:
            for name, rates in h5[group].items():
                assert rates.shape == targets[group][name.replace("rates", "spikes")].shape
                assert rates.dtype == np.float64
                assert rates[()].min() > 0


def test_held_out_spikes_of_no_trial_reach_the_rates(catalog: Path, tmp_path: Path) -> None:
    entry = next(iter(read_catalog(catalog).sessions.values()))
    store = catalog.parent / entry.store
    loaded = open_session(store).loaded()
    trials = loaded.trials
    _, answers = spike_task(loaded, heldout=trials["heldout"].values)
    run = load_run(catalog.parent / "runs" / "hid", device="cpu")
    trials["counts"].values[..., trials["heldout"].values.astype(bool)] = 7
    blind, _ = run_rates(run, loaded, answers, forward_bins=10)
    done = submit(catalog, NlbExport(), run="hid", sessions=[entry.session], out=tmp_path, device="cpu")
    (written,) = read_submission(done.path).values()
    assert np.array_equal(written.train, blind.train)
    assert np.array_equal(written.eval, blind.eval)
    assert np.array_equal(written.eval_forward, blind.eval_forward)


def test_running_again_does_nothing_and_force_or_other_settings_do(catalog: Path, tmp_path: Path) -> None:
    def status(settings: NlbExport, **words: bool) -> str:
        return submit(catalog, settings, run="hid", out=tmp_path, device="cpu", **words).status

    assert status(NlbExport()) == "done"
    assert status(NlbExport()) == "skipped"
    assert status(NlbExport(), force=True) == "done"
    assert status(NlbExport(forward_ms=100)) == "done"
    with h5py.File(tmp_path / "hid_test.h5") as h5:
        assert {group["eval_rates_heldin_forward"].shape[1] for group in h5.values()} == {5}
    assert status(NlbExport(forward_ms=0)) == "done"
    with h5py.File(tmp_path / "hid_test.h5") as h5:
        assert {len(group) for group in h5.values()} == {4}


def test_what_cannot_be_a_submission_is_refused_with_a_remedy(catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Run saw was shown the units .*co_smoothing=true"):
        submit(catalog, NlbExport(), run="saw", out=tmp_path, device="cpu")
    with pytest.raises(SettingsError, match="key mc_maze would name the groups of 2 sessions"):
        submit(catalog, NlbExport(key="mc_maze"), run="hid", out=tmp_path)
    with pytest.raises(SettingsError, match="fitted to the recipe's own split"):
        submit(catalog, NlbExport(split="other"), run="hid", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_checks_and_scores(pipeline_command, catalog: Path, tmp_path: Path) -> None:
    session = next(iter(read_catalog(catalog).sessions.values())).session
    command = ("export", "nlb-submission")
    words = (
        "--catalog",
        catalog,
        "--run",
        "hid",
        "--session",
        session,
        "--key",
        "mc_maze",
        "--out",
        tmp_path,
    )
    shown = pipeline_command(*command, *words, "--device", "cpu", "--json")
    assert shown.returncode == 0, shown.stderr
    *notes, one, last = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [note["event"] for note in notes] == ["note"]
    assert "the benchmark has 2295 and 574 (test phase)" in notes[0]["text"]
    assert (one["session"], one["group"], one["format"]) == (session, "mc_maze_20", "nlb-submission")
    assert (last["event"], last["status"]) == ("submission", "done")
    with h5py.File(last["targets"]) as h5:
        settings = NlbExport.model_validate_json(h5.attrs["export_settings"])
        assert (settings.lag_ms, settings.psth_sigma_ms, list(h5)) == (100, 70, ["mc_maze_20"])
    checked = pipeline_command(*command, "--check", last["path"], "--targets", last["targets"], "--json")
    assert checked.returncode == 0, checked.stderr
    *scores, note = [json.loads(line) for line in checked.stdout.splitlines()]
    expected = score_submission(tmp_path / "hid_test.h5", tmp_path / "hid_test_targets.h5")["mc_maze_20"]
    # Sums of another process may be in another order: they differ in the last digit.
    expected = pytest.approx(expected, rel=1e-12)
    assert {one["name"]: one["value"] for one in scores} == expected
    assert {(one["event"], one["session"], one["split"]) for one in scores} == {
        ("measurement", session, "test")
    }  # fmt: skip
    assert note["event"] == "note"
    assert "not kept" in note["text"]
    kept = pipeline_command(
        *command, "--check", last["path"], "--targets", last["targets"], "--json", "--catalog", catalog
    )
    assert kept.returncode == 0, kept.stderr
    table = read_measurements(catalog, stages=["nlb_submission"])
    assert dict(zip(table["name"], table["value"], strict=True)) == expected
    assert set(table["run"]) == {"hid"}
    assert set(table["run_key"]) == {read_catalog(catalog).runs["hid"].run_key}
    entry = next(iter(read_catalog(catalog).sessions.values()))
    assert set(table["store_key"]) == {entry.store_key}
    own = table[table["name"] == "nlb_velocity_r2"].iloc[0]
    assert (own["decoder"], own["fitted_on"], own["lag_ms"]) == (
        "nlb_ridge",
        "own rates, train and val trials",
        100.0,
    )


def test_the_command_says_each_fault_in_a_line(pipeline_command, catalog: Path, tmp_path: Path) -> None:
    done = submit(catalog, NlbExport(), run="hid", out=tmp_path, device="cpu")
    with h5py.File(done.path, "a") as h5:
        group = h5[f"{done.sessions[0]}_20"]
        del group["train_rates_heldout"]
        group["eval_rates_heldin"][0, 0, 0] = np.nan
    words = ("export", "nlb-submission", "--check", done.path)
    for targets in ((), ("--targets", done.targets)):
        shown = pipeline_command(*words, *targets)
        assert shown.returncode == 4, shown.stderr
        assert len(shown.stdout.splitlines()) == 2
        assert "train_rates_heldout: there is no such dataset" in shown.stdout
        assert "rates are NaN or infinite" in shown.stdout
        assert "2 faults" in shown.stderr
        assert "Traceback" not in shown.stderr


def test_a_recipe_of_the_benchmark_has_a_name(pipeline_command, catalog: Path, tmp_path: Path) -> None:
    words = ("run", "ingest", "--path", catalog.parent / "nwb", "--dry-run", "--json")
    words = (*words, "--catalog", tmp_path / "catalog.yaml", "--recipe")
    shown = pipeline_command(*words, "nlb:mc_maze_20", "--set", "split.seed=3")
    assert shown.returncode == 0, shown.stderr
    plan = json.loads(shown.stdout.splitlines()[0])
    recipe = nlb_recipe("mc_maze", bin_size_ms=20)
    changed = recipe.model_copy(update={"split": recipe.split.model_copy(update={"seed": 3})})
    assert plan["recipe"] == changed.recipe_id != recipe.recipe_id
    shown = pipeline_command(*words, "nlb:mc_mace")
    assert shown.returncode == 4
    assert "no dataset 'mc_mace'; it has mc_maze, mc_rtt" in shown.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Give --run RUN, or --check FILE"),
        (("--run", "hid", "--check", "a.h5"), "one of them"),
        (("--run", "hid", "--targets", "a.h5"), "--targets goes with --check"),
    ],
)
def test_words_that_make_no_sense_together_are_refused(pipeline_command, words, says) -> None:
    shown = pipeline_command("export", "nlb-submission", *words)
    assert shown.returncode == 2, shown.stderr
    assert says in shown.stderr
