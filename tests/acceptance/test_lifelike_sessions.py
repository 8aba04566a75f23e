"""What ingest makes of simulated sessions of preset 'lifelike', in every layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.evaluation.baselines.oracle import oracle_rates
from nwb_latents.pipeline.evaluation.metrics.spike_scores import bits_per_spike
from nwb_latents.pipeline.evaluation.spike_task import spike_task
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.simulator import read_truth, simulate_dandiset
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.trials import to_dataset
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.store import DropCounts, Provenance, StoreAttributes

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"n_subjects": 1, "n_sessions": 1, "n_units": (50, 50), "n_trials": 120, "waveforms": False}
LAYOUTS: list[dict[str, object]] = [
    {},
    {"task": "RT", "n_trials": 50},
    {"layout": "000070"},
    {"layout": "nlb"},
    {"layout": "generic"},
    {"layout": "generic", "task": "RT", "n_trials": 50},
    {"layout": "foreign"},
]
PROFILE = IngestRecipe.model_validate({"onset": {"method": "profile"}})
AHEAD_BINS = 10


def simulated(folder: Path, **changes: object) -> Path:
    (path,) = simulate_dandiset(folder, SimulateSettings.model_validate({**SIZES, **changes}))
    return path


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda variant: "-".join(map(str, variant.values())))
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One session of a layout."""
    return simulated(tmp_path_factory.mktemp("nwb"), **request.param)


def true_onsets(path: Path) -> np.ndarray:
    """Onsets of reaches; where a file says nothing of trials, of all movements, for all may be found."""
    truth = read_truth(path)
    assert truth.reaching is not None
    with h5py.File(path) as file:
        is_told = "intervals/trials" in file
    return truth.onset_s[np.isfinite(truth.onset_s)] if is_told else truth.reaching.movements.onset_s


def test_onsets_are_within_10_ms_at_the_median_and_30_ms_in_nine_of_ten(path: Path) -> None:
    found = make_trials(read_recording(path, PROFILE), PROFILE).trials["move_onset"]
    error = np.abs(found[:, None] - true_onsets(path)).min(axis=1)
    assert len(found) > 60
    assert np.median(error) <= 0.010
    assert np.quantile(error, 0.9) <= 0.030


def test_nothing_is_flagged_or_warned_of_that_is_not_in_classic_files_too(
    path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    recording = read_recording(path, IngestRecipe())
    made = make_trials(recording, IngestRecipe())
    assert made.quality.flags == ()
    told = simulated(tmp_path, preset="classic", **request.node.callspec.params["path"])
    classic = read_recording(told, IngestRecipe())
    first_words = {warning.split(",")[0].split(":")[0] for warning in classic.warnings}
    assert {warning.split(",")[0].split(":")[0] for warning in recording.warnings} <= first_words
    reasons = {"not_successful", "flagged_by_file", "unobserved", "overlaps_previous", "onset_slow_rise"}
    assert set(made.dropped.trials) <= reasons


def test_kinematics_end_before_the_session_and_its_trials_do(path: Path) -> None:
    truth = read_truth(path)
    recording = read_recording(path, IngestRecipe())
    assert recording.position is not None
    last = float(recording.position.time[-1])
    if recording.trials is not None:
        assert last < truth.latent_time_s[-1] - 1e-9
    with h5py.File(path) as file:
        behaviour = file["processing/behavior"]
        names = [name for name in ("Position/Hand", "hand_vel") if name in behaviour]
        times = [behaviour[name]["timestamps"][:] for name in names if "timestamps" in behaviour[name]]
        stops = file["intervals/trials/stop_time"][:] if "intervals/trials" in file else []
    for time in times:
        assert not np.isclose(time[:, None], stops, rtol=0.0, atol=1e-6).any()


def test_bins_ahead_of_the_window_hold_what_the_true_rates_foretell(tmp_path: Path) -> None:
    bits = {}
    for preset in ("lifelike", "classic"):
        path = simulated(tmp_path / preset, preset=preset, layout="nlb", n_trials=160)
        recipe = IngestRecipe()
        made = make_trials(read_recording(path, recipe), recipe)
        attributes = StoreAttributes(
            store_key="k", session="s", subject="A", task="CO", bin_size_s=0.02, n_event_bins=13,
            recipe=recipe, dropped=DropCounts(),
            provenance=Provenance(source="x", asset_digest="sha256:0", layout="x"),
        )  # fmt: skip
        groups = (to_dataset(name, getattr(made, name), attributes) for name in ("trials", "continuous"))
        session = session_in_memory(*groups)
        _, answers = spike_task(session, heldout=session.heldout(fraction=0.25), forward_bins=AHEAD_BINS)
        known = oracle_rates(read_truth(path), session, answers)
        assert known.eval_forward is not None
        assert answers.eval_forward is not None
        bits[preset] = bits_per_spike(known.eval_forward, answers.eval_forward)
    assert bits["lifelike"] > 0.04
    assert bits["classic"] < 0.01
