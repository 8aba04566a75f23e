"""What ingest makes of simulated sessions, held against their truth."""

from dataclasses import replace

import numpy as np
import pytest

from nwb_latents.pipeline.evaluation.decoding.velocity import fit_velocity_decoder, hand_velocity_r2
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.simulator import read_truth, simulate_dandiset
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.trials import to_dataset
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.store import DropCounts, Provenance, StoreAttributes

SMALL = SimulateSettings(
    preset="classic", n_subjects=1, n_sessions=1, n_trials=120, n_units=(60, 60), waveforms=False
)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Return a function from simulation settings to recording and truth."""

    def simulate(**changes):
        settings = SimulateSettings.model_validate({**SMALL.model_dump(), **changes})
        path = simulate_dandiset(tmp_path_factory.mktemp("nwb"), settings)[0]
        return read_recording(path, IngestRecipe()), read_truth(path)

    return simulate


@pytest.mark.parametrize(
    "changes",
    [
        {"kinematics_rate_hz": 100.0},
        {"kinematics_rate_hz": 1000.0},
        {"task": "RT"},
        {"layout": "000070"},
        {"layout": "nlb"},
        {"seed": 7, "failure_rate": 0.3},
    ],
    ids=str,
)
def test_onsets_are_within_20_ms_of_the_truth_in_95_percent_of_trials(session, changes):
    recording, truth = session(**changes)
    found = make_trials(recording, IngestRecipe()).trials["move_onset"]
    true = truth.onset_s[np.isfinite(truth.onset_s)]
    error = np.abs(found[:, None] - true).min(axis=1)
    assert len(found) >= 0.6 * truth.success.sum()
    assert (error <= 0.02).mean() >= 0.95


def test_onsets_of_the_000688_layout_are_computed_not_read(session):
    recording, _ = session()
    assert "move_onset" not in recording.trials.events
    assert set(make_trials(recording, IngestRecipe()).trials["onset_quality"]) <= {"ok", "several_peaks"}


def test_without_a_trial_table_the_outward_reaches_are_found(session):
    recording, truth = session(layout="generic")
    assert recording.trials is None
    found = make_trials(recording, IngestRecipe()).trials["move_onset"]
    true = truth.onset_s[np.isfinite(truth.onset_s) & truth.success]
    nearest = np.abs(true[:, None] - found).min(axis=1)
    assert (nearest <= 0.02).mean() >= 0.9


def test_failed_trials_are_left_out(session):
    recording, truth = session(failure_rate=0.3)
    made = make_trials(recording, IngestRecipe())
    assert made.dropped.trials["not_successful"] == (~truth.success).sum()


def test_spikes_are_conserved_to_the_last(session):
    recording, _ = session()
    made = make_trials(recording, IngestRecipe(min_rate_hz=0.0))
    outside = sum(int(note.split()[0]) for note in made.notes)
    assert made.continuous["counts"].sum(dtype=np.int64) + outside == len(recording.spike_times)
    assert outside <= len(recording.units)


def test_silent_units_are_dropped_and_others_kept(session):
    recording, truth = session(silent_units=3)
    made = make_trials(recording, IngestRecipe())
    assert made.dropped.units == {"below_min_rate": 3}
    slow = truth.rates_hz.mean(axis=0) < 0.1
    assert set(made.trials["unit"]) == set(truth.unit_ids[~slow])


def test_the_decoder_on_true_rates_beats_the_one_on_smoothed_rates(session):
    recording, truth = session()
    recipe = IngestRecipe()
    made = make_trials(recording, recipe)
    attributes = StoreAttributes(
        store_key="k", session="s", subject="A", task="CO", bin_size_s=0.02, n_event_bins=13, recipe=recipe,
        provenance=Provenance(source="x", asset_digest="sha256:0", layout="000688"), dropped=DropCounts(),
    )  # fmt: skip
    trials = to_dataset("trials", made.trials, attributes)
    continuous = to_dataset("continuous", made.continuous, attributes)
    velocity = session_in_memory(trials, continuous).velocity(100.0).velocity
    centre = made.continuous["time"][made.trials["start_bin"][:, None] + np.arange(36)] + 0.01
    kept = np.isin(truth.unit_ids, made.trials["unit"])
    nearest = np.clip(np.searchsorted(truth.latent_time_s, centre), 0, len(truth.latent_time_s) - 1)
    true_rates = truth.rates_hz[nearest][..., kept]
    is_train, is_test = (made.trials["split"] == name for name in ("train", "test"))

    def score(rates):
        decoder = fit_velocity_decoder(
            rates[is_train], velocity[is_train], alphas=(1e-3, 1e-1, 10, 1e3), folds=5
        )
        return hand_velocity_r2(decoder, rates[is_test], velocity[is_test]).value

    smoothed, true = score(made.trials["rates"].astype(float)), score(true_rates.astype(float))
    assert 0.6 < smoothed < 0.95
    assert true > 0.95


OF_A_SYSTEM = {"layout": "generic"}
RUNS = IngestRecipe(align_to="trial_start", window_s=(0.0, 2.0))


@pytest.fixture(scope="module")
def cycle(session):
    """Return recording and truth of 80 runs of a limit cycle."""
    return session(system="limit_cycle", parameter_range=(2, 2), n_trials=80, **OF_A_SYSTEM)


def test_every_run_of_a_system_becomes_a_trial_of_its_bins(cycle):
    recording, truth = cycle
    made = make_trials(recording, RUNS)
    assert made.dropped.trials == {}
    assert made.dropped.units == {"below_min_rate": 2}
    assert made.quality.flags == ()
    np.testing.assert_array_equal(made.trials["trial"], truth.trial_row)
    np.testing.assert_array_equal(made.trials["start_bin"], truth.system.start_bin)
    assert (made.trials["event_offset"] == 0).all()
    kept = np.isin(truth.unit_ids, made.trials["unit"])
    rates = truth.rates_hz[made.trials["start_bin"][:, None] + np.arange(100)][..., kept].astype(float)
    expected = 0.02 * rates.sum(axis=(0, 1))
    assert (np.abs(made.trials["counts"].sum(axis=(0, 1)) - expected) < 4.5 * np.sqrt(expected)).all()


def test_runs_of_six_seconds_are_not_too_long(session):
    recording, _ = session(system="limit_cycle", n_trials=40, trial_bins=300, n_units=(5, 5), **OF_A_SYSTEM)
    made = make_trials(recording, IngestRecipe(align_to="trial_start", window_s=(0.0, 6.0)))
    assert made.trials["counts"].shape[:2] == (40, 300)


def test_velocity_is_decoded_from_the_true_rates_of_a_system_at_a_lag_of_100_ms(cycle):
    recording, truth = cycle
    made = make_trials(recording, RUNS)
    is_train, is_test = (made.trials["split"] == name for name in ("train", "test"))
    bins = made.trials["start_bin"][:, None] + np.arange(100)
    kept = np.isin(truth.unit_ids, made.trials["unit"])
    rates = np.log(truth.rates_hz[bins][..., kept].astype(float))

    def score(features, lag_bins):
        velocity = made.continuous["velocity"][bins + lag_bins].astype(float)
        decoder = fit_velocity_decoder(
            features[is_train], velocity[is_train], alphas=(1e-3, 1e-1, 10), folds=5
        )
        return hand_velocity_r2(decoder, features[is_test], velocity[is_test]).value

    assert score(rates, 5) > 0.98
    assert score(np.exp(rates), 5) > 0.9
    assert score(rates, 5) > max(score(rates, 2), score(rates, 8))
    assert score(made.trials["rates"].astype(float), 5) > 0.8


def test_gaps_between_trials_stay_gaps(session):
    recording, _ = session(layout="000070")
    made = make_trials(recording, IngestRecipe())
    assert not made.continuous["observed"].all()
    assert np.isnan(made.continuous["position"][~made.continuous["observed"]]).any()
    assert np.isfinite(made.trials["velocity"]).all()
    assert len(recording.observed) > 50


def test_the_same_numbers_come_from_positions_alone(session):
    recording, _ = session()
    a = make_trials(recording, IngestRecipe()).continuous["velocity"]
    b = make_trials(replace(recording, velocity=None), IngestRecipe()).continuous["velocity"]
    speed = np.nanmax(np.linalg.norm(a, axis=1))
    assert np.nanpercentile(np.abs(a - b), 99.9) < 0.05 * speed
