"""What it costs to evaluate 44 sessions with three models, and what scoring costs done plainly.

``python benchmarks/evaluate.py`` simulates and ingests 44 sessions (60 to 190 units, 200 trials), trains
three models for a few steps (time does not depend on how good they are), and times `pipeline run evaluate`
for decoding and bits per spike, with 1000 bootstrap resamples: the whole stage, and what of it is inference
of rates. Beside it, for a few sessions, the same scores by scikit-learn's ``GridSearchCV(Ridge())`` and a
loop over units, without intervals; both agree to 1e-9.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from nwb_latents.pipeline.evaluation.metrics.known import known_metrics
from nwb_latents.pipeline.evaluation.nlb.velocity import NLB_ALPHAS
from nwb_latents.pipeline.evaluation.scored_session import prepare_session
from nwb_latents.pipeline.evaluation.source_output import SourceOutput
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training import spike_rates
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.training import TrainSettings

TARGET_S = 60.0
MODELS = ("mdssm", "ndt", "node_sae")
PLAIN_SESSIONS = 4
SETTINGS = EvaluateSettings(metrics=("nlb_velocity_r2", "co_bps"), baselines=())


def prepare(folder: Path, n_sessions: int) -> Path:
    """Make the catalog: sessions and runs."""
    simulated = SimulateSettings(
        preset="classic",
        n_subjects=4,
        n_sessions=math.ceil(n_sessions / 4),
        n_units=(60, 190),
        n_trials=200,
        waveforms=False,
    )
    files = simulate_dandiset(folder / "nwb", simulated)
    for extra in files[n_sessions:]:
        extra.unlink()
    catalog = folder / "catalog.yaml"
    ingest(catalog, FolderSource([folder / "nwb"]), IngestRecipe())
    for name in MODELS:
        settings = TrainSettings.model_validate({
            "model": {"name": name}, "co_smoothing": True, "heldout_fraction": 0.25, "signal": "counts",
            "batch": {"trials_per_session": 8, "sessions_per_step": 8}, "max_steps": 5, "validate_every": 5,
            "checkpoint_every": 5, "device": "cpu",
        })  # fmt: skip
        train(catalog, settings, run_name=name)
    return catalog


def plain_scores(prediction: Any, session: Any) -> tuple[float, float]:
    """Score as a user would with scikit-learn and a loop over units."""
    velocity = [part.reshape(-1, 2) for part in session.velocity]
    known = [np.isfinite(part).all(axis=1) for part in velocity]
    features = [part.reshape(-1, part.shape[2]) for part in (prediction.train, prediction.eval)]
    search = GridSearchCV(Ridge(), {"alpha": NLB_ALPHAS}).fit(features[0][known[0]], velocity[0][known[0]])
    r2 = search.score(features[1][known[1]], velocity[1][known[1]])
    n_in = session.n_heldin
    gain = spikes = 0.0
    for unit in range(session.n_heldout):
        n, rate = session.answers.eval_heldout[..., unit], prediction.eval[..., n_in + unit]
        null = n.mean()
        gain += ((null - n * np.log(null)) - (rate - n * np.log(rate))).sum()
        spikes += n.sum()
    return r2, gain / spikes / np.log(2)


def beside_plain(catalog: Path) -> tuple[float, float]:
    """Time both ways on the same rates, in turn. Returns seconds of each."""
    entries = list(read_catalog(catalog).sessions.values())[:PLAIN_SESSIONS]
    run = load_run(catalog.parent / "runs" / "ndt", device="cpu")
    metrics, _ = known_metrics(SETTINGS.metrics)
    plain = ours = 0.0
    for entry in entries:
        stored = open_session(store_path(catalog, entry.store)).loaded()
        session = prepare_session(stored, SETTINGS, forward=False)
        prediction, _ = spike_rates.run_rates(run, stored, session.answers)
        made = SourceOutput(rates=prediction)
        for _ in range(2):
            begun = time.perf_counter()
            found = plain_scores(prediction, session)
            plain += time.perf_counter() - begun
            begun = time.perf_counter()
            measured = [session.measure(metric, "reconstruction", made) for metric in metrics]
            ours += time.perf_counter() - begun
        by_name = {each.metric.name: each.interval.value for each in measured}
        values = by_name["nlb_velocity_r2"], by_name["co_bps"]
        assert np.allclose(found, values, rtol=0, atol=1e-9), (found, values)
    return plain, ours


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("--sessions", type=int, default=44)
    words.add_argument("--threads", type=int, default=2)
    words.add_argument("--folder", type=Path, help="Keep what is made here, and use what is there.")
    asked = words.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")
    folder = asked.folder or Path(tempfile.mkdtemp())
    catalog = folder / "catalog.yaml"
    if not catalog.exists():
        prepare(folder, asked.sessions)
    inference = 0.0
    original = spike_rates.run_rates

    def timed(*given: Any, **words: Any) -> Any:
        nonlocal inference
        begun = time.perf_counter()
        found = original(*given, **words)
        inference += time.perf_counter() - begun
        return found

    spike_rates.run_rates = timed
    begun = time.perf_counter()
    done = evaluate(catalog, SETTINGS, force=True, device="cpu")
    seconds = time.perf_counter() - begun
    spike_rates.run_rates = original
    units = [entry.n_units for entry in read_catalog(catalog).sessions.values()]
    print(
        f"{len(units)} sessions of {min(units)} to {max(units)} units, {len(MODELS)} models, {len(done)} "
        f"measurements, {torch.get_num_threads()} threads"
    )
    verdict = "met" if seconds < TARGET_S else "MISSED"
    print(f"pipeline run evaluate        {seconds:7.1f} s   {verdict} (< {TARGET_S:g} s)")
    print(f"  of it inference of rates   {inference:7.1f} s")
    plain, ours = beside_plain(catalog)
    print(
        f"scores of {PLAIN_SESSIONS} sessions, twice: plain {plain:.2f} s, ours with intervals {ours:.2f} s"
    )
    print(f"plain / ours                 {plain / ours:7.2f}")


if __name__ == "__main__":
    main()
