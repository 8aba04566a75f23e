"""Stores whose rates tell of the velocity, runs of them, and a model that echoes what it is shown."""

from __future__ import annotations

import numpy as np

from nwb_latents.pipeline.evaluation.forecasting.foreseen import Foreseen
from nwb_latents.pipeline.stores.catalog import add_run, add_session
from nwb_latents.pipeline.stores.trials import to_dataset, write_store
from nwb_latents.schemas.catalog import RunEntry, SessionEntry
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import DropCounts, Provenance, StoreAttributes

RECIPE = IngestRecipe()
N_TRIALS, N_UNITS, GAP = 30, 8, 20
PER_TRIAL = (
    "event_time",
    "event_offset",
    "go_cue",
    "target_on",
    "move_onset",
    "peak_time",
    "peak_speed",
    "reaction_time",
    "target_dir",
)


def build_arrays(seed, *, velocity_known=True):
    """Every array of a store; rates read the velocity five bins later."""
    rng = np.random.default_rng(seed)
    n_bins, n_time = RECIPE.n_bins, N_TRIALS * (RECIPE.n_bins + GAP) + 2 * GAP
    start = GAP + np.arange(N_TRIALS) * (n_bins + GAP)
    window = start[:, None] + np.arange(n_bins)
    velocity = np.convolve(rng.normal(size=2 * n_time), np.ones(9), mode="same").reshape(n_time, 2) * 5
    rates = 30.0 + rng.normal(size=(n_time, N_UNITS))
    rates[:-5] += velocity[5:] @ rng.normal(size=(2, N_UNITS)) * 0.5
    if not velocity_known:
        velocity = np.full_like(velocity, np.nan)
    words = lambda *values: np.array(values, dtype=object)  # noqa: E731
    shared = {"unit": np.arange(N_UNITS), "axis": words("x", "y")}
    continuous = {
        "counts": np.zeros((n_time, N_UNITS), np.uint8),
        "rates": rates.astype(np.float32),
        "position": np.zeros((n_time, 2)),
        "velocity": velocity,
        "observed": np.ones(n_time, bool),
        "time": np.arange(n_time) * RECIPE.bin_size_s,
        **shared,
    }
    trials = {
        **{name: continuous[name][window] for name in ("counts", "rates", "position", "velocity")},
        **shared,
        **dict.fromkeys(PER_TRIAL, np.full(N_TRIALS, 0.5)),
        "time": (np.arange(n_bins) - 13) * RECIPE.bin_size_s,
        "trial": np.arange(N_TRIALS),
        "start_bin": start,
        "onset_quality": words(*["ok"] * N_TRIALS),
        "condition": words(*["0 deg"] * N_TRIALS),
        "split": words(*np.resize(["train", "train", "train", "val", "test"], N_TRIALS)),
        "area": words(*["M1"] * N_UNITS),
        "mean_rate": np.full(N_UNITS, 30.0),
        "heldout": np.zeros(N_UNITS, bool),
    }
    return trials, continuous


def add_store(catalog, session, *, seed=0, velocity_known=True, subject="A", axes=("x", "y")):
    trials, continuous = build_arrays(seed, velocity_known=velocity_known)
    for arrays in (trials, continuous):
        arrays["axis"] = np.array(axes, dtype=object)
    attributes = StoreAttributes(
        store_key=f"key-{session}",
        session=session,
        subject=subject,
        task="CO",
        bin_size_s=RECIPE.bin_size_s,
        n_event_bins=13,
        recipe=RECIPE,
        dropped=DropCounts(),
        provenance=Provenance(source="a.nwb", asset_digest="sha256:0", layout="generic"),
    )
    store = f"stores/{RECIPE.recipe_id}/{session}.zarr"
    write_store(
        catalog.parent / store,
        to_dataset("trials", trials, attributes),
        to_dataset("continuous", continuous, attributes),
    )
    entry = SessionEntry(
        session=session,
        subject=subject,
        task="CO",
        recipe_id=RECIPE.recipe_id,
        store=store,
        store_key=f"key-{session}",
        source="a.nwb",
        n_trials=N_TRIALS,
        n_units=N_UNITS,
        n_bins=RECIPE.n_bins,
        bin_size_s=RECIPE.bin_size_s,
        created="2024-01-01T00:00:00Z",
    )
    add_session(catalog, entry)


def enter_run(catalog, run, sessions, *, recipe_id=RECIPE.recipe_id):
    entry = RunEntry(
        run=run,
        model="mdssm",
        path=f"runs/{run}",
        run_key="k",
        recipe_id=recipe_id,
        sessions=sessions,
        steps=1,
        created="2024-01-01T00:00:00Z",
    )
    add_run(catalog, entry)


class Echo:
    """A model whose reconstruction is its input and whose forecast holds the last bin it saw."""

    def __init__(self, broken=()):
        self.broken = broken
        self.asked = []
        self.sources = {}

    def reconstruct(self, session):
        self.asked.append((session.name, session.n_trials, set(session.split.tolist())))
        if session.name in self.broken:
            msg = "weights are broken"
            raise RuntimeError(msg)
        return session.trials["rates"].values

    def forecast(self, session, *, seen_bins, n_bins):
        return np.repeat(session.trials["rates"].values[:, seen_bins - 1 : seen_bins], n_bins, axis=1)

    def foresee(self, session, *, seen_bins, n_bins):
        return Foreseen(self.forecast(session, seen_bins=seen_bins, n_bins=n_bins))

    def states(self, session):
        self.asked.append((session.name, "states", set(session.split.tolist())))
        return np.roll(session.trials["velocity"].values, -5, axis=1)

    @property
    def name(self):
        return "echo"
