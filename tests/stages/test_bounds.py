"""Plans that cannot end well are told or refused before they begin."""

import numpy as np
import pytest

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import ingest_memory
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.train import train
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.training import TrainSettings

TINY = {
    "model": {"name": "mdssm", "latent_dim": 2, "encoder_width": 4, "dynamics_width": 4, "hyper_width": 4},
    "max_steps": 1, "device": "cpu",
}  # fmt: skip


def test_a_plan_larger_than_the_memory_is_refused_unless_forced(small_nwb, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_memory, "memory_share", lambda: 1 << 20)
    catalog, source = tmp_path / "catalog.yaml", FolderSource([small_nwb])
    with pytest.raises(MachineError, match=r"estimated to need .* GB of memory; .*--force"):
        ingest(catalog, source)
    assert not list(tmp_path.glob("stores/*/*.zarr"))
    assert len(ingest(catalog, source, force=True)) == 1
    # What is there needs no memory any more.
    assert len(ingest(catalog, source)) == 1


def test_a_negative_lag_is_said(small_nwb, tmp_path):
    catalog, told = tmp_path / "catalog.yaml", []
    ingest(catalog, FolderSource([small_nwb]))
    decode(catalog, DecodeSettings(lag_ms=-40, sources=("rates",), n_permutations=0), report=told.append)
    notes = [event.text for event in told if event.event == "note"]
    assert any(note.startswith("lag_ms -40: the velocity is read 40 ms before") for note in notes)
    told.clear()
    decode(catalog, DecodeSettings(lag_ms=40, sources=("rates",), n_permutations=0), report=told.append)
    assert not [event for event in told if event.event == "note" and "before the neural" in event.text]


@pytest.mark.parametrize("lone", ["trial", "unit"])
def test_training_on_one_trial_or_unit_is_said_before_it_begins(make_nwb, make_reaches, tmp_path, lone):
    n_trials, n_units = (2, 6) if lone == "trial" else (12, 1)
    make_nwb(tmp_path / "a.nwb", make_reaches(n_trials=n_trials, n_units=n_units))
    catalog, told = tmp_path / "catalog.yaml", []
    ingest(catalog, FolderSource([tmp_path / "a.nwb"]))
    train(catalog, TrainSettings.model_validate(TINY), report=told.append)
    kinds = [event.event for event in told]
    [k] = [k for k, e in enumerate(told) if e.event == "note" and "learns nothing that holds" in e.text]
    assert f"1 {'training trial' if lone == 'trial' else 'unit'}" in told[k].text
    assert np.all(k < np.flatnonzero(np.array(kinds) == "progress"))
