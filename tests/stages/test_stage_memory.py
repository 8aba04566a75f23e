"""Stores and runs larger than the memory are refused before they are read, whatever is done with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nwb_latents.pipeline import machine
from nwb_latents.pipeline.errors import MachineError, PartialFailure
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import stage_memory
from nwb_latents.pipeline.stages.align import align
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.embed import embed
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.export import export
from nwb_latents.pipeline.stages.forecast import forecast
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.nlb_submission import submit
from nwb_latents.pipeline.stages.recut import recut
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit, store_bytes
from nwb_latents.pipeline.stages.stream import stream
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.align import AlignSettings
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.embedding import EmbedSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.export import NlbExport
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.training import TrainSettings

TINY = {
    "model": {"name": "mdssm", "latent_dim": 2, "encoder_width": 4, "dynamics_width": 4, "hyper_width": 4},
    "max_steps": 1, "device": "cpu", "co_smoothing": True, "heldout_fraction": 0.25,
}  # fmt: skip
CAUSAL = {
    "model": {"name": "ndt", "layers": 1, "hidden": 4, "context_back": 6, "context_forward": 0},
    "max_steps": 1, "device": "cpu",
}  # fmt: skip
FEW = {"max_steps": 1, "trials_per_step": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_nwb, make_reaches):
    """Return a catalog of two sessions, a run of one of them."""
    folder = tmp_path_factory.mktemp("memory")
    for seed in (1, 2):
        reaches = make_reaches(n_trials=24, n_units=6, seed=seed)
        make_nwb(folder / f"{seed}.nwb", reaches, session=str(seed))
    catalog = folder / "catalog.yaml"
    ingest(catalog, FolderSource([folder]))
    train(catalog, TrainSettings.model_validate(TINY), sessions=[_sessions(catalog)[0]], run_name="r")
    train(catalog, TrainSettings.model_validate(CAUSAL), sessions=[_sessions(catalog)[0]], run_name="causal")
    return catalog


@pytest.fixture
def catalog(made, tmp_path):
    """Return a copy of the catalog."""
    shutil.copytree(made.parent, tmp_path / "c")
    return tmp_path / "c" / "catalog.yaml"


def _sessions(catalog):
    return sorted(entry.session for entry in read_catalog(catalog).sessions.values())


STAGES = {
    "train": lambda c, **k: train(c, TrainSettings.model_validate(TINY), run_name="s", **k),
    "align": lambda c, **k: align(
        c, AlignSettings.model_validate(FEW), run="r", sessions=[_sessions(c)[1]], trials=[8], **k
    ),
    "decode": lambda c, **k: decode(c, DecodeSettings(n_permutations=0), runs=["r"], **k),
    "forecast": lambda c, **k: forecast(c, ForecastSettings(seen_bins=20, bins=5), runs=["r"], **k),
    "evaluate": lambda c, **k: evaluate(
        c, EvaluateSettings(metrics=("co_bps",), n_resamples=1), runs=["r"], **k
    ),
    "embed": lambda c, **k: embed(c, EmbedSettings(), run="r", **k),
    "export": lambda c, **k: export(c, "lfads", **k),
    "submission": lambda c, **k: submit(c, NlbExport(), run="r", **k),
    "recut": lambda c, **k: recut(c, ["window_s=[-0.2, 0.4]"], **k),
    "stream": lambda c, **k: stream(c, "causal", session=_sessions(c)[0], trials=[0], **k),
}


@pytest.mark.parametrize("name", STAGES)
def test_what_does_not_fit_is_refused_with_numbers_before_it_is_read_unless_forced(
    name, catalog, monkeypatch
):
    monkeypatch.setattr(stage_memory, "memory_share", lambda: 1000)
    read = _reads(monkeypatch)
    with pytest.raises((MachineError, PartialFailure)) as refused:
        STAGES[name](catalog)
    assert refused.value.exit_code == MachineError.exit_code
    words = [reason for _, reason in refused.value.failures][-1] if name == "recut" else str(refused.value)
    assert "GB of memory; 0.0 GB may be used here (" in words
    assert words.rstrip(".").endswith("--force to try all the same")
    assert not read
    STAGES[name](catalog, force=True)
    assert read


def _reads(monkeypatch):
    """Return a list of the arrays of stores that are read from now on."""
    from nwb_latents.pipeline.stores.zarr_access import WholeFolder

    read = []
    get = WholeFolder.get

    async def noted(self, key, *args, **kwargs):
        if ("/c/" in key and "/rates/" in key) or "/counts/c" in key:
            read.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(WholeFolder, "get", noted)
    return read


def test_sizes_are_those_of_the_arrays_and_add_up_where_all_are_held_at_once(made, monkeypatch):
    entries = list(read_catalog(made).sessions.values())
    sizes = [store_bytes(store_path(made, entry.store)) for entry in entries]
    for entry, (trials, whole) in zip(entries, sizes, strict=True):
        opened = open_session(store_path(made, entry.store))
        assert trials == sum(opened.trials[name].nbytes for name in ("counts", "rates"))
        assert whole == sum(opened.continuous[name].nbytes for name in ("counts", "rates"))
    base = stage_memory.STAGE_BASE_BYTES
    of_trials = [int(stage_memory.TRIALS_COPIES * trials) for trials, _ in sizes]
    monkeypatch.setattr(stage_memory, "memory_share", lambda: base + sum(of_trials) - 10)
    with pytest.raises(MachineError, match=r"the trials of 2 sessions are .*fewer sessions \(--session\)"):
        require_stores_fit(made, entries, together=True, recordings=False)
    require_stores_fit(made, entries, recordings=False)
    monkeypatch.setattr(stage_memory, "memory_share", lambda: base + sum(of_trials) + 10)
    require_stores_fit(made, entries, together=True, recordings=False)
    with pytest.raises(MachineError, match=r"2 processes hold them.*fewer processes \(--workers\)"):
        require_stores_fit(made, entries, together=True, recordings=False, at_once=2)


def test_where_one_session_follows_the_other_the_largest_must_fit_and_is_named(made, monkeypatch):
    entries = list(read_catalog(made).sessions.values())
    large = store_path(made, entries[1].store)
    monkeypatch.setattr(stage_memory, "store_bytes", lambda store: (0, 900 if store == large else 10))
    needed = int(stage_memory.STAGE_BASE_BYTES + 900 * stage_memory.CONTINUOUS_COPIES)
    monkeypatch.setattr(stage_memory, "memory_share", lambda: needed)
    require_stores_fit(made, entries)
    monkeypatch.setattr(stage_memory, "memory_share", lambda: needed - 1)
    with pytest.raises(MachineError, match=f"^{entries[1].session}: estimated .*the largest of 2 sessions"):
        require_stores_fit(made, entries)


def test_weights_count_and_a_store_that_is_gone_is_left_to_whoever_reads_it(catalog, monkeypatch):
    held = read_catalog(catalog)
    run = held.runs["r"]
    size = Path(catalog.parent, run.path, "best.safetensors").stat().st_size
    base = stage_memory.STAGE_BASE_BYTES
    monkeypatch.setattr(stage_memory, "memory_share", lambda: base + size)
    with pytest.raises(MachineError, match=r"weights of 1 run: "):
        require_stores_fit(catalog, [], runs=[run])
    shutil.rmtree(catalog.parent / "stores")
    require_stores_fit(catalog, list(held.sessions.values()))


def test_a_run_that_is_complete_needs_no_memory(catalog, monkeypatch):
    monkeypatch.setattr(stage_memory, "memory_share", lambda: 1000)
    again = train(catalog, TrainSettings.model_validate(TINY), sessions=[_sessions(catalog)[0]], run_name="r")
    assert again == read_catalog(catalog).runs["r"]


def test_a_model_too_large_to_be_aligned_is_refused_unless_forced(catalog, monkeypatch):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10_000)
    with pytest.raises(PartialFailure, match=r"the model mdssm has .* GB may be used.*--force to try all"):
        STAGES["align"](catalog)
    assert not list(catalog.parent.glob("runs/r-n8-*/best.safetensors"))
    [entry] = STAGES["align"](catalog, force=True)
    assert entry.run in read_catalog(catalog).runs
