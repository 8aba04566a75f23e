"""GPFA by elephant: given the counts as they are, and refusing what it cannot do."""

import warnings
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.gpfa import gpfa
from nwb_latents.pipeline.evaluation.spike_task import SpikeTask
from nwb_latents.schemas.baselines import BaselineSettings

SETTINGS = BaselineSettings(sigmas_ms=(40.0,), folds=2, gpfa_latents=2, gpfa_trials=20, gpfa_iterations=60)


@pytest.fixture(scope="module")
def task():
    """Return 40 and 10 trials of 45 bins of 10 units with 2 latent variables."""
    rng = np.random.default_rng(0)
    at, phase = np.arange(45) * 0.2, rng.uniform(0, 6, size=(50, 1))
    latents = np.stack([np.sin(at + phase), np.cos(at + phase)], axis=2)
    counts = rng.poisson(np.exp(latents @ rng.normal(size=(2, 10)) * 0.6 - 0.5)).astype(float)
    return SpikeTask(
        session="made",
        train_heldin=counts[:40, :, :7],
        train_heldout=counts[:40, :, 7:],
        eval_heldin=counts[40:, :, :7],
        train_condition=np.array([""] * 40, dtype=object),
        eval_condition=np.array([""] * 10, dtype=object),
        bin_size_s=0.02,
    )


def spike_trains(counts, bin_ms):
    """Spikes at the centres of their bins, as elephant is given them by whoever has spike times."""
    neo, ms = import_module("neo"), import_module("quantities").ms
    return [
        [
            neo.SpikeTrain(
                np.repeat((np.arange(len(n)) + 0.5) * bin_ms, n) * ms,
                t_start=0 * ms,
                t_stop=len(n) * bin_ms * ms,
            )
            for n in trial.T
        ]
        for trial in counts.astype(int)
    ]


@pytest.mark.filterwarnings("ignore")
def test_latents_are_those_of_elephants_own_interface(task, monkeypatch):
    """From spike trains through `GPFA.fit` and `.transform`, and from counts through its core: the same."""
    seen = []
    monkeypatch.setattr(
        "nwb_latents.pipeline.evaluation.baselines.gpfa.rates_of_latents",
        lambda train, new, *args, **options: seen.append((train, new)),
    )
    gpfa(task, SETTINGS)
    ms = import_module("quantities").ms
    model = import_module("elephant.gpfa").GPFA(bin_size=20 * ms, x_dim=2, em_tol=1e-2, em_max_iters=60)
    drawn = np.sort(np.random.default_rng(SETTINGS.seed).permutation(40)[:20])
    trains = spike_trains(task.train_heldin, 20.0)
    np.random.seed(SETTINGS.seed)  # noqa: NPY002 (the one elephant draws from)
    model.fit([trains[row] for row in drawn])
    plain = [
        np.stack([each.T for each in model.transform(given)])
        for given in (trains, spike_trains(task.eval_heldin, 20.0))
    ]
    scale = plain[0].std(axis=(0, 1))
    for found, expected in zip(seen[0], plain, strict=True):
        np.testing.assert_allclose(found, expected / scale, atol=1e-9)


def test_a_silent_unit_changes_nothing(task):
    silent = np.zeros((40, 45, 1))
    more = replace(
        task,
        train_heldin=np.concatenate([task.train_heldin, silent], axis=2),
        eval_heldin=np.concatenate([task.eval_heldin, silent[:10]], axis=2),
    )
    found, plain = gpfa(more, SETTINGS), gpfa(task, SETTINGS)
    np.testing.assert_allclose(found.eval[..., 8:], plain.eval[..., 7:], rtol=1e-3)


def test_the_random_state_of_numpy_is_neither_used_nor_changed(task):
    np.random.seed(1)  # noqa: NPY002
    first = gpfa(task, SETTINGS)
    drawn = np.random.random()  # noqa: NPY002
    second = gpfa(task, SETTINGS)
    assert np.array_equal(first.train, second.train)
    np.random.seed(1)  # noqa: NPY002
    assert drawn == np.random.random()  # noqa: NPY002


def test_as_many_latent_dimensions_as_factor_analysis_is_best_with(task, monkeypatch):
    seen = []

    def rates_of_latents(train, new, *args, **options):
        seen.append(train.shape[2])

    monkeypatch.setattr("nwb_latents.pipeline.evaluation.baselines.gpfa.rates_of_latents", rates_of_latents)
    gpfa(task, SETTINGS.model_copy(update={"gpfa_latents": None, "latents": (1, 2, 6)}))
    assert seen == [2]


def test_parameters_that_did_not_converge_are_spoken_of(task):
    with pytest.warns(UserWarning, match="made: GPFA has not converged within 2 iterations"):
        gpfa(task, SETTINGS.model_copy(update={"gpfa_iterations": 2}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gpfa(task, SETTINGS)


def test_nothing_is_printed(task, capfd):
    gpfa(task, SETTINGS)
    assert capfd.readouterr() == ("", "")


def test_bins_that_were_not_recorded_are_refused(task):
    gappy = task.eval_heldin.copy()
    gappy[0, 3:5, 0] = np.nan
    with pytest.raises(DataError, match="made: 2 held-in counts were not recorded"):
        gpfa(replace(task, eval_heldin=gappy), SETTINGS)


def test_units_that_repeat_one_another_are_refused(task):
    twice = replace(
        task, train_heldin=np.concatenate([task.train_heldin[..., :1], task.train_heldin], axis=2)
    )
    with pytest.raises(DataError, match=r"rank deficient.*units that repeat others"):
        gpfa(twice, SETTINGS)
