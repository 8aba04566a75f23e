"""Plans that cannot end well are told or refused before they begin."""

import numpy as np
import pytest
from pydantic import ValidationError

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import ingest_memory
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.embed import embed
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.export import export
from nwb_latents.pipeline.stages.forecast import forecast
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.nlb_submission import submit
from nwb_latents.pipeline.stages.stream import stream
from nwb_latents.pipeline.stages.train import train
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.embedding import EmbedSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.export import NlbExport
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.online_decoding import StreamSettings
from nwb_latents.schemas.recipe import IngestRecipe
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


def _notes(told):
    return [event.text for event in told if event.event == "note"]


@pytest.mark.parametrize(("split", "said"), [("test", "no test trials"), ("val", "no validation trials")])
def test_sessions_without_such_trials_are_said_before_training(small_nwb, tmp_path, split, said):
    shares = {"train": 0.7, "val": 0.3, "test": 0.3} | {split: 0.0}
    catalog, told = tmp_path / "catalog.yaml", []
    ingest(catalog, FolderSource([small_nwb]), IngestRecipe.model_validate({"split": shares}))
    train(catalog, TrainSettings.model_validate(TINY), report=told.append)
    [k] = [k for k, e in enumerate(told) if e.event == "note" and said in e.text]
    assert k < min(k for k, e in enumerate(told) if e.event == "progress")


def test_an_evaluation_without_held_out_units_says_so_before_it_measures(small_nwb, tmp_path):
    catalog, told = tmp_path / "catalog.yaml", []
    ingest(catalog, FolderSource([small_nwb]))
    settings = EvaluateSettings(baselines=("null",), metrics=("co_bps",), heldout_fraction=0.0)
    evaluate(catalog, settings, report=told.append)
    [k] = [k for k, e in enumerate(told) if e.event == "note" and "no unit is held out" in e.text]
    assert "co_bps" in told[k].text
    assert k < min(k for k, e in enumerate(told) if e.event == "measurement")
    told.clear()
    evaluate(catalog, settings.model_copy(update={"heldout_fraction": 0.25}), report=told.append)
    assert not [text for text in _notes(told) if "held out" in text]


def test_a_negative_lag_is_said_by_every_stage_that_has_one(small_nwb, tmp_path):
    catalog = tmp_path / "catalog.yaml"
    ingest(catalog, FolderSource([small_nwb]))
    train(catalog, TrainSettings.model_validate(TINY), run_name="embeds")
    causal = {
        "model": {"name": "ndt", "context_forward": 0},
        "max_steps": 1,
        "device": "cpu",
        "signal": "counts",
    }
    train(catalog, TrainSettings.model_validate(causal), run_name="streams")
    hides = {
        "model": {"name": "ndt"}, "max_steps": 1, "device": "cpu",
        "co_smoothing": True, "heldout_fraction": 0.25,
    }  # fmt: skip
    train(catalog, TrainSettings.model_validate(hides), run_name="hides")
    stages = {
        "embed": lambda told: embed(catalog, EmbedSettings(lag_ms=-40), run="embeds", report=told),
        "stream": lambda told: stream(
            catalog, "streams", session="sub-*", settings=StreamSettings(lag_ms=-40), report=told
        ),
        "export": lambda told: export(catalog, "nlb", settings=NlbExport(lag_ms=-40), report=told),
        "submission": lambda told: submit(catalog, NlbExport(lag_ms=-40), run="hides", report=told),
        "forecast": lambda told: forecast(
            catalog, ForecastSettings(lag_ms=-40), runs=["embeds"], report=told
        ),
        "evaluate": lambda told: evaluate(
            catalog, EvaluateSettings(lag_ms=-40, baselines=("null",), metrics=("co_bps",)), report=told
        ),
    }
    for name, stage in stages.items():
        told = []
        stage(told.append)
        assert any(
            text.startswith("lag_ms -40: the velocity is read 40 ms before") for text in _notes(told)
        ), name


@pytest.mark.parametrize(
    "kind", [EmbedSettings, StreamSettings, NlbExport, ForecastSettings, EvaluateSettings]
)
@pytest.mark.parametrize("lag_ms", [-501, 501, float("nan")])
def test_a_lag_is_within_500_ms_everywhere(kind, lag_ms):
    with pytest.raises(ValidationError):
        kind(lag_ms=lag_ms)
