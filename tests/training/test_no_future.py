"""No forecast of any model reads a spike after the bins it is shown, nor one of another test trial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import SMALL

from nwb_latents.models.batching.tensors import pack
from nwb_latents.models.batching.views import encoder_input, observe
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.stores.lenient import CatalogWarning
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.checkpoint import load_checkpoint, read_embeddings
from nwb_latents.pipeline.training.feed import feed_sessions, session_tensors
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.run_files import BEST, LAST
from nwb_latents.pipeline.training.session_embedding import infer_embedding
from nwb_latents.schemas.registry import MODELS
from nwb_latents.schemas.training import TrainSettings

A, SEEN, AHEAD = "sub-A_ses-1", 6, 4
CASES = [(name, signal) for name in MODELS for signal in ("rates", "counts")]


def a_run(datasets, name, signal, **model):
    settings = TrainSettings.model_validate(
        {"model": {"name": name, **SMALL.get(name, {}), **model}, "signal": signal, "device": "cpu"}
    )
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    model = build_model(settings.model, {n: f.train.y.shape[2] for n, f in feeds.items()}, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for each in model.parameters():  # so that nothing stands at a 0 it starts with
            each.add_(0.05 * torch.randn_like(each))
    scalings = {n: f.scaling for n, f in feeds.items()}
    kept = {n: infer_embedding(model.eval(), f.train) for n, f in feeds.items()}
    embeddings = {n: e for n, e in kept.items() if e is not None}
    return TrainedRun("r", settings, model, scalings, torch.device("cpu"), embeddings=embeddings)


def redrawn(dataset, bins):
    """Return trials with other spikes in some bins, and rates of nothing that is so."""
    other, rng = dataset.copy(deep=True), np.random.default_rng(3)
    shape = other["counts"].values[:, bins].shape
    other["counts"].values[:, bins] = rng.integers(0, 9, shape)
    other["rates"].values[:, bins] = rng.uniform(0, 99, shape)
    return other


@pytest.mark.parametrize(("name", "signal"), CASES)
def test_no_spike_after_the_cut_is_in_a_forecast(datasets, name, signal):
    """Redraw all spikes after the cut: no bit changes. Change one before it: the forecast does."""
    run, trials = a_run(datasets, name, signal), datasets[A]

    def ahead(of):
        return run.forecast(session_in_memory(of), seen_bins=SEEN, n_bins=AHEAD)

    first = ahead(trials)
    assert np.array_equal(first, ahead(redrawn(trials, slice(SEEN, None))))
    one_more = trials.copy(deep=True)
    one_more["counts"].values[:, SEEN - 1, 0] += 1
    assert not np.array_equal(first, ahead(one_more))


@pytest.mark.parametrize("name", list(MODELS))
def test_velocity_is_read_out_of_states_of_every_model_that_hold_no_spike_after_the_cut(datasets, name):
    """What a read-out is given are states of the bins ahead, one row a bin, and not the rates."""
    run = a_run(datasets, name, TrainSettings.model_validate({"model": {"name": name}}).signal)
    made, other = (
        run.foresee(session_in_memory(of), seen_bins=SEEN, n_bins=AHEAD)
        for of in (datasets[A], redrawn(datasets[A], slice(SEEN, None)))
    )
    assert made.states is not None
    assert made.states.shape[:2] == (datasets[A].sizes["trial"], AHEAD)
    assert made.states.std(axis=0).all()
    assert np.array_equal(made.features, made.states)
    assert np.array_equal(made.features, other.features)


@pytest.mark.parametrize(("name", "signal"), CASES)
def test_no_model_reads_ahead_though_it_is_handed_whole_trials(datasets, name, signal):
    """The models by themselves, without the care `TrainedRun` takes of what it hands over."""
    run = a_run(datasets, name, signal)

    def ahead(of):
        batch = pack([session_tensors(session_in_memory(of), run.scalings[A], run.settings)])
        with torch.inference_mode():
            return run.model.forecast(batch, SEEN, AHEAD).mean

    first = ahead(datasets[A])
    assert torch.equal(first, ahead(redrawn(datasets[A], slice(SEEN, None))))
    assert not torch.equal(first, ahead(redrawn(datasets[A], slice(SEEN - 1, SEEN))))


@pytest.mark.parametrize("embedding_from", ["training", "trial"])
def test_a_model_that_reads_all_it_is_handed_is_handed_the_bins_seen_alone(
    datasets, monkeypatch, embedding_from
):
    """A model of someone else, which takes less care than those of the program."""
    run = replace(a_run(datasets, "mdssm", "counts"), embedding_from=embedding_from)
    careful = run.model.forecast

    def careless(batch, *words, **named):
        made = careful(batch, *words, **named)
        return replace(made, mean=made.mean + batch.y.sum())

    monkeypatch.setattr(run.model, "forecast", careless)
    first, later, before = (
        run.forecast(session_in_memory(of), seen_bins=SEEN, n_bins=AHEAD)
        for of in (datasets[A], *(redrawn(datasets[A], bins) for bins in (slice(SEEN, None), slice(SEEN))))
    )
    assert np.array_equal(first, later)
    assert not np.array_equal(first, before)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_of_rates_is_shown_no_recorded_rate(datasets, name):
    run, other = a_run(datasets, name, "rates"), datasets[A].copy(deep=True)
    other["rates"].values[:] = 1e3
    session, changed = map(session_in_memory, (datasets[A], other))
    assert np.array_equal(run.reconstruct(session, seed=1), run.reconstruct(changed, seed=1))


def test_training_steps_that_are_cut_show_what_a_forecast_is_shown(datasets):
    """A step that shows 6 bins encodes what a forecast from 6 bins encodes."""
    settings = TrainSettings.model_validate({"model": SMALL["mdssm"], "device": "cpu"})
    feed = feed_sessions([session_in_memory(datasets[A])], settings)[A]
    later = redrawn(datasets[A], slice(SEEN, None))
    tensors = session_tensors(session_in_memory(later), feed.scaling, settings)
    rows = torch.from_numpy(np.flatnonzero(datasets[A]["split"].values == "train"))
    assert torch.equal(
        observe(pack([feed.train])).shown(SEEN), encoder_input(pack([tensors.select(rows)]), SEEN)
    )


def others_redrawn(dataset, row):
    """Return trials of which only one is as it was."""
    other = redrawn(dataset, slice(None))
    for signal in ("counts", "rates"):
        other[signal].values[row] = dataset[signal].values[row]
    return other


@pytest.mark.parametrize("embedding_from", ["training", "trial"])
@pytest.mark.parametrize("name", list(MODELS))
def test_what_is_made_of_a_trial_hangs_on_no_other_trial_given(datasets, name, embedding_from):
    run = replace(a_run(datasets, name, "rates"), embedding_from=embedding_from)
    session, changed = map(session_in_memory, (datasets[A], others_redrawn(datasets[A], 4)))
    for made in (
        lambda of: run.forecast(of, seen_bins=SEEN, n_bins=AHEAD),
        lambda of: run.reconstruct(of, n_samples=0),
        run.states,
    ):
        one, other = made(session), made(changed)
        assert np.array_equal(one[4], other[4])
        assert not np.array_equal(one[5], other[5])
        np.testing.assert_allclose(made(session.select(np.array([4])))[0], one[4], rtol=1e-4, atol=1e-4)


def test_a_run_that_kept_no_embedding_infers_it_from_the_trials_it_was_trained_on(datasets):
    run = a_run(datasets, "mdssm", "rates")
    older, kept = replace(run, embeddings={}), run.embeddings[A]
    found = older.session_embedding(session_in_memory(datasets[A]))
    assert torch.equal(found.mean, kept.mean)
    assert torch.equal(found.var, kept.var)


def test_a_run_without_embedding_and_training_trials_takes_each_trial_by_itself_and_says_so(datasets):
    run = replace(a_run(datasets, "mdssm", "rates"), embeddings={})
    test = session_in_memory(datasets[A].isel(trial=np.flatnonzero(datasets[A]["split"].values == "test")))
    with pytest.warns(CatalogWarning, match=r"keeps no embedding of it.*from the trial itself"):
        ahead = run.forecast(test, seen_bins=SEEN, n_bins=AHEAD)
    own = replace(run, embedding_from="trial").forecast(test, seen_bins=SEEN, n_bins=AHEAD)
    assert np.array_equal(ahead, own)


def test_a_training_keeps_the_embeddings_its_best_weights_infer_of_its_trials(datasets, tmp_path):
    settings = TrainSettings.model_validate({
        "model": SMALL["mdssm"], "device": "cpu", "max_steps": 6, "validate_every": 2,
        "batch": {"trials_per_session": 4},
    })  # fmt: skip
    feeds = feed_sessions(map(session_in_memory, datasets.values()), settings)
    units = {n: f.train.y.shape[2] for n, f in feeds.items()}
    model = build_model(settings.model, units, seed=0)
    fit(model, feeds, settings, tmp_path)
    best = build_model(settings.model, units, seed=1)
    load_checkpoint(tmp_path / BEST, best)
    for name, kept in read_embeddings(tmp_path / BEST).items():
        assert torch.equal(kept.mean, infer_embedding(best.eval(), feeds[name].train).mean)
    # The model itself holds the last weights, as ever.
    last = build_model(settings.model, units, seed=1)
    load_checkpoint(tmp_path / LAST, last)
    pairs = zip(model.parameters(), last.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
