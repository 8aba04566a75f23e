"""Few-shot alignment: only what belongs to the new session changes, and the run is one like any other."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from nwb_latents.models.parts.principal_frame import mean_entry
from nwb_latents.pipeline.errors import DataError, MachineError, PartialFailure, SettingsError
from nwb_latents.pipeline.stages import align_beside
from nwb_latents.pipeline.stages.align import align
from nwb_latents.pipeline.stages.align_scores import few_shot_table, score_alignments
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog, update_catalog
from nwb_latents.pipeline.stores.measurements import measurement_records, read_measurements
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.stores.trials import read_trials
from nwb_latents.pipeline.training import alignment, read_in_start
from nwb_latents.pipeline.training.checkpoint import read_weights
from nwb_latents.pipeline.training.feed import session_tensors
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.run_files import read_config
from nwb_latents.schemas.align import AlignOptimiserSettings, AlignSettings, ScratchSettings
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.training import BatchSettings, TrainSettings

NEW, OLD = "sub-C_ses-CO-1", ("sub-A_ses-CO-1", "sub-B_ses-CO-1")
OWN = {
    "read_in.weight.blocks.0",
    "read_in.bias.blocks.0",
    "read_out.weight.blocks.0",
    "read_out.bias.blocks.0",
    "likelihood.raw_variance.blocks.0",
    "state_noise.blocks.0",
}


def train_settings(**model):
    small = MDSSMSettings(
        latent_dim=3, rank=1, dynamics_width=8, hyper_width=8, encoder_width=8,
        read_in=ReadInSettings(hidden=8, width=4), **model,
    )  # fmt: skip
    return TrainSettings(model=small, batch=BatchSettings(trials_per_session=4), max_steps=2, device="cpu")


def settings(**changes):
    brief = {"max_steps": 3, "starts": 1, "scratch": ScratchSettings(max_steps=3), "device": "cpu"}
    return AlignSettings(**{**brief, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with three sessions and a run called ``mine`` that was trained on two of them."""
    from conftest import Reaches, recording_of
    from stages.conftest import store_recording

    catalog = tmp_path_factory.mktemp("align") / "catalog.yaml"
    for seed, subject in enumerate("ABC"):
        reaches = Reaches(n_trials=30, n_units=7 + seed, seed=seed)
        store_recording(catalog, recording_of(reaches), subject=subject)
    train(catalog, train_settings(), sessions=OLD, run_name="mine")
    return catalog.parent


@pytest.fixture
def catalog(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "work") / "catalog.yaml"


def weights(catalog, run):
    return read_weights(catalog.parent / "runs" / run / "best.safetensors")


def bits(tensor):
    return tensor.numpy().tobytes()


def test_what_sessions_share_keeps_every_bit_and_what_is_the_sessions_own_is_trained(catalog):
    (entry,) = align(catalog, settings(), run="mine", sessions=[NEW], trials=[4])
    before, after = weights(catalog, "mine"), weights(catalog, entry.run)
    assert set(before) == set(after)
    assert set(after) > OWN
    for name in set(after) - OWN:
        assert bits(after[name]) == bits(before[name]), name
    untrained, _ = alignment.aligned_model(
        read_config(catalog.parent / entry.path, run_key=None).settings, {NEW: 9}, before
    )
    for name in OWN:
        assert not torch.equal(after[name], untrained.state_dict()[name]), name


@pytest.mark.parametrize("conditioner", ["low_rank", "linear", "concat", "shared"])
@pytest.mark.parametrize("per_session_noise", [True, False])
def test_every_conditioner_is_aligned(catalog, conditioner, per_session_noise):
    model = {"conditioner": conditioner, "per_session_noise": per_session_noise}
    train(catalog, train_settings(**model), sessions=OLD, run_name="other")
    (entry,) = align(catalog, settings(), run="other", sessions=[NEW], trials=[2])
    before, after = weights(catalog, "other"), weights(catalog, entry.run)
    changed = {name for name in after if bits(before[name]) != bits(after[name])}
    assert changed == (OWN if per_session_noise else OWN - {"state_noise.blocks.0"})


def test_a_run_in_double_precision_keeps_its_bits_too(catalog):
    double = train_settings().model_copy(update={"precision": "64-true"})
    train(catalog, double, sessions=OLD, run_name="double")
    (entry,) = align(catalog, settings(), run="double", sessions=[NEW], trials=[2])
    before, after = weights(catalog, "double"), weights(catalog, entry.run)
    assert after["initial.mean"].dtype == torch.float64
    assert {name for name in after if bits(before[name]) != bits(after[name])} == OWN


