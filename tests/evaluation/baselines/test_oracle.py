"""The oracle has the rates the simulator drew spikes from, bin for bin and unit for unit."""

from dataclasses import replace

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.known import baseline_called
from nwb_latents.pipeline.evaluation.baselines.oracle import oracle_rates
from nwb_latents.pipeline.evaluation.metrics.spike_scores import bits_per_spike
from nwb_latents.pipeline.evaluation.spike_task import spike_task
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.simulator import read_truth, simulate_dandiset
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.trials import to_dataset
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.store import DropCounts, Provenance, StoreAttributes

REACHES = IngestRecipe()
RUNS = IngestRecipe(align_to="trial_start", window_s=(0.0, 2.0))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Return a function from a recipe and simulation settings to a store's groups and their truth."""

    def simulate(recipe, **changes):
        settings = SimulateSettings(
            preset="classic",
            n_subjects=1,
            n_sessions=1,
            n_units=(40, 40),
            waveforms=False,
            **{"n_trials": 80, **changes},
        )
        path = simulate_dandiset(tmp_path_factory.mktemp("nwb"), settings)[0]
        made = make_trials(read_recording(path, recipe), recipe)
        attributes = StoreAttributes(
            store_key="k", session="s", subject="A", task="CO", bin_size_s=recipe.bin_size_s,
            n_event_bins=13, recipe=recipe, dropped=DropCounts(),
            provenance=Provenance(source="x", asset_digest="sha256:0", layout="x"),
        )  # fmt: skip
        groups = (to_dataset(name, getattr(made, name), attributes) for name in ("trials", "continuous"))
        return *groups, read_truth(path)

    return simulate


@pytest.fixture(scope="module")
def reaches(simulated):
    return simulated(REACHES, layout="nlb", silent_units=2)


def divide(trials, continuous, forward_bins=4):
    session = session_in_memory(trials, continuous)
    return spike_task(session, heldout=session.heldout(fraction=0.25), forward_bins=forward_bins)


def test_rates_of_reaches_are_means_over_the_bin(reaches):
    trials, continuous, truth = reaches
    _, answers = divide(trials, continuous)
    found = oracle_rates(truth, session_in_memory(trials, continuous), answers)
    ids = trials["unit"].values[answers.order]
    columns = [truth.unit_ids.tolist().index(unit) for unit in ids]
    start = continuous["time"].values[trials["start_bin"].values[answers.eval_rows]]
    fine = start[:, None] + (np.arange(40 * 64) + 0.5) * 0.02 / 64
    for unit in (0, 7, len(ids) - 1):
        rates = np.interp(fine, truth.latent_time_s, truth.rates_hz[:, columns[unit]].astype(float))
        expected = 0.02 * rates.reshape(-1, 40, 64).mean(axis=2)
        whole = np.concatenate([found.eval, found.eval_forward], axis=1)[..., unit]
        np.testing.assert_allclose(whole, np.maximum(expected, 1e-4), rtol=1e-3)


def test_spikes_come_from_the_rates_of_reaches(reaches):
    trials, continuous, truth = reaches
    task, answers = divide(trials, continuous)
    found = oracle_rates(truth, session_in_memory(trials, continuous), answers)
    expected = found.train.sum(axis=(0, 1))
    assert (np.abs(task.train.sum(axis=(0, 1)) - expected) < 5 * np.sqrt(expected)).all()


def test_no_baseline_predicts_better_than_the_oracle(reaches):
    trials, continuous, truth = reaches
    task, answers = divide(trials, continuous)
    n_in = task.train_heldin.shape[2]
    settings = BaselineSettings(sigmas_ms=(30.0, 60.0), latents=(4, 8), folds=3)
    names = ("null", "condition_mean", "smoothing", "factor_analysis")
    found = {name: baseline_called(name).rates(task, settings) for name in names}
    found["oracle"] = oracle_rates(truth, session_in_memory(trials, continuous), answers)
    bits = {
        name: bits_per_spike(rates.eval[..., n_in:], answers.eval_heldout) for name, rates in found.items()
    }
    ahead = {name: bits_per_spike(rates.eval_forward, answers.eval_forward) for name, rates in found.items()}
    assert bits["oracle"] > bits["factor_analysis"] > bits["null"]
    assert bits["oracle"] > bits["smoothing"] > bits["null"]
    assert bits["oracle"] > bits["condition_mean"] > bits["null"]
    assert max(ahead, key=ahead.get) == "oracle"
    assert -0.05 < bits["null"] <= 0.0


def test_rates_of_a_system_are_those_of_its_bins(simulated):
    trials, continuous, truth = simulated(
        RUNS, system="limit_cycle", parameter_range=(2, 2), layout="generic"
    )
    _, answers = divide(trials, continuous, forward_bins=0)
    found = oracle_rates(truth, session_in_memory(trials, continuous), answers)
    assert found.eval_forward is None
    kept = [truth.unit_ids.tolist().index(unit) for unit in trials["unit"].values[answers.order]]
    bins = trials["start_bin"].values[answers.train_rows, None] + np.arange(100)
    expected = 0.02 * truth.rates_hz[bins][..., kept].astype(float)
    np.testing.assert_allclose(found.train, np.maximum(expected, 1e-4), rtol=1e-6)


def test_a_truth_of_another_session_is_refused(reaches):
    trials, continuous, truth = reaches
    _, answers = divide(trials, continuous)
    with pytest.raises(DataError, match=r"units of the store, such as .* not in the truth"):
        oracle_rates(
            replace(truth, unit_ids=truth.unit_ids + 500), session_in_memory(trials, continuous), answers
        )
    short = replace(truth, latent_time_s=truth.latent_time_s[:2000], rates_hz=truth.rates_hz[:2000])
    with pytest.raises(DataError, match=r"windows are not within the truth, 0 to 19\.99 s"):
        oracle_rates(short, session_in_memory(trials, continuous), answers)