def test_counts_are_aligned_too(catalog):
    seen = {"signal": "counts", "input_smoothing": "recorded"}
    counts = train_settings(likelihood="poisson").model_copy(update=seen)
    train(catalog, counts, sessions=OLD, run_name="counts")
    (entry,) = align(catalog, settings(), run="counts", sessions=[NEW], trials=[2])
    assert load_run(catalog.parent / entry.path).scalings[NEW].scaled_target is False


def test_the_run_says_what_it_is_made_of_and_is_found_again(catalog):
    events = []
    words = {"run": "mine", "sessions": [NEW], "trials": [4]}
    (entry,) = align(catalog, settings(seed=5), **words, report=events.append)
    made = entry.alignment
    assert (made.parent, made.n_trials, made.seed, made.from_scratch) == ("mine", 4, 5, False)
    assert read_catalog(catalog).runs[entry.run] == entry
    assert entry.sessions == (NEW,)
    config = read_config(catalog.parent / entry.path, run_key=None)
    assert config.pretrained_on == OLD
    trials = read_trials(catalog.parent / read_catalog(catalog).sessions[f"{NEW}@{entry.recipe_id}"].store)
    split = dict(zip(trials["trial"].values.tolist(), trials["split"].values, strict=True))
    assert [split[trial] for trial in config.sessions[NEW].trials] == ["train"] * 4
    assert align(catalog, settings(seed=5), **words, report=events.append) == [entry]
    told = [e for e in events if e.event == "run"]
    assert [e.status for e in told] == ["done", "skipped"]
    assert (told[0].session, told[0].n_trials, told[0].parent) == (NEW, 4, "mine")


def test_an_aligned_run_reads_no_trial_it_was_not_given(catalog, monkeypatch):
    """Scaling, weights and stopping are those of the few trials: other trials may hold anything."""
    (entry,) = align(catalog, settings(), run="mine", sessions=[NEW], trials=[4])
    first = weights(catalog, entry.run)
    given = set(read_config(catalog.parent / entry.path, run_key=None).sessions[NEW].trials)

    spoilt_rows = []

    def spoilt(store, **named):
        session = open_session(store, **named).loaded()
        assert session.name == NEW
        trials = session.trials
        others = [row for row, trial in enumerate(trials["trial"].values) if int(trial) not in given]
        trials["rates"].values[others] = 1e6
        spoilt_rows.extend(others)
        return session

    monkeypatch.setattr("nwb_latents.pipeline.training.training_start.open_session", spoilt)
    (again,) = align(catalog, settings(), run="mine", sessions=[NEW], trials=[4], force=True)
    assert again.run == entry.run
    assert {n: bits(t) for n, t in weights(catalog, again.run).items()} == {
        n: bits(t) for n, t in first.items()
    }
    assert spoilt_rows


def start_of(catalog, **changes):
    """Weights after one step of a learning rate that changes nothing."""
    still = {"max_steps": 1, "optimiser": {"lr": 1e-12}}
    words = {"run": "mine", "sessions": [NEW], "trials": [8]}
    (entry,) = align(catalog, settings(**still, **changes), **words)
    return entry, weights(catalog, entry.run)


def test_the_read_in_starts_at_what_the_conditions_look_like_in_other_sessions(catalog):
    _, random = start_of(catalog, start="random")
    entry, fitted = start_of(catalog)
    held = read_catalog(catalog).sessions
    of = {s: open_session(catalog.parent / held[f"{s}@{entry.recipe_id}"].store) for s in (*OLD, NEW)}
    parent = load_run(catalog.parent / "runs" / "mine")
    means = read_in_start.condition_means(parent, [of[s] for s in OLD])
    given = read_config(catalog.parent / entry.path, run_key=None).sessions[NEW].trials
    few = of[NEW].select(np.flatnonzero(of[NEW].trials["trial"].isin(given)))
    run = load_run(catalog.parent / entry.path)
    assert run.settings.signal == "rates"
    y = session_tensors(few, run.scalings[NEW], run.settings).y
    wanted = torch.stack([means[str(c)] for c in few.condition])

    def distance(start):
        read_in = y @ start["read_in.weight.blocks.0"][0] + start["read_in.bias.blocks.0"][0]
        return float((read_in - wanted).square().mean())

    assert distance(fitted) < 0.5 * distance(random)


def test_without_the_stores_of_the_run_the_read_in_starts_at_random(catalog):
    content = read_catalog(catalog)
    left = {key: e for key, e in content.sessions.items() if e.session != OLD[0]}
    update_catalog(catalog, lambda c: c.model_copy(update={"sessions": left}))
    events = []
    align(catalog, settings(), run="mine", sessions=[NEW], trials=[2], report=events.append)
    assert [e.status for e in events if e.event == "note"] == ["random start"]


def test_a_session_of_a_run_that_began_in_frames_begins_in_its_own(catalog):
    train(catalog, train_settings(start="principal"), sessions=OLD, run_name="framed")
    still = settings(max_steps=1, optimiser={"lr": 1e-12}, start="random")
    (entry,) = align(catalog, still, run="framed", sessions=[NEW], trials=[8])
    start = weights(catalog, entry.run)
    read_out = start["read_out.weight.blocks.0"][0, :, 0]
    assert (read_out.square().sum(0) - len(read_out) / 3).abs().max() < 1e-4  # axes of a frame
    unit_by_unit = read_out * (3 / len(read_out)) @ mean_entry(weights(catalog, "framed")).weight
    torch.testing.assert_close(start["read_in.weight.blocks.0"][0], unit_by_unit, atol=1e-5, rtol=1e-4)


def test_one_trial_is_enough(catalog):
    words = {"run": "mine", "sessions": [NEW], "trials": [1], "from_scratch": True}
    for share in (0.0, 0.5):
        aligned, scratch = align(catalog, settings(validation_share=share), **words)
        assert not aligned.alignment.from_scratch
        assert scratch.alignment.from_scratch
        for entry in (aligned, scratch):
            assert "val_loss" not in entry.metrics
            assert np.isfinite(entry.metrics["loss"])


def test_trials_held_back_choose_the_step(catalog):
    (entry,) = align(
        catalog, settings(validation_share=0.25, validate_every=1), run="mine", sessions=[NEW], trials=[8]
    )
    assert np.isfinite(entry.metrics["best_val_loss"])


def test_a_sweep_makes_a_run_of_each_and_more_trials_include_the_fewer(catalog):
    entries = align(
        catalog, settings(), run="mine", sessions=[NEW], trials=[2, 4], seeds=2, from_scratch=True
    )
    made = [(e.alignment.n_trials, e.alignment.seed, e.alignment.from_scratch) for e in entries]
    assert made == [(n, seed, scratch) for n in (2, 4) for seed in (0, 1) for scratch in (False, True)]
    assert len({e.run for e in entries}) == 8
    chosen = {
        (e.alignment.n_trials, e.alignment.seed): read_config(catalog.parent / e.path, run_key=None)
        .sessions[NEW]
        .trials
        for e in entries
    }
    assert set(chosen[2, 0]) < set(chosen[4, 0])
    assert chosen[4, 0] != chosen[4, 1]


def test_the_baseline_has_nothing_of_the_parent(catalog):
    _, scratch = align(catalog, settings(), run="mine", sessions=[NEW], trials=[4], from_scratch=True)
    before, after = weights(catalog, "mine"), weights(catalog, scratch.run)
    untouched = {name for name in after if name in before and bits(after[name]) == bits(before[name])}
    assert not untouched
    assert read_config(catalog.parent / scratch.path, run_key=None).pretrained_on == ()


def test_aligned_runs_are_scored_on_test_trials(catalog, monkeypatch):
    for name in ("draw_velocity", "draw_trajectories", "draw_summary"):
        monkeypatch.setattr(
            f"nwb_latents.pipeline.evaluation.figures.velocity.{name}", lambda *args, **kwargs: None
        )
    entries = align(catalog, settings(), run="mine", sessions=[NEW], trials=[8], seeds=2, from_scratch=True)
    scores = score_alignments(catalog, entries, DecodeSettings(), ensemble=True, device="cpu")
    of_runs = {(s.run, s.name, s.source) for s in scores if s.run}
    assert of_runs == {
        (e.run, metric, source)
        for e in entries
        for metric, source in (
            ("rates_r2", "reconstruction"),
            ("velocity_r2", "reconstruction"),
            ("velocity_r2", "forecast"),
            ("velocity_r2", "forecast_decoded"),
            ("velocity_r2", "ensemble"),
        )
    }
    assert {s.split for s in scores} == {"test"}
    (stored,) = [e for e in read_catalog(catalog).sessions.values() if e.session == NEW]
    session = open_session(catalog.parent / stored.store).loaded()
    test = session.select(session.rows("test"))
    for entry in entries:
        (rates,) = [s for s in scores if (s.run, s.name) == (entry.run, "rates_r2")]
        rebuilt = load_run(catalog.parent / entry.path, device="cpu").reconstruct(test)
        true = test.trials["rates"].values.astype(float)
        expected = 1 - ((true - rebuilt) ** 2).sum() / ((true - true.mean((0, 1))) ** 2).sum()
        assert (rates.value, rates.n_trials) == (pytest.approx(expected, abs=1e-5), test.n_trials)
    aligned, scratch, shared, linear, factors = few_shot_table(entries, scores)
    assert (shared.method, shared.forecast.n) == ("shared_factors", 2)
    means = [s for s in scores if s.source == "ensemble"]
    assert {tuple(s.details["weights"])[1] for s in means} == {"shared_factors", "trial_factors"}
    assert (aligned.method, scratch.method) == ("aligned", "from scratch")
    assert (linear.method, factors.method) == ("linear_forecast", "trial_factors")
    assert {row.n_trials for row in (aligned, scratch, linear, factors)} == {8}
    mine = [s.value for s in scores if s.run in {entries[0].run, entries[2].run} and s.source == "forecast"]
    assert aligned.forecast.mean == pytest.approx(np.mean(mine))
    alone = [s.value for s in scores if s.stage == "align" and s.source == "trial_factors"]
    assert (len(alone), factors.forecast.mean) == (2, pytest.approx(np.mean(alone)))
    mean = [s.value for s in scores if s.run in {entries[0].run, entries[2].run} and s.source == "ensemble"]
    assert aligned.ensemble.mean == pytest.approx(np.mean(mean))
    assert linear.ensemble is linear.rates is None
    assert aligned.forecast.error == pytest.approx(np.std(mine, ddof=1) / np.sqrt(2))
    kept = measurement_records(read_measurements(catalog))
    assert {s.key: s.value for s in scores}.items() <= {s.key: s.value for s in kept}.items()
    assert all(s.run_key for s in kept if s.run)


def test_what_is_wrong_with_the_mean_of_one_run_takes_nothing_from_the_others(catalog, monkeypatch):
    for name in ("draw_velocity", "draw_trajectories", "draw_summary"):
        monkeypatch.setattr(
            f"nwb_latents.pipeline.evaluation.figures.velocity.{name}", lambda *args, **kwargs: None
        )
    entries = align(catalog, settings(), run="mine", sessions=[NEW], trials=[8], seeds=2)
    foresee = align_beside.foresight

    def wrong_once(run, *rest):
        if run.name == entries[0].run:
            raise ValueError("odd weights")
        return foresee(run, *rest)

    monkeypatch.setattr(align_beside, "foresight", wrong_once)
    said = []
    scores = score_alignments(
        catalog, entries, DecodeSettings(), ensemble=True, device="cpu", report=said.append
    )
    assert {s.run for s in scores if s.source == "ensemble"} == {entries[1].run}
    assert {s.run for s in scores if s.source == "forecast"} == {entry.run for entry in entries}
    (failed,) = [event for event in said if getattr(event, "status", "") == "failed"]
    assert (failed.run, "odd weights" in failed.reason) == (entries[0].run, True)


def test_of_one_trial_rates_alone_are_scored_and_that_is_said(catalog):
    entries = align(catalog, settings(), run="mine", sessions=[NEW], trials=[1])
    events = []
    scores = score_alignments(catalog, entries, DecodeSettings(), device="cpu", report=events.append)
    assert {s.name for s in scores} == {"rates_r2"}
    (note,) = [event for event in events if event.event == "note"]
    assert "was given one trial" in note.text
    (row,) = few_shot_table(entries, scores)
    assert row.rates is not None
    assert row.forecast is row.reconstruction is None


def test_a_change_outside_the_session_is_refused(catalog, monkeypatch):
    from nwb_latents.pipeline.training import loop

    fit = loop.fit

    def careless(*args, trainable, **words):
        return fit(*args, trainable=lambda name: trainable(name) or name == "initial.mean", **words)

    monkeypatch.setattr(loop, "fit", careless)
    with pytest.raises(
        PartialFailure, match=r"alignment changed initial.mean, which is the parent's"
    ) as caught:
        align(catalog, settings(), run="mine", sessions=[NEW], trials=[4])
    assert caught.value.exit_code == DataError.exit_code
    assert list(read_catalog(catalog).runs) == ["mine"]
    assert not list(catalog.parent.glob("runs/mine-n4-*/run.json"))


def test_a_pattern_leaves_out_what_the_run_was_trained_on(catalog):
    events = []
    entries = align(catalog, settings(), run="mine", sessions=["sub-*"], trials=[2], report=events.append)
    assert [e.sessions for e in entries] == [(NEW,)]
    assert [e.session for e in events if e.event == "note"] == list(OLD)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"run": "mime"}, r"No run is called mime. Did you mean mine\?"),
        ({"sessions": [OLD[0]]}, "was trained on sub-A_ses-CO-1 already"),
        ({"sessions": ["sub-C_ses-CO-2"]}, "nearest are sub-C_ses-CO-1"),
        (
            {"trials": [2, 500]},
            r"--trials 500: more trials than the training split holds: sub-C_ses-CO-1 has",
        ),
    ],
)
def test_wrong_uses_are_refused_before_anything_is_made(catalog, changes, says):
    words = {"run": "mine", "sessions": [NEW], "trials": [2], **changes}
    with pytest.raises(DataError, match=says):
        align(catalog, settings(), **words)
    assert [path.name for path in catalog.parent.glob("runs/*")] == ["mine"]


def test_a_store_of_another_recipe_is_refused_with_both_shapes(
    catalog, make_reaches, as_recording, enter_recording
):
    coarse = IngestRecipe(bin_size_s=0.05, window_s=(-0.25, 0.45))
    enter_recording(catalog, as_recording(make_reaches()), coarse, subject="D")
    with pytest.raises(DataError, match=r"14 bins of 0.05 s; run mine .* 36 bins of 0.02 s"):
        align(catalog, settings(), run="mine", sessions=["sub-D*"], trials=[2])


def test_a_baseline_is_no_parent_and_an_alignment_is_not_trained_on(catalog):
    aligned, scratch = align(catalog, settings(), run="mine", sessions=[NEW], trials=[2], from_scratch=True)
    with pytest.raises(DataError, match="is a baseline"):
        align(catalog, settings(), run=scratch.run, sessions=[OLD[0]], trials=[2])
    with pytest.raises(SettingsError, match="is an alignment of mine"):
        train(catalog, train_settings(), resume=aligned.run)
    with pytest.raises(DataError, match="was trained on sub-A_ses-CO-1 already"):
        align(catalog, settings(), run=aligned.run, sessions=[OLD[0]], trials=[2])


def test_runs_that_fail_do_not_stop_the_others(catalog, monkeypatch):
    from nwb_latents.pipeline.training import loop

    fit = loop.fit

    def fails_once(model, feeds, asked, *args, **words):
        if asked.seed == 0:
            raise MachineError("no GPU")
        return fit(model, feeds, asked, *args, **words)

    monkeypatch.setattr(loop, "fit", fails_once)
    with pytest.raises(PartialFailure, match=r"1 of 2 alignments failed.*no GPU") as caught:
        align(catalog, settings(), run="mine", sessions=[NEW], trials=[2], seeds=2)
    assert [e.alignment.seed for e in caught.value.results] == [1]
    assert caught.value.exit_code == 3


def test_a_setting_of_the_optimiser_keeps_the_others(catalog):
    (entry,) = align(
        catalog, settings(optimiser={"weight_decay": 0.1}), run="mine", sessions=[NEW], trials=[2]
    )
    used = read_config(catalog.parent / entry.path, run_key=None).settings.optimiser
    assert (used.weight_decay, used.lr) == (0.1, AlignOptimiserSettings().lr)


def test_trials_of_each_condition_come_in_turn(catalog):
    entry = next(e for e in read_catalog(catalog).sessions.values() if e.session == NEW)
    session = open_session(catalog.parent / entry.store).loaded()
    trials = session.trials
    for seed in range(3):
        rows = alignment.trial_order(session, choice="stratified", seed=seed)
        labels = trials["condition"].values[rows]
        kinds = len(set(labels))
        assert len(set(labels[:kinds])) == kinds
        assert set(trials["split"].values[rows]) == {"train"}
    first = alignment.trial_order(session, choice="first", seed=0)
    assert (np.diff(first) > 0).all()
